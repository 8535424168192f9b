//! `mostream warmup`: makes ahead of time what `run` would make when it starts: graphs, optimised models, TensorRT's engines.

use super::bench::first_frame;
use super::exit::{Exit, Outcome};
use super::model::ModelArgs;
use super::progress::Progress;
use mostream::picture;
use mostream::run::inputs::{self, Input};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Instant;
use tracing::{debug, info, warn};

#[derive(clap::Args)]
#[command(
    after_help = "TensorRT takes minutes to build an engine, for one GPU, model, size, precision and batch; it is built again \
after an update of the driver, of TensorRT or of ONNX Runtime.\n\nExamples:\n  mostream warmup --device tensorrt --precision fp16 \
street.mp4\n  mostream warmup --device tensorrt --size 320x240 --batch 16"
)]
pub struct Args {
    /// Files and folders whose frames the model is to be ready for [default: those of --size]
    #[arg(required_unless_present = "size")]
    inputs: Vec<OsString>,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: Args) -> Outcome {
    let checkpoint = args.model.checkpoint()?;
    let inputs::Expanded { inputs, failures, passed_over } = inputs::expand(&args.inputs, None);
    inputs::summary(&passed_over).iter().for_each(|told| warn!("{told}"));
    if let Some(failure) = failures.into_iter().next() {
        return Err(failure.into());
    }
    let mut sizes: BTreeSet<(u32, u32)> = args.model.size.into_iter().collect();
    for input in inputs {
        let (width, height) = match input {
            Input::Still(path) => picture::dimensions(&path)?,
            Input::Video(source) => first_frame(&source)?.1.display_size(),
        };
        sizes.insert(args.model.size_for(&checkpoint, width, height));
    }
    args.model.measure(&checkpoint);
    for (width, height) in sizes {
        let start = Instant::now();
        let waiting =
            Progress::waiting(&format!("preparing the model for {width}x{height} on {}", args.model.device.devices()));
        let backbone = args.model.open_as_run(&checkpoint, args.model.feature.into(), (width, height));
        waiting.finish();
        let backbone = backbone?;
        let placement = backbone.placement();
        info!("{width}x{height} is ready on {} in {}", placement.device, placement.precision);
        debug!("batches of up to {}, after {:.1} s", backbone.batch(), start.elapsed().as_secs_f64());
    }
    Ok(Exit::Done)
}
