//! Between the inbox and the model: the feeders make its pictures, in turn from every lane, and finders answer the tickets.

use super::TRACE;
use super::crew::{self, Crew, EndOfThread, Looked, spawn};
use super::desk::{Desk, Place};
use super::inbox::{Crop, Waiting, Wants};
use super::lanes::{Answer, Reply, SPARE_PICTURES, Shared, microseconds};
use super::sessions::{Look, Purpose, Shape};
use super::status::SourceStatus;
use super::task::{EngineError, Task};
use crate::fault::OfKind;
use crate::localize::PatchOutput;
use crate::record::TimingsRecord;
use crate::stream::frame::{Frame, FrameFit};
use crossbeam_channel::Sender;
use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tracing::{error, trace_span};

/// A picture on its way through the model.
struct Ticketed {
    source: Arc<SourceStatus>,
    ticket: Sender<Reply>,
    wants: Wants,
    /// Microseconds.
    convert: u64,
}

/// Runs the model until the inbox is closed: the feeders make its pictures, the finders answer. Opens sessions meanwhile, so that
/// nobody waits for a shape that is not theirs.
pub(super) fn infer(shared: &Shared) -> Result<(), EngineError> {
    let turn = Mutex::new(());
    std::thread::scope(|scope| {
        // None where no frame came.
        let Some(first) = shared.inbox.first() else { return Ok(()) };
        let shape = shared.sessions.open(&first)?;
        shared.depth.store(crew::depth(&shape) + SPARE_PICTURES, Ordering::Relaxed);
        let (desk, crew) =
            Crew::start(scope, &shape, &shared.ahead, |looked: Looked<Ticketed>| answer(shared.task, looked))?;
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
                error!(
                    fault = error.kind().name(),
                    "pictures of {width}x{height} for the model have no boxes: {error}"
                );
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
        let span = trace_span!(target: TRACE, "fit", source = source.name, frame = frame.index).entered();
        let start = Instant::now();
        let size = (purpose.layout.image_width, purpose.layout.image_height);
        if fit.rgb(&frame, size, place.pixels()).is_err() {
            // The frame's own fault: a format that cannot be converted. It keeps the boxes before it.
            source.broken(1);
            ticket.send(None).ok();
            continue;
        }
        // The frame is given up before its last answer, so that its picture can then be drawn on in place.
        let crop = crop.map(|crop| (crop, frame));
        place.fill(Ticketed { source: source.clone(), ticket, wants, convert: microseconds(start) });
        drop(span);
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
    source: Arc<SourceStatus>,
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
    source: Arc<SourceStatus>,
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
    let waiting = shared.inbox.newest(&source, waiting);
    Some(Placed { source, waiting, place, of_crop })
}

/// A frame whose objects cannot be found keeps the boxes before it.
fn answer(task: &Task, looked: Looked<Ticketed>) {
    let _span = trace_span!(target: TRACE, "find", source = looked.item.source.name).entered();
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
    source.broken(u64::from(reply.is_none()));
    // Nobody waits for it any more where the source has gone on.
    ticket.send(reply).ok();
}
