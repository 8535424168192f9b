//! `mostream localize`: patch features from a NumPy file to boxes on stdout.

use super::exit::{self, Exit, Failure, Outcome};
use mostream::fault::Kind;
use mostream::geometry::{Grid, PatchLayout};
use mostream::localize::{Found, LocalizeError, Localizer, MOST_MIN_SCORE, Method, PatchOutput};
use mostream::npy::{self, NpyError};
use mostream::run::spec::localizer;
use serde::Serialize;
use std::fs::File;
use std::path::PathBuf;

/// N² bits of signs are kept: 128 MiB for this many patches.
const MAX_PATCHES: usize = 1 << 15;

#[derive(clap::Args)]
pub struct Args {
    /// A NumPy file of float32: patch features [N, D] row by row over the grid, without the CLS token; for dino-seg the CLS
    /// attention [heads, N]
    features: PathBuf,
    /// Rows and columns of the patch grid
    #[arg(long, value_name = "ROWSxCOLS", value_parser = grid)]
    grid: Grid,
    /// Side of a patch in pixels
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    patch: u32,
    /// Height and width of the image in pixels, before it was padded to whole patches
    #[arg(long, value_name = "HEIGHTxWIDTH", value_parser = pair::<u32>)]
    image: (u32, u32),
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

#[derive(Serialize)]
struct Output {
    method: Method,
    /// `[xmin, ymin, xmax, ymax]`, half-open, image pixels.
    boxes: Vec<[u32; 4]>,
    scores: Vec<f32>,
    #[serde(flatten)]
    details: Details,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Details {
    Most { seeds: Vec<usize>, clusters: Vec<usize>, degree: Vec<u32> },
    OneSeed { seed: usize },
    None {},
}

pub fn run(args: Args) -> Outcome {
    let (image_height, image_width) = args.image;
    let layout = PatchLayout { grid: args.grid, patch: args.patch, image_width, image_height };
    let unreadable = |why: NpyError| Failure::new(Kind::Input, format!("{}: {why}", args.features.display()));
    let values = File::open(&args.features).map_err(NpyError::from).and_then(npy::read_matrix).map_err(unreadable)?;
    let unusable = |error: LocalizeError| match error {
        LocalizeError::Layout { .. } => Failure::new(Kind::Usage, error),
        error => Failure::new(Kind::Input, format!("{}: {error}", args.features.display())),
    };
    let method = args.localizer.method();
    let output = PatchOutput::new(method, args.grid, values).map_err(unusable)?;
    let (detections, found) = args.localizer.localizer().explain(&output, &layout).map_err(unusable)?;
    let output = Output {
        method,
        boxes: detections.iter().map(|d| [d.bbox.xmin, d.bbox.ymin, d.bbox.xmax, d.bbox.ymax]).collect(),
        scores: detections.iter().map(|d| d.score).collect(),
        details: match found {
            Found::Most(most) => Details::Most { seeds: most.seeds, clusters: most.clusters, degree: most.degrees },
            Found::Lost(lost) => Details::OneSeed { seed: lost.seed },
            Found::TokenCut(cut) => Details::OneSeed { seed: cut.seed },
            Found::DinoSeg(_) => Details::None {},
        },
    };
    let said = serde_json::to_string(&output).map_err(Failure::internal)?;
    exit::to_stdout(|out| writeln!(out, "{said}"))?;
    Ok(Exit::Done)
}

/// Two numbers, at least 1 each, joined by `x`.
fn pair<T: std::str::FromStr + PartialOrd + From<u8>>(text: &str) -> Result<(T, T), String> {
    let number = |text: &str| text.parse::<T>().ok().filter(|number| *number >= T::from(1));
    let both = text.split_once('x').and_then(|(a, b)| Some((number(a)?, number(b)?)));
    both.ok_or_else(|| "expected two whole numbers, at least 1, like 30x40".to_owned())
}

fn grid(text: &str) -> Result<Grid, String> {
    let (rows, cols) = pair::<usize>(text)?;
    match rows.checked_mul(cols) {
        Some(patches) if patches <= MAX_PATCHES => Ok(Grid { rows, cols }),
        _ => Err(format!("more than {MAX_PATCHES} patches")),
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
