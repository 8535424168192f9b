//! Draws scenes in which something happens, each a clip with what happens in `NAME.events.json` beside it: a data set for `mostream eval`.
//!
//! `draw_events FOLDER 240` draws the first 240 scenes, `draw_events FOLDER 12 24` those from number 12 to 23, and
//! `draw_events FOLDER --still 3600` an hour of a still empty scene.

#![expect(clippy::print_stdout, reason = "it says what it drew")]
#![expect(clippy::unwrap_used, reason = "what draws is the tests'")]

#[expect(dead_code, reason = "each program uses its own part")]
#[path = "../tests/support/clips.rs"]
mod clips;
#[path = "../tests/support/play.rs"]
mod play;
#[expect(dead_code, reason = "each program uses its own part")]
#[path = "../tests/support/scene.rs"]
mod scene;

use play::Play;
use std::error::Error;
use std::path::PathBuf;

/// About as much as cameras lose.
const X264: &str = "-c:v libx264 -preset veryfast -crf 20 -pix_fmt yuv420p";

fn main() -> Result<(), Box<dyn Error>> {
    const USAGE: &str = "usage: draw_events FOLDER (COUNT | FIRST END | --still SECONDS)";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}; {USAGE}"));
    let (folder, plays): (&String, Box<dyn Iterator<Item = Play>>) = match &arguments[..] {
        [folder, still, seconds] if still == "--still" => {
            (folder, Box::new(std::iter::once(Play::still(0, number(seconds)? as f32))))
        }
        [folder, count] => (folder, Box::new((0..number(count)?).map(Play::new))),
        [folder, first, end] => (folder, Box::new((number(first)?..number(end)?).map(Play::new))),
        _ => return Err(USAGE.into()),
    };
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder)?;
    for play in plays {
        let clip = folder.join(format!("{}.mp4", play.name()));
        clips::film_at(play.rate, clip.clone(), (play::WIDTH, play::HEIGHT), play.pictures(), X264);
        let truth = play.truth();
        std::fs::write(clip.with_extension("events.json"), format!("{truth:#}\n"))?;
        println!("{}: {} frames, {} events", clip.display(), play.frames, truth["events"].as_array().unwrap().len());
    }
    Ok(())
}
