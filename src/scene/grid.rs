//! Between the patches of the model's image and the pixels of the small picture, which show the same.

use super::mask::Size;
use crate::geometry::PatchLayout;
use crate::localize::kernel::vectorized;

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
    let shares = Vec::from_iter(across.iter().map(|(_, _, share)| *share));
    // Each row of patches as wide as the picture: of every pixel the patch before it, and the one after it.
    let wide = |of: fn(&(usize, usize, f32)) -> usize| -> Vec<f32> {
        values.chunks_exact(cols).flat_map(|row| across.iter().map(move |place| row[of(place)])).collect()
    };
    let (lefts, rights) = (wide(|place| place.0), wide(|place| place.1));
    out.resize(width * height, 0);
    for (out, &(above, below, share)) in out.chunks_exact_mut(width).zip(&down) {
        let [lefts, rights] = [&lefts, &rights].map(|side| [above, below].map(|row| &side[row * width..][..width]));
        blend(lefts, rights, share, &shares, out);
    }
}

vectorized! {
    /// One row of pixels, from the values `[above, below]` on their left and on their right.
    blend(lefts: [&[f32]; 2], rights: [&[f32]; 2], down: f32, across: &[f32], out: &mut [u8]) -> () {
        let sides = lefts[0].iter().zip(lefts[1]).zip(rights[0].iter().zip(rights[1]));
        for (((left, right), across), out) in sides.zip(across).zip(out) {
            let [left, right] = [left, right].map(|(above, below)| above + down * (below - above));
            *out = (UNITS * (left + across * (right - left))).min(255.0) as u8;
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
    let lines = Vec::from_iter(mask.chunks_exact(width).zip(down));
    let mut inside_and_all = vec![[0u32; 2]; rows * cols];
    let mut sums = vec![0u16; width];
    for lines in lines.chunk_by(|(_, row), (_, next)| row == next) {
        sums.fill(0);
        lines.iter().for_each(|(line, _)| add(line, &mut sums));
        let patches = &mut inside_and_all[lines[0].1 * cols..][..cols];
        for (sum, &col) in sums.iter().zip(&across) {
            let [inside, all] = &mut patches[col];
            (*inside, *all) = (*inside + u32::from(*sum), *all + lines.len() as u32);
        }
    }
    inside_and_all.into_iter().map(|[inside, all]| inside as f32 / all.max(1) as f32).collect()
}

vectorized! {
    add(mask: &[u8], sums: &mut [u16]) -> () {
        sums.iter_mut().zip(mask).for_each(|(sum, is_in)| *sum += u16::from(is_in & 1));
    }
}
