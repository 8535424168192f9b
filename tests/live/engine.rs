//! Runs on feeds and models made here: frames as fast as they are taken, none at all, many shapes, and threads that die.

use crate::support::clips::probe;
use crate::support::feed::Silent;
use crate::support::program::until;
use gstreamer as gst;
use gstreamer_video as gst_video;
use mostream::backbone::{
    Backbone, BackboneError, Checkpoint, Element, Feature, MemoryKind, Model, RunMemory, RunShape, SessionOptions,
};
use mostream::engine::sink::{Ending, Message, Sink, SinkError, Wish};
use mostream::engine::status::Board;
use mostream::engine::{self, Cue, Engine, EngineError, Input, Models, Seen, Task};
use mostream::geometry::{Grid, PatchLayout};
use mostream::localize::{Localizer, Method};
use mostream::motion::Need;
use mostream::publish::mp4::Mp4Sink;
use mostream::publish::records;
use mostream::record::{Every, FrameRecord, SourceState};
use mostream::stream::feed::{Event, Feed, StateChange};
use mostream::stream::frame::Frame;
use mostream::stream::preflight::Source;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// The same frame again and again without a pause, until it is enough.
struct Restless<'a> {
    is_live: bool,
    frames: u64,
    frame: Frame,
    is_enough: Box<dyn Fn() -> bool + Send + 'a>,
}

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

/// Keeps the records.
struct Records(Arc<Mutex<Vec<FrameRecord>>>);

impl Sink for Records {
    fn name(&self) -> String {
        "records".into()
    }

    fn wish(&self) -> Wish {
        Box::new(|_| false)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        if let Message::Frame { record, .. } = message {
            self.0.lock().unwrap().push(FrameRecord::clone(record));
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _ending: Ending) -> Result<(), SinkError> {
        Ok(())
    }
}

fn frame() -> Frame {
    gst::init().unwrap();
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, 64, 48).build().unwrap();
    let pixel = |at: usize| if (at % 64).abs_diff(30) < 8 && (at / 64).abs_diff(20) < 8 { 220 } else { 40 };
    let buffer = gst::Buffer::from_slice(Vec::from_iter((0..64 * 48).map(pixel)));
    Frame::new(0, 0, 0, buffer, info)
}

fn restless(is_live: bool, is_enough: impl Fn() -> bool + Send + 'static) -> Box<dyn Feed> {
    let start = Instant::now();
    let is_enough = move || {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not go on");
        is_enough()
    };
    Box::new(Restless { is_live, frames: 0, frame: frame(), is_enough: Box::new(is_enough) })
}

fn board(names: &[&str]) -> Board {
    let board = Board::default();
    names.iter().for_each(|name| drop(board.enter((*name).to_owned())));
    board
}

fn input(board: &Board, source: usize, feed: Box<dyn Feed>) -> Input {
    Input::new(board.sources()[source].clone(), feed)
}

fn task() -> Task {
    let localizer = Localizer::new(Method::Lost);
    Task { model: "m".into(), cue: Cue::Appearance, localizer, groups: None, with_masks: false, with_timings: false }
}

fn run(
    inputs: Vec<Input>,
    board: &Board,
    stop: &AtomicBool,
    open: impl Fn() -> Result<Vec<Arc<dyn Model>>, BackboneError> + Send + Sync,
) -> Result<(), EngineError> {
    let outcome = engine::run(&task(), inputs, &Opens(open), board, stop)?;
    assert!(outcome.faults().next().is_none(), "{outcome:?}");
    Ok(())
}

/// Opens what a test says, for pictures of any size.
struct Opens<F>(F);

impl<F: Fn() -> Result<Vec<Arc<dyn Model>>, BackboneError> + Send + Sync> Models for Opens<F> {
    fn layout(&self, _width: u32, _height: u32) -> Result<PatchLayout, BackboneError> {
        Ok(PatchLayout { grid: Grid { rows: 6, cols: 8 }, patch: 8, image_width: 64, image_height: 48 })
    }

    fn open(&self, _layout: &PatchLayout, _need: Option<Need>) -> Result<Vec<Arc<dyn Model>>, BackboneError> {
        (self.0)()
    }
}

fn backbone(width: u32, height: u32) -> Result<Vec<Arc<dyn Model>>, BackboneError> {
    let backbone = Backbone::open(&Checkpoint::bundled()?, Feature::Keys, width, height, &SessionOptions::default());
    Ok(vec![Arc::new(backbone?)])
}

/// Runs of the test of turns.
const RUNS: u64 = 60;

/// A model that runs once every source it knows of has put in frames since, so that turns do not depend on how busy the machine is.
struct Patient {
    played: Arc<Played>,
    board: Arc<Board>,
    sources: Vec<usize>,
    /// Frames of each that must come during a run; the second says that the first is in.
    frames: u64,
    is_over: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Model for Patient {
    fn layout(&self) -> PatchLayout {
        self.played.layout()
    }

    fn device(&self) -> String {
        "cpu".into()
    }

    fn batch(&self) -> usize {
        1
    }

    fn runs_at_once(&self) -> usize {
        1
    }

    fn memory(&self) -> Result<RunMemory, BackboneError> {
        RunMemory::new(&MemoryKind::Plain, RunShape { batch: 1, ..*self.played.memory()?.shape() })
    }

    fn run(&self, memory: &mut RunMemory, count: usize) -> Result<(), BackboneError> {
        let frames =
            || Vec::from_iter(self.sources.iter().map(|&source| self.board.sources()[source].snapshot().frames));
        let before = frames();
        until("a source gives no frames", || {
            (self.is_over)() || frames().iter().zip(&before).all(|(now, before)| *now >= before + self.frames)
        });
        self.played.run(memory, count)
    }
}

#[test]
fn restless_sources_get_the_same_number_of_turns_and_a_silent_one_costs_none() {
    let board = Arc::new(board(&["a", "silent", "b", "c"]));
    let played = Played::new("cpu", u64::MAX);
    let inputs = (0..4).map(|source| {
        let played = played.clone();
        // Beyond the last run, so that nobody waits for a frame that does not come.
        let is_enough = move || played.runs.load(Ordering::Relaxed) > RUNS;
        input(&board, source, if source == 1 { Box::new(Silent) } else { restless(true, is_enough) })
    });
    let last = played.clone();
    let model = Arc::new(Patient {
        played: played.clone(),
        board: board.clone(),
        sources: vec![0, 2, 3],
        frames: 2,
        is_over: Box::new(move || last.runs.load(Ordering::Relaxed) >= RUNS),
    });
    let stop = Arc::new(AtomicBool::new(false));
    let (ends, done) = (stop.clone(), played.clone());
    let watch = std::thread::spawn(move || {
        until("it does not go on", || done.runs.load(Ordering::Relaxed) >= RUNS);
        ends.store(true, Ordering::Relaxed);
    });
    run(inputs.collect(), &board, &stop, || Ok(vec![model.clone() as Arc<dyn Model>])).unwrap();
    watch.join().unwrap();
    let counts = Vec::from_iter(board.sources().iter().map(|source| source.snapshot().inferred));
    assert_eq!(counts[1], 0);
    let fast = [counts[0], counts[2], counts[3]];
    let (most, least) = (fast.iter().max().unwrap(), fast.iter().min().unwrap());
    // The first turns are those of whoever is there; the last are not all taken.
    assert!(*least >= RUNS / 3 - 3 && most - least <= 3, "{counts:?}");
    assert!(board.sources()[0].snapshot().passed_over > 0, "it was too fast for the model");
}

#[test]
fn answers_that_come_too_late_for_their_frame_hold_for_those_after_it() {
    let board = Arc::new(board(&["a"]));
    let records = Arc::new(Mutex::new(Vec::new()));
    let (seen, kept) = (board.clone(), records.clone());
    let has_held = |record: &FrameRecord| !record.inferred && !record.objects.is_empty();
    // A frame takes microseconds, its answer the time of 400 frames and more.
    let feed =
        restless(true, move || seen.sources()[0].snapshot().inferred >= 8 && kept.lock().unwrap().iter().any(has_held));
    let input = Input { sinks: vec![Box::new(Records(records.clone()))], ..input(&board, 0, feed) };
    run(vec![input], &board, &AtomicBool::new(false), || backbone(64, 48)).unwrap();
    let records = records.lock().unwrap();
    assert!(records.windows(2).all(|pair| pair[0].frame < pair[1].frame), "in order");
    let first = records.iter().position(|record| !record.objects.is_empty()).unwrap();
    assert!(records[first..].iter().all(|record| !record.objects.is_empty()), "the boxes hold");
}

#[test]
fn live_frames_give_way_where_those_before_them_take_too_long() {
    let board = Arc::new(board(&["a"]));
    let records = Arc::new(Mutex::new(Vec::new()));
    let (status, waiting) = (board.sources()[0].clone(), Arc::new(Mutex::new(Vec::new())));
    let (kept, seen) = (records.clone(), waiting.clone());
    let feed = restless(true, move || {
        // Five frames come while one is worked on.
        std::thread::sleep(Duration::from_millis(2));
        kept.lock().unwrap().len() >= 200
    });
    let mut taken = 0;
    let witness = move |what: Seen| {
        if let Seen::Frame { .. } = what {
            let now = status.snapshot();
            taken += 1;
            seen.lock().unwrap().push(now.frames - now.late - taken);
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let input = Input {
        sinks: vec![Box::new(Records(records.clone()))],
        every: Every::Frames(1_000_000),
        witness: Some(Box::new(witness)),
        ..input(&board, 0, feed)
    };
    run(vec![input], &board, &AtomicBool::new(false), || backbone(64, 48)).unwrap();
    let now = board.sources()[0].snapshot();
    let records = records.lock().unwrap();
    assert!(now.late > 0 && now.frames == now.late + records.len() as u64, "{now:?}");
    assert!(records.windows(2).all(|pair| pair[0].frame < pair[1].frame), "in order");
    // Once it is known how long they take.
    let most = waiting.lock().unwrap()[50..].iter().copied().max().unwrap();
    assert!(most <= 16, "{most} wait");
}

#[test]
fn pictures_that_wait_share_a_run_of_the_model_and_each_gets_its_own_answer() {
    let boxes = |batch| {
        let board = board(&["a", "b", "c"]);
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
            Input { sinks: vec![Box::new(Records(records.clone()))], ..input(&board, source, Box::new(feed)) }
        });
        let options = SessionOptions { batch: Some(batch), ..SessionOptions::default() };
        let open = || {
            let backbone = Backbone::open(&Checkpoint::bundled()?, Feature::Keys, 64, 48, &options)?;
            Ok(vec![Arc::new(backbone) as Arc<dyn Model>])
        };
        run(inputs.collect(), &board, &stop, open).unwrap();
        assert!(board.sources().iter().all(|source| source.snapshot().inferred == 6));
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

/// Plays a device: gives what it says, as long as it works.
struct Played {
    device: &'static str,
    runs: AtomicU64,
    /// It is gone after this many.
    most: u64,
}

impl Played {
    fn new(device: &'static str, most: u64) -> Arc<Self> {
        Arc::new(Self { device, runs: AtomicU64::new(0), most })
    }
}

impl Model for Played {
    fn layout(&self) -> PatchLayout {
        PatchLayout { grid: Grid { rows: 6, cols: 8 }, patch: 8, image_width: 64, image_height: 48 }
    }

    fn device(&self) -> String {
        self.device.into()
    }

    fn batch(&self) -> usize {
        2
    }

    fn runs_at_once(&self) -> usize {
        2
    }

    fn memory(&self) -> Result<RunMemory, BackboneError> {
        let shape = RunShape { batch: 2, width: 64, height: 48, rows: 48, cols: 4, element: Element::F32 };
        RunMemory::new(&MemoryKind::Plain, shape)
    }

    /// A bright patch looks like the others that are, and unlike the dark ones.
    fn run(&self, memory: &mut RunMemory, count: usize) -> Result<(), BackboneError> {
        if self.runs.fetch_add(1, Ordering::Relaxed) >= self.most {
            return Err(BackboneError::Failed { device: self.device(), why: "the device fell off the bus".into() });
        }
        let pixels = memory.pixels(count).unwrap().to_vec();
        let output = memory.output_mut().unwrap();
        for (at, features) in output.chunks_exact_mut(4).take(count * 48).enumerate() {
            let (image, row, col) = (at / 48, at % 48 / 8, at % 8);
            let bright = pixels[3 * ((image * 48 + row * 8 + 4) * 64 + col * 8 + 4)] > 128;
            features.copy_from_slice(if bright { &[1.0, 0.2, 0.0, 0.0] } else { &[-0.3, 1.0, 0.1, 0.0] });
        }
        Ok(())
    }
}

#[test]
fn a_device_that_is_stuck_in_a_run_is_seen_and_an_idle_one_is_alive() {
    let (board, stop, let_go) = (Arc::new(board(&["a"])), Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let played = Played::new("cpu", u64::MAX);
    let released = let_go.clone();
    let is_over = Box::new(move || released.load(Ordering::Relaxed));
    // More frames than will ever come.
    let model = Arc::new(Patient {
        played: played.clone(),
        board: board.clone(),
        sources: vec![0],
        frames: u64::MAX / 2,
        is_over,
    });
    let models = Arc::new(Opens(move || Ok(vec![model.clone() as Arc<dyn Model>])));
    let engine = Engine::start(task(), models, board.clone(), stop.clone()).unwrap();
    let within = Duration::from_secs(1);
    until("nothing to do is no fault", || board.is_alive(within));
    engine.add(input(&board, 0, restless(true, || false))).unwrap();
    until("a run is under way for too long", || !board.is_alive(within));
    // The lanes themselves go on, so that it is the device that is seen.
    assert_eq!((played.runs.load(Ordering::Relaxed), board.devices()[0].is_stuck(within)), (0, true));
    let_go.store(true, Ordering::Relaxed);
    until("it goes on", || played.runs.load(Ordering::Relaxed) > 3 && board.is_alive(within));
    stop.store(true, Ordering::Relaxed);
    engine.join().unwrap();
}

#[test]
fn a_device_that_fails_in_mid_run_is_named_and_what_was_found_before_is_delivered() {
    let board = board(&["a", "b"]);
    let records = Arc::new(Mutex::new(Vec::new()));
    let inputs = (0..2).map(|source| Input {
        sinks: vec![Box::new(Records(records.clone()))],
        ..input(&board, source, restless(false, || false))
    });
    let open = || Ok(vec![Played::new("cuda:3", 5) as Arc<dyn Model>]);
    let error = run(inputs.collect(), &board, &AtomicBool::new(false), open).unwrap_err();
    assert_eq!(error.to_string(), "the model failed on cuda:3: the device fell off the bus");
    assert!(records.lock().unwrap().iter().filter(|record| record.inferred).count() >= 5);
}

#[test]
fn several_devices_share_the_pictures_and_every_frame_is_answered_in_order() {
    let board = board(&["a"]);
    let records = Arc::new(Mutex::new(Vec::new()));
    let seen = AtomicU64::new(0);
    let feed = restless(false, move || seen.fetch_add(1, Ordering::Relaxed) >= 400);
    let devices = ["cuda:0", "cuda:1"].map(|device| Played::new(device, u64::MAX));
    let models: Vec<Arc<dyn Model>> = devices.iter().map(|device| device.clone() as Arc<dyn Model>).collect();
    let inputs = vec![Input { sinks: vec![Box::new(Records(records.clone()))], ..input(&board, 0, feed) }];
    run(inputs, &board, &AtomicBool::new(false), || Ok(models.clone())).unwrap();
    let records = records.lock().unwrap();
    assert!(records.iter().map(|record| record.frame).eq(0..400));
    let first = &records[0].objects;
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(records.iter().all(|record| record.inferred && record.objects == *first));
    let usage = board.devices();
    assert_eq!(usage.iter().map(|usage| usage.device.as_str()).collect::<Vec<_>>(), ["cuda:0", "cuda:1"]);
    assert_eq!(usage.iter().map(|usage| usage.pictures()).sum::<u64>(), 400);
    assert!(usage.iter().all(|usage| usage.pictures() <= 2 * usage.runs()));
}

#[test]
fn a_file_is_whole_and_playable_up_to_where_the_device_failed() {
    let folder = tempfile::tempdir().unwrap();
    let (video, lines) = (folder.path().join("a.mp4"), folder.path().join("a.jsonl"));
    let board = board(&["a"]);
    std::fs::write(folder.path().join("a"), "no video, which nobody asks").unwrap();
    let source = Source::new(folder.path().join("a")).unwrap();
    let mp4 = Mp4Sink::new(&video, source, Arc::default()).unwrap();
    let sinks: Vec<Box<dyn Sink>> =
        vec![Box::new(mp4), records::Records::replace(&lines, records::Lines::Frames).sink()];
    let feed = Restless {
        is_live: false,
        frames: 0,
        frame: Frame { duration_ns: 1_000_000, ..frame() },
        is_enough: Box::new(|| false),
    };
    let inputs = vec![Input { sinks, ..input(&board, 0, Box::new(feed)) }];
    let ran = run(inputs, &board, &AtomicBool::new(false), || Ok(vec![Played::new("cuda:0", 30) as Arc<dyn Model>]));
    assert!(ran.unwrap_err().to_string().starts_with("the model failed on cuda:0: the device"));
    let lines = std::fs::read_to_string(lines).unwrap().lines().count();
    assert!(lines >= 29, "{lines} records");
    assert_eq!(probe(&video).pts_ns.len(), lines);
}

#[test]
fn a_thread_that_dies_ends_the_run() {
    for is_live in [true, false] {
        let board = board(&["a", "silent"]);
        let inputs = vec![input(&board, 0, restless(is_live, || false)), input(&board, 1, Box::new(Silent))];
        let outcome = run(inputs, &board, &AtomicBool::new(false), || panic!("as the test wants it"));
        assert!(matches!(outcome, Err(EngineError::Panic)), "{outcome:?}");
    }
}

/// Says what a test has written down, each when it is time.
struct Script<F>(F, bool);

impl<F: FnMut() -> Option<Event> + Send> Feed for Script<F> {
    fn next(&mut self, _: &dyn Fn() -> bool) -> Option<Event> {
        (self.0)()
    }

    fn is_live(&self) -> bool {
        self.1
    }
}

fn script(is_live: bool, next: impl FnMut() -> Option<Event> + Send + 'static) -> Box<dyn Feed> {
    Box::new(Script(next, is_live))
}

/// Keeps what it takes, wants what it says, and takes nothing while it is held.
#[derive(Clone, Default)]
struct Kept {
    records: Arc<Mutex<Vec<FrameRecord>>>,
    states: Arc<Mutex<Vec<String>>>,
    /// Numbers of the frames with a picture.
    pictures: Arc<Mutex<Vec<u64>>>,
    is_held: Arc<AtomicBool>,
    wants_one_in: Option<u64>,
}

impl Sink for Kept {
    fn name(&self) -> String {
        "kept".into()
    }

    fn wish(&self) -> Wish {
        let (mut asked, one_in) = (0, self.wants_one_in);
        Box::new(move |_| {
            asked += 1;
            one_in.is_some_and(|one_in| (asked - 1) % one_in == 0)
        })
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        until("it is held for ever", || !self.is_held.load(Ordering::Relaxed));
        match message {
            Message::Frame { record, picture } => {
                self.records.lock().unwrap().push(FrameRecord::clone(record));
                self.pictures.lock().unwrap().extend(picture.as_ref().map(|_| record.frame));
            }
            Message::State(state) => self.states.lock().unwrap().push(state.why.clone().unwrap_or_default()),
            Message::Event(_) | Message::End(_) => {}
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _ending: Ending) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn a_sink_that_takes_nothing_stalls_nobody_and_misses_no_change_of_state() {
    const FRAMES: u64 = 400;
    const EVERY: u64 = 10;
    let board = board(&["a"]);
    let (good, stuck) = (Kept::default(), Kept { wants_one_in: Some(1), ..Kept::default() });
    stuck.is_held.store(true, Ordering::Relaxed);
    let (seen, held, frame) = (good.clone(), stuck.is_held.clone(), frame());
    let (mut frames, mut states) = (0, 0);
    let feed = script(true, move || {
        // One thing after the other: the good sink has time for all of them.
        until("the others stand still", || {
            seen.records.lock().unwrap().len() + seen.states.lock().unwrap().len() == frames as usize + states
        });
        if frames / EVERY > states as u64 {
            states += 1;
            held.fetch_and(frames < FRAMES, Ordering::Relaxed);
            let state = if states % 2 == 0 { SourceState::Live } else { SourceState::Stalled };
            return Some(Event::State(StateChange { state, at: SystemTime::now(), why: Some(states.to_string()) }));
        }
        frames += 1;
        (frames <= FRAMES).then(|| Event::Frame(Frame { index: frames - 1, pts_ns: frames, ..frame.clone() }))
    });
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(stuck.clone()), Box::new(good.clone())];
    let input = Input { sinks, every: Every::Frames(u64::MAX), ..input(&board, 0, feed) };
    run(vec![input], &board, &AtomicBool::new(false), || backbone(64, 48)).unwrap();
    let numbers: Vec<String> = (1..=FRAMES / EVERY).map(|number| number.to_string()).collect();
    assert_eq!(*good.states.lock().unwrap(), numbers);
    assert_eq!(*stuck.states.lock().unwrap(), numbers);
    assert_eq!(good.records.lock().unwrap().len() as u64, FRAMES);
    let taken = stuck.records.lock().unwrap().len() as u64;
    assert_eq!(taken + board.sources()[0].snapshot().missed_by_sinks, FRAMES);
    assert!((1..100).contains(&taken), "{taken} frames waited for it");
}

/// Pixels that are counted while they are there.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsMut<[u8]> for Counted {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn large_pictures_that_wait_are_few_and_every_frame_has_its_record() {
    const FRAMES: u64 = 150;
    gst::init().unwrap();
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 1920, 1080).build().unwrap();
    let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let board = Arc::new(board(&["a"]));
    let (shown, recorded) = (Kept { wants_one_in: Some(1), ..Kept::default() }, Kept::default());
    let (now, peak, mut frames) = (alive.clone(), most.clone(), 0);
    let feed = script(true, move || {
        std::thread::sleep(Duration::from_millis(5));
        peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let buffer = gst::Buffer::from_mut_slice(Counted(vec![90; info.size()], now.clone()));
        let (index, info) = (frames, info.clone());
        frames += 1;
        let frame = Frame::new(index, index, 0, buffer, info);
        (index < FRAMES).then_some(Event::Frame(frame))
    });
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(shown.clone()), Box::new(recorded.clone())];
    // The model takes as long as many frames.
    let seen = board.clone();
    let model = Arc::new(Patient {
        played: Played::new("cpu", u64::MAX),
        board: board.clone(),
        sources: vec![0],
        frames: 25,
        is_over: Box::new(move || seen.sources()[0].snapshot().frames >= FRAMES),
    });
    let open = || Ok(vec![model.clone() as Arc<dyn Model>]);
    run(vec![Input { sinks, ..input(&board, 0, feed) }], &board, &AtomicBool::new(false), open).unwrap();
    let records = recorded.records.lock().unwrap();
    assert_eq!(Vec::from_iter(records.iter().map(|record| record.frame)), Vec::from_iter(0..FRAMES));
    let shown = shown.pictures.lock().unwrap().len() as u64;
    assert_eq!(shown + board.sources()[0].snapshot().missed_by_sinks, FRAMES);
    // 32 MiB are 10 pictures; beside those that wait there are the one that comes, the newest, and the model's.
    let most = most.load(Ordering::Relaxed);
    assert!((3..=14).contains(&most), "{most} pictures of 3 MB at a time");
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[test]
fn pictures_nobody_wants_are_not_drawn_and_the_records_stay_the_same() {
    const FRAMES: u64 = 20;
    let records = [None, Some(1), Some(5)].map(|wants_one_in| {
        let board = board(&["a"]);
        let (frame, mut frames) = (frame(), 0);
        let feed = script(false, move || {
            frames += 1;
            (frames <= FRAMES).then(|| Event::Frame(Frame { index: frames - 1, pts_ns: frames, ..frame.clone() }))
        });
        let kept = Kept { wants_one_in, ..Kept::default() };
        let input = Input { sinks: vec![Box::new(kept.clone())], every: Every::Frames(4), ..input(&board, 0, feed) };
        run(vec![input], &board, &AtomicBool::new(false), || backbone(64, 48)).unwrap();
        let wanted = (0..FRAMES).filter(|index| wants_one_in.is_some_and(|one_in| index % one_in == 0));
        assert_eq!(*kept.pictures.lock().unwrap(), Vec::from_iter(wanted));
        // Each is a run of its own.
        let of_any_run = |record: &FrameRecord| FrameRecord { run: String::new(), ..record.clone() };
        Vec::from_iter(kept.records.lock().unwrap().iter().map(of_any_run))
    });
    assert_eq!(records[0].len() as u64, FRAMES);
    assert!(records[1..].iter().all(|other| *other == records[0]));
}
