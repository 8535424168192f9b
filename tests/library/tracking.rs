//! Measures of identities against TrackEval, and against a case worked out by hand.

use crate::support;
use mostream::evaluate::dataset::{FrameTruth, TruthBox};
use mostream::evaluate::report::Measures;
use mostream::evaluate::sample::{FoundBox, Moment, Sample};
use mostream::evaluate::tracking::{self, Frame, Tally, Tracking};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

/// One thing of a scene: where it begins, how it moves, its size, and what happens to it.
#[derive(Clone, Debug)]
struct Thing {
    from: [f64; 2],
    by: [f64; 2],
    size: [f64; 2],
    /// Frames in which it is there, and those among them in which nobody finds it.
    there: (usize, usize),
    missed: (usize, usize),
    /// From the first frame on, for so many frames and again after as many, it has this other track, which may be another thing's.
    switch: (usize, usize, u64),
    /// What its found box is off by, as a share of its size, frame by frame.
    off: Vec<f64>,
}

const FRAMES: usize = 40;

fn thing() -> impl Strategy<Value = Thing> {
    let span = || (0..FRAMES, 0..FRAMES).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let place = prop::array::uniform2(0.0..200.0);
    let size = prop::array::uniform2(10.0..80.0);
    let by = prop::array::uniform2(-4.0..4.0);
    let off = prop::collection::vec(prop_oneof![3 => -0.1..0.1, 1 => -0.9..0.9], FRAMES);
    (place, by, size, span(), span(), (0..FRAMES, 3..FRAMES, 0..12u64), off)
        .prop_map(|(from, by, size, there, missed, switch, off)| Thing { from, by, size, there, missed, switch, off })
}

/// Frames of things, boxes of nothing, and frames in which there is nothing, or nothing found.
fn scene() -> impl Strategy<Value = Vec<Frame>> {
    let astray = prop::collection::vec((0..FRAMES, 20..24u64, prop::array::uniform2(0.0..250.0)), 0..30);
    let blank = prop::collection::vec((0..FRAMES, any::<bool>()), 0..8);
    (prop::collection::vec(thing(), 0..7), astray, blank).prop_map(|(things, astray, blank)| {
        let mut frames = vec![Frame::default(); FRAMES];
        for (number, thing) in things.iter().enumerate() {
            let there = thing.there.0..=thing.there.1;
            for (at, frame) in frames.iter_mut().enumerate().filter(|(at, _)| there.contains(at)) {
                let [x, y] = [0, 1].map(|k| thing.from[k] + at as f64 * thing.by[k]);
                let [w, h] = thing.size;
                frame.truth.push((100 + number as u64, [x, y, x + w, y + h]));
                let (first, each, other) = thing.switch;
                let is_other = at >= first && ((at - first) / each).is_multiple_of(2);
                let track = if is_other { other } else { number as u64 };
                let is_missed = (thing.missed.0..thing.missed.1).contains(&at);
                if !is_missed && frame.found.iter().all(|(id, _)| *id != track) {
                    let (x, y) = (x + w * thing.off[at], y + h * thing.off[(at + 7) % FRAMES]);
                    frame.found.push((track, [x, y, x + 1.1 * w, y + h]));
                }
            }
        }
        for (at, track, [x, y]) in astray {
            if frames[at].found.iter().all(|(id, _)| *id != track) {
                frames[at].found.push((track, [x, y, x + 40.0, y + 40.0]));
            }
        }
        for (at, is_truth) in blank {
            if is_truth { frames[at].truth.clear() } else { frames[at].found.clear() }
        }
        frames
    })
}

/// `[HOTA, DetA, AssA, LocA, OWTA, IDF1, IDP, IDR, MOTA, switches]` of each scene, then of all together.
fn track_eval(scenes: &[Vec<Frame>]) -> Vec<[f64; 10]> {
    let boxes = |of: &[(u64, [f64; 4])]| of.iter().map(|(id, bbox)| json!([id, bbox])).collect::<Vec<Value>>();
    let frame = |frame: &Frame| json!([boxes(&frame.truth), boxes(&frame.found)]);
    let scenes: Vec<Vec<Value>> = scenes.iter().map(|scene| scene.iter().map(frame).collect()).collect();
    let script = "
import contextlib, json, os, sys
import numpy as np
def iou(a, b):
    w, h = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    both = max(w, 0) * max(h, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
def data(scene):
    numbers = [{}, {}]
    ids = [[np.array([n.setdefault(i, len(n)) for i, _ in frame[k]], int) for frame in scene] for k, n in enumerate(numbers)]
    return dict(num_timesteps=len(scene), gt_ids=ids[0], tracker_ids=ids[1], num_gt_ids=len(numbers[0]), num_tracker_ids=len(numbers[1]),
        num_gt_dets=sum(map(len, ids[0])), num_tracker_dets=sum(map(len, ids[1])),
        similarity_scores=[np.array([[iou(a, b) for _, b in frame[1]] for _, a in frame[0]]).reshape(len(frame[0]), len(frame[1])) for frame in scene])
with contextlib.redirect_stdout(open(os.devnull, 'w')):
    from trackeval.metrics import CLEAR, HOTA, Identity
    metrics = [HOTA(), Identity({'PRINT_CONFIG': False}), CLEAR({'PRINT_CONFIG': False})]
    scenes = [data(scene) for scene in json.load(sys.stdin)]
    each = [[metric.eval_sequence(scene) for scene in scenes] for metric in metrics]
    for metric, all in zip(metrics, each):
        all.append(metric.combine_sequences({str(n): r for n, r in enumerate(all)}))
print(json.dumps([[float(np.mean(h[k])) for k in ('HOTA', 'DetA', 'AssA', 'LocA', 'OWTA')] + [float(i[k]) for k in ('IDF1', 'IDP', 'IDR')]
    + [float(c['MOTA']), float(c['IDSW'])] for h, i, c in zip(*each)]))
";
    serde_json::from_value(support::python(script, &json!(scenes))).unwrap()
}

#[test]
fn every_measure_is_that_of_track_eval() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = scene().prop_filter("nothing is there", |frames| frames.iter().any(|frame| !frame.truth.is_empty()));
    let scenes: Vec<Vec<Frame>> = (0..200).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    // As if each lasted a minute.
    let tallies: Vec<Tally> = scenes.iter().map(|scene| Tally::of(scene, 1.0)).collect();
    let all = |of: Tracking<f64>, minutes: f64| {
        let [hota, det_a, ass_a, loc_a, owta, idf1, idp, idr, mota] = of.shares();
        [hota, det_a, ass_a, loc_a, owta, idf1, idp, idr, mota, minutes * of.switches_per_minute.unwrap()]
    };
    let mut own: Vec<[f64; 10]> = tallies.iter().map(|tally| all(tally.measures().unwrap(), 1.0)).collect();
    let pooled = tracking::pooled(&tallies).unwrap();
    let [hota, det_a, ass_a, loc_a, owta, idf1, idp, idr, mota] = pooled.shares().map(|estimate| estimate.value);
    let switches = 200.0 * pooled.switches_per_minute.unwrap().value;
    own.push([hota, det_a, ass_a, loc_a, owta, idf1, idp, idr, mota, switches]);
    let theirs = track_eval(&scenes);
    assert_eq!(own.len(), theirs.len());
    for (number, (own, theirs)) in own.iter().zip(&theirs).enumerate() {
        let near = own.iter().zip(theirs).all(|(own, theirs)| (own - theirs).abs() < 1e-6);
        assert!(near, "scene {number}:\n{own:?}\n{theirs:?}");
    }
    // They are no trivial scenes.
    let last = theirs[200];
    assert!(last[9] > 200.0 && last[..8].iter().all(|share| (0.05..0.95).contains(share)), "{last:?}");
}

#[test]
fn two_that_change_places_and_what_is_not_counted() {
    let truth = |x: f64, track| TruthBox {
        bbox: [x, 0.0, x + 10.0, 20.0],
        class: None,
        is_difficult: false,
        is_truncated: false,
        is_crowd: false,
        track,
    };
    let found = |x: f64, track| FoundBox { bbox: [x, 0.0, x + 10.0, 20.0], score: 0.5, track };
    let boxes = vec![
        truth(0.0, Some(1)),
        truth(50.0, Some(2)),
        TruthBox { is_crowd: true, ..truth(100.0, None) },
        TruthBox { is_difficult: true, ..truth(150.0, Some(4)) },
    ];
    let truth_of = FrameTruth { is_annotated: true, boxes };
    // Those on the crowd and on what is hard to recognise are neither right nor wrong.
    let frame = |ids: [u64; 2]| {
        [found(0.0, Some(ids[0])), found(50.0, Some(ids[1])), found(100.0, Some(8)), found(150.0, Some(9))]
    };
    let frames = [frame([1, 2]), frame([1, 2]), frame([2, 1]), frame([2, 1])];
    let samples = |is_followed: bool| -> Vec<Sample> {
        frames
            .iter()
            .enumerate()
            .map(|(at, found)| Sample {
                item: 0,
                frame: at,
                picture: [640, 480],
                truth: &truth_of,
                is_exhaustive: true,
                found,
                is_followed,
                moment: Some(Moment { pts_ns: at as u64 * 1_000_000_000, inferred: None }),
            })
            .collect()
    };
    let video = |samples: &[Sample]| Measures::of(samples, &["clip"], 1).video.unwrap();
    let followed = video(&samples(true));
    let tracking = followed.clips[0].tracking.unwrap();
    // Each of the four pairs has two frames of the six that its thing and its track have.
    let ass_a = 1.0 / 3.0;
    let expected = [f64::sqrt(ass_a), 1.0, ass_a, 1.0, f64::sqrt(ass_a), 0.5, 0.5, 0.5, 0.75];
    for (own, expected) in tracking.shares().into_iter().zip(expected) {
        assert!((own - expected).abs() < 1e-12, "{tracking:?}");
    }
    // Two switches in three seconds.
    assert!((tracking.switches_per_minute.unwrap() - 40.0).abs() < 1e-9);
    assert_eq!(followed.tracking.unwrap().shares().map(|estimate| estimate.value), tracking.shares());

    assert!(video(&samples(false)).tracking.is_none());
    let partly: Vec<Sample> =
        samples(true).into_iter().map(|sample| Sample { is_exhaustive: false, ..sample }).collect();
    assert!(video(&partly).tracking.is_none() && video(&partly).clips[0].tracking.is_none());
    let mut unnamed = truth_of.clone();
    unnamed.boxes[1].track = None;
    let nameless: Vec<Sample> = samples(true).into_iter().map(|sample| Sample { truth: &unnamed, ..sample }).collect();
    assert!(video(&nameless).tracking.is_none());
}
