//! How often frames of a source are looked at again: what it costs, and how much of it there may be.

use super::sessions::Purpose;
use crate::motion::Need;

/// Of the backbone's work for a source, this share may be for parts of frames.
const SHARE: f32 = 0.3;
/// What the first half of the network costs of the whole.
const HALF: f32 = 0.44;

/// In patches through the whole network. Larger pictures cost more than that, since attention is quadratic in them: a part costs no more
/// than is counted.
fn cost(purpose: &Purpose) -> f32 {
    let share = if purpose.need == Some(Need::Half) { HALF } else { 1.0 };
    purpose.layout.grid.patches() as f32 * share
}

/// What may be spent.
#[derive(Default)]
pub struct Allowance(f32);

impl Allowance {
    /// A frame is seen; says whether a part of one may be, too. No more than one part's work is saved.
    pub fn earn(&mut self, frame: &Purpose, part: &Purpose) -> bool {
        self.0 = (self.0 + SHARE / (1.0 - SHARE) * cost(frame)).min(cost(part));
        self.0 >= cost(part)
    }

    pub fn spend(&mut self, part: &Purpose) {
        self.0 -= cost(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Grid, PatchLayout};

    #[test]
    fn parts_take_at_most_three_tenths_of_the_work() {
        let purpose = |rows: usize, cols: usize, need| Purpose {
            layout: PatchLayout {
                grid: Grid { rows, cols },
                patch: 8,
                image_width: 8 * cols as u32,
                image_height: 8 * rows as u32,
            },
            need: Some(need),
        };
        let part = purpose(16, 16, Need::Whole);
        // 1196 patches of which 44 % is run, and all; a picture as small as the part.
        for (frame, wanted) in [
            (purpose(26, 46, Need::Half), 500),
            (purpose(26, 46, Need::Whole), 1000),
            (purpose(16, 16, Need::Whole), 333),
        ] {
            let mut allowance = Allowance::default();
            let mut parts = 0;
            for _ in 0..1000 {
                if allowance.earn(&frame, &part) {
                    allowance.spend(&part);
                    parts += 1;
                }
            }
            let share = parts as f32 * 256.0 / (parts as f32 * 256.0 + 1000.0 * cost(&frame));
            assert!(share <= SHARE && parts == wanted, "{parts} parts of {frame:?}: {share}");
        }
        let (mut allowance, frame) = (Allowance::default(), purpose(26, 46, Need::Whole));
        (0..1000).for_each(|_| assert!(allowance.earn(&frame, &part)));
        allowance.spend(&part);
        assert!(allowance.0 < 1.0, "nothing is saved for later");
    }
}
