//! `mostream bench`: what each stage costs on this machine, and how near the whole comes to what that allows.

use super::exit::{Exit, Failure};
use super::model::ModelArgs;
use mostream::backbone::{Backbone, Feature};
use mostream::localize::{Features, Localizer, Method, PatchOutput};
use mostream::publish::jsonl::RecordWriter;
use mostream::runtime::{self, Sinks, Summary, Task};
use mostream::stream::canvas::Canvas;
use mostream::stream::frame::Converter;
use mostream::stream::ingest::{Ingest, Span};
use mostream::stream::output::Output;
use mostream::stream::preflight::{MediaInfo, Source};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Images that the stages are measured on alone, spread over the video's first frames.
const SAMPLES: usize = 24;

#[derive(clap::Args)]
pub struct Args {
    /// A video file
    input: String,
    /// How boxes are found: most, lost or tokencut
    #[arg(long, default_value = "most", value_parser = super::localize::method)]
    method: Method,
    #[command(flatten)]
    model: ModelArgs,
}

/// CPU time of all threads, and wall time, per frame.
#[derive(Clone, Copy)]
struct Cost {
    cpu: Duration,
    wall: Duration,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    if args.method == Method::DinoSeg {
        return Err(Failure::new(Exit::Usage, "bench measures the methods on features: most, lost or tokencut").into());
    }
    let source = Source::new(&args.input)?;
    let media = source.probe()?;
    let (mut ingest, first) = open(&source, &media)?;
    let checkpoint = args.model.checkpoint()?;
    let (width, height) = first.display_size();
    let size = args.model.size_for(&checkpoint, width, height);
    let mut backbone = args.model.open(&checkpoint, Feature::from(args.model.feature), size)?;
    let localizer = Localizer { method: args.method, paper: false };
    let layout = backbone.layout();

    // Decoding alone, to the end; the first images are kept for the next stages.
    let mut converter = Converter::to_model_rgb(layout.image_width, layout.image_height);
    let (mut images, mut frames) = (Vec::new(), 1);
    let decode = measure(|| {
        images.push(converter.convert(&first)?.0);
        while let Some(frame) = ingest.next(&|| false)? {
            let image = converter.convert(&frame)?.0;
            frames += 1;
            if images.len() < SAMPLES {
                images.push(image);
            }
        }
        anyhow::Ok(())
    })?
    .per(frames);
    drop(ingest);

    let mut outputs = Vec::new();
    let mut infer_all = |outputs: &mut Vec<PatchOutput>| {
        for image in &images {
            let values = backbone.features(&image.map_readable()?)?;
            outputs.push(PatchOutput::Features(Features::new(layout.grid, values)?));
        }
        anyhow::Ok(())
    };
    // Once unmeasured: the first inferences are slower.
    infer_all(&mut Vec::new())?;
    let infer = measure(|| infer_all(&mut outputs))?.per(images.len() as u64);
    let mut boxes = Vec::new();
    let localize = measure(|| {
        for output in &outputs {
            boxes.push(localizer.localize(output, &layout)?.len() as u64);
        }
        anyhow::Ok(())
    })?
    .per(outputs.len() as u64);

    println!("{} frames of {width}x{height}, {} patches, {}", frames, layout.grid.patches(), checkpoint.id());
    println!("stage alone          CPU ms/frame   wall ms/frame");
    for (name, cost) in [("decode and scale", decode), ("infer", infer), ("localize", localize)] {
        println!("  {name:<18} {:>12.2} {:>15.2}", milliseconds(cost.cpu), milliseconds(cost.wall));
    }
    let cores = std::thread::available_parallelism()?.get() as f64;
    let sum = decode.cpu + infer.cpu + localize.cpu;
    let bound = cores / sum.as_secs_f64();
    println!("inference is {:.1} % of it; {cores} cores allow {bound:.2} fps", 100.0 * ratio(infer.cpu, sum));

    let task = |every| Task {
        source: source.name.clone(),
        model: checkpoint.id().to_owned(),
        localizer,
        groups: None,
        every,
        start_ns: 0,
        with_masks: false,
        with_timings: false,
    };
    let folder = std::env::temp_dir();
    println!("the whole way                fps    CPU ms/frame   of the bound");
    for (name, with_video) in [("to records", false), ("to overlay and MP4", true)] {
        let video = folder.join(format!("mostream-bench-{}.mp4", std::process::id()));
        let (summary, cost) = whole(&source, &media, &task(1), &mut backbone, with_video.then_some(video.as_path()))?;
        let fps = 1.0 / cost.wall.as_secs_f64();
        println!("  {name:<20} {fps:>9.2} {:>15.2} {:>14.3}", milliseconds(cost.cpu), fps / bound);
        if with_video {
            let count = summary.canvas;
            println!("  drawn in place {}, copied {}, converted {}", count.in_place, count.copied, count.converted);
        }
        if summary.frames != frames {
            return Err(Failure::new(Exit::Other, format!("{name}: {} frames, not {frames}", summary.frames)).into());
        }
    }
    // The answer is checked, too: the same images give the same boxes again.
    let again = outputs.iter().map(|output| localizer.localize(output, &layout).map(|found| found.len() as u64));
    if again.collect::<Result<Vec<_>, _>>()? != boxes {
        return Err(Failure::new(Exit::Other, "the same features gave other boxes").into());
    }
    Ok(Exit::Done)
}

fn open(source: &Source, media: &MediaInfo) -> anyhow::Result<(Ingest, mostream::stream::frame::Frame)> {
    let mut ingest = Ingest::open(source, media, Span::default())?;
    let first = ingest.next(&|| false)?;
    let first = first.ok_or_else(|| Failure::new(Exit::Input, format!("{}: no frame", source.name)))?;
    Ok((ingest, first))
}

/// The program's own way through all frames; the files are thrown away.
fn whole(
    source: &Source,
    media: &MediaInfo,
    task: &Task,
    backbone: &mut Backbone,
    video: Option<&Path>,
) -> anyhow::Result<(Summary, Cost)> {
    let mut summary = Summary::default();
    let cost = measure(|| {
        let (mut ingest, first) = open(source, media)?;
        let mut sinks = Sinks {
            records: Some((RecordWriter::create("/dev/null".as_ref())?, "/dev/null".into())),
            ..Sinks::default()
        };
        if let Some(path) = video {
            let canvas = Canvas::new(&first)?;
            sinks.output = Some(Output::open(path, canvas.info(), None)?);
            sinks.canvas = Some(canvas);
        }
        summary = runtime::run(task, first, &mut ingest, backbone, sinks, &AtomicBool::new(false), |_| ())?;
        anyhow::Ok(())
    })?;
    if let Some(path) = video {
        std::fs::remove_file(path)?;
    }
    let frames = summary.frames;
    Ok((summary, cost.per(frames)))
}

fn measure(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Cost> {
    let (cpu, wall) = (cpu_time(), Instant::now());
    work()?;
    Ok(Cost { cpu: cpu_time() - cpu, wall: wall.elapsed() })
}

impl Cost {
    fn per(self, frames: u64) -> Self {
        let frames = frames.max(1) as f64;
        Self { cpu: self.cpu.div_f64(frames), wall: self.wall.div_f64(frames) }
    }
}

/// CPU time of the process so far, all threads.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn ratio(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64()
}
