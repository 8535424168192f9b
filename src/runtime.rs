//! The frame's way through the program: threads, bounded channels, shut-down.
//!
//! `ingest → infer → localize → sink`, one thread each, so that the next frame's inference overlaps this frame's
//! localization and encoding. Every frame goes the whole way in order, its boxes beside it: nothing is looked up by time.
//! Shut-down is a closed channel: the end of the source, a stop and an error all drain the same way.

use crate::backbone::{Backbone, BackboneError};
use crate::discover::groups::{Groups, Named, named};
use crate::geometry::PatchLayout;
use crate::localize::{Features, LocalizeError, Localizer, Method, PatchOutput};
use crate::overlay::{Overlay, OverlayError};
use crate::publish::jsonl::RecordWriter;
use crate::record::{FrameRecord, GridRecord, ObjectRecord, TimingsRecord, VERSION};
use crate::stream::StreamError;
use crate::stream::canvas::{Canvas, CanvasCount};
use crate::stream::display::Display;
use crate::stream::frame::{Converter, Frame};
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

/// A frame and, where the backbone is to run on it, its model-sized RGB image.
struct Ingested {
    frame: Frame,
    decoded: Instant,
    image: Option<gst::Buffer>,
    timings: TimingsRecord,
}

struct Inferred {
    frame: Frame,
    decoded: Instant,
    patches: Option<PatchOutput>,
    timings: TimingsRecord,
}

struct Localized {
    frame: Frame,
    decoded: Instant,
    objects: Arc<Vec<Named>>,
    is_inferred: bool,
    timings: TimingsRecord,
}

/// Runs until the source ends, the window is closed (which sets `stop`) or `stop` is set, then finishes the files. `first` is the frame already taken from `source`.
///
/// `progress` is called after each written frame. On an error no file appears under its final name.
pub fn run(
    task: &Task,
    first: Frame,
    source: &mut dyn FrameSource,
    backbone: &mut Backbone,
    mut sinks: Sinks,
    stop: &AtomicBool,
    mut progress: impl FnMut(&Summary),
) -> Result<Summary, RunError> {
    let layout = backbone.layout();
    let mut summary = Summary::default();
    let mut end_ns = 0;
    let has_failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (to_infer, ingested) = bounded(CHANNEL_FRAMES.max(backbone.batch()));
        let (to_localize, inferred) = bounded(CHANNEL_FRAMES);
        let (to_sink, localized) = bounded(CHANNEL_FRAMES);
        let source = &mut *source;
        let is_over = || stop.load(Ordering::Relaxed) || has_failed.load(Ordering::Relaxed);
        let mut threads = Vec::new();
        // A stage that could not be started drops its channel ends, which ends the others.
        let started = (|| {
            threads.push(spawn(scope, "ingest", move || {
                ingest_frames(task.every, first, source, layout, is_over, to_infer)
            })?);
            let method = task.localizer.method;
            threads.push(spawn(scope, "infer", move || infer(method, backbone, ingested, to_localize))?);
            threads.push(spawn(scope, "localize", move || localize(task, layout, inferred, to_sink))?);
            Ok(())
        })();
        let written = started.and_then(|()| {
            for item in localized {
                end_ns = item.frame.pts_ns.saturating_add(item.frame.duration_ns);
                write(task, &layout, item, &mut sinks, &mut summary, stop)?;
                progress(&summary);
            }
            Ok(())
        });
        has_failed.store(written.is_err(), Ordering::Relaxed);
        // The stage nearest to the source has the cause; what failed after it only noticed.
        let staged = threads.into_iter().map(|(name, thread)| join(name, thread)).fold(Ok(()), Result::and);
        staged.and(written)
    })?;
    summary.warning = source.warning().map(str::to_owned);
    summary.canvas = sinks.canvas.map(|canvas| canvas.count).unwrap_or_default();
    if let Some(output) = sinks.output {
        output.finish(end_ns.saturating_sub(task.start_ns))?;
    }
    if let Some((records, name)) = sinks.records {
        records.finish().map_err(|error| RunError::Records { name, error })?;
    }
    Ok(summary)
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

/// Pulls frames and makes the small images; a failed send means that a later stage has ended, and says why itself.
fn ingest_frames(
    every: u64,
    first: Frame,
    source: &mut dyn FrameSource,
    layout: PatchLayout,
    is_over: impl Fn() -> bool,
    to_infer: Sender<Ingested>,
) -> Result<(), RunError> {
    let mut converter = Converter::to_model_rgb(layout.image_width, layout.image_height);
    let mut next = Some(first);
    while let Some(frame) = next {
        let decoded = Instant::now();
        let image = if frame.index % every == 0 { Some(converter.convert(&frame)?.0) } else { None };
        let timings = TimingsRecord { convert: microseconds(decoded), ..Default::default() };
        if to_infer.send(Ingested { frame, decoded, image, timings }).is_err() {
            break;
        }
        next = source.next(&is_over)?;
    }
    Ok(())
}

fn infer(
    method: Method,
    backbone: &mut Backbone,
    ingested: Receiver<Ingested>,
    to_localize: Sender<Inferred>,
) -> Result<(), RunError> {
    let grid = backbone.layout().grid;
    while let Ok(first) = ingested.recv() {
        let mut items = vec![first];
        items.extend(ingested.try_iter().take(backbone.batch() - 1));
        let start = Instant::now();
        let unreadable = |_| StreamError::Input { input: "a model image".into(), why: "cannot be mapped".into() };
        let images = items.iter().filter_map(|item| item.image.as_ref()).map(|image| image.map_readable());
        let images = images.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        let pixels: Vec<&[u8]> = images.iter().map(|image| image.as_slice()).collect();
        let mut values = backbone.features_batch(&pixels)?.into_iter();
        drop(images);
        let inference = microseconds(start);
        for Ingested { frame, decoded, image, mut timings } in items {
            let patches = match image.and_then(|_| values.next()) {
                None => None,
                Some(values) => {
                    timings.inference = inference;
                    Some(match method {
                        Method::DinoSeg => PatchOutput::Attention(values),
                        _ => PatchOutput::Features(Features::new(grid, values)?),
                    })
                }
            };
            if to_localize.send(Inferred { frame, decoded, patches, timings }).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn localize(
    task: &Task,
    layout: PatchLayout,
    inferred: Receiver<Inferred>,
    to_sink: Sender<Localized>,
) -> Result<(), RunError> {
    let mut objects = Arc::new(Vec::new());
    for Inferred { frame, decoded, patches, mut timings } in inferred {
        let is_inferred = patches.is_some();
        if let Some(patches) = patches {
            let start = Instant::now();
            let found = task.localizer.localize(&patches, &layout)?;
            objects = Arc::new(named(task.groups.as_ref(), &patches, found));
            timings.localize = microseconds(start);
        }
        if to_sink.send(Localized { frame, decoded, objects: objects.clone(), is_inferred, timings }).is_err() {
            break;
        }
    }
    Ok(())
}

fn write(
    task: &Task,
    layout: &PatchLayout,
    item: Localized,
    sinks: &mut Sinks,
    summary: &mut Summary,
    stop: &AtomicBool,
) -> Result<(), RunError> {
    let Localized { frame, decoded, objects, is_inferred, timings } = item;
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
