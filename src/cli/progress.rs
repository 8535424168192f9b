//! Progress on stderr: a bar on a terminal, a line now and then elsewhere, nothing with `--quiet`.

use super::log;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tracing::info;

const LINE_EVERY: Duration = Duration::from_secs(5);

/// So many of it: `1 frame`, `2 frames`.
pub fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Progress through `total` frames or other units, where their number is known.
pub enum Progress {
    Bar(ProgressBar),
    Lines { total: Option<u64>, unit: &'static str, start: Instant, last: Instant },
    Quiet,
}

impl Progress {
    pub fn new(total: Option<u64>) -> Self {
        Self::of(total, "frame")
    }

    /// Counts `unit`, a singular.
    pub fn of(total: Option<u64>, unit: &'static str) -> Self {
        if log::is_quiet() {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { total, unit, start: Instant::now(), last: Instant::now() };
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(5));
        let template = match total {
            Some(_) => format!("{{bar:30}} {{pos}}/{{len}} {unit}s  {{rate}}  {{eta}} left  {{msg}}"),
            None => format!("{{spinner}} {{pos}} {unit}s  {{rate}}  {{msg}}"),
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            let rate = move |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                write!(out, "{:.1} {unit}s/s", state.per_sec()).ok();
            };
            bar.set_style(style.with_key("rate", rate));
        }
        log::spare(&bar);
        Self::Bar(bar)
    }

    /// Something whose length nobody knows, told by `what` and the time since; without a terminal it is told once.
    pub fn waiting(what: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            info!("{what}");
            return Self::Quiet;
        }
        let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(200));
        log::spare(&spinner);
        Self::Bar(spinner)
    }

    /// After each frame.
    pub fn update(&mut self, frames: u64, objects: u64) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(frames);
                bar.set_message(counted(objects, "object"));
            }
            Self::Lines { total, unit, start, last } if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                let rate = frames as f64 / start.elapsed().as_secs_f64();
                let left = total.and_then(|total| total.checked_sub(frames)).filter(|_| frames > 0);
                let eta = left.map_or(String::new(), |left| format!(", {:.0} s left", left as f64 / rate));
                let done = total
                    .map_or_else(|| counted(frames, unit), |total| format!("{frames} of {}", counted(total, unit)));
                info!("{done}, {rate:.1} per second, {} so far{eta}", counted(objects, "object"));
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
