//! How well the score tells right boxes from wrong ones: the area under the ROC curve, which is the chance that a right box has
//! a higher score than a wrong one, a tie counting half.

use super::bootstrap;
use super::sample::{Estimate, Sample};

/// Over the pictures with every object annotated; boxes on groups and on difficult objects alone are left out. None where
/// no box is right, or none wrong.
pub fn auc(samples: &[Sample], items: usize) -> Option<Estimate> {
    // (score, item, is it right), by ascending score.
    let mut boxes: Vec<(f32, usize, bool)> = samples
        .iter()
        .filter(|sample| sample.is_exhaustive)
        .flat_map(|sample| sample.found.iter().map(move |found| (sample, found)))
        .filter(|(sample, found)| !sample.is_undecided(found))
        .map(|(sample, found)| (found.score, sample.item, sample.is_right(found)))
        .collect();
    boxes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let area = |counts: &[u32]| {
        let (mut right, mut wrong, mut above) = (0.0, 0.0, 0.0);
        for same in boxes.chunk_by(|a, b| a.0 == b.0) {
            let count = |wanted| -> f64 {
                same.iter()
                    .filter(|(.., is_right)| *is_right == wanted)
                    .map(|(_, item, _)| f64::from(counts[*item]))
                    .sum()
            };
            let (more_right, more_wrong) = (count(true), count(false));
            above += more_right * (wrong + more_wrong / 2.0);
            right += more_right;
            wrong += more_wrong;
        }
        (right > 0.0 && wrong > 0.0).then(|| above / (right * wrong))
    };
    let value = area(&vec![1; items])?;
    let [interval] = bootstrap::intervals(items, |counts| [area(counts)]);
    Some(Estimate::new(value, interval))
}
