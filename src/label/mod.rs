//! A training set from footage: which frames are worth a label ([`keyframe`]), which pictures are new ([`duplicates`]), what they
//! are called and which side they are on ([`naming`], [`sequence`]), what is known so far ([`journal`]), and the files that training tools read
//! ([`format`](mod@format), [`contact`]).
//!
//! The journal grows by a line per picture; every other file is made from it, a line at a time, so that a set that was
//! interrupted ends as one that was not, and no list of pictures is in memory.

pub mod contact;
pub mod duplicates;
pub mod format;
pub mod journal;
pub mod keyframe;
pub mod naming;
pub mod polygon;
pub mod sequence;

use crate::geometry::{Grid, PatchLayout, PixelBox};
use crate::localize::Detection;
use crate::picture::{self, RgbImage};
use crate::record::MaskRecord;
use duplicates::Print;
use polygon::PatchMask;
use serde::{Deserialize, Serialize};

/// The layouts that training tools read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Coco,
    Yolo,
    Voc,
    Cvat,
    Mot,
}

impl Format {
    /// Whether it says which boxes of a clip are of one thing.
    pub fn has_tracks(self) -> bool {
        matches!(self, Self::Cvat | Self::Mot)
    }
}

/// The two sides of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Val,
}

impl Split {
    pub const BOTH: [Self; 2] = [Self::Train, Self::Val];

    /// As in the names of files and folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
        }
    }

    /// The side of a frame of a video of this length, both in nanoseconds, whose end is held out: the share `val` of it, 0 to 1.
    pub fn at(pts_ns: u64, length_ns: u64, val: f64) -> Self {
        let is_end = val > 0.0 && pts_ns as f64 >= (1.0 - val) * length_ns as f64;
        if is_end { Self::Val } else { Self::Train }
    }
}

/// What is on one side of the set as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// All pictures of a source.
    #[default]
    Source,
    /// The beginning of a video, and its end; a source of unknown length as a whole.
    Time,
}

/// One picture of the set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Picture {
    /// The file or URI it comes from, without user name and password.
    pub source: String,
    /// The source's unique name in the set ([`naming::name_of`]).
    pub clip: String,
    /// Number and time stamp of the frame in its source; 0 for a still.
    pub frame: u64,
    pub pts_ns: u64,
    /// The picture's own unique name, without an extension.
    pub name: String,
    pub split: Split,
    /// Counts the pictures of the source that are on this side, from 1.
    pub number: u64,
    pub width: u32,
    pub height: u32,
    /// Whether it is a frame of a video whose objects are followed: those of its objects that have a track have it in other frames, too.
    pub is_followed: bool,
    /// Side of a patch, width and height of the model's input, in its pixels.
    pub patch: u32,
    pub model: [u32; 2],
    pub objects: Vec<Object>,
    pub print: Print,
}

/// One proposal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Object {
    /// `[xmin, ymin, xmax, ymax]`, half-open, in pixels of the picture; of positive area.
    pub bbox: [u32; 4],
    pub score: f32,
    /// Index into the set's categories.
    pub category: usize,
    pub mask: MaskRecord,
    /// The track it belongs to, of its source; none where nobody followed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<u64>,
}

/// The category of objects that nobody named: proposals know no classes.
pub const NAMELESS: &str = "object";

/// The categories of a set: what nobody named, then each of these names once, in their order.
pub fn categories<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut categories = vec![NAMELESS.to_owned()];
    for name in names {
        if !categories.iter().any(|known| known == name) {
            categories.push(name.to_owned());
        }
    }
    categories
}

/// The category of an object of this name, as an index.
pub fn class_of(name: Option<&str>, categories: &[String]) -> usize {
    name.and_then(|name| categories.iter().position(|known| known == name)).unwrap_or(0)
}

impl Object {
    /// Of a detection in the picture's pixels, and its track; none where it covers no whole pixel.
    pub fn new(detection: &Detection, track: Option<u64>, layout: &PatchLayout, category: usize) -> Option<Self> {
        let PixelBox { xmin, ymin, xmax, ymax } = detection.bbox;
        (detection.bbox.area() > 0).then(|| Self {
            bbox: [xmin, ymin, xmax, ymax],
            score: detection.score,
            category,
            mask: MaskRecord::new(&detection.patches, layout.grid.rows, layout.grid.cols),
            track,
        })
    }

    /// `[x, y, width, height]` in pixels.
    pub fn xywh(&self) -> [u32; 4] {
        let [xmin, ymin, xmax, ymax] = self.bbox;
        [xmin, ymin, xmax.saturating_sub(xmin), ymax.saturating_sub(ymin)]
    }
}

impl Picture {
    /// The object's mask in the picture's pixels, as far as its box.
    pub fn mask(&self, object: &Object) -> PatchMask {
        let [rows, cols] = object.mask.size;
        let [image_width, image_height] = self.model;
        let layout = PatchLayout { grid: Grid { rows, cols }, patch: self.patch, image_width, image_height };
        PatchMask::new(&object.mask, &layout, (self.width, self.height), object.bbox)
    }
}

/// The picture's brightness at this size, row by row (ITU-R BT.601 weights).
pub fn luma(picture: &RgbImage, width: u32, height: u32) -> Vec<u8> {
    let weigh = |p: &[u8]| ((77 * u32::from(p[0]) + 150 * u32::from(p[1]) + 29 * u32::from(p[2])) >> 8) as u8;
    picture::scaled(picture, width, height).as_raw().chunks_exact(3).map(weigh).collect()
}
