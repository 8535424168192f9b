//! A still image → its patch features in a NumPy file.

use super::exit::{self, Exit, Failure, Outcome};
use super::model::{FeatureArg, ModelArgs};
use mostream::partial;
use mostream::picture;
use mostream::run::guard::guard;
use ndarray::Array2;
use ndarray_npy::WriteNpyExt;
use std::io;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "Prints as JSON what `mostream localize` needs to know.\n\nExample:\n  \
mostream features photo.jpg -o keys.npy\n  \
mostream localize keys.npy --image 320x240 --patch 8")]
pub struct Args {
    /// A PNG, JPEG, WebP, TIFF or BMP file
    image: PathBuf,
    /// Where the features are written, float32 [N, D] ([heads, N] for the attention)
    #[arg(short, long, value_name = "FILE.npy")]
    output: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(mut args: Args) -> Outcome {
    let read = [Some(args.image.as_path()), args.model.checkpoint.file()];
    guard(&[(&args.output, "-o")], &read.into_iter().flatten().collect::<Vec<_>>())?;
    // They are compared with others' features.
    args.model.device = args.model.device.exact_by_default();
    let checkpoint = args.model.checkpoint()?;
    let image = picture::decode(&args.image)?;
    let (width, height) = args.model.size_for(&checkpoint, image.width(), image.height());
    let backbone = args.model.open(&checkpoint, args.model.feature.into(), (width, height))?;
    let (id, patch) = (checkpoint.id().to_owned(), checkpoint.patch());
    drop(checkpoint);
    let features = backbone.features(picture::scaled(&image, width, height).as_raw()).map_err(Failure::from)?;
    write(&args.output, &features).map_err(|error| Failure::unwritten(&args.output, error))?;
    let grid = backbone.layout().grid;
    let mut said = serde_json::json!({
        "width": width,
        "height": height,
        "patch": patch,
        "grid": { "rows": grid.rows, "cols": grid.cols },
        "feature": args.model.feature.name(),
        "model": id,
    });
    match args.model.feature {
        FeatureArg::Attention => said["heads"] = features.nrows().into(),
        _ => said["dim"] = features.ncols().into(),
    }
    exit::to_stdout(|out| writeln!(out, "{said}"))?;
    Ok(Exit::Done)
}

/// Writes a NumPy file; the final name appears when all of it is there.
fn write(path: &Path, array: &Array2<f32>) -> io::Result<()> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).map_err(io::Error::other)?;
    partial::write(path, &bytes)
}
