//! Ctrl-C: once finishes the files, twice ends at once.

use super::exit::Exit;
use anyhow::Context;
use mostream::partial;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that the first SIGINT or SIGTERM sets. The second removes unfinished files and ends the process.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    stop_flag_saying(|line| eprintln!("\nmostream: {line}"))
}

/// The same; the first signal is answered by a line to `say`.
pub fn stop_flag_saying(say: impl Fn(&str) + Send + 'static) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be caught")?;
    let flag = stop.clone();
    let watch = move || {
        for _ in signals.forever() {
            if flag.swap(true, Ordering::Relaxed) {
                partial::remove_all();
                std::process::exit(Exit::Interrupted as i32);
            }
            say("finishing; Ctrl-C again ends at once");
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).context("no thread for signals")?;
    Ok(stop)
}
