//! Where small squares of one picture lie in another: inverse search (Baker and Matthews, IJCV 2004) from coarse to fine on a regular
//! grid, as in DIS (Kroeger et al., ECCV 2016, section 2), without its variational refinement.

use super::grey::{Grey, Pyramid};
use crate::localize::kernel::vectorized;

/// Side of a square, in pixels of each level.
pub const SIDE: usize = 8;
/// The coarsest level is no smaller than two squares.
pub const LEAST_SIDE: usize = 16;
const ROUNDS: usize = 6;
/// A step shorter than this is the last.
const DONE: f32 = 0.03;
/// Below this smallest eigenvalue of a square's structure (grey values², per pixel) its place cannot be told.
pub const TEXTURE: f32 = 4.0;

/// One square's movement.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vector {
    /// The square's middle in the first picture, in pixels.
    pub at: [f32; 2],
    /// Where it went, in pixels.
    pub by: [f32; 2],
    /// The mean difference that is left, in grey values; infinite where there is no texture, or where it left the picture.
    pub error: f32,
}

/// The movement of a grid of squares, row by row.
#[derive(Clone, Debug, Default)]
pub struct Field {
    pub rows: usize,
    pub cols: usize,
    pub vectors: Vec<Vector>,
}

/// Of a movement; by the root of squares, which is the same on every machine and several times as fast as `hypot`.
pub fn length([x, y]: [f32; 2]) -> f32 {
    (x * x + y * y).sqrt()
}

/// How many squares a side of this many pixels has.
fn squares(side: usize, step: usize) -> usize {
    side.saturating_sub(SIDE) / step + usize::from(side >= SIDE)
}

/// Where squares of `from` lie in `to`, pictures of one size: one every `step` pixels of each level; nothing is said of squares with
/// less than this [`TEXTURE`].
pub fn flow(from: &Pyramid, to: &Pyramid, step: usize, texture: f32) -> Field {
    let mut field = Field::default();
    for (from, to) in from.0.iter().zip(&to.0).rev() {
        field = refined(from, to, &field, step, texture);
    }
    field
}

/// The field of one level, begun from the coarser one's.
fn refined(from: &Grey, to: &Grey, coarser: &Field, step: usize, texture: f32) -> Field {
    let (rows, cols) = (squares(from.height, step), squares(from.width, step));
    let usual = usual(coarser);
    let mut vectors = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        for col in 0..cols {
            let (x, y) = (col * step, row * step);
            let square = Square::of(from, x, y);
            let at = [x, y].map(|edge| edge as f32 + SIDE as f32 / 2.0 - 0.5);
            if square.texture < texture {
                let by = guess(coarser, row, col);
                vectors.push(Vector { at, by, error: f32::INFINITY });
                continue;
            }
            // The best of the coarser level's, there and of most squares, the neighbours' and none.
            let before: Option<&Vector> = if col > 0 { vectors.last() } else { None };
            let above: Option<&Vector> = if row > 0 { vectors.get((row - 1) * cols + col) } else { None };
            let mut best = guess(coarser, row, col);
            let mut least = square.difference(to, best).error;
            for by in [before, above].into_iter().flatten().map(|vector| vector.by).chain([usual, [0.0; 2]]) {
                if length([by[0] - best[0], by[1] - best[1]]) > DONE {
                    let error = square.difference(to, by).error;
                    if error < least {
                        (best, least) = (by, error);
                    }
                }
            }
            let (by, error) = square.search(to, best);
            vectors.push(Vector { at, by, error });
        }
    }
    Field { rows, cols, vectors }
}

/// The median of the coarser level's movements, in this level's pixels: the camera's, mostly.
fn usual(coarser: &Field) -> [f32; 2] {
    let mut told: Vec<&Vector> = coarser.vectors.iter().filter(|vector| vector.error.is_finite()).collect();
    let middle = told.len() / 2;
    [0, 1].map(|axis| match told.is_empty() {
        true => 0.0,
        false => 2.0 * told.select_nth_unstable_by(middle, |a, b| a.by[axis].total_cmp(&b.by[axis])).1.by[axis],
    })
}

/// The coarser level's movement there, in this level's pixels.
fn guess(coarser: &Field, row: usize, col: usize) -> [f32; 2] {
    if coarser.vectors.is_empty() {
        return [0.0; 2];
    }
    let (row, col) = ((row / 2).min(coarser.rows - 1), (col / 2).min(coarser.cols - 1));
    coarser.vectors[row * coarser.cols + col].by.map(|by| 2.0 * by)
}

/// A square of the first picture: its values, their slopes, and the inverse of the slopes' products.
struct Square {
    x: usize,
    y: usize,
    values: [f32; SIDE * SIDE],
    slopes: [[f32; SIDE * SIDE]; 2],
    inverse: [f32; 3],
    texture: f32,
}

/// What is left between a square and where it is taken to be.
struct Difference {
    error: f32,
    /// Sums of the difference times the slopes.
    pull: [f32; 2],
}

impl Square {
    fn of(grey: &Grey, x: usize, y: usize) -> Self {
        // With a pixel more on each side; outside it is the edge's.
        let place = |at: usize, offset: usize, side: usize| (at + offset).saturating_sub(1).min(side - 1);
        let mut around = [[0.0; SIDE + 2]; SIDE + 2];
        for (offset, row) in around.iter_mut().enumerate() {
            let line = &grey.values[place(y, offset, grey.height) * grey.width..][..grey.width];
            row[1..=SIDE].copy_from_slice(&line[x..x + SIDE]);
            (row[0], row[SIDE + 1]) = (line[place(x, 0, grey.width)], line[place(x, SIDE + 1, grey.width)]);
        }
        let (mut values, mut slopes) = ([0.0; SIDE * SIDE], [[0.0; SIDE * SIDE]; 2]);
        let [xx, xy, yy] = structure(&around, &mut values, &mut slopes);
        let determinant = (xx * yy - xy * xy).max(1e-6);
        let half = (xx - yy) / 2.0;
        let texture = ((xx + yy) / 2.0 - (half * half + xy * xy).sqrt()) / (SIDE * SIDE) as f32;
        let inverse = [yy / determinant, -xy / determinant, xx / determinant];
        Self { x, y, values, slopes, inverse, texture }
    }

    /// Follows the differences downhill.
    fn search(&self, to: &Grey, start: [f32; 2]) -> ([f32; 2], f32) {
        let mut by = start;
        let mut left = self.difference(to, by);
        for _ in 0..ROUNDS {
            let [a, b, c] = self.inverse;
            let [x, y] = left.pull;
            let step = [a * x + b * y, b * x + c * y];
            let next = [by[0] - step[0], by[1] - step[1]];
            let then = self.difference(to, next);
            if then.error >= left.error {
                break;
            }
            (by, left) = (next, then);
            if length(step) < DONE {
                break;
            }
        }
        (by, left.error)
    }

    /// The difference of the values without their means: light may change.
    fn difference(&self, to: &Grey, by: [f32; 2]) -> Difference {
        let (x, y) = (self.x as f32 + by[0], self.y as f32 + by[1]);
        let last = |side: usize| side as f32 - SIDE as f32 - 1.0;
        if !(x >= 0.0 && y >= 0.0 && x <= last(to.width) && y <= last(to.height)) {
            return Difference { error: f32::INFINITY, pull: [0.0; 2] };
        }
        let [error, across, down] =
            compare(&to.values, to.width, [x, y], &self.values, [&self.slopes[0], &self.slopes[1]]);
        Difference { error, pull: [across, down] }
    }
}

vectorized! {
    /// A square's values and slopes, of the pixels around; the sums of the slopes' products.
    structure(
        around: &[[f32; SIDE + 2]; SIDE + 2],
        values: &mut [f32; SIDE * SIDE],
        slopes: &mut [[f32; SIDE * SIDE]; 2]
    ) -> [f32; 3] {
        let mut sums = [[0f32; SIDE]; 3];
        for row in 0..SIDE {
            for col in 0..SIDE {
                let across = (around[row + 1][col + 2] - around[row + 1][col]) / 2.0;
                let down = (around[row + 2][col + 1] - around[row][col + 1]) / 2.0;
                let place = row * SIDE + col;
                values[place] = around[row + 1][col + 1];
                (slopes[0][place], slopes[1][place]) = (across, down);
                sums[0][col] += across * across;
                sums[1][col] += across * down;
                sums[2][col] += down * down;
            }
        }
        sums.map(|lanes| lanes.iter().sum())
    }
}

vectorized! {
    /// The mean absolute difference of a square with the picture at a place between pixels, means taken away, and the sums of the
    /// difference times the slopes.
    compare(
        picture: &[f32],
        width: usize,
        at: [f32; 2],
        values: &[f32; SIDE * SIDE],
        slopes: [&[f32; SIDE * SIDE]; 2]
    ) -> [f32; 3] {
        let (left, top) = (at[0] as usize, at[1] as usize);
        let (across, down) = (at[0] - left as f32, at[1] - top as f32);
        let mut off = [0f32; SIDE * SIDE];
        let mut lanes = [0f32; SIDE];
        for row in 0..SIDE {
            let above: &[f32; SIDE + 1] = picture[(top + row) * width + left..].first_chunk().unwrap_or(&[0.0; SIDE + 1]);
            let below: &[f32; SIDE + 1] =
                picture[(top + row + 1) * width + left..].first_chunk().unwrap_or(&[0.0; SIDE + 1]);
            for col in 0..SIDE {
                let upper = above[col] + across * (above[col + 1] - above[col]);
                let lower = below[col] + across * (below[col + 1] - below[col]);
                let value = upper + down * (lower - upper) - values[row * SIDE + col];
                off[row * SIDE + col] = value;
                lanes[col] += value;
            }
        }
        let mean = lanes.iter().sum::<f32>() / (SIDE * SIDE) as f32;
        let [mut errors, mut across_sums, mut down_sums] = [[0f32; SIDE]; 3];
        for row in 0..SIDE {
            for col in 0..SIDE {
                let place = row * SIDE + col;
                let value = off[place] - mean;
                errors[col] += value.abs();
                across_sums[col] += value * slopes[0][place];
                down_sums[col] += value * slopes[1][place];
            }
        }
        let [error, x, y] = [errors, across_sums, down_sums].map(|lanes| lanes.iter().sum::<f32>());
        [error / (SIDE * SIDE) as f32, x, y]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pyramid(shift: [f32; 2], light: f32) -> Pyramid {
        let value = |at: usize| {
            let (x, y) = ((at % 96) as f32 + shift[0], (at / 96) as f32 + shift[1]);
            120.0 + light + 40.0 * (x * 0.31 + (y * 0.11).sin()).sin() + 30.0 * (y * 0.23 - x * 0.07).cos()
        };
        Pyramid::new(Grey { width: 96, height: 80, values: (0..96 * 80).map(value).collect() }, LEAST_SIDE)
    }

    #[test]
    fn a_shift_is_found_to_a_fraction_of_a_pixel_and_light_does_not_matter() {
        for shift in [[0.0, 0.0], [0.3, -0.2], [3.4, 1.7], [-5.0, 2.5]] {
            let field = flow(&pyramid([0.0; 2], 0.0), &pyramid([-shift[0], -shift[1]], 25.0), 4, TEXTURE);
            let inside =
                |v: &&Vector| v.error.is_finite() && (16.0..80.0).contains(&v.at[0]) && (16.0..64.0).contains(&v.at[1]);
            let vectors: Vec<&Vector> = field.vectors.iter().filter(inside).collect();
            let right = vectors.iter().filter(|v| (v.by[0] - shift[0]).hypot(v.by[1] - shift[1]) < 0.15).count();
            assert!(
                vectors.len() > 150 && right * 100 >= vectors.len() * 95,
                "{shift:?}: {right} of {}",
                vectors.len()
            );
        }
    }

    #[test]
    fn a_comparison_is_what_a_plain_loop_gives() {
        let (from, to) = (pyramid([0.0; 2], 0.0), pyramid([0.4, 0.7], 9.0));
        let square = Square::of(&from.0[0], 20, 24);
        let found = square.difference(&to.0[0], [1.3, -2.6]);
        let off: Vec<f64> = (0..SIDE * SIDE)
            .map(|at| f64::from(to.0[0].at(21.3 + (at % SIDE) as f32, 21.4 + (at / SIDE) as f32) - square.values[at]))
            .collect();
        let mean = off.iter().sum::<f64>() / off.len() as f64;
        let error = off.iter().map(|off| (off - mean).abs()).sum::<f64>() / off.len() as f64;
        let pull: f64 = off.iter().zip(square.slopes[0]).map(|(off, slope)| (off - mean) * f64::from(slope)).sum();
        assert!((error - f64::from(found.error)).abs() < 1e-3 && (pull - f64::from(found.pull[0])).abs() < 0.1);
        assert!(square.difference(&to.0[0], [90.0, 0.0]).error.is_infinite());
    }
}
