//! Ctrl-C: once finishes the files, twice ends at once.

use super::exit::Exit;
use anyhow::Context;
use mostream::partial;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Signals so soon after the first are the same wish: `timeout` and some supervisors signal the process and then its whole group.
const ECHO: Duration = Duration::from_millis(400);

/// A flag that the first SIGINT or SIGTERM sets. The second ends the process; unfinished files stay under their partial names.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    stop_flag_saying(|line| eprintln!("\nmostream: {line}"))
}

/// The same; signals are answered by lines to `say`.
pub fn stop_flag_saying(say: impl Fn(&str) + Send + 'static) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be caught")?;
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
                    std::process::exit(Exit::Interrupted as i32);
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).context("no thread for signals")?;
    Ok(stop)
}
