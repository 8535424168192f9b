//! `mostream bench`: what each stage costs on this machine, and how near the whole comes to what that allows.
//!
//! The machine may do other things meanwhile, so everything is measured in turn, round after round, and compared within a round.

mod accuracy;
mod compare;
mod parts;
mod peak;
mod report;

use super::exit::{self, Exit, Failure, Outcome};
use super::log;
use super::model::ModelArgs;
use crate::cli::values::whole;
use mostream::backbone::{self, Device, Feature, OpenVino, Work};
use mostream::engine::{Cue, Task};
use mostream::fault::Kind;
use mostream::localize::{Localizer, Method};
use mostream::stream::frame::FrameFit;
use mostream::stream::preflight::Source;
use mostream::zoo::Store;
pub use parts::open as first_frame;
use parts::{Bench, Scratch, peak_memory_mib};
use report::{Input, Machine, Ran, Report, Setting};
use std::sync::Arc;
use std::time::Instant;

/// Inference of a round's frames takes about this long, within bounds: on a shared machine a core's speed drifts within seconds,
/// and what is compared must be near in time.
const INFERENCE_SECONDS: f64 = 1.0;
const FRAMES: std::ops::RangeInclusive<usize> = 8..=200;

#[derive(clap::Args)]
pub struct Args {
    /// A video file
    input: std::ffi::OsString,
    /// How boxes are found: most, lost or tokencut
    #[arg(long, default_value = "most", value_parser = super::localize::method)]
    method: Method,
    /// How often everything is measured; medians are told
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = whole::<u16>(1, 65_535))]
    rounds: u16,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Say what is faster or slower, beyond noise, than in this report of an earlier --json
    #[arg(long, value_name = "OLD.json", conflicts_with = "accuracy")]
    compare: Option<std::path::PathBuf>,
    /// Compare every device and precision at hand instead: speed, memory, and how near the boxes come to those of the CPU in fp32
    #[arg(long, conflicts_with_all = ["device", "precision", "exact", "batch"])]
    accuracy: bool,
    /// Measure a model of this name and shape with weights by chance, without installing it: `mostream model list` has the names. Its boxes mean
    /// nothing
    #[arg(long, value_name = "NAME", conflicts_with_all = ["model", "accuracy"])]
    random: Option<String>,
    /// One of them
    #[arg(long, hide = true)]
    accuracy_part: bool,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: Args) -> Outcome {
    if args.method == Method::DinoSeg {
        return Err(Failure::new(Kind::Usage, "bench measures the methods on features: most, lost or tokencut"));
    }
    let cores = std::thread::available_parallelism().map_err(Failure::internal)?.get();
    let threads = args.model.threads.map_or(cores, usize::from);
    if args.accuracy_part {
        return accuracy::part(args);
    }
    if args.accuracy {
        return accuracy::run(&args, threads, cores);
    }
    // Before anything is measured.
    let old = args.compare.as_deref().map(compare::Old::read).transpose()?;
    let source = Source::new(&args.input)?;
    let first = parts::open(&source)?.1;
    let checkpoint = match &args.random {
        Some(name) => args.model.checked(Store::of_user()?.random(name)?)?,
        None => args.model.checkpoint()?,
    };
    let display = first.display_size();
    let size = args.model.size_for(&checkpoint, display.0, display.1);
    let feature = Feature::from(args.model.feature);
    let backbone = args.model.open(&checkpoint, feature, size)?;
    let layout = backbone.layout();

    // Nobody else measures meanwhile.
    let _alone = backbone::user_cache().and_then(|cache| backbone::alone(&cache, true).ok());
    // The first inference makes room, the second is timed.
    let image = parts::fitted(&mut FrameFit::default(), &first, &layout)?;
    backbone.features(&image)?;
    let start = Instant::now();
    backbone.features(&image)?;
    let frames = (INFERENCE_SECONDS / start.elapsed().as_secs_f64()) as usize;

    let task = Task {
        model: checkpoint.id().to_owned(),
        cue: Cue::Appearance,
        localizer: Localizer::new(args.method),
        groups: None,
        with_masks: false,
        with_timings: false,
    };
    let patches = layout.grid.patches() as u64;
    let dim = checkpoint.dim() as u64;
    let placement = backbone.placement();
    let mut setting = Setting {
        machine: Machine {
            cpu: cpu().unwrap_or_else(|| "unknown processor".to_owned()),
            arch: std::env::consts::ARCH,
            cores,
            threads,
            onnx_runtime: runtime_version(placement.device)?,
        },
        ran: Ran { device: placement.device.to_string(), precision: placement.precision },
        input: Input::new(display, layout.grid),
        model: checkpoint.id().to_owned(),
        method: args.method,
        backbone: Work::of(&checkpoint, feature, &layout),
        precision: matches!(placement.device, Device::Cpu | Device::OpenVino(OpenVino::Cpu))
            .then_some(placement.precision),
        affinity: Work {
            operations: dim * patches * (patches + 1),
            weight_bytes: 0,
            activation_bytes: 4 * dim * patches + patches * patches / 8,
        },
        records_memory_mib: None,
        video_memory_mib: None,
    };
    drop(checkpoint);
    let frames = frames.clamp(*FRAMES.start(), *FRAMES.end());
    let backbone = Arc::new(backbone);
    let models: Vec<Arc<dyn backbone::Model>> = vec![backbone.clone()];
    let mut bench =
        Bench { source, backbone, models, task, frames, threads, scratch: Scratch::new().map_err(Failure::internal)? };
    // Unmeasured but for memory, of which the parts alone need more: they keep all images.
    let expected = bench.whole(false)?.records;
    setting.records_memory_mib = peak_memory_mib();
    bench.whole(true)?;
    setting.video_memory_mib = peak_memory_mib();
    bench.frames = expected.len();
    if bench.frames < 2 {
        let why = format!("{}: it has {} frame (expected at least 2)", bench.source.name, bench.frames);
        return Err(Failure::new(Kind::Input, why));
    }
    let rounds = (0..args.rounds).map(|_| bench.round(&expected)).collect::<Result<Vec<_>, Failure>>()?;
    let mut report = Report::new(setting, bench.frames, &rounds);
    report.comparison = old.map(|old| compare::Comparison::new(old, &report));
    let json = args.json.then(|| serde_json::to_string(&report)).transpose().map_err(Failure::internal)?;
    exit::to_stdout(|out| match &json {
        Some(json) => writeln!(out, "{json}"),
        None => report.write(out, log::is_verbose()),
    })?;
    Ok(Exit::Done)
}

/// Of the ONNX Runtime library that is loaded, else of the one for this device.
fn runtime_version(device: Device) -> Result<String, Failure> {
    let library = backbone::loaded().map_or_else(|| backbone::find_library(None, device), Ok)?;
    Ok(backbone::runtime_info(&library)?.version)
}

/// The processor's name, where the system tells.
pub fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    name.map(|(_, name)| name.trim().to_owned())
}
