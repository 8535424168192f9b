//! One file's way through the program: threads, bounded channels, shut-down.
//!
//! ```text
//! ingest ─┬─► feeders ─► model ─► finders ─┐
//!         └─► the frames, in order ◄─ answer ─┘─► sinks
//! ```
//!
//! Every frame goes its way in order, with a ticket for the answer of the model: nothing is looked up by time. Shut-down is a closed
//! channel: the end of the source, a stop and an error all drain the same way.

use crate::backbone::{BackboneError, Model};
use crate::discover::groups::{Groups, Named};
use crate::engine::crew::{self, Crew, CrewError, Looked};
use crate::engine::desk::Desk;
use crate::engine::fit::Fitter;
use crate::geometry::PatchLayout;
use crate::localize::{LocalizeError, Localizer};
use crate::overlay::{Overlay, OverlayError};
use crate::publish::jsonl::RecordWriter;
use crate::record::{FrameRecord, GridRecord, ObjectRecord, TimingsRecord, VERSION};
use crate::stream::StreamError;
use crate::stream::canvas::{Canvas, CanvasCount};
use crate::stream::display::Display;
use crate::stream::frame::Frame;
use crate::stream::output::Output;
use crate::stream::source::FrameSource;
use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Frames that wait between two stages: one being worked on and one ready is enough to overlap them.
const CHANNEL_FRAMES: usize = 2;
/// Runs that are filled before the model asks: no picture of a file is too old.
const AHEAD: usize = 1;

/// Why a run ends early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    #[error(transparent)]
    Localize(#[from] LocalizeError),
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    #[error("{name}: {error}")]
    Records { name: String, error: std::io::Error },
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    #[error("the {0} thread stopped unexpectedly; please report this")]
    Panic(&'static str),
}

impl From<CrewError> for RunError {
    fn from(error: CrewError) -> Self {
        match error {
            CrewError::Backbone(error) => Self::Backbone(error),
            CrewError::Thread(error) => Self::Thread(error),
            CrewError::Panic(name) => Self::Panic(name),
        }
    }
}

/// What to do with each frame.
pub struct Task {
    /// Shown in the records.
    pub source: String,
    pub model: String,
    pub localizer: Localizer,
    /// Names objects by what they look like.
    pub groups: Option<Groups>,
    /// Every how many frames the backbone runs; the boxes hold in between.
    pub every: u64,
    /// Subtracted from the time stamps of the annotated video.
    pub start_ns: u64,
    pub with_masks: bool,
    pub with_timings: bool,
}

/// Where the results go.
#[derive(Default)]
pub struct Sinks {
    pub canvas: Option<Canvas>,
    pub overlay: Overlay,
    pub output: Option<Output>,
    pub display: Option<Display>,
    /// With the name that errors show.
    pub records: Option<(RecordWriter, String)>,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub frames: u64,
    pub inferred: u64,
    pub objects: u64,
    pub canvas: CanvasCount,
    /// From decoded to written, of the last frame.
    pub latency: Duration,
    /// Sums over all frames.
    pub timings_us: TimingsRecord,
    /// A source that broke off, told after the last frame.
    pub warning: Option<String>,
}

/// A frame in its turn.
struct Pending {
    frame: Frame,
    decoded: Instant,
    /// None where the backbone is not to run on it.
    answer: Option<Receiver<Result<Answer, RunError>>>,
}

/// What was found in one frame.
struct Answer {
    objects: Arc<Vec<Named>>,
    timings: TimingsRecord,
}

/// Gives the answer to the frame it belongs to. To drop it says that there will be none.
type Ticket = Sender<Result<Answer, RunError>>;

/// A picture on its way through the model.
struct Ticketed {
    ticket: Ticket,
    /// Microseconds.
    convert: u64,
}

/// No more pictures come once the last feeder has ended.
struct LastFeeder(Arc<Desk<Ticketed>>);

impl Drop for LastFeeder {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Runs until the source ends, the window is closed (which sets `stop`) or `stop` is set, then finishes the files. `first` is the frame already taken from `source`.
///
/// `progress` is called after each written frame. On an error no file appears under its final name.
/// What was written is finished when the model fails: it may have run for hours.
pub fn run(
    task: &Task,
    first: Frame,
    source: &mut dyn FrameSource,
    models: &[Arc<dyn Model>],
    mut sinks: Sinks,
    stop: &AtomicBool,
    mut progress: impl FnMut(&Summary),
) -> Result<Summary, RunError> {
    let Some(layout) = models.first().map(|model| model.layout()) else {
        return Err(BackboneError::Size("there is no model to run".into()).into());
    };
    let mut summary = Summary::default();
    let mut end_ns = 0;
    let has_failed = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        let (to_fit, wanted) = bounded(CHANNEL_FRAMES);
        let (to_sink, pending) = bounded::<Pending>(crew::depth(models) + CHANNEL_FRAMES);
        let source = &mut *source;
        let is_over = || stop.load(Ordering::Relaxed) || has_failed.load(Ordering::Relaxed);
        let is_drawn = sinks.canvas.is_some();
        let (desk, crew) =
            Crew::start(scope, models, AHEAD, move |looked: Looked<Ticketed>| answer(task, &layout, looked))?;
        let mut threads = Vec::new();
        // A stage that could not be started drops its channel ends, which ends the others.
        let started = (|| {
            let last = Arc::new(LastFeeder(desk.clone()));
            for _ in 0..crew::feeders() {
                let (wanted, desk, last) = (wanted.clone(), desk.clone(), last.clone());
                threads.push(spawn(scope, "feed", move || {
                    let _last = last;
                    feed(&wanted, &desk, layout)
                })?);
            }
            drop(wanted);
            threads.push(spawn(scope, "ingest", move || {
                ingest_frames(task.every, first, source, is_drawn, is_over, &to_fit, &to_sink)
            })?);
            Ok(())
        })();
        let written = started.and_then(|()| {
            let mut held = Arc::default();
            for Pending { frame, decoded, answer } in pending {
                let mut timings = TimingsRecord::default();
                let is_inferred = answer.is_some();
                if let Some(answer) = answer {
                    // None comes where a stage before has failed, which says why itself.
                    let Ok(answer) = answer.recv() else { break };
                    Answer { objects: held, timings } = answer?;
                }
                let item = Finished { frame, decoded, objects: &held, is_inferred, timings };
                end_ns = item.frame.pts_ns.saturating_add(item.frame.duration_ns);
                write(task, &layout, item, &mut sinks, &mut summary, stop)?;
                progress(&summary);
            }
            Ok(())
        });
        if written.is_err() {
            has_failed.store(true, Ordering::Relaxed);
            desk.fail();
        }
        // The stage nearest to the source has the cause; what failed after it only noticed.
        let staged = threads.into_iter().rev().map(|(name, thread)| join(name, thread)).fold(Ok(()), Result::and);
        staged.and(crew.join().map_err(RunError::from)).and(written)
    });
    if !matches!(outcome, Ok(()) | Err(RunError::Backbone(_))) {
        return outcome.map(|()| summary);
    }
    summary.warning = source.warning().map(str::to_owned);
    summary.canvas = sinks.canvas.map(|canvas| canvas.count).unwrap_or_default();
    if let Some(output) = sinks.output {
        output.finish(end_ns.saturating_sub(task.start_ns))?;
    }
    if let Some((records, name)) = sinks.records {
        records.finish().map_err(|error| RunError::Records { name, error })?;
    }
    outcome.map(|()| summary)
}

type Stage<'scope> = (&'static str, ScopedJoinHandle<'scope, Result<(), RunError>>);

fn spawn<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    name: &'static str,
    work: impl FnOnce() -> Result<(), RunError> + Send + 'scope,
) -> Result<Stage<'scope>, RunError> {
    let thread = Builder::new().name(name.into()).spawn_scoped(scope, work).map_err(RunError::Thread)?;
    Ok((name, thread))
}

fn join(name: &'static str, thread: ScopedJoinHandle<Result<(), RunError>>) -> Result<(), RunError> {
    thread.join().unwrap_or(Err(RunError::Panic(name)))
}

fn microseconds(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}

/// Pulls frames; a failed send means that a later stage has ended, and says why itself.
fn ingest_frames(
    every: u64,
    first: Frame,
    source: &mut dyn FrameSource,
    is_drawn: bool,
    is_over: impl Fn() -> bool,
    to_fit: &Sender<(Frame, Ticket)>,
    to_sink: &Sender<Pending>,
) -> Result<(), RunError> {
    let mut next = Some(first);
    while let Some(frame) = next {
        let (ticket, answer) = match (frame.index % every == 0).then(|| bounded(1)) {
            Some((ticket, answer)) => (Some(ticket), Some(answer)),
            None => (None, None),
        };
        // Pixels that nobody draws on go back to the decoder as soon as the model has its picture.
        let kept = if is_drawn { frame.clone() } else { Frame { buffer: gst::Buffer::new(), ..frame.clone() } };
        let pending = Pending { frame: kept, decoded: Instant::now(), answer };
        let sent = to_sink.send(pending).is_ok() && ticket.is_none_or(|ticket| to_fit.send((frame, ticket)).is_ok());
        if !sent {
            break;
        }
        next = source.next(&is_over)?;
    }
    Ok(())
}

/// Makes the model's pictures, each in its place.
fn feed(wanted: &Receiver<(Frame, Ticket)>, desk: &Arc<Desk<Ticketed>>, layout: PatchLayout) -> Result<(), RunError> {
    let mut fitter = Fitter::new(layout);
    for (frame, ticket) in wanted {
        let Some(mut place) = desk.place() else { break };
        let start = Instant::now();
        let fitted = fitter.stretch(&frame, place.pixels());
        // Given up before the answer, so that the frame's picture can then be drawn on in place.
        drop(frame);
        fitted?;
        place.fill(Ticketed { ticket, convert: microseconds(start) });
    }
    Ok(())
}

/// Finds the objects, and says so.
fn answer(task: &Task, layout: &PatchLayout, looked: Looked<Ticketed>) {
    let Looked { item: Ticketed { ticket, convert }, lease, inference } = looked;
    let start = Instant::now();
    let found = crew::find(&task.localizer, task.groups.as_ref(), &lease, layout, layout);
    drop(lease);
    let inference = inference.as_micros() as u64;
    let timings = TimingsRecord { convert, inference, localize: microseconds(start) };
    // Nobody waits for it where the run has ended.
    ticket.send(found.map(|objects| Answer { objects: Arc::new(objects), timings }).map_err(RunError::from)).ok();
}

/// A frame and what is known of it.
struct Finished<'a> {
    frame: Frame,
    decoded: Instant,
    objects: &'a [Named],
    is_inferred: bool,
    timings: TimingsRecord,
}

fn write(
    task: &Task,
    layout: &PatchLayout,
    item: Finished<'_>,
    sinks: &mut Sinks,
    summary: &mut Summary,
    stop: &AtomicBool,
) -> Result<(), RunError> {
    let Finished { frame, decoded, objects, is_inferred, timings } = item;
    let (width, height) = frame.display_size();
    let object =
        |(object, name): &Named| ObjectRecord::new(object, name.as_deref(), layout, (width, height), task.with_masks);
    let record = FrameRecord {
        version: VERSION,
        source: task.source.clone(),
        frame: frame.index,
        pts_ns: frame.pts_ns,
        width,
        height,
        grid: GridRecord::new(layout, width, height),
        method: task.localizer.method,
        model: task.model.clone(),
        inferred: is_inferred,
        objects: objects.iter().map(object).collect(),
        timings_us: task.with_timings.then_some(timings),
        live: None,
    };
    if let Some(canvas) = &mut sinks.canvas {
        let (pts_ns, duration_ns) = (frame.pts_ns.saturating_sub(task.start_ns), frame.duration_ns);
        let mut buffer = canvas.make_drawable(frame)?;
        sinks.overlay.draw(buffer.make_mut(), canvas.info(), (width, height), &record.objects)?;
        if let Some(display) = &sinks.display
            && !display.push(buffer.clone(), pts_ns)?
        {
            stop.store(true, Ordering::Relaxed);
            sinks.display = None;
        }
        if let Some(output) = &mut sinks.output {
            output.push(buffer, pts_ns, duration_ns)?;
        }
    }
    if let Some((records, name)) = &mut sinks.records {
        records.write(&record).map_err(|error| RunError::Records { name: name.clone(), error })?;
    }
    summary.frames += 1;
    summary.latency = decoded.elapsed();
    summary.inferred += u64::from(is_inferred);
    summary.objects += record.objects.len() as u64;
    summary.timings_us.convert += timings.convert;
    summary.timings_us.inference += timings.inference;
    summary.timings_us.localize += timings.localize;
    Ok(())
}
