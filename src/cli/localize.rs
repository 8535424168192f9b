//! `mostream localize`: patch features from a NumPy file to boxes on stdout.

use super::exit::{self, Exit, Failure, Outcome};
use super::model::size;
use super::values::whole;
use mostream::fault::Kind;
use mostream::geometry::{Grid, PatchLayout};
use mostream::localize::{Found, LocalizeError, Localizer, MOST_MIN_SCORE, Method, PatchOutput};
use mostream::npy::{self, NpyError};
use mostream::record::{GridRecord, ObjectRecord};
use mostream::run::spec::localizer;
use serde::Serialize;
use std::fs::File;
use std::path::PathBuf;

/// N² bits of signs are kept: 128 MiB for this many patches.
const MAX_PATCHES: usize = 1 << 15;

#[derive(clap::Args)]
#[command(
    after_help = "Prints a JSON object with the fields that a record of `mostream run` has (docs/record.md).\n\nExample:\n  \
mostream localize keys.npy --image 320x240 --patch 8 --method lost"
)]
pub struct Args {
    /// A NumPy file of float32: patch features [N, D] row by row over the grid, without the CLS token; for dino-seg the CLS
    /// attention [heads, N]
    features: PathBuf,
    /// Width and height of the image in pixels, before it was padded to whole patches
    #[arg(long, value_name = "WxH", value_parser = size)]
    image: (u32, u32),
    /// Side of a patch in pixels
    #[arg(long, value_name = "PIXELS", value_parser = whole::<u32>(1, 4096))]
    patch: u32,
    /// Columns and rows of patches, where they are to be those of the image
    #[arg(long, value_name = "COLSxROWS", value_parser = size)]
    grid: Option<(u32, u32)>,
    /// Print what the boxes were made from, too: for most seeds, clusters and each patch's degree
    #[arg(long)]
    details: bool,
    #[command(flatten)]
    localizer: PaperArgs,
}

/// The flags that choose how boxes are found, for every subcommand that finds some.
#[derive(clap::Args)]
pub struct MethodArgs {
    /// How boxes are found: most (several objects, or none), lost, tokencut or dino-seg (one object)
    #[arg(long, default_value_t, value_parser = method)]
    pub method: Method,
    #[arg(long, help = min_score_help(), value_name = "SCORE", value_parser = score)]
    pub min_score: Option<f32>,
}

/// The same, and whether boxes are the paper's.
#[derive(clap::Args)]
pub struct PaperArgs {
    #[command(flatten)]
    pub boxes: MethodArgs,
    /// Give the paper's boxes as they are: duplicates kept, in the paper's order
    #[arg(long, conflicts_with = "min_score")]
    pub paper: bool,
}

impl MethodArgs {
    pub fn localizer(&self) -> Localizer {
        localizer(self.method, false, self.min_score)
    }
}

impl PaperArgs {
    pub fn method(&self) -> Method {
        self.boxes.method
    }

    pub fn localizer(&self) -> Localizer {
        localizer(self.boxes.method, self.paper, self.boxes.min_score)
    }
}

/// The fields of a record that features alone tell.
#[derive(Serialize)]
struct Output {
    width: u32,
    height: u32,
    grid: GridRecord,
    method: Method,
    objects: Vec<ObjectRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Details {
    Most { seeds: Vec<usize>, clusters: Vec<usize>, degree: Vec<u32> },
    OneSeed { seed: usize },
    None {},
}

pub fn run(args: Args) -> Outcome {
    let layout = layout(args.image, args.patch)?;
    let (cols, rows) = (layout.grid.cols, layout.grid.rows);
    if let Some((asked_cols, asked_rows)) = args.grid
        && (asked_cols as usize, asked_rows as usize) != (cols, rows)
    {
        let ((width, height), patch) = (args.image, args.patch);
        let why = format!(
            "--image {width}x{height} (width x height) has {cols}x{rows} patches of {patch} px (columns x rows), \
             not --grid {asked_cols}x{asked_rows}"
        );
        return Err(Failure::new(Kind::Usage, why));
    }
    let file = args.features.display();
    let unreadable = |why: NpyError| Failure::new(Kind::Input, format!("{file}: {why}"));
    let values = File::open(&args.features).map_err(NpyError::from).and_then(npy::read_matrix).map_err(unreadable)?;
    let unusable = |error: LocalizeError| {
        let asked = match error {
            LocalizeError::RowCount { .. } | LocalizeError::AttentionWidth { .. } => ": check --image and --patch",
            _ => "",
        };
        Failure::new(Kind::Input, format!("{file}: {error}{asked}"))
    };
    let method = args.localizer.method();
    let output = PatchOutput::new(method, layout.grid, values).map_err(unusable)?;
    let (detections, found) = args.localizer.localizer().explain(&output, &layout).map_err(unusable)?;
    let details = args.details.then_some(match found {
        Found::Most(most) => Details::Most { seeds: most.seeds, clusters: most.clusters, degree: most.degrees },
        Found::Lost(lost) => Details::OneSeed { seed: lost.seed },
        Found::TokenCut(cut) => Details::OneSeed { seed: cut.seed },
        Found::DinoSeg(_) => Details::None {},
    });
    let (width, height) = args.image;
    let objects = detections.iter().map(|found| ObjectRecord::new(found, None, &layout, args.image, false)).collect();
    let output = Output { width, height, grid: GridRecord::new(&layout, width, height), method, objects, details };
    let said = serde_json::to_string(&output).map_err(Failure::internal)?;
    exit::to_stdout(|out| writeln!(out, "{said}"))?;
    Ok(Exit::Done)
}

/// How patches lie over an image of this size, `(width, height)`.
fn layout((width, height): (u32, u32), patch: u32) -> Result<PatchLayout, Failure> {
    let grid = Grid { rows: height.div_ceil(patch) as usize, cols: width.div_ceil(patch) as usize };
    match grid.patches() {
        ..=MAX_PATCHES => Ok(PatchLayout { grid, patch, image_width: width, image_height: height }),
        patches => Err(Failure::new(
            Kind::Usage,
            format!("--image {width}x{height} has {patches} patches of {patch} px (expected at most {MAX_PATCHES})"),
        )),
    }
}

/// What `--min-score` is for.
pub fn min_score_help() -> String {
    format!("Leave out objects with a lower score, 0 to 1 [default: {MOST_MIN_SCORE} for most, 0 for the others]")
}

/// The method with what the flags change about it. The paper leaves nothing out.
pub fn score(text: &str) -> Result<f32, String> {
    text.parse()
        .ok()
        .filter(|score| (0.0..=1.0).contains(score))
        .ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

pub fn method(text: &str) -> Result<Method, String> {
    [Method::Most, Method::Lost, Method::TokenCut, Method::DinoSeg]
        .into_iter()
        .find(|method| method.to_string() == text)
        .ok_or_else(|| "expected most, lost, tokencut or dino-seg".to_owned())
}
