//! Spares the model the frames of a still camera in which nothing has happened.

use crate::stream::StreamError;
use crate::stream::frame::{Converter, Frame};
use gstreamer_video::VideoFormat;
use std::time::{Duration, Instant};

/// Width and height of the small grey picture that is compared.
const SIDE: u32 = 32;
/// A cell of it has changed when it differs by this much more than noise does, in grey values of 0 to 255.
const CHANGE: f32 = 3.0;
/// Cells that may change without an object: fewer hold no patch.
const CELLS: usize = 2;
/// The model runs at least this often.
const FLOOR: Duration = Duration::from_secs(2);
/// How fast the noise of a cell is learned: the weight of the newest difference.
const NOISE_RATE: f32 = 0.05;

/// Compares frames with the last one the model was asked about.
pub struct Adaptive {
    converter: Converter,
    /// That frame's picture.
    reference: Vec<f32>,
    /// The frame before, and how much each cell differs from one frame to the next.
    last: Vec<f32>,
    noise: Vec<f32>,
    asked: Option<Instant>,
}

impl Default for Adaptive {
    fn default() -> Self {
        let size = (SIDE, SIDE);
        let converter = Converter::new(VideoFormat::Gray8, size, size);
        let (reference, last) = (Vec::new(), Vec::new());
        Self { converter, reference, last, noise: vec![1.0; (SIDE * SIDE) as usize], asked: None }
    }
}

impl Adaptive {
    /// Whether the model should see this frame. One that cannot be compared it should.
    pub fn has_changed(&mut self, frame: &Frame) -> bool {
        let Ok(picture) = self.small(frame) else { return true };
        let has_changed = self.reference.is_empty()
            || frame.capture.is_some_and(|capture| capture.gap_ns.is_some())
            || self.asked.is_none_or(|asked| asked.elapsed() >= FLOOR)
            || self.changed_cells(&picture) > CELLS;
        if self.last.len() == picture.len() {
            let cells = self.noise.iter_mut().zip(self.last.iter().zip(&picture));
            // What moves is no noise: a difference counts as if it were at most the threshold.
            cells.for_each(|(noise, (a, b))| *noise += NOISE_RATE * ((a - b).abs().min(*noise + CHANGE) - *noise));
        }
        if has_changed {
            self.reference.clone_from(&picture);
            self.asked = Some(Instant::now());
        }
        self.last = picture;
        has_changed
    }

    fn changed_cells(&self, picture: &[f32]) -> usize {
        // Daylight changes all cells alike.
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let light = mean(picture) - mean(&self.reference);
        let cells = picture.iter().zip(&self.reference).zip(&self.noise);
        cells.filter(|((now, then), noise)| (*now - *then - light).abs() > CHANGE + 2.0 * **noise).count()
    }

    fn small(&mut self, frame: &Frame) -> Result<Vec<f32>, StreamError> {
        let (buffer, info) = self.converter.convert(frame)?;
        let broken = |_| StreamError::Input { input: "a small picture".into(), why: "cannot be mapped".into() };
        let bytes = buffer.map_readable().map_err(broken)?;
        let rows = bytes.chunks(info.stride()[0] as usize).take(SIDE as usize);
        Ok(rows.flat_map(|row| &row[..SIDE as usize]).map(|&value| f32::from(value)).collect())
    }
}
