//! Who belongs to whom: pairs of the largest likeness in all (Kuhn and Munkres), group by group.

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

/// Likeness as whole numbers, which the assignment is exact in.
const UNITS: f64 = 1e12;

/// The pairs `(left, right)` of `lefts` and `rights` numbers whose likeness, above 0 and not far above 1, is the largest in all; none
/// has two. Pairs without a likeness are never made. Groups of more than `most` pairings are taken in the order of likeness.
pub fn assign(
    lefts: usize,
    rights: usize,
    most: usize,
    likeness: impl Fn(usize, usize) -> Option<f64>,
) -> Vec<(usize, usize)> {
    let mut edges = Vec::new();
    for left in 0..lefts {
        edges.extend((0..rights).filter_map(|right| Some((left, right, likeness(left, right)?))));
    }
    let mut pairs = Vec::new();
    for group in groups(lefts, rights, &edges) {
        match group.lefts.len() * group.rights.len() {
            1 => pairs.push((group.lefts[0], group.rights[0])),
            pairings if pairings <= most => pairs.extend(best(&group)),
            _ => pairs.extend(greedy(group)),
        }
    }
    pairs
}

type Edge = (usize, usize, f64);

/// Numbers that are linked with each other, and their links.
#[derive(Default)]
struct Group {
    lefts: Vec<usize>,
    rights: Vec<usize>,
    edges: Vec<Edge>,
}

/// Those that nothing links with others.
fn groups(lefts: usize, rights: usize, edges: &[Edge]) -> Vec<Group> {
    let mut parents: Vec<usize> = (0..lefts + rights).collect();
    fn root(parents: &mut [usize], mut at: usize) -> usize {
        while parents[at] != at {
            parents[at] = parents[parents[at]];
            at = parents[at];
        }
        at
    }
    for &(left, right, _) in edges {
        let (a, b) = (root(&mut parents, left), root(&mut parents, lefts + right));
        parents[a.max(b)] = a.min(b);
    }
    let mut places = vec![usize::MAX; lefts + rights];
    let mut groups: Vec<Group> = Vec::new();
    let mut seen = vec![false; lefts + rights];
    for &(left, right, likeness) in edges {
        let root = root(&mut parents, left);
        if places[root] == usize::MAX {
            places[root] = groups.len();
            groups.push(Group::default());
        }
        let group = &mut groups[places[root]];
        if !std::mem::replace(&mut seen[left], true) {
            group.lefts.push(left);
        }
        if !std::mem::replace(&mut seen[lefts + right], true) {
            group.rights.push(right);
        }
        group.edges.push((left, right, likeness));
    }
    groups
}

fn best(group: &Group) -> Vec<(usize, usize)> {
    // No more rows than columns are asked for.
    let is_wide = group.lefts.len() <= group.rights.len();
    let (rows, cols) = if is_wide { (&group.lefts, &group.rights) } else { (&group.rights, &group.lefts) };
    let mut weights = Matrix::new(rows.len(), cols.len(), 0i64);
    let place = |of: &[usize], number: usize| of.iter().position(|&other| other == number).unwrap_or(0);
    for &(left, right, likeness) in &group.edges {
        let (row, col) = if is_wide { (left, right) } else { (right, left) };
        weights[(place(rows, row), place(cols, col))] = ((likeness * UNITS) as i64).max(1);
    }
    let (_, chosen) = kuhn_munkres(&weights);
    let pairs = chosen.into_iter().enumerate().filter(|&(row, col)| weights[(row, col)] > 0);
    pairs.map(|(row, col)| if is_wide { (rows[row], cols[col]) } else { (cols[col], rows[row]) }).collect()
}

fn greedy(mut group: Group) -> Vec<(usize, usize)> {
    group.edges.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    let most = |of: &[usize]| of.iter().max().map_or(0, |most| most + 1);
    let (mut lefts, mut rights) = (vec![false; most(&group.lefts)], vec![false; most(&group.rights)]);
    let mut pairs = Vec::new();
    for (left, right, _) in group.edges {
        if !lefts[left] && !rights[right] {
            (lefts[left], rights[right]) = (true, true);
            pairs.push((left, right));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest sum of all ways to pair.
    fn most(lefts: usize, taken: &mut Vec<bool>, likeness: &dyn Fn(usize, usize) -> Option<f64>) -> f64 {
        let Some(left) = lefts.checked_sub(1) else { return 0.0 };
        let mut best = most(left, taken, likeness);
        for right in 0..taken.len() {
            if let Some(alike) = likeness(left, right).filter(|_| !taken[right]) {
                taken[right] = true;
                best = best.max(alike + most(left, taken, likeness));
                taken[right] = false;
            }
        }
        best
    }

    #[test]
    fn the_sum_is_the_largest_of_all_ways_to_pair() {
        let mut state = 1u32;
        for (lefts, rights) in [(0, 3), (1, 1), (3, 2), (4, 6), (6, 4), (5, 5)].into_iter().cycle().take(300) {
            let mut draw = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f64::from(state >> 8) / f64::from(1 << 24)
            };
            let table: Vec<Option<f64>> = (0..lefts * rights).map(|_| Some(draw()).filter(|_| draw() < 0.5)).collect();
            let likeness = |left: usize, right: usize| table[left * rights + right];
            let pairs = assign(lefts, rights, usize::MAX, likeness);
            let sum: f64 = pairs.iter().map(|&(left, right)| likeness(left, right).unwrap()).sum();
            let best = most(lefts, &mut vec![false; rights], &likeness);
            assert!((sum - best).abs() < 1e-9, "{sum} of {best}");
            for side in [|pair: &(usize, usize)| pair.0, |pair: &(usize, usize)| pair.1] {
                let mut used: Vec<usize> = pairs.iter().map(side).collect();
                used.sort_unstable();
                used.dedup();
                assert_eq!(used.len(), pairs.len());
            }
        }
    }

    #[test]
    fn a_crowd_is_paired_in_the_order_of_likeness() {
        let pairs = assign(100, 100, 2500, |left, right| {
            (left / 50 == right / 50).then_some(if left == right { 1.0 } else { 0.4 })
        });
        assert_eq!(pairs.len(), 100);
        let all = assign(100, 100, 2500, |left, right| Some(if left == right { 1.0 } else { 0.4 }));
        assert!(all.len() == 100 && all.iter().all(|(left, right)| left == right));
    }
}
