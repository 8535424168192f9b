//! Which small thing before a still camera is looked at again, by grey pictures alone: pixels that are other than usual, a few of them
//! together, and of several such the one that was not looked at for longest.

use super::grey::Grey;
use std::collections::VecDeque;

/// A pixel is other beyond so many grey values plus so many times what it usually is off by.
const LEAST: f32 = 5.0;
const NOISES: f32 = 4.0;
/// What is usual follows in so many seconds, where a pixel is other in so many times as many; one frame has at most so much of a say.
const USUAL_S: f32 = 4.0;
const OTHER: f32 = 2.0;
/// Other pixels that are no further apart are one thing.
const REACH: usize = 1;
/// The fewest of them, and the largest box as a share of the picture, for several things that touch: what is larger needs no second look.
const PIXELS: usize = 2;
const MOST: f32 = 0.02;
/// Looks that are remembered, to take turns.
const LOOKS: usize = 32;

/// What a still camera usually sees, and what small is other now.
#[derive(Default)]
pub struct Again {
    usual: Vec<f32>,
    off: Vec<f32>,
    frames: u32,
    last_ns: u64,
    /// `[xmin, ymin, xmax, ymax]` in grey pixels, of the last picture.
    small: Vec<[f32; 4]>,
    /// The middles of those that were looked at, the latest last.
    looked: VecDeque<[f32; 2]>,
}

impl Again {
    pub fn bytes(&self) -> usize {
        4 * (self.usual.len() + self.off.len())
    }

    /// The next picture of the same view.
    pub fn see(&mut self, now: &Grey, pts_ns: u64) {
        if self.usual.len() != now.values.len() {
            *self = Self { usual: now.values.clone(), off: vec![0.0; now.values.len()], ..Self::default() };
        }
        self.frames = self.frames.saturating_add(1);
        let seconds = if self.frames == 1 { 0.0 } else { pts_ns.saturating_sub(self.last_ns) as f32 / 1e9 };
        self.last_ns = pts_ns;
        let rate = (seconds / USUAL_S).max(1.0 / self.frames as f32).min(0.5);
        let mut is_other = vec![false; now.values.len()];
        for (at, is_other) in is_other.iter_mut().enumerate() {
            let (usual, off) = (&mut self.usual[at], &mut self.off[at]);
            let change = now.values[at] - *usual;
            *is_other = change.abs() > LEAST + NOISES * *off;
            let rate = if *is_other { rate / OTHER } else { rate };
            *usual += rate * change;
            *off += rate * (change.abs().min(LEAST + 2.0 * *off) - *off);
        }
        self.small = small(&mut is_other, now.width, now.height);
    }

    /// The next picture is of the same view, but not in its place.
    pub fn pass_over(&mut self) {
        self.small.clear();
    }

    /// The box of the small thing whose turn it is, in grey pixels.
    pub fn next(&mut self) -> Option<[f32; 4]> {
        let middle = |bbox: &[f32; 4]| [(bbox[0] + bbox[2]) / 2.0, (bbox[1] + bbox[3]) / 2.0];
        let last = |bbox: &[f32; 4]| {
            let (at, reach) = (middle(bbox), 2.0 * (bbox[2] - bbox[0]).max(bbox[3] - bbox[1]));
            self.looked.iter().rposition(|of| (of[0] - at[0]).hypot(of[1] - at[1]) <= reach).map_or(0, |look| look + 1)
        };
        let bbox = *self.small.iter().min_by_key(|bbox| last(bbox))?;
        self.looked.push_back(middle(&bbox));
        if self.looked.len() > LOOKS {
            self.looked.pop_front();
        }
        Some(bbox)
    }
}

/// The boxes of the small groups of set pixels, which are taken out.
fn small(is_set: &mut [bool], width: usize, height: usize) -> Vec<[f32; 4]> {
    let most = MOST * is_set.len() as f32;
    let (mut boxes, mut open) = (Vec::new(), Vec::new());
    for first in 0..is_set.len() {
        if !std::mem::take(&mut is_set[first]) {
            continue;
        }
        open.push(first);
        let ([mut left, mut top, mut right, mut bottom], mut count) = ([width, height, 0, 0], 0);
        while let Some(at) = open.pop() {
            count += 1;
            let (x, y) = (at % width, at / width);
            (left, right, top, bottom) = (left.min(x), right.max(x + 1), top.min(y), bottom.max(y + 1));
            for y in y.saturating_sub(REACH)..(y + REACH + 1).min(height) {
                for x in x.saturating_sub(REACH)..(x + REACH + 1).min(width) {
                    if std::mem::take(&mut is_set[y * width + x]) {
                        open.push(y * width + x);
                    }
                }
            }
        }
        if count >= PIXELS && ((right - left) * (bottom - top)) as f32 <= most {
            boxes.push([left, top, right, bottom].map(|edge| edge as f32));
        }
    }
    boxes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (192, 108);

    fn picture(things: &[[usize; 4]]) -> Grey {
        let mut values: Vec<f32> = (0..SIZE.0 * SIZE.1).map(|at| 80.0 + (at % 13) as f32).collect();
        for &[left, top, right, bottom] in things {
            for y in top..bottom {
                values[y * SIZE.0 + left..y * SIZE.0 + right].fill(180.0);
            }
        }
        Grey { width: SIZE.0, height: SIZE.1, values }
    }

    #[test]
    fn small_things_take_turns_and_large_ones_need_no_second_look() {
        let mut again = Again::default();
        for frame in 0..20 {
            again.see(&picture(&[]), frame * 40_000_000);
            assert_eq!(again.next(), None, "nothing is there");
        }
        let (three, large) = ([[20, 30, 23, 35], [90, 60, 92, 64], [150, 20, 154, 24]], [100, 10, 130, 40]);
        let mut turns = Vec::new();
        for frame in 20..29 {
            again.see(&picture(&[&three[..], &[large]].concat()), frame * 40_000_000);
            turns.push(again.next().unwrap().map(|edge| edge as usize));
        }
        for thing in three {
            assert_eq!(turns.iter().filter(|turn| **turn == thing).count(), 3, "{thing:?} of {turns:?}");
        }
    }
}
