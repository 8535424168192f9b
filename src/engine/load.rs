//! Whether a live source's delivery is behind: its newest frames are then left out, so that what comes out of it is of now.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Frames that would wait longer than this for those before them are late.
const LATE: Duration = Duration::from_millis(50);
/// One frame's share of the mean.
const SHARE: u64 = 8;

/// What may be made up for, of the time that was spent waiting for the model.
const CREDIT: Duration = Duration::from_millis(500);

/// What one source's delivery is at.
#[derive(Default)]
pub(super) struct Load {
    /// What a frame takes it, as a mean, in microseconds.
    frame: AtomicU64,
    /// It waits for the model, and catches up once the answer is there.
    waits: AtomicBool,
    /// For so long it has waited and not caught up yet, in microseconds.
    behind: AtomicU64,
}

impl Load {
    /// The model is waited for.
    pub fn waits(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    /// It was, for so long.
    pub fn has_waited(&self, time: Duration) {
        let behind = self.behind.load(Ordering::Relaxed).saturating_add(time.as_micros() as u64);
        self.behind.store(behind.min(CREDIT.as_micros() as u64), Ordering::Relaxed);
        self.waits.store(false, Ordering::Relaxed);
    }

    /// A frame took so long, without waiting for the model.
    pub fn worked(&self, took: Duration) {
        let (mean, took) = (self.frame.load(Ordering::Relaxed), took.as_micros() as u64);
        self.frame.store((mean * (SHARE - 1) + took) / SHARE, Ordering::Relaxed);
        let behind = self.behind.load(Ordering::Relaxed);
        self.behind.store(behind.saturating_sub(took), Ordering::Relaxed);
    }

    /// Whether one more frame would come late, where so many wait.
    pub fn is_late(&self, waiting: usize) -> bool {
        let busy = self.frame.load(Ordering::Relaxed) * waiting as u64;
        let allowed = LATE.as_micros() as u64 + self.behind.load(Ordering::Relaxed);
        !self.waits.load(Ordering::Relaxed) && busy > allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_too_long_is_late_and_who_waits_for_the_model_is_not() {
        let ms = Duration::from_millis;
        let load = Load::default();
        assert!(!load.is_late(1000));
        (0..100).for_each(|_| load.worked(ms(10)));
        assert!(!load.is_late(4) && load.is_late(6));
        load.waits();
        assert!(!load.is_late(60));
        // What has come meanwhile may be caught up with.
        load.has_waited(ms(100));
        assert!(!load.is_late(14) && load.is_late(16));
        (0..5).for_each(|_| load.worked(ms(10)));
        assert!(!load.is_late(9) && load.is_late(11));
        (0..100).for_each(|_| load.has_waited(ms(100)));
        assert!(load.is_late(56));
        (0..100).for_each(|_| load.worked(ms(1)));
        assert!(!load.is_late(6));
    }
}
