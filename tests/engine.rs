//! Live runs on feeds made here: frames as fast as they are taken, none at all, and threads that die.

use gstreamer as gst;
use gstreamer_video as gst_video;
use mostream::backbone::{Backbone, BackboneError, Checkpoint, Feature, SessionOptions};
use mostream::live::engine::{self, EngineError, Input, Task};
use mostream::live::feed::{Event, Feed};
use mostream::live::sink::{Message, Sink};
use mostream::live::status::Board;
use mostream::localize::{Localizer, Method};
use mostream::record::FrameRecord;
use mostream::stream::frame::Frame;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The same frame again and again without a pause, until it is enough.
struct Restless<'a> {
    is_live: bool,
    frames: u64,
    frame: Frame,
    is_enough: Box<dyn Fn() -> bool + Send + 'a>,
}

/// A camera that never says a word.
struct Silent;

impl Feed for Restless<'_> {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Event> {
        let frame = Frame { index: self.frames, pts_ns: self.frames * 1_000_000, ..self.frame.clone() };
        self.frames += 1;
        (!stop() && !(self.is_enough)()).then_some(Event::Frame(frame))
    }

    fn is_live(&self) -> bool {
        self.is_live
    }
}

impl Feed for Silent {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Event> {
        while !stop() {
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    fn is_live(&self) -> bool {
        true
    }
}

/// Keeps the records.
struct Records(Arc<Mutex<Vec<FrameRecord>>>);

impl Sink for Records {
    fn name(&self) -> String {
        "records".into()
    }

    fn wants_pictures(&self) -> bool {
        false
    }

    fn take(&mut self, message: &Message) -> Result<(), String> {
        if let Message::Frame { record, .. } = message {
            self.0.lock().unwrap().push(FrameRecord::clone(record));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), String> {
        Ok(())
    }
}

fn frame() -> Frame {
    gst::init().unwrap();
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, 64, 48).build().unwrap();
    let pixel = |at: usize| if (at % 64).abs_diff(30) < 8 && (at / 64).abs_diff(20) < 8 { 220 } else { 40 };
    let buffer = gst::Buffer::from_slice(Vec::from_iter((0..64 * 48).map(pixel)));
    Frame { index: 0, pts_ns: 0, duration_ns: 0, buffer, info, file: None, capture: None }
}

fn restless(is_live: bool, is_enough: impl Fn() -> bool + Send + 'static) -> Box<dyn Feed> {
    let start = Instant::now();
    let is_enough = move || {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not go on");
        is_enough()
    };
    Box::new(Restless { is_live, frames: 0, frame: frame(), is_enough: Box::new(is_enough) })
}

fn input(feed: Box<dyn Feed>) -> Input {
    Input { feed, sinks: Vec::new(), every: 1, adaptive: None }
}

fn run(
    inputs: Vec<Input>,
    board: &Board,
    stop: &AtomicBool,
    open: impl FnOnce() -> Result<Backbone, BackboneError> + Send,
) -> Result<usize, EngineError> {
    let localizer = Localizer::new(Method::Lost);
    let task = Task { model: "m".into(), localizer, groups: None, with_masks: false, with_timings: false };
    engine::run(&task, inputs, |_, _| open(), board, stop, &|_| ())
}

fn backbone(width: u32, height: u32) -> Result<Backbone, BackboneError> {
    Backbone::open(&Checkpoint::bundled()?, Feature::Keys, width, height, &SessionOptions::default())
}

#[test]
fn restless_sources_get_the_same_number_of_turns_and_a_silent_one_costs_none() {
    let board = Arc::new(Board::new(["a", "silent", "b", "c"].map(str::to_owned)));
    let stop = Arc::new(AtomicBool::new(false));
    let inputs = (0..4).map(|source| {
        let (board, stop) = (board.clone(), stop.clone());
        let is_enough = move || {
            let total: u64 = board.sources.iter().map(|source| source.snapshot().inferred).sum();
            stop.fetch_or(total >= 90, Ordering::Relaxed) || total >= 90
        };
        input(if source == 1 { Box::new(Silent) } else { restless(true, is_enough) })
    });
    run(inputs.collect(), &board, &stop, || backbone(64, 48)).unwrap();
    let counts = Vec::from_iter(board.sources.iter().map(|source| source.snapshot().inferred));
    assert_eq!(counts[1], 0);
    let fast = [counts[0], counts[2], counts[3]];
    let (most, least) = (fast.iter().max().unwrap(), fast.iter().min().unwrap());
    // Those on their way at the end are given out, too.
    assert!(*least >= 20 && most - least <= 6, "{counts:?}");
    assert!(board.sources[0].snapshot().passed_over > 0, "it was too fast for the model");
}

#[test]
fn answers_that_come_too_late_for_their_frame_hold_for_those_after_it() {
    let board = Arc::new(Board::new(["a".to_owned()]));
    let records = Arc::new(Mutex::new(Vec::new()));
    let (seen, kept) = (board.clone(), records.clone());
    let has_held = |record: &FrameRecord| !record.inferred && !record.objects.is_empty();
    // A frame takes microseconds, its answer the time of 400 frames and more.
    let feed =
        restless(true, move || seen.sources[0].snapshot().inferred >= 8 && kept.lock().unwrap().iter().any(has_held));
    let input = Input { sinks: vec![Box::new(Records(records.clone()))], ..input(feed) };
    run(vec![input], &board, &AtomicBool::new(false), || backbone(320, 240)).unwrap();
    let records = records.lock().unwrap();
    assert!(records.windows(2).all(|pair| pair[0].frame < pair[1].frame), "in order");
    let first = records.iter().position(|record| !record.objects.is_empty()).unwrap();
    assert!(records[first..].iter().all(|record| !record.objects.is_empty()), "the boxes hold");
}

#[test]
fn sources_that_wait_share_a_run_of_the_model_and_each_gets_its_own_answer() {
    let boxes = |batch| {
        let board = Board::new(["a", "b", "c"].map(str::to_owned));
        let stop = AtomicBool::new(false);
        let records = Arc::new(Mutex::new(Vec::new()));
        let inputs = (0..3).map(|source| {
            // The object is lower in each source.
            let (info, seen) = (frame().info, AtomicU64::new(0));
            let pixel = |at: usize| {
                if (at % 64).abs_diff(30) < 8 && (at / 64).abs_diff(14 + 8 * source) < 8 { 220 } else { 40 }
            };
            let buffer = gst::Buffer::from_slice(Vec::from_iter((0..64 * 48).map(pixel)));
            let feed = Restless {
                is_live: false,
                frames: 0,
                frame: Frame { buffer, info, ..frame() },
                is_enough: Box::new(move || seen.fetch_add(1, Ordering::Relaxed) >= 6),
            };
            Input { sinks: vec![Box::new(Records(records.clone()))], ..input(Box::new(feed)) }
        });
        let options = SessionOptions { batch: Some(batch), ..SessionOptions::default() };
        let open = || Backbone::open(&Checkpoint::bundled()?, Feature::Keys, 64, 48, &options);
        run(inputs.collect(), &board, &stop, open).unwrap();
        assert!(board.sources.iter().all(|source| source.snapshot().inferred == 6));
        let records = records.lock().unwrap();
        let key = |record: &FrameRecord| {
            let boxes: Vec<[u32; 4]> = record.objects.iter().map(|object| object.bbox).collect();
            (record.source.clone(), record.frame, boxes)
        };
        let mut all: Vec<_> = records.iter().map(key).collect();
        all.sort();
        all
    };
    let alone = boxes(1);
    assert_eq!(alone.len(), 18);
    assert!(alone[0].2 != alone[17].2, "the sources' objects are apart: {alone:?}");
    assert_eq!(boxes(4), alone);
}

#[test]
fn a_thread_that_dies_ends_the_run() {
    for is_live in [true, false] {
        let board = Board::new(["a", "silent"].map(str::to_owned));
        let inputs = vec![input(restless(is_live, || false)), input(Box::new(Silent))];
        let outcome = run(inputs, &board, &AtomicBool::new(false), || panic!("as the test wants it"));
        assert!(matches!(outcome, Err(EngineError::Panic)), "{outcome:?}");
    }
}
