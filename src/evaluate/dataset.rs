//! Annotated pictures and clips, whatever their format on disk.

use std::path::PathBuf;

/// A data set, read.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// Ordered by `id`.
    pub items: Vec<Item>,
    /// What could not be used, each in one line that names the file and the reason; the rest goes on.
    pub failures: Vec<String>,
}

/// One still picture or one clip.
#[derive(Clone, Debug)]
pub struct Item {
    /// Unique in the data set; the same on every machine.
    pub id: String,
    pub media: Media,
    /// What is true of each frame, in order; a still has one. Frames past the end are not annotated.
    pub frames: Vec<FrameTruth>,
    /// Whether every object is annotated; where only some are, a box that meets none is not a false one.
    pub is_exhaustive: bool,
}

/// Where the pixels are.
#[derive(Clone, Debug, PartialEq)]
pub enum Media {
    Still(PathBuf),
    /// The frames of a clip, one picture each.
    Sequence(Vec<PathBuf>),
    Video(PathBuf),
}

/// The annotation of one frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameTruth {
    /// False where nobody looked; true with no boxes where it is known to be empty.
    pub is_annotated: bool,
    pub boxes: Vec<TruthBox>,
}

/// One annotated object.
#[derive(Clone, Debug, PartialEq)]
pub struct TruthBox {
    /// `[xmin, ymin, xmax, ymax]`, half-open, in pixels of the picture as displayed, inside it, of positive area.
    pub bbox: [f64; 4],
    pub class: Option<String>,
    /// Hard to recognise without context (VOC).
    pub is_difficult: bool,
    /// Reaches past the picture or behind something (VOC).
    pub is_truncated: bool,
    /// Stands for a group (COCO): what falls on it is neither right nor wrong.
    pub is_crowd: bool,
    /// Identity within the clip.
    pub track: Option<u64>,
}
