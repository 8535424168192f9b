//! A run, put together from its flags: sources, sinks, the model, and what is said meanwhile.

use super::log::Log;
use super::outputs::{self, Own};
use super::scene;
use super::sources::{self, Planned, What};
use super::{Shared, SourceArgs};
use crate::cli::config::OneSource;
use crate::cli::exit::{Exit, Failure, exit_of, to_stdout};
use crate::cli::interrupt::{stop_flag, stop_flag_saying};
use crate::cli::model::RunModels;
use crate::cli::progress::Progress;
use mostream::backbone::Checkpoint;
use mostream::engine::adaptive::Adaptive;
use mostream::engine::sink::Sink;
use mostream::engine::status::{Board, SourceStatus};
use mostream::engine::{self, Fault, Input, Task};
use mostream::publish::file::FileSink;
use mostream::publish::mp4::Mp4Sink;
use mostream::publish::push::{PushSink, Target};
use mostream::publish::records::Records;
use mostream::publish::rtsp::RtspServer;
use mostream::publish::window::WindowSink;
use mostream::record::SourceState;
use mostream::stream;
use mostream::stream::canvas::CanvasCount;
use mostream::stream::decoder::ModelSize;
use mostream::stream::feed::Feed;
use mostream::stream::ingest::Span;
use mostream::stream::redact;
use mostream::web;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the log tells how every live source is doing.
const REPORT_EVERY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);
const WEB: ([u8; 4], u16) = ([127, 0, 0, 1], 8600);

pub fn run(shared: Shared, given: Vec<OneSource>, span: Span) -> anyhow::Result<Exit> {
    let log = Log { is_json: shared.log_json, is_quiet: shared.quiet };
    match run_saying(log, shared, given, span) {
        // Whoever reads the log as JSON is told why it ends in JSON, too.
        Err(error) if log.is_json => {
            log.write("error", &format!("{error:#}"));
            Ok(exit_of(&error))
        }
        outcome => outcome,
    }
}

fn run_saying(log: Log, shared: Shared, given: Vec<OneSource>, span: Span) -> anyhow::Result<Exit> {
    check_web(&shared)?;
    let web_token = shared.web_token.as_deref().map(token).transpose()?;
    let sources = sources::plan(given)?;
    let is_live = sources.iter().any(Planned::is_live);
    let also_read = [shared.web_token.as_deref(), shared.groups.file(), shared.model.checkpoint.file()];
    let credentials = sources.iter().map(|source| source.args.credentials.as_deref());
    let also_read: Vec<&Path> = also_read.into_iter().chain(credentials).flatten().collect();
    let outputs = outputs::plan(&sources, &shared, &also_read)?;
    if !shared.force {
        outputs::spare(&sources, &outputs)?;
    }
    let feature = shared.feature()?;
    let checkpoint = shared.model.checkpoint()?;
    let warn = |line: &str| log.warn(line);
    let groups = shared.groups.load(shared.localizer.method(), shared.model.feature, checkpoint.id(), warn)?;
    if is_live || log.is_json {
        stream::on_complaint(move |line| log.warn(line));
    }
    let stop = if log.is_json { stop_flag_saying(move |line| log.warn(line)) } else { stop_flag() }?;
    let board = Arc::new(Board::default());
    let statuses = Vec::from_iter(sources.iter().map(|source| board.enter(source.name.clone())));
    if is_live || log.is_json {
        log.say(&format!("run {}", board.run));
    }

    let mut feeds: Vec<Box<dyn Feed>> = Vec::new();
    let mut sinks: Vec<Vec<Box<dyn Sink>>> = Vec::new();
    for (source, own) in sources.iter().zip(&outputs) {
        let model_size = sizing(&shared, source, own, &checkpoint);
        let (feed, its) = open(source, own, &shared, span, model_size, &stop, log)?;
        feeds.push(feed);
        sinks.push(its);
    }
    if let Some(path) = &shared.records {
        let records = if is_live { Records::append(path).map_err(output)? } else { Records::replace(path) };
        sinks.iter_mut().for_each(|sinks| sinks.push(records.sink()));
    }
    if let Some(address) = shared.rtsp_out {
        let server = RtspServer::bind(address).map_err(output)?;
        for (source, sinks) in sources.iter().zip(&mut sinks) {
            let sink = server.sink(&source.stem.to_string_lossy());
            log.say(&format!("{}: {}", source.name, sink.url()));
            sinks.push(Box::new(sink));
        }
    }
    let has_none = sources.iter().zip(&sinks).any(|(source, sinks)| source.is_live() && sinks.is_empty());
    let _web = match shared.web.or(has_none.then(|| WEB.into())) {
        Some(address) => {
            let server =
                web::Server::start(address, board.clone(), web_token, web::Options::default()).map_err(output)?;
            sinks.iter_mut().zip(&statuses).for_each(|(sinks, status)| sinks.push(server.sink(status)));
            log.say(&format!("the live page is at http://{}/", server.addr()));
            Some(server)
        }
        None => None,
    };

    let by = format!("{}, middle keys, {}", checkpoint.id(), shared.model.device.precision);
    let opened = feeds.into_iter().zip(sinks).zip(&statuses);
    let inputs = opened.zip(sources.iter().zip(&outputs)).map(|(((feed, sinks), status), (source, own))| Input {
        sinks,
        every: source.args.every,
        adaptive: source.args.adaptive.then(Adaptive::default),
        scene: own.scene.as_deref().map(|file| scene::kept(file, &by, log)),
        ..Input::new(status.clone(), feed)
    });
    let cue = shared.cue();
    let task = Task {
        model: checkpoint.id().to_owned(),
        cue,
        localizer: shared.localizer.localizer(),
        groups,
        with_masks: shared.masks,
        with_timings: shared.timings,
    };
    let models = RunModels { args: &shared.model, checkpoint: &checkpoint, feature, warn: &warn };
    let is_done = AtomicBool::new(false);
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| match is_live || log.is_json {
            true => report(&board, &log, &is_done),
            false => follow(&board, &log, &is_done),
        });
        let ran = engine::run(&task, inputs.collect(), &models, &board, &stop, &warn);
        is_done.store(true, Ordering::Relaxed);
        ran
    });
    let outcome = ran?;
    match is_live || log.is_json {
        true => board.sources().iter().for_each(|source| log.status(&source.snapshot())),
        false => sum_up(&board, &outputs, &shared, log),
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

fn output(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Output, why)
}

/// A source's feed, and the sinks that are its own.
type Opened = (Box<dyn Feed>, Vec<Box<dyn Sink>>);

fn open(
    source: &Planned,
    own: &Own,
    shared: &Shared,
    span: Span,
    model_size: Option<ModelSize>,
    stop: &Arc<AtomicBool>,
    log: Log,
) -> anyhow::Result<Opened> {
    let SourceArgs { segment, push, .. } = &source.args;
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    let mut media = Arc::default();
    let feed: Box<dyn Feed> = match &source.what {
        What::Live(input) => Box::new(sources::camera(input, source, model_size)?),
        What::Files(_) => {
            let files = sources::files(source, span, model_size)?;
            media = files.media();
            Box::new(files)
        }
    };
    match (&own.video, source.files().first()) {
        (Some(path), Some(file)) if segment.is_none() => {
            let tell = move |line: &str| log.say(line);
            sinks.push(Box::new(Mp4Sink::new(path, file.clone(), media, tell)?));
        }
        (Some(path), _) => sinks.push(Box::new(FileSink::new(path, *segment).map_err(output)?)),
        (None, _) => {}
    }
    if let Some(path) = &own.records {
        sinks.push(Records::replace(path).sink());
    }
    if let Some(url) = push {
        let url = url.replace("{name}", &source.stem.to_string_lossy());
        let target = Target::parse(&url).map_err(|why| Failure::new(Exit::Usage, why))?;
        sinks.push(Box::new(PushSink::new(target).map_err(output)?));
    }
    if shared.display {
        sinks.push(Box::new(WindowSink::new(stop.clone(), !source.is_live())?));
    }
    Ok((feed, sinks))
}

/// Prints the pipeline of each source: of files as it runs, of cameras as it is made for a connection.
pub fn print_pipelines(shared: &Shared, given: Vec<OneSource>, span: Span) -> anyhow::Result<Exit> {
    let checkpoint = shared.model.checkpoint()?;
    let sources = sources::plan(given)?;
    let outputs = outputs::plan(&sources, shared, &[])?;
    let mut text = String::new();
    for (source, own) in sources.iter().zip(&outputs) {
        let model_size = sizing(shared, source, own, &checkpoint);
        let lines = match &source.what {
            What::Live(input) => vec![sources::camera(input, source, model_size)?.pipeline()],
            What::Files(files) => {
                let decoding = source.args.decoding(model_size);
                let line = |file: &stream::preflight::Source| {
                    let (_, mut frames) = stream::source::open_with(file, span, &decoding)?;
                    frames.next(&|| false)?;
                    Ok(frames.pipeline().unwrap_or_else(|| "a picture, which GStreamer does not decode".into()))
                };
                files.iter().map(line).collect::<anyhow::Result<_>>()?
            }
        };
        lines.iter().for_each(|line| text.push_str(&format!("{}: {line}\n", source.name)));
    }
    to_stdout(|out| out.write_all(redact(&text).as_bytes()))?;
    Ok(Exit::Done)
}

/// The model's size for a source of which no picture is wanted.
fn sizing(shared: &Shared, source: &Planned, own: &Own, checkpoint: &Checkpoint) -> Option<ModelSize> {
    let is_drawn = own.video.is_some() || source.args.push.is_some() || shared.display;
    // Without any target there is the live page.
    let is_shown = shared.rtsp_out.is_some() || shared.web.is_some() || source.is_live() && shared.records.is_none();
    (!is_drawn && !is_shown).then(|| shared.model.sizing(checkpoint))
}

/// Pictures are not shown to a whole network without a token.
pub fn check_web(shared: &Shared) -> Result<(), Failure> {
    match (shared.web, &shared.web_token) {
        (Some(address), None) if !address.ip().to_canonical().is_loopback() => Err(Failure::new(
            Exit::Usage,
            format!(
                "web on {address} shows the pictures to whoever reaches that address: name a file with a token \
                 (web-token), or serve 127.0.0.1 only"
            ),
        )),
        _ => Ok(()),
    }
}

/// The first line of the file.
fn token(path: &Path) -> Result<String, Failure> {
    let fail = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    match text.lines().next().map(str::trim) {
        Some(token) if token.len() >= 8 => Ok(token.to_owned()),
        _ => Err(fail("its first line is no token of at least 8 characters".into())),
    }
}

/// Tells from time to time how the sources are, until all is done.
fn report(board: &Board, log: &Log, is_done: &AtomicBool) {
    let mut last = Instant::now();
    while !is_done.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        if last.elapsed() >= REPORT_EVERY {
            last = Instant::now();
            let alive = board.sources();
            let alive = alive.iter().map(|source| source.snapshot());
            alive.filter(|now| now.state != SourceState::Ended).for_each(|now| log.status(&now));
        }
    }
}

/// Shows how far the files are, until all is done.
fn follow(board: &Board, log: &Log, is_done: &AtomicBool) {
    let mut progress = None;
    while !is_done.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        let (frames, boxes) = written(board);
        if frames > 0 {
            let total = || match &board.sources()[..] {
                [only] => only.progress().1,
                _ => None,
            };
            let progress = progress.get_or_insert_with(|| Progress::new(total(), log.is_quiet));
            progress.update(frames, boxes);
        }
    }
    progress.iter().for_each(Progress::finish);
}

/// Frames with a record, and the boxes in them, of all sources.
fn written(board: &Board) -> (u64, u64) {
    let sources = board.sources();
    let each = sources.iter().map(|source| source.progress());
    each.fold((0, 0), |sum, (frames, _, boxes)| (sum.0 + frames, sum.1 + boxes))
}

/// What files have become.
fn sum_up(board: &Board, outputs: &[Own], shared: &Shared, log: Log) {
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
    let has_frames = |(_, source): &(&Own, &Arc<SourceStatus>)| source.progress().0 > 0;
    let own = outputs
        .iter()
        .zip(&sources)
        .filter(has_frames)
        .flat_map(|(own, _)| [own.video.as_deref(), own.records.as_deref()]);
    let named = own.chain([shared.records.as_deref()]).flatten().filter(|path| path.exists());
    named.for_each(|path| log.say(&path.display().to_string()));
}
