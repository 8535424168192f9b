//! What a frame says of the whole picture: how bright it is, how much there is to see, and whether it is the view of another.

use super::thing::places;
use crate::geometry::grown;
use crate::motion::grey::Grey;
use crate::motion::{Camera, Evidence};
use std::sync::Arc;

/// Cells of the picture, across and down.
const CELLS: (usize, usize) = (32, 24);
/// Grey values per cell that are noise, not structure.
const NOISE: f32 = 3.0;

/// One frame's picture, in small.
#[derive(Clone, Debug)]
pub struct Glance {
    pub camera: Camera,
    /// Which view of a still camera it is.
    pub view: u32,
    /// What in it was there before and is not now, `[xmin, ymin, xmax, ymax]` in shares of the picture.
    pub holes: Vec<[f32; 4]>,
    /// How far a shaking camera has moved the view in this picture, in shares of it.
    pub shift: [f32; 2],
    grey: Arc<Grey>,
    /// Means of [`CELLS`], row by row.
    cells: Vec<f32>,
    /// The mean differences of neighbouring cells, and of neighbouring pixels.
    detail: [f32; 2],
}

impl Glance {
    /// Of a frame's evidence; `holes` in pixels of its small picture.
    pub fn new(evidence: &Evidence, holes: &[[f32; 4]]) -> Self {
        let size = [evidence.size.0 as f32, evidence.size.1 as f32];
        let share = |hole: &[f32; 4]| [0, 1, 2, 3].map(|edge| hole[edge] / size[edge % 2]);
        let grey = evidence.grey.clone();
        let sides = [grey.width as f32, grey.height as f32];
        let middle = sides.map(|side| side / 2.0);
        let by = evidence.shake.as_ref().map_or([0.0; 2], |shake| shake.by(middle));
        let shift = [0, 1].map(|side| by[side] / sides[side]);
        let cells = cells(&grey);
        let detail = [differences(&cells).map(f32::abs).sum::<f32>() / cells.len() as f32, fineness(&grey)];
        let holes = holes.iter().map(share).collect();
        Self { camera: evidence.camera, view: evidence.view, holes, shift, grey, cells, detail }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        4 * (self.grey.values.len() + self.cells.len())
    }

    /// How much there is to see, coarse and fine.
    pub fn detail(&self) -> [f32; 2] {
        self.detail
    }

    /// How many times brighter it is than another, where most of the picture is; 1 where the picture is not of one mind.
    pub fn brighter_than(&self, other: &Self) -> f32 {
        let mut ratios =
            Vec::from_iter(self.cells.iter().zip(&other.cells).map(|(now, then)| (now + NOISE) / (then + NOISE)));
        let count = ratios.len();
        let mut at = |share: f32| {
            let place = ((share * count as f32) as usize).min(count.saturating_sub(1));
            ratios.select_nth_unstable_by(place, f32::total_cmp).1.to_owned()
        };
        let (low, high) = (at(0.3), at(0.7));
        match (low > 1.0, high < 1.0) {
            (true, _) => low,
            (_, true) => high,
            _ => 1.0,
        }
    }

    /// How alike the structure of two pictures is, whatever their light: the correlation of the differences of neighbouring cells, -1 to 1.
    pub fn alike(&self, other: &Self) -> f32 {
        correlation(differences(&self.cells).zip(differences(&other.cells)))
    }

    /// A box of the picture as it would be without the camera's shaking.
    pub fn laid_back(&self, bbox: &[f32; 4]) -> [f32; 4] {
        [0, 1, 2, 3].map(|edge| bbox[edge] - self.shift[edge % 2])
    }

    /// What a box, as [`Self::laid_back`] has it, shows, to be compared with later.
    pub fn patch(&self, bbox: &[f32; 4]) -> Patch {
        const SIDE: usize = 10;
        // With what is around it: a thing is known by its outline, too.
        let wide = grown(bbox, 0.25);
        let size = [self.grey.width as f32, self.grey.height as f32];
        let value = |at: [f32; 2]| {
            let [x, y] = [0, 1].map(|side| (self.shift[side] + at[side]) * size[side] - 0.5);
            self.grey.at(x, y)
        };
        Patch(places(&wide, SIDE).map(value).collect())
    }
}

/// A part of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch(Vec<f32>);

impl Patch {
    /// The correlation of grey values, -1 to 1, whatever the light.
    pub fn alike(&self, other: &Self) -> f32 {
        correlation(self.0.iter().copied().zip(other.0.iter().copied()))
    }
}

fn cells(grey: &Grey) -> Vec<f32> {
    let (across, down) = CELLS;
    let mut cells = Vec::with_capacity(across * down);
    for row in 0..down {
        let rows = row * grey.height / down..((row + 1) * grey.height / down).max(row * grey.height / down + 1);
        for col in 0..across {
            let cols = col * grey.width / across..((col + 1) * grey.width / across).max(col * grey.width / across + 1);
            let sum: f32 = rows.clone().map(|y| grey.values[y * grey.width..][cols.clone()].iter().sum::<f32>()).sum();
            cells.push(sum / (rows.len() * cols.len()) as f32);
        }
    }
    cells
}

/// The mean difference of pixels and those to their right.
fn fineness(grey: &Grey) -> f32 {
    let row = |row: &[f32]| row.iter().zip(&row[1..]).map(|(a, b)| (a - b).abs()).sum::<f32>();
    grey.values.chunks_exact(grey.width.max(1)).map(row).sum::<f32>() / grey.values.len().max(1) as f32
}

/// Of each cell and its right and its lower neighbour.
fn differences(cells: &[f32]) -> impl Iterator<Item = f32> + Clone {
    let (across, down) = CELLS;
    let right = (0..down)
        .flat_map(move |row| (0..across - 1).map(move |col| cells[row * across + col + 1] - cells[row * across + col]));
    let below = (0..(down - 1) * across).map(move |at| cells[at + across] - cells[at]);
    right.chain(below)
}

fn correlation(pairs: impl Iterator<Item = (f32, f32)> + Clone) -> f32 {
    let count = pairs.clone().count().max(1) as f32;
    let (a, b) = pairs.clone().fold((0.0, 0.0), |(a, b), pair| (a + pair.0 / count, b + pair.1 / count));
    let [both, of_a, of_b] = pairs.fold([0.0f32; 3], |[both, of_a, of_b], pair| {
        let (x, y) = (pair.0 - a, pair.1 - b);
        [both + x * y, of_a + x * x, of_b + y * y]
    });
    both / (of_a * of_b).sqrt().max(f32::MIN_POSITIVE)
}
