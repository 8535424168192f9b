//! Runs videos through motion, scene and backbone, frame by frame: what moves, what is new.
//!
//! `cargo run --release --example time -- [--every N] [--half] [--without CUE] [--model FILE] FOLDER VIDEO…`
//!
//! Writes `FOLDER/NAME.jsonl`, one line per frame: `{"frame", "camera", "objects": [{"bbox", "score", "cues"}]}`, boxes in pixels of
//! the frame, and prints milliseconds per stage. `--every N` runs the backbone on each N-th frame, or on those that ask for it with
//! `--every 0`; `--half` runs its first half alone, which leaves appearance out; `--without` leaves out `novelty`, `motion` or
//! `appearance`.

use mostream::backbone::{Backbone, Checkpoint, DEFAULT_MAX_PATCHES, Feature, Model, SessionOptions, model_size};
use mostream::geometry::PatchLayout;
use mostream::localize::{Features, Localizer, PatchOutput};
use mostream::motion::{Camera, Motion};
use mostream::scene::{Candidate, Keys, Scene};
use mostream::stream::ingest::Span;
use mostream::stream::pictures::VideoPictures;
use mostream::stream::preflight::Source;
use std::error::Error;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The small picture is no wider.
const WIDTH: u32 = 384;

#[derive(Default)]
struct Options {
    every: usize,
    is_half: bool,
    without: Vec<String>,
    model: Option<PathBuf>,
    paths: Vec<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options { every: 1, ..Options::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} lacks its value"));
        match word.as_str() {
            "--every" => options.every = value()?.parse()?,
            "--half" => options.is_half = true,
            "--without" => options.without.push(value()?),
            "--model" => options.model = Some(value()?.into()),
            _ => options.paths.push(word.into()),
        }
    }
    let [folder, videos @ ..] = &options.paths[..] else { return Err("give a folder and videos".into()) };
    std::fs::create_dir_all(folder)?;
    let checkpoint = match &options.model {
        Some(file) => Checkpoint::read(file)?,
        None => Checkpoint::bundled()?,
    };
    videos.iter().try_for_each(|video| run(&checkpoint, video, folder, &options))
}

/// Milliseconds of the stages, added up.
#[derive(Default)]
struct Times {
    convert: Duration,
    look: Duration,
    backbone: Duration,
    localize: Duration,
    know: Duration,
    runs: u32,
}

fn run(checkpoint: &Checkpoint, video: &Path, folder: &Path, options: &Options) -> Result<(), Box<dyn Error>> {
    let mut pictures = VideoPictures::open(&Source::new(video)?, Span::default())?;
    let name = video.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut out = BufWriter::new(std::fs::File::create(folder.join(format!("{name}.jsonl")))?);
    let mut state: Option<(Backbone, Motion, Scene)> = None;
    let (mut times, mut frames, mut bytes) = (Times::default(), 0u32, 0);
    while let Some(frame) = pictures.next(&|| false)? {
        let (width, height) = frame.display_size();
        let model = model_size(width, height, checkpoint.patch(), DEFAULT_MAX_PATCHES);
        let small_width = width.min(WIDTH);
        let small = (small_width, (height * small_width + width / 2) / width);
        if state.is_none() {
            let (session, (w, h)) = (SessionOptions { threads: Some(1), ..SessionOptions::default() }, model);
            let backbone = match options.is_half {
                true => Backbone::open(checkpoint, Feature::MiddleKeys, w, h, &session)?,
                false => Backbone::open_with_middle(checkpoint, Feature::Keys, w, h, &session)?,
            };
            let motion = Motion::new((small.0 as usize, small.1 as usize));
            state = Some((backbone, motion, Scene::default()));
        }
        let Some((backbone, motion, scene)) = &mut state else { continue };
        let layout = backbone.layout();
        let rgb = timed(&mut times.convert, || pictures.picture(&frame, small))?;
        let mut evidence = timed(&mut times.look, || motion.look(rgb.as_raw(), frame.pts_ns));
        let is_wanted = match options.every {
            0 => evidence.need.is_some(),
            every => (frames as usize).is_multiple_of(every),
        };
        let mut memory = None;
        if is_wanted {
            let image = timed(&mut times.convert, || pictures.picture(&frame, model))?;
            let run = memory.insert(backbone.memory()?);
            run.pixels(1).ok_or("a picture is out")?.copy_from_slice(image.as_raw());
            timed(&mut times.backbone, || backbone.run(run, 1))?;
            times.runs += 1;
        }
        let keys = match &memory {
            Some(memory) if options.is_half => Some(memory.values(0)),
            Some(memory) => memory.middle(0),
            None => None,
        };
        let is_without = |cue: &str| options.without.iter().any(|without| without == cue);
        let mut candidates = Vec::new();
        if let Some(memory) = memory.as_ref().filter(|_| !options.is_half && !is_without("appearance"))
            && evidence.camera == Camera::Moving
        {
            let features = Features::new(layout.grid, memory.values(0))?;
            let found = timed(&mut times.localize, || {
                Localizer::default().localize(&PatchOutput::Features(features), &layout)
            })?;
            candidates = found.iter().map(|found| candidate(&layout, small, found.score, &found.bbox)).collect();
        }
        if is_without("motion") {
            evidence.against = None;
        }
        let keys = keys.as_ref().filter(|_| !is_without("novelty"));
        let keys = keys.and_then(|keys| Some(Keys { values: keys.as_slice()?, dim: keys.ncols() }));
        let objects = timed(&mut times.know, || scene.know(&evidence, keys.as_ref(), &layout, &candidates));
        let scale = [width as f32 / small.0 as f32, height as f32 / small.1 as f32];
        let objects: Vec<_> = (objects.iter())
            .map(|object| {
                let bbox: Vec<i64> = (0..4).map(|at| (object.bbox[at] * scale[at % 2]).round() as i64).collect();
                let cues = [object.cues.novelty, object.cues.pixels, object.cues.motion, object.cues.appearance];
                serde_json::json!({"bbox": bbox, "score": object.score, "cues": cues})
            })
            .collect();
        let camera = format!("{:?}", evidence.camera);
        writeln!(out, "{}", serde_json::json!({"frame": frames, "camera": camera, "objects": objects}))?;
        frames += 1;
        bytes = motion.bytes() + scene.bytes();
    }
    let each = |time: Duration| time.as_secs_f64() * 1e3 / f64::from(frames.max(1));
    println!(
        "{name}: {frames} frames, {} runs; ms a frame: convert {:.2}, look {:.2}, know {:.2}, localize {:.2}, backbone {:.1}; {} kB",
        times.runs,
        each(times.convert),
        each(times.look),
        each(times.know),
        each(times.localize),
        each(times.backbone),
        bytes / 1000
    );
    Ok(())
}

fn candidate(layout: &PatchLayout, small: (u32, u32), score: f32, bbox: &mostream::geometry::PixelBox) -> Candidate {
    let edges = layout.frame_from_image(bbox, small.0, small.1);
    Candidate { bbox: [edges.xmin, edges.ymin, edges.xmax, edges.ymax].map(|edge| edge as f32), score }
}

fn timed<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    *sum += start.elapsed();
    done
}
