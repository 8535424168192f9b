//! The threads: two for each source, one for each sink, and those around the model (`crate::engine`).

use super::adaptive::Adaptive;
use super::deliver::{self, Answer, Order};
use super::feed::{Event, Feed};
use super::inbox::{self, Entrance, Inbox, Waiting};
use super::outbox::{Room, Share};
use super::sink::{Sink, Wish};
use super::status::{Board, SourceStatus};
use crate::backbone::{BackboneError, Model};
use crate::discover::groups::Groups;
use crate::engine::crew::{self, Crew, CrewError, Looked, spawn};
use crate::engine::desk::{Desk, Place};
use crate::engine::fit::Fitter;
use crate::geometry::PatchLayout;
use crate::localize::Localizer;
use crate::record::TimingsRecord;
use crate::stream::frame::Frame;
use crossbeam_channel::{Sender, TrySendError, bounded};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Frames of one source that wait for their answers: with many sources a turn takes a while.
const LIVE_ORDERS: usize = 64;
/// Of a source that waits itself: those in the inbox, with the model and with the finders. A GPU is not filled by fewer.
const PATIENT_ORDERS: usize = 32;

/// What to do with every frame.
pub struct Task {
    pub model: String,
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
}

/// Why a run cannot go on. What goes wrong at one source or sink is told by `tell`, and the rest goes on.
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

/// Runs until every source has ended or `stop` is set, then finishes the sinks. `inputs` are in the order of the board's sources.
///
/// `open` makes the sessions, one for each device, when the first frame is there, for an image of its displayed width and height.
/// `tell` takes lines for the log; it gives the number of sinks that failed.
pub fn run(
    task: &Task,
    inputs: Vec<Input>,
    open: impl FnOnce(u32, u32) -> Result<Vec<Arc<dyn Model>>, BackboneError> + Send,
    board: &Board,
    stop: &AtomicBool,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<usize, EngineError> {
    let is_ending = AtomicBool::new(false);
    let is_over = || stop.load(Ordering::Relaxed) || is_ending.load(Ordering::Relaxed);
    let is_over: &(dyn Fn() -> bool + Sync) = &is_over;
    let session = OnceLock::new();
    let is_live = inputs.iter().any(|input| input.feed.is_live());
    let lanes = board.sources.iter().zip(&inputs).map(|(status, input)| (status.clone(), input.feed.is_live()));
    let (entrances, inbox) = inbox::new(lanes);
    std::thread::scope(|scope| {
        let (mut deliveries, mut others) = (Vec::new(), Vec::new());
        let started = (|| {
            let (is_ending, session) = (&is_ending, &session);
            let model = spawn(scope, "model", move || {
                let _end = EndOfRun(is_ending);
                infer(task, inbox, open, session, board, usize::from(!is_live))
            })?;
            for ((input, entrance), status) in inputs.into_iter().zip(entrances).zip(&board.sources) {
                let Input { feed, sinks, every, adaptive } = input;
                let is_live = feed.is_live();
                let (to_deliver, orders) = bounded(if is_live { LIVE_ORDERS } else { PATIENT_ORDERS });
                let (to_crowd, crowded) = bounded(1);
                let wishes = sinks.iter().map(|sink| sink.wish()).collect();
                let room = Arc::<Room>::default();
                let source = Source {
                    feed,
                    entrance,
                    to_deliver,
                    to_crowd,
                    every,
                    adaptive,
                    wishes,
                    room: room.clone(),
                    is_live,
                    status,
                };
                others.push(spawn(scope, "source", move || source.run(is_over))?);
                let delivery =
                    deliver::Delivery { task, session, status, is_live, orders, crowded, room, is_over, tell };
                deliveries.push(spawn(scope, "deliver", move || delivery.run(scope, sinks))?);
            }
            Ok(model)
        })();
        if started.is_err() {
            is_ending.store(true, Ordering::Relaxed);
        }
        let failed_sinks = deliveries.into_iter().map(|delivery| delivery.join().unwrap_or(1)).sum();
        // Every thread is waited for.
        let panicked = others.into_iter().filter_map(|thread| thread.join().err()).count();
        let model = started.map_err(EngineError::Thread)?;
        model.join().map_err(|_| EngineError::Panic)??;
        if panicked > 0 { Err(EngineError::Panic) } else { Ok(failed_sinks) }
    })
}

/// Ends the run with the thread that holds it, however that ends: without the model, sources would wait for ever.
struct EndOfRun<'a>(&'a AtomicBool);

impl Drop for EndOfRun<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A source's thread.
struct Source<'a> {
    feed: Box<dyn Feed>,
    entrance: Entrance<Answer>,
    to_deliver: Sender<Order>,
    /// Says that an order has no room: a live source's delivery then waits no longer for the answer before it.
    to_crowd: Sender<()>,
    every: u64,
    adaptive: Option<Adaptive>,
    /// Of the sinks.
    wishes: Vec<Wish>,
    /// For the pictures on their way to the delivery.
    room: Arc<Room>,
    is_live: bool,
    status: &'a SourceStatus,
}

impl Source<'_> {
    /// Sends every frame to its delivery, and those for the model to the inbox, too.
    fn run(mut self, is_over: &(dyn Fn() -> bool + Sync)) {
        let mut broken = 0;
        while let Some(event) = self.feed.next(&|| is_over()) {
            let so_far = self.feed.broken();
            self.status.broken(so_far - std::mem::replace(&mut broken, so_far));
            let frame = match event {
                Event::State(change) => {
                    self.status.decoded_by(self.feed.decoder());
                    self.status.changed(&change);
                    if !self.order(Order::State(change)) {
                        return;
                    }
                    continue;
                }
                Event::Frame(frame) => frame,
            };
            self.status.arrived(frame.display_size());
            let arrived = frame.capture.map_or_else(Instant::now, |capture| capture.instant);
            let is_wanted = frame.index % self.every == 0 && self.has_changed(&frame);
            let (ticket, answer) = match is_wanted.then(|| bounded(1)) {
                Some((ticket, answer)) => (Some(ticket), Some(answer)),
                None => (None, None),
            };
            let wanted: Vec<bool> = self.wishes.iter_mut().map(|wish| wish()).collect();
            let order = Order::frame(&frame, self.picture(&frame, &wanted, is_over), wanted, answer, arrived);
            if !self.order(order) {
                return;
            }
            if let Some(ticket) = ticket {
                self.entrance.put(Waiting { frame, ticket }, &|| is_over());
            }
        }
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

    fn has_changed(&mut self, frame: &Frame) -> bool {
        let has_changed = self.adaptive.as_mut().is_none_or(|adaptive| adaptive.has_changed(frame));
        if !has_changed {
            self.status.unchanged();
        }
        has_changed
    }
}

/// A picture on its way through the model.
struct Ticketed {
    source: usize,
    ticket: Sender<Answer>,
    part: PatchLayout,
    /// Microseconds.
    convert: u64,
}

/// Runs the model until the inbox is closed: the feeders make its pictures, the finders answer.
fn infer(
    task: &Task,
    mut inbox: Inbox<Answer>,
    open: impl FnOnce(u32, u32) -> Result<Vec<Arc<dyn Model>>, BackboneError>,
    session: &OnceLock<PatchLayout>,
    board: &Board,
    ahead: usize,
) -> Result<(), EngineError> {
    let Some(first) = inbox.take() else { return Ok(()) };
    let (width, height) = first.1.frame.display_size();
    let models = open(width, height)?;
    let Some(layout) = models.first().map(|model| model.layout()) else { return Ok(()) };
    session.get_or_init(|| layout);
    let entrance = Mutex::new((inbox, Some(first)));
    std::thread::scope(|scope| {
        let (desk, crew) =
            Crew::start(scope, &models, ahead, |looked: Looked<Ticketed>| answer(task, board, &layout, looked))?;
        board.work_on(crew.usage.clone());
        let mut feeders = Vec::new();
        let spawned = (0..crew::feeders()).try_for_each(|_| {
            let (desk, entrance) = (desk.clone(), &entrance);
            feeders.push(spawn(scope, "feed", move || feed(entrance, &desk, layout, board))?);
            Ok(())
        });
        if spawned.is_err() {
            desk.fail();
        }
        let panicked = feeders.into_iter().filter_map(|thread| thread.join().err()).count();
        // All pictures there will be are written.
        desk.close();
        crew.join()?;
        spawned.map_err(EngineError::Thread)?;
        if panicked > 0 { Err(EngineError::Panic) } else { Ok(()) }
    })
}

/// The inbox, and a frame already taken from it. One feeder at a time looks into it.
type Sources = Mutex<(Inbox<Answer>, Option<(usize, Waiting<Answer>)>)>;

/// A feeder: the newest frame of the next source, into the place that the model has for it.
fn feed(sources: &Sources, desk: &Arc<Desk<Ticketed>>, layout: PatchLayout, board: &Board) {
    let mut fitters: Vec<Fitter> = board.sources.iter().map(|_| Fitter::new(layout)).collect();
    while let Some((source, Waiting { frame, ticket }, mut place)) = next(sources, desk) {
        let start = Instant::now();
        match fitters[source].fit(&frame, place.pixels()) {
            Ok(part) => {
                // Given up before the answer, so that the frame's picture can then be drawn on in place.
                drop(frame);
                place.fill(Ticketed { source, ticket, part, convert: microseconds(start) });
            }
            // The frame's own fault: a format that cannot be converted. It keeps the boxes before it.
            Err(_) => board.sources[source].broken(1),
        }
    }
}

/// Waits for a frame and for the model to want one; a live source's is the newest there is then.
fn next(sources: &Sources, desk: &Arc<Desk<Ticketed>>) -> Option<(usize, Waiting<Answer>, Place<Ticketed>)> {
    let mut sources = sources.lock().unwrap_or_else(PoisonError::into_inner);
    let (inbox, first) = &mut *sources;
    let (source, waiting) = first.take().or_else(|| inbox.take())?;
    let place = desk.place()?;
    Some((source, inbox.newest(source, waiting), place))
}

/// A frame whose objects cannot be found keeps the boxes before it.
fn answer(task: &Task, board: &Board, session: &PatchLayout, looked: Looked<Ticketed>) {
    let Looked { item: Ticketed { source, ticket, part, convert }, lease, inference } = looked;
    let start = Instant::now();
    let Ok(objects) = crew::find(&task.localizer, task.groups.as_ref(), &lease, session, &part) else {
        board.sources[source].broken(1);
        return;
    };
    drop(lease);
    let inference = inference.as_micros() as u64;
    let timings = TimingsRecord { convert, inference, localize: microseconds(start) };
    // Nobody waits for it any more where the source has gone on.
    ticket.send(Answer { objects: Arc::new(objects), part, timings }).ok();
}

fn microseconds(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}
