//! Masks over the pixels of a small picture: a byte for each, 0 or 255.

use crate::localize::kernel::vectorized;

/// `(width, height)` in pixels.
pub type Size = (usize, usize);

/// The majority of 5×5 pixels; outside is as the edge.
pub fn majority(mask: &[u8], (width, height): Size, out: &mut Vec<u8>) {
    let mut rows = vec![0u8; width * height];
    for (row, sums) in mask.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        let padded: Vec<u8> = (0..width + 4).map(|x| row[x.saturating_sub(2).min(width - 1)] & 1).collect();
        for x in 0..width {
            sums[x] = padded[x] + padded[x + 1] + padded[x + 2] + padded[x + 3] + padded[x + 4];
        }
    }
    out.resize(width * height, 0);
    for (y, row) in out.chunks_exact_mut(width).enumerate() {
        let line = |offset: usize| &rows[(y + offset).saturating_sub(2).min(height - 1) * width..][..width];
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(line);
        for x in 0..width {
            row[x] = if a[x] + b[x] + c[x] + d[x] + e[x] > 12 { 255 } else { 0 };
        }
    }
}

/// Dilates, then erodes, by a rectangle of `2·reach + 1` pixels; what is outside has no say.
pub fn close(mask: &mut [u8], size: Size, reach: Size) {
    dilate(mask, size, reach);
    extreme(mask, size, reach, 255);
}

/// The largest within a rectangle of `2·reach + 1` pixels.
pub fn dilate(mask: &mut [u8], size: Size, reach: Size) {
    extreme(mask, size, reach, 0);
}

/// The largest, or the smallest, around each pixel.
fn extreme(mask: &mut [u8], (width, height): Size, (across, down): Size, outside: u8) {
    let is_max = outside == 0;
    let mut rows = vec![0u8; width * height];
    let mut padded = vec![outside; width + 2 * across];
    for (row, out) in mask.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        padded[across..across + width].copy_from_slice(row);
        out.copy_from_slice(&padded[..width]);
        for shift in 1..=2 * across {
            fold(out, &padded[shift..shift + width], is_max);
        }
    }
    for (y, out) in mask.chunks_exact_mut(width).enumerate() {
        let first = y.saturating_sub(down);
        out.copy_from_slice(&rows[first * width..][..width]);
        for line in first + 1..=(y + down).min(height - 1) {
            fold(out, &rows[line * width..][..width], is_max);
        }
    }
}

vectorized! {
    /// The larger or the smaller of both, in place.
    fold(out: &mut [u8], row: &[u8], is_max: bool) -> () {
        if is_max {
            out.iter_mut().zip(row).for_each(|(out, value)| *out = (*out).max(*value));
        } else {
            out.iter_mut().zip(row).for_each(|(out, value)| *out = (*out).min(*value));
        }
    }
}

vectorized! {
    /// Where a colour of packed RGB differs by more than `than`.
    pub changed(now: &[u8], before: &[u8], than: u8, out: &mut [u8]) -> () {
        for ((now, before), out) in now.chunks_exact(3).zip(before.chunks_exact(3)).zip(out) {
            let off = now[0].abs_diff(before[0]).max(now[1].abs_diff(before[1])).max(now[2].abs_diff(before[2]));
            *out = if off > than { 255 } else { 0 };
        }
    }
}

vectorized! {
    /// Takes packed RGB nearer to `now` by a sixteenth of the difference, at least by one, except where `not` is.
    pub follow(picture: &mut [u8], now: &[u8], not: &[u8]) -> () {
        for ((picture, now), not) in picture.chunks_exact_mut(3).zip(now.chunks_exact(3)).zip(not) {
            for (value, &now) in picture.iter_mut().zip(now) {
                let (up, down) = (now.saturating_sub(*value), value.saturating_sub(now));
                let step = |off: u8| off / 16 + u8::from(off % 16 != 0);
                let next = *value + step(up) - step(down);
                *value = if *not == 0 { next } else { *value };
            }
        }
    }
}
