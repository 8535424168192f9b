//! `--cue`: what speaks for an object.

use mostream::engine::Cue;
use mostream::localize::Method;
use mostream::run::spec::{self, CueName};
use mostream::scene::MIN_SCORE;

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

/// See [`spec::cue`].
pub fn cue(asked: CueArgs, method: Method, paper: bool, min_score: Option<f32>) -> Cue {
    let name = asked.cue.map(|cue| match cue {
        CueArg::Appearance => CueName::Appearance,
        CueArg::Time => CueName::Time,
    });
    spec::cue(name, asked.no_crops, method, paper, min_score)
}
