//! Measures of what moves: objects found per clip, boxes that jump, and boxes where nothing is.

use super::average_precision::{Matches, Size};
use super::dataset::TruthBox;
use super::sample::{Estimate, Moment, RIGHT_IOU, Ratio, Sample};
use crate::geometry::{self, DrawnBox};

/// What was found in the frames of one clip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipFound {
    pub item: usize,
    pub frames: u64,
    /// Over all frames.
    pub objects: u64,
    /// How many of them were found, at IoU 0.5; none where there are none.
    pub recall: Option<f64>,
    /// Boxes in frames that are known to be empty, and how long those are shown, by the clip's time stamps.
    pub false_boxes: u64,
    pub empty_minutes: f64,
    /// Frames that the model ran on, of the clip's frames so far; none where they are looked at one by one.
    pub inferred: Option<(u64, u64)>,
}

/// Of the items with more than one frame.
pub fn by_clip(samples: &[Sample], items: usize) -> Vec<ClipFound> {
    let clips = samples.chunk_by(|a, b| a.item == b.item).filter(|clip| clip.len() > 1);
    let found = |clip: &[Sample]| {
        let objects = clip.iter().flat_map(|sample| sample.objects()).filter(|truth| !truth.is_difficult).count();
        let (first, last) = (&clip[0], &clip[clip.len() - 1]);
        let minutes = |first: Moment, last: Moment| last.pts_ns.saturating_sub(first.pts_ns) as f64 / 6e10;
        let all = first.moment.zip(last.moment).map_or(0.0, |(first, last)| minutes(first, last));
        let empty = || clip.iter().filter(|sample| sample.is_known_empty());
        ClipFound {
            item: first.item,
            frames: clip.len() as u64,
            objects: objects as u64,
            recall: Matches::new(clip, items, Size::All).precision(&vec![1; items]).map(|found| found.recall50),
            false_boxes: empty().map(|sample| sample.found.len() as u64).sum(),
            // A frame is shown as long as the mean of the clip's.
            empty_minutes: empty().count() as f64 * all / (last.frame - first.frame) as f64,
            inferred: last.moment.and_then(|moment| Some((moment.inferred?, last.frame as u64 + 1))),
        }
    };
    clips.map(found).collect()
}

/// How much the boxes of an object move more than the object does, from one frame to the next; and over how many steps.
///
/// A step is an object that is annotated in two frames `every` apart and found in both: by the box of highest IoU with it, which
/// is at least 0.5. It counts `1 − IoU` of its two found boxes, less `1 − IoU` of its two drawn boxes. 0 is a box that follows
/// its object; below 0 it stands stiller than the object. The object is known by its track, or, without tracks, by being the only
/// one in both frames. None where there is no step.
pub fn jitter(samples: &[Sample], items: usize, every: usize) -> Option<(Estimate, u64)> {
    let mut movement = Ratio::new(items);
    for pair in samples.windows(2) {
        let [before, after] = pair else { continue };
        if before.item != after.item || after.frame != before.frame + every {
            continue;
        }
        for truth in before.objects() {
            let Some(later) = same_object(truth, before, after) else { continue };
            if let (Some(from), Some(to)) = (box_of(truth, before), box_of(later, after)) {
                let moved = |a, b| 1.0 - geometry::iou(a, b);
                movement.add(before.item, moved(from, to) - moved(&truth.bbox, &later.bbox), 1.0);
            }
        }
    }
    let steps = movement.of() as u64;
    Some((movement.estimate()?, steps))
}

fn same_object<'a>(truth: &TruthBox, before: &Sample, after: &'a Sample) -> Option<&'a TruthBox> {
    match truth.track {
        Some(track) => after.objects().find(|other| other.track == Some(track)),
        None if before.objects().nth(1).is_some() || after.objects().nth(1).is_some() => None,
        None => after.objects().next().filter(|other| other.track.is_none()),
    }
}

fn box_of<'a>(truth: &TruthBox, sample: &'a Sample) -> Option<&'a DrawnBox> {
    let iou = |bbox: &DrawnBox| geometry::iou(bbox, &truth.bbox);
    let best = sample.found.iter().map(|found| &found.bbox).max_by(|a, b| iou(a).total_cmp(&iou(b)))?;
    (iou(best) >= RIGHT_IOU).then_some(best)
}

/// What was found in pictures and frames where nothing is.
#[derive(Clone, Copy, Debug)]
pub struct FalseBoxes {
    pub pictures: u64,
    pub boxes: u64,
    pub boxes_per_picture: Estimate,
    /// Share of the pictures in which anything was found.
    pub share_with_boxes: Estimate,
}

/// None where no picture is known to be empty.
pub fn false_boxes(samples: &[Sample], items: usize) -> Option<FalseBoxes> {
    let (mut mean, mut share) = (Ratio::new(items), Ratio::new(items));
    let mut boxes = 0;
    for sample in samples.iter().filter(|sample| sample.is_known_empty()) {
        boxes += sample.found.len() as u64;
        mean.add(sample.item, sample.found.len() as f64, 1.0);
        share.add(sample.item, f64::from(u8::from(!sample.found.is_empty())), 1.0);
    }
    let pictures = mean.of() as u64;
    Some(FalseBoxes { pictures, boxes, boxes_per_picture: mean.estimate()?, share_with_boxes: share.estimate()? })
}
