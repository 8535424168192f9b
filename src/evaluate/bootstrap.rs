//! Confidence intervals by the percentile bootstrap: the items of a data set (pictures; clips as a whole) are drawn again with
//! replacement, the measure is taken of each draw, and the interval holds the middle 95 % of the answers.

/// Draws per interval.
pub const RESAMPLES: u32 = 1000;
/// Share of the answers inside the interval.
pub const LEVEL: f64 = 0.95;
/// The draws are the same every time, on every machine.
pub const SEED: u64 = 20_210_929;

/// `[low, high]` of each of `K` measures over `items` items. `measures` is given how often each item was drawn; draws in which a
/// measure is undefined are left out of its interval. None where there are fewer than two items, or no draw defines it.
pub fn intervals<const K: usize>(
    items: usize,
    mut measures: impl FnMut(&[u32]) -> [Option<f64>; K],
) -> [Option<[f64; 2]>; K] {
    let mut answers = [const { Vec::new() }; K];
    if items < 2 {
        return [None; K];
    }
    let mut random = SplitMix64(SEED);
    let mut counts = vec![0; items];
    for _ in 0..RESAMPLES {
        counts.fill(0);
        for _ in 0..items {
            counts[random.below(items)] += 1;
        }
        for (all, answer) in answers.iter_mut().zip(measures(&counts)) {
            all.extend(answer);
        }
    }
    answers.map(|mut all| {
        all.sort_by(f64::total_cmp);
        let tail = (1.0 - LEVEL) / 2.0;
        Some([quantile(&all, tail)?, quantile(&all, 1.0 - tail)?])
    })
}

/// The value that `share` of the ascending `values` lie below, interpolated.
fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let at = share * values.len().checked_sub(1)? as f64;
    let (below, above) = (values.get(at.floor() as usize)?, values.get(at.ceil() as usize)?);
    Some(below + (above - below) * at.fract())
}

/// Random numbers after Steele et al., 2014.
struct SplitMix64(u64);

impl SplitMix64 {
    /// A number below `limit`; the bias is below `limit` / 2⁶⁴.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((u128::from(z) * limit as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_share_is_near_the_normal_one() {
        let hits = |item: usize| item.is_multiple_of(4);
        let items = 600;
        let [found] = intervals(items, |counts| {
            let sum: u32 = counts.iter().enumerate().filter(|(item, _)| hits(*item)).map(|(_, n)| n).sum();
            [Some(f64::from(sum) / items as f64)]
        });
        let [low, high] = found.unwrap();
        let half = 1.96 * (0.25 * 0.75 / items as f64).sqrt();
        assert!((low - (0.25 - half)).abs() < 0.006 && (high - (0.25 + half)).abs() < 0.006, "{low} {high} {half}");
    }

    #[test]
    fn draws_are_the_same_each_time_and_each_as_large_as_the_set() {
        let take = || {
            let mut seen = Vec::new();
            intervals(5, |counts| {
                assert_eq!(counts.iter().sum::<u32>(), 5);
                seen.push(counts.to_vec());
                [Some(f64::from(counts[0]))]
            });
            seen
        };
        assert_eq!(take(), take());
    }

    #[test]
    fn one_item_and_undefined_measures_have_no_interval() {
        assert_eq!(intervals(1, |_| [Some(1.0)]), [None]);
        assert_eq!(intervals(3, |_| [None, Some(2.0)]), [None, Some([2.0, 2.0])]);
    }
}
