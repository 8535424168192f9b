//! A lane is one source, from its feed to its sinks: two threads, and one for each sink. Live sources have theirs at once; patient ones
//! follow one another, as many at a time as keep the model busy. Lanes come and go while others run.

use super::crew::{self, CrewError, Usage, spawn};
use super::crops::Allowance;
use super::deliver::{Delivery, Past};
use super::eyes;
use super::feeders::infer;
use super::inbox::Inbox;
use super::load::Load;
use super::outbox::Room;
use super::pace::Pace;
use super::sessions::{Models, Sessions};
use super::source::Source;
use super::status::{Board, LaneId, SourceStatus};
use super::task::{Cue, Ended, EngineError, Fault, Input, Outcome, Task};
use crate::backbone::trim;
use crate::discover::groups::Named;
use crate::events::Events;
use crate::geometry::{PatchLayout, PixelBox};
use crate::localize::PatchOutput;
use crate::record::TimingsRecord;
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};
use tracing::warn;

/// Frames of one source that wait for their answers: with many sources a turn takes a while.
const LIVE_ORDERS: usize = 64;
/// Of a patient source: those in the inbox, with the model and with the finders. A GPU is not filled by fewer.
const PATIENT_ORDERS: usize = 32;
/// Pictures of a patient source beside those on their way through the model: drawn later, fewer are still held by a decoder that refers to
/// them, and need a copy.
pub(super) const SPARE_PICTURES: usize = 4;
/// How long the model is watched before more files are begun, at least and at most, and for how many runs.
const WATCH: Duration = Duration::from_millis(250);
const LONG_WATCH: Duration = Duration::from_secs(2);
const WATCHED_RUNS: u64 = 4;
/// A model that works less than this share of the time has room for one more file.
const BUSY: f64 = 0.85;

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
    pub inbox: Arc<Inbox<Reply>>,
    pub sessions: Sessions<'a>,
    /// Frames of a patient source that can be on their way.
    pub depth: Arc<AtomicUsize>,
    /// Runs that are filled before the model asks: none while a source is live, whose pictures would be older than need be.
    pub ahead: Arc<AtomicUsize>,
    stop: &'a AtomicBool,
    is_ending: AtomicBool,
    /// Something ended that nobody expected to.
    pub has_panicked: AtomicBool,
}

impl Shared<'_> {
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.is_ending.load(Ordering::Relaxed)
    }
}

/// What is asked of the lanes while they run.
pub(super) enum Command {
    Add(Box<Input>),
    /// How it went is told when it has ended.
    Remove(LaneId, Sender<Ended>),
}

/// Does what it is told until nobody can tell it more and every source has ended, or `stop` is set; then finishes the sinks.
pub(super) fn work(
    task: &Task,
    models: &dyn Models,
    board: &Board,
    stop: &AtomicBool,
    commands: Receiver<Command>,
) -> Result<Outcome, EngineError> {
    let shared = Shared {
        task,
        board,
        inbox: Inbox::new(),
        sessions: Sessions::new(models),
        depth: Arc::new(SPARE_PICTURES.into()),
        ahead: Arc::new(1.into()),
        stop,
        is_ending: AtomicBool::new(false),
        has_panicked: AtomicBool::new(false),
    };
    let shared = &shared;
    std::thread::scope(|scope| {
        let model = spawn(scope, "model", move || {
            let _end = EndOfRun(shared);
            let ran = infer(shared);
            let has_panicked = matches!(ran, Err(EngineError::Panic | EngineError::Crew(CrewError::Panic(_))));
            shared.has_panicked.fetch_or(has_panicked, Ordering::Relaxed);
            ran
        })
        .map_err(EngineError::Thread)?;
        let (to_end, woken) = bounded(1);
        let (waiting, open, ended) = Default::default();
        let mut lanes = Lanes { scope, shared, to_end, waiting, open, ended, panicked: false };
        lanes.run(commands, &woken);
        shared.inbox.close();
        lanes.join_all();
        shared.sessions.close();
        model.join().map_err(|_| EngineError::Panic)??;
        if lanes.panicked { Err(EngineError::Panic) } else { Ok(Outcome { sources: lanes.ended }) }
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
    /// Wakes who looks for lanes that have ended.
    to_end: Sender<()>,
    /// Patient ones that have not begun.
    waiting: VecDeque<Input>,
    open: Vec<Lane<'scope>>,
    ended: Vec<Ended>,
    panicked: bool,
}

struct Lane<'scope> {
    status: Arc<SourceStatus>,
    is_live: bool,
    has_ended: Arc<AtomicBool>,
    source: ScopedJoinHandle<'scope, Option<Fault>>,
    delivery: ScopedJoinHandle<'scope, Vec<Fault>>,
    /// Who has removed it.
    remover: Option<Sender<Ended>>,
}

impl<'scope, 'env> Lanes<'scope, 'env> {
    /// Until no more lanes can come and the last has been begun.
    fn run(&mut self, mut commands: Receiver<Command>, woken: &Receiver<()>) {
        let (mut at_once, mut watch) = (1, Watch::new(self.shared.board));
        let mut more_come = true;
        while !self.shared.is_over() && (more_come || !self.waiting.is_empty()) {
            self.shared.board.turned();
            commands.try_iter().for_each(|command| self.obey(command));
            while self.open.iter().filter(|lane| !lane.is_live && !lane.status.is_paused()).count() < at_once
                && let Some(input) = self.waiting.pop_front()
            {
                self.begin(input);
                watch = Watch::new(self.shared.board);
            }
            select! {
                recv(commands) -> command => match command {
                    Ok(command) => self.obey(command),
                    Err(_) => (more_come, commands) = (false, never()),
                },
                recv(woken) -> _ => self.join_ended(),
                default(WATCH) => {}
            }
            if let Some(share) = watch.share() {
                let busier = (at_once as f64 / share.max(0.01)).ceil() as usize;
                if share < BUSY && !self.waiting.is_empty() {
                    at_once = busier.min(2 * at_once).min(crew::cores()).max(at_once);
                }
                watch = Watch::new(self.shared.board);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add(input) if input.feed.is_live() => self.begin(*input),
            Command::Add(input) => self.waiting.push_back(*input),
            Command::Remove(id, remover) => {
                if let Some(at) = self.waiting.iter().position(|input| input.status.id == id) {
                    let status = self.waiting.remove(at).map(|input| input.status);
                    status.into_iter().for_each(|status| self.end(&status, Vec::new(), Some(remover.clone())));
                } else if let Some(lane) = self.open.iter_mut().find(|lane| lane.status.id == id) {
                    lane.status.stop();
                    lane.remover.get_or_insert(remover);
                } else if let Some(at) = self.ended.iter().position(|ended| ended.id == id) {
                    self.shared.board.leave(id);
                    remover.try_send(self.ended.remove(at)).ok();
                }
            }
        }
    }

    fn begin(&mut self, input: Input) {
        let status = input.status.clone();
        if let Err(error) = self.spawn(input) {
            let fault = Fault::Thread(error);
            fault.tell(&status.name);
            self.end(&status, vec![fault], None);
        }
    }

    fn spawn(&mut self, input: Input) -> std::io::Result<()> {
        let (shared, scope) = (self.shared, self.scope);
        let wait = input.wait(shared.task.cue);
        let Input { status, feed, sinks, every, adaptive, mut scene, standing, witness, .. } = input;
        let is_live = feed.is_live();
        let (to_deliver, orders) = bounded(if is_live { LIVE_ORDERS } else { PATIENT_ORDERS });
        let (to_crowd, crowded) = bounded(1);
        let room = if is_live { Room::live() } else { Room::patient(shared.depth.clone()) };
        let (is_broken, load) = (Arc::<AtomicBool>::default(), Arc::<Load>::default());
        let (eyes, past) = eyes::begin(&mut scene).unwrap_or_else(|why| {
            let source = &status.name;
            warn!(source, "{source}: its scene is seen anew: what was kept of it is of no use, {why}");
            Default::default()
        });
        let past = match shared.task.cue {
            Cue::Time { without, .. } => past.without(without),
            Cue::Appearance => past,
        };
        if is_live {
            shared.ahead.store(0, Ordering::Relaxed);
        }
        let source = Source {
            shared,
            feed,
            entrance: shared.inbox.enter(status.clone(), is_live),
            to_deliver,
            to_crowd,
            pace: Pace::new(every, is_live),
            adaptive,
            eyes: matches!(shared.task.cue, Cue::Time { .. }).then_some(eyes),
            crops: Allowance::default(),
            mask: Default::default(),
            wishes: sinks.iter().map(|sink| sink.wish()).collect(),
            room: room.clone(),
            load: load.clone(),
            is_live,
            is_broken: is_broken.clone(),
            status: status.clone(),
        };
        let mut events = Events::default();
        events.expect(standing);
        let delivery =
            Delivery { status: status.clone(), is_live, every, wait, orders, crowded, room, load, is_broken, shared };
        let source = spawn(scope, "source", move || source.run())?;
        let has_ended = Arc::<AtomicBool>::default();
        let end = EndOfLane(has_ended.clone(), self.to_end.clone());
        let delivery = spawn(scope, "deliver", move || {
            let _end = end;
            delivery.run(scope, sinks, Past::new(past, scene, witness), events)
        })?;
        self.open.push(Lane { status, is_live, has_ended, source, delivery, remover: None });
        Ok(())
    }

    fn join_ended(&mut self) {
        while let Some(at) = self.open.iter().position(|lane| lane.has_ended.load(Ordering::Acquire)) {
            self.join(at);
        }
    }

    fn join(&mut self, at: usize) {
        let Lane { status, source, delivery, remover, .. } = self.open.remove(at);
        let of_sinks = delivery.join().unwrap_or_else(|_| vec![Fault::Panic("deliver")]);
        let mut faults = Vec::new();
        match source.join() {
            Ok(fault) => faults.extend(fault),
            Err(_) => self.panicked = true,
        }
        self.panicked |= of_sinks.iter().any(|fault| matches!(fault, Fault::Panic(_)));
        faults.extend(of_sinks);
        let has_live = self.open.iter().any(|lane| lane.is_live);
        self.shared.ahead.store(usize::from(!has_live), Ordering::Relaxed);
        self.end(&status, faults, remover);
        // The next file's decoder and encoder take other pieces of other threads' memory.
        trim();
    }

    /// Writes down how a lane went, or tells who has removed it.
    fn end(&mut self, status: &SourceStatus, faults: Vec<Fault>, remover: Option<Sender<Ended>>) {
        status.ended();
        let ended = Ended { id: status.id, name: status.name.clone(), frames: status.progress().0, faults };
        match remover {
            Some(remover) => {
                self.shared.board.leave(status.id);
                remover.try_send(ended).ok();
            }
            None => self.ended.push(ended),
        }
    }

    fn join_all(&mut self) {
        while !self.open.is_empty() {
            self.join(0);
        }
        while let Some(input) = self.waiting.pop_front() {
            self.end(&input.status, Vec::new(), None);
        }
    }
}

/// Says that a lane has ended, however it does.
struct EndOfLane(Arc<AtomicBool>, Sender<()>);

impl Drop for EndOfLane {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
        // Where it is full, who is woken looks for this lane, too.
        self.1.try_send(()).ok();
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

pub(super) fn microseconds(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}
