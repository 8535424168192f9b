//! The measures of `mostream eval` against the COCO tools and against cases worked out by hand.

use mostream::evaluate::average_precision::{Matches, Precision, Size};
use mostream::evaluate::corloc::{Boxes, Objects, corloc};
use mostream::evaluate::dataset::{FrameTruth, TruthBox};
use mostream::evaluate::report::{Cue, Measures, Outcome, Share, Stages};
use mostream::evaluate::sample::{self, Estimate, FoundBox, Moment, Sample};
use mostream::evaluate::{auc, bootstrap, tables, video};
use mostream::localize::Method;
use serde_json::{Value, json};

fn truth(bbox: [f64; 4]) -> TruthBox {
    TruthBox { bbox, class: None, is_difficult: false, is_truncated: false, is_crowd: false, track: None }
}

fn frame(boxes: Vec<TruthBox>) -> FrameTruth {
    FrameTruth { is_annotated: true, boxes }
}

fn found(bbox: [f64; 4], score: f32) -> FoundBox {
    FoundBox { bbox, score, track: None }
}

/// One picture per entry.
fn samples(pictures: &[(FrameTruth, Vec<FoundBox>)]) -> Vec<Sample<'_>> {
    pictures
        .iter()
        .enumerate()
        .map(|(item, (truth, found))| Sample {
            item,
            frame: 0,
            picture: [640, 480],
            truth,
            is_exhaustive: true,
            found,
            is_followed: false,
            moment: None,
        })
        .collect()
}

/// Xorshift: the pictures are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    fn bbox(&mut self, longest: u64) -> [f64; 4] {
        let [x, y] = [0, 1].map(|_| self.below(300) as f64);
        let [width, height] = [0, 1].map(|_| 2.0 + self.below(longest) as f64);
        [x, y, x + width, y + height]
    }
}

/// Pictures of every kind: empty, crowded, with groups, with more than 100 boxes, with equal scores.
fn random_pictures(random: &mut Random, count: usize) -> Vec<(FrameTruth, Vec<FoundBox>)> {
    let picture = |_| {
        let mut boxes: Vec<TruthBox> = Vec::new();
        for _ in 0..random.below(7) {
            let longest = [20, 80, 300][random.below(3) as usize];
            let is_crowd = random.below(6) == 0;
            boxes.push(TruthBox { is_crowd, ..truth(random.bbox(longest)) });
        }
        let mut guesses = Vec::new();
        for near in &boxes {
            for _ in 0..random.below(4) {
                // Shifted by whole pixels, so that an IoU may be a round number.
                let shift = random.below(8) as f64 / 8.0 * (near.bbox[2] - near.bbox[0]) * 0.5;
                let [xmin, ymin, xmax, ymax] = near.bbox;
                let score = random.below(50) as f32 / 50.0;
                guesses.push(found([xmin + shift.round(), ymin, xmax + shift.round(), ymax], score));
            }
        }
        let astray = if random.below(20) == 0 { 120 } else { random.below(4) };
        for _ in 0..astray {
            guesses.push(found(random.bbox(150), random.below(50) as f32 / 60.0));
        }
        (frame(boxes), guesses)
    };
    (0..count).map(picture).collect()
}

/// `[AP, AP50, AP small, medium, large, AR 100, AR small, medium, large]`; -1 where there are no objects.
fn coco_tools(pictures: &[(FrameTruth, Vec<FoundBox>)]) -> Vec<f64> {
    let xywh = |b: &[f64; 4]| [b[0], b[1], b[2] - b[0], b[3] - b[1]];
    let (mut images, mut annotations, mut results) = (Vec::new(), Vec::<Value>::new(), Vec::new());
    for (image, (truth, guesses)) in pictures.iter().enumerate() {
        images.push(json!({ "id": image, "width": 640, "height": 640 }));
        for truth in &truth.boxes {
            let bbox = xywh(&truth.bbox);
            annotations.push(json!({ "id": annotations.len() + 1, "image_id": image, "category_id": 1, "bbox": bbox,
                "area": bbox[2] * bbox[3], "iscrowd": u8::from(truth.is_crowd) }));
        }
        for guess in guesses {
            results
                .push(json!({ "image_id": image, "category_id": 1, "bbox": xywh(&guess.bbox), "score": guess.score }));
        }
    }
    let truth = json!({ "info": {}, "images": images, "annotations": annotations, "categories": [{ "id": 1, "name": "object" }] });
    let script = "
import contextlib, json, os, sys
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
data = json.load(sys.stdin)
with contextlib.redirect_stdout(open(os.devnull, 'w')):
    coco = COCO()
    coco.dataset = data['truth']
    coco.createIndex()
    run = COCOeval(coco, coco.loadRes(data['results']), 'bbox')
    run.evaluate(); run.accumulate(); run.summarize()
print(json.dumps([run.stats[i] for i in (0, 1, 3, 4, 5, 8, 9, 10, 11)]))
";
    let stats = crate::support::python(script, &json!({ "truth": truth, "results": results }));
    serde_json::from_value(stats).unwrap()
}

#[test]
fn precision_and_recall_are_those_of_the_coco_tools() {
    let mut random = Random(88_172_645_463_325_252);
    for count in [1, 3, 40, 150] {
        let pictures = random_pictures(&mut random, count);
        let samples = samples(&pictures);
        let of = |size| Matches::new(&samples, count, size).precision(&vec![1; count]);
        let [all, small, medium, large] = [Size::All, Size::Small, Size::Medium, Size::Large].map(of);
        let ap = |precision: Option<_>| precision.map_or(-1.0, |p: Precision| p.ap);
        let ar = |precision: Option<_>| precision.map_or(-1.0, |p: Precision| p.recall);
        let ours = [
            ap(all),
            all.map_or(-1.0, |p| p.ap50),
            ap(small),
            ap(medium),
            ap(large),
            ar(all),
            ar(small),
            ar(medium),
            ar(large),
        ];
        let theirs = coco_tools(&pictures);
        for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert!((ours - theirs).abs() < 1e-6, "{count} pictures, number {at}: {ours}, not {theirs}");
        }
        assert!(count < 40 || ours.iter().all(|value| *value > 0.01 && *value < 0.99), "a test of nothing: {ours:?}");
    }
}

#[test]
fn a_draw_counts_a_picture_as_often_as_if_it_were_there_so_often() {
    let pictures = random_pictures(&mut Random(4_101_842_887_655_102_017), 12);
    let counts = [0, 2, 1, 3, 0, 1, 1, 0, 2, 1, 0, 1];
    let drawn: Vec<_> =
        pictures.iter().zip(counts).flat_map(|(picture, n)| std::iter::repeat_n(picture.clone(), n as usize)).collect();
    let by_counts = Matches::new(&samples(&pictures), 12, Size::All).precision(&counts).unwrap();
    let by_copies = Matches::new(&samples(&drawn), 12, Size::All).precision(&[1; 12]).unwrap();
    for (a, b) in [(by_counts.ap, by_copies.ap), (by_counts.ap50, by_copies.ap50), (by_counts.recall, by_copies.recall)]
    {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
}

#[test]
fn difficult_objects_are_neither_right_nor_wrong() {
    let difficult = TruthBox { is_difficult: true, ..truth([200.0, 0.0, 300.0, 100.0]) };
    let boxes = vec![truth([0.0, 0.0, 100.0, 100.0]), difficult];
    // Two boxes on the difficult object come before the right one.
    let guesses = vec![
        found([200.0, 0.0, 300.0, 100.0], 0.9),
        found([205.0, 0.0, 300.0, 100.0], 0.8),
        found([0.0, 0.0, 100.0, 100.0], 0.7),
    ];
    let pictures = [(frame(boxes), guesses)];
    let precision = Matches::new(&samples(&pictures), 1, Size::All).precision(&[1]).unwrap();
    assert!((precision.ap - 1.0).abs() < 1e-12 && precision.recall50 == 1.0, "{precision:?}");
}

#[test]
fn corloc_by_hand() {
    let object = truth([0.0, 0.0, 100.0, 100.0]);
    let truncated = TruthBox { is_truncated: true, ..truth([100.0, 100.0, 200.0, 200.0]) };
    let crowd = TruthBox { is_crowd: true, ..object.clone() };
    let half = found([0.0, 0.0, 100.0, 50.0], 0.3);
    let less = found([0.0, 0.0, 100.0, 49.0], 0.9);
    let on_truncated = found([100.0, 100.0, 200.0, 200.0], 0.5);
    let pictures = [
        // An IoU of exactly one half is enough; the box of higher score falls short.
        (frame(vec![object.clone()]), vec![less, half]),
        (frame(vec![object.clone()]), vec![half]),
        (frame(vec![object.clone()]), vec![]),
        (frame(vec![object.clone(), truncated.clone()]), vec![on_truncated]),
        (frame(vec![truncated]), vec![on_truncated]),
        // Neither of these has an object.
        (frame(vec![]), vec![half]),
        (frame(vec![crowd]), vec![half]),
    ];
    let samples = samples(&pictures);
    let value = |objects, boxes| corloc(&samples, 7, objects, boxes).map(|(share, of)| (share.value, of));
    assert_eq!(value(Objects::All, Boxes::Best), Some((3.0 / 5.0, 5)));
    assert_eq!(value(Objects::All, Boxes::Any), Some((4.0 / 5.0, 5)));
    assert_eq!(value(Objects::WithoutHard, Boxes::Best), Some((1.0 / 4.0, 4)));
    assert_eq!(value(Objects::WithoutHard, Boxes::Any), Some((2.0 / 4.0, 4)));
}

#[test]
fn the_interval_of_corloc_is_near_the_normal_one_and_clips_are_drawn_as_a_whole() {
    let hit = found([0.0, 0.0, 10.0, 10.0], 0.5);
    let picture = |item: usize| {
        let guesses = if item.is_multiple_of(5) { vec![hit] } else { vec![] };
        (frame(vec![truth(hit.bbox)]), guesses)
    };
    let pictures: Vec<_> = (0..400).map(picture).collect();
    let mut all = samples(&pictures);
    let width = |samples: &[Sample]| {
        let (share, _) = corloc(samples, 400, Objects::All, Boxes::Best).unwrap();
        assert_eq!(share.value, 0.2);
        (share.high.unwrap() - share.low.unwrap()) / 2.0
    };
    let normal = |n: f64| 1.96 * (0.2 * 0.8 / n).sqrt();
    assert!((width(&all) - normal(400.0)).abs() < 0.005);
    // The same pictures as 80 clips of which 16 are found throughout: as good as 80 pictures.
    all.sort_by_key(|sample| sample.found.is_empty());
    for (at, sample) in all.iter_mut().enumerate() {
        (sample.item, sample.frame) = (at / 5, at % 5);
    }
    assert!((width(&all) - normal(80.0)).abs() < 0.01);
    assert_eq!(bootstrap::LEVEL, 0.95);
}

#[test]
fn auc_by_hand() {
    let object = truth([0.0, 0.0, 10.0, 10.0]);
    let right = |score| found([0.0, 0.0, 10.0, 10.0], score);
    let wrong = |score| found([50.0, 50.0, 60.0, 60.0], score);
    let pictures = [
        (frame(vec![object.clone()]), vec![right(0.9), wrong(0.5)]),
        (frame(vec![object]), vec![right(0.5), wrong(0.7)]),
    ];
    // Of the four pairs two are in order, one is a tie, one is not.
    let found = auc::auc(&samples(&pictures), 2).unwrap();
    assert_eq!(found.value, 2.5 / 4.0);
    let unannotated = Sample { is_exhaustive: false, ..samples(&pictures)[0] };
    assert!(auc::auc(&[unannotated], 1).is_none());
}

#[test]
fn a_box_that_follows_its_object_has_no_jitter_and_one_that_jumps_has_its_own_movement() {
    let at = |x: f64| [x, 0.0, x + 10.0, 10.0];
    let frames: Vec<FrameTruth> = [0.0, 2.0, 4.0, 4.0].map(|x| frame(vec![truth(at(x))])).into();
    let jitter = |boxes: [f64; 4], every| {
        let found = boxes.map(|x| [found(at(x), 0.5)]);
        let sample = |frame: usize| Sample {
            item: 0,
            frame: frame * every,
            picture: [640, 480],
            truth: &frames[frame],
            is_exhaustive: true,
            found: &found[frame],
            is_followed: false,
            moment: None,
        };
        let samples: Vec<Sample> = (0..4).map(sample).collect();
        video::jitter(&samples, 1, 1).map(|(jitter, steps)| (jitter.value, steps))
    };
    assert_eq!(jitter([0.0, 2.0, 4.0, 4.0], 1), Some((0.0, 3)));
    // Off by one in the last frame: 1 - 9/11 of movement where there was none.
    let (moved, steps) = jitter([0.0, 2.0, 4.0, 5.0], 1).unwrap();
    assert!((moved - (1.0 - 9.0 / 11.0) / 3.0).abs() < 1e-12 && steps == 3);
    // Lost in the second frame: one step is left.
    assert_eq!(jitter([0.0, 50.0, 4.0, 4.0], 1), Some((0.0, 1)));
    assert_eq!(jitter([0.0, 2.0, 4.0, 4.0], 2), None, "frames that do not follow each other");
}

#[test]
fn tracks_tell_objects_apart() {
    let tracked = |x: f64, track| TruthBox { track: Some(track), ..truth([x, 0.0, x + 10.0, 10.0]) };
    let frames = [frame(vec![tracked(0.0, 1), tracked(100.0, 2)]), frame(vec![tracked(100.0, 2), tracked(0.0, 1)])];
    let boxes = [found([0.0, 0.0, 10.0, 10.0], 0.1), found([100.0, 0.0, 110.0, 10.0], 0.2)];
    let sample = |frame: usize| Sample {
        item: 0,
        frame,
        picture: [640, 480],
        truth: &frames[frame],
        is_exhaustive: true,
        found: &boxes,
        is_followed: false,
        moment: None,
    };
    let (jitter, steps) = video::jitter(&[sample(0), sample(1)], 1, 1).unwrap();
    assert_eq!((jitter.value, steps), (0.0, 2));
}

#[test]
fn what_the_data_does_not_allow_is_not_measured() {
    let object = truth([0.0, 0.0, 50.0, 50.0]);
    let pictures = [
        (frame(vec![object.clone()]), vec![found(object.bbox, 0.9), found([60.0, 60.0, 90.0, 90.0], 0.2)]),
        (frame(vec![]), vec![found(object.bbox, 0.4)]),
    ];
    let all = samples(&pictures);
    let measures = Measures::of(&all, &["a", "b"], 1);
    let quality = measures.all.unwrap();
    assert_eq!((quality.objects, quality.recall50.value), (1, 1.0));
    assert!(quality.ap.is_some() && measures.video.is_none() && measures.small.is_none());
    assert!(measures.corloc_any_without_hard.is_none(), "nothing is flagged");
    let empty = measures.empty.unwrap();
    assert_eq!((empty.pictures, empty.boxes, empty.share_with_boxes.value), (1, 1, 1.0));
    assert_eq!((measures.boxes, measures.precision.unwrap().estimate.value), (3, 1.0 / 3.0));

    // Where only some objects are annotated no box is wrong.
    let some: Vec<Sample> = all.iter().map(|sample| Sample { is_exhaustive: false, ..*sample }).collect();
    let measures = Measures::of(&some, &["a", "b"], 1);
    let quality = measures.all.unwrap();
    assert_eq!((quality.recall50.value, quality.ap), (1.0, None));
    assert!(measures.empty.is_none() && measures.score_auc.is_none());
    assert!(measures.precision.is_none());
}

#[test]
fn boxes_of_nothing_are_counted_by_the_minute_and_a_clip_says_how_much_the_model_ran() {
    let (nothing, object) = (frame(vec![]), frame(vec![truth([0.0, 0.0, 50.0, 50.0])]));
    let boxes = [found([0.0, 0.0, 50.0, 50.0], 0.9), found([60.0, 60.0, 90.0, 90.0], 0.2)];
    // Every fifth frame of five a second.
    let sample = |item, frame: u64, truth, boxes, inferred| Sample {
        item,
        frame: frame as usize,
        picture: [640, 480],
        truth,
        is_exhaustive: true,
        found: boxes,
        is_followed: false,
        moment: Some(Moment { pts_ns: frame * 200_000_000, inferred: Some(inferred) }),
    };
    let samples = [
        // Nothing is there, and 3 boxes in 3 frames, which last 0.6 seconds.
        sample(0, 0, &nothing, &boxes[..1], 1),
        sample(0, 5, &nothing, &[], 2),
        sample(0, 10, &nothing, &boxes, 2),
        // Nothing in the last: no box.
        sample(1, 0, &object, &boxes[..1], 1),
        sample(1, 5, &nothing, &[], 4),
    ];
    let measures = Measures::of(&samples, &["empty", "busy"], 5);
    let video = measures.video.unwrap();
    let near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
    let [empty, busy] = &video.clips[..] else { panic!("{:?}", video.clips) };
    assert_eq!((empty.recall50, empty.objects, busy.recall50), (None, 0, Some(1.0)));
    assert!(near(empty.false_per_minute.unwrap(), 300.0) && near(busy.false_per_minute.unwrap(), 0.0));
    assert!(near(measures.empty.unwrap().per_minute.unwrap().value, 3.0 / (4.0 * 0.2 / 60.0)));
    assert!(near(video.mean_false_per_minute.unwrap().value, 150.0));
    assert!(near(empty.inferred.unwrap(), 2.0 / 11.0) && near(busy.inferred.unwrap(), 4.0 / 6.0));
    assert!(near(video.inferred.unwrap().value, 6.0 / 17.0));
    assert!(near(video.mean_inferred.unwrap().value, (2.0 / 11.0 + 4.0 / 6.0) / 2.0));
    // Precision is of clips with objects.
    assert!(near(video.mean_precision.unwrap().value, 1.0) && near(video.mean_recall50.unwrap().value, 1.0));
}

#[test]
fn a_median_has_an_interval_around_it() {
    let values = || (0..101).map(|at| f64::from(at * 37 % 101));
    let found = sample::median(values()).unwrap();
    assert_eq!(found.value, 50.0);
    // The binomial interval of the median's rank: 50 ± 1.96 · √101 / 2.
    assert!((found.low.unwrap() - 40.0).abs() < 2.5 && (found.high.unwrap() - 60.0).abs() < 2.5, "{found:?}");
    assert_eq!(sample::median([7.0].into_iter()), Some(Estimate { value: 7.0, low: None, high: None }));
    assert_eq!(sample::median(std::iter::empty()), None);
}

#[test]
fn the_knee_is_the_fastest_size_that_is_as_good_as_the_best() {
    let outcome = |method, ms: f64, corloc: f64| {
        let estimate = |value: f64| Estimate { value, low: Some(value - 0.05), high: Some(value + 0.05) };
        let share = Share { estimate: estimate(corloc), of: 100 };
        Outcome {
            input: format!("{ms} patches"),
            method,
            paper: false,
            cue: Cue::Appearance,
            without: Vec::new(),
            adaptive: false,
            min_score: 0.0,
            measures: Measures { corloc_any: Some(share), ..Measures::of(&[], &[], 1) },
            milliseconds: Stages { analysis: Some(estimate(ms)), ..Stages::default() },
        }
    };
    let results = [
        outcome(Method::Most, 10.0, 0.30),
        outcome(Method::Most, 20.0, 0.47),
        outcome(Method::Most, 80.0, 0.50),
        outcome(Method::Most, 40.0, 0.46),
        outcome(Method::Lost, 5.0, 0.49),
    ];
    assert_eq!(tables::knee(&results, Method::Most), Some(&results[1]));
    assert_eq!(tables::knee(&results, Method::Lost), Some(&results[4]));
    assert_eq!(tables::knee(&results, Method::TokenCut), None);
}
