//! What `--device auto` and `--precision auto` come to: all that is at hand is tried on drawn pictures, each in a process of its own, since a
//! process loads one library, and may crash or hang in it.

use super::exit::{self, Exit, Failure, Outcome};
use super::interrupt;
use super::model::ModelArgs;
use super::progress::Progress;
use mostream::backbone::{Backbone, Checkpoint, Choice, Device, Feature, Precision, Question, SessionOptions, Tried};
use mostream::fault::Kind;
use mostream::geometry::PixelBox;
use mostream::localize::{Features, Localizer, PatchOutput};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tracing::{debug, info};

/// Pictures that are looked at; fewer, but not below [`FEWEST`], where they take longer than [`ENOUGH`].
const PICTURES: u32 = 24;
const FEWEST: usize = 5;
const ENOUGH: Duration = Duration::from_secs(10);
/// How long one device may take to begin and to look, and after how long no other is begun. Engines are built in minutes, and only where that
/// is asked for.
const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_WITH_BUILDING: Duration = Duration::from_secs(1800);
const TIME: Duration = Duration::from_secs(40);
/// Another precision is told of where it takes less than so much of the time.
const WORTH: f64 = 0.8;
/// So many boxes must have been compared before another precision than fp32 is trusted.
const PROOF: usize = 50;
/// Boxes that overlap so much are the same.
const SAME: f64 = 0.9;
/// Why there is nothing.
const INTERRUPTED: &str = "interrupted";
const LOOK: Duration = Duration::from_millis(5);

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
}

/// What one process found.
#[derive(Serialize, Deserialize)]
struct Found {
    /// The median of one picture.
    ms: f64,
    /// Of each picture: `[xmin, ymin, xmax, ymax]` in its pixels.
    boxes: Vec<Vec<[u32; 4]>>,
}

/// Tries one device and precision, those of `args`, and writes a [`Found`].
pub fn run(args: Args) -> Outcome {
    // Nobody else would end it if it hung.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).ok();
    let checkpoint = args.model.checkpoint()?;
    let (width, height) = args.model.size.ok_or_else(|| Failure::new(Kind::Usage, "measure needs --size"))?;
    let backbone = args.model.open_quietly(&checkpoint, Feature::Keys, (width, height))?;
    let found = look(&backbone, (width, height))?;
    let json = serde_json::to_string(&found).map_err(Failure::internal)?;
    exit::to_stdout(|out| writeln!(out, "{json}"))?;
    Ok(Exit::Done)
}

fn look(backbone: &Backbone, (width, height): (u32, u32)) -> Result<Found, Failure> {
    let (layout, localizer) = (backbone.layout(), Localizer::default());
    // The first run makes room.
    backbone.features(&picture(width, height, 0))?;
    let (mut times, mut boxes, begun) = (Vec::new(), Vec::new(), Instant::now());
    for number in 0..PICTURES {
        if boxes.len() >= FEWEST && begun.elapsed() > ENOUGH {
            break;
        }
        let rgb = picture(width, height, number);
        let start = Instant::now();
        let values = backbone.features(&rgb)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        let found = localizer.localize(&PatchOutput::Features(Features::new(layout.grid, values)?), &layout)?;
        let corners = |bbox: PixelBox| [bbox.xmin, bbox.ymin, bbox.xmax, bbox.ymax];
        boxes.push(found.into_iter().map(|found| corners(found.bbox)).collect());
    }
    times.sort_by(f64::total_cmp);
    Ok(Found { ms: times.get(times.len() / 2).copied().unwrap_or(f64::MAX), boxes })
}

/// Picture number `number`, `[height, width, 3]`: things of several sizes and of two colours each, one before the other, on ground of several
/// kinds. What is alone and clear is boxed alike in any precision; in footage much is not.
fn picture(width: u32, height: u32, number: u32) -> Vec<u8> {
    let (w, h) = (f64::from(width), f64::from(height));
    let chance = |of: u32| f64::from(mixed(number, of, 0)) / f64::from(u32::MAX);
    // Light, texture, what parts the ground and things in two, and what bends outlines.
    let fields = [0, 1, 2, 3].map(|field| Field::new(width, height, number * 4 + field));
    let colour = |of: u32, spread: f64| [0, 1, 2].map(|channel| 120.0 + spread * (chance(of + channel) - 0.5));
    let things = Vec::from_iter((0..4 + number % 5).map(|thing| {
        let of = 100 + 20 * thing;
        let size = h.min(w) * (0.06 + 0.16 * chance(of));
        let middle = [w * chance(of + 1), h * (0.15 + 0.8 * chance(of + 2))];
        let radii = [size * (0.5 + 0.9 * chance(of + 3)), size];
        (middle, radii, [colour(of + 4, 160.0), colour(of + 8, 160.0)], 10.0 + 40.0 * chance(of + 7))
    }));
    let grounds = [colour(10, 130.0), colour(14, 130.0), colour(18, 130.0)];
    let horizon = 0.2 + 0.4 * chance(5);
    let pixel = |x: u32, y: u32| -> [u8; 3] {
        let at = (y * width + x) as usize;
        let [light, rough, part, bend] = [0, 1, 2, 3].map(|field: usize| fields[field].0[at]);
        let ground = if f64::from(y) / h < horizon + 0.1 * bend { 0 } else { 1 + usize::from(part > 0.25) };
        let mut colour = grounds[ground].map(|value| value + 40.0 * light + 40.0 * rough);
        for (middle, radii, own, texture) in &things {
            let [dx, dy] = [(f64::from(x) - middle[0]) / radii[0], (f64::from(y) - middle[1]) / radii[1]];
            // 1 inside, 0 outside, and in between over a few pixels.
            let share = ((1.0 + 0.6 * bend - dx.hypot(dy)) * radii[1] / 3.0).clamp(0.0, 1.0);
            let own = own[usize::from(dy > 0.4 * part)];
            for (value, own) in colour.iter_mut().zip(own) {
                *value += share * (own + 40.0 * light + texture * rough - *value);
            }
        }
        colour.map(|value| value.clamp(0.0, 255.0) as u8)
    };
    (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect()
}

/// Chance in [-1, 1] for every pixel, row by row, alike near by: sums of ever finer grids, as rough as pictures of the world are.
struct Field(Vec<f64>);

impl Field {
    fn new(width: u32, height: u32, number: u32) -> Self {
        let mut values = vec![0.0; width as usize * height as usize];
        for octave in 0..6 {
            let side = 64 >> octave;
            let corner = |x: u32, y: u32| f64::from(mixed(number * 8 + octave, x, y + 1)) / f64::from(u32::MAX) - 0.5;
            let rows = Vec::from_iter(
                (0..=height / side + 1).map(|y| Vec::from_iter((0..=width / side + 1).map(|x| corner(x, y)))),
            );
            let ease = |at: u32| {
                let share = f64::from(at % side) / f64::from(side);
                ((at / side) as usize, share * share * (3.0 - 2.0 * share))
            };
            let between = |low: f64, high: f64, share: f64| low + (high - low) * share;
            let (columns, weight) = (Vec::from_iter((0..width).map(ease)), 0.6f64.powi(octave as i32));
            for (line, y) in values.chunks_exact_mut(width as usize).zip(0..) {
                let (row, down) = ease(y);
                for (value, &(col, across)) in line.iter_mut().zip(&columns) {
                    let of = |row: usize| between(rows[row][col], rows[row][col + 1], across);
                    *value += between(of(row), of(row + 1), down) * weight;
                }
            }
        }
        Self(values)
    }
}

/// A number by chance, the same for the same three.
fn mixed(a: u32, b: u32, c: u32) -> u32 {
    [a, b, c].into_iter().fold(0x9E37_79B9, |sum: u32, part| {
        let sum = (sum ^ part).wrapping_mul(0x85EB_CA6B);
        let sum = (sum ^ (sum >> 13)).wrapping_mul(0xC2B2_AE35);
        sum ^ (sum >> 16)
    })
}

/// Tries these, in a process each, and says meanwhile what it is waited for; none where the program is to end before it is through.
pub fn try_all(question: &Question<'_>, candidates: &[(Device, Precision)]) -> Vec<Tried> {
    let is_gpu = |device: Device| matches!(device, Device::Cuda(_) | Device::TensorRt(_));
    let exact = (Device::Cpu, Precision::Fp32);
    // In fp32 first, which all others are held against, and on a GPU before the CPU, on which large models take long.
    let mut order = candidates.to_vec();
    let is_reference = |&(device, precision): &(Device, Precision)| {
        precision == Precision::Fp32 && (is_gpu(device) || device == Device::Cpu)
    };
    if !order.iter().any(is_reference) {
        order.push(exact);
    }
    order.sort_by_key(|&(device, precision)| (precision != Precision::Fp32, !is_gpu(device), device != Device::Cpu));

    let waiting = Progress::waiting("measuring what the model is fastest on, once");
    let (mut outcomes, begun) = (Vec::new(), Instant::now());
    for (device, precision) in order {
        let builds = matches!(device, Device::TensorRt(_));
        let outcome = match begun.elapsed() > TIME && !builds {
            true => Err("there was no time to try it".to_owned()),
            false => {
                let command = command(question, device, precision).map_err(|error| error.to_string());
                command.and_then(|command| ask(command, if builds { PATIENCE_WITH_BUILDING } else { PATIENCE }))
            }
        };
        if outcome.as_ref().err().is_some_and(|why| why == INTERRUPTED) {
            waiting.finish();
            return Vec::new();
        }
        outcomes.push(((device, precision), outcome));
    }
    waiting.finish();
    let reference =
        outcomes.iter().filter(|(candidate, _)| is_reference(candidate)).find_map(|(_, outcome)| outcome.as_ref().ok());
    let of = |&(device, precision): &(Device, Precision)| {
        let outcome =
            outcomes.iter().find(|(candidate, _)| *candidate == (device, precision)).map(|(_, outcome)| outcome)?;
        let found = outcome.as_ref().ok();
        Some(Tried {
            device,
            precision,
            ms: found.map(|found| found.ms),
            agreement: found.and_then(|found| agreement(&found.boxes, &reference?.boxes)),
            why: outcome.as_ref().err().cloned(),
        })
    };
    let tried = Vec::from_iter(candidates.iter().filter_map(of));
    tell(&tried);
    tried
}

/// Says what was measured, and what there is for those who can do with slightly other boxes.
fn tell(tried: &[Tried]) {
    for tried in tried {
        debug!("{} in {}: {}", tried.device, tried.precision, tried.outcome());
    }
    let Some((device, precision)) = Choice::best_of(tried) else { return };
    let chosen = tried.iter().find(|tried| (tried.device, tried.precision) == (device, precision));
    let Some(chosen_ms) = chosen.and_then(|chosen| chosen.ms) else { return };
    info!("{device} in {precision} is the fastest that finds the same boxes");
    let faster =
        tried.iter().filter(|tried| tried.agreement.is_some() && tried.ms.is_some_and(|ms| ms < WORTH * chosen_ms));
    if let Some(Tried { device, precision, ms: Some(ms), agreement: Some(share), .. }) =
        faster.min_by(|a, b| a.ms.unwrap_or(f64::MAX).total_cmp(&b.ms.unwrap_or(f64::MAX)))
    {
        let (time, same) = (100.0 * ms / chosen_ms, 100.0 * share);
        info!(
            "--device {device} --precision {precision} takes {time:.0} % of its time and finds {same:.1} % of the same boxes"
        );
    }
}

/// This program, to try one device and precision.
fn command(question: &Question<'_>, device: Device, precision: Precision) -> std::io::Result<Command> {
    let Question { checkpoint, size: (width, height), options: SessionOptions { library, threads, .. } } = question;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["measure", "--device", &device.to_string(), "--precision", &precision.to_string()]);
    command.args(["--size", &format!("{width}x{height}")]);
    let mut model = OsString::from("--model=");
    model.push(checkpoint.origin().map_or(OsStr::new(Checkpoint::BUNDLED_NAME), |(path, _)| path.as_os_str()));
    command.arg(model);
    if let Some((_, hints)) = checkpoint.origin() {
        command.args(hints.heads.iter().flat_map(|heads| ["--heads".to_owned(), heads.to_string()]));
        command.args(hints.patch.iter().flat_map(|patch| ["--patch".to_owned(), patch.to_string()]));
    }
    command.args(threads.iter().flat_map(|threads| ["--threads".to_owned(), threads.to_string()]));
    command.envs(library.iter().map(|library| ("ORT_DYLIB_PATH", library)));
    Ok(command)
}

/// What the process found; why it did not, which may be that it crashed, or that its time was over.
fn ask(mut command: Command, patience: Duration) -> Result<Found, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let begun = Instant::now();
    let status = loop {
        // What it writes fits into a pipe.
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if begun.elapsed() > patience || interrupt::is_asked() => {
                child.kill().ok();
                child.wait().ok();
                return Err(match interrupt::is_asked() {
                    true => INTERRUPTED.to_owned(),
                    false => format!("it was not ready within {} s", patience.as_secs()),
                });
            }
            None => std::thread::sleep(LOOK),
        }
    };
    let mut text = String::new();
    if status.success() {
        child.stdout.iter_mut().try_for_each(|out| out.read_to_string(&mut text).map(drop)).map_err(failed)?;
        return serde_json::from_str(&text).map_err(|error| error.to_string());
    }
    child.stderr.iter_mut().try_for_each(|err| err.read_to_string(&mut text).map(drop)).map_err(failed)?;
    match text.lines().last() {
        // Whoever ends this program ends those that it started.
        _ if interrupt::has_ended(status) => Err(INTERRUPTED.to_owned()),
        Some(why) if status.code().is_some() => Err(why.trim_start_matches("mostream: ").to_owned()),
        _ => Err(format!("its process ended with {status}")),
    }
}

/// The share of the boxes of both sides that the other side has in the same picture, as far as both have looked; none where they are too few to
/// say.
fn agreement(boxes: &[Vec<[u32; 4]>], reference: &[Vec<[u32; 4]>]) -> Option<f64> {
    let of = |&[xmin, ymin, xmax, ymax]: &[u32; 4]| PixelBox { xmin, ymin, xmax, ymax };
    let is_in = |wanted: &[u32; 4], boxes: &[[u32; 4]]| boxes.iter().any(|found| of(found).iou(&of(wanted)) >= SAME);
    let (mut same, mut all, mut of_reference) = (0, 0, 0);
    for (own, wanted) in boxes.iter().zip(reference) {
        same += wanted.iter().filter(|wanted| is_in(wanted, own)).count();
        same += own.iter().filter(|own| is_in(own, wanted)).count();
        all += own.len() + wanted.len();
        of_reference += wanted.len();
    }
    (of_reference >= PROOF).then(|| same as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_process_that_hangs_crashes_or_lies_is_told() {
        let ask = |script: &str, patience| ask(shell(script), patience).map(|found| found.ms);
        assert_eq!(ask(r#"echo '{"ms":2.5,"boxes":[]}'"#, PATIENCE), Ok(2.5));
        let told = |script: &str, patience, word: &str| {
            let why = ask(script, patience).unwrap_err();
            assert!(why.contains(word), "{script}: {why}");
        };
        told("exec sleep 60", Duration::from_millis(50), "not ready within");
        told("kill -ABRT $$", PATIENCE, "signal: 6");
        told("kill -INT $$", PATIENCE, INTERRUPTED);
        told("echo mostream: cuda:0 does not work >&2; exit 6", PATIENCE, "cuda:0 does not work");
        told("echo nonsense", PATIENCE, "expected");
    }

    #[test]
    fn boxes_agree_where_they_overlap_by_nine_tenths() {
        let square = |at: u32| [at, 0, at + 100, 100];
        let many = |at: u32, count: u32| Vec::from_iter((0..count).map(|number| square(1000 * number + at)));
        let reference = [many(0, 30), many(0, 30), many(7, 30)];
        // The same, but in another order; moved by 4 and 6 of 100, of which the latter is an IoU of 0.887; the third was not looked at.
        let found = [many(0, 30).into_iter().rev().collect(), [many(4, 15), many(6, 30)[15..].to_vec()].concat()];
        assert_eq!(agreement(&found, &reference), Some(0.75));
        let more = [many(0, 60), [many(0, 30), many(200, 30)].concat()];
        assert_eq!(agreement(&more, &[many(0, 60), many(0, 30)]), Some(180.0 / 210.0), "boxes that fp32 does not find");
        assert_eq!(agreement(&found[..1], &reference), None, "too few");
    }
}
