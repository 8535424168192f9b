//! Ctrl-C: once finishes the files, twice ends at once. So do SIGTERM, and SIGHUP, which a closed terminal sends; where a
//! file says what runs, SIGHUP has it read again.

use super::exit::{Exit, Failure};
use super::log;
use mostream::partial;
use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGXFSZ};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tracing::warn;

/// Signals so soon after the first are the same wish: `timeout` and some supervisors signal the process and then its whole group.
const ECHO: Duration = Duration::from_millis(400);

/// What signals ask for.
pub struct Signals {
    pub stop: Arc<AtomicBool>,
    /// To read the configuration again.
    pub reload: Arc<AtomicBool>,
}

/// The flag of whoever has asked for one.
static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether the program was asked to end.
pub fn is_asked() -> bool {
    ASKED.get().is_some_and(|stop| stop.load(Ordering::Relaxed))
}

/// Whether another process was ended by a signal, and not by a fault of its own.
pub fn has_ended(status: ExitStatus) -> bool {
    matches!(status.signal(), Some(SIGHUP | SIGINT | SIGTERM | SIGKILL))
}

/// A flag that the first of these signals sets. The second ends the process; unfinished files stay under their partial names.
pub fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    Ok(signals(false, "finishing")?.stop)
}

/// The same; the first is answered by what begins then. Of who `can_reload`, SIGHUP asks that.
pub fn signals(can_reload: bool, begins: &'static str) -> Result<Signals, Failure> {
    let (stop, reload) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    ASKED.get_or_init(|| stop.clone());
    let mut caught = vec![SIGINT, SIGTERM];
    // `nohup` and some supervisors ask that it be ignored.
    if !is_ignored(SIGHUP) {
        caught.push(SIGHUP);
    }
    let mut signals = signal_hook::iterator::Signals::new(caught).map_err(uncaught)?;
    let (stops, reloads) = (stop.clone(), reload.clone());
    let watch = move || {
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            match first {
                _ if signal == SIGHUP && can_reload => reloads.store(true, Ordering::Relaxed),
                None => {
                    first = Some(Instant::now());
                    stops.store(true, Ordering::Relaxed);
                    if signal == SIGINT {
                        log::begin_line();
                    }
                    warn!("{begins}; Ctrl-C again ends at once");
                }
                Some(first) if first.elapsed() < ECHO => {}
                Some(_) => {
                    for path in partial::unfinished() {
                        warn!("{} is unfinished", path.display());
                    }
                    log::finish();
                    #[expect(clippy::exit, reason = "whoever asks twice does not want to wait for other threads")]
                    std::process::exit(Exit::Interrupted as i32);
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map_err(uncaught)?;
    Ok(Signals { stop, reload })
}

/// Files that reach the limit of their size (`ulimit -f`) are write errors, of the one file, not the end of the program.
pub fn spare_large_files() -> Result<(), Failure> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(uncaught)?;
    Ok(())
}

fn uncaught(error: std::io::Error) -> Failure {
    Failure::internal(format!("signals cannot be caught: {error}"))
}

/// Whether the program was started with this signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}
