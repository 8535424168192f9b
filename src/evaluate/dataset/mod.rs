//! Annotated pictures and clips, whatever their format on disk: [`Dataset::open`], and one reader per format.
//!
//! A data set is untrusted: names in it lead nowhere but into its folder (links in that folder are followed), files are read up
//! to a size, and what is wrong costs the box, frame or item it is about and one line in [`Dataset::failures`].

mod clips;
mod coco;
mod davis;
mod events;
mod files;
mod json;
mod mask;
mod mot;
mod voc;
mod yolo;

use super::events::Story;
use crate::fault::{Kind, OfKind};
use crate::markup;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Lines of failures that are kept; the last one counts the rest.
const MAX_FAILURES: usize = 1000;
/// Characters of such a line.
const MAX_LINE: usize = 400;

/// Data sets within a folder that are named.
const MAX_BENEATH: usize = 10;

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
    /// What happens in a clip, where that is what is known of it.
    pub story: Option<Story>,
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
    /// Inside it goes by the size that the annotation states, where it does; a video's is not known before it is decoded, and
    /// its boxes are cut at the left and the top only.
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

/// How a data set lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Pascal VOC 2007, 2012: `JPEGImages/`, `Annotations/*.xml`, `ImageSets/Main/SPLIT.txt`.
    Voc,
    /// COCO instances: `annotations.json` or `annotations/*.json` beside the pictures' folder, or that JSON file.
    Coco,
    /// Pictures in `images/`, lines of `class cx cy w h` under the same names in `labels/`; a picture without is empty.
    Yolo,
    /// `NAME.mp4` with `NAME.boxes.json`: `{"frames": [[[xmin, ymin, xmax, ymax], …], …]}`, pixels as displayed.
    Clips,
    /// `NAME.mp4` with `NAME.events.json`: what happens in it, and its zones and lines.
    Events,
    /// DAVIS 2016, 2017: `JPEGImages/480p/NAME/*.jpg`, masks in `Annotations/480p/NAME/*.png`, `ImageSets/YEAR/SPLIT.txt`.
    Davis,
    /// MOT Challenge: `NAME/img1/*.jpg`, `NAME/gt/gt.txt`, `NAME/seqinfo.ini`.
    Mot,
}

/// What to read of a data set.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The part to read, by the data set's own name for it (`trainval`, `val2017`); all of it where none is given.
    pub split: Option<String>,
}

/// Why a data set, or something in it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct DatasetError {
    pub path: PathBuf,
    pub why: String,
}

impl OfKind for DatasetError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
}

impl Format {
    pub const ALL: [Self; 7] = [Self::Voc, Self::Coco, Self::Yolo, Self::Clips, Self::Events, Self::Davis, Self::Mot];

    /// The name the format goes by on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Voc => "voc",
            Self::Coco => "coco",
            Self::Yolo => "yolo",
            Self::Clips => "clips",
            Self::Events => "events",
            Self::Davis => "davis",
            Self::Mot => "mot",
        }
    }

    /// What the format is recognised by.
    fn signs(self) -> &'static str {
        match self {
            Self::Voc => "JPEGImages/ with Annotations/*.xml",
            Self::Coco => "annotations.json or annotations/*.json",
            Self::Yolo => "images/ with labels/",
            Self::Clips => "*.boxes.json",
            Self::Events => "*.events.json",
            Self::Davis => "JPEGImages/480p/ with Annotations/480p/",
            Self::Mot => "*/gt/gt.txt",
        }
    }

    fn is_at(self, root: &Path) -> bool {
        match self {
            Self::Voc => voc::is_at(root),
            Self::Coco => coco::is_at(root),
            Self::Yolo => yolo::is_at(root),
            Self::Clips => clips::is_at(root),
            Self::Events => events::is_at(root),
            Self::Davis => davis::is_at(root),
            Self::Mot => mot::is_at(root),
        }
    }

    /// The one format that is there.
    pub fn recognise(path: &Path) -> Result<Self, DatasetError> {
        let found: Vec<Self> = Self::ALL.into_iter().filter(|format| format.is_at(path)).collect();
        let list = |formats: &[Self]| {
            formats
                .iter()
                .map(|format| format!("{} ({})", format.name(), format.signs()))
                .collect::<Vec<_>>()
                .join(", ")
        };
        match found[..] {
            [format] => Ok(format),
            [] => match beneath(path, &Self::ALL).as_deref() {
                Some(below) => Err(fault(path, below)),
                None => Err(fault(path, format!("no data set is recognised here; looked for {}", list(&Self::ALL)))),
            },
            _ => Err(fault(path, format!("could be any of {}: say which with --format", list(&found)))),
        }
    }
}

impl Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or(format!("no format {name:?} (expected {names})"))
    }
}

impl Dataset {
    /// Reads the annotations at `path`, a folder or COCO's JSON file; no picture is decoded. The format is recognised where
    /// none is given. An error where nothing is usable; what else is wrong is in `failures`.
    pub fn open(path: &Path, format: Option<Format>, options: &Options) -> Result<Self, DatasetError> {
        if let Err(error) = std::path::absolute(path).and_then(|path| path.metadata()) {
            return Err(fault(path, error));
        }
        let format = format.map_or_else(|| Format::recognise(path), Ok)?;
        if !format.is_at(path)
            && let Some(below) = beneath(path, &[format])
        {
            return Err(fault(path, below));
        }
        let split = options.split.as_deref();
        let mut report = Report::default();
        let mut items = match format {
            Format::Voc => voc::read(path, split, &mut report),
            Format::Coco => coco::read(path, split, &mut report),
            Format::Yolo => yolo::read(path, split, &mut report),
            Format::Clips => clips::read(path, split, &mut report),
            Format::Events => events::read(path, split, &mut report),
            Format::Davis => davis::read(path, split, &mut report),
            Format::Mot => mot::read(path, split, &mut report),
        }?;
        items.sort_by(|a, b| a.id.cmp(&b.id));
        let failures = report.finish();
        if items.is_empty() {
            let first = failures.first().map_or("it is empty", String::as_str);
            return Err(fault(path, format!("nothing is usable as {format}: {first}")));
        }
        Ok(Self { items, failures })
    }
}

impl Item {
    fn still(id: String, picture: PathBuf, boxes: Vec<TruthBox>) -> Self {
        let frames = vec![FrameTruth { is_annotated: true, boxes }];
        Self { id, media: Media::Still(picture), frames, is_exhaustive: true, story: None }
    }
}

impl TruthBox {
    /// An object of no class at `corners` (`[xmin, ymin, xmax, ymax]`, half-open), cut to a picture of `size` (width, height), or
    /// why there is none.
    fn within(corners: [f64; 4], size: (u32, u32)) -> Result<Self, String> {
        let [xmin, ymin, xmax, ymax] = corners;
        if corners.iter().any(|value| !value.is_finite()) {
            return Err(format!("box {corners:?} is not all numbers"));
        }
        if xmin >= xmax || ymin >= ymax {
            return Err(format!("box {corners:?} has no area (expected [xmin, ymin, xmax, ymax])"));
        }
        let (width, height) = (f64::from(size.0), f64::from(size.1));
        let bbox = [xmin.max(0.0), ymin.max(0.0), xmax.min(width), ymax.min(height)];
        if bbox[0] >= bbox[2] || bbox[1] >= bbox[3] {
            return Err(format!("box {corners:?} lies outside the picture of {width}x{height}"));
        }
        Ok(Self { bbox, class: None, is_difficult: false, is_truncated: false, is_crowd: false, track: None })
    }
}

/// What could not be used, each in one line.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    more: usize,
}

impl Report {
    fn add(&mut self, error: DatasetError) {
        if self.lines.len() == MAX_FAILURES {
            self.more += 1;
            return;
        }
        let line = error.to_string();
        self.lines.push(markup::plain(&line).chars().take(MAX_LINE).collect());
    }

    /// What is left of a result once its error is on the list.
    fn keep<T>(&mut self, result: Result<T, DatasetError>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("and {} more", self.more));
        }
        self.lines
    }
}

/// What to give instead of a folder whose own folders are data sets, such as `VOCdevkit`.
fn beneath(path: &Path, formats: &[Format]) -> Option<String> {
    let folders = files::list(path).ok()?.into_iter().filter(|path| path.is_dir());
    let is_one = |folder: &PathBuf| formats.iter().any(|format| format.is_at(folder));
    let found: Vec<String> =
        folders.filter(is_one).take(MAX_BENEATH).map(|folder| folder.display().to_string()).collect();
    (!found.is_empty()).then(|| format!("it holds data sets, and is none itself: give {}", found.join(" or ")))
}

fn fault(path: &Path, why: impl Display) -> DatasetError {
    DatasetError { path: path.to_owned(), why: markup::plain(&why.to_string()) }
}
