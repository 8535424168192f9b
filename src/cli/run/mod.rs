//! `mostream run`: videos and cameras in, boxes out. Here are its flags; [`sources`] says what is read, [`outputs`] where results go, and
//! [`start`] puts them together.

mod log;
mod outputs;
mod scene;
mod sources;
mod start;

use super::config::{self, Config, OneSource};
use super::cue::{self, CueArgs};
use super::exit::{Exit, Failure};
use super::groups::GroupsArg;
use super::localize::PaperArgs;
use super::model::{FeatureArg, ModelArgs};
use clap::Args as _;
use mostream::backbone::Feature;
use mostream::engine::Cue;
use mostream::localize::Method;
use mostream::stream::camera::{Mode, Transport};
use mostream::stream::decoder::{Decoding, ModelSize};
use mostream::stream::ingest::Span;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use start::check_web;

#[derive(clap::Args)]
#[command(
    after_help = "Inputs: files, folders of pictures or videos, cam or /dev/video0, rtsp://, rtsps://, http:// (HLS, MJPEG), srt://, \
udp://, rtp://, raw frames on stdin (- with --mode), or a pipeline \"... ! appsink name=frames\". Passwords are better in \
MOSTREAM_RTSP_USER and MOSTREAM_RTSP_PASSWORD, or in a file (--credentials), than in a URL.\n\nWith none of -o, --records and --display, \
the annotated video and records of every file, and of a folder of pictures, are written to the current folder, as NAME.boxes.mp4 and \
NAME.boxes.jsonl; --force overwrites those that are there. A camera without any output is shown on the live page. Files follow one \
another.\n\nExamples:\n  mostream run street.mp4\n  mostream run videos/\n  mostream run street.mp4 -o \
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
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct Shared {
    /// Write one JSON object per frame here; - is stdout. What is there is replaced, or added to where a source is live
    #[arg(long, value_name = "FILE.jsonl")]
    pub records: Option<PathBuf>,
    /// Overwrite files that are there under the names that outputs have by themselves
    #[arg(long)]
    pub force: bool,
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
    cue: CueArgs,
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
    /// Write the log as JSON objects
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
    /// Run the backbone on every Nth frame only; in between pixels are watched, and the boxes of --cue appearance hold
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub every: u64,
    /// Leave out the backbone while the picture of a still camera does not change; the boxes hold
    #[arg(long)]
    pub adaptive: bool,
    /// Keep what a still camera has seen in this file, for the next start; {name} stands for the source's name [default: of cameras with a
    /// name, in the state directory]
    #[arg(long, value_name = "FILE", conflicts_with = "no_scene")]
    pub scene: Option<PathBuf>,
    /// Keep nothing of what a camera has seen
    #[arg(long)]
    pub no_scene: bool,
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

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let (shared, sources, span, is_to_print) = match args.config {
        Some(path) => {
            let Config { shared, sources } = config::read(&path)?;
            (shared, sources, Span::default(), args.print_pipeline)
        }
        None => {
            let Args { inputs, start, duration, print_pipeline, source, shared, .. } = args;
            let span = Span { start_ns: start.unwrap_or(0), duration_ns: duration };
            let source = |input: OsString| {
                let (name, input) = sources::named(&input);
                OneSource { input, name, args: source.clone() }
            };
            (shared, inputs.into_iter().map(source).collect(), span, print_pipeline)
        }
    };
    match is_to_print {
        true => start::print_pipelines(&shared, sources, span),
        false => start::run(shared, sources, span),
    }
}

impl SourceArgs {
    /// How the source is decoded; with a size, what is in a device's memory leaves it in the model's size.
    pub fn decoding(&self, model_size: Option<ModelSize>) -> Decoding {
        Decoding { decoder: (self.decoder != "auto").then(|| self.decoder.clone()), model_size }
    }
}

impl Shared {
    pub fn cue(&self) -> Cue {
        let PaperArgs { boxes, paper } = &self.localizer;
        cue::cue(self.cue, boxes.method, *paper, boxes.min_score)
    }

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
