//! How long something takes, counted so that it adds up over sources and machines, which percentiles do not.

use std::time::Duration;

/// Bounds of every histogram, in seconds: from a run of a small model on a GPU to what a receiver did not take for ten minutes.
pub const BOUNDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

#[derive(Clone, Copy, Debug, Default)]
pub struct Histogram {
    /// As many as took at most so long ([`BOUNDS`]), each without those before; the last for what took longer.
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    pub fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Of all that it took.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bound with how many were not above it, in seconds; the last is infinite.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        }))
    }
}
