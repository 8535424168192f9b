//! How many frames a second go from the file to the record when the model costs nothing: decode, fit, find, record, on one core, on
//! two, and what that makes on sixteen.
//!
//! `cargo bench --profile release --bench ceiling`, after `make demo`. Features are those of the bundled model for the demo clip's first
//! frames, in 1200 patches; 384 columns are its keys beside its queries. Each setting runs in a process of its own, held to its
//! cores by `taskset`; every record's boxes are compared with those found beforehand. With `GPU_RATE=4000` the model takes as long as a
//! GPU that makes so many pictures a second: ViT-S/16 in batches of 16 on an H200, say.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench ends where something is not as it should be, and prints its times"
)]

use mostream::backbone::{
    Backbone, BackboneError, Checkpoint, Element, Feature, MemoryKind, Model, RunMemory, RunShape, SessionOptions,
};
use mostream::engine::status::Board;
use mostream::engine::{self, Cue, Input, Task};
use mostream::geometry::PatchLayout;
use mostream::localize::{Features, Localizer, PatchOutput};
use mostream::publish::records::{Lines, Records};
use mostream::stream::feed::Files;
use mostream::stream::frame::FrameFit;
use mostream::stream::ingest::Span;
use mostream::stream::preflight::Source;
use mostream::stream::source::{self, FrameSource};
use ndarray::{Array2, Axis, concatenate};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/out/demo.mp4");
const SIZE: (u32, u32) = (320, 240);
/// Different features, so that the processor cannot learn one frame's.
const RECORDED: usize = 8;
/// As a GPU has it.
const BATCH: usize = 8;
const SOURCES: [usize; 2] = [1, 16];
const ROUNDS: usize = 3;

/// A device that has its answers ready: what is left is the program's own.
struct Recorded {
    layout: PatchLayout,
    features: Vec<Array2<f32>>,
    /// How long one picture takes; one run after the other, as kernels do.
    picture: Mutex<Duration>,
}

impl Model for Recorded {
    fn layout(&self) -> PatchLayout {
        self.layout
    }

    fn device(&self) -> String {
        "recorded".into()
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn runs_at_once(&self) -> usize {
        2
    }

    fn memory(&self) -> Result<RunMemory, BackboneError> {
        let (rows, cols) = self.features[0].dim();
        let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
        let shape = RunShape { batch: BATCH, width, height, rows, cols, element: Element::F32 };
        let mut memory = RunMemory::new(&MemoryKind::Plain, shape)?;
        let places = memory.output_mut().unwrap().chunks_exact_mut(rows * cols);
        for (place, features) in places.zip(self.features.iter().cycle()) {
            place.copy_from_slice(features.as_slice().unwrap());
        }
        Ok(memory)
    }

    fn run(&self, _: &mut RunMemory, count: usize) -> Result<(), BackboneError> {
        let picture = self.picture.lock().unwrap();
        std::thread::sleep(*picture * count as u32);
        Ok(())
    }
}

fn open() -> (mostream::stream::frame::Frame, Box<dyn FrameSource>, String) {
    let clip = Source::new(CLIP).unwrap();
    let (_, mut frames) = source::open(&clip, Span::default()).expect("run `make demo` first: it draws the clip");
    (frames.next(&|| false).unwrap().unwrap(), frames, clip.name)
}

/// The features of the clip's first frames, `[N, dim]`.
fn record(dim: usize) -> Recorded {
    let checkpoint = Checkpoint::bundled().unwrap();
    let session = |feature| Backbone::open(&checkpoint, feature, SIZE.0, SIZE.1, &SessionOptions::default()).unwrap();
    let sessions: Vec<_> = [Feature::Keys, Feature::Queries].into_iter().take(dim / 192).map(session).collect();
    let mut fit = FrameFit::default();
    let (first, mut rest, _) = open();
    let mut frames = std::iter::once(first).chain(std::iter::from_fn(|| rest.next(&|| false).unwrap()));
    let features = (0..RECORDED).map(|_| {
        let mut image = vec![0; 3 * SIZE.0 as usize * SIZE.1 as usize];
        fit.rgb(&frames.next().unwrap(), SIZE, &mut image).unwrap();
        let parts: Vec<_> = sessions.iter().map(|session| session.features(&image).unwrap()).collect();
        concatenate(Axis(1), &Vec::from_iter(parts.iter().map(|part| part.view())))
            .unwrap()
            .as_standard_layout()
            .into_owned()
    });
    let rate = std::env::var("GPU_RATE").ok().and_then(|rate| rate.parse::<f64>().ok());
    let picture = Mutex::new(rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate)));
    Recorded { layout: sessions[0].layout(), features: features.collect(), picture }
}

/// Frames per second of the steady part, in this process.
fn measure(dim: usize, sources: usize) -> f64 {
    let model = record(dim);
    let localizer = Localizer::default();
    let boxes = |features: &Array2<f32>| {
        let output = PatchOutput::Features(Features::new(model.layout.grid, features.view()).unwrap());
        localizer.localize(&output, &model.layout).unwrap().len()
    };
    let expected: BTreeSet<usize> = model.features.iter().map(boxes).collect();
    let models: Vec<Arc<dyn Model>> = vec![Arc::new(model)];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let board = Board::default();
    let records = Records::replace(&path, Lines::Frames);
    let inputs = (0..sources).map(|number| {
        let feed = Files::new(vec![Source::new(CLIP).unwrap()], Span::default());
        Input { sinks: vec![records.sink()], ..Input::new(board.enter(number.to_string()), Box::new(feed)) }
    });
    let task = Task {
        model: "recorded".into(),
        cue: Cue::Appearance,
        localizer,
        groups: None,
        with_masks: false,
        with_timings: false,
    };
    engine::run(&task, inputs.collect(), &models, &board, &stop).unwrap();
    let frames = board.sources().iter().map(|source| source.snapshot().frames).sum();
    let seconds = start.elapsed().as_secs_f64();
    check(&path, frames, &expected);
    frames as f64 / seconds
}

/// Every frame has its record, with as many boxes as one of the recorded answers.
fn check(path: &Path, frames: u64, expected: &BTreeSet<usize>) {
    let text = std::fs::read_to_string(path).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let records = Vec::from_iter(records.filter(|record| record["frame"].is_u64()));
    assert_eq!(records.len() as u64, frames);
    for record in records {
        assert_eq!(record["inferred"], true);
        assert!(expected.contains(&record["objects"].as_array().unwrap().len()), "{record}");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    gstreamer::init().unwrap();
    if let [_, dim, sources] = &arguments[..]
        && let (Ok(dim), Ok(sources)) = (dim.parse(), sources.parse())
    {
        println!("{}", measure(dim, sources));
        return;
    }
    let cores = std::thread::available_parallelism().unwrap().get();
    println!("640x480 H.264 to records, 1200 patches, frames per second (best of {ROUNDS}; of CPUs 0 to n-1)");
    for dim in [192, 384] {
        for sources in SOURCES {
            let rate = |cpus: usize| {
                let run = || {
                    let output = Command::new("taskset")
                        .args(["-c", &format!("0-{}", cpus - 1), &arguments[0], &dim.to_string(), &sources.to_string()])
                        .output()
                        .unwrap();
                    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                    String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().unwrap()
                };
                (0..ROUNDS).map(|_| run()).fold(0.0, f64::max)
            };
            let one = rate(1);
            let mut line = format!("D {dim}, {sources:2} sources: one core {one:.0}");
            for cpus in [2, 4, 8, 16].into_iter().filter(|cpus| *cpus <= cores) {
                let rate = rate(cpus);
                line += &format!(", {cpus} cores {rate:.0} ({:.2} times)", rate / one);
            }
            println!("{line}, 16 at the rate of one {:.0}", 16.0 * one);
        }
    }
}
