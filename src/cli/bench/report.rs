//! What a bench found, for people and as one JSON object.

use super::compare::{Comparison, Rounds};
use super::parts::{Cost, Round};
use super::peak::Peak;
use mostream::backbone::{Precision, Work};
use mostream::engine::status::Percentiles;
use mostream::geometry::Grid;
use mostream::localize::Method;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Write};

/// Times and rates are medians over the rounds; ratios are medians of each round's own ratio, so that what else the machine did
/// then falls on both sides.
#[derive(Serialize)]
pub struct Report {
    pub version: &'static str,
    /// UTC, RFC 3339.
    pub date: String,
    pub machine: Machine,
    pub ran: Ran,
    pub input: Input,
    pub model: String,
    pub method: Method,
    pub rounds: usize,
    pub frames_per_round: usize,
    /// Each stage alone, nothing else of the program running.
    pub stages: Stages,
    /// All stages at once.
    pub to_records: Whole,
    pub to_video: Whole,
    /// What drawing needed, over all frames.
    pub canvas: Canvas,
    /// Multiply-adds of f32 in registers, on all threads of the model, counted as two operations each; the best round's.
    pub peak_gflop_per_s: f64,
    /// The same of bf16 and of 8-bit integers, where it is known how to do most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bf16_gflop_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_int8_gop_per_s: Option<f64>,
    /// None where the model's operations are not known.
    pub backbone: Option<Products>,
    /// The signs of the affinity, half of them by symmetry, on one thread: products of 8-bit integers.
    pub affinity: Products,
    pub each_round: Rounds,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

#[derive(Serialize)]
pub struct Machine {
    pub cpu: String,
    pub arch: &'static str,
    pub cores: usize,
    pub threads: usize,
    pub onnx_runtime: String,
}

/// What ran the model, and in what it computed.
#[derive(Clone, Serialize, Deserialize, PartialEq)]
pub struct Ran {
    pub device: String,
    pub precision: Precision,
}

impl fmt::Display for Ran {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} in {}", self.device, self.precision)
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Input {
    pub width: u32,
    pub height: u32,
    /// Rows and columns of patches.
    pub grid: [usize; 2],
}

#[derive(Serialize)]
pub struct Stages {
    pub decode_scale: Cost,
    pub infer: Cost,
    pub localize: Cost,
    pub draw_encode: Cost,
}

#[derive(Serialize)]
pub struct Whole {
    pub fps: f64,
    pub cpu_ms: f64,
    /// Of the cores' time while it ran.
    pub share_of_cores: f64,
    /// Of what the cores allow: cores ÷ Σ CPU time of its stages alone.
    pub share_of_bound: f64,
    /// Of the frames per second of inference alone, back to back.
    pub share_of_session: f64,
    /// From decoded to written, 50, 95 and 99 of 100 frames within; frames wait for their turn in full channels.
    pub latency_ms: Option<Percentiles>,
    /// The most memory the process had held by the end of this, where the system tells.
    pub peak_memory_mib: Option<f64>,
}

#[derive(Serialize)]
pub struct Canvas {
    pub in_place: u64,
    pub copied: u64,
    pub converted: u64,
}

/// Matrix products of one frame: what they need, and how fast they were.
#[derive(Serialize)]
pub struct Products {
    pub gflop: f64,
    pub weight_mib: f64,
    pub activation_mib: f64,
    pub flop_per_byte: f64,
    pub gflop_per_s: f64,
    /// Of the measured peak of such numbers on as many threads; none where it was not measured, or not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of_peak: Option<f64>,
}

/// What does not change between rounds.
pub struct Setting {
    pub machine: Machine,
    pub ran: Ran,
    pub input: Input,
    pub model: String,
    pub method: Method,
    pub backbone: Option<Work>,
    /// What the backbone multiplies, where the processor does.
    pub precision: Option<Precision>,
    pub affinity: Work,
    pub records_memory_mib: Option<f64>,
    pub video_memory_mib: Option<f64>,
}

impl Report {
    pub fn new(setting: Setting, frames: usize, rounds: &[Round]) -> Self {
        let Setting {
            machine,
            ran,
            input,
            model,
            method,
            backbone,
            precision,
            affinity,
            records_memory_mib,
            video_memory_mib,
        } = setting;
        let cores = machine.cores as f64;
        let each = |of: &dyn Fn(&Round) -> f64| -> Vec<f64> { rounds.iter().map(of).collect() };
        let middle = |of: &dyn Fn(&Round) -> f64| median(each(of));
        let cost = |of: &dyn Fn(&Round) -> Cost| Cost {
            cpu_ms: middle(&|round| of(round).cpu_ms),
            wall_ms: middle(&|round| of(round).wall_ms),
        };
        let to_records_ms = |round: &Round| round.decode.cpu_ms + round.infer.cpu_ms + round.localize.cpu_ms;
        let whole = |of: &dyn Fn(&Round) -> &super::parts::Whole, stages_ms: &dyn Fn(&Round) -> f64, memory| Whole {
            fps: middle(&|round| 1e3 / of(round).cost.wall_ms),
            cpu_ms: middle(&|round| of(round).cost.cpu_ms),
            share_of_cores: middle(&|round| of(round).cost.cpu_ms / of(round).cost.wall_ms / cores),
            share_of_bound: middle(&|round| stages_ms(round) / of(round).cost.wall_ms / cores),
            share_of_session: middle(&|round| round.infer.wall_ms / of(round).cost.wall_ms),
            latency_ms: Percentiles::of(rounds.iter().flat_map(|round| &of(round).latencies)),
            peak_memory_mib: memory,
        };
        let best =
            |peak: &dyn Fn(Peak) -> Option<f64>| rounds.iter().filter_map(|round| peak(round.peak)).reduce(f64::max);
        let of = |precision: Precision| best(&|peak| peak.of(precision));
        let products = |work: Work, wall_ms: &dyn Fn(&Round) -> f64, peak: Option<f64>| {
            let gflop = work.operations as f64 / 1e9;
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            Products {
                gflop,
                weight_mib: mib(work.weight_bytes),
                activation_mib: mib(work.activation_bytes),
                flop_per_byte: work.operations as f64 / (work.weight_bytes + work.activation_bytes) as f64,
                gflop_per_s: middle(&|round| 1e3 * gflop / wall_ms(round)),
                // Above it, the processor was busy otherwise when the peak was measured.
                share_of_peak: peak
                    .map(|peak| middle(&|round| 1e12 * gflop / wall_ms(round)) / peak)
                    .filter(|share| *share <= 1.0),
            }
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            date: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            rounds: rounds.len(),
            frames_per_round: frames,
            stages: Stages {
                decode_scale: cost(&|round| round.decode),
                infer: cost(&|round| round.infer),
                localize: cost(&|round| round.localize),
                draw_encode: cost(&|round| round.draw),
            },
            to_records: whole(&|round| &round.records, &to_records_ms, records_memory_mib),
            to_video: whole(&|round| &round.video, &|round| to_records_ms(round) + round.draw.cpu_ms, video_memory_mib),
            canvas: Canvas {
                in_place: rounds.iter().map(|round| round.video.canvas.in_place).sum(),
                copied: rounds.iter().map(|round| round.video.canvas.copied).sum(),
                converted: rounds.iter().map(|round| round.video.canvas.converted).sum(),
            },
            peak_gflop_per_s: of(Precision::Fp32).unwrap_or_default() / 1e9,
            peak_bf16_gflop_per_s: of(Precision::Bf16).map(|peak| peak / 1e9),
            peak_int8_gop_per_s: of(Precision::Int8).map(|peak| peak / 1e9),
            backbone: backbone.map(|work| products(work, &|round| round.infer.wall_ms, precision.and_then(of))),
            affinity: products(affinity, &|round| round.signs.wall_ms, best(&|peak| peak.int8_of_one)),
            each_round: Rounds {
                decode_scale: each(&|round| round.decode.wall_ms),
                infer: each(&|round| round.infer.wall_ms),
                localize: each(&|round| round.localize.wall_ms),
                draw_encode: each(&|round| round.draw.wall_ms),
                to_records: each(&|round| round.records.cost.wall_ms),
                to_video: each(&|round| round.video.cost.wall_ms),
                peak: each(&|round| round.peak.floats / 1e9),
            },
            comparison: None,
            machine,
            ran,
            input,
            model,
            method,
        }
    }

    /// For people: how fast the whole is; with `is_whole` also what its parts cost, and what they reach.
    pub fn write(&self, out: &mut dyn Write, is_whole: bool) -> io::Result<()> {
        let Self { machine, input, .. } = self;
        let [rows, cols] = input.grid;
        writeln!(out, "mostream {}, {}", self.version, self.date)?;
        writeln!(
            out,
            "{}, {} cores, {} threads, ONNX Runtime {}, {}",
            machine.cpu, machine.cores, machine.threads, machine.onnx_runtime, self.ran
        )?;
        writeln!(out, "{}x{} px, {cols}x{rows} patches, {}, {}", input.width, input.height, self.model, self.method)?;
        writeln!(out, "{} rounds of {} frames, medians\n", self.rounds, self.frames_per_round)?;

        writeln!(out, "the whole way            fps  CPU ms/frame  of cores  of bound  of bare session")?;
        let ways = [("to records", &self.to_records), ("to overlay and MP4", &self.to_video)];
        for (name, way) in ways {
            writeln!(
                out,
                "  {name:<18} {:>7.2} {:>13.2} {:>9.3} {:>9.3} {:>16.3}",
                way.fps, way.cpu_ms, way.share_of_cores, way.share_of_bound, way.share_of_session
            )?;
        }
        writeln!(out, "  of bound: of {} cores ÷ the CPU time of its stages alone", machine.cores)?;
        writeln!(out, "\nlatency, memory      p50 ms   p95 ms   p99 ms   peak MiB")?;
        for (name, way) in ways {
            let Some(Percentiles { p50, p95, p99 }) = way.latency_ms else { continue };
            let memory = way.peak_memory_mib.map_or("unknown".to_owned(), |mib| format!("{mib:.0}"));
            writeln!(out, "  {name:<18} {p50:>6.0} {p95:>8.0} {p99:>8.0} {memory:>10}")?;
        }
        if is_whole {
            self.write_parts(out)?;
        }
        self.comparison.as_ref().map_or(Ok(()), |comparison| comparison.write(out))
    }

    fn write_parts(&self, out: &mut dyn Write) -> io::Result<()> {
        let Canvas { in_place, copied, converted } = self.canvas;
        writeln!(out, "  drawn in place {in_place}, copied {copied}, converted {converted}")?;

        writeln!(out, "\na stage alone       CPU ms/frame  wall ms/frame")?;
        let Stages { decode_scale, infer, localize, draw_encode } = &self.stages;
        let stages = [
            ("decode and scale", decode_scale),
            ("infer", infer),
            ("localize", localize),
            ("draw and encode", draw_encode),
        ];
        for (name, cost) in stages {
            writeln!(out, "  {name:<17} {:>12.2} {:>14.2}", cost.cpu_ms, cost.wall_ms)?;
        }

        writeln!(out, "\nmatrix products    GFLOP/frame  weights MiB  activations MiB  FLOP/byte  GFLOP/s  of peak")?;
        for (name, work) in [("backbone", self.backbone.as_ref()), ("affinity signs", Some(&self.affinity))] {
            let Some(work) = work else {
                writeln!(out, "  {name:<16} unknown: an ONNX file's operations are not counted")?;
                continue;
            };
            let share = work.share_of_peak.map_or("unknown".to_owned(), |share| format!("{share:.3}"));
            writeln!(
                out,
                "  {name:<16} {:>11.2} {:>12.1} {:>16.1} {:>10.1} {:>8.1} {share:>8}",
                work.gflop, work.weight_mib, work.activation_mib, work.flop_per_byte, work.gflop_per_s
            )?;
        }
        let bf16 = self.peak_bf16_gflop_per_s.map_or(String::new(), |peak| format!(", {peak:.1} of bf16"));
        let int8 = self.peak_int8_gop_per_s.map_or(String::new(), |peak| format!(", {peak:.1} Gop/s of int8"));
        let (peak, threads) = (self.peak_gflop_per_s, self.machine.threads);
        writeln!(out, "  peak: {peak:.1} GFLOP/s of f32{bf16}{int8} on {threads} threads, measured")
    }
}

impl Input {
    pub fn new((width, height): (u32, u32), grid: Grid) -> Self {
        Self { width, height, grid: [grid.rows, grid.cols] }
    }
}

/// The middle one, or the mean of both in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}
