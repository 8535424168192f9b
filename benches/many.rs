//! Eight cameras of 640×480 pixels in one process and one session: whether the model runs as often for all of them together as for
//! one whose seven neighbours are only received and dropped, whether each gets its share, and what a silent one costs.
//!
//! `cargo bench --profile release --bench many [SECONDS]`: the settings take turns within one run, SECONDS in all for each, because a
//! shared machine's speed drifts by a third within a minute; then eight, and seven, go on for as long, to see who gets what.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends where something is not as it should be, and prints its times"
)]

use mostream::backbone::{Backbone, Checkpoint, DEFAULT_MAX_PATCHES, Feature, Model, SessionOptions, model_size};
use mostream::engine::status::Board;
use mostream::engine::{self, Cue, Input, Task};
use mostream::localize::Localizer;
use mostream::stream::camera::{Camera, CameraOptions};
use mostream::stream::feed::{Event, Feed};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

const CAMERAS: usize = 8;
const SECONDS: f64 = 60.0;
/// How long a setting's turn is counted.
const SLICE: Duration = Duration::from_secs(4);
/// After a change of setting: every camera's frame that waits has its turn.
const SETTLE: Duration = Duration::from_millis(2500);
/// The most that a source may get of what another gets.
const FAIR: f64 = 1.1;

/// Which cameras the program hears of.
#[derive(Clone, Copy, PartialEq)]
enum Setting {
    All,
    /// The first; the others are received and dropped.
    One,
    /// All but the first.
    OneSilent,
}

const SETTINGS: [Setting; 3] = [Setting::All, Setting::One, Setting::OneSilent];
static SETTING: AtomicU8 = AtomicU8::new(0);

/// A camera whose frames are dropped while the setting wants none of them.
struct Gated {
    camera: Camera,
    number: usize,
}

impl Feed for Gated {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Event> {
        loop {
            let event = self.camera.next(stop)?;
            let is_first = self.number == 0;
            let is_wanted = match SETTINGS[SETTING.load(Ordering::Relaxed) as usize] {
                Setting::All => true,
                Setting::One => is_first,
                Setting::OneSilent => !is_first,
            };
            if is_wanted || !matches!(event, Event::Frame(_)) {
                return Some(event);
            }
        }
    }

    fn is_live(&self) -> bool {
        true
    }
}

fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(SECONDS);
    let checkpoint = Checkpoint::bundled().unwrap();
    let board = Board::default();
    let input = |number: usize| {
        let pipeline = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=480,framerate=10/1 \
                        ! appsink name=frames sync=false drop=true";
        let camera = Camera::open(pipeline.as_ref(), number.to_string(), CameraOptions::default()).unwrap();
        Input::new(board.enter(number.to_string()), Box::new(Gated { camera, number }))
    };
    let stop = AtomicBool::new(false);
    let localizer = Localizer::default();
    let task = Task {
        model: checkpoint.id().into(),
        cue: Cue::Appearance,
        localizer,
        groups: None,
        with_masks: false,
        with_timings: false,
    };
    let (width, height) = model_size(640, 480, checkpoint.patch(), DEFAULT_MAX_PATCHES);
    let backbone = Backbone::open(&checkpoint, Feature::Keys, width, height, &SessionOptions::default()).unwrap();
    let models = vec![Arc::new(backbone) as Arc<dyn Model>];
    let inferred = || Vec::from_iter(board.sources().iter().map(|source| source.snapshot().inferred));
    let total = |counts: &[u64]| counts.iter().sum::<u64>();

    // Frames of each source that the model answers in this time of a setting, and the seconds it took.
    let count = |which: usize, time: Duration| {
        SETTING.store(which as u8, Ordering::Relaxed);
        std::thread::sleep(SETTLE);
        let (before, start) = (inferred(), Instant::now());
        std::thread::sleep(time);
        let seconds = start.elapsed().as_secs_f64();
        (Vec::from_iter(inferred().iter().zip(before).map(|(after, before)| after - before)), seconds)
    };
    let (mut rates, mut shares) = ([0.0; SETTINGS.len()], Vec::new());
    std::thread::scope(|scope| {
        let inputs = (0..CAMERAS).map(input).collect();
        let run = scope.spawn(|| engine::run(&task, inputs, &models, &board, &stop));
        while total(&inferred()) < 2 * CAMERAS as u64 && !run.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut sums = [(0, 0.0); SETTINGS.len()];
        while sums.iter().any(|&(_, time)| time < seconds) && !run.is_finished() {
            for (which, (frames, time)) in sums.iter_mut().enumerate() {
                let (counts, seconds) = count(which, SLICE);
                *frames += total(&counts);
                *time += seconds;
            }
        }
        rates = sums.map(|(frames, time)| frames as f64 / time);
        shares = Vec::from_iter([0, 2].map(|which| count(which, Duration::from_secs_f64(seconds)).0));
        stop.store(true, Ordering::Relaxed);
        run.join().unwrap().unwrap();
    });
    let (eight, seven) = (&shares[0], &shares[1][1..]);
    let fairness = |counts: &[u64]| *counts.iter().max().unwrap() as f64 / *counts.iter().min().unwrap() as f64;
    println!(
        "640x480 at 10 frames per second, default model size, {seconds} s of each\n\
         eight cameras: {:.2} per second, most/least {:.3}\n\
         one, the others dropped: {:.2} per second; eight to one {:.3}\n\
         seven and a silent one: {:.2} per second, most/least {:.3}; to eight {:.3}",
        rates[0],
        fairness(eight),
        rates[1],
        rates[0] / rates[1],
        rates[2],
        fairness(seven),
        rates[2] / rates[0]
    );
    for counts in [eight, seven] {
        // A turn more or less at the ends is no unfairness.
        let turns = total(counts) as f64 / counts.len() as f64;
        assert!(fairness(counts) <= FAIR.max(1.0 + 2.0 / turns), "{shares:?}");
    }
    assert_eq!(shares[1][0], 0, "the silent camera was heard");
}
