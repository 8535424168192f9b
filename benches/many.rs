//! Eight cameras of 640×480 pixels in one process and one session: whether the model runs as often for all of them together as for
//! one whose seven neighbours are only received and dropped, whether each gets its share, and what a silent one costs.
//!
//! `cargo bench --profile release --bench many [SECONDS]`: in turn, round after round, so that what else the machine does falls on
//! all sides.

#[path = "../tests/support/feed.rs"]
mod feed;

use feed::Silent;
use mostream::backbone::{Backbone, Checkpoint, Feature, SessionOptions, model_size};
use mostream::live::engine::{self, Input, Task};
use mostream::live::feed::Feed;
use mostream::live::status::Board;
use mostream::localize::Localizer;
use mostream::stream::camera::{Camera, CameraOptions};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CAMERAS: usize = 8;
const ROUNDS: usize = 3;
const SECONDS: u64 = 16;
/// The most that a source may get of what another gets.
const FAIR: f64 = 1.1;

#[derive(Clone, Copy)]
enum Setting {
    All,
    One,
    OneSilent,
}

/// Frames inferred per second of each source.
fn measure(checkpoint: &Checkpoint, setting: Setting, seconds: u64) -> Vec<f64> {
    let input = |number: usize| {
        let pipeline = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=480,framerate=10/1 \
                        ! appsink name=frames sync=false drop=true";
        let camera = || Camera::open(pipeline.as_ref(), number.to_string(), CameraOptions::default()).unwrap();
        let is_wanted = !matches!(setting, Setting::One) || number == 0;
        let feed: Box<dyn Feed> = match setting {
            Setting::OneSilent if number == 0 => Box::new(Silent),
            _ => Box::new(camera()),
        };
        // The first frame of each is inferred in any case, before the clock starts.
        Input { feed, sinks: Vec::new(), every: if is_wanted { 1 } else { u64::MAX }, adaptive: None }
    };
    let board = Board::new((0..CAMERAS).map(|number| number.to_string()));
    let stop = AtomicBool::new(false);
    let localizer = Localizer::default();
    let task = Task { model: checkpoint.id().into(), localizer, groups: None, with_masks: false, with_timings: false };
    let open = |width, height| {
        let (width, height) = model_size(width, height, checkpoint.patch(), mostream::backbone::DEFAULT_MAX_PATCHES);
        Backbone::open(checkpoint, Feature::Keys, width, height, &SessionOptions::default())
    };
    let inferred = || Vec::from_iter(board.sources.iter().map(|source| source.snapshot().inferred));
    std::thread::scope(|scope| {
        let inputs = (0..CAMERAS).map(input).collect();
        let run = scope.spawn(|| engine::run(&task, inputs, open, &board, &stop, &|line| eprintln!("{line}")));
        while inferred().iter().sum::<u64>() < 2 * CAMERAS as u64 && !run.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let (before, start) = (inferred(), Instant::now());
        std::thread::sleep(Duration::from_secs(seconds));
        let (after, elapsed) = (inferred(), start.elapsed().as_secs_f64());
        stop.store(true, Ordering::Relaxed);
        run.join().unwrap().unwrap();
        after.iter().zip(before).map(|(after, before)| (after - before) as f64 / elapsed).collect()
    })
}

fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(SECONDS);
    let checkpoint = Checkpoint::bundled().unwrap();
    println!(
        "each of {ROUNDS} rounds: {seconds} s of each setting, 640x480 at 10 frames per second, default model size"
    );
    for _ in 0..ROUNDS {
        let [all, one, silent] =
            [Setting::All, Setting::One, Setting::OneSilent].map(|setting| measure(&checkpoint, setting, seconds));
        let sum = |rates: &[f64]| rates.iter().sum::<f64>();
        let fairness = |rates: &[f64]| {
            rates.iter().copied().fold(0.0, f64::max) / rates.iter().copied().fold(f64::INFINITY, f64::min)
        };
        println!(
            "eight: {:.2} per second, most/least {:.3}; one: {:.2}, eight to one {:.3}; seven and a silent one: {:.2}, \
             most/least {:.3}",
            sum(&all),
            fairness(&all),
            sum(&one),
            sum(&all) / sum(&one),
            sum(&silent),
            fairness(&silent[1..])
        );
        // A turn more or less at the ends of the measurement is no unfairness.
        let turns = seconds as f64 * sum(&all) / CAMERAS as f64;
        let bound = FAIR.max(1.0 + 2.0 / turns);
        assert!(fairness(&all) <= bound && fairness(&silent[1..]) <= bound, "{all:?} {silent:?}");
        assert!(one[1..].iter().all(|&rate| rate == 0.0) && silent[0] == 0.0, "{one:?} {silent:?}");
    }
}
