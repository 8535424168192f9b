//! Masks over the pixels of a small picture: a byte for each, 0 or 255.

use crate::localize::kernel::vectorized;

/// `(width, height)` in pixels.
pub type Size = (usize, usize);

/// The majority of 5×5 pixels; outside is as the edge.
pub fn majority(mask: &[u8], (width, height): Size, out: &mut Vec<u8>) {
    let mut rows = vec![0u8; width * height];
    let mut padded = vec![0u8; width + 4];
    for (row, sums) in mask.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        padded[2..width + 2].copy_from_slice(row);
        (padded[0], padded[1]) = (row[0], row[0]);
        (padded[width + 2], padded[width + 3]) = (row[width - 1], row[width - 1]);
        count([0, 1, 2, 3, 4].map(|shift| &padded[shift..shift + width]), sums);
    }
    out.resize(width * height, 0);
    for (y, row) in out.chunks_exact_mut(width).enumerate() {
        let line = |offset: usize| &rows[(y + offset).saturating_sub(2).min(height - 1) * width..][..width];
        most([0, 1, 2, 3, 4].map(line), row);
    }
}

vectorized! {
    /// How many of five are set, each place by itself.
    count(of: [&[u8]; 5], out: &mut [u8]) -> () {
        let [a, b, c, d, e] = of;
        for (((((out, a), b), c), d), e) in out.iter_mut().zip(a).zip(b).zip(c).zip(d).zip(e) {
            *out = (a & 1) + (b & 1) + (c & 1) + (d & 1) + (e & 1);
        }
    }
}

vectorized! {
    /// Where the counts of five rows are more than half of all.
    most(of: [&[u8]; 5], out: &mut [u8]) -> () {
        let [a, b, c, d, e] = of;
        for (((((out, a), b), c), d), e) in out.iter_mut().zip(a).zip(b).zip(c).zip(d).zip(e) {
            *out = if a + b + c + d + e > 12 { 255 } else { 0 };
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
        // A byte of the mask for each colour, in blocks that vectors can be made of.
        let (pictures, picture_rest) = picture.as_chunks_mut::<192>();
        let (nows, now_rest) = now.as_chunks::<192>();
        let (nots, not_rest) = not.as_chunks::<64>();
        let nearer = |value: &mut u8, now: u8, not: u8| {
            let (up, down) = (now.saturating_sub(*value), value.saturating_sub(now));
            let step = |off: u8| (off >> 4) + u8::from(off & 15 != 0);
            let next = *value + step(up) - step(down);
            *value = if not == 0 { next } else { *value };
        };
        for ((picture, now), not) in pictures.iter_mut().zip(nows).zip(nots) {
            let of_colours: [u8; 192] = std::array::from_fn(|at| not[at / 3]);
            for at in 0..192 {
                nearer(&mut picture[at], now[at], of_colours[at]);
            }
        }
        for (at, value) in picture_rest.iter_mut().enumerate() {
            nearer(value, now_rest[at], not_rest[at / 3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = (37, 23);

    fn drawn() -> Vec<u8> {
        (0..SIZE.0 * SIZE.1).map(|at| if at * at % 97 % 5 < 2 { 255 } else { 0 }).collect()
    }

    /// Every pixel's neighbours within `reach`, those outside as the edge's where `is_padded`, else not at all.
    fn around(mask: &[u8], at: usize, reach: (isize, isize), is_padded: bool) -> Vec<u8> {
        let (x, y) = ((at % SIZE.0) as isize, (at / SIZE.0) as isize);
        let mut found = Vec::new();
        for row in y - reach.1..=y + reach.1 {
            for col in x - reach.0..=x + reach.0 {
                let (inner_col, inner_row) = (col.clamp(0, SIZE.0 as isize - 1), row.clamp(0, SIZE.1 as isize - 1));
                if is_padded || (inner_col, inner_row) == (col, row) {
                    found.push(mask[inner_row as usize * SIZE.0 + inner_col as usize]);
                }
            }
        }
        found
    }

    #[test]
    fn majority_and_closing_are_what_plain_loops_give() {
        let mask = drawn();
        let mut found = Vec::new();
        majority(&mask, SIZE, &mut found);
        let plain = |at| if around(&mask, at, (2, 2), true).iter().filter(|v| **v != 0).count() > 12 { 255 } else { 0 };
        assert_eq!(found, (0..mask.len()).map(plain).collect::<Vec<u8>>());

        let mut closed = mask.clone();
        close(&mut closed, SIZE, (1, 4));
        let wide: Vec<u8> = (0..mask.len()).map(|at| *around(&mask, at, (1, 4), false).iter().max().unwrap()).collect();
        let plain = |at| *around(&wide, at, (1, 4), false).iter().min().unwrap();
        assert_eq!(closed, (0..mask.len()).map(plain).collect::<Vec<u8>>());
    }

    #[test]
    fn the_scenes_picture_arrives_at_what_stays() {
        let (mut picture, now) = (vec![0, 100, 255, 7, 7, 7], [255, 90, 0, 9, 9, 9]);
        (0..200).for_each(|_| follow(&mut picture, &now, &[0, 255]));
        assert_eq!(picture, [255, 90, 0, 7, 7, 7]);
        let mut moved = [0; 2];
        changed(&[0, 0, 20, 5, 5, 5], &[0, 0, 0, 0, 0, 0], 12, &mut moved);
        assert_eq!(moved, [255, 0]);
    }
}
