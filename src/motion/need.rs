//! Whether the backbone is needed for a frame, and how much of it.

use super::Camera;
use super::grey::{Grey, Pyramid};

/// Side of the cells whose means are compared, in pixels of the grey picture.
const CELL: usize = 8;
/// A cell has changed beyond this many grey values plus so many times what it usually changes by ...
const LEAST: f32 = 2.0;
const NOISES: f32 = 6.0;
/// ... and beyond what it changed by at most in the last seconds: leaves come back, and are looked at once.
const STRONGEST: f32 = 1.2;
/// So many changed cells are something.
const CELLS: usize = 2;
/// How fast, in seconds, the usual change follows, the strongest one rises, and how fast it is forgotten.
const USUAL_S: f32 = 0.8;
const RISE_S: f32 = 0.08;
const FADE_S: f32 = 5.0;
/// A scene is learned for so long, by a look this often, and looked at so often afterwards, whatever happens: its memory stays fresh.
const LEARN_NS: u64 = 2_000_000_000;
const LEARN_EVERY_NS: u64 = 200_000_000;
const REFRESH_NS: u64 = 5_000_000_000;

/// What of the backbone is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The first half: what is new before a still camera.
    Half,
    /// All of it: what appearance alone finds.
    Whole,
}

/// What has been asked for so far.
#[derive(Default)]
pub struct Rest {
    /// Of the frame that was asked for last: cells' means.
    asked: Vec<f32>,
    asked_ns: u64,
    begun_ns: u64,
    last_ns: u64,
    /// How much each cell usually changes by, and at most.
    usual: Vec<f32>,
    strongest: Vec<f32>,
    frames: u32,
}

impl Rest {
    /// What this frame needs: everything where the camera moves or a view has just begun to be seen (`is_cut`), half where something
    /// happens before a still one or its memory is due, nothing else. Slow movement adds up: cells are compared with the frame that was asked for last.
    pub fn need(&mut self, now: &Pyramid, camera: Camera, is_cut: bool, pts_ns: u64) -> Option<Need> {
        let cells = means(&now.0[0]);
        let is_first = is_cut || camera == Camera::Moving || self.asked.len() != cells.len();
        if is_first {
            let nothing = vec![0.0; cells.len()];
            let (begun_ns, last_ns) = (pts_ns, pts_ns);
            *self = Self {
                strongest: nothing.clone(),
                usual: nothing,
                asked: cells.clone(),
                begun_ns,
                last_ns,
                ..Self::default()
            };
        }
        self.frames = self.frames.saturating_add(1);
        let seconds = pts_ns.saturating_sub(self.last_ns) as f32 / 1e9;
        self.last_ns = pts_ns;
        let is_learning = pts_ns.saturating_sub(self.begun_ns) < LEARN_NS;
        let every_ns = if is_learning { LEARN_EVERY_NS } else { REFRESH_NS };
        let is_due = is_first || pts_ns.saturating_sub(self.asked_ns) >= every_ns;
        // Where light changes everywhere alike, nothing happens.
        let mut offs: Vec<f32> = cells.iter().zip(&self.asked).map(|(cell, asked)| cell - asked).collect();
        let light = median(&offs);
        offs.iter_mut().for_each(|off| *off = (*off - light).abs());
        let known = self.usual.iter().zip(&self.strongest);
        let limits = known.map(|(usual, strongest)| LEAST + (NOISES * usual).max(STRONGEST * strongest));
        let changed = offs.iter().zip(limits).filter(|(off, limit)| *off > limit).count();
        let need = match camera {
            Camera::Moving => Some(Need::Whole),
            Camera::Still | Camera::Shaking if is_cut => Some(Need::Whole),
            Camera::Still | Camera::Shaking => {
                let happens = !is_learning && changed >= CELLS;
                (happens || is_due).then_some(Need::Half)
            }
        };
        let follow = (seconds / USUAL_S).max(1.0 / self.frames as f32).min(1.0);
        let (rise, fade) = ((seconds / RISE_S).min(1.0), (-seconds / FADE_S).exp());
        for ((usual, strongest), off) in self.usual.iter_mut().zip(&mut self.strongest).zip(&offs) {
            // What is far beyond the usual has no say in it.
            *usual += follow * (off.min(LEAST + 2.0 * *usual) - *usual);
            *strongest = *strongest * fade + rise * (off - *strongest * fade).max(0.0);
        }
        if need.is_some() {
            (self.asked, self.asked_ns) = (cells, pts_ns);
        }
        need
    }
}

/// The share of two pictures that differs by no more than their light.
pub fn unchanged(one: &Grey, other: &Grey) -> f32 {
    let mut offs: Vec<f32> = means(one).iter().zip(means(other)).map(|(one, other)| other - one).collect();
    let light = median(&offs);
    let count = offs.len().max(1) as f32;
    offs.retain(|off| (off - light).abs() <= LEAST);
    offs.len() as f32 / count
}

/// The means of whole cells.
fn means(grey: &Grey) -> Vec<f32> {
    let (cols, rows) = (grey.width / CELL, grey.height / CELL);
    let mut sums = vec![0f32; cols * rows];
    for (y, line) in grey.values.chunks_exact(grey.width).take(rows * CELL).enumerate() {
        let row = &mut sums[y / CELL * cols..][..cols];
        for (sum, values) in row.iter_mut().zip(line.chunks_exact(CELL)) {
            *sum += values.iter().sum::<f32>();
        }
    }
    sums.iter().map(|sum| sum / (CELL * CELL) as f32).collect()
}

fn median(values: &[f32]) -> f32 {
    let mut ordered = values.to_vec();
    ordered.sort_unstable_by(f32::total_cmp);
    ordered.get(ordered.len() / 2).copied().unwrap_or(0.0)
}
