//! Videos, each with its boxes frame by frame in a JSON file beside it, and whose they are in a text file where that is known.

use super::json::Entry;
use super::{DatasetError, FrameTruth, Item, Media, Report, TruthBox, fault, files, mot};
use crate::geometry;
use std::path::{Path, PathBuf};

const MAX_BYTES: u64 = 64 << 20;
const ENDING: &str = ".boxes.json";
const IDENTITIES: &str = ".mot.txt";
/// A line of identities is of no box that it overlaps less.
const SAME_IOU: f64 = 0.5;
/// Only decoding tells a video's size: its boxes are cut at the left and the top.
const UNKNOWN_SIZE: (u32, u32) = (u32::MAX, u32::MAX);

/// The boxes of a frame, `[xmin, ymin, xmax, ymax]`; null where nobody looked.
type Frame = Option<Vec<Entry<[f64; 4]>>>;

#[derive(serde::Deserialize)]
struct Boxes {
    /// The video's file name; that of the JSON file with `.mp4` where it is left out.
    clip: Option<String>,
    frames: Vec<Entry<Frame>>,
    #[serde(default = "yes")]
    exhaustive: bool,
}

fn yes() -> bool {
    true
}

pub fn is_at(root: &Path) -> bool {
    files::has(root, |path| name(path).is_some())
}

pub fn read(root: &Path, split: Option<&str>, report: &mut Report) -> Result<Vec<Item>, DatasetError> {
    if let Some(split) = split {
        return Err(fault(root, format!("clips have no splits (got {split:?})")));
    }
    let mut items: Vec<Item> = Vec::new();
    let listed = files::list(root)?;
    for (path, name) in listed.iter().filter_map(|path| Some((path, name(path)?))) {
        let item = item(root, path, name, report);
        items.extend(report.keep(item));
    }
    for video in listed.iter().filter(|path| files::has_extension(path, "mp4")) {
        if !video.with_extension("boxes.json").exists()
            && items.iter().all(|item| item.media != Media::Video(video.clone()))
        {
            report.add(fault(video, format!("there are no boxes (expected NAME{ENDING} beside it)")));
        }
    }
    Ok(items)
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.strip_suffix(ENDING)
}

fn item(root: &Path, path: &Path, name: &str, report: &mut Report) -> Result<Item, DatasetError> {
    let Boxes { clip, frames, exhaustive } =
        serde_json::from_reader(files::open(path, MAX_BYTES)?).map_err(|error| fault(path, error))?;
    let video = video(root, path, clip, name)?;
    let mut truths = Vec::with_capacity(frames.len());
    for (index, Entry(frame)) in frames.into_iter().enumerate() {
        let said = |why| fault(path, format!("frame {index} (counted from 0): {why}"));
        let boxes = report.keep(frame.map_err(said)).flatten();
        let is_annotated = boxes.is_some();
        let boxes = boxes.into_iter().flatten().filter_map(|Entry(corners)| {
            report.keep(corners.and_then(|corners| TruthBox::within(corners, UNKNOWN_SIZE)).map_err(said))
        });
        truths.push(FrameTruth { is_annotated, boxes: boxes.collect() });
    }
    let identities = root.join(format!("{name}{IDENTITIES}"));
    if identities.is_file() {
        identify(&mut truths, &identities, report)?;
    }
    Ok(Item { id: name.to_owned(), media: Media::Video(video), frames: truths, is_exhaustive: exhaustive, story: None })
}

/// The video that the JSON file at `path` is about: the one that it names, or that of its own name.
pub fn video(root: &Path, path: &Path, clip: Option<String>, name: &str) -> Result<PathBuf, DatasetError> {
    let video = files::inside(root, &clip.unwrap_or_else(|| format!("{name}.mp4")))?;
    if !video.is_file() {
        return Err(fault(path, format!("there is no clip {}", video.display())));
    }
    Ok(video)
}

/// Whose the boxes are, by lines as in a MOT Challenge's truth: each names the box of its frame that it overlaps most.
fn identify(frames: &mut [FrameTruth], path: &Path, report: &mut Report) -> Result<(), DatasetError> {
    let text = files::read_text(path, MAX_BYTES)?;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let named = mot::object(line, UNKNOWN_SIZE).and_then(|(number, object)| {
            let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            let frame = at.and_then(|at| frames.get_mut(at)).ok_or(format!("there is no frame {number}"))?;
            if !frame.is_annotated {
                return Ok(());
            }
            if frame.boxes.iter().any(|truth| truth.track == object.track) {
                return Err(format!("object {} is in frame {number} twice", object.track.unwrap_or_default()));
            }
            let iou = |truth: &TruthBox| geometry::iou(&truth.bbox, &object.bbox);
            let open = frame.boxes.iter_mut().filter(|truth| truth.track.is_none() && iou(truth) >= SAME_IOU);
            let nearest = open.max_by(|a, b| iou(a).total_cmp(&iou(b)));
            nearest.ok_or(format!("frame {number} has no such box"))?.track = object.track;
            Ok(())
        });
        report.keep(named.map_err(|why| fault(path, format!("line {}: {why}", index + 1))));
    }
    Ok(())
}
