//! A frame's pixels → patch features: a DINO checkpoint becomes an ONNX graph for one grid, run by ONNX Runtime.
//!
//! Reading order: [`checkpoint`] (named tensors in a file), `layout` (their names in every library), [`vit`] (the transformer they
//! make), [`graph`] (its ONNX graph), [`library`], [`provider`] and [`session`] (ONNX Runtime: its library, the devices, running it);
//! [`work`] counts what it costs. Deliberately absent: the last block's attention and MLP, and the final norm, whose outputs
//! nobody reads.

mod by_shape;
mod cache;
mod checkpoint;
mod choice;

mod error;
mod graph;
mod layout;
mod library;
mod memory;
mod onnx;
mod pickle;
mod position;
mod provider;
mod random;
mod save;
mod session;
mod tensorrt;
mod vit;
mod work;

use crate::geometry::PatchLayout;
pub use by_shape::{ByShape, give_up, trim};
pub use cache::user_cache;
pub use choice::{Choice, Measure, Question, Tried, alone};
pub use error::BackboneError;
pub use graph::{Dialect, Feature};
pub use library::{RuntimeInfo, find_library, loaded, runtime_info};
pub use memory::{Element, MemoryKind, Picture, RunMemory, RunShape};
pub use provider::{Device, Devices, OpenVino, Precision, Provider};
pub use random::Shape;
pub use save::{Description, Metadata, Onnx};
pub use session::{Backbone, Placement, SessionOptions};
pub use vit::{Checkpoint, Hints};
pub use work::Work;

/// What turns pictures into patch features: a session, or what plays one.
pub trait Model: Send + Sync {
    /// How the patches lie over its image.
    fn layout(&self) -> PatchLayout;
    /// What runs it, for people.
    fn device(&self) -> String;
    /// What it computes in.
    fn precision(&self) -> Precision {
        Precision::Fp32
    }
    /// Pictures of one run, at most.
    fn batch(&self) -> usize;
    /// Runs that are best under way at once.
    fn runs_at_once(&self) -> usize;
    /// About what it takes of its device's memory, that of the runs apart.
    fn bytes(&self) -> usize {
        0
    }
    /// The memory of one run.
    fn memory(&self) -> Result<RunMemory, BackboneError>;
    /// Makes features of the first `count` pictures.
    fn run(&self, memory: &mut RunMemory, count: usize) -> Result<(), BackboneError>;
}

/// Patches of the model's input where nobody asks for a size: attention is quadratic in them.
pub const DEFAULT_MAX_PATCHES: usize = 1200;

/// The model's input `(width, height)` in pixels for a frame of this size: whole patches, at most `max_patches` of them and
/// no more than cover the frame, their aspect as near to the frame's as whole patches allow.
pub fn model_size(frame_width: u32, frame_height: u32, patch: u32, max_patches: usize) -> (u32, u32) {
    let patch = patch.max(1);
    let max = u32::try_from(max_patches).unwrap_or(u32::MAX).max(1);
    let (width, height) = (frame_width.max(1), frame_height.max(1));
    let (most_cols, most_rows) = (width.div_ceil(patch), height.div_ceil(patch));
    let fits = |&(cols, rows): &(u32, u32)| {
        cols <= most_cols && rows <= most_rows && u64::from(cols) * u64::from(rows) <= u64::from(max)
    };
    let nearest =
        |side: u32, to: u32, of: u32| ((f64::from(side) * f64::from(to) / f64::from(of)).round() as u32).max(1);
    let stretch = |&(cols, rows): &(u32, u32)| {
        (f64::from(cols) * f64::from(height) / (f64::from(rows) * f64::from(width))).ln().abs()
    };
    let by_rows = (1..=most_rows.min(max)).map(|rows| (nearest(rows, width, height), rows));
    let by_cols = (1..=most_cols.min(max)).map(|cols| (cols, nearest(cols, height, width)));
    let (cols, rows) = std::iter::once((most_cols, most_rows))
        .chain(by_rows)
        .chain(by_cols)
        .filter(fits)
        .max_by(|a, b| {
            let area = |&(cols, rows): &(u32, u32)| u64::from(cols) * u64::from(rows);
            area(a).cmp(&area(b)).then(stretch(b).total_cmp(&stretch(a)))
        })
        .unwrap_or(if width > height { (most_cols.min(max), 1) } else { (1, most_rows.min(max)) });
    (cols.saturating_mul(patch), rows.saturating_mul(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_sees_the_frame_at_its_aspect_and_within_the_bound() {
        assert_eq!(model_size(640, 480, 8, 1200), (320, 240));
        assert_eq!(model_size(1920, 1080, 8, 1200), (46 * 8, 26 * 8));
        assert_eq!(model_size(1080, 1920, 8, 1200), (26 * 8, 46 * 8));
        assert_eq!(model_size(853, 479, 8, 1200), (46 * 8, 26 * 8));
        assert_eq!(model_size(64, 48, 8, 1200), (64, 48), "a small frame is not enlarged");
        assert_eq!(model_size(1, 1, 8, 1200), (8, 8));
        assert_eq!(model_size(100_000, 10, 8, 1200), (1200 * 8, 8));
        assert_eq!(model_size(u32::MAX, u32::MAX, 1, 1), (1, 1));
        assert_eq!(model_size(0, 0, 0, 0), (1, 1));
    }
}
