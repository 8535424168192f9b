//! Draws scenes in which something happens, each a clip with what happens in `NAME.events.json` beside it: a data set for `mostream eval`.
//!
//! `draw_events FOLDER 240` draws the first 240 scenes, `draw_events FOLDER 12 24` those from number 12 to 23, and
//! `draw_events FOLDER --still 3600` an hour of a still empty scene. `draw_events --picture docs/events.png` draws a moment of each kind of
//! event, with the boxes of things, zones and lines.

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
    const USAGE: &str = "usage: draw_events FOLDER (COUNT | FIRST END | --still SECONDS), or --picture FILE.png";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, file] = &arguments[..]
        && flag == "--picture"
    {
        return picture(file);
    }
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

/// Tiles in a row.
const COLUMNS: usize = 4;
const BOX: [u8; 3] = [230, 40, 30];
const ZONE: [u8; 3] = [250, 220, 40];

/// The first moment of each kind of event in the scenes, a while after it.
fn picture(file: &str) -> Result<(), Box<dyn Error>> {
    const KINDS: [&str; 10] =
        ["object", "stopped", "zone", "stay", "line", "left_behind", "taken_away", "camera_moved", "covered", "light"];
    let (width, height) = (play::WIDTH as usize, play::HEIGHT as usize);
    let rows = KINDS.len().div_ceil(COLUMNS);
    let mut sheet = vec![255; 3 * width * COLUMNS * height * rows];
    for (tile, kind) in KINDS.iter().enumerate() {
        let moment = |play: &Play| {
            let truth = play.truth();
            let event = truth["events"].as_array()?.iter().find(|event| event["event"] == *kind)?.clone();
            Some(event["start_ns"].as_u64()? as f64 / 1e9 + 0.8)
        };
        let found = (0..240).map(Play::new).find_map(|play| Some((moment(&play)?, play)));
        let (seconds, play) = found.ok_or_else(|| format!("no scene has {kind}"))?;
        let drawn = play.draw((seconds * f64::from(play.rate)) as u32);
        let mut rgb = drawn.rgb;
        for bbox in drawn.boxes.iter().filter(|bbox| bbox[0] < bbox[2]) {
            let [left, top, right, bottom] = bbox.map(|edge| edge as f32);
            outline(&mut rgb, &[[left, top], [right, top], [right, bottom], [left, bottom], [left, top]], BOX);
        }
        let pixels = |[x, y]: [f32; 2]| [x * width as f32, y * height as f32];
        for zone in &play.zones {
            let points = zone.polygon.points();
            let ring: Vec<_> = points.iter().chain(&points[..1]).copied().map(pixels).collect();
            outline(&mut rgb, &ring, ZONE);
        }
        for line in &play.lines {
            outline(&mut rgb, &line.points.points().iter().copied().map(pixels).collect::<Vec<_>>(), ZONE);
        }
        let (row, column) = (tile / COLUMNS, tile % COLUMNS);
        for (y, line) in rgb.chunks(3 * width).enumerate() {
            let at = 3 * width * ((row * height + y) * COLUMNS + column);
            sheet[at..at + 3 * width].copy_from_slice(line);
        }
    }
    let mut encoder = png::Encoder::new(std::fs::File::create(file)?, (width * COLUMNS) as u32, (height * rows) as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    encoder.write_header()?.write_image_data(&sheet)?;
    println!("{file}: {}", KINDS.join(", "));
    Ok(())
}

/// Straight from point to point.
fn outline(rgb: &mut [u8], points: &[[f32; 2]], colour: [u8; 3]) {
    for pair in points.windows(2) {
        let steps = (pair[1][0] - pair[0][0]).abs().max((pair[1][1] - pair[0][1]).abs()).ceil().max(1.0) as usize;
        for step in 0..=steps {
            let at = [0, 1].map(|side| pair[0][side] + (pair[1][side] - pair[0][side]) * step as f32 / steps as f32);
            let x = at[0].clamp(0.0, play::WIDTH as f32 - 1.0) as usize;
            let y = at[1].clamp(0.0, play::HEIGHT as f32 - 1.0) as usize;
            rgb[3 * (y * play::WIDTH as usize + x)..][..3].copy_from_slice(&colour);
        }
    }
}
