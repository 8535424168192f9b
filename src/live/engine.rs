//! The threads: two for each source, one for each sink, and one each for the model and the localizer.

use super::adaptive::Adaptive;
use super::deliver::{self, Answer, Order};
use super::feed::{Event, Feed};
use super::fit::{Fitter, patch_output};
use super::inbox::{self, Entrance, Inbox, Waiting};
use super::outbox::{Room, Share};
use super::sink::{Sink, Wish};
use super::status::{Board, SourceStatus};
use crate::backbone::{Backbone, BackboneError};
use crate::discover::groups::{Groups, named};
use crate::geometry::PatchLayout;
use crate::localize::{Localizer, Method, PatchOutput};
use crate::record::TimingsRecord;
use crate::stream::frame::Frame;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use gstreamer as gst;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, Scope};
use std::time::Instant;

/// Answers of the model that wait for the localizer.
const INFERRED: usize = 2;
/// Frames of one source that wait for their answers: with many sources a turn takes a while.
const LIVE_ORDERS: usize = 64;
/// Of a source that waits itself: those in the inbox, in the model and in the localizer, and one.
const PATIENT_ORDERS: usize = 8;

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
    Backbone(#[from] BackboneError),
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    #[error("a thread stopped unexpectedly; please report this")]
    Panic,
}

/// Runs until every source has ended or `stop` is set, then finishes the sinks. `inputs` are in the order of the board's sources.
///
/// `open` makes the session when the first frame is there, for an image of its displayed width and height. `tell` takes lines for
/// the log; it gives the number of sinks that failed.
pub fn run(
    task: &Task,
    inputs: Vec<Input>,
    open: impl FnOnce(u32, u32) -> Result<Backbone, BackboneError> + Send,
    board: &Board,
    stop: &AtomicBool,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<usize, EngineError> {
    let is_ending = AtomicBool::new(false);
    let is_over = || stop.load(Ordering::Relaxed) || is_ending.load(Ordering::Relaxed);
    let is_over: &(dyn Fn() -> bool + Sync) = &is_over;
    let session = OnceLock::new();
    let lanes = board.sources.iter().zip(&inputs).map(|(status, input)| (status.clone(), input.feed.is_live()));
    let (entrances, inbox) = inbox::new(lanes);
    std::thread::scope(|scope| {
        let (to_localize, inferred) = bounded(INFERRED);
        let (mut deliveries, mut others) = (Vec::new(), Vec::new());
        let started = (|| {
            let (is_ending, session) = (&is_ending, &session);
            let model = spawn(scope, "infer", move || {
                let _end = EndOfRun(is_ending);
                infer(task.localizer.method, inbox, open, session, board, to_localize)
            })?;
            others.push(spawn(scope, "localize", move || {
                let _end = EndOfRun(is_ending);
                localize(task, board, inferred);
            })?);
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

pub(super) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> std::io::Result<std::thread::ScopedJoinHandle<'scope, T>> {
    Builder::new().name(name.into()).spawn_scoped(scope, work)
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

/// What the model gave for one frame.
struct Inferred {
    source: usize,
    ticket: Sender<Answer>,
    patches: PatchOutput,
    part: PatchLayout,
    timings: TimingsRecord,
}

fn infer(
    method: Method,
    mut inbox: Inbox<Answer>,
    open: impl FnOnce(u32, u32) -> Result<Backbone, BackboneError>,
    session: &OnceLock<PatchLayout>,
    board: &Board,
    to_localize: Sender<Inferred>,
) -> Result<(), BackboneError> {
    let Some((mut source, mut item)) = inbox.take() else { return Ok(()) };
    let (width, height) = item.frame.display_size();
    let mut backbone = open(width, height)?;
    let layout = *session.get_or_init(|| backbone.layout());
    let mut fitters: Vec<Fitter> = board.sources.iter().map(|_| Fitter::new(layout)).collect();
    loop {
        let mut items = vec![(source, item)];
        while items.len() < backbone.batch()
            && let Some(next) = inbox.take_waiting()
        {
            items.push(next);
        }
        let mut images = Vec::with_capacity(items.len());
        for (source, Waiting { frame, ticket }) in items {
            match fit(&mut fitters[source], frame) {
                Some(fitted) => images.push((source, ticket, fitted)),
                // The frame's own fault: a format that cannot be converted. It keeps the boxes before it.
                None => board.sources[source].broken(1),
            }
        }
        let start = Instant::now();
        let pixels: Vec<&[u8]> = images.iter().map(|(.., fitted)| fitted.image.as_slice()).collect();
        let values = backbone.features_batch(&pixels)?;
        let inference = microseconds(start);
        for ((source, ticket, Fitted { part, convert, .. }), values) in images.into_iter().zip(values) {
            let timings = TimingsRecord { convert, inference, localize: 0 };
            match patch_output(values, method == Method::DinoSeg, &layout, &part) {
                Ok(patches) => {
                    if to_localize.send(Inferred { source, ticket, patches, part, timings }).is_err() {
                        return Ok(());
                    }
                }
                Err(_) => board.sources[source].broken(1),
            }
        }
        match inbox.take() {
            Some(next) => (source, item) = next,
            None => return Ok(()),
        }
    }
}

/// A frame in the session's image.
struct Fitted {
    image: gst::MappedBuffer<gst::buffer::Readable>,
    part: PatchLayout,
    /// Microseconds.
    convert: u64,
}

/// The frame itself is given up, so that its picture can then be drawn on in place.
fn fit(fitter: &mut Fitter, frame: Frame) -> Option<Fitted> {
    let start = Instant::now();
    let (image, part) = fitter.fit(&frame).ok()?;
    let image = image.into_mapped_buffer_readable().ok()?;
    Some(Fitted { image, part, convert: microseconds(start) })
}

/// A frame whose objects cannot be found keeps the boxes before it.
fn localize(task: &Task, board: &Board, inferred: Receiver<Inferred>) {
    for Inferred { source, ticket, patches, part, mut timings } in inferred {
        let start = Instant::now();
        let Ok(found) = task.localizer.localize(&patches, &part) else {
            board.sources[source].broken(1);
            continue;
        };
        let objects = Arc::new(named(task.groups.as_ref(), &patches, found));
        timings.localize = microseconds(start);
        // Nobody waits for it any more where the source has gone on.
        ticket.send(Answer { objects, part, timings }).ok();
    }
}

fn microseconds(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}
