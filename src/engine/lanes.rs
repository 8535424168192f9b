//! A lane is one source, from its feed to its sinks: two threads, and one for each sink. Live sources have theirs at once; patient ones
//! follow one another, as many at a time as keep the model busy.

use super::adaptive::Adaptive;
use super::crew::{self, Crew, CrewError, EndOfThread, Looked, Usage, spawn};
use super::crops::Allowance;
use super::deliver::{Delivery, Order, Past};
use super::desk::{Desk, Place};
use super::eyes::{self, CROP_PATCHES, Eyes, KeptScene};
use super::inbox::{Crop, Entrance, Inbox, Waiting, Wants};
use super::outbox::{Room, Share};
use super::sessions::{Look, Models, Purpose, Sessions, Shape};
use super::sink::{Sink, SinkError, Wish};
use super::status::{Board, SourceStatus};
use crate::backbone::{BackboneError, trim};
use crate::discover::groups::{Groups, Named};
use crate::geometry::{PatchLayout, PixelBox};
use crate::localize::{Localizer, PatchOutput};
use crate::motion::{Camera, Evidence, Need};
use crate::record::{FrameRecord, TimingsRecord};
use crate::scene::{Scene, Sense, Senses};
use crate::stream::StreamError;
use crate::stream::feed::{Event, Feed};
use crate::stream::frame::{Frame, FrameFit};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Frames of one source that wait for their answers: with many sources a turn takes a while.
const LIVE_ORDERS: usize = 64;
/// Of a patient source: those in the inbox, with the model and with the finders. A GPU is not filled by fewer.
const PATIENT_ORDERS: usize = 32;
/// Pictures of a patient source beside those on their way through the model: drawn later, fewer are still held by a decoder that refers to
/// them, and need a copy.
const SPARE_PICTURES: usize = 4;
/// How long the model is watched before more files are begun, at least and at most, and for how many runs.
const WATCH: Duration = Duration::from_millis(250);
const LONG_WATCH: Duration = Duration::from_secs(2);
const WATCHED_RUNS: u64 = 4;
/// A model that works less than this share of the time has room for one more file.
const BUSY: f64 = 0.85;

/// What speaks for an object.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Cue {
    /// The single picture.
    #[default]
    Appearance,
    /// What moves, and what is new to the scene, with appearance where the camera moves; objects of a lower score are left out,
    /// and some senses where it is evaluated what they bring.
    Time { min_score: f32, without: Senses },
}

impl Cue {
    /// Whether small things are looked at again.
    pub(super) fn with_crops(self) -> bool {
        matches!(self, Self::Time { without, .. } if !without.has(Sense::Crops))
    }
}

/// What to do with every frame.
pub struct Task {
    pub model: String,
    pub cue: Cue,
    pub localizer: Localizer,
    /// Names objects by what they look like.
    pub groups: Option<Groups>,
    pub with_masks: bool,
    pub with_timings: bool,
}

/// One source, and what becomes of its frames.
pub struct Input {
    pub feed: Box<dyn Feed>,
    pub sinks: Vec<Box<dyn Sink>>,
    /// Every how many frames the model runs; the boxes hold in between.
    pub every: u64,
    /// Spares the model what has not changed.
    pub adaptive: Option<Adaptive>,
    /// Where the past is asked: what was seen before this run, and where it is kept.
    pub scene: Option<KeptScene>,
    /// Sees what records are made from.
    pub witness: Option<Witness>,
}

/// A frame's record, and the past that it was made from: what the frame says of movement, where that is asked, and the scene.
pub type Witness = Box<dyn FnMut(&FrameRecord, Option<&Evidence>, &Scene) + Send>;

/// Why a run cannot go on. What goes wrong at one source is a [`Fault`], and the rest goes on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Crew(#[from] CrewError),
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    #[error("a thread stopped unexpectedly; please report this")]
    Panic,
}

impl From<BackboneError> for EngineError {
    fn from(error: BackboneError) -> Self {
        Self::Crew(error.into())
    }
}

/// What went wrong at one source. It has been told.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Source(StreamError),
    #[error(transparent)]
    Model(BackboneError),
    #[error(transparent)]
    Sink(SinkError),
    #[error("the {0} thread stopped unexpectedly; please report this")]
    Panic(&'static str),
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// With the number of the source, in the order in which sources ended.
    pub faults: Vec<(usize, Fault)>,
}

/// What was found in one frame.
#[derive(Clone)]
pub(super) struct Answer {
    pub objects: Arc<Vec<Named>>,
    /// The middle block's keys `[N, D]`, and D, where the past is asked.
    pub keys: Option<(Arc<[f32]>, usize)>,
    /// What objects that the past shows are named by.
    pub features: Option<Arc<PatchOutput<'static>>>,
    pub layout: PatchLayout,
    pub timings: TimingsRecord,
}

/// A part of a frame that the model sees again, in the frame's displayed pixels, and where its answer comes.
pub(super) type Again = (PixelBox, Receiver<Reply>);

/// Through a ticket: none where nothing can be said of this frame. A ticket that is dropped says that the frame was passed over, or that the
/// model is no more.
pub(super) type Reply = Option<Answer>;

/// What all lanes share.
pub(super) struct Shared<'a> {
    pub task: &'a Task,
    pub board: &'a Board,
    inbox: Arc<Inbox<Reply>>,
    sessions: Sessions<'a>,
    /// Frames of a patient source that can be on their way.
    depth: Arc<AtomicUsize>,
    stop: &'a AtomicBool,
    is_ending: AtomicBool,
    /// Something ended that nobody expected to.
    pub has_panicked: AtomicBool,
    pub tell: &'a (dyn Fn(&str) + Sync),
}

impl Shared<'_> {
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.is_ending.load(Ordering::Relaxed)
    }
}

/// Runs until every source has ended or `stop` is set, then finishes the sinks. `inputs` are in the order of the board's sources.
///
/// `tell` takes lines for the log. When a device fails in mid-run, what was written is finished: it may have run for hours.
pub fn run(
    task: &Task,
    inputs: Vec<Input>,
    models: &dyn Models,
    board: &Board,
    stop: &AtomicBool,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Outcome, EngineError> {
    let is_live = inputs.iter().any(|input| input.feed.is_live());
    let shared = Shared {
        task,
        board,
        inbox: Inbox::new(),
        sessions: Sessions::new(models),
        depth: Arc::new(SPARE_PICTURES.into()),
        stop,
        is_ending: AtomicBool::new(false),
        has_panicked: AtomicBool::new(false),
        tell,
    };
    let shared = &shared;
    std::thread::scope(|scope| {
        let model = spawn(scope, "model", move || {
            let _end = EndOfRun(shared);
            let ran = infer(shared, usize::from(!is_live));
            let has_panicked = matches!(ran, Err(EngineError::Panic | EngineError::Crew(CrewError::Panic(_))));
            shared.has_panicked.fetch_or(has_panicked, Ordering::Relaxed);
            ran
        })
        .map_err(EngineError::Thread)?;
        let (to_end, ended) = bounded(inputs.len());
        let mut lanes = Lanes { scope, shared, to_end, open: Vec::new(), outcome: Outcome::default(), panicked: false };
        let started = lanes.run_all(inputs, &ended);
        if started.is_err() {
            shared.is_ending.store(true, Ordering::Relaxed);
        }
        shared.inbox.close();
        lanes.join_all();
        shared.sessions.close();
        model.join().map_err(|_| EngineError::Panic)??;
        started.map_err(EngineError::Thread)?;
        if lanes.panicked { Err(EngineError::Panic) } else { Ok(lanes.outcome) }
    })
}

/// Ends the run with the thread that holds it, however that ends: without the model, sources would wait for ever.
struct EndOfRun<'a>(&'a Shared<'a>);

impl Drop for EndOfRun<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.has_panicked.store(true, Ordering::Relaxed);
        }
        self.0.is_ending.store(true, Ordering::Relaxed);
        // Tickets that wait for nobody say so.
        self.0.inbox.end();
    }
}

/// The lanes at work.
struct Lanes<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    shared: &'scope Shared<'env>,
    /// Takes the number of a lane that has ended.
    to_end: Sender<usize>,
    open: Vec<Lane<'scope>>,
    outcome: Outcome,
    panicked: bool,
}

struct Lane<'scope> {
    number: usize,
    is_live: bool,
    source: ScopedJoinHandle<'scope, Option<Fault>>,
    delivery: ScopedJoinHandle<'scope, Vec<Fault>>,
}

impl<'scope, 'env> Lanes<'scope, 'env> {
    /// All live sources at once, and the others in their order, until the last has been begun.
    fn run_all(&mut self, inputs: Vec<Input>, ended: &Receiver<usize>) -> std::io::Result<()> {
        let mut patient = VecDeque::new();
        for (number, input) in inputs.into_iter().enumerate() {
            match input.feed.is_live() {
                true => self.begin(number, input)?,
                false => patient.push_back((number, input)),
            }
        }
        let (mut at_once, mut watch) = (1, Watch::new(self.shared.board));
        while !patient.is_empty() && !self.shared.is_over() {
            while self.open.iter().filter(|lane| !lane.is_live).count() < at_once
                && let Some((number, input)) = patient.pop_front()
            {
                self.begin(number, input)?;
                watch = Watch::new(self.shared.board);
            }
            match ended.recv_timeout(WATCH) {
                Ok(number) => self.join(number),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(share) = watch.share() {
                let busier = (at_once as f64 / share.max(0.01)).ceil() as usize;
                if share < BUSY {
                    at_once = busier.min(2 * at_once).min(crew::cores()).max(at_once);
                }
                watch = Watch::new(self.shared.board);
            }
        }
        Ok(())
    }

    fn begin(&mut self, number: usize, input: Input) -> std::io::Result<()> {
        let (shared, scope) = (self.shared, self.scope);
        let status = &shared.board.sources[number];
        let Input { feed, sinks, every, adaptive, mut scene, witness } = input;
        let is_live = feed.is_live();
        let (to_deliver, orders) = bounded(if is_live { LIVE_ORDERS } else { PATIENT_ORDERS });
        let (to_crowd, crowded) = bounded(1);
        let room = if is_live { Room::live() } else { Room::patient(shared.depth.clone()) };
        let is_broken = Arc::<AtomicBool>::default();
        let (eyes, past) = eyes::begin(&mut scene).unwrap_or_else(|why| {
            (shared.tell)(&format!("{}: its scene is seen anew: what was kept of it is of no use, {why}", status.name));
            Default::default()
        });
        let past = match shared.task.cue {
            Cue::Time { without, .. } => past.without(without),
            Cue::Appearance => past,
        };
        let source = Source {
            shared,
            feed,
            entrance: shared.inbox.enter(number, status.clone(), is_live),
            to_deliver,
            to_crowd,
            every,
            adaptive,
            eyes: matches!(shared.task.cue, Cue::Time { .. }).then_some(eyes),
            crops: Allowance::default(),
            wishes: sinks.iter().map(|sink| sink.wish()).collect(),
            room: room.clone(),
            is_live,
            is_broken: is_broken.clone(),
            status,
        };
        let delivery = Delivery { status, is_live, orders, crowded, room, is_broken, shared };
        let source = spawn(scope, "source", move || source.run())?;
        let end = EndOfLane(self.to_end.clone(), number);
        let delivery = spawn(scope, "deliver", move || {
            let _end = end;
            delivery.run(scope, sinks, Past::new(past, scene, witness))
        })?;
        self.open.push(Lane { number, is_live, source, delivery });
        Ok(())
    }

    fn join(&mut self, number: usize) {
        let Some(at) = self.open.iter().position(|lane| lane.number == number) else { return };
        let Lane { source, delivery, .. } = self.open.remove(at);
        let faults = delivery.join().unwrap_or_else(|_| vec![Fault::Panic("deliver")]);
        match source.join() {
            Ok(fault) => self.outcome.faults.extend(fault.map(|fault| (number, fault))),
            Err(_) => self.panicked = true,
        }
        self.panicked |= faults.iter().any(|fault| matches!(fault, Fault::Panic(_)));
        self.outcome.faults.extend(faults.into_iter().map(|fault| (number, fault)));
        self.shared.board.sources[number].ended();
        // The next file's decoder and encoder take other pieces of other threads' memory.
        trim();
    }

    fn join_all(&mut self) {
        while let Some(lane) = self.open.first() {
            self.join(lane.number);
        }
    }
}

/// Says that a lane has ended, however it does.
struct EndOfLane(Sender<usize>, usize);

impl Drop for EndOfLane {
    fn drop(&mut self) {
        // There is room for every lane, and where nobody listens any more it does not matter.
        self.0.try_send(self.1).ok();
    }
}

/// What share of a time the model has worked.
struct Watch<'a> {
    since: Instant,
    devices: &'a [Arc<Usage>],
    runs: u64,
    busy: Duration,
}

impl<'a> Watch<'a> {
    fn new(board: &'a Board) -> Self {
        let devices = board.devices();
        let (runs, busy) = Self::now(devices);
        Self { since: Instant::now(), devices, runs, busy }
    }

    fn now(devices: &[Arc<Usage>]) -> (u64, Duration) {
        (devices.iter().map(|usage| usage.runs()).sum(), devices.iter().map(|usage| usage.busy()).sum())
    }

    /// None before enough has been seen.
    fn share(&self) -> Option<f64> {
        let elapsed = self.since.elapsed();
        let (runs, busy) = Self::now(self.devices);
        let has_seen = elapsed >= WATCH && runs - self.runs >= WATCHED_RUNS || elapsed >= LONG_WATCH;
        let at_once: usize = self.devices.iter().map(|usage| usage.runs_at_once).sum();
        has_seen.then(|| (busy - self.busy).as_secs_f64() / (elapsed.as_secs_f64() * at_once.max(1) as f64))
    }
}

/// A source's thread.
struct Source<'a> {
    shared: &'a Shared<'a>,
    feed: Box<dyn Feed>,
    entrance: Entrance<Reply>,
    to_deliver: Sender<Order>,
    /// Says that an order has no room: a live source's delivery then waits no longer for the answer before it.
    to_crowd: Sender<()>,
    every: u64,
    adaptive: Option<Adaptive>,
    eyes: Option<Eyes>,
    crops: Allowance,
    /// Of the sinks.
    wishes: Vec<Wish>,
    /// For the pictures on their way to the delivery.
    room: Arc<Room>,
    is_live: bool,
    /// One of its sinks has failed, where that ends it.
    is_broken: Arc<AtomicBool>,
    status: &'a SourceStatus,
}

impl Source<'_> {
    /// Sends every frame to its delivery, and those for the model to the inbox, too; gives what went wrong at the source.
    fn run(mut self) -> Option<Fault> {
        let shared = self.shared;
        let is_broken = self.is_broken.clone();
        let is_over = move || shared.is_over() || is_broken.load(Ordering::Relaxed);
        let mut broken = 0;
        // How the model sees frames of the last one's size, and parts of them.
        let mut seen: Option<((u32, u32), [PatchLayout; 2])> = None;
        while let Some(event) = self.feed.next(&is_over) {
            let so_far = self.feed.broken();
            self.status.broken(so_far - std::mem::replace(&mut broken, so_far));
            let frame = match event {
                Event::State(change) => {
                    self.status.decoded_by(self.feed.decoder());
                    self.status.expects(self.feed.expected());
                    self.status.changed(&change);
                    if !self.order(Order::State(change)) {
                        break;
                    }
                    continue;
                }
                Event::Frame(frame) => frame,
            };
            let size = frame.display_size();
            self.status.arrived(size);
            let layout = match seen.filter(|(known, _)| *known == size) {
                Some((_, layouts)) => Ok(layouts),
                None => layouts(shared.sessions.models, size),
            };
            let [layout, of_part] = match layout {
                Ok(layouts) => seen.insert((size, layouts)).1,
                Err(error) => {
                    (shared.tell)(&format!("{}: {error}", self.status.name));
                    self.is_broken.store(true, Ordering::Relaxed);
                    return Some(Fault::Model(error));
                }
            };
            let arrived = frame.capture.map_or_else(Instant::now, |capture| capture.instant);
            // Pictures one after the other have no past.
            let eyes = self.eyes.as_mut().filter(|_| !self.feed.is_pictures());
            let start = Instant::now();
            let evidence = eyes.and_then(|eyes| {
                let evidence = eyes.look(&frame, shared.task.cue.with_crops());
                self.status.moves_by(eyes.bytes());
                evidence
            });
            let looked = microseconds(start);
            let is_wanted = frame.index % self.every == 0 && self.has_changed(&frame, evidence.as_ref());
            let wants = Wants {
                keys: evidence.is_some(),
                appearance: evidence.as_ref().is_none_or(|evidence| evidence.camera == Camera::Moving),
            };
            // Names are given by the last block's features.
            let need = evidence.as_ref().map(|evidence| match evidence.camera {
                Camera::Still | Camera::Shaking if shared.task.groups.is_none() => Need::Half,
                Camera::Still | Camera::Shaking | Camera::Moving => Need::Whole,
            });
            let purpose = Purpose { layout, need };
            let (crop, again) = is_wanted.then(|| self.crop(&frame, &purpose, of_part)).flatten().unzip();
            let (ticket, answer) = match is_wanted.then(|| bounded(1)) {
                Some((ticket, answer)) => (Some(ticket), Some(answer)),
                None => (None, None),
            };
            let wanted: Vec<bool> = self.wishes.iter_mut().map(|wish| wish()).collect();
            let picture = self.picture(&frame, &wanted, &is_over);
            let order = Order::frame(&frame, (layout, evidence, looked), picture, wanted, (answer, again), arrived);
            if !self.order(order) {
                break;
            }
            if let Some(ticket) = ticket {
                self.entrance.put(Waiting { frame, purpose, wants, ticket, crop }, &is_over);
            }
        }
        self.feed.fault().map(Fault::Source)
    }

    /// A part of the frame for the model to see again, and where its answer comes.
    fn crop(&mut self, frame: &Frame, whole: &Purpose, layout: PatchLayout) -> Option<(Crop<Reply>, Again)> {
        if !self.shared.task.cue.with_crops() {
            return None;
        }
        let purpose = Purpose { layout, need: None };
        let eyes = self.eyes.as_mut().filter(|_| self.crops.earn(whole, &purpose))?;
        let part = eyes.look_again(frame)?;
        self.crops.spend(&purpose);
        let (ticket, answer) = bounded(1);
        Some((Crop { part, purpose, ticket, is_due: !self.is_live }, (part, answer)))
    }

    /// Whether somebody takes it.
    fn order(&self, order: Order) -> bool {
        match self.to_deliver.try_send(order) {
            Err(TrySendError::Full(order)) => {
                self.crowd();
                self.to_deliver.send(order).is_ok()
            }
            sent => sent.is_ok(),
        }
    }

    /// A live source's delivery is not to wait any longer.
    fn crowd(&self) {
        if self.is_live {
            self.to_crowd.try_send(()).ok();
        }
    }

    /// The frame to draw on, where a sink wants it and there is room.
    fn picture(&self, frame: &Frame, wanted: &[bool], is_over: &dyn Fn() -> bool) -> Option<(Frame, Share)> {
        if !wanted.contains(&true) {
            return None;
        }
        let bytes = frame.buffer.size();
        let share = if self.is_live { self.room.take(bytes) } else { self.room.wait(bytes, is_over) };
        if share.is_none() {
            self.status.missed_by_sink();
        }
        if !self.room.has_room(bytes) {
            self.crowd();
        }
        Some((frame.clone(), share?))
    }

    fn has_changed(&mut self, frame: &Frame, evidence: Option<&Evidence>) -> bool {
        let has_changed = match (&mut self.adaptive, evidence) {
            (None, _) => true,
            (Some(_), Some(evidence)) => evidence.need.is_some(),
            (Some(adaptive), None) => adaptive.has_changed(frame),
        };
        if !has_changed {
            self.status.unchanged();
        }
        has_changed
    }
}

/// How the model sees a frame of this displayed size, and a part of it.
fn layouts(models: &dyn Models, (width, height): (u32, u32)) -> Result<[PatchLayout; 2], BackboneError> {
    let layout = models.layout(width, height)?;
    let side = CROP_PATCHES * layout.patch;
    Ok([layout, models.layout(side, side)?])
}

/// A picture on its way through the model.
struct Ticketed {
    source: usize,
    ticket: Sender<Reply>,
    wants: Wants,
    /// Microseconds.
    convert: u64,
}

/// Runs the model until the inbox is closed: the feeders make its pictures, the finders answer. Opens sessions meanwhile, so that
/// nobody waits for a shape that is not theirs.
fn infer(shared: &Shared, ahead: usize) -> Result<(), EngineError> {
    let turn = Mutex::new(());
    std::thread::scope(|scope| {
        // None where no frame came.
        let Some(first) = shared.inbox.first() else { return Ok(()) };
        let shape = shared.sessions.open(&first)?;
        shared.depth.store(crew::depth(&shape) + SPARE_PICTURES, Ordering::Relaxed);
        let (desk, crew) =
            Crew::start(scope, &shape, ahead, |looked: Looked<Ticketed>| answer(shared.task, shared.board, looked))?;
        drop(shape);
        shared.board.work_on(crew.usage.clone());
        let mut feeders = Vec::new();
        let last = Arc::new(LastFeeder(shared));
        let spawned = (0..crew::feeders()).try_for_each(|_| {
            let (desk, turn, last) = (desk.clone(), &turn, last.clone());
            let work = move || {
                let (_last, _end) = (last, EndOfThread(&desk));
                feed(shared, turn, &desk)
            };
            feeders.push(spawn(scope, "feed", work)?);
            Ok(())
        });
        drop(last);
        if spawned.is_err() {
            desk.fail();
        }
        while let Some(purpose) = shared.sessions.next_wanted() {
            if let Err(error) = shared.sessions.open(&purpose) {
                let (width, height) = (purpose.layout.image_width, purpose.layout.image_height);
                (shared.tell)(&format!("pictures of {width}x{height} for the model have no boxes: {error}"));
            }
            shared.inbox.wake();
        }
        let panicked = feeders.into_iter().filter_map(|thread| thread.join().err()).count();
        // All pictures there will be are written.
        desk.close();
        crew.join()?;
        spawned.map_err(EngineError::Thread)?;
        if panicked > 0 { Err(EngineError::Panic) } else { Ok(()) }
    })
}

/// No more sessions are asked for once the last feeder has ended.
struct LastFeeder<'a>(&'a Shared<'a>);

impl Drop for LastFeeder<'_> {
    fn drop(&mut self) {
        self.0.sessions.close();
    }
}

/// A feeder: the newest frame of the next source, into the place that the model has for it.
fn feed(shared: &Shared, turn: &Mutex<()>, desk: &Arc<Desk<Ticketed>>) {
    let mut fit = FrameFit::default();
    while let Some(Placed { source, waiting, place, of_crop }) = next(shared, turn, desk) {
        let Waiting { frame, purpose, wants, ticket, crop } = waiting;
        // None where the model cannot be had for this shape, which was told.
        let Some(mut place) = place else {
            ticket.send(None).ok();
            continue;
        };
        let start = Instant::now();
        let size = (purpose.layout.image_width, purpose.layout.image_height);
        if fit.rgb(&frame, size, place.pixels()).is_err() {
            // The frame's own fault: a format that cannot be converted. It keeps the boxes before it.
            shared.board.sources[source].broken(1);
            ticket.send(None).ok();
            continue;
        }
        // The frame is given up before its last answer, so that its picture can then be drawn on in place.
        let crop = crop.map(|crop| (crop, frame));
        place.fill(Ticketed { source, ticket, wants, convert: microseconds(start) });
        if let Some((crop, frame)) = crop {
            feed_crop(shared, desk, &mut fit, source, (crop, frame, of_crop));
        }
    }
}

/// A part of a frame, after it; a live one's gives way to frames that wait.
fn feed_crop(
    shared: &Shared,
    desk: &Arc<Desk<Ticketed>>,
    fit: &mut FrameFit,
    source: usize,
    (crop, frame, shape): (Crop<Reply>, Frame, Option<Arc<Shape>>),
) {
    let Crop { part, purpose, ticket, is_due } = crop;
    let is_wanted = || is_due || !shared.inbox.is_waited_for();
    // It may have to wait for its place.
    let place = shape.filter(|_| is_wanted()).and_then(|shape| desk.place(&shape)).filter(|_| is_wanted());
    let start = Instant::now();
    let size = (purpose.layout.image_width, purpose.layout.image_height);
    let written = place.and_then(|mut place| fit.part(&frame, &part, size, place.pixels()).is_ok().then_some(place));
    drop(frame);
    match written {
        Some(place) => {
            let wants = Wants { keys: false, appearance: true };
            place.fill(Ticketed { source, ticket, wants, convert: microseconds(start) });
        }
        None => drop(ticket.send(None)),
    }
}

/// A frame whose turn it is.
struct Placed {
    source: usize,
    waiting: Waiting<Reply>,
    /// In a run of its shape, where that can be had.
    place: Option<Place<Ticketed>>,
    /// What sees the part that is seen again.
    of_crop: Option<Arc<Shape>>,
}

/// Waits for a frame and for the model to want one; a live source's is the newest there is then. One feeder at a time looks.
fn next(shared: &Shared, turn: &Mutex<()>, desk: &Arc<Desk<Ticketed>>) -> Option<Placed> {
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    // Held from the moment of the look: a session may be given up at any time.
    let found = RefCell::default();
    let look = |purpose: &Purpose| match shared.sessions.look(purpose) {
        Look::Open(shape) => Some(Some(shape)),
        Look::Failed => Some(None),
        Look::Asked => None,
    };
    let (source, waiting) = shared.inbox.take(|waiting| {
        let of_crop = waiting.crop.as_ref().map(|crop| look(&crop.purpose).or((!crop.is_due).then_some(None)));
        let shapes = look(&waiting.purpose).zip(of_crop.unwrap_or(Some(None)));
        let is_ready = shapes.is_some();
        found.replace(shapes);
        is_ready
    })?;
    let (shape, of_crop) = found.take().unwrap_or_default();
    let Some(shape) = shape else { return Some(Placed { source, waiting, place: None, of_crop: None }) };
    let place = Some(desk.place(&shape)?);
    Some(Placed { source, waiting: shared.inbox.newest(source, waiting), place, of_crop })
}

/// A frame whose objects cannot be found keeps the boxes before it.
fn answer(task: &Task, board: &Board, looked: Looked<Ticketed>) {
    let start = Instant::now();
    let found = match looked.item.wants.appearance {
        true => crew::find(&task.localizer, task.groups.as_ref(), &looked),
        false => Ok(Vec::new()),
    };
    let Looked { item: Ticketed { source, ticket, wants, convert }, shape, lease, inference } = looked;
    // A copy: the scene takes frames in order, and the run's memory is wanted before.
    let keys = lease.middle().filter(|_| wants.keys);
    let keys = keys.map(|keys| (keys.iter().copied().collect(), keys.ncols()));
    let features = task.groups.as_ref().filter(|_| wants.keys).and_then(|_| {
        PatchOutput::new(task.localizer.method, shape.layout.grid, lease.values().into_owned()).ok().map(Arc::new)
    });
    drop(lease);
    let inference = inference.as_micros() as u64;
    let timings = TimingsRecord { convert, inference, localize: microseconds(start), ..TimingsRecord::default() };
    let reply =
        found.map(|objects| Answer { objects: Arc::new(objects), keys, features, layout: shape.layout, timings }).ok();
    board.sources[source].broken(u64::from(reply.is_none()));
    // Nobody waits for it any more where the source has gone on.
    ticket.send(reply).ok();
}

pub(super) fn microseconds(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}
