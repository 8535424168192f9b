//! `mostream bench --accuracy`: what every device and precision at hand costs, and how near its boxes come to those of the CPU in
//! fp32. Each is measured in a process of its own, since a process loads one library and its memory is its own.

use super::parts::{fitted, open, peak_memory_mib};
use super::report::{Input, Machine, median};
use super::{Args, cpu};
use crate::cli::exit::{self, Exit, Failure, Outcome};
use mostream::backbone::{Device, Feature, Precision};
use mostream::fault::Kind;
use mostream::geometry::PixelBox;
use mostream::localize::{Detection, Features, Localizer, Method, PatchOutput};
use mostream::stream::frame::FrameFit;
use mostream::stream::preflight::Source;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Frames that are looked at, and how many there are from one to the next: neighbours hardly differ.
const FRAMES: usize = 32;
const EVERY: u64 = 5;
const BATCHES: [usize; 3] = [1, 4, 16];
/// How often all are measured in turn, at most.
const PASSES: u16 = 3;

/// What one process found.
#[derive(Serialize, Deserialize)]
pub struct Part {
    onnx_runtime: String,
    input: Input,
    model: String,
    latency_ms: f64,
    /// Images per second in batches of [`BATCHES`].
    throughput: [f64; BATCHES.len()],
    /// The most memory the process had held before it saw more than one image at once.
    memory_mib: Option<f64>,
    nodes_on_cpu: Option<(usize, usize)>,
    /// Of each frame, in its pixels: `[xmin, ymin, xmax, ymax]`, half-open.
    boxes: Vec<Vec<[u32; 4]>>,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    date: String,
    machine: Machine,
    input: Input,
    model: String,
    method: Method,
    frames: usize,
    results: Vec<Row>,
    missing: Vec<Missing>,
}

#[derive(Serialize)]
struct Row {
    device: String,
    precision: String,
    onnx_runtime: String,
    latency_ms: f64,
    fps_in_batches_of_1_4_16: [f64; BATCHES.len()],
    peak_memory_mib: Option<f64>,
    nodes_on_cpu: Option<(usize, usize)>,
    boxes: usize,
    agreement: Agreement,
}

#[derive(Serialize)]
struct Missing {
    device: String,
    precision: String,
    why: String,
}

/// With the boxes of the CPU in fp32.
#[derive(Serialize)]
struct Agreement {
    /// The share of both sides' boxes that the other side has exactly so.
    identical: f64,
    /// Mean over both sides' boxes of the IoU with the best box of the other side.
    mean_iou: f64,
}

/// Measures one device and precision, those of `args`, and writes a [`Part`].
pub fn part(mut args: Args) -> Outcome {
    args.model.device.batch = BATCHES.last().map(|&batch| batch as u16);
    let source = Source::new(&args.input)?;
    let (mut decoder, first) = open(&source)?;
    let checkpoint = args.model.checkpoint()?;
    let display = first.display_size();
    let size = args.model.size_for(&checkpoint, display.0, display.1);
    let backbone = args.model.open_quietly(&checkpoint, Feature::from(args.model.feature), size)?;
    let layout = backbone.layout();
    let mut fit = FrameFit::default();
    let mut images = Vec::new();
    let mut next = Some(first);
    while let Some(frame) = next.filter(|_| images.len() < FRAMES) {
        if frame.index % EVERY == 0 {
            images.push(fitted(&mut fit, &frame, &layout)?);
        }
        next = decoder.next(&|| false)?;
    }
    let localizer = Localizer::new(args.method);
    let (mut boxes, mut latencies) = (Vec::new(), Vec::new());
    // The first one makes room.
    backbone.features(&images[0])?;
    for image in &images {
        let start = Instant::now();
        let values = backbone.features(image)?;
        latencies.push(start.elapsed().as_secs_f64());
        let output = PatchOutput::Features(Features::new(layout.grid, values)?);
        let found = localizer.localize(&output, &layout)?;
        let corners = |found: &Detection| {
            let PixelBox { xmin, ymin, xmax, ymax } = layout.frame_from_image(&found.bbox, display.0, display.1);
            [xmin, ymin, xmax, ymax]
        };
        boxes.push(found.iter().map(corners).collect());
    }
    let memory_mib = peak_memory_mib();
    let all: Vec<&[u8]> = images.iter().map(Vec::as_slice).cycle().take(FRAMES / 2).collect();
    let mut throughput = [0.0; BATCHES.len()];
    for (batch, fps) in BATCHES.into_iter().zip(&mut throughput) {
        backbone.features_batch(&all[..batch])?;
        let start = Instant::now();
        for images in all.chunks_exact(batch) {
            backbone.features_batch(images)?;
        }
        *fps = all.len() as f64 / start.elapsed().as_secs_f64();
    }
    let part = Part {
        onnx_runtime: super::runtime_version(backbone.placement().device)?,
        input: Input::new(display, layout.grid),
        model: checkpoint.id().to_owned(),
        latency_ms: 1e3 * median(latencies),
        throughput,
        memory_mib,
        nodes_on_cpu: backbone.placement().nodes_on_cpu,
        boxes,
    };
    let json = serde_json::to_string(&part).map_err(Failure::internal)?;
    exit::to_stdout(|out| writeln!(out, "{json}"))?;
    Ok(Exit::Done)
}

/// Measures every device and precision, and compares.
pub fn run(args: &Args, threads: usize, cores: usize) -> Outcome {
    let wanted: Vec<(Device, Precision)> = Device::ALL
        .into_iter()
        .flat_map(|device| device.precisions().iter().map(move |&precision| (device, precision)))
        .collect();
    let mut parts: Vec<Vec<Part>> = wanted.iter().map(|_| Vec::new()).collect();
    let mut missing = Vec::new();
    for pass in 0..args.rounds.min(PASSES) {
        for (&(device, precision), parts) in wanted.iter().zip(&mut parts) {
            if pass > 0 && parts.is_empty() {
                continue;
            }
            match measure(device, precision)? {
                Ok(part) => parts.push(part),
                Err(why) if (device, precision) == (Device::Cpu, Precision::Fp32) => {
                    return Err(Failure::new(Kind::Internal, why));
                }
                Err(why) => {
                    missing.push(Missing { device: device.to_string(), precision: precision.to_string(), why });
                }
            }
        }
    }
    let Some(reference) = parts.first().and_then(|parts| parts.first()) else {
        return Err(Failure::internal("nothing was measured"));
    };
    let row = |(&(device, precision), parts): (&(Device, Precision), &Vec<Part>)| {
        let first = parts.first()?;
        let middle = |of: &dyn Fn(&Part) -> f64| median(parts.iter().map(of).collect());
        Some(Row {
            device: device.to_string(),
            precision: precision.to_string(),
            onnx_runtime: first.onnx_runtime.clone(),
            latency_ms: middle(&|part| part.latency_ms),
            fps_in_batches_of_1_4_16: std::array::from_fn(|batch| middle(&|part| part.throughput[batch])),
            peak_memory_mib: first.memory_mib,
            nodes_on_cpu: first.nodes_on_cpu,
            boxes: first.boxes.iter().map(Vec::len).sum(),
            agreement: Agreement::of(&first.boxes, &reference.boxes),
        })
    };
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        date: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        machine: Machine {
            cpu: cpu().unwrap_or_else(|| "unknown processor".to_owned()),
            arch: std::env::consts::ARCH,
            cores,
            threads,
            onnx_runtime: reference.onnx_runtime.clone(),
        },
        input: reference.input.clone(),
        model: reference.model.clone(),
        method: args.method,
        frames: reference.boxes.len(),
        results: wanted.iter().zip(&parts).filter_map(row).collect(),
        missing,
    };
    let json = args.json.then(|| serde_json::to_string(&report)).transpose().map_err(Failure::internal)?;
    exit::to_stdout(|out| match &json {
        Some(json) => writeln!(out, "{json}"),
        None => report.write(out),
    })?;
    Ok(Exit::Done)
}

/// Runs this command again for one device and precision; why not, where that fails.
fn measure(device: Device, precision: Precision) -> Result<Result<Part, String>, Failure> {
    let ran = Command::new(std::env::current_exe().map_err(Failure::internal)?)
        .args(std::env::args_os().skip(1).filter(|argument| argument != "--accuracy"))
        .args(["--accuracy-part", "--device", &device.to_string(), "--precision", &precision.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::internal)?;
    let told = String::from_utf8_lossy(&ran.stderr);
    Ok(match ran.status.success() {
        true => Ok(serde_json::from_slice(&ran.stdout).map_err(Failure::internal)?),
        false => {
            Err(told.lines().last().unwrap_or("it ended without a word").trim_start_matches("mostream: ").to_owned())
        }
    })
}

impl Agreement {
    /// Of what was found in the same frames.
    fn of(boxes: &[Vec<[u32; 4]>], reference: &[Vec<[u32; 4]>]) -> Self {
        let of = |&[xmin, ymin, xmax, ymax]: &[u32; 4]| PixelBox { xmin, ymin, xmax, ymax };
        let best = |bbox: &[u32; 4], others: &[[u32; 4]]| {
            others.iter().map(|other| of(other).iou(&of(bbox))).fold(0.0, f64::max)
        };
        let pairs = boxes.iter().zip(reference);
        let ious: Vec<f64> = pairs
            .flat_map(|(own, other)| {
                own.iter().map(|bbox| best(bbox, other)).chain(other.iter().map(|bbox| best(bbox, own)))
            })
            .collect();
        // Nothing found on either side is agreement, too.
        let share = |sum: f64| if ious.is_empty() { 1.0 } else { sum / ious.len() as f64 };
        let identical = ious.iter().filter(|iou| **iou == 1.0).count();
        Self { identical: share(identical as f64), mean_iou: share(ious.iter().sum()) }
    }
}

impl Report {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { machine, input, .. } = self;
        let [rows, cols] = input.grid;
        writeln!(out, "mostream {}, {}", self.version, self.date)?;
        writeln!(out, "{}, {} cores, {} threads", machine.cpu, machine.cores, machine.threads)?;
        writeln!(out, "{}x{} px, {cols}x{rows} patches, {}, {}", input.width, input.height, self.model, self.method)?;
        writeln!(out, "{} frames, boxes against those of the CPU in fp32\n", self.frames)?;
        writeln!(
            out,
            "device        precision  runtime  latency ms  fps: 1      4     16 at once  peak MiB  boxes  identical  mean IoU"
        )?;
        for row in &self.results {
            let [one, four, sixteen] = row.fps_in_batches_of_1_4_16;
            let memory = row.peak_memory_mib.map_or("unknown".to_owned(), |mib| format!("{mib:.0}"));
            writeln!(
                out,
                "{:<13} {:<9} {:>8} {:>11.1} {one:>7.2} {four:>6.2} {sixteen:>6.2} {memory:>17} {:>6} {:>10.3} {:>9.4}",
                row.device,
                row.precision,
                row.onnx_runtime,
                row.latency_ms,
                row.boxes,
                row.agreement.identical,
                row.agreement.mean_iou
            )?;
            if let Some((left @ 1.., all)) = row.nodes_on_cpu {
                writeln!(out, "  {left} of {all} nodes on the CPU")?;
            }
        }
        writeln!(out)?;
        for same in self.missing.chunk_by(|a, b| a.device == b.device && a.why == b.why) {
            let precisions: Vec<&str> = same.iter().map(|missing| missing.precision.as_str()).collect();
            let why = same[0].why.split("; what it needs").next().unwrap_or_default();
            writeln!(out, "not here: {} in {}: {why}", same[0].device, precisions.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_counts_what_either_side_lacks() {
        let square = |at: u32| [at, 0, at + 10, 10];
        let none = Agreement::of(&[vec![]], &[vec![]]);
        assert_eq!((none.identical, none.mean_iou), (1.0, 1.0));
        // One the same, one moved by half (IoU 1/3), one that only the reference has.
        let got = Agreement::of(&[vec![square(0), square(105)]], &[vec![square(0), square(100), square(200)]]);
        assert_eq!(got.identical, 2.0 / 5.0);
        assert!((got.mean_iou - (2.0 + 2.0 / 3.0) / 5.0).abs() < 1e-12);
    }
}
