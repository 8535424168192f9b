//! Grey pictures and their halves.

use crate::localize::kernel::vectorized;

/// A grey picture `[height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Grey {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
}

impl Grey {
    /// The mean of 2×2 pixels of packed RGB, as luma; a last odd row or column is left out.
    pub fn half_of(rgb: &[u8], width: usize, height: usize) -> Self {
        let (half_width, half_height) = (width / 2, height / 2);
        let mut values = vec![0f32; half_width * half_height];
        for (y, row) in values.chunks_exact_mut(half_width.max(1)).enumerate() {
            let [above, below] = [2 * y, 2 * y + 1].map(|line| &rgb[3 * line * width..][..3 * width]);
            luma(above, below, row);
        }
        Self { width: half_width, height: half_height, values }
    }

    /// At half the width and height.
    pub fn half(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let at = |x: usize, y: usize| self.values[y * self.width + x];
        let mean = |x: usize, y: usize| (at(x, y) + at(x + 1, y) + at(x, y + 1) + at(x + 1, y + 1)) / 4.0;
        let values = (0..width * height).map(|to| mean(2 * (to % width), 2 * (to / width))).collect();
        Self { width, height, values }
    }

    /// The value between pixels, bilinear; outside it is the edge's.
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let x = x.clamp(0.0, self.width as f32 - 1.001);
        let y = y.clamp(0.0, self.height as f32 - 1.001);
        let (left, top) = (x as usize, y as usize);
        let (across, down) = (x - left as f32, y - top as f32);
        let values = &self.values[top * self.width + left..];
        let above = values[0] + across * (values[1] - values[0]);
        let below = values[self.width] + across * (values[self.width + 1] - values[self.width]);
        above + down * (below - above)
    }
}

vectorized! {
    /// Luma (BT.601) of the means of 2×2 pixels.
    luma(above: &[u8], below: &[u8], out: &mut [f32]) -> () {
        for ((above, below), out) in above.chunks_exact(6).zip(below.chunks_exact(6)).zip(out) {
            let sum = |colour: usize| {
                u16::from(above[colour]) + u16::from(above[colour + 3])
                    + u16::from(below[colour]) + u16::from(below[colour + 3])
            };
            *out = (77 * u32::from(sum(0)) + 150 * u32::from(sum(1)) + 29 * u32::from(sum(2))) as f32 / 1024.0;
        }
    }
}

/// A grey picture and its halves, the finest first.
#[derive(Clone, Debug)]
pub struct Pyramid(pub Vec<Grey>);

impl Pyramid {
    /// Halves until the smaller side is below `least` pixels.
    pub fn new(grey: Grey, least: usize) -> Self {
        let mut levels = vec![grey];
        while let Some(last) = levels.last()
            && last.width.min(last.height) >= 2 * least
        {
            levels.push(last.half());
        }
        Self(levels)
    }

    pub fn bytes(&self) -> usize {
        self.0.iter().map(|grey| 4 * grey.values.len()).sum()
    }
}
