//! `mostream bench --compare OLD.json`: what is faster or slower than it was, beyond noise.

use super::report::{Input, Ran, Report, median};
use crate::cli::exit::Failure;
use mostream::bounded;
use mostream::evaluate::bootstrap;
use mostream::fault::Kind;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::Path;

/// Of a report.
const MAX_BYTES: u64 = 16 << 20;

/// What every round took. Times are wall milliseconds per frame; the peak is in GFLOP/s of f32, and tells whether the machine itself is as fast.
#[derive(Serialize, Deserialize)]
pub struct Rounds {
    pub decode_scale: Vec<f64>,
    pub infer: Vec<f64>,
    pub localize: Vec<f64>,
    pub draw_encode: Vec<f64>,
    pub to_records: Vec<f64>,
    pub to_video: Vec<f64>,
    pub peak: Vec<f64>,
}

/// What is read of an older report.
#[derive(Deserialize)]
pub struct Old {
    version: String,
    date: String,
    machine: OldMachine,
    /// Earlier reports do not say.
    ran: Option<Ran>,
    input: Input,
    model: String,
    method: String,
    each_round: Rounds,
}

#[derive(Deserialize)]
struct OldMachine {
    cpu: String,
    threads: usize,
    onnx_runtime: String,
}

/// Both reports side by side.
#[derive(Serialize)]
pub struct Comparison {
    old_version: String,
    old_date: String,
    /// What is not the same on both sides, so that figures cannot be laid to the program alone.
    differs: Vec<String>,
    figures: Vec<Figure>,
}

#[derive(Serialize)]
struct Figure {
    name: &'static str,
    old: Median,
    new: Median,
    /// New ÷ old.
    ratio: f64,
    /// `faster` or `slower` where the intervals of both medians do not meet, `same` where they do.
    change: &'static str,
}

#[derive(Serialize)]
struct Median {
    value: f64,
    /// 95 %, by bootstrap over the rounds; none of a single round.
    interval: Option<[f64; 2]>,
}

impl Old {
    /// Reads what `bench --json` wrote.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::new(Kind::Usage, format!("--compare {}: {why}", path.display()));
        let bytes = bounded::read_file(path, MAX_BYTES).map_err(|error| wrong(error.to_string()))?;
        let old: Self = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("it is no report of this version's bench --json ({error})")))?;
        let is_number = |value: &f64| value.is_finite() && *value > 0.0;
        match old.each_round.figures().iter().all(|(_, values)| !values.is_empty() && values.iter().all(is_number)) {
            true => Ok(old),
            false => Err(wrong("its times are no numbers above 0".to_owned())),
        }
    }
}

impl Rounds {
    fn figures(&self) -> [(&'static str, &[f64]); 7] {
        [
            ("decode and scale", &self.decode_scale),
            ("infer", &self.infer),
            ("localize", &self.localize),
            ("draw and encode", &self.draw_encode),
            ("to records", &self.to_records),
            ("to overlay and MP4", &self.to_video),
            (PEAK, &self.peak),
        ]
    }
}

const PEAK: &str = "the machine's peak";

impl Comparison {
    pub fn new(old: Old, new: &Report) -> Self {
        let of_input =
            |input: &Input| format!("{}x{} px, {}x{} patches", input.width, input.height, input.grid[1], input.grid[0]);
        let both = [
            ("processor", old.machine.cpu, new.machine.cpu.clone()),
            ("threads", old.machine.threads.to_string(), new.machine.threads.to_string()),
            ("ONNX Runtime", old.machine.onnx_runtime, new.machine.onnx_runtime.clone()),
            ("device", old.ran.as_ref().unwrap_or(&new.ran).to_string(), new.ran.to_string()),
            ("video", of_input(&old.input), of_input(&new.input)),
            ("model", old.model, new.model.clone()),
            ("method", old.method, new.method.to_string()),
        ];
        let differs = both.into_iter().filter(|(_, old, new)| old != new);
        let figures = old.each_round.figures().into_iter().zip(new.each_round.figures());
        Self {
            old_version: old.version,
            old_date: old.date,
            differs: differs.map(|(what, old, new)| format!("{what}: {new}, then {old}")).collect(),
            figures: figures.map(|((name, old), (_, new))| Figure::new(name, old, new)).collect(),
        }
    }

    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\nbeside {}, mostream {}    then ms  now ms   ratio", self.old_date, self.old_version)?;
        for Figure { name, old, new, ratio, change } in &self.figures {
            let unit = if *name == PEAK { " (GFLOP/s)" } else { "" };
            writeln!(
                out,
                "  {:<34} {:>9.2} {:>7.2} {ratio:>7.3}  {change}",
                format!("{name}{unit}"),
                old.value,
                new.value
            )?;
        }
        self.differs.iter().try_for_each(|what| writeln!(out, "  not the same: {what}"))?;
        writeln!(out, "  same: the 95 % intervals of both medians meet; a machine whose peak changed explains the rest")
    }
}

impl Figure {
    fn new(name: &'static str, old: &[f64], new: &[f64]) -> Self {
        let (old, new) = (Median::of(old), Median::of(new));
        let change = match (old.interval, new.interval) {
            (Some([old_low, old_high]), Some([low, high])) => {
                let is_faster = if name == PEAK { low > old_high } else { high < old_low };
                let is_slower = if name == PEAK { high < old_low } else { low > old_high };
                if is_faster {
                    "faster"
                } else if is_slower {
                    "slower"
                } else {
                    "same"
                }
            }
            _ => "unknown: one round says nothing of noise",
        };
        Self { name, ratio: new.value / old.value, old, new, change }
    }
}

impl Median {
    fn of(values: &[f64]) -> Self {
        let drawn = |counts: &[u32]| {
            let again =
                values.iter().zip(counts).flat_map(|(value, &count)| std::iter::repeat_n(*value, count as usize));
            [Some(median(again.collect()))]
        };
        let [interval] = bootstrap::intervals(values.len(), drawn);
        Self { value: median(values.to_vec()), interval }
    }
}
