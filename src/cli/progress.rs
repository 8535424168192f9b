//! Progress on stderr: a bar on a terminal, a line now and then elsewhere, nothing with `--quiet`.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

const LINE_EVERY: Duration = Duration::from_secs(5);

/// Progress through `total` frames or pictures, where their number is known.
pub enum Progress {
    Bar(ProgressBar),
    Lines { unit: &'static str, total: Option<u64>, start: Instant, last: Instant },
    Quiet,
}

impl Progress {
    pub fn new(total: Option<u64>, is_quiet: bool) -> Self {
        Self::counting("frames", total, is_quiet)
    }

    /// What is counted goes by the name `unit`.
    pub fn counting(unit: &'static str, total: Option<u64>, is_quiet: bool) -> Self {
        if is_quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { unit, total, start: Instant::now(), last: Instant::now() };
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(5));
        let template = match total {
            Some(_) => format!("{{bar:30}} {{pos}}/{{len}} {unit}  {{fps}}  {{eta}} left  {{msg}}"),
            None => format!("{{spinner}} {{pos}} {unit}  {{fps}}  {{msg}}"),
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            let rate = |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                write!(out, "{:.1}/s", state.per_sec()).ok();
            };
            bar.set_style(style.with_key("fps", rate));
        }
        Self::Bar(bar)
    }

    /// After each frame.
    pub fn update(&mut self, frames: u64, objects: u64) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(frames);
                bar.set_message(format!("{objects} boxes"));
            }
            Self::Lines { unit, total, start, last } if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                let fps = frames as f64 / start.elapsed().as_secs_f64();
                let left = total.and_then(|total| total.checked_sub(frames));
                let eta = left.map_or(String::new(), |left| format!(", {:.0} s left", left as f64 / fps));
                let of = total.map_or(String::new(), |total| format!("/{total}"));
                eprintln!("mostream: {frames}{of} {unit}, {fps:.1}/s, {objects} boxes{eta}");
            }
            Self::Lines { .. } | Self::Quiet => {}
        }
    }

    /// Takes the bar away; later output starts on a clean line.
    pub fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
