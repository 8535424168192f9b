//! Ctrl-C: once finishes the files, twice ends at once. So do SIGTERM, and SIGHUP, which a closed terminal sends.

use super::exit::Exit;
use crate::cli::tell::tell;
use anyhow::Context;
use mostream::partial;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Signals so soon after the first are the same wish: `timeout` and some supervisors signal the process and then its whole group.
const ECHO: Duration = Duration::from_millis(400);

/// A flag that the first of these signals sets. The second ends the process; unfinished files stay under their partial names.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    stop_flag_saying(|line| tell!("\nmostream: {line}"))
}

/// The same; signals are answered by lines to `say`.
pub fn stop_flag_saying(say: impl Fn(&str) + Send + 'static) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut ending = vec![SIGINT, SIGTERM];
    // `nohup` and some supervisors ask that it be ignored.
    if !is_ignored(SIGHUP) {
        ending.push(SIGHUP);
    }
    let mut signals = Signals::new(ending).context("signals cannot be caught")?;
    let flag = stop.clone();
    let watch = move || {
        let mut first: Option<Instant> = None;
        for _ in signals.forever() {
            match first {
                None => {
                    first = Some(Instant::now());
                    flag.store(true, Ordering::Relaxed);
                    say("finishing; Ctrl-C again ends at once");
                }
                Some(first) if first.elapsed() < ECHO => {}
                Some(_) => {
                    for path in partial::unfinished() {
                        say(&format!("{} is unfinished", path.display()));
                    }
                    #[expect(clippy::exit, reason = "whoever asks twice does not want to wait for other threads")]
                    std::process::exit(Exit::Interrupted as i32);
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).context("no thread for signals")?;
    Ok(stop)
}

/// Files that reach the limit of their size (`ulimit -f`) are write errors, of the one file, not the end of the program.
pub fn spare_large_files() -> anyhow::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).context("signals cannot be caught")?;
    Ok(())
}

/// Whether the program was started with this signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}
