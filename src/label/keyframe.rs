//! Which frames of a clip are worth a label.

/// Size of the brightness thumbnails that frames are compared by.
pub const THUMBNAIL: (u32, u32) = (32, 24);
/// A cell of the thumbnail has changed when its brightness, 0 to 255, differs by more.
const CELL_CHANGE: u8 = 16;
/// A frame is another picture when more than this share of its cells has changed.
const CHANGE: f64 = 0.1;
/// At most one key frame per half a second …
const MIN_GAP_NS: u64 = 500_000_000;
/// … and at least one per ten.
const MAX_GAP_NS: u64 = 10_000_000_000;

/// Chooses key frames: the first, then each that differs enough from the last one chosen.
///
/// The measure is the share of cells of a brightness thumbnail that have changed. Unlike a mean difference it is not moved by
/// noise, and unlike the distance of histograms it sees things that move in front of a ground that stays.
#[derive(Clone, Debug)]
pub struct KeyFrames {
    every_ns: Option<u64>,
    min_gap_ns: u64,
    last: Option<(u64, Vec<u8>)>,
}

impl KeyFrames {
    /// By change, of a clip of this length, so that `at_most` frames, where it is given, are spread over it.
    pub fn by_change(duration_ns: Option<u64>, at_most: Option<u64>) -> Self {
        let spread = duration_ns.zip(at_most).map_or(0, |(duration, frames)| duration / frames.max(1));
        Self { every_ns: None, min_gap_ns: MIN_GAP_NS.max(spread), last: None }
    }

    /// One frame in each interval of this length.
    pub fn every(interval_ns: u64) -> Self {
        Self { every_ns: Some(interval_ns.max(1)), min_gap_ns: 0, last: None }
    }

    /// Whether the next frame is a key frame: its time stamp, and its brightness as a [`THUMBNAIL`], row by row.
    pub fn takes(&mut self, pts_ns: u64, luma: &[u8]) -> bool {
        let is_taken = match (&self.last, self.every_ns) {
            (None, _) => true,
            (Some((last, _)), Some(every)) => pts_ns / every > last / every,
            (Some((last, before)), None) => {
                let gap = pts_ns.saturating_sub(*last);
                gap >= self.min_gap_ns && (gap >= MAX_GAP_NS || changed(before, luma) > CHANGE)
            }
        };
        if is_taken {
            self.last = Some((pts_ns, luma.to_vec()));
        }
        is_taken
    }
}

/// The share of cells that have changed.
fn changed(before: &[u8], now: &[u8]) -> f64 {
    let cells = before.iter().zip(now).filter(|(a, b)| a.abs_diff(**b) > CELL_CHANGE).count();
    cells as f64 / now.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const CELLS: usize = (THUMBNAIL.0 * THUMBNAIL.1) as usize;

    /// The times, in ms, of the frames taken of a clip of 10 frames per second.
    fn taken(mut chooser: KeyFrames, frames: u64, luma: impl Fn(u64) -> Vec<u8>) -> Vec<u64> {
        (0..frames).filter(|&n| chooser.takes(n * 100 * MS, &luma(n))).map(|n| n * 100).collect()
    }

    #[test]
    fn a_clip_that_stands_still_gives_one_frame_per_ten_seconds_whatever_its_noise() {
        let noise = |n: u64| (0..CELLS as u64).map(|cell| 100 + ((cell * 7 + n * 13) % 16) as u8).collect();
        assert_eq!(taken(KeyFrames::by_change(None, None), 250, noise), [0, 10_000, 20_000]);
    }

    #[test]
    fn a_cut_is_taken_and_fast_change_no_more_than_twice_a_second() {
        let cut = |n: u64| vec![if n < 30 { 50 } else { 200 }; CELLS];
        assert_eq!(taken(KeyFrames::by_change(None, None), 60, cut), [0, 3000]);
        let flicker = |n: u64| vec![(n % 3) as u8 * 80; CELLS];
        assert_eq!(taken(KeyFrames::by_change(None, None), 21, flicker), [0, 500, 1000, 1500, 2000]);
    }

    #[test]
    fn an_object_that_enters_is_taken_once_it_covers_a_tenth() {
        let enters = |n: u64| (0..CELLS as u64).map(|cell| if cell < n * 8 { 200 } else { 60 }).collect();
        // 77 of 768 cells are more than a tenth: the tenth frame has 80.
        assert_eq!(taken(KeyFrames::by_change(None, None), 12, enters), [0, 1000]);
    }

    #[test]
    fn an_interval_does_not_drift_and_a_limit_spreads_the_frames() {
        let still = |_| vec![0; CELLS];
        assert_eq!(taken(KeyFrames::every(250 * MS), 10, still), [0, 300, 500, 800]);
        let flicker = |n: u64| vec![(n % 2) as u8 * 200; CELLS];
        let spread = taken(KeyFrames::by_change(Some(10_000 * MS), Some(4)), 100, flicker);
        assert_eq!(spread, [0, 2500, 5000, 7500]);
    }
}
