//! Which pictures are new: a perceptual hash, and those seen before.

use super::luma;
use crate::picture::RgbImage;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Cells that a picture is hashed by: 16 differences in each of 16 rows.
const CELLS: (u32, u32) = (17, 16);
/// A cell is brighter than its neighbour when it is so by more than this, of 255: what is flat stays flat, whatever its noise.
const MARGIN: u8 = 2;
/// Pictures of at most this many different bits, of 256 …
const NEAR_BITS: u32 = 12;
/// … and of about the same mean brightness, of 255, are the same picture.
const NEAR_MEAN: u8 = 24;
/// Prints that are kept, 40 bytes each; the oldest are forgotten.
const LIMIT: usize = 1 << 20;

/// A difference hash (dHash): whether brightness rises from cell to cell along each row, and its mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    bits: [u64; 4],
    mean: u8,
}

impl Print {
    pub fn of(picture: &RgbImage) -> Self {
        let luma = luma(picture, CELLS.0, CELLS.1);
        let mut bits = [0; 4];
        let rises = luma.chunks_exact(CELLS.0 as usize).flat_map(|row| row.windows(2));
        for (at, _) in rises.enumerate().filter(|(_, pair)| pair[1] > pair[0].saturating_add(MARGIN)) {
            bits[at / 64] |= 1 << (at % 64);
        }
        let mean = luma.iter().map(|&value| usize::from(value)).sum::<usize>() / luma.len().max(1);
        Self { bits, mean: mean as u8 }
    }

    /// Whether the pictures look the same but for noise, compression and size.
    pub fn is_near(&self, other: &Self) -> bool {
        self.distance(other) <= NEAR_BITS && self.mean.abs_diff(other.mean) <= NEAR_MEAN
    }

    fn distance(&self, other: &Self) -> u32 {
        self.bits.iter().zip(&other.bits).map(|(a, b)| (a ^ b).count_ones()).sum()
    }
}

/// The prints of a set, compared one by one: a million take about a millisecond, far less than a look at the picture.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    prints: VecDeque<Print>,
}

impl Seen {
    /// Whether a picture like this one was kept, before the last `but` that were.
    pub fn has(&self, print: &Print, but: usize) -> bool {
        self.prints.iter().take(self.prints.len().saturating_sub(but)).any(|seen| seen.is_near(print))
    }

    /// Keeps a print.
    pub fn keep(&mut self, print: Print) {
        if self.prints.len() == LIMIT {
            self.prints.pop_front();
        }
        self.prints.push_back(print);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smooth waves with a bright square, `shift` cells from the left.
    fn scene(width: u32, height: u32, shift: f32, noise: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
            let ground = 110.0 + 60.0 * (9.0 * u + 4.0 * v).sin() * (7.0 * v).cos();
            let is_in = (u - 0.2 - shift).abs() < 0.12 && (v - 0.5).abs() < 0.2;
            let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)) % (noise + 1);
            let value = (if is_in { 240.0 } else { ground } + grain as f32).clamp(0.0, 255.0) as u8;
            [value, value, value].into()
        })
    }

    #[test]
    fn size_and_noise_do_not_make_another_picture_but_a_moved_thing_does() {
        let print = Print::of(&scene(320, 240, 0.0, 0));
        for same in [scene(640, 480, 0.0, 0), scene(200, 150, 0.0, 0), scene(320, 240, 0.0, 12)] {
            assert!(print.is_near(&Print::of(&same)), "{}", print.distance(&Print::of(&same)));
        }
        let moved = Print::of(&scene(320, 240, 0.4, 0));
        assert!(!print.is_near(&moved), "{}", print.distance(&moved));
    }

    #[test]
    fn black_is_not_white_and_nothing_is_too_small() {
        let plain = |value: u8, side| Print::of(&RgbImage::from_pixel(side, side, [value; 3].into()));
        assert!(plain(0, 1).is_near(&plain(0, 300)));
        assert!(!plain(0, 1).is_near(&plain(255, 1)));
    }

    #[test]
    fn the_oldest_is_forgotten_so_that_memory_is_bounded() {
        let print =
            |n: usize| Print { bits: [n as u64, (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15), 0, 0], mean: 0 };
        let mut seen = Seen::default();
        (0..LIMIT + 1).for_each(|n| seen.keep(print(n)));
        assert_eq!((seen.prints.len(), seen.prints[0]), (LIMIT, print(1)));
        assert!(seen.has(&print(LIMIT), 0) && !seen.has(&print(LIMIT), 1) && !seen.has(&print(2), LIMIT + 5));
    }
}
