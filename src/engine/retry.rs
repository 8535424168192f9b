//! Something that fails is tried again, ever more rarely, and that it still fails is told now and then.

use super::absence::rough;
use std::time::{Duration, Instant};

/// That it still fails is told again after this time.
const REMINDER: Duration = Duration::from_secs(600);

/// Since something failed first.
pub struct Retry {
    since: Instant,
    told: Instant,
    tries: u64,
    pause: Duration,
}

impl Retry {
    /// It failed now, for the first time; this is the pause before the second try.
    pub fn new(pause: Duration) -> Self {
        let now = Instant::now();
        Self { since: now, told: now, tries: 1, pause }
    }

    /// It failed once more: the pause is twice as long, up to this. Gives for how long and how often it has, where that is to be told.
    pub fn again(&mut self, longest: Duration) -> Option<String> {
        self.tries += 1;
        self.pause = (self.pause * 2).min(longest);
        (self.told.elapsed() >= REMINDER).then(|| {
            self.told = Instant::now();
            format!("{} and {} tries", self.lasted(), self.tries)
        })
    }

    /// Before the next try.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Since it failed first, in words.
    pub fn lasted(&self) -> String {
        rough(self.since.elapsed())
    }
}
