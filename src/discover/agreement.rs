//! How well groups agree with known classes. Groups and classes are numbers, one of each per object.

use std::collections::HashMap;
use std::hash::Hash;

/// The share of objects that are of their group's most common class; 0 where there are none. It grows with the number of groups:
/// compare it at the same number.
pub fn purity(groups: &[usize], classes: &[usize]) -> f64 {
    let mut most: HashMap<usize, usize> = HashMap::new();
    for ((group, _), count) in counts(groups.iter().zip(classes)) {
        let largest = most.entry(*group).or_default();
        *largest = count.max(*largest);
    }
    most.values().sum::<usize>() as f64 / groups.len().max(1) as f64
}

/// Normalised mutual information, the mean of both entropies as its norm: 1 where groups and classes are the same division, 0
/// where one says nothing about the other. Two divisions into one part each agree: 1.
pub fn nmi(groups: &[usize], classes: &[usize]) -> f64 {
    let n = groups.len() as f64;
    let entropy = |counts: Vec<usize>| counts.iter().map(|&c| c as f64 / n).map(|p| -p * p.ln()).sum::<f64>();
    let of_groups = entropy(counts(groups.iter()).into_values().collect());
    let of_classes = entropy(counts(classes.iter()).into_values().collect());
    let of_both = entropy(counts(groups.iter().zip(classes)).into_values().collect());
    let norm = (of_groups + of_classes) / 2.0;
    if norm > 0.0 { ((of_groups + of_classes - of_both) / norm).clamp(0.0, 1.0) } else { 1.0 }
}

fn counts<T: Eq + Hash>(items: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    items.for_each(|item| *counts.entry(item).or_default() += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, wanted: f64) {
        assert!((got - wanted).abs() < 1e-12, "{got}, not {wanted}");
    }

    #[test]
    fn the_same_division_under_other_numbers_is_perfect() {
        let (groups, classes) = ([7, 7, 2, 2, 5], [0, 0, 1, 1, 3]);
        near(purity(&groups, &classes), 1.0);
        near(nmi(&groups, &classes), 1.0);
        near(nmi(&[1, 1], &[4, 4]), 1.0);
    }

    #[test]
    fn independent_divisions_share_nothing() {
        near(nmi(&[0, 0, 1, 1], &[0, 1, 0, 1]), 0.0);
        near(purity(&[0, 0, 1, 1], &[0, 1, 0, 1]), 0.5);
        near(nmi(&[0; 4], &[0, 1, 2, 3]), 0.0);
    }

    #[test]
    fn a_table_counted_by_hand() {
        // 17 objects in three groups (Manning, Raghavan, Schütze, Introduction to Information Retrieval, figure 16.1):
        // 5 of one class and 1 of another; 1, 4 and 1; 2 and 3. Purity 12/17.
        let groups = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2];
        let classes = [0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 2, 0, 0, 2, 2, 2];
        near(purity(&groups, &classes), 12.0 / 17.0);
        assert!((nmi(&groups, &classes) - 0.3646).abs() < 5e-5, "{}", nmi(&groups, &classes));
    }

    #[test]
    fn each_object_alone_is_pure_but_not_informative() {
        // I = H(C) = ln 2, norm (ln 4 + ln 2) / 2: 2/3.
        near(purity(&[0, 1, 2, 3], &[0, 0, 1, 1]), 1.0);
        near(nmi(&[0, 1, 2, 3], &[0, 0, 1, 1]), 2.0 / 3.0);
        near(purity(&[], &[]), 0.0);
    }
}
