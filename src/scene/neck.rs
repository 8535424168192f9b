//! Where things that touch are thin between: a watershed of how deep inside a piece its pixels lie.
//!
//! Pixels are taken from the deepest on (Meyer, Signal Processing 1994, floods the same way); where two hills meet they become one,
//! unless the place they meet at, the neck, is thin against both.

use super::parts::Part;

/// A neck is at most this share of the depth of both sides.
const NECK: f32 = 0.3;
/// Each side is at least so deep, in pixels ...
const DEEP: f32 = 3.0;
/// ... and has this share of the other's pixels.
const SIDE: f32 = 0.25;
/// Depth is counted in fifths of a pixel, by steps of 5 and 7 (Borgefors, CVGIP 1986).
const UNIT: f32 = 5.0;
const NOT_YET: u32 = u32::MAX;

/// The things of a piece; none where it is one. `least` is the smallest area of a thing.
pub fn cut(part: &Part, least: f32) -> Option<Vec<Part>> {
    let hills = Hills::of(part, least / 2.0);
    let inside = part.mask.iter().zip(hills.tops()).filter(|(is_in, _)| **is_in);
    let mut tops: Vec<u32> = inside.map(|(_, top)| top).collect();
    tops.sort_unstable();
    tops.dedup();
    if tops.len() < 2 {
        return None;
    }
    let of_hill = |top: u32| {
        let mask = part.mask.iter().zip(hills.tops()).map(|(&is_in, own)| is_in && own == top).collect();
        Part { mask, ..part.clone() }.columns(0, part.width)
    };
    Some(tops.into_iter().map(of_hill).collect())
}

/// The hills of a piece with its holes filled, in its box with a margin of one pixel.
struct Hills {
    width: usize,
    /// Each pixel's way to the top of its hill.
    up: Vec<u32>,
}

impl Hills {
    fn of(part: &Part, least: f32) -> Self {
        let depths = depths(part);
        let width = part.width + 2;
        let mut order: Vec<usize> = (0..depths.len()).filter(|&at| depths[at] > 0).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(depths[at]));
        let mut hills = Self { width, up: vec![NOT_YET; depths.len()] };
        let mut necks: Vec<[u32; 2]> = Vec::new();
        for at in order {
            hills.up[at] = at as u32;
            // Up the steepest way, so that no hill creeps along the foot of another.
            let mut beside = around(at, width);
            let deepest =
                (1..beside.len()).fold(0, |best, k| if depths[beside[k]] > depths[beside[best]] { k } else { best });
            beside.swap(0, deepest);
            for next in beside {
                if hills.up[next] == NOT_YET {
                    continue;
                }
                let (own, other) = (hills.top(at as u32), hills.top(next as u32));
                let [low, high] =
                    if depths[own as usize] < depths[other as usize] { [own, other] } else { [other, own] };
                let lower = f32::from(depths[low as usize]);
                if lower >= DEEP * UNIT && f32::from(depths[at]) <= NECK * lower {
                    if own != other {
                        necks.push([low, high]);
                    }
                } else {
                    hills.up[low as usize] = high;
                }
            }
        }
        // What is too small for a thing belongs to what it touches most broadly.
        let mut areas = vec![0f32; depths.len()];
        for (&is_in, top) in part.mask.iter().zip(hills.tops()) {
            areas[top as usize] += f32::from(u8::from(is_in));
        }
        for neck in necks {
            let [one, other] = neck.map(|top| hills.top(top));
            let [own, beside] = [one, other].map(|top| areas[top as usize]);
            if one != other && own.min(beside) < least.max(SIDE * own.max(beside)) {
                hills.up[one as usize] = other;
                areas[other as usize] += areas[one as usize];
            }
        }
        hills
    }

    fn top(&self, mut at: u32) -> u32 {
        while self.up[at as usize] != at {
            at = self.up[at as usize];
        }
        at
    }

    /// Of each pixel of the piece's box, row by row; of those outside the piece, their own.
    fn tops(&self) -> impl Iterator<Item = u32> {
        let inner = self.width - 2;
        let rows = self.up.len() / self.width - 2;
        (0..inner * rows).map(move |at| (at / inner + 1) * self.width + at % inner + 1).map(|at| match self.up[at] {
            NOT_YET => at as u32,
            _ => self.top(at as u32),
        })
    }
}

fn around(at: usize, width: usize) -> [usize; 8] {
    [at - width - 1, at - width, at - width + 1, at - 1, at + 1, at + width - 1, at + width, at + width + 1]
}

/// How deep inside the piece, its holes filled, each pixel of its box with a margin of one pixel lies; 0 outside.
fn depths(part: &Part) -> Vec<u16> {
    let (width, height) = (part.width + 2, part.height + 2);
    let mut depths = vec![u16::MAX; width * height];
    let is_in = |at: usize| {
        let (x, y) = (at % width, at / width);
        (1..=part.width).contains(&x) && (1..=part.height).contains(&y) && part.mask[(y - 1) * part.width + x - 1]
    };
    depths[0] = 0;
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        let (x, y) = (at % width, at / width);
        let beside = [(x > 0, at.wrapping_sub(1)), (x + 1 < width, at + 1)];
        let above = [(y > 0, at.wrapping_sub(width)), (y + 1 < height, at + width)];
        for (_, next) in beside.into_iter().chain(above).filter(|(is_there, _)| *is_there) {
            if depths[next] != 0 && !is_in(next) {
                depths[next] = 0;
                open.push(next);
            }
        }
    }
    let inner = |at: &usize| (1..=part.width).contains(&(at % width));
    let rows = width..width * (height - 1);
    let lower = |depths: &mut [u16], at: usize, from: [(usize, u16); 4]| {
        let near = from.map(|(next, step)| depths[next].saturating_add(step));
        depths[at] = near.into_iter().fold(depths[at], u16::min);
    };
    for at in rows.clone().filter(inner) {
        lower(&mut depths, at, [(at - 1, 5), (at - width, 5), (at - width - 1, 7), (at - width + 1, 7)]);
    }
    for at in rows.rev().filter(inner) {
        lower(&mut depths, at, [(at + 1, 5), (at + width, 5), (at + width + 1, 7), (at + width - 1, 7)]);
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::super::parts::components;
    use super::*;

    /// Filled circles `(x, y, radius)` and a bar between columns, of rows.
    fn piece(circles: &[(i32, i32, i32)], bar: [std::ops::Range<i32>; 2], hole: [std::ops::Range<i32>; 2]) -> Part {
        let is_in = |(x, y): (i32, i32)| {
            let round = circles.iter().any(|(cx, cy, r)| (x - cx).pow(2) + (y - cy).pow(2) <= r * r);
            (round || bar[0].contains(&x) && bar[1].contains(&y)) && !(hole[0].contains(&x) && hole[1].contains(&y))
        };
        let mask: Vec<u8> = (0..100 * 100).map(|at| if is_in((at % 100, at / 100)) { 255 } else { 0 }).collect();
        components(&mask, (100, 100)).remove(0)
    }

    fn boxes(part: Part) -> Vec<[f32; 4]> {
        let area = part.area;
        let things = cut(&part, 10.0).unwrap_or(vec![part]);
        assert_eq!(things.iter().map(|thing| thing.area).sum::<usize>(), area);
        let mut boxes: Vec<[f32; 4]> = things.iter().map(Part::bounds).collect();
        boxes.sort_by(|a, b| a[0].total_cmp(&b[0]));
        boxes
    }

    #[test]
    fn two_that_touch_at_a_thin_place_are_two_whichever_way_they_lie() {
        // Diagonal, so that no column and no row of the piece is thin.
        let two = boxes(piece(&[(30, 30, 14), (52, 50, 14)], [38..44, 38..44], [0..0, 0..0]));
        assert_eq!(two.len(), 2, "{two:?}");
        for (found, drawn) in two.iter().zip([[16.0, 16.0, 45.0, 45.0], [38.0, 36.0, 67.0, 65.0]]) {
            assert!((0..4).all(|edge| (found[edge] - drawn[edge]).abs() <= 3.0), "{two:?}");
        }
    }

    #[test]
    fn what_is_thick_or_has_holes_or_thin_limbs_is_one() {
        let near = piece(&[(30, 30, 14), (44, 40, 14)], [0..0, 0..0], [0..0, 0..0]);
        assert_eq!(boxes(near).len(), 1);
        let holed = piece(&[(40, 40, 25)], [0..0, 0..0], [38..42, 20..60]);
        assert_eq!(boxes(holed).len(), 1);
        let limb = piece(&[(30, 30, 14), (60, 30, 5)], [40..60, 28..32], [0..0, 0..0]);
        assert_eq!(boxes(limb).len(), 1);
    }
}
