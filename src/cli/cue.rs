//! `--cue`: what speaks for an object.

use mostream::engine::Cue;
use mostream::localize::Method;
use mostream::scene::{MIN_SCORE, Sense};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CueArg {
    Appearance,
    Time,
}

#[derive(clap::Args, Clone, Copy, Debug)]
pub struct CueArgs {
    #[arg(long, help = help(), value_enum)]
    cue: Option<CueArg>,
    /// Do not look again, at the frame's own pixels, at small things that move or are new
    #[arg(long)]
    pub no_crops: bool,
}

fn help() -> String {
    format!(
        "What speaks for an object: time (what moves and what is new; what the single picture shows counts where the camera moves), or \
         appearance (the single picture). Scores of time say which share is right: those below {MIN_SCORE} are left out [default: time for \
         the videos of most, appearance for the other methods and --paper]"
    )
}

/// Another method, or the paper's boxes, are asked for to see what they find.
pub fn cue(asked: CueArgs, method: Method, paper: bool, min_score: Option<f32>) -> Cue {
    let is_usual = method == Method::Most && !paper;
    match asked.cue.unwrap_or(if is_usual { CueArg::Time } else { CueArg::Appearance }) {
        CueArg::Time => Cue::Time {
            min_score: min_score.unwrap_or(MIN_SCORE),
            without: asked.no_crops.then_some(Sense::Crops).into_iter().collect(),
        },
        CueArg::Appearance => Cue::Appearance,
    }
}
