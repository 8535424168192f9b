//! Sources that come and go while others run: on a model and feeds made here, which wait for one another, so that nothing depends on how
//! busy the machine is.

use crate::support::log::heard;
use gstreamer as gst;
use gstreamer_video as gst_video;
use mostream::backbone::{BackboneError, Element, MemoryKind, Model, RunMemory, RunShape};
use mostream::engine::sink::{Ending, Message, Sink, SinkError, Wish};
use mostream::engine::status::{Board, LaneId};
use mostream::engine::{Cue, Engine, EngineError, Input, Task};
use mostream::geometry::{Grid, PatchLayout};
use mostream::localize::{Localizer, Method};
use mostream::record::{CaptureClock, FrameRecord};
use mostream::stream::feed::{Event, Feed};
use mostream::stream::frame::{Capture, Frame};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LAYOUT: PatchLayout =
    PatchLayout { grid: Grid { rows: 6, cols: 8 }, patch: 8, image_width: 64, image_height: 48 };

/// A bright patch looks like the others that are, and unlike the dark ones.
struct Bright;

impl Model for Bright {
    fn layout(&self) -> PatchLayout {
        LAYOUT
    }

    fn device(&self) -> String {
        "cpu".into()
    }

    fn batch(&self) -> usize {
        2
    }

    fn runs_at_once(&self) -> usize {
        1
    }

    fn memory(&self) -> Result<RunMemory, BackboneError> {
        let shape = RunShape { batch: 2, width: 64, height: 48, rows: 48, cols: 4, element: Element::F32 };
        RunMemory::new(&MemoryKind::Plain, shape)
    }

    fn run(&self, memory: &mut RunMemory, count: usize) -> Result<(), BackboneError> {
        let pixels = memory.pixels(count).unwrap().to_vec();
        for (at, features) in memory.output_mut().unwrap().chunks_exact_mut(4).take(count * 48).enumerate() {
            let (image, row, col) = (at / 48, at % 48 / 8, at % 8);
            let bright = pixels[3 * ((image * 48 + row * 8 + 4) * 64 + col * 8 + 4)] > 128;
            features.copy_from_slice(if bright { &[1.0, 0.2, 0.0, 0.0] } else { &[-0.3, 1.0, 0.1, 0.0] });
        }
        Ok(())
    }
}

/// A bright square goes over dark ground.
fn frame(index: u64) -> Frame {
    gst::init().unwrap();
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, 64, 48).build().unwrap();
    let left = (index % 40) as usize;
    let pixel =
        |at: usize| if (left..left + 16).contains(&(at % 64)) && (16..32).contains(&(at / 64)) { 220 } else { 40 };
    let buffer = gst::Buffer::from_slice(Vec::from_iter((0..64 * 48).map(pixel)));
    Frame::new(index, index * 40_000_000, 40_000_000, buffer, info)
}

/// Frames as long as `may` says so; each is asked for with its number, and waits for the answer.
struct Fed<F> {
    is_live: bool,
    frames: u64,
    given: Arc<AtomicU64>,
    may: F,
}

/// Whether there is one more frame; none where that is not known yet.
type May = Option<bool>;

impl<F: FnMut(u64) -> May + Send> Feed for Fed<F> {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Event> {
        loop {
            if stop() {
                return None;
            }
            match (self.may)(self.frames) {
                Some(true) => break,
                Some(false) => return None,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        let mut frame = frame(self.frames);
        let (instant, unix_ns) = (Instant::now(), 0);
        frame.capture =
            self.is_live.then_some(Capture { instant, unix_ns, clock: CaptureClock::Arrival, gap_ns: None });
        self.frames += 1;
        self.given.fetch_add(1, Ordering::SeqCst);
        Some(Event::Frame(frame))
    }

    fn is_live(&self) -> bool {
        self.is_live
    }
}

/// What came of a source.
#[derive(Clone, Default)]
struct Kept {
    records: Arc<Mutex<Vec<FrameRecord>>>,
    ending: Arc<Mutex<Option<Ending>>>,
}

impl Kept {
    fn frames(&self) -> Vec<u64> {
        self.records.lock().unwrap().iter().map(|record| record.frame).collect()
    }

    /// Apart from which run and source they are of.
    fn found(&self) -> Vec<FrameRecord> {
        let plain = |record: &FrameRecord| FrameRecord { run: String::new(), source: String::new(), ..record.clone() };
        self.records.lock().unwrap().iter().map(plain).collect()
    }

    fn ending(&self) -> Option<Ending> {
        *self.ending.lock().unwrap()
    }
}

impl Sink for Kept {
    fn name(&self) -> String {
        "kept".into()
    }

    fn wish(&self) -> Wish {
        Box::new(|_| false)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        if let Message::Frame { record, .. } = message {
            self.records.lock().unwrap().push(FrameRecord::clone(record));
        }
        Ok(())
    }

    fn finish(self: Box<Self>, ending: Ending) -> Result<(), SinkError> {
        *self.ending.lock().unwrap() = Some(ending);
        Ok(())
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start(cue: Cue) -> Engine {
    let task = Task {
        model: "m".into(),
        cue,
        localizer: Localizer::new(Method::Lost),
        groups: None,
        with_masks: false,
        with_timings: false,
    };
    let models: Vec<Arc<dyn Model>> = vec![Arc::new(Bright)];
    let start = || Engine::start(task, Arc::new(models), Arc::default(), Arc::default()).unwrap();
    heard(|_, line| panic!("{line}"), start)
}

/// Adds a source; gives its id, what comes of it, and how many frames it gave.
fn add(engine: &Engine, is_live: bool, may: impl FnMut(u64) -> May + Send + 'static) -> (LaneId, Kept, Arc<AtomicU64>) {
    let (kept, given) = (Kept::default(), Arc::<AtomicU64>::default());
    let feed = Box::new(Fed { is_live, frames: 0, given: given.clone(), may });
    let input = Input { sinks: vec![Box::new(kept.clone())], ..Input::new(engine.board().enter("a".into()), feed) };
    (engine.add(input).unwrap(), kept, given)
}

#[test]
fn a_file_gives_the_same_records_alone_and_while_others_come_and_go() {
    const FRAMES: u64 = 120;
    let alone = start(Cue::Appearance);
    let (_, wanted, _) = add(&alone, false, |frame| Some(frame < FRAMES));
    assert!(alone.join().unwrap().faults().next().is_none());
    let wanted = wanted.found();
    assert_eq!(wanted.len() as u64, FRAMES);
    assert!(wanted.iter().all(|record| record.inferred && record.objects.len() == 1));

    let engine = start(Cue::Appearance);
    // Every tenth frame waits for the next thing to happen.
    let turns = Arc::new(AtomicU64::new(1));
    let now = turns.clone();
    let (file, kept, given) = add(&engine, false, move |frame| match now.load(Ordering::SeqCst) * 10 {
        room if frame < room || frame >= FRAMES => Some(frame < FRAMES),
        _ => None,
    });
    let mut gone = Vec::new();
    for turn in 1..=FRAMES / 10 {
        until("the file goes on", || given.load(Ordering::SeqCst) == 10 * turn);
        let (camera, shown, _) = add(&engine, true, |_| Some(true));
        until("the camera is seen", || shown.frames().len() > 3);
        turns.store(turn + 1, Ordering::SeqCst);
        let status = engine.board().get(camera).unwrap();
        let ended = engine.remove(camera).unwrap();
        // It is faster than its sink.
        let told = shown.frames().len() as u64 + status.snapshot().missed_by_sinks;
        assert_eq!((ended.id, ended.frames), (camera, told));
        assert!(ended.faults.is_empty() && shown.ending() == Some(Ending::Whole));
        gone.push(camera);
    }
    let outcome = engine.join().unwrap();
    assert_eq!(outcome.sources.iter().map(|ended| (ended.id, ended.frames)).collect::<Vec<_>>(), [(file, FRAMES)]);
    assert!(kept.found() == wanted, "the others were noticed");
    gone.dedup();
    assert_eq!(gone.len() as u64, FRAMES / 10, "no id comes again");
}

#[test]
fn a_removed_source_ends_whole_and_is_no_longer_on_the_board() {
    let engine = start(Cue::Appearance);
    let (first, kept, given) = add(&engine, false, |_| Some(true));
    let (second, of_second, of_waiting) = add(&engine, false, |frame| Some(frame < 3));
    until("frames", || given.load(Ordering::SeqCst) > 50);
    let listed = || Vec::from_iter(engine.board().sources().iter().map(|source| source.id));
    assert_eq!(listed(), [first, second]);
    let ended = engine.remove(first).unwrap();
    assert!(ended.frames > 10 && ended.faults.is_empty());
    assert_eq!(kept.frames(), Vec::from_iter(0..ended.frames), "in order and none missing");
    assert_eq!(kept.ending(), Some(Ending::Whole));
    assert_eq!(listed(), [second]);
    assert!(engine.remove(first).is_none());
    // The next file begins in its place.
    until("the next file", || engine.is_idle());
    assert_eq!((of_second.frames(), of_waiting.load(Ordering::SeqCst)), (vec![0, 1, 2], 3));
    assert_eq!(engine.remove(second).unwrap().frames, 3, "what has ended can be taken away");
    assert!(listed().is_empty());
    assert!(engine.join().unwrap().sources.is_empty());
}

#[test]
fn a_file_that_waits_its_turn_can_be_removed_before_it_begins() {
    let engine = start(Cue::Appearance);
    let is_over = Arc::new(AtomicBool::new(false));
    let ends = is_over.clone();
    let (_, _, given) = add(&engine, false, move |frame| match (frame, ends.load(Ordering::SeqCst)) {
        (_, true) => Some(false),
        (0, false) => Some(true),
        _ => None,
    });
    until("the first", || given.load(Ordering::SeqCst) == 1);
    let (waits, kept, _) = add(&engine, false, |_| panic!("it has not begun"));
    let ended = engine.remove(waits);
    assert!(ended.is_none_or(|ended| ended.frames == 0 && ended.faults.is_empty()));
    assert!(kept.frames().is_empty());
    is_over.store(true, Ordering::SeqCst);
    assert_eq!(engine.join().unwrap().sources.len(), 1);
}

#[test]
fn a_paused_file_waits_and_loses_nothing_and_the_next_goes_on_meanwhile() {
    let engine = start(Cue::Appearance);
    let (first, kept, given) = add(&engine, false, |frame| Some(frame < 2000));
    until("frames", || given.load(Ordering::SeqCst) > 5);
    let status = engine.board().get(first).unwrap();
    status.pause();
    // One frame may be on its way.
    let (_, of_second, _) = add(&engine, false, |frame| Some(frame < 300));
    until("the next file", || of_second.frames().len() == 300);
    let before = given.load(Ordering::SeqCst);
    assert!(status.snapshot().paused && before < 2000);
    let (_, of_third, _) = add(&engine, false, |frame| Some(frame < 300));
    until("one more", || of_third.frames().len() == 300);
    assert_eq!(given.load(Ordering::SeqCst), before, "it is paused");
    status.resume();
    let outcome = engine.join().unwrap();
    assert_eq!(outcome.sources.len(), 3);
    assert_eq!(kept.frames(), Vec::from_iter(0..2000));
}

#[test]
fn what_waits_for_later_frames_goes_out_before_a_pause_and_every_frame_once() {
    let engine = start(Cue::Time { min_score: 0.28, without: Default::default() });
    let (kept, allowed) = (Kept::default(), Arc::new(AtomicU64::new(30)));
    let may = allowed.clone();
    let feed = Fed {
        is_live: true,
        frames: 0,
        given: Arc::default(),
        may: move |frame| (frame < may.load(Ordering::SeqCst)).then_some(true),
    };
    let status = engine.board().enter("camera".into());
    let delay = Some(Duration::from_secs(1));
    let input = Input { sinks: vec![Box::new(kept.clone())], delay, ..Input::new(status.clone(), Box::new(feed)) };
    let id = engine.add(input).unwrap();
    until("the first", || !kept.frames().is_empty());
    assert!(kept.frames().len() <= 30 - 20, "a second of frames waits: {:?}", kept.frames());
    // It is told by the next frame, which is let go.
    status.pause();
    allowed.store(31, Ordering::SeqCst);
    until("all before the pause", || kept.frames().len() == 30);
    status.resume();
    allowed.store(60, Ordering::SeqCst);
    until("more", || kept.frames().len() > 31);
    engine.remove(id).unwrap();
    assert!(kept.frames().iter().copied().eq((0..30).chain(31..60)), "{:?}", kept.frames());
}

#[test]
fn a_paused_camera_stays_connected_and_the_gap_is_told() {
    let engine = start(Cue::Appearance);
    let (camera, kept, given) = add(&engine, true, |_| Some(true));
    until("frames", || kept.frames().len() > 5);
    let status = engine.board().get(camera).unwrap();
    status.pause();
    // What was on its way may come, however long that takes; then none of a thousand frames does.
    until("no frame comes any more", || {
        let (so_far, passed) = (kept.frames().len(), given.load(Ordering::SeqCst));
        until("frames are taken from it", || given.load(Ordering::SeqCst) > passed + 1000);
        kept.frames().len() == so_far
    });
    let waited = Instant::now();
    std::thread::sleep(Duration::from_millis(50));
    let waited = waited.elapsed();
    status.resume();
    let gap = |record: &FrameRecord| record.live.and_then(|live| live.gap_ns);
    until("it goes on", || kept.records.lock().unwrap().iter().any(|record| gap(record).is_some()));
    engine.remove(camera).unwrap();
    let gaps = Vec::from_iter(kept.records.lock().unwrap().iter().filter_map(gap));
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0] >= waited.as_nanos() as u64);
    engine.join().unwrap();
}

#[test]
fn a_run_that_has_ended_takes_no_more_sources_and_says_so() {
    let stop = Arc::new(AtomicBool::new(false));
    let task = Task {
        model: "m".into(),
        cue: Cue::Appearance,
        localizer: Localizer::new(Method::Lost),
        groups: None,
        with_masks: false,
        with_timings: false,
    };
    let models: Vec<Arc<dyn Model>> = vec![Arc::new(Bright)];
    let board = Arc::new(Board::default());
    let engine = Engine::start(task, Arc::new(models), board.clone(), stop.clone()).unwrap();
    stop.store(true, Ordering::SeqCst);
    let feed = || Box::new(Fed { is_live: true, frames: 0, given: Arc::default(), may: |_| Some(true) });
    until("it is over", || {
        let added = engine.add(Input::new(board.enter("late".into()), feed()));
        matches!(added, Err(EngineError::Over))
    });
    let listed = board.sources().len();
    assert!(matches!(engine.add(Input::new(board.enter("later".into()), feed())), Err(EngineError::Over)));
    assert_eq!(board.sources().len(), listed, "it is not listed");
    engine.join().unwrap();
}
