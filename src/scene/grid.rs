//! Between the patches of the model's image and the pixels of the small picture, which show the same.

use super::mask::Size;
use crate::geometry::PatchLayout;

/// Values of z are kept for each pixel in bytes of this many to one.
pub const UNITS: f32 = 64.0;

/// For each of `side` pixels in a row or column: the patch before it, the patch after it, and how far it is between their middles.
fn places(side: usize, shown: u32, patch: u32, count: usize) -> Vec<(usize, usize, f32)> {
    let patches = shown as f32 / patch as f32;
    let place = |pixel: usize| {
        let at = ((pixel as f32 + 0.5) * patches / side as f32 - 0.5).clamp(0.0, count as f32 - 1.0);
        (at as usize, (at as usize + 1).min(count - 1), at.fract())
    };
    (0..side).map(place).collect()
}

/// Values of patches, bilinear between their middles, for each pixel: [`UNITS`] to one, at most 255.
pub fn spread(values: &[f32], layout: &PatchLayout, (width, height): Size, out: &mut Vec<u8>) {
    let (rows, cols) = (layout.grid.rows, layout.grid.cols);
    let across = places(width, layout.image_width, layout.patch, cols);
    let down = places(height, layout.image_height, layout.patch, rows);
    out.resize(width * height, 0);
    for (out, &(above, below, share)) in out.chunks_exact_mut(width).zip(&down) {
        let [above, below] = [above, below].map(|row| &values[row * cols..][..cols]);
        let line: Vec<f32> = above.iter().zip(below).map(|(above, below)| above + share * (below - above)).collect();
        for (out, &(left, right, share)) in out.iter_mut().zip(&across) {
            *out = (UNITS * (line[left] + share * (line[right] - line[left]))).min(255.0) as u8;
        }
    }
}

/// The share of each patch's pixels that are in a mask.
pub fn gather(mask: &[u8], layout: &PatchLayout, (width, height): Size) -> Vec<f32> {
    let (rows, cols) = (layout.grid.rows, layout.grid.cols);
    let nearest = |side: usize, shown: u32, count: usize| -> Vec<usize> {
        let patches = shown as f32 / layout.patch as f32;
        (0..side).map(|pixel| (((pixel as f32 + 0.5) * patches / side as f32) as usize).min(count - 1)).collect()
    };
    let across = nearest(width, layout.image_width, cols);
    let down = nearest(height, layout.image_height, rows);
    let (mut inside, mut all) = (vec![0u32; rows * cols], vec![0u32; rows * cols]);
    for (line, row) in mask.chunks_exact(width).zip(down) {
        let (inside, all) = (&mut inside[row * cols..][..cols], &mut all[row * cols..][..cols]);
        for (is_in, &col) in line.iter().zip(&across) {
            inside[col] += u32::from(*is_in & 1);
            all[col] += 1;
        }
    }
    inside.iter().zip(all).map(|(&inside, all)| inside as f32 / all.max(1) as f32).collect()
}
