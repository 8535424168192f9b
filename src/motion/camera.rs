//! The camera's own movement, from the movement of squares most of which belong to the scene.

use super::flow::{Vector, length};

/// Vectors with a larger difference left are not trusted.
pub(super) const TRUSTED: f32 = 12.0;
const TRIES: usize = 64;
/// A vector within this of the model fits it, in pixels.
const FITS: f32 = 0.7;
const REFINEMENTS: usize = 4;
/// Vectors needed for a model.
pub const LEAST: usize = 20;
/// The picture is so many cells wide and high, each with one vote: a textured thing that the camera follows has more squares than the
/// lawn around it, but fewer cells.
const CELLS: usize = 8;
/// A vector is no more than this share of its cell's vote.
const OF_CELL: f32 = 0.5;

/// What the camera's movement may do to the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// Shift, turn and scale: what shaking does.
    #[default]
    Similarity,
    /// What a plane's image does in the eight numbers of Adiv (PAMI 1985, section II).
    Plane,
}

/// How the camera's movement moves pixels: linear in the model's numbers, with x and y from the picture's middle as shares of its
/// width.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Movement {
    model: Model,
    numbers: [f64; 8],
    width: f64,
    height: f64,
    /// The share of the votes that fit.
    pub fitting: f32,
    /// The median distance of those from the model, in pixels.
    pub noise: f32,
}

impl Movement {
    /// Of a camera that stands, for pictures of `(width, height)` pixels.
    pub fn none((width, height): (usize, usize)) -> Self {
        Self { width: width as f64, height: height as f64, fitting: 1.0, ..Self::default() }
    }

    /// How a pixel moves, in pixels.
    pub fn by(&self, at: [f32; 2]) -> [f32; 2] {
        let [a, b] = self.terms(at);
        [dot(&self.numbers, &a) as f32, dot(&self.numbers, &b) as f32]
    }

    /// The longest movement of the picture's corners and middle, in pixels.
    pub fn reach(&self) -> f32 {
        let (right, below) = (self.width as f32, self.height as f32);
        let places = [[0.0, 0.0], [right, 0.0], [0.0, below], [right, below], [right / 2.0, below / 2.0]];
        places.map(|at| length(self.by(at))).into_iter().fold(0.0, f32::max)
    }

    fn terms(&self, at: [f32; 2]) -> [[f64; 8]; 2] {
        let x = (f64::from(at[0]) - self.width / 2.0) / self.width;
        let y = (f64::from(at[1]) - self.height / 2.0) / self.width;
        match self.model {
            Model::Similarity => [[1.0, 0.0, x, -y, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, y, x, 0.0, 0.0, 0.0, 0.0]],
            Model::Plane => [[1.0, 0.0, x, y, 0.0, 0.0, x * x, x * y], [0.0, 1.0, 0.0, 0.0, x, y, x * y, y * y]],
        }
    }
}

/// The movement that most of the picture agrees on: of pairs drawn in a fixed order the similarity that fits best (RANSAC), then least
/// squares over those that fit. None where too few do.
pub fn movement(vectors: &[Vector], size: (usize, usize), model: Model) -> Option<Movement> {
    let voters = Voters::new(vectors, size);
    if voters.0.len() < LEAST {
        return None;
    }
    let mut best = (0.0, [0.0; 4]);
    let mut state = 1u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        voters.0[(state >> 8) as usize % voters.0.len()].0
    };
    // Enough to rank the tries by.
    let stride = voters.0.len().div_ceil(200);
    for _ in 0..TRIES {
        let Some(similarity) = similarity(draw(), draw()) else { continue };
        let some = voters.0.iter().step_by(stride);
        let fits = some.filter(|(vector, _)| distance(moved(&similarity, vector.at), vector.by) < 2.0 * FITS);
        let votes = fits.map(|(_, vote)| vote).sum();
        if votes > best.0 {
            best = (votes, similarity);
        }
    }
    voters.agree(size, model, |at| moved(&best.1, at))
}

/// The same, near the movement that is expected.
pub fn movement_near(
    vectors: &[Vector],
    size: (usize, usize),
    model: Model,
    expected: impl Fn([f32; 2]) -> [f32; 2],
) -> Option<Movement> {
    Voters::new(vectors, size).agree(size, model, expected)
}

/// The vectors that are trusted, each with its vote.
struct Voters<'a>(Vec<(&'a Vector, f32)>);

impl<'a> Voters<'a> {
    fn new(vectors: &'a [Vector], (width, height): (usize, usize)) -> Self {
        let cell = |vector: &Vector| {
            let place = |axis: usize, side: usize| (vector.at[axis] as usize * CELLS / side).min(CELLS - 1);
            place(1, height) * CELLS + place(0, width)
        };
        let trusted = || vectors.iter().filter(|vector| vector.error < TRUSTED);
        let mut counts = [0f32; CELLS * CELLS];
        trusted().for_each(|vector| counts[cell(vector)] += 1.0);
        Self(trusted().map(|vector| (vector, OF_CELL.min(1.0 / counts[cell(vector)]))).collect())
    }

    /// Least squares over those that fit, begun from a movement.
    fn agree(&self, size: (usize, usize), model: Model, by: impl Fn([f32; 2]) -> [f32; 2]) -> Option<Movement> {
        let mut found = Movement { model, width: size.0 as f64, height: size.1 as f64, ..Movement::default() };
        let mut fitting = self.within(2.0 * FITS, by);
        for _ in 0..REFINEMENTS {
            if fitting.len() < LEAST {
                return None;
            }
            found.numbers = least_squares(&found, &fitting)?;
            fitting = self.within(FITS, |at| found.by(at));
        }
        let votes = |voters: &[(&Vector, f32)]| voters.iter().map(|(_, vote)| vote).sum::<f32>();
        found.fitting = votes(&fitting) / votes(&self.0);
        found.noise = median(fitting.iter().map(|(vector, _)| distance(found.by(vector.at), vector.by)).collect())?;
        Some(found)
    }

    fn within(&self, limit: f32, by: impl Fn([f32; 2]) -> [f32; 2]) -> Vec<(&'a Vector, f32)> {
        let fits = |(vector, _): &&(&Vector, f32)| distance(by(vector.at), vector.by) < limit;
        self.0.iter().filter(fits).copied().collect()
    }
}

pub fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    length([a[0] - b[0], a[1] - b[1]])
}

/// The middle one, of an even number the lower; none of none.
pub(super) fn median(mut values: Vec<f32>) -> Option<f32> {
    let middle = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

/// `[a, b, tx, ty]`: a place (x, y) goes to (a·x − b·y + tx, b·x + a·y + ty).
fn similarity(one: &Vector, other: &Vector) -> Option<[f32; 4]> {
    let [x, y] = [0, 1].map(|k| other.at[k] - one.at[k]);
    let [to_x, to_y] = [0, 1].map(|k| other.at[k] + other.by[k] - one.at[k] - one.by[k]);
    let length = x * x + y * y;
    if length < 64.0 {
        return None;
    }
    let (a, b) = ((x * to_x + y * to_y) / length, (x * to_y - y * to_x) / length);
    let [from_x, from_y] = one.at;
    let to = [one.at[0] + one.by[0], one.at[1] + one.by[1]];
    Some([a, b, to[0] - a * from_x + b * from_y, to[1] - b * from_x - a * from_y])
}

fn moved(&[a, b, tx, ty]: &[f32; 4], [x, y]: [f32; 2]) -> [f32; 2] {
    [a * x - b * y + tx - x, b * x + a * y + ty - y]
}

fn dot(a: &[f64; 8], b: &[f64; 8]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The eight numbers that fit these vectors best, by the normal equations.
fn least_squares(shape: &Movement, voters: &[(&Vector, f32)]) -> Option<[f64; 8]> {
    let mut rows = [[0f64; 9]; 8];
    for (vector, _) in voters {
        for (terms, by) in shape.terms(vector.at).iter().zip(vector.by) {
            for (row, &left) in rows.iter_mut().zip(terms) {
                (0..8).for_each(|col| row[col] += left * terms[col]);
                row[8] += left * f64::from(by);
            }
        }
    }
    // What the vectors do not tell stays small.
    (0..8).for_each(|at| rows[at][at] += 1e-3);
    solve(rows)
}

/// Gauss's elimination, the largest pivot first.
fn solve(mut rows: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for col in 0..8 {
        let pivot = (col..8).max_by(|&a, &b| rows[a][col].abs().total_cmp(&rows[b][col].abs()))?;
        rows.swap(col, pivot);
        let top = rows[col];
        if top[col].abs() < 1e-12 {
            return None;
        }
        for (_, row) in rows.iter_mut().enumerate().filter(|(index, _)| *index != col) {
            let share = row[col] / top[col];
            (col..9).for_each(|at| row[at] -= share * top[at]);
        }
    }
    Some(std::array::from_fn(|at| rows[at][8] / rows[at][at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_camera_is_found_among_things_that_move_otherwise() {
        for (model, curve) in [(Model::Similarity, 0.0), (Model::Plane, 3.0)] {
            let truth = |[x, y]: [f32; 2]| {
                let (across, down) = ((x - 96.0) / 192.0, (y - 72.0) / 192.0);
                let bent = curve * across;
                [2.0 + 5.0 * across - 1.5 * down + bent * across, -1.0 + 1.5 * across + 5.0 * down + bent * down]
            };
            let vector = |at: usize| {
                let place = [(at % 24 * 8) as f32, (at / 24 * 8) as f32];
                let [x, y] = truth(place);
                let by = if at % 24 > 14 { [x + 6.0, y] } else { [x + (at % 5) as f32 / 50.0 - 0.04, y] };
                Vector { at: place, by, error: if at.is_multiple_of(11) { f32::INFINITY } else { 1.0 } }
            };
            let vectors: Vec<Vector> = (0..24 * 18).map(vector).collect();
            let found = movement(&vectors, (192, 144), model).unwrap();
            for at in [[10.0, 10.0], [100.0, 70.0], [180.0, 130.0]] {
                assert!(distance(found.by(at), truth(at)) < 0.1, "{model:?} {at:?}: {:?}", found.by(at));
            }
            assert!((0.55..0.7).contains(&found.fitting) && found.noise < 0.05);
            assert_eq!(movement(&vectors[..15], (192, 144), model), None);
        }
    }

    #[test]
    fn a_thing_that_the_camera_follows_does_not_pass_for_the_scene() {
        // Two of three vectors are the thing's, in an eighth of the picture; the lawn around it has few.
        let thing = (0..160).map(|at| [80.0 + (at % 16) as f32 * 2.5, 50.0 + (at / 16) as f32 * 2.5]);
        let lawn = (0..80).map(|at| [(at % 10 * 19 + 8) as f32, (at / 10 * 17 + 8) as f32]);
        let is_on_lawn = |[x, y]: &[f32; 2]| !((70.0..130.0).contains(x) && (40.0..85.0).contains(y));
        let vector = |at: [f32; 2], by: [f32; 2]| Vector { at, by, error: 1.0 };
        let vectors: Vec<Vector> = (thing.map(|at| vector(at, [0.0, 0.0])))
            .chain(lawn.filter(is_on_lawn).map(|at| vector(at, [-4.0, 0.5])))
            .collect();
        let size = (192, 144);
        let by_votes = movement(&vectors, size, Model::Similarity).unwrap();
        let by_what_was_expected = movement_near(&vectors, size, Model::Plane, |_| [-3.6, 0.2]).unwrap();
        for found in [by_votes, by_what_was_expected] {
            assert!(distance(found.by([96.0, 20.0]), [-4.0, 0.5]) < 0.1, "{found:?}");
            assert!(found.fitting > 0.5 && found.noise < 0.05, "{found:?}");
        }
    }
}
