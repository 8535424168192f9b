//! `mostream run`: videos and cameras in, boxes out. A file alone is converted here, everything else is [`live`]'s.

use super::config::{self, Config, OneSource};
use super::exit::{Exit, Failure};
use super::groups::GroupsArg;
use super::interrupt::stop_flag;
use super::live;
use super::localize::PaperArgs;
use super::model::{FeatureArg, ModelArgs};
use super::progress::Progress;
use clap::Args as _;
use mostream::backbone::Feature;
use mostream::localize::Method;
use mostream::publish::jsonl::RecordWriter;
use mostream::runtime::{self, RunError, Sinks, Summary, Task};
use mostream::stream::audio::AudioReader;
use mostream::stream::camera::{Mode, Transport};
use mostream::stream::canvas::Canvas;
use mostream::stream::decoder::{Decoder, Decoding, ModelSize};
use mostream::stream::display::Display;
use mostream::stream::ingest::Span;
use mostream::stream::output::Output;
use mostream::stream::preflight::{MediaInfo, Source};
use mostream::stream::source;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
#[command(
    after_help = "Inputs: files, folders of pictures or videos, cam or /dev/video0, rtsp://, rtsps://, http:// (HLS, MJPEG), srt://, \
udp://, rtp://, raw frames on stdin (- with --mode), or a pipeline \"... ! appsink name=frames\". Passwords are better in \
MOSTREAM_RTSP_USER and MOSTREAM_RTSP_PASSWORD, or in a file (--credentials), than in a URL.\n\nWith none of -o, --records, --display, \
--push, --rtsp-out and --web, a file's annotated video and records are written to the current folder, as NAME.boxes.mp4 and \
NAME.boxes.jsonl, and a camera is shown on the live page.\n\nExamples:\n  mostream run street.mp4\n  mostream run street.mp4 -o \
boxes.mp4 --start 1:30 --duration 10\n  mostream run street.mp4 --records - | jq .objects\n  mostream run cam\n  mostream run \
door=rtsp://10.0.0.7/stream yard=rtsp://10.0.0.8/stream -o '{name}.mp4' --segment 10m --web\n  mostream run --config cameras.toml"
)]
pub struct Args {
    /// What to read: files, folders, cameras; with NAME= its name in records and on the page
    #[arg(value_name = "[NAME=]INPUT", required_unless_present = "config")]
    inputs: Vec<OsString>,
    /// Read inputs and flags from this file instead (docs/config.md)
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = of_the_file())]
    config: Option<PathBuf>,
    /// Begin here: seconds, or [H:]M:S
    #[arg(long, value_name = "TIME", value_parser = time_ns)]
    start: Option<u64>,
    /// Stop after this much video: seconds, or [H:]M:S
    #[arg(long, value_name = "TIME", value_parser = time_ns)]
    duration: Option<u64>,
    /// Print the pipeline that would read each source, and stop
    #[arg(long)]
    print_pipeline: bool,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    shared: Shared,
}

/// What a config file says itself: everything but `--print-pipeline`.
fn of_the_file() -> Vec<clap::Id> {
    let command = Shared::augment_args(SourceArgs::augment_args(clap::Command::new("run")));
    let own = ["inputs", "start", "duration"].map(clap::Id::from);
    own.into_iter().chain(command.get_arguments().map(|argument| argument.get_id().clone())).collect()
}

/// The flags that say what becomes of all sources.
#[derive(clap::Args)]
pub struct Shared {
    /// Write one JSON object per frame here; - is stdout
    #[arg(long, value_name = "FILE.jsonl")]
    pub records: Option<PathBuf>,
    /// Show the annotated video in a window
    #[arg(long)]
    pub display: bool,
    /// Serve the live page, metrics and records over HTTP [default address: 127.0.0.1:8600]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:8600", require_equals = true)]
    pub web: Option<std::net::SocketAddr>,
    /// The live page asks for the token in this file
    #[arg(long, value_name = "FILE", requires = "web")]
    pub web_token: Option<PathBuf>,
    /// Serve the annotated videos over RTSP, each at /NAME
    #[arg(long, value_name = "ADDR")]
    pub rtsp_out: Option<std::net::SocketAddr>,
    #[command(flatten)]
    pub localizer: PaperArgs,
    #[command(flatten)]
    pub groups: GroupsArg,
    /// Put each object's patches into its record, as run lengths
    #[arg(long)]
    pub masks: bool,
    /// Put the time each stage took into each record
    #[arg(long)]
    pub timings: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Write the log of a live run as JSON objects
    #[arg(long)]
    pub log_json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// The flags that a source may have of its own.
#[derive(clap::Args, Clone)]
pub struct SourceArgs {
    /// Write the annotated video here (MP4, H.264, a file's audio); {name} stands for the source's name
    #[arg(short, long, value_name = "FILE.mp4")]
    pub output: Option<PathBuf>,
    /// Begin a new file after this long: seconds, or 30s, 10m, 1h
    #[arg(long, value_name = "TIME", value_parser = span, requires = "output")]
    pub segment: Option<Duration>,
    /// Send the annotated video here, as MPEG-TS: udp:// or srt://
    #[arg(long, value_name = "URL")]
    pub push: Option<String>,
    /// Run the backbone on every Nth frame only; the boxes hold in between
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub every: u64,
    /// Leave out the backbone while the picture of a still camera does not change; the boxes hold
    #[arg(long)]
    pub adaptive: bool,
    /// What decodes the video: auto (by GStreamer's ranks, hardware first among equals) or the name of an element, such as avdec_h264
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub decoder: String,
    /// How RTSP carries frames: auto, tcp or udp
    #[arg(long, default_value = "auto", value_parser = transport)]
    pub transport: Transport,
    /// A file with USER:PASSWORD in its first line
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Accept any TLS certificate
    #[arg(long)]
    pub insecure_tls: bool,
    /// Of a webcam, or of raw frames on stdin: WxH, WxH@FPS or WxH@FPS:FORMAT, such as 640x480@30:RGB
    #[arg(long, value_name = "WxH@FPS:FORMAT")]
    pub mode: Option<Mode>,
    /// How long packets are waited for that are late or out of order, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub latency: u32,
    /// Connect anew when frames stop for so long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span)]
    pub stall_after: Duration,
    /// Give a camera up that was gone for so long [default: never]
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub retry_for: Option<Duration>,
}

/// Where results go, after defaults.
struct Targets {
    output: Option<PathBuf>,
    records: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    if let Some(path) = &args.config {
        let Config { shared, sources } = config::read(path)?;
        if args.print_pipeline {
            return live::print_pipelines(&shared, &sources, Span::default());
        }
        return live::run(shared, sources, Span::default());
    }
    let Args { inputs, start, duration, print_pipeline, source, shared, .. } = args;
    let span = Span { start_ns: start.unwrap_or(0), duration_ns: duration };
    let is_live = source.push.is_some()
        || source.segment.is_some()
        || source.adaptive
        || shared.web.is_some()
        || shared.rtsp_out.is_some()
        || inputs.iter().any(|input| live::is_live(input));
    match &inputs[..] {
        [input] if !is_live && !print_pipeline => convert(input, source, shared, span),
        _ => {
            let source = |input: OsString| {
                let (name, input) = live::named(&input);
                OneSource { input, name, args: source.clone() }
            };
            let sources: Vec<_> = inputs.into_iter().map(source).collect();
            match print_pipeline {
                true => live::print_pipelines(&shared, &sources, span),
                false => live::run(shared, sources, span),
            }
        }
    }
}

/// One file, every frame in its turn.
fn convert(input: &OsStr, own: SourceArgs, shared: Shared, span: Span) -> anyhow::Result<Exit> {
    let source = Source::new(input)?;
    let targets = targets(&own, &shared, &source)?;
    let feature = shared.feature()?;
    let checkpoint = shared.model.checkpoint()?;
    let groups = shared.groups.load(shared.localizer.method(), shared.model.feature, checkpoint.id())?;
    let stop = stop_flag()?;
    let is_drawn = targets.output.is_some() || shared.display;
    let decoding = own.decoding((!is_drawn).then(|| shared.model.sizing(&checkpoint)));
    let (media, mut frames) = source::open_with(&source, span, &decoding)?;
    let Some(first) = frames.next(&|| stop.load(Ordering::Relaxed))? else { return Ok(Exit::Interrupted) };

    let mut sinks = Sinks::default();
    if let Some(path) = &targets.records {
        let name = path.display().to_string();
        let writer = if name == "-" { Ok(RecordWriter::stdout()) } else { RecordWriter::create(path) };
        let writer = writer.map_err(|error| Failure::new(Exit::Output, format!("{name}: {error}")))?;
        sinks.records = Some((writer, name));
    }
    if targets.output.is_some() || shared.display {
        let canvas = Canvas::new(&first)?;
        if let Some(path) = &targets.output {
            sinks.output = Some(Output::open(path, canvas.info(), audio(&source, &media, span, shared.quiet))?);
        }
        if shared.display {
            sinks.display = Some(Display::open(canvas.info(), true)?);
        }
        sinks.canvas = Some(canvas);
    }
    let decoder = frames.decoder();
    let (width, height) = first.display_size();
    let size = shared.model.size_for(&checkpoint, width, height);
    let warn = |line: &str| eprintln!("mostream: {line}");
    let models = shared.model.models(&checkpoint, feature, size, warn).map_err(Failure::from)?;
    let model = checkpoint.id().to_owned();
    drop(checkpoint);
    let task = Task {
        source: source.name.clone(),
        model,
        localizer: shared.localizer.localizer(),
        groups,
        every: own.every,
        start_ns: span.start_ns,
        with_masks: shared.masks,
        with_timings: shared.timings,
    };
    let mut progress = Progress::new(frames_in(&media, span), shared.quiet);
    let start = Instant::now();
    let outcome = runtime::run(&task, first, &mut *frames, &models, sinks, &stop, |summary| {
        progress.update(summary.frames, summary.objects);
    });
    progress.finish();
    finish(outcome, &targets, decoder, start, &stop, shared.quiet)
}

fn finish(
    outcome: Result<Summary, RunError>,
    targets: &Targets,
    decoder: Option<Decoder>,
    start: Instant,
    stop: &AtomicBool,
    is_quiet: bool,
) -> anyhow::Result<Exit> {
    let summary = match outcome {
        // The reader of stdout has seen enough: `… | head`.
        Err(RunError::Records { error, .. }) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            return Ok(Exit::Done);
        }
        outcome => outcome?,
    };
    if let Some(warning) = &summary.warning {
        eprintln!("mostream: {warning}");
    }
    if !is_quiet {
        let Summary { frames, objects, canvas, .. } = &summary;
        let fps = *frames as f64 / start.elapsed().as_secs_f64();
        let by = decoder.map_or_else(String::new, |decoder| format!(", decoded by {decoder}"));
        eprintln!("mostream: {frames} frames, {objects} boxes, {fps:.1} frames per second{by}");
        if targets.output.is_some() {
            let (in_place, copied, converted) = (canvas.in_place, canvas.copied, canvas.converted);
            eprintln!(
                "mostream: drawn in place on {in_place} frames, on a copy of {copied}, after conversion of {converted}"
            );
        }
        for path in [&targets.output, &targets.records].into_iter().flatten().filter(|path| *path != Path::new("-")) {
            eprintln!("mostream: {}", path.display());
        }
    }
    Ok(if stop.load(Ordering::Relaxed) { Exit::Interrupted } else { Exit::Done })
}

impl SourceArgs {
    /// How the source is decoded; with a size, what is in a device's memory leaves it in the model's size.
    pub fn decoding(&self, model_size: Option<ModelSize>) -> Decoding {
        Decoding { decoder: (self.decoder != "auto").then(|| self.decoder.clone()), model_size }
    }
}

impl Shared {
    /// What the method needs of the model.
    pub fn feature(&self) -> Result<Feature, Failure> {
        match (self.localizer.method(), self.model.feature) {
            (Method::DinoSeg, FeatureArg::K | FeatureArg::Attention) => Ok(Feature::ClsAttention),
            (method @ Method::DinoSeg, feature) | (method, feature @ FeatureArg::Attention) => {
                let why = format!(
                    "--method {method} cannot use --feature {} (dino-seg reads the attention, the others k, q or v)",
                    feature.name()
                );
                Err(Failure::new(Exit::Usage, why))
            }
            (_, feature) => Ok(feature.into()),
        }
    }
}

/// Fills in the default targets, and refuses those that would destroy the input or each other.
fn targets(own: &SourceArgs, shared: &Shared, source: &Source) -> Result<Targets, Failure> {
    let mut targets = Targets { output: own.output.clone(), records: shared.records.clone() };
    if targets.output.is_none() && targets.records.is_none() && !shared.display {
        let path = source.name.split(['?', '#']).next().unwrap_or_default();
        let stem = source.file.as_deref().unwrap_or(path.as_ref()).file_stem().unwrap_or("video".as_ref());
        let named = |ending: &str| PathBuf::from([stem, ending.as_ref()].into_iter().collect::<OsString>());
        targets.output = Some(named(".boxes.mp4"));
        targets.records = Some(named(".boxes.jsonl"));
    }
    let canonical = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let input = source.file.as_deref().map(canonical);
    for path in [&targets.output, &targets.records].into_iter().flatten() {
        if input.as_ref().is_some_and(|input| *input == canonical(path)) {
            return Err(Failure::new(
                Exit::Usage,
                format!("{} is the input: give another name for the output", path.display()),
            ));
        }
    }
    if let (Some(output), Some(records)) = (&targets.output, &targets.records)
        && canonical(output) == canonical(records)
    {
        return Err(Failure::new(Exit::Usage, format!("{} cannot be both -o and --records", output.display())));
    }
    Ok(targets)
}

/// The input's audio; without it the video is still worth having.
fn audio(source: &Source, media: &MediaInfo, span: Span, is_quiet: bool) -> Option<AudioReader> {
    if !media.has_audio {
        return None;
    }
    let opened = AudioReader::open(source, span);
    if let (Err(why), false) = (&opened, is_quiet) {
        eprintln!("mostream: {}: the audio is left out: {why}", source.name);
    }
    opened.ok()
}

/// About how many frames the span holds.
fn frames_in(media: &MediaInfo, span: Span) -> Option<u64> {
    let rest = media.duration_ns.map(|total| total.saturating_sub(span.start_ns));
    let length = match (rest, span.duration_ns) {
        (Some(rest), Some(wanted)) => rest.min(wanted),
        (length, None) | (None, length) => length?,
    };
    let (numerator, denominator) = media.fps?;
    Some((u128::from(length) * u128::from(numerator) / u128::from(denominator) / 1_000_000_000) as u64)
}

/// `12.5`, `1:30` or `1:00:02.25` in nanoseconds.
pub fn time_ns(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected seconds or [H:]M:S, such as 12.5 or 1:30, not {text:?}");
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(wrong());
    }
    let mut seconds = 0.0;
    for part in parts {
        let value: f64 = part.parse().map_err(|_| wrong())?;
        if !(0.0..1e9).contains(&value) {
            return Err(wrong());
        }
        seconds = seconds * 60.0 + value;
    }
    Ok((seconds * 1e9).round() as u64)
}

/// `90`, `90s`, `10m` or `1h`.
fn span(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let span = seconds.or_else(|| humantime::parse_duration(text).ok());
    let span = span.filter(|span| *span >= Duration::from_millis(1) && span.as_secs() < 1_000_000_000);
    span.ok_or_else(|| format!("expected a time such as 30s, 10m or 1h, not {text:?}"))
}

fn transport(text: &str) -> Result<Transport, String> {
    match text {
        "auto" => Ok(Transport::Auto),
        "tcp" => Ok(Transport::Tcp),
        "udp" => Ok(Transport::Udp),
        _ => Err("expected auto, tcp or udp".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::time_ns;

    #[test]
    fn times_are_seconds_or_clock_like() {
        assert_eq!(time_ns("12.5"), Ok(12_500_000_000));
        assert_eq!(time_ns("1:30"), Ok(90_000_000_000));
        assert_eq!(time_ns("1:00:02.25"), Ok(3_602_250_000_000));
        for wrong in ["", "-1", "nan", "1:2:3:4", "1h"] {
            assert!(time_ns(wrong).is_err(), "{wrong}");
        }
    }
}
