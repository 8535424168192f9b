//! A run from the command line: what is said meanwhile, on which signals it ends or reads its file again, and its exit code.

use super::log::Log;
use super::supervisor::Supervisor;
use crate::cli::exit::{Exit, exit_of};
use crate::cli::interrupt::{Signals, signals};
use crate::cli::progress::Progress;
use crate::cli::tell::tell;
use mostream::engine::Fault;
use mostream::engine::status::Board;
use mostream::record::SourceState;
use mostream::run::{Observe, Options, Run, RunSpec, Word};
use mostream::stream;
use mostream::stream::camera;
use mostream::stream::canvas::CanvasCount;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the log tells how every live source is doing.
const REPORT_EVERY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// `config` is the file that the spec is from.
pub fn run(spec: RunSpec, config: Option<PathBuf>) -> anyhow::Result<Exit> {
    let log = Log { is_json: spec.shared.log_json, is_quiet: spec.shared.quiet };
    match run_saying(log, spec, config.as_deref()) {
        // Whoever reads the log as JSON is told why it ends in JSON, too.
        Err(error) if log.is_json => {
            log.write("error", &format!("{error:#}"));
            Ok(exit_of(&error))
        }
        outcome => outcome,
    }
}

fn run_saying(log: Log, spec: RunSpec, config: Option<&Path>) -> anyhow::Result<Exit> {
    // Files show how far they are, everything else is told.
    let is_told = log.is_json || spec.sources.iter().any(|source| camera::is_live(&source.input));
    if is_told {
        stream::on_complaint(move |line| log.warn(line));
    }
    let say = move |line: &str| match log.is_json {
        true => log.warn(line),
        false => tell!("\nmostream: {line}"),
    };
    let Signals { stop, reload } = signals(config.is_some(), say)?;
    let tell = move |word: Word, line: &str| match word {
        Word::Info => log.say(line),
        Word::Notice => log.warn(line),
        Word::Private => log.whisper(line),
    };
    let config_file = config.map(Path::to_owned);
    let options = Options { observe: Observe::Nothing, stop: stop.clone(), tell: Arc::new(tell), config: config_file };
    let run = Run::start(spec, options)?;
    let board = run.board().clone();
    if is_told {
        log.say(&format!("run {}", board.run));
    }
    let (mut progress, mut last, mut supervisor) = (None, Instant::now(), Supervisor::begin());
    // A run whose sources were all removed over HTTP waits for others.
    let is_over = || run.is_idle() && (!board.sources().is_empty() || stop.load(Ordering::Relaxed));
    while !is_over() {
        std::thread::sleep(LOOK);
        if let Some(file) = config.filter(|_| reload.swap(false, Ordering::Relaxed)) {
            // What is wrong with it is told.
            supervisor.reloading(|| run.reload_file(file).ok());
        }
        supervisor.look(&run, stop.load(Ordering::Relaxed));
        if !is_told {
            follow(&board, &log, &mut progress);
        } else if last.elapsed() >= REPORT_EVERY {
            last = Instant::now();
            let alive = run.snapshot().into_iter().filter(|now| now.state != SourceState::Ended);
            alive.for_each(|now| log.status(&now));
        }
    }
    progress.iter().for_each(Progress::finish);
    let written = run.written();
    let outcome = run.join()?;
    match is_told {
        true => board.sources().iter().for_each(|source| log.status(&source.snapshot())),
        false => sum_up(&board, &written, log),
    }
    let has_frames = board.sources().iter().any(|source| source.snapshot().frames > 0);
    // Those who have seen enough (`… | head`) are no fault.
    let fault = outcome.faults().find(|fault| !matches!(fault, Fault::Sink(error) if error.is_end()));
    Ok(match fault {
        Some(fault) => Exit::from(fault),
        None if stop.load(Ordering::Relaxed) => Exit::Interrupted,
        None if !has_frames => Exit::Input,
        None => Exit::Done,
    })
}

/// Shows how far the files are.
fn follow(board: &Board, log: &Log, progress: &mut Option<Progress>) {
    let (frames, boxes) = written(board);
    if frames > 0 {
        let total = || match &board.sources()[..] {
            [only] => only.progress().1,
            _ => None,
        };
        progress.get_or_insert_with(|| Progress::new(total(), log.is_quiet)).update(frames, boxes);
    }
}

/// Frames with a record, and the boxes in them, of all sources.
fn written(board: &Board) -> (u64, u64) {
    let sources = board.sources();
    let each = sources.iter().map(|source| source.progress());
    each.fold((0, 0), |sum, (frames, _, boxes)| (sum.0 + frames, sum.1 + boxes))
}

/// What files have become.
fn sum_up(board: &Board, files: &[PathBuf], log: Log) {
    let (frames, boxes) = written(board);
    if frames == 0 {
        return;
    }
    let rate = frames as f64 / board.started.elapsed().as_secs_f64();
    let sources = board.sources();
    let count = sources.len();
    let of = if count > 1 { format!(" of {count} sources") } else { String::new() };
    let decoder = sources.first().filter(|_| count == 1).and_then(|source| source.snapshot().decoder);
    let by = decoder.map_or_else(String::new, |decoder| format!(", decoded by {decoder}"));
    log.say(&format!("{frames} frames{of}, {boxes} boxes, {rate:.1} frames per second{by}"));
    let drawn = sources.iter().map(|source| source.canvas()).fold(CanvasCount::default(), |sum, one| CanvasCount {
        in_place: sum.in_place + one.in_place,
        copied: sum.copied + one.copied,
        converted: sum.converted + one.converted,
    });
    if drawn != CanvasCount::default() {
        let CanvasCount { in_place, copied, converted } = drawn;
        log.say(&format!(
            "drawn in place on {in_place} frames, on a copy of {copied}, after conversion of {converted}"
        ));
    }
    files.iter().filter(|path| path.exists()).for_each(|path| log.say(&path.display().to_string()));
}
