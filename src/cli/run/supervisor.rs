//! What a service manager is told that asks for it: systemd, by `NOTIFY_SOCKET` and `WATCHDOG_USEC`.

use mostream::record::SourceState;
use mostream::run::Run;
use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// How often it is seen whether the status is another.
const LOOK: Duration = Duration::from_secs(1);

/// Tells nobody anything where nobody asks.
pub struct Supervisor {
    /// Half of the time after which the watchdog bites; none where there is no watchdog.
    feeds_every: Option<Duration>,
    fed: Instant,
    looked: Option<Instant>,
    status: String,
    is_stopping: bool,
}

impl Supervisor {
    /// The run has started.
    pub fn begin() -> Self {
        say(&[NotifyState::Ready]);
        let feeds_every = sd_notify::watchdog_enabled().map(|bites_after| bites_after / 2);
        Self { feeds_every, fed: Instant::now(), looked: None, status: String::new(), is_stopping: false }
    }

    /// The file is read again meanwhile.
    pub fn reloading<T>(&self, reload: impl FnOnce() -> T) -> T {
        // Since systemd 253 it asks for the time, too.
        let time = NotifyState::monotonic_usec_now().ok();
        say(&Vec::from_iter([NotifyState::Reloading].into_iter().chain(time)));
        let reloaded = reload();
        say(&[NotifyState::Ready]);
        reloaded
    }

    /// Whoever is the main loop calls it in each turn: the watchdog is fed where the run is alive, too.
    pub fn look(&mut self, run: &Run, is_stopping: bool) {
        if is_stopping && !std::mem::replace(&mut self.is_stopping, true) {
            say(&[NotifyState::Stopping]);
        }
        if let Some(every) = self.feeds_every.filter(|every| self.fed.elapsed() >= *every)
            && run.is_alive(every)
        {
            self.fed = Instant::now();
            say(&[NotifyState::Watchdog]);
        }
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            self.looked = Some(Instant::now());
            let sources = run.snapshot();
            let live = sources.iter().filter(|source| source.state == SourceState::Live).count();
            let status = format!("{live} of {} sources live", sources.len());
            if status != self.status {
                say(&[NotifyState::Status(&status)]);
                self.status = status;
            }
        }
    }
}

/// Whoever does not listen is not waited for, and is no reason to end.
fn say(words: &[NotifyState]) {
    sd_notify::notify(words).ok();
}
