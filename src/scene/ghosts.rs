//! Thing or ghost: where pixels differ from the scene and nothing moves, either something came, or something that was always there
//! has left its hole. What is there has a contour: the picture that shows it, now or before, is the one with edges along the outline.

use super::mask::Size;
use super::parts::{Part, components};

/// How far from the outline its two sides are compared, and how far beyond it the surroundings with themselves, in pixels.
const REACH: isize = 2;
const BEYOND: isize = 8;
/// A hole's contour was stronger by so much (sum over the colours), ...
const CONTRAST: f32 = 10.0;
/// ... where so much of its outline is not shared with what moves.
const FREE: f32 = 0.4;
/// Of a part that moves in more than this share of its pixels, the pieces that are still are looked at: holes that something is
/// just leaving.
const MOVING: f32 = 0.4;
/// The smallest of them, as a share of the part.
const PIECE: f32 = 0.1;

/// Steps from pixel to pixel of fewer grey values are noise.
const TEXTURE: f32 = 2.5;

/// What is compared: packed RGB now and of the scene, and a mask of what moves.
pub struct Compared<'a> {
    pub now: &'a [u8],
    pub scene: &'a [u8],
    pub moving: &'a [u8],
    pub size: Size,
}

/// The parts, whole or pieces, that are holes; `parts` are components of the foreground, `least` is the smallest area.
pub fn find<'a>(parts: impl Iterator<Item = &'a Part>, compared: &Compared, least: f32) -> Vec<Part> {
    let (width, _) = compared.size;
    let is_still = |at: &usize| compared.moving[*at] == 0;
    let mut found = Vec::new();
    for part in parts.filter(|part| part.area as f32 >= least) {
        let still = part.pixels(width).filter(is_still).count();
        if (part.area - still) as f32 <= MOVING * part.area as f32 {
            if is_hole(part, compared, false) {
                found.push(part.clone());
            }
            continue;
        }
        let mut mask = vec![0u8; part.mask.len()];
        let places = part.mask.iter().enumerate().filter(|(_, is_in)| **is_in).map(|(at, _)| at);
        places.zip(part.pixels(width)).filter(|(_, at)| is_still(at)).for_each(|(place, _)| mask[place] = 255);
        let least = least.max(PIECE * part.area as f32);
        let pieces = components(&mask, (part.width, part.height)).into_iter();
        let pieces = pieces.map(|piece| Part { x: piece.x + part.x, y: piece.y + part.y, ..piece });
        found.extend(pieces.filter(|piece| piece.area as f32 >= least && is_hole(piece, compared, true)));
    }
    found
}

/// Whether the scene has more contrast across the outline than the picture has, beyond what the surroundings have anyway. Of a piece,
/// the outline towards what moves has no say.
fn is_hole(part: &Part, compared: &Compared, is_piece: bool) -> bool {
    let Contour { now, scene, around, free } = contour(part, compared, is_piece);
    let [now, scene] = [now, scene].map(|contrast| (contrast - around).max(0.0));
    scene > now + CONTRAST && free > FREE
}

/// Mean differences (sums over the colours) along the outline of a part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contour {
    /// Across the outline, in the picture and in the scene.
    pub now: f32,
    pub scene: f32,
    /// Of the surroundings with themselves.
    pub around: f32,
    /// The share of the outline that was looked at.
    pub free: f32,
}

/// How much of the scene's texture a part keeps: the correlation of neighbouring pixels' differences, now and in the scene, -1 to 1; none
/// where there is too little of it to tell. Light and shadow keep what is under them, a thing hides it.
pub fn kept_texture(part: &Part, now: &[u8], scene: &[u8], (width, height): Size) -> Option<f32> {
    // Green is most of what is seen.
    let step =
        |picture: &[u8], from: usize, to: usize| i32::from(picture[3 * to + 1]) - i32::from(picture[3 * from + 1]);
    let mut sums = [0i64; 3];
    for (y, row) in part.mask.chunks_exact(part.width.max(1)).enumerate() {
        let first = (part.y + y) * width + part.x;
        let is_last_row = part.y + y + 1 == height;
        let mut of_row = [0i32; 3];
        for x in (0..part.width).filter(|&x| row[x]) {
            let at = first + x;
            let mut count = |next: usize| {
                let (a, b) = (step(now, at, next), step(scene, at, next));
                of_row = [of_row[0] + a * b, of_row[1] + a * a, of_row[2] + b * b];
            };
            if part.x + x + 1 < width {
                count(at + 1);
            }
            if !is_last_row {
                count(at + width);
            }
        }
        sums.iter_mut().zip(of_row).for_each(|(sum, row)| *sum += i64::from(row));
    }
    let [both, of_now, of_scene] = sums.map(|sum| sum as f32);
    let least = 2.0 * TEXTURE * TEXTURE * part.area as f32;
    (of_scene >= least && of_now > 0.0).then(|| both / (of_now * of_scene).sqrt())
}

/// Compares both sides of a part's outline; `without_moving` leaves out where it borders on what moves.
pub fn contour(part: &Part, compared: &Compared, without_moving: bool) -> Contour {
    let Compared { now, scene, moving, .. } = *compared;
    let (mut sums, mut count, mut all) = ([0u32; 3], 0u32, 0u32);
    let off = |picture: &[u8], a: usize, b: usize| -> u32 {
        (0..3).map(|colour| u32::from(picture[3 * a + colour].abs_diff(picture[3 * b + colour]))).sum()
    };
    outline(part, |x, y, dx, dy| {
        all += 1;
        let at = |reach: isize| place(x + dx * reach, y + dy * reach, compared.size);
        let (Some(inside), Some(next), Some(outside)) = (at(-REACH), at(1), at(REACH + 1)) else { return };
        if without_moving && moving[next] != 0 {
            return;
        }
        let beyond = at(BEYOND).unwrap_or(outside);
        sums[0] += off(now, inside, outside);
        sums[1] += off(scene, inside, outside);
        sums[2] += off(now, outside, beyond);
        count += 1;
    });
    let [now, scene, around] = sums.map(|sum| sum as f32 / count.max(1) as f32);
    Contour { now, scene, around, free: count as f32 / all.max(1) as f32 }
}

/// Each pixel of a part with a neighbour outside of it, and the step to it: `(x, y, dx, dy)`.
fn outline(part: &Part, mut each: impl FnMut(isize, isize, isize, isize)) {
    let width = part.width;
    let row = |y: usize| part.mask.get(y * width..(y + 1) * width);
    for (y, own) in part.mask.chunks_exact(width.max(1)).enumerate() {
        let (above, below) = (y.checked_sub(1).and_then(row), row(y + 1));
        for x in (0..width).filter(|&x| own[x]) {
            let is_out = |row: Option<&[bool]>| row.is_none_or(|row| !row[x]);
            let beside = [(x + 1 == width || !own[x + 1], (1, 0)), (x == 0 || !own[x - 1], (-1, 0))];
            let steps = beside.into_iter().chain([(is_out(below), (0, 1)), (is_out(above), (0, -1))]);
            for (_, (dx, dy)) in steps.filter(|(is_out, _)| *is_out) {
                each((x + part.x) as isize, (y + part.y) as isize, dx, dy);
            }
        }
    }
}

fn place(x: isize, y: isize, (width, height): Size) -> Option<usize> {
    let is_in = (0..width as isize).contains(&x) && (0..height as isize).contains(&y);
    is_in.then(|| y as usize * width + x as usize)
}
