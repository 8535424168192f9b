//! Where things that touch are thin between: a watershed of how deep inside a piece its pixels lie.
//!
//! Pixels are taken from the deepest on (Meyer, Signal Processing 1994, floods the same way); where two hills meet they become one,
//! unless the place they meet at, the neck, is thin against both.

use super::parts::{Part, climb, components};

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
    let depths = depths(part);
    if is_one_hill(&depths, part.width + 2) {
        return None;
    }
    let tops = Hills::of(part, &depths, least / 2.0).tops(part);
    let mut all: Vec<u32> = Vec::new();
    let inside = part.mask.iter().zip(&tops).filter(|(is_in, _)| **is_in);
    inside.for_each(|(_, top)| {
        if !all.contains(top) {
            all.push(*top)
        }
    });
    if all.len() < 2 {
        return None;
    }
    all.sort_unstable();
    let of_hill = |top: u32| {
        let mask = part.mask.iter().zip(&tops).map(|(&is_in, &own)| is_in && own == top).collect();
        Part { mask, ..part.clone() }.columns(0, part.width)
    };
    Some(all.into_iter().map(of_hill).collect())
}

/// Whether a piece is seen to be one without a flood: it hangs together, as does what is too deep for a neck, and nothing else is deep enough for a
/// hill of its own.
fn is_one_hill(depths: &[u16], width: usize) -> bool {
    let deepest = depths.iter().copied().max().unwrap_or(0);
    // The deepest that a neck can be, whichever hills it is between.
    let neck = (NECK * f32::from(deepest)) as u16;
    let deep = (DEEP * UNIT) as u16;
    let size = (width, depths.len() / width);
    let hangs_together = |above: u16| {
        let mask: Vec<u8> = depths.iter().map(|depth| if *depth > above { 255 } else { 0 }).collect();
        components(&mask, size).len() == 1
    };
    // What is left where a part was cut off may not.
    if !hangs_together(0) {
        return false;
    }
    if deepest < deep {
        return true;
    }
    let is_hill = |at: usize| around(at, width).iter().all(|next| depths[*next] <= depths[at]);
    let mut rest = depths.iter().enumerate().filter(|(_, depth)| (deep..=neck).contains(*depth));
    hangs_together(neck) && !rest.any(|(at, _)| is_hill(at))
}

/// The hills of a piece with its holes filled, in its box with a margin of one pixel.
struct Hills {
    width: usize,
    /// Each pixel's way to the top of its hill.
    up: Vec<u32>,
}

impl Hills {
    fn of(part: &Part, depths: &[u16], least: f32) -> Self {
        let width = part.width + 2;
        let mut hills = Self { width, up: vec![NOT_YET; depths.len()] };
        let mut necks: Vec<[u32; 2]> = Vec::new();
        for at in from_the_deepest(depths) {
            hills.up[at] = at as u32;
            let mut own = at as u32;
            // Up the steepest way, so that no hill creeps along the foot of another.
            let mut beside = around(at, width);
            let deepest =
                (1..beside.len()).fold(0, |best, k| if depths[beside[k]] > depths[beside[best]] { k } else { best });
            beside.swap(0, deepest);
            for next in beside {
                // Most neighbours know their top, which is this pixel's, too.
                if hills.up[next] == NOT_YET || hills.up[next] == own {
                    continue;
                }
                let other = hills.climb(next as u32);
                if own == other {
                    continue;
                }
                let [low, high] =
                    if depths[own as usize] < depths[other as usize] { [own, other] } else { [other, own] };
                let lower = f32::from(depths[low as usize]);
                if lower >= DEEP * UNIT && f32::from(depths[at]) <= NECK * lower {
                    necks.push([low, high]);
                } else {
                    hills.up[low as usize] = high;
                    own = high;
                }
            }
        }
        // What is too small for a thing belongs to what it touches most broadly.
        let mut areas = vec![0f32; depths.len()];
        for (&is_in, top) in part.mask.iter().zip(hills.tops(part)) {
            areas[top as usize] += f32::from(u8::from(is_in));
        }
        for neck in necks {
            let [one, other] = neck.map(|top| hills.climb(top));
            let [own, beside] = [one, other].map(|top| areas[top as usize]);
            if one != other && own.min(beside) < least.max(SIDE * own.max(beside)) {
                hills.up[one as usize] = other;
                areas[other as usize] += areas[one as usize];
            }
        }
        hills
    }

    /// The top of a pixel's hill.
    fn climb(&mut self, at: u32) -> u32 {
        climb(&mut self.up, at)
    }

    /// Of each pixel of the piece's box, row by row; of those outside the piece, their own.
    fn tops(&mut self, part: &Part) -> Vec<u32> {
        let mut tops = Vec::with_capacity(part.mask.len());
        for y in 1..=part.height {
            for at in (y * self.width + 1) as u32..(y * self.width + 1 + part.width) as u32 {
                tops.push(if self.up[at as usize] == NOT_YET { at } else { self.climb(at) });
            }
        }
        tops
    }
}

/// The pixels with a depth, the deepest first; of one depth in their order.
fn from_the_deepest(depths: &[u16]) -> Vec<usize> {
    let deepest = usize::from(depths.iter().copied().max().unwrap_or(0));
    // How many lie deeper: where the first of a depth comes.
    let mut places = vec![0usize; deepest + 2];
    depths.iter().filter(|depth| **depth > 0).for_each(|depth| places[usize::from(*depth) - 1] += 1);
    for depth in (0..deepest).rev() {
        places[depth] += places[depth + 1];
    }
    let mut order = vec![0; places[0]];
    for (at, &depth) in depths.iter().enumerate().filter(|(_, depth)| **depth > 0) {
        let place = &mut places[usize::from(depth)];
        order[*place] = at;
        *place += 1;
    }
    order
}

fn around(at: usize, width: usize) -> [usize; 8] {
    [at - width - 1, at - width, at - width + 1, at - 1, at + 1, at + width - 1, at + width, at + width + 1]
}

/// How deep inside the piece, its holes filled, each pixel of its box with a margin of one pixel lies; 0 outside.
fn depths(part: &Part) -> Vec<u16> {
    const HOLE: u16 = u16::MAX - 1;
    let width = part.width + 2;
    let mut depths = vec![HOLE; width * (part.height + 2)];
    for (row, inside) in depths.chunks_exact_mut(width).skip(1).zip(part.mask.chunks_exact(part.width)) {
        row[1..].iter_mut().zip(inside).for_each(|(depth, is_in)| *depth = if *is_in { u16::MAX } else { HOLE });
    }
    depths[0] = 0;
    let mut open = vec![0usize];
    while let Some(at) = open.pop() {
        // At the end of a row the next begins: both are margin.
        for next in [at.wrapping_sub(1), at + 1, at.wrapping_sub(width), at + width] {
            if let Some(depth) = depths.get_mut(next).filter(|depth| **depth == HOLE) {
                *depth = 0;
                open.push(next);
            }
        }
    }
    for y in 1..=part.height {
        let (before, row) = depths.split_at_mut(y * width);
        lower(&mut row[..width], &before[(y - 1) * width..], false);
    }
    for y in (1..=part.height).rev() {
        let (row, after) = depths.split_at_mut((y + 1) * width);
        lower(&mut row[y * width..], &after[..width], true);
    }
    depths
}

/// A row, but its margin, is no deeper than the row beside it and its own pixels before, in this direction, let it be.
fn lower(row: &mut [u16], beside: &[u16], is_backward: bool) {
    let inner = 1..row.len() - 1;
    for (depth, near) in row[inner.clone()].iter_mut().zip(beside.windows(3)) {
        let straight = near[1].saturating_add(5);
        *depth = (*depth).min(straight).min(near[0].saturating_add(7)).min(near[2].saturating_add(7));
    }
    let mut last = 0u16;
    let mut along = |depth: &mut u16| {
        last = (*depth).min(last.saturating_add(5));
        *depth = last;
    };
    match is_backward {
        false => row[inner].iter_mut().for_each(&mut along),
        true => row[inner].iter_mut().rev().for_each(&mut along),
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
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
    fn a_piece_that_is_seen_to_be_one_is_one_by_the_flood() {
        let mut random = Random::new(11);
        let (mut seen, mut flooded) = (0, 0);
        for _ in 0..400 {
            let mut draw = |least: u32, most: u32| (least + random.next() as u32 % (most - least)) as i32;
            let circles = Vec::from_iter((0..draw(1, 6)).map(|_| (draw(20, 80), draw(20, 80), draw(2, 18))));
            let part = piece(&circles, [draw(10, 40)..60, draw(30, 50)..52], [40..draw(41, 50), 40..44]);
            // A part that was cut off may not hang together.
            let part = part.columns(0, part.width * (2 + random.next() as usize % 3) / 4);
            let depths = depths(&part);
            let tops = Hills::of(&part, &depths, 0.0).tops(&part);
            let mut tops =
                Vec::from_iter(tops.iter().zip(&part.mask).filter(|(_, is_in)| **is_in).map(|(top, _)| *top));
            tops.sort_unstable();
            tops.dedup();
            flooded += usize::from(tops.len() == 1);
            if is_one_hill(&depths, part.width + 2) {
                seen += 1;
                assert_eq!(tops.len(), 1);
            }
        }
        assert!(seen > 50 && flooded < 400, "{seen} of {flooded}");
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
