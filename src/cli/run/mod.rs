//! `mostream run`: videos and cameras in, boxes out. Here are its flags, which are the keys of a [`RunSpec`]; [`start`] runs it.

mod start;
mod supervisor;

use super::cue::CueArgs;
use super::exit::{Exit, Failure, Outcome, to_stdout};
use super::groups::GroupsArg;
use super::localize::PaperArgs;
use super::log;
use super::model::ModelArgs;
use crate::cli::values::{address, whole};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _, Command};
use mostream::fault::Kind;
use mostream::record::Every;
use mostream::run::spec::{parse_clock, parse_span};
use mostream::run::{self, RunSpec, SourceSpec};
use mostream::stream::camera::Mode;
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
#[command(
    after_help = "Inputs: files, folders of pictures or videos, cam or /dev/video0, rtsp://, rtsps://, http:// (HLS, MJPEG), srt://, \
udp://, rtp://, raw frames on stdin (- with --mode), or a pipeline \"... ! appsink name=frames\". Passwords are better in \
MOSTREAM_RTSP_USER and MOSTREAM_RTSP_PASSWORD, or in a file (--credentials), than in a URL.\n\nWith none of -o, --records, --events and --display, \
the annotated video and records of every file, and of a folder of pictures, are written to the current folder, as NAME.boxes.mp4 and \
NAME.boxes.jsonl; --force overwrites those that are there. A camera without any output is shown on the live page. Files follow one \
another.\n\nExamples:\n  mostream run street.mp4\n  mostream run videos/\n  mostream run street.mp4 -o \
boxes.mp4 --start 1:30 --duration 10\n  mostream run street.mp4 --records - | jq .objects\n  mostream run cam\n  mostream run \
door=rtsp://10.0.0.7/stream yard=rtsp://10.0.0.8/stream -o '{name}.mp4' --segment 10m --web\n  mostream run --config cameras.toml"
)]
pub struct Args {
    /// What to read: files, folders, cameras; with NAME= its name in records, outputs and on the page: up to 64 characters without / and \, no dot
    /// in front
    #[arg(value_name = "[NAME=]INPUT", required_unless_present = "config")]
    inputs: Vec<OsString>,
    /// Read inputs and flags from this file instead (docs/config.md)
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = of_the_file())]
    config: Option<PathBuf>,
    /// Print what the flags say as such a file, and stop
    #[arg(long)]
    print_config: bool,
    /// Print the pipeline that would read each source, and stop
    #[arg(long)]
    print_pipeline: bool,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    shared: Shared,
}

/// The flags that are keys of a file.
fn flags() -> Command {
    log::Volume::augment_args(Shared::augment_args(SourceArgs::augment_args(Command::new("run"))))
}

/// What a config file says itself: everything but how much is told, and what is to be printed.
fn of_the_file() -> Vec<clap::Id> {
    let flags = flags();
    let ids = flags.get_arguments().filter(|flag| !flag.is_global_set()).map(|flag| flag.get_id().clone());
    ids.chain([clap::Id::from("inputs")]).collect()
}

/// The flags that say what becomes of all sources.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
struct Shared {
    /// Write one JSON object per frame here; - is stdout. What is there is replaced, or added to where a source is live
    #[arg(long, value_name = "FILE.jsonl")]
    records: Option<PathBuf>,
    /// Write what happens here, one JSON object per event: who came and left, stopped, crossed a line, was left behind; - is stdout
    #[arg(long, value_name = "FILE.jsonl")]
    events: Option<PathBuf>,
    /// Send records here, at least once: mqtt://, mqtts://, nats://, kafka://, redis://, http:// or https:// (webhook), or a file; may be
    /// given several times. More is said in a file (docs/publish.md)
    #[arg(long, value_name = "URL")]
    publish: Vec<String>,
    /// Show every source as a device of the Home Assistant whose MQTT broker this is, such as mqtt://homeassistant.local: objects, motion, zones,
    /// what happened last with a picture
    #[arg(long, value_name = "URL")]
    home_assistant: Option<String>,
    /// Keep what happens in this file, the last 100 000 lines, for the page and the next start [default: where a source is live, events.redb in
    /// the state directory]
    #[arg(long, value_name = "FILE")]
    event_store: Option<PathBuf>,
    /// Overwrite files that are there under the names that outputs have by themselves
    #[arg(long)]
    force: bool,
    /// Show the annotated video in a window
    #[arg(long)]
    display: bool,
    /// Serve the live page, metrics and records over HTTP [default address: 127.0.0.1:8600]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:8600", require_equals = true, value_parser = address)]
    web: Option<std::net::SocketAddr>,
    /// The live page asks for the token in this file
    #[arg(long, value_name = "FILE", requires = "web")]
    web_token: Option<PathBuf>,
    /// Serve the annotated videos over RTSP, each at /NAME
    #[arg(long, value_name = "ADDR", value_parser = address)]
    rtsp_out: Option<std::net::SocketAddr>,
    /// Ask who watches there for the USER:PASSWORD in the first line of this file
    #[arg(long, value_name = "FILE", requires = "rtsp_out")]
    rtsp_out_credentials: Option<PathBuf>,
    /// Serve them encrypted, as rtsps://, with the certificate in this file
    #[arg(long, value_name = "FILE.pem", requires_all = ["rtsp_out", "rtsp_out_key"])]
    rtsp_out_cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, value_name = "FILE.pem", requires = "rtsp_out_cert")]
    rtsp_out_key: Option<PathBuf>,
    #[command(flatten)]
    localizer: PaperArgs,
    #[command(flatten)]
    cue: CueArgs,
    #[command(flatten)]
    groups: GroupsArg,
    /// Put each object's patches into its record, as run lengths
    #[arg(long)]
    masks: bool,
    /// Put the time each stage took into each record
    #[arg(long)]
    timings: bool,
    /// Exit code 7 where a file is cut off, damaged or shorter than it says; its results are written all the same
    #[arg(long)]
    strict: bool,
    /// Write the log as JSON objects
    #[arg(long)]
    log_json: bool,
    /// Write which thread was at what, for which frame, to this file, which ui.perfetto.dev opens; it grows by about 2 KB a frame
    #[arg(long, value_name = "FILE.json")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

/// The flags that a source may have of its own.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
struct SourceArgs {
    /// Begin here: seconds, or [H:]M:S
    #[arg(long, value_name = "TIME", value_parser = time_ns)]
    start: Option<u64>,
    /// Stop after this much video: seconds, or [H:]M:S
    #[arg(long, value_name = "TIME", value_parser = time_ns)]
    duration: Option<u64>,
    /// Write the annotated video here (MP4, H.264, a file's audio); {name} stands for the source's name
    #[arg(short, long, value_name = "FILE.mp4")]
    output: Option<PathBuf>,
    /// Begin a new file after this long: seconds, or 30s, 10m, 1h
    #[arg(long, value_name = "TIME", value_parser = parse_span, requires = "output")]
    segment: Option<Duration>,
    /// Send the annotated video here, as MPEG-TS: udp:// or srt://
    #[arg(long, value_name = "URL")]
    push: Option<String>,
    /// Run the backbone on every Nth frame only, or on as many as there is time for at the video's own speed (auto); in between pixels are
    /// watched, and the boxes of --cue appearance hold
    #[arg(long, value_name = "N|auto", default_value = "1")]
    every: Every,
    /// Let records and pictures wait so long for what comes after them: scores are steadier, and who is missed in between is put in [default:
    /// 250ms for files, none for live sources]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    delay: Option<Duration>,
    /// Leave out the backbone while the picture of a still camera does not change; the boxes hold
    #[arg(long)]
    adaptive: bool,
    /// Begin paused, until the source is resumed on the page or over HTTP
    #[arg(long)]
    paused: bool,
    /// Keep what a still camera has seen in this file, for the next start; {name} stands for the source's name [default: of cameras with a
    /// name, in the state directory]
    #[arg(long, value_name = "FILE", conflicts_with = "no_scene")]
    scene: Option<PathBuf>,
    /// Keep nothing of what a camera has seen
    #[arg(long)]
    no_scene: bool,
    /// What decodes the video: auto (by GStreamer's ranks, hardware first among equals) or the name of an element, such as avdec_h264
    #[arg(long, value_name = "NAME", default_value = "auto")]
    decoder: String,
    /// How RTSP carries frames: auto, tcp or udp
    #[arg(long, default_value = "auto", value_parser = ["auto", "tcp", "udp"])]
    transport: String,
    /// A file with USER:PASSWORD in its first line
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Accept any TLS certificate
    #[arg(long)]
    insecure_tls: bool,
    /// Of a webcam, or of raw frames on stdin: WxH, WxH@FPS or WxH@FPS:FORMAT, such as 640x480@30:RGB
    #[arg(long, value_name = "WxH@FPS:FORMAT")]
    mode: Option<Mode>,
    /// How long packets are waited for that are late or out of order, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = whole::<u32>(0, u32::MAX.into()))]
    latency: u32,
    /// Connect anew when frames stop for so long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_span)]
    stall_after: Duration,
    /// Give a camera up that was gone for so long [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    retry_for: Option<Duration>,
}

pub fn run(args: Args, matches: &ArgMatches) -> Outcome {
    let spec = match &args.config {
        Some(file) => RunSpec::read(file)?,
        None => of_flags(&args.inputs, matches)?,
    };
    if args.print_config {
        spec.check()?;
        let text = spec.to_toml()?;
        to_stdout(|out| out.write_all(text.as_bytes()))?;
        return Ok(Exit::Done);
    }
    if args.print_pipeline {
        let text = run::pipelines(&spec)?;
        to_stdout(|out| out.write_all(text.as_bytes()))?;
        return Ok(Exit::Done);
    }
    start::run(spec, args.config)
}

/// What the command line says: every flag that is given is the key of its name.
fn of_flags(inputs: &[OsString], matches: &ArgMatches) -> Result<RunSpec, Failure> {
    let flags = flags();
    let mut table = Map::new();
    for flag in flags.get_arguments() {
        let (id, Some(key)) = (flag.get_id().as_str(), flag.get_long()) else { continue };
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        if id == "publish" {
            let all = matches.get_many::<String>(id).into_iter().flatten();
            table.insert(key.to_owned(), all.map(|to| json!({ "to": to })).collect());
            continue;
        }
        if let ("home_assistant", Some(to)) = (id, matches.try_get_one::<String>(id).ok().flatten()) {
            table.insert(key.to_owned(), json!({ "to": to }));
            continue;
        }
        let given = matches.get_raw(id).and_then(Iterator::last).filter(|_| flag.get_action().takes_values());
        let value = match given.map(|given| given.to_str().ok_or(given)) {
            Some(Ok(text)) => Value::from(text),
            Some(Err(given)) => {
                return Err(Failure::new(Kind::Usage, format!("--{key} {}: it is not UTF-8", given.display())));
            }
            None => Value::Bool(true),
        };
        table.insert(key.to_owned(), value);
    }
    let spec = RunSpec::from_table(table).map_err(|error| Failure::new(Kind::Usage, format!("--{error}")))?;
    Ok(RunSpec { sources: inputs.iter().map(|input| SourceSpec::of_argument(input)).collect(), ..spec })
}

/// `12.5`, `1:30` or `1:00:02.25` in nanoseconds.
pub fn time_ns(text: &str) -> Result<u64, String> {
    parse_clock(text).map(|time| time.as_nanos() as u64)
}
