//! The camera's own movement, from the movement of squares most of which belong to the scene.

use super::flow::Vector;

/// Vectors with a larger difference left are not trusted.
const TRUSTED: f32 = 12.0;
const TRIES: usize = 64;
/// A vector within this of the model fits it, in pixels.
const FITS: f32 = 0.7;
const REFINEMENTS: usize = 4;
/// Vectors needed for a model.
const LEAST: usize = 20;

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
    /// The share of trusted vectors that fit.
    pub fitting: f32,
    /// The median distance of those from the model, in pixels.
    pub noise: f32,
}

impl Movement {
    /// How a pixel moves, in pixels.
    pub fn by(&self, at: [f32; 2]) -> [f32; 2] {
        let [a, b] = self.terms(at);
        [dot(&self.numbers, &a) as f32, dot(&self.numbers, &b) as f32]
    }

    /// The longest movement of the picture's corners and middle, in pixels.
    pub fn reach(&self) -> f32 {
        let (right, below) = (self.width as f32, self.height as f32);
        let places = [[0.0, 0.0], [right, 0.0], [0.0, below], [right, below], [right / 2.0, below / 2.0]];
        places.map(|at| self.by(at)).iter().map(|by| by[0].hypot(by[1])).fold(0.0, f32::max)
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

/// The movement that most vectors agree on: of pairs drawn in a fixed order the similarity that fits best (RANSAC), then least squares
/// over those that fit. None where too few do.
pub fn movement(vectors: &[Vector], (width, height): (usize, usize), model: Model) -> Option<Movement> {
    let trusted: Vec<&Vector> = vectors.iter().filter(|vector| vector.error < TRUSTED).collect();
    if trusted.len() < LEAST {
        return None;
    }
    let mut best = (0, [0.0; 4]);
    let mut state = 1u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        trusted[(state >> 8) as usize % trusted.len()]
    };
    // Enough to rank the tries by.
    let stride = trusted.len().div_ceil(200);
    for _ in 0..TRIES {
        let Some(similarity) = similarity(draw(), draw()) else { continue };
        let fits = |vector: &&&Vector| {
            let by = moved(&similarity, vector.at);
            (by[0] - vector.by[0]).hypot(by[1] - vector.by[1]) < 2.0 * FITS
        };
        let count = trusted.iter().step_by(stride).filter(fits).count();
        if count > best.0 {
            best = (count, similarity);
        }
    }
    let mut found = Movement { model, width: width as f64, height: height as f64, ..Movement::default() };
    let mut fitting: Vec<&Vector> = within(&trusted, 2.0 * FITS, |at| moved(&best.1, at));
    for _ in 0..REFINEMENTS {
        if fitting.len() < LEAST {
            return None;
        }
        found.numbers = least_squares(&found, &fitting)?;
        fitting = within(&trusted, FITS, |at| found.by(at));
    }
    found.fitting = fitting.len() as f32 / trusted.len() as f32;
    let mut off: Vec<f32> = fitting.iter().map(|vector| distance(found.by(vector.at), vector.by)).collect();
    let middle = off.len() / 2;
    found.noise = *off.select_nth_unstable_by(middle, f32::total_cmp).1;
    Some(found)
}

fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn within<'a>(vectors: &[&'a Vector], limit: f32, by: impl Fn([f32; 2]) -> [f32; 2]) -> Vec<&'a Vector> {
    vectors.iter().copied().filter(|vector| distance(by(vector.at), vector.by) < limit).collect()
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
fn least_squares(shape: &Movement, vectors: &[&Vector]) -> Option<[f64; 8]> {
    let mut rows = [[0f64; 9]; 8];
    for vector in vectors {
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
}
