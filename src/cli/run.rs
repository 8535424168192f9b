//! `mostream run`: a video in, boxes out.

use super::exit::{Exit, Failure};
use super::interrupt::stop_flag;
use super::model::{FeatureArg, ModelArgs};
use super::progress::Progress;
use mostream::backbone::Feature;
use mostream::discover::groups::Groups;
use mostream::localize::Method;
use mostream::publish::jsonl::RecordWriter;
use mostream::runtime::{self, RunError, Sinks, Summary, Task};
use mostream::stream::audio::AudioReader;
use mostream::stream::canvas::Canvas;
use mostream::stream::display::Display;
use mostream::stream::ingest::{Ingest, Span};
use mostream::stream::output::Output;
use mostream::stream::preflight::{MediaInfo, Source};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

#[derive(clap::Args)]
#[command(
    after_help = "With none of -o, --records and --display, the annotated video and the records are written to the \
current folder, as NAME.boxes.mp4 and NAME.boxes.jsonl.\n\nExamples:\n  mostream run street.mp4\n  mostream run street.mp4 -o \
boxes.mp4 --start 1:30 --duration 10\n  mostream run street.mp4 --records - | jq .objects"
)]
pub struct Args {
    /// A video file, a still image or a URI
    input: String,
    /// Write the annotated video here (MP4, H.264, the input's audio)
    #[arg(short, long, value_name = "FILE.mp4")]
    output: Option<PathBuf>,
    /// Write one JSON object per frame here; - is stdout
    #[arg(long, value_name = "FILE.jsonl")]
    records: Option<PathBuf>,
    /// Show the annotated video in a window
    #[arg(long)]
    display: bool,
    /// How boxes are found: most (several objects, or none), lost, tokencut or dino-seg (one object)
    #[arg(long, default_value = "most", value_parser = super::localize::method)]
    method: Method,
    /// Give the paper's boxes as they are: duplicates kept, in the paper's order
    #[arg(long)]
    paper: bool,
    /// Leave out objects with a lower score, 0 to 1 [default: 0.2 for most, 0 for the others]
    #[arg(long, value_name = "SCORE", value_parser = super::localize::score, conflicts_with = "paper")]
    min_score: Option<f32>,
    /// Run the backbone on every Nth frame only; the boxes hold in between
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Begin here: seconds, or [H:]M:S
    #[arg(long, value_name = "TIME", value_parser = time_ns)]
    start: Option<u64>,
    /// Stop after this much video: seconds, or [H:]M:S
    #[arg(long, value_name = "TIME", value_parser = time_ns)]
    duration: Option<u64>,
    /// Label objects by the named groups of `mostream discover` that they look like
    #[arg(long, value_name = "groups.json")]
    groups: Option<PathBuf>,
    /// Put each object's patches into its record, as run lengths
    #[arg(long)]
    masks: bool,
    /// Put the time each stage took into each record
    #[arg(long)]
    timings: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// Where results go, after defaults.
struct Targets {
    output: Option<PathBuf>,
    records: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let source = Source::new(&args.input)?;
    let targets = targets(&args, &source)?;
    let feature = feature(&args)?;
    let checkpoint = args.model.checkpoint()?;
    let groups = groups(&args, checkpoint.id())?;
    let stop = stop_flag()?;
    let media = source.probe()?;
    let span = Span { start_ns: args.start.unwrap_or(0), duration_ns: args.duration };
    let mut ingest = Ingest::open(&source, &media, span)?;
    let Some(first) = ingest.next(&|| stop.load(Ordering::Relaxed))? else { return Ok(Exit::Interrupted) };

    let mut sinks = Sinks::default();
    if let Some(path) = &targets.records {
        let name = path.display().to_string();
        let writer = if name == "-" { Ok(RecordWriter::stdout()) } else { RecordWriter::create(path) };
        let writer = writer.map_err(|error| Failure::new(Exit::Output, format!("{name}: {error}")))?;
        sinks.records = Some((writer, name));
    }
    if targets.output.is_some() || args.display {
        let canvas = Canvas::new(&first)?;
        if let Some(path) = &targets.output {
            sinks.output = Some(Output::open(path, canvas.info(), audio(&source, &media, span, args.quiet))?);
        }
        if args.display {
            sinks.display = Some(Display::open(canvas.info(), true)?);
        }
        sinks.canvas = Some(canvas);
    }
    let (width, height) = first.display_size();
    let size = args.model.size_for(&checkpoint, width, height);
    let mut backbone = args.model.open(&checkpoint, feature, size)?;
    let model = checkpoint.id().to_owned();
    drop(checkpoint);
    let task = Task {
        source: source.name.clone(),
        model,
        localizer: super::localize::localizer(args.method, args.paper, args.min_score),
        groups,
        every: args.every,
        start_ns: span.start_ns,
        with_masks: args.masks,
        with_timings: args.timings,
    };
    let mut progress = Progress::new(frames_in(&media, span), args.quiet);
    let start = Instant::now();
    let outcome = runtime::run(&task, first, &mut ingest, &mut backbone, sinks, &stop, |summary| {
        progress.update(summary.frames, summary.objects);
    });
    progress.finish();
    finish(outcome, &targets, start, &stop, args.quiet)
}

fn finish(
    outcome: Result<Summary, RunError>,
    targets: &Targets,
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
        eprintln!("mostream: {frames} frames, {objects} boxes, {fps:.1} frames per second");
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

/// What the method needs of the model.
fn feature(args: &Args) -> Result<Feature, Failure> {
    match (args.method, args.model.feature) {
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

/// The groups that objects are named by; they must be of this model and of the feature in use.
fn groups(args: &Args, model: &str) -> Result<Option<Groups>, Failure> {
    let Some(path) = &args.groups else { return Ok(None) };
    if args.method == Method::DinoSeg {
        let why = "--groups compares patch features, and dino-seg reads none: use another --method";
        return Err(Failure::new(Exit::Usage, why));
    }
    let groups = Groups::load(path).and_then(|groups| groups.expect_model(model, args.model.feature.name()));
    groups.map(Some).map_err(|error| Failure::new(Exit::Input, error))
}

/// Fills in the default targets, and refuses those that would destroy the input or each other.
fn targets(args: &Args, source: &Source) -> Result<Targets, Failure> {
    let mut targets = Targets { output: args.output.clone(), records: args.records.clone() };
    if targets.output.is_none() && targets.records.is_none() && !args.display {
        let path = source.name.split(['?', '#']).next().unwrap_or_default();
        let stem = Path::new(path).file_stem().unwrap_or("video".as_ref()).to_string_lossy();
        targets.output = Some(format!("{stem}.boxes.mp4").into());
        targets.records = Some(format!("{stem}.boxes.jsonl").into());
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
