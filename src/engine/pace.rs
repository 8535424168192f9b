//! Which frames the model is asked about.

use crate::record::Every;
use std::time::{Duration, Instant};

/// A file that falls behind leaves frames out for so long at most: the first session takes its time, and nothing would be found meanwhile.
const MOST_BEHIND: Duration = Duration::from_millis(500);
/// What it was faster for before is spent where it is slower.
const MOST_AHEAD: Duration = Duration::from_secs(2);

/// Of one source.
pub(super) struct Pace {
    every: Every,
    is_live: bool,
    /// When a frame with the time stamp 0 would have been shown.
    began: Option<Instant>,
}

impl Pace {
    pub fn new(every: Every, is_live: bool) -> Self {
        Self { every, is_live, began: None }
    }

    /// The time until the next frame does not count.
    pub fn rest(&mut self) {
        self.began = None;
    }

    /// Whether the model is asked about the frame of this number and time stamp. `auto`: about every frame of a live source, of which those
    /// are passed over that find no room, and of a file about those it has time for at the file's own speed.
    pub fn asks(&mut self, index: u64, pts_ns: u64, now: Instant) -> bool {
        match self.every {
            Every::Frames(frames) => index.is_multiple_of(frames.max(1)),
            Every::Auto if self.is_live => true,
            Every::Auto => {
                let pts = Duration::from_nanos(pts_ns);
                let latest = now.checked_sub(pts).unwrap_or(now);
                let began = *self.began.get_or_insert(latest);
                let (behind, ahead) =
                    (latest.saturating_duration_since(began), began.saturating_duration_since(latest));
                if behind > MOST_BEHIND {
                    self.began = Some(latest - MOST_BEHIND);
                } else if ahead > MOST_AHEAD {
                    self.began = Some(latest + MOST_AHEAD);
                }
                behind.is_zero()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 25 frames a second, decoded in `decode_ms` each, the model `model_ms` more: how many it is asked about in 40 seconds, how long that
    /// takes, and the longest row of frames it is not asked about.
    fn run(every: Every, decode_ms: u64, model_ms: u64, first_ms: u64) -> (u64, f64, u64) {
        let mut pace = Pace::new(every, false);
        let start = Instant::now();
        let (mut now, mut asked, mut row, mut longest) = (start, 0, 0, 0);
        for index in 0..1000 {
            now += Duration::from_millis(decode_ms);
            if pace.asks(index, index * 40_000_000, now) {
                now += Duration::from_millis(model_ms + if asked == 0 { first_ms } else { 0 });
                (asked, row) = (asked + 1, 0);
            } else {
                row += 1;
                longest = longest.max(row);
            }
        }
        (asked, (now - start).as_secs_f64(), longest)
    }

    #[test]
    fn a_file_keeps_its_own_speed_and_asks_as_often_as_that_lets_it() {
        let (asked, seconds, longest) = run(Every::Auto, 4, 90, 3000);
        // 36 ms of 40 are left for the model.
        assert!((370..=420).contains(&asked) && seconds < 44.0 && longest < 20, "{asked} in {seconds} s, {longest}");
        assert_eq!(run(Every::Auto, 4, 20, 0), (1000, 24.0, 0));
        assert_eq!(run(Every::Frames(5), 4, 90, 0).0, 200);
    }

    #[test]
    fn a_live_source_asks_about_every_frame() {
        let (mut pace, now) = (Pace::new(Every::Auto, true), Instant::now());
        assert!((0..50).all(|index| pace.asks(index, 0, now + Duration::from_secs(index))));
    }
}
