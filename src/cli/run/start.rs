//! A run from the command line: what is said meanwhile, on which signals it ends or reads its file again, and its exit code.

use super::supervisor::Supervisor;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::interrupt::{Signals, signals};
use crate::cli::log;
use crate::cli::measure;
use crate::cli::progress::{Progress, counted};
use crate::cli::trace;
use mostream::engine::Fault;
use mostream::engine::status::{Board, Snapshot, SourceStatus, Tally};
use mostream::fault::{Kind, OfKind};
use mostream::record::SourceState;
use mostream::run::{Observe, Options, Run, RunSpec};
use mostream::stream;
use mostream::stream::camera;
use mostream::stream::canvas::CanvasCount;
use mostream::zoo::Store;
use std::ops::Add;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tracing::{debug, info};

/// How often the log tells how every live source is doing.
const REPORT_EVERY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// `config` is the file that the spec is from.
pub fn run(spec: RunSpec, config: Option<PathBuf>) -> Outcome {
    log::Volume { quiet: spec.shared.quiet, verbose: spec.shared.verbose }.set();
    log::write_json(spec.shared.log_json);
    // Files show how far they are, everything else is told.
    let is_told = spec.shared.log_json || spec.sources.iter().any(|source| camera::is_live(&source.input));
    if is_told {
        stream::log_complaints();
    }
    if spec.shared.model.is_none() && log::has_terminal() {
        let advice = Store::of_user().ok().and_then(|store| store.advice_once());
        advice.iter().for_each(|advice| log::whisper(advice));
    }
    let Signals { stop, reload } = signals(config.is_some(), "finishing")?;
    let traced = spec.shared.trace.clone();
    let options = Options {
        observe: Observe::Nothing,
        stop: stop.clone(),
        config: config.clone(),
        measure: Some(measure::try_all),
    };
    let is_strict = spec.shared.strict;
    let run = Run::start(spec, options)?;
    // It is known to be no file that is read or written otherwise.
    if let Some(path) = traced
        && let Err(error) = trace::begin(&path)
    {
        stop.store(true, Ordering::Relaxed);
        run.join()?;
        return Err(Failure::new(Kind::Output, format!("--trace {}: {error}", path.display())));
    }
    if let Some(link) = run.page_link() {
        log::whisper(&format!("to change sources on the page, open {link}"));
    }
    let board = run.board().clone();
    if is_told {
        info!("run {}", board.run);
    }
    let (mut progress, mut last, mut supervisor) = (None, Instant::now(), Supervisor::begin());
    // A run whose sources were all removed over HTTP waits for others.
    let is_over = || run.is_idle() && (!board.sources().is_empty() || stop.load(Ordering::Relaxed));
    while !is_over() {
        std::thread::sleep(LOOK);
        if let Some(file) = config.as_ref().filter(|_| reload.swap(false, Ordering::Relaxed)) {
            // What is wrong with it is told.
            supervisor.reloading(|| run.reload_file(file).ok());
        }
        supervisor.look(&run, stop.load(Ordering::Relaxed));
        if !is_told {
            follow(&board, &mut progress);
        } else if last.elapsed() >= REPORT_EVERY {
            last = Instant::now();
            let alive = run.snapshot().into_iter().filter(|now| now.state != SourceState::Ended);
            alive.for_each(|now| tell_status(&now));
        }
    }
    supervisor.look(&run, true);
    progress.iter().for_each(Progress::finish);
    let written = run.written();
    let outcome = run.join()?;
    sum_up(&board, &written, is_told);
    trace::finish().map_err(|error| Failure::new(Kind::Output, format!("--trace: {error}")))?;
    let has_frames = board.sources().iter().any(|source| source.snapshot().frames > 0);
    // Those who have seen enough (`… | head`) are no fault.
    let fault = outcome.faults().find(|fault| !matches!(fault, Fault::Sink(error) if error.is_end()));
    Ok(match fault {
        Some(fault) => fault.kind().into(),
        None if stop.load(Ordering::Relaxed) => Exit::Interrupted,
        None if !has_frames => Exit::Input,
        None if is_strict && board.sources().iter().any(|source| source.is_short()) => Exit::Short,
        None => Exit::Done,
    })
}

/// Tells what was found at a source that has ended.
fn tell_end(source: &SourceStatus) {
    let now = source.snapshot();
    let status = serde_json::to_string(&now).unwrap_or_default();
    info!(status, "{}: {}", now.name, found(source.found(), 1));
}

/// Tells how a source is doing.
fn tell_status(now: &Snapshot) {
    let latency = now.latency_ms.map_or(String::new(), |ms| format!(", latency {:.0} ms (p95 {:.0})", ms.p50, ms.p95));
    let decoded = now.decoder.as_ref().map_or(String::new(), |decoder| format!(", decoded by {decoder}"));
    let spared = match now.unchanged {
        0 => String::new(),
        // The share of the frames that the model was not asked about.
        spared => format!(", {spared} unchanged ({:.0} %)", 100.0 * spared as f64 / now.frames as f64),
    };
    let late = if now.late > 0 { format!(", {} left out", now.late) } else { String::new() };
    info!(
        status = serde_json::to_string(now).unwrap_or_default(),
        "{}: {}, {} frames, {:.1} per second, {:.1} of them inferred, {} passed over{late}{spared}, {} boxes now{latency}{decoded}",
        now.name,
        now.state.name(),
        now.frames,
        now.fps,
        now.inferred_fps,
        now.passed_over,
        now.objects_now
    );
}

/// Shows how far the files are.
fn follow(board: &Board, progress: &mut Option<Progress>) {
    let (frames, boxes) = written(board);
    if frames > 0 {
        let total = || match &board.sources()[..] {
            [only] => only.progress().1,
            _ => None,
        };
        progress.get_or_insert_with(|| Progress::new(total())).update(frames, boxes);
    }
}

/// Frames with a record, and the boxes in them, of all sources.
fn written(board: &Board) -> (u64, u64) {
    let sources = board.sources();
    let each = sources.iter().map(|source| source.progress());
    each.fold((0, 0), |sum, (frames, _, boxes)| (sum.0 + frames, sum.1 + boxes))
}

/// What was found in the frames of so many sources: how many objects, in how many frames.
fn found(tally: Tally, sources: usize) -> String {
    let Tally { frames, with_boxes, boxes, things, events } = tally;
    let of = if sources > 1 { format!(" of {sources} sources") } else { String::new() };
    if boxes == 0 {
        return format!("no object in {}{of}", counted(frames, "frame"));
    }
    let mean = boxes as f64 / with_boxes as f64;
    let many = if boxes == with_boxes { "one each".to_owned() } else { format!("{mean:.1} each on average") };
    let and = |count: u64, what: &str| if count > 0 { format!(", {}", counted(count, what)) } else { String::new() };
    format!(
        "objects in {with_boxes} of {}{of}, {many}{}{}",
        counted(frames, "frame"),
        and(things, "thing"),
        and(events, "other event")
    )
}

/// Tells what was found, at each source or in all, and where it is.
fn sum_up(board: &Board, files: &[PathBuf], is_each: bool) {
    let sources = board.sources();
    let tally = sources.iter().map(|source| source.found()).fold(Tally::default(), Add::add);
    debug!("{:.1} frames per second", tally.frames as f64 / board.started.elapsed().as_secs_f64());
    for source in &sources {
        let Snapshot { name, decoder, inferred, frames, .. } = source.snapshot();
        let by = decoder.map_or_else(String::new, |decoder| format!(", decoded by {decoder}"));
        debug!("{name}: the model ran on {inferred} of {}{by}", counted(frames, "frame"));
    }
    for usage in board.devices() {
        debug!("the model ran on {}, batches of up to {}", usage.device, usage.batch);
    }
    for (what, count) in [
        ("masked", sources.iter().map(|source| source.masks()).sum::<CanvasCount>()),
        ("drawn", sources.iter().map(|source| source.canvas()).sum()),
    ] {
        if count != CanvasCount::default() {
            let CanvasCount { in_place, copied, converted } = count;
            debug!("{what} in place on {in_place} frames, on a copy of {copied}, after conversion of {converted}");
        }
    }
    if is_each {
        sources.iter().for_each(|source| tell_end(source));
    } else if tally.frames > 0 {
        info!("{}", found(tally, sources.len()));
    }
    files.iter().filter(|path| path.exists()).for_each(|path| info!("{}", path.display()));
}
