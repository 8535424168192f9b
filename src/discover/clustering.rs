//! Vectors of unit length → groups of those that are near each other.
//!
//! Ward's agglomeration (the tree of merges, by `kodama`) is cut into some number of groups; every vector then goes to the
//! nearest centre, which is also how a new object is told its group. The tree is made of at most [`SAMPLE`] vectors, evenly
//! taken, so that time and memory are bounded.

use super::appearance::{centre, distance};
use kodama::{Method, linkage};

/// Vectors that the tree of merges is made of: their distances take `SAMPLE²/2` numbers.
const SAMPLE: usize = 2048;
/// At most this many groups are chosen where nobody says how many.
const MOST_CHOSEN: usize = 64;
/// Below this mean silhouette no number of groups stands out.
const STANDS_OUT: f64 = 0.25;
/// Rounds of moving vectors to the nearest centre.
const ROUNDS: usize = 10;

/// Groups of vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// The group of each vector, every number below the number of groups in use.
    pub groups: Vec<usize>,
    /// Of unit length, `[D]` each.
    pub centres: Vec<Vec<f32>>,
    /// How clearly apart the groups are, −1 to 1, the mean silhouette of the sample; none for fewer than two groups.
    pub silhouette: Option<f64>,
}

/// Groups `vectors`, of unit length and of one width, into `wanted` groups (fewer where there are fewer vectors).
///
/// Where `wanted` is none, it is the number from 2 to 64 with the highest mean silhouette; where that is below 0.25, no
/// number stands out, and √(n/2) groups are made, for a person to browse.
pub fn cluster(vectors: &[Vec<f32>], wanted: Option<usize>) -> Clusters {
    let Some(dim) = vectors.first().map(Vec::len) else {
        return Clusters { groups: Vec::new(), centres: Vec::new(), silhouette: None };
    };
    let taken = vectors.len().min(SAMPLE);
    let sample: Vec<&[f32]> = (0..taken).map(|i| vectors[i * vectors.len() / taken].as_slice()).collect();
    let distances = Distances::of(&sample);
    let mut tree = distances.condensed.clone();
    let tree = linkage(&mut tree, taken, Method::Ward);
    let merges: Vec<(usize, usize)> = tree.steps().iter().map(|step| (step.cluster1, step.cluster2)).collect();

    let at = |count: usize| {
        let groups = cut(&merges, taken, count);
        (distances.silhouette(&groups, count), groups)
    };
    let count = wanted.map_or_else(
        || {
            let silhouettes = (2..=MOST_CHOSEN.min(taken.saturating_sub(1))).map(|count| (at(count).0, count));
            match silhouettes.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))) {
                Some((silhouette, count)) if silhouette >= STANDS_OUT => count,
                _ => (taken as f64 / 2.0).sqrt().round().clamp(1.0, MOST_CHOSEN as f64) as usize,
            }
        },
        |wanted| wanted.clamp(1, taken),
    );
    let (silhouette, groups) = at(count);
    let members = |group: usize| sample.iter().zip(&groups).filter(move |(_, g)| **g == group).map(|(v, _)| *v);
    let centres = (0..count).map(|group| centre(members(group), dim)).collect();
    let (groups, centres) = settle(vectors, centres, dim);
    Clusters { groups, centres, silhouette: (count > 1).then_some(silhouette) }
}

/// The number of the centre nearest to `vector`, and how far it is; none where there is no centre.
pub fn nearest<'a>(vector: &[f32], centres: impl Iterator<Item = &'a [f32]>) -> Option<(usize, f32)> {
    centres.map(|centre| distance(vector, centre)).enumerate().min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Moves every vector to its nearest centre, and every centre to the middle of its vectors; a centre left without any goes away.
fn settle(vectors: &[Vec<f32>], mut centres: Vec<Vec<f32>>, dim: usize) -> (Vec<usize>, Vec<Vec<f32>>) {
    let mut groups = vec![0; vectors.len()];
    for _ in 0..ROUNDS {
        let assign =
            |vector: &Vec<f32>| nearest(vector, centres.iter().map(Vec::as_slice)).map_or(0, |(group, _)| group);
        let assigned: Vec<usize> = vectors.iter().map(assign).collect();
        let mut kept: Vec<usize> = assigned.clone();
        kept.sort_unstable();
        kept.dedup();
        let assigned: Vec<usize> = assigned.iter().map(|group| kept.binary_search(group).unwrap_or(0)).collect();
        let is_settled = assigned == groups && kept.len() == centres.len();
        groups = assigned;
        if is_settled {
            break;
        }
        let members = |group: usize| vectors.iter().zip(&groups).filter(move |(_, g)| **g == group);
        centres = (0..kept.len()).map(|g| centre(members(g).map(|(v, _)| v.as_slice()), dim)).collect();
    }
    (groups, centres)
}

/// The groups of `n` leaves after all but the last `count − 1` merges; a merge's number is `n` plus its place.
fn cut(merges: &[(usize, usize)], n: usize, count: usize) -> Vec<usize> {
    let done = n.saturating_sub(count).min(merges.len());
    let mut root: Vec<usize> = (0..n + done).collect();
    // From the last merge down, so that a part's root is known before its own parts ask for it.
    for (place, &(a, b)) in merges[..done].iter().enumerate().rev() {
        let above = root[n + place];
        (root[a], root[b]) = (above, above);
    }
    let mut numbers: Vec<usize> = root[..n].to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    root[..n].iter().map(|root| numbers.binary_search(root).unwrap_or(0)).collect()
}

/// Euclidean distances between every two of `n` vectors, the upper triangle row by row.
struct Distances {
    n: usize,
    condensed: Vec<f32>,
}

impl Distances {
    fn of(vectors: &[&[f32]]) -> Self {
        let rows = vectors.iter().enumerate();
        let condensed =
            rows.flat_map(|(i, a)| vectors[i + 1..].iter().map(|b| (2.0 * distance(a, b)).sqrt())).collect();
        Self { n: vectors.len(), condensed }
    }

    /// The mean over all vectors of how much nearer their own group is than the next (Rousseeuw 1987); 0 for one alone.
    fn silhouette(&self, groups: &[usize], count: usize) -> f64 {
        let mut sums = vec![0f64; self.n * count];
        let mut pair = self.condensed.iter();
        for i in 0..self.n {
            for (j, &d) in (i + 1..self.n).zip(&mut pair) {
                sums[i * count + groups[j]] += f64::from(d);
                sums[j * count + groups[i]] += f64::from(d);
            }
        }
        let mut sizes = vec![0usize; count];
        groups.iter().for_each(|&group| sizes[group] += 1);
        let of_one = |i: usize| {
            let own = groups[i];
            let mean = |group: usize, size: usize| sums[i * count + group] / size as f64;
            let others = (0..count).filter(|&group| group != own && sizes[group] > 0);
            let next = others.map(|group| mean(group, sizes[group])).fold(f64::INFINITY, f64::min);
            match sizes[own] {
                1 => 0.0,
                size => {
                    let within = mean(own, size - 1);
                    let larger = within.max(next);
                    if larger > 0.0 && next.is_finite() { (next - within) / larger } else { 0.0 }
                }
            }
        };
        (0..self.n).map(of_one).sum::<f64>() / self.n.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors at these angles, in degrees.
    fn at(angles: &[f32]) -> Vec<Vec<f32>> {
        angles.iter().map(|angle| angle.to_radians()).map(|a| vec![a.cos(), a.sin()]).collect()
    }

    #[test]
    fn bundles_far_apart_are_found_and_counted() {
        let vectors = at(&[0.0, 100.0, 1.0, 200.0, 101.0, 2.0, 201.0, 102.0, 3.0]);
        let found = cluster(&vectors, None);
        assert_eq!(found.centres.len(), 3);
        let same = |i: usize, j: usize| found.groups[i] == found.groups[j];
        assert!(same(0, 2) && same(0, 5) && same(0, 8) && same(1, 4) && same(1, 7) && same(3, 6));
        assert!(!same(0, 1) && !same(0, 3) && !same(1, 3));
        assert!(found.silhouette > Some(0.9));
    }

    #[test]
    fn the_number_asked_for_is_made_where_there_are_as_many() {
        let vectors = at(&[0.0, 1.0, 90.0, 91.0, 180.0]);
        for (wanted, made) in [(1, 1), (2, 2), (5, 5), (9, 5)] {
            let found = cluster(&vectors, Some(wanted));
            assert_eq!(found.centres.len(), made);
            assert!(found.groups.iter().all(|&group| group < made));
        }
    }

    #[test]
    fn none_one_and_equal_vectors_are_no_trouble() {
        assert!(cluster(&[], None).groups.is_empty());
        assert_eq!(cluster(&at(&[5.0]), None).groups, [0]);
        assert_eq!(cluster(&at(&[5.0; 4]), None).centres.len(), 1);
        assert_eq!(cluster(&vec![vec![0.0; 3]; 3], Some(2)).groups.len(), 3);
    }

    #[test]
    fn more_than_the_sample_are_all_grouped() {
        let angles: Vec<f32> = (0..3000).map(|i| if i % 2 == 0 { 0.0 } else { 120.0 } + i as f32 / 1000.0).collect();
        let found = cluster(&at(&angles), Some(2));
        assert!(found.groups.iter().enumerate().all(|(i, &group)| group == found.groups[i % 2]));
    }

    #[test]
    fn a_silhouette_by_hand() {
        // Two at 0° and 90° together, one at 180°: their distances are √2, 2 and √2.
        let vectors = at(&[0.0, 90.0, 180.0]);
        let distances = Distances::of(&vectors.iter().map(Vec::as_slice).collect::<Vec<_>>());
        // (2 − √2)/2, (√2 − √2)/√2, and 0 for the one alone.
        assert!((distances.silhouette(&[0, 0, 1], 2) - (1.0 - 0.5f64.sqrt()) / 3.0).abs() < 1e-6);
    }
}
