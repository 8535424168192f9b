//! What an evaluation says: plain data, written as JSON by `mostream eval`, read again to make `docs/RESULTS.md`.
//! [`Measures::of`] takes every measure of one set of found boxes.

use super::auc::auc;
use super::average_precision::{MAX_BOXES, Matches, Size};
use super::bootstrap::{LEVEL, RESAMPLES, SEED};
use super::corloc::{Boxes, Objects, corloc};
use super::events::Measured;
use super::sample::{Estimate, RIGHT_IOU, Ratio, Sample};
use super::tracking::{self, Tally, Tracking};
use super::video::{self, ClipFound};
use crate::geometry;
use crate::localize::Method;
use crate::scene::Sense;
use serde::{Deserialize, Serialize};

/// Raised when a field changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// One evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub evaluation: u32,
    /// Name and version.
    pub program: String,
    /// When it was made, in UTC.
    pub date: String,
    pub machine: Machine,
    pub model: Model,
    pub dataset: DatasetSummary,
    pub choices: Choices,
    /// One for each size of input and method.
    pub results: Vec<Outcome>,
    /// Of clips of which it is known what happens; there are no results then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Measured>,
    /// What could not be read, one line each.
    pub failures: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    /// Operating system and architecture.
    pub system: String,
    /// Version of the ONNX Runtime library.
    pub onnxruntime: String,
    /// As asked for.
    #[serde(default)]
    pub device: String,
    #[serde(default)]
    pub precision: String,
    /// Pictures that were worked on at the same time, and threads of the model for each.
    pub jobs: usize,
    pub threads: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Name and content hash.
    pub id: String,
    /// Side of a patch in pixels.
    pub patch: u32,
    /// What the methods on features read: `k`, `q` or `v`.
    pub feature: String,
}

/// A box of more than this share of the picture is large.
const LARGE: f64 = 0.4;

/// What was evaluated. An item is a picture or a clip, a picture also a frame of a clip.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// The file or folder, without the way to it.
    pub name: String,
    pub format: String,
    pub split: Option<String>,
    pub items: u64,
    pub clips: u64,
    /// Items left out by name, and the file that names them.
    pub excluded: u64,
    pub exclude: Option<String>,
    /// Only the first so many items.
    pub limit: Option<u64>,
    /// Of clips, every Nth frame.
    pub every: u64,
    /// Annotated pictures that were evaluated; those with every object annotated; those known to be empty.
    pub pictures: u64,
    pub exhaustive_pictures: u64,
    pub empty_pictures: u64,
    /// Objects in them; crowds are not among them, difficult and truncated ones are.
    pub objects: u64,
    pub crowds: u64,
    pub difficult: u64,
    pub truncated: u64,
    /// True events of clips.
    #[serde(default)]
    pub events: u64,
}

/// The rules behind the numbers, in words and numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    pub right_iou: f64,
    pub max_boxes: usize,
    pub corloc: String,
    pub average_precision: String,
    pub recall: String,
    pub score_auc: String,
    pub jitter: String,
    #[serde(default = "tracking_rule")]
    pub tracking: String,
    #[serde(default = "events_rule")]
    pub events: String,
    pub intervals: String,
    pub confidence: f64,
    pub resamples: u32,
    pub seed: u64,
}

impl Default for Choices {
    fn default() -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            right_iou: RIGHT_IOU,
            max_boxes: MAX_BOXES,
            corloc: text(
                "share of pictures with objects in which a box has an IoU of at least 0.5 with any object, crowds left out; \
                 difficult and truncated objects count, as in the main tables of LOST and TokenCut; without_hard leaves them \
                 out, and pictures with no other object, as in their VOC_all setting; single is the box of highest score",
            ),
            average_precision: text(
                "COCO's, class-agnostic: IoU 0.50:0.05:0.95, 101 recalls, at most 100 boxes per picture; crowds and objects \
                 flagged difficult are neither right nor wrong; sizes by area of the box, at 32² and 96² pixels; only pictures \
                 with every object annotated",
            ),
            recall: text(
                "COCO's: recall50 at IoU 0.5, recall the mean over IoU 0.50:0.05:0.95; all annotated pictures",
            ),
            score_auc: text(
                "chance that a box with an IoU of at least 0.5 with an object has a higher score than one without, ties half; \
                 only pictures with every object annotated",
            ),
            jitter: text(
                "mean over objects found (IoU at least 0.5) in two evaluated frames in a row of 1 - IoU between their two \
                 found boxes, less 1 - IoU between their two drawn boxes",
            ),
            tracking: tracking_rule(),
            events: events_rule(),
            intervals: text("percentile bootstrap over pictures, clips as a whole"),
            confidence: LEVEL,
            resamples: RESAMPLES,
            seed: SEED,
        }
    }
}

/// Also of reports that are older: they have no such numbers.
fn tracking_rule() -> String {
    "HOTA, DetA, AssA, LocA and OWTA are means over IoU 0.05:0.05:0.95, as in TrackEval; IDF1, IDP, IDR, MOTA and switches at IoU 0.5; \
     class-agnostic, of the frames that are counted; only clips with every object annotated and each with its identity; crowds, \
     difficult objects and the boxes on them are left out; pooled are the counts of all clips"
        .to_owned()
}

/// Also of reports that are older: they have none.
fn events_rule() -> String {
    "a told event is right that is of the same kind, zone and side as a true one and begins at most 1 s from it; as many pairs as can be, none \
     has two; an end is right at most 1 s from the true one, or where both go on"
        .to_owned()
}

/// One method on one size of input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// `1200 patches` at most, or the size in pixels.
    pub input: String,
    pub method: Method,
    /// Whether the boxes are the paper's, duplicates kept, in the paper's order.
    pub paper: bool,
    /// What spoke for an object of a clip.
    #[serde(default)]
    pub cue: Cue,
    /// What was left out, to learn what it brings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Sense>,
    /// Whether the model ran only on frames that asked for it.
    #[serde(default)]
    pub adaptive: bool,
    /// Boxes of a lower score were left out.
    pub min_score: f32,
    pub measures: Measures,
    /// Median wall time per picture.
    pub milliseconds: Stages,
}

/// What speaks for an object: the single picture, or its past, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cue {
    #[default]
    Appearance,
    Time,
}

/// Time of each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    pub decode: f64,
    pub scale: f64,
    pub infer: f64,
    pub localize: f64,
    /// Where the past is asked: the small picture and what moves in it, and what is new.
    #[serde(default)]
    pub motion: f64,
    #[serde(default)]
    pub scene: f64,
    /// Of inference and localization together, which is what the size of the input and the method decide.
    pub analysis: Option<Estimate>,
}

/// Every measure; none where the data does not allow it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    pub boxes: u64,
    pub boxes_per_picture: Option<Estimate>,
    pub corloc_single: Option<Share>,
    pub corloc_any: Option<Share>,
    /// Only where objects are flagged.
    pub corloc_single_without_hard: Option<Share>,
    pub corloc_any_without_hard: Option<Share>,
    pub all: Option<Quality>,
    pub small: Option<Quality>,
    pub medium: Option<Quality>,
    pub large: Option<Quality>,
    /// Share of boxes that are right, on pictures with every object annotated.
    pub precision: Option<Share>,
    /// Share of boxes that cover more than [`LARGE`] of the picture.
    #[serde(default)]
    pub large_boxes: Option<Share>,
    /// How many boxes of each tenth of the score are right, where there are some.
    #[serde(default)]
    pub reliability: Vec<Tenth>,
    pub score_auc: Option<Estimate>,
    pub empty: Option<FalseBoxes>,
    pub video: Option<Video>,
}

/// An estimate and the number of things it is a share of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    #[serde(flatten)]
    pub estimate: Estimate,
    pub of: u64,
}

/// Of objects of one size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    pub objects: u64,
    pub recall50: Estimate,
    pub recall: Estimate,
    /// None where no picture has every object annotated.
    pub ap50: Option<Estimate>,
    pub ap: Option<Estimate>,
}

/// Boxes of a tenth of the score, on pictures with every object annotated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tenth {
    /// Of the score, in tenths: 3 is from 0.3 to 0.4.
    pub tenth: u8,
    pub boxes: u64,
    pub mean_score: f64,
    pub right: Estimate,
}

/// Boxes in pictures that are known to be empty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FalseBoxes {
    pub pictures: u64,
    pub boxes: u64,
    pub boxes_per_picture: Estimate,
    pub share_with_boxes: Estimate,
    /// Of clips, by their time stamps.
    #[serde(default)]
    pub per_minute: Option<Estimate>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Video {
    pub clips: Vec<Clip>,
    /// Mean of the clips' recalls at IoU 0.5.
    pub mean_recall50: Option<Estimate>,
    /// Means of those clips that have them.
    #[serde(default)]
    pub mean_precision: Option<Estimate>,
    #[serde(default)]
    pub mean_best: Option<Estimate>,
    #[serde(default)]
    pub mean_any: Option<Estimate>,
    #[serde(default)]
    pub mean_false_per_minute: Option<Estimate>,
    /// Of all clips' frames, and the mean of the clips' shares.
    #[serde(default)]
    pub inferred: Option<Estimate>,
    #[serde(default)]
    pub mean_inferred: Option<Estimate>,
    pub jitter: Option<Share>,
    /// Of all clips together that have it.
    #[serde(default)]
    pub tracking: Option<Tracking<Estimate>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    pub id: String,
    pub frames: u64,
    pub objects: u64,
    /// None where it has no objects.
    pub recall50: Option<f64>,
    /// The share of its boxes that are right, and of its frames with objects in which the surest box, or any, is.
    #[serde(default)]
    pub precision: Option<f64>,
    #[serde(default)]
    pub best: Option<f64>,
    #[serde(default)]
    pub any: Option<f64>,
    /// Boxes in frames that are known to be empty, by time stamps.
    #[serde(default)]
    pub false_per_minute: Option<f64>,
    /// The share of its frames that the model ran on, where every frame is looked at.
    #[serde(default)]
    pub inferred: Option<f64>,
    /// Where objects have identities and found boxes have tracks.
    #[serde(default)]
    pub tracking: Option<Tracking<f64>>,
}

impl Measures {
    /// Every measure of `samples`, the annotated pictures of a data set whose items have these ids. Of clips they hold every
    /// `every`th frame.
    pub fn of(samples: &[Sample], ids: &[&str], every: usize) -> Self {
        let items = ids.len();
        let share = |(estimate, of)| Share { estimate, of };
        let corloc = |objects, boxes| corloc(samples, items, objects, boxes).map(share);
        let is_flagged =
            samples.iter().flat_map(|sample| sample.objects()).any(|truth| truth.is_difficult || truth.is_truncated);
        let without_hard = |boxes| is_flagged.then(|| corloc(Objects::WithoutHard, boxes)).flatten();
        let is_clip = samples.windows(2).any(|pair| pair[0].item == pair[1].item);
        let clips = video::by_clip(samples, items);
        Self {
            boxes: boxes(samples),
            boxes_per_picture: boxes_per_picture(samples, items),
            corloc_single: corloc(Objects::All, Boxes::Best),
            corloc_any: corloc(Objects::All, Boxes::Any),
            corloc_single_without_hard: without_hard(Boxes::Best),
            corloc_any_without_hard: without_hard(Boxes::Any),
            all: quality(samples, items, Size::All),
            small: quality(samples, items, Size::Small),
            medium: quality(samples, items, Size::Medium),
            large: quality(samples, items, Size::Large),
            precision: precision(samples, items),
            large_boxes: large_boxes(samples, items),
            reliability: reliability(samples, items),
            score_auc: auc(samples, items),
            empty: video::false_boxes(samples, items).map(|found| FalseBoxes {
                pictures: found.pictures,
                boxes: found.boxes,
                boxes_per_picture: found.boxes_per_picture,
                share_with_boxes: found.share_with_boxes,
                per_minute: pooled(&clips, items, |clip| Some((clip.false_boxes as f64, clip.empty_minutes))),
            }),
            video: is_clip.then(|| of_clips(samples, ids, every, &clips)),
        }
    }
}

fn boxes(samples: &[Sample]) -> u64 {
    samples.iter().map(|sample| sample.found.len() as u64).sum()
}

fn boxes_per_picture(samples: &[Sample], items: usize) -> Option<Estimate> {
    let mut mean = Ratio::new(items);
    samples.iter().for_each(|sample| mean.add(sample.item, sample.found.len() as f64, 1.0));
    mean.estimate()
}

fn quality(samples: &[Sample], items: usize, size: Size) -> Option<Quality> {
    let all = Matches::new(samples, items, size).estimate()?;
    let exhaustive = || samples.iter().filter(|sample| sample.is_exhaustive);
    let precise = match exhaustive().count() == samples.len() {
        true => Some(all),
        false => Matches::new(exhaustive(), items, size).estimate(),
    };
    Some(Quality {
        objects: all.objects,
        recall50: all.recall50,
        recall: all.recall,
        ap50: precise.map(|precise| precise.ap50),
        ap: precise.map(|precise| precise.ap),
    })
}

/// A quotient of two sums over clips, of those that have both.
fn pooled(clips: &[ClipFound], items: usize, of: fn(&ClipFound) -> Option<(f64, f64)>) -> Option<Estimate> {
    let mut ratio = Ratio::new(items);
    clips
        .iter()
        .filter_map(|clip| Some((clip.item, of(clip)?)))
        .for_each(|(item, (part, of))| ratio.add(item, part, of));
    ratio.estimate()
}

fn of_clips(samples: &[Sample], ids: &[&str], every: usize, found: &[ClipFound]) -> Video {
    let mut tallies = Vec::new();
    let mut clip = |clip: &ClipFound| {
        let own: Vec<Sample> = samples.iter().filter(|sample| sample.item == clip.item).copied().collect();
        let share = |found: Option<Share>| found.map(|found| found.estimate.value);
        let located =
            |boxes| share(corloc(&own, ids.len(), Objects::All, boxes).map(|(estimate, of)| Share { estimate, of }));
        let tally = Tally::of_clip(&own);
        let found = Clip {
            id: ids[clip.item].to_owned(),
            frames: clip.frames,
            objects: clip.objects,
            recall50: clip.recall,
            precision: share(precision(&own, ids.len())),
            best: located(Boxes::Best),
            any: located(Boxes::Any),
            false_per_minute: (clip.empty_minutes > 0.0).then(|| clip.false_boxes as f64 / clip.empty_minutes),
            inferred: clip.inferred.map(|(inferred, frames)| inferred as f64 / frames as f64),
            tracking: tally.as_ref().and_then(Tally::measures),
        };
        tallies.extend(tally);
        (clip.item, found)
    };
    let clips: Vec<(usize, Clip)> = found.iter().map(&mut clip).collect();
    let mean = |of: fn(&Clip) -> Option<f64>| {
        let mut mean = Ratio::new(ids.len());
        clips.iter().filter_map(|(item, clip)| Some((item, of(clip)?))).for_each(|(item, of)| mean.add(*item, of, 1.0));
        mean.estimate()
    };
    Video {
        mean_recall50: mean(|clip| clip.recall50),
        // Boxes of a clip without objects are counted by the minute.
        mean_precision: mean(|clip| clip.recall50.and(clip.precision)),
        mean_best: mean(|clip| clip.best),
        mean_any: mean(|clip| clip.any),
        mean_false_per_minute: mean(|clip| clip.false_per_minute),
        inferred: pooled(found, ids.len(), |clip| clip.inferred.map(|(part, of)| (part as f64, of as f64))),
        mean_inferred: mean(|clip| clip.inferred),
        jitter: video::jitter(samples, ids.len(), every).map(|(estimate, of)| Share { estimate, of }),
        tracking: tracking::pooled(&tallies),
        clips: clips.into_iter().map(|(_, clip)| clip).collect(),
    }
}

/// The share of boxes that are right, each object once.
fn precision(samples: &[Sample], items: usize) -> Option<Share> {
    let mut share = Ratio::new(items);
    for sample in samples.iter().filter(|sample| sample.is_exhaustive) {
        for is_right in sample.right().into_iter().flatten() {
            share.add(sample.item, f64::from(u8::from(is_right)), 1.0);
        }
    }
    let of = share.of() as u64;
    Some(Share { estimate: share.estimate()?, of })
}

fn large_boxes(samples: &[Sample], items: usize) -> Option<Share> {
    let mut share = Ratio::new(items);
    for sample in samples {
        let [width, height] = sample.picture.map(f64::from);
        for found in sample.found {
            let is_large = geometry::area(&found.bbox) > LARGE * width * height;
            share.add(sample.item, f64::from(u8::from(is_large)), 1.0);
        }
    }
    let of = share.of() as u64;
    Some(Share { estimate: share.estimate()?, of })
}

fn reliability(samples: &[Sample], items: usize) -> Vec<Tenth> {
    let mut tenths: Vec<(Ratio, f64)> = (0..10).map(|_| (Ratio::new(items), 0.0)).collect();
    for sample in samples.iter().filter(|sample| sample.is_exhaustive) {
        for (found, is_right) in sample.found.iter().zip(sample.right()) {
            let Some(is_right) = is_right else { continue };
            let (right, scores) = &mut tenths[((10.0 * found.score) as usize).min(9)];
            right.add(sample.item, f64::from(u8::from(is_right)), 1.0);
            *scores += f64::from(found.score);
        }
    }
    let tenth = |(tenth, (right, scores)): (usize, (Ratio, f64))| {
        let boxes = right.of();
        Some(Tenth { tenth: tenth as u8, boxes: boxes as u64, mean_score: scores / boxes, right: right.estimate()? })
    };
    tenths.into_iter().enumerate().filter_map(tenth).collect()
}
