//! Live runs: many sources, cameras and files, through one session, into every kind of sink at once.

use super::config::OneSource;
use super::exit::{Exit, Failure, exit_of, to_stdout};
use super::interrupt::stop_flag_saying;
use super::run::{Shared, SourceArgs};
use mostream::backbone::Checkpoint;
use mostream::live::adaptive::Adaptive;
use mostream::live::engine::{self, Input, Task};
use mostream::live::sink::Sink;
use mostream::live::sinks::file::FileSink;
use mostream::live::sinks::push::{PushSink, Target};
use mostream::live::sinks::records::Records;
use mostream::live::sinks::rtsp::RtspServer;
use mostream::live::sinks::window::WindowSink;
use mostream::live::status::{Board, Snapshot};
use mostream::record::SourceState;
use mostream::stream::camera::{self, Camera, CameraOptions};
use mostream::stream::decoder::ModelSize;
use mostream::stream::feed::{Feed, Files};
use mostream::stream::ingest::Span;
use mostream::stream::preflight::Source;
use mostream::stream::{self, redact};
use mostream::web;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How often the log tells how every source is doing.
const REPORT_EVERY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);
const WEB: ([u8; 4], u16) = ([127, 0, 0, 1], 8600);

/// `NAME=INPUT`, where no file is called so; a name has letters, digits, - and _.
pub fn named(argument: &OsStr) -> (Option<String>, OsString) {
    let parts = argument.to_str().filter(|text| !Path::new(text).exists()).and_then(|text| text.split_once('='));
    match parts {
        Some((name, input)) if is_name(name) && !input.is_empty() => (Some(name.to_owned()), input.into()),
        _ => (None, argument.to_owned()),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Whether an input, named or not, is for a live run: a camera, or a folder.
pub fn is_live(argument: &OsStr) -> bool {
    let (name, input) = named(argument);
    name.is_some() || camera::is_live(&input) || Path::new(&input).is_dir()
}

pub fn run(shared: Shared, sources: Vec<OneSource>, span: Span) -> anyhow::Result<Exit> {
    let log = Log { is_json: shared.log_json, is_quiet: shared.quiet };
    match run_saying(log, shared, sources, span) {
        // Whoever reads the log as JSON is told why it ends in JSON, too.
        Err(error) if log.is_json => {
            log.write("error", &format!("{error:#}"));
            Ok(exit_of(&error))
        }
        outcome => outcome,
    }
}

fn run_saying(log: Log, shared: Shared, sources: Vec<OneSource>, span: Span) -> anyhow::Result<Exit> {
    stream::on_complaint(move |line| log.warn(line));
    check_web(&shared)?;
    let web_token = shared.web_token.as_deref().map(token).transpose()?;
    let feature = shared.feature()?;
    let checkpoint = shared.model.checkpoint()?;
    let warn = |line: &str| log.warn(line);
    let groups = shared.groups.load_saying(shared.localizer.method(), shared.model.feature, checkpoint.id(), warn)?;
    let stop = stop_flag_saying(move |line| log.warn(line))?;
    let names = names(&sources)?;
    let feeds: Vec<Box<dyn Feed>> = sources
        .iter()
        .zip(&names)
        .map(|(source, name)| feed(source, name, span, sizing(&shared, source, &checkpoint)))
        .collect::<anyhow::Result<_>>()?;
    let board = Arc::new(Board::new(names.iter().cloned()));

    let mut sinks: Vec<Vec<Box<dyn Sink>>> = names.iter().map(|_| Vec::new()).collect();
    let output = |why: String| Failure::new(Exit::Output, why);
    let many = sources.len() > 1;
    for ((source, name), sinks) in sources.iter().zip(&names).zip(&mut sinks) {
        let OneSource { args: SourceArgs { output: path, segment, push, .. }, .. } = source;
        if let Some(path) = path {
            sinks.push(Box::new(FileSink::new(&path_for(path, name, many)?, *segment).map_err(output)?));
        }
        if let Some(url) = push {
            let target = Target::parse(&url.replace("{name}", name)).map_err(|why| Failure::new(Exit::Usage, why))?;
            sinks.push(Box::new(PushSink::new(target).map_err(output)?));
        }
        if shared.display {
            sinks.push(Box::new(WindowSink::new(stop.clone()).map_err(output)?));
        }
    }
    if let Some(path) = &shared.records {
        let records = Records::open(path, None).map_err(output)?;
        sinks.iter_mut().for_each(|sinks| sinks.push(records.sink()));
    }
    if let Some(address) = shared.rtsp_out {
        let server = RtspServer::bind(address).map_err(output)?;
        for (name, sinks) in names.iter().zip(&mut sinks) {
            let sink = server.sink(name);
            log.say(&format!("{name}: {}", sink.url()));
            sinks.push(Box::new(sink));
        }
    }
    let has_none = sinks.iter().all(|sinks| sinks.is_empty());
    let _web = match shared.web.or(has_none.then(|| WEB.into())) {
        Some(address) => {
            let (server, more) = web::Server::start(address, board.clone(), web_token, web::Options::default())
                .map_err(|error| output(error.to_string()))?;
            sinks.iter_mut().zip(more).for_each(|(sinks, sink)| sinks.push(sink));
            log.say(&format!("the live page is at http://{}/", server.addr()));
            Some(server)
        }
        None => None,
    };

    let inputs = feeds.into_iter().zip(sinks).zip(&sources).map(|((feed, sinks), source)| Input {
        feed,
        sinks,
        every: source.args.every,
        adaptive: source.args.adaptive.then(Adaptive::default),
    });
    let task = Task {
        model: checkpoint.id().to_owned(),
        localizer: shared.localizer.localizer(),
        groups,
        with_masks: shared.masks,
        with_timings: shared.timings,
    };
    let is_done = AtomicBool::new(false);
    let failed = std::thread::scope(|scope| {
        scope.spawn(|| report(&board, &log, &is_done));
        let model = &shared.model;
        let open = |width, height| {
            let size = model.size_for(&checkpoint, width, height);
            model.models(&checkpoint, feature, size, warn)
        };
        let failed = engine::run(&task, inputs.collect(), open, &board, &stop, &warn);
        is_done.store(true, Ordering::Relaxed);
        failed
    });
    let failed = failed?;
    for source in &board.sources {
        log.status(&source.snapshot());
    }
    let has_frames = board.sources.iter().any(|source| source.snapshot().frames > 0);
    Ok(match () {
        () if failed > 0 => Exit::Output,
        () if stop.load(Ordering::Relaxed) => Exit::Interrupted,
        () if !has_frames => Exit::Input,
        () => Exit::Done,
    })
}

/// Each source's own name: given, or from its address; all different.
fn names(sources: &[OneSource]) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = Vec::new();
    for source in sources {
        if let Some(name) = &source.name {
            let fail = |why: &str| Err(Failure::new(Exit::Usage, format!("the source name {name:?} {why}")));
            if !is_name(name) {
                return fail("is not 1 to 64 letters, digits, - and _");
            }
            if names.contains(name) {
                return fail("is there twice");
            }
            names.push(name.clone());
            continue;
        }
        let base = redact(&source.input.to_string_lossy());
        let fresh = |number: usize| if number == 1 { base.clone() } else { format!("{base} ({number})") };
        names.push((1..).map(fresh).find(|name| !names.contains(name)).unwrap_or(base));
    }
    Ok(names)
}

/// Prints the pipeline of each source: of files as it runs, of cameras as it is made for a connection.
pub fn print_pipelines(shared: &Shared, sources: &[OneSource], span: Span) -> anyhow::Result<Exit> {
    let checkpoint = shared.model.checkpoint()?;
    let mut text = String::new();
    for (source, name) in sources.iter().zip(names(sources)?) {
        let model_size = sizing(shared, source, &checkpoint);
        let lines = match camera::is_live(&source.input) {
            true => vec![camera_of(source, &name, model_size)?.pipeline()],
            false => {
                let decoding = source.args.decoding(model_size);
                let line = |file: &Source| {
                    let (_, mut frames) = stream::source::open_with(file, span, &decoding)?;
                    frames.next(&|| false)?;
                    Ok(frames.pipeline().unwrap_or_else(|| "a picture, which GStreamer does not decode".into()))
                };
                files(source, &name)?.iter().map(line).collect::<anyhow::Result<_>>()?
            }
        };
        lines.iter().for_each(|line| text.push_str(&format!("{name}: {line}\n")));
    }
    to_stdout(|out| out.write_all(redact(&text).as_bytes()))?;
    Ok(Exit::Done)
}

/// The model's size for a source of which no picture is wanted.
fn sizing(shared: &Shared, source: &OneSource, checkpoint: &Checkpoint) -> Option<ModelSize> {
    let is_drawn = source.args.output.is_some() || source.args.push.is_some() || shared.display;
    // Without any target there is the live page.
    let is_shown = shared.rtsp_out.is_some() || shared.web.is_some() || shared.records.is_none();
    (!is_drawn && !is_shown).then(|| shared.model.sizing(checkpoint))
}

fn files(source: &OneSource, name: &str) -> anyhow::Result<Vec<Source>> {
    let (inputs, failures) = super::inputs::expand(std::slice::from_ref(&source.input));
    if let Some(failure) = failures.into_iter().next() {
        return Err(failure);
    }
    let files = inputs.into_iter().map(|input| match input {
        super::inputs::Input::Still(path) => Source::new(path),
        super::inputs::Input::Video(source) => Ok(source),
    });
    let files = files.collect::<Result<Vec<_>, _>>()?;
    if files.is_empty() {
        return Err(Failure::new(Exit::Input, format!("{name}: it holds no picture and no video")).into());
    }
    Ok(files)
}

fn feed(source: &OneSource, name: &str, span: Span, model_size: Option<ModelSize>) -> anyhow::Result<Box<dyn Feed>> {
    if camera::is_live(&source.input) {
        return Ok(Box::new(camera_of(source, name, model_size)?));
    }
    let decoding = source.args.decoding(model_size);
    Ok(Box::new(Files::new(files(source, name)?, span).decoded(decoding)?))
}

fn camera_of(source: &OneSource, name: &str, model_size: Option<ModelSize>) -> anyhow::Result<Camera> {
    let OneSource { input, args, .. } = source;
    let mut options = CameraOptions {
        transport: args.transport,
        insecure_tls: args.insecure_tls,
        mode: args.mode.clone(),
        latency_ms: args.latency,
        stall_after: args.stall_after,
        retry_for: args.retry_for,
        decoding: args.decoding(model_size),
        ..CameraOptions::default()
    };
    options.read_credentials(args.credentials.as_deref())?;
    Ok(Camera::open(input, name.to_owned(), options)?)
}

/// The file for a source: `{name}` stands for its name, as far as a file name may have it.
fn path_for(path: &Path, name: &str, many: bool) -> Result<PathBuf, Failure> {
    let Some(text) = path.to_str().filter(|text| text.contains("{name}")) else {
        return match many {
            true => Err(Failure::new(
                Exit::Usage,
                format!("{}: several sources need {{name}} in it, such as boxes-{{name}}.mp4", path.display()),
            )),
            false => Ok(path.to_owned()),
        };
    };
    let safe: String = name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    Ok(text.replace("{name}", safe.trim_start_matches('.')).into())
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

/// Lines on stderr.
#[derive(Clone, Copy)]
struct Log {
    is_json: bool,
    is_quiet: bool,
}

impl Log {
    /// What a user may want to know.
    fn say(&self, line: &str) {
        if !self.is_quiet {
            self.write("info", line);
        }
    }

    /// What needs attention, or changes.
    fn warn(&self, line: &str) {
        self.write("notice", line);
    }

    fn status(&self, now: &Snapshot) {
        if self.is_quiet {
            return;
        }
        if self.is_json {
            let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            let line = serde_json::json!({ "time": time, "level": "info", "status": now });
            eprintln!("{}", redact(&line.to_string()));
            return;
        }
        let latency =
            now.latency_ms.map_or(String::new(), |ms| format!(", latency {:.0} ms (p95 {:.0})", ms.p50, ms.p95));
        let decoded = now.decoder.as_ref().map_or(String::new(), |decoder| format!(", decoded by {decoder}"));
        let spared = match now.unchanged {
            0 => String::new(),
            // The share of the frames that the model was not asked about.
            spared => format!(", {spared} unchanged ({:.0} %)", 100.0 * spared as f64 / now.frames as f64),
        };
        self.write(
            "info",
            &format!(
                "{}: {}, {} frames, {:.1} per second, {:.1} of them inferred, {} passed over{spared}, {} boxes now{latency}{decoded}",
                now.name,
                now.state.name(),
                now.frames,
                now.fps,
                now.inferred_fps,
                now.passed_over,
                now.objects_now
            ),
        );
    }

    fn write(&self, level: &str, line: &str) {
        let line = redact(line);
        if !self.is_json {
            eprintln!("mostream: {line}");
            return;
        }
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        eprintln!("{}", serde_json::json!({ "time": time, "level": level, "message": line }));
    }
}

/// Tells from time to time how the sources are, until all is done.
fn report(board: &Board, log: &Log, is_done: &AtomicBool) {
    let mut last = Instant::now();
    while !is_done.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        if last.elapsed() >= REPORT_EVERY {
            last = Instant::now();
            let alive = board.sources.iter().map(|source| source.snapshot());
            alive.filter(|now| now.state != SourceState::Ended).for_each(|now| log.status(&now));
        }
    }
}
