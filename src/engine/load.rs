//! Whether a live source's delivery is behind: its newest frames are then left out, so that what comes out of it is of now.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Frames that would wait longer than this for those before them are late.
const LATE: Duration = Duration::from_millis(50);
/// One frame's share of the mean.
const SHARE: u64 = 8;

/// What one source's delivery is at.
#[derive(Default)]
pub(super) struct Load {
    /// What a frame takes it, as a mean, in microseconds.
    frame: AtomicU64,
    /// It waits for the model, and catches up once the answer is there.
    waits: AtomicBool,
}

impl Load {
    /// The model is waited for, or is no longer.
    pub fn waits(&self, is: bool) {
        self.waits.store(is, Ordering::Relaxed);
    }

    /// A frame took so long, without waiting for the model.
    pub fn worked(&self, took: Duration) {
        let mean = self.frame.load(Ordering::Relaxed);
        let took = took.as_micros() as u64;
        self.frame.store((mean * (SHARE - 1) + took) / SHARE, Ordering::Relaxed);
    }

    /// Whether one more frame would come late, where so many wait.
    pub fn is_late(&self, waiting: usize) -> bool {
        let busy = self.frame.load(Ordering::Relaxed) * waiting as u64;
        !self.waits.load(Ordering::Relaxed) && busy > LATE.as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_too_long_is_late_and_who_waits_for_the_model_is_not() {
        let load = Load::default();
        assert!(!load.is_late(1000));
        (0..100).for_each(|_| load.worked(Duration::from_millis(10)));
        assert!(!load.is_late(4) && load.is_late(6));
        load.waits(true);
        assert!(!load.is_late(6));
        load.waits(false);
        (0..100).for_each(|_| load.worked(Duration::from_millis(1)));
        assert!(!load.is_late(6));
    }
}
