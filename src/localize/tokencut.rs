//! TokenCut: one box from a normalised cut of the patch graph (Wang et al., CVPR 2022, section 3).
//!
//! The graph's weights are a 0/1 pattern plus a constant, so a product with them is a masked sum over a bit matrix, and
//! Lanczos finds the one eigenvector that is needed.

use super::affinity::SignMatrix;
use super::kernel::vectorized;
use super::{Features, components, dot};
use crate::geometry::{PatchLayout, PixelBox};

/// Cosine above which two patches are joined by weight 1.
pub const TAU: f64 = 0.2;
/// Weight of all other edges.
const EPSILON: f64 = 1e-5;
/// Residual at which the eigenvector is taken as found.
const TOLERANCE: f64 = 1e-11;
/// Lanczos steps between two looks at the residual, and at most.
const STEPS_PER_LOOK: usize = 8;
const MAX_STEPS: usize = 400;
/// Entries of the eigenvector this near to the largest, relatively, tie for the seed.
const TIE: f64 = 1e-8;

/// What TokenCut found.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenCut {
    /// The patch of the largest eigenvector entry.
    pub seed: usize,
    /// The soft mask `[N]`: the eigenvector of unit length, positive at the seed.
    pub eigenvector: Vec<f64>,
    /// Foreground patches, all components.
    pub mask: Vec<bool>,
    /// The patches of the seed's component, ascending.
    pub patches: Vec<usize>,
    /// Their bounding box in image pixels; `None` where every patch is joined to every other, so that no cut is best.
    pub bbox: Option<PixelBox>,
}

/// Localizes one object.
pub fn localize(features: &Features, layout: &PatchLayout) -> TokenCut {
    let edges = SignMatrix::above_cosine(features, TAU);
    let mut y = second_eigenvector(&edges);
    let largest = y.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let n = y.len();
    if largest == 0.0 {
        return TokenCut { seed: 0, eigenvector: y, mask: vec![false; n], patches: Vec::new(), bbox: None };
    }
    let seed = y.iter().position(|v| v.abs() >= largest * (1.0 - TIE)).unwrap_or(0);
    let mean = y.iter().sum::<f64>() / y.len() as f64;
    let mut mask: Vec<bool> = y.iter().map(|&v| v > mean).collect();
    if !mask[seed] {
        mask.iter_mut().for_each(|on| *on = !*on);
        y.iter_mut().for_each(|v| *v = -*v);
    }
    let patches = components::component_of(&mask, features.grid(), seed);
    let bbox = components::bounding_box(&patches, layout);
    TokenCut { seed, eigenvector: y, mask, patches, bbox }
}

/// The eigenvector of the second-smallest λ in `(D − E) y = λ D y`, of unit length; zero where every patch is
/// joined to every other.
///
/// With `z = D^½ y` that is the second-largest one of `D^-½ E D^-½`, whose largest is known: `D^½ 1`.
fn second_eigenvector(edges: &SignMatrix) -> Vec<f64> {
    let n = edges.patches();
    // Every patch is joined to every other: all cuts are equal, and any vector is an eigenvector.
    if (0..n).all(|i| edges.row(i).iter().map(|word| word.count_ones() as usize).sum::<usize>() == n) {
        return vec![0.0; n];
    }
    let weight_sum = |joined: f64, total: f64| EPSILON * total + (1.0 - EPSILON) * joined;
    let joined = |i: usize| edges.row(i).iter().map(|word| word.count_ones()).sum::<u32>();
    let root: Vec<f64> = (0..n).map(|i| weight_sum(f64::from(joined(i)), n as f64).sqrt()).collect();
    // Whole words of bits.
    let mut x = vec![0.0; n.next_multiple_of(64)];
    let mut product = |z: &[f64]| -> Vec<f64> {
        let mut total = 0.0;
        for i in 0..n {
            x[i] = z[i] / root[i];
            total += x[i];
        }
        let sums = masked_sums(edges, &x);
        sums.iter().zip(&root).map(|(sum, root)| weight_sum(*sum, total) / root).collect()
    };

    let mut first = root.clone();
    normalize(&mut first);
    // A fixed start without symmetry, so that no eigenvector is orthogonal to it.
    let mut z: Vec<f64> = (0..n).map(|i| ((i as f64 + 1.0) * 0.618_033_988_749_895).fract() - 0.5).collect();
    remove(&mut z, &first);
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let (mut diagonal, mut off) = (Vec::new(), Vec::new());
    while normalize(&mut z) > 1e-13 && basis.len() < MAX_STEPS.min(n - 1) {
        let mut next = product(&z);
        diagonal.push(dot(&next, &z));
        basis.push(z);
        orthogonalize(&mut next, &first, &basis);
        let beta = dot(&next, &next).sqrt();
        z = next;
        let steps = basis.len();
        if beta < 1e-13
            || (steps.is_multiple_of(STEPS_PER_LOOK) && beta * top(&diagonal, &off)[steps - 1].abs() < TOLERANCE)
        {
            break;
        }
        off.push(beta);
    }
    let mut y = vec![0.0; n];
    if !basis.is_empty() {
        for (weight, b) in top(&diagonal, &off).iter().zip(&basis) {
            y.iter_mut().zip(b).for_each(|(y, b)| *y += weight * b);
        }
        y.iter_mut().zip(&root).for_each(|(y, r)| *y /= r);
        normalize(&mut y);
    }
    y
}

/// The eigenvector of unit length of the largest eigenvalue λ of a symmetric tridiagonal matrix T, whose first
/// `diagonal.len() - 1` off-diagonal entries are used.
///
/// λ by bisection: T − λ has only negative pivots exactly where λ is above every eigenvalue. The vector from the pivots of both
/// ends, which meet where they are smallest (the twisted factorisation of Dhillon and Parlett).
fn top(diagonal: &[f64], off: &[f64]) -> Vec<f64> {
    let n = diagonal.len();
    let off = &off[..n - 1];
    let pivots = |lambda: f64, forward: bool| -> Vec<f64> {
        let mut pivots: Vec<f64> = Vec::with_capacity(n);
        for step in 0..n {
            let (entry, link) = if forward { (step, step.wrapping_sub(1)) } else { (n - 1 - step, n - 1 - step) };
            let before = pivots.last().map_or(0.0, |pivot| off[link] * off[link] / pivot);
            pivots.push(diagonal[entry] - lambda - before);
        }
        if !forward {
            pivots.reverse();
        }
        pivots
    };
    // Every eigenvalue is within the norm of the largest row.
    let bound = diagonal.iter().chain(off).fold(0.0, |m: f64, v| m.max(v.abs()));
    let (mut low, mut high) = (-3.0 * bound, 3.0 * bound + f64::MIN_POSITIVE);
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if pivots(middle, true).iter().all(|&pivot| pivot < 0.0) { high = middle } else { low = middle }
    }
    let (down, up) = (pivots(high, true), pivots(high, false));
    let gap = |i: usize| (down[i] + up[i] - (diagonal[i] - high)).abs();
    let twist = (0..n).min_by(|&a, &b| gap(a).total_cmp(&gap(b))).unwrap_or(0);
    let mut vector = vec![0.0; n];
    vector[twist] = 1.0;
    for i in (0..twist).rev() {
        vector[i] = -off[i] / down[i] * vector[i + 1];
    }
    for i in twist + 1..n {
        vector[i] = -off[i - 1] / up[i] * vector[i - 1];
    }
    normalize(&mut vector);
    vector
}

/// For each patch the sum of the entries of `x` it is joined to; `x` has an entry for every bit of a row.
///
/// The 256 possible sums of 8 neighbouring entries are made once for all patches (Arlazarov et al., 1970); those of one word of
/// bits stay in the first-level cache.
fn masked_sums(edges: &SignMatrix, x: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; edges.patches()];
    let mut tables = [[0f64; 256]; 8];
    for (word, x) in x.as_chunks::<64>().0.iter().enumerate() {
        for (table, x) in tables.iter_mut().zip(x.as_chunks::<8>().0) {
            for (bit, x) in x.iter().enumerate() {
                let (without, with) = table.split_at_mut(1 << bit);
                for (with, without) in with.iter_mut().zip(without) {
                    *with = *without + x;
                }
            }
        }
        for (patch, sum) in sums.iter_mut().enumerate() {
            let bytes = edges.row(patch)[word].to_le_bytes();
            let part = |i: usize| tables[i][usize::from(bytes[i])];
            *sum += ((part(0) + part(1)) + (part(2) + part(3))) + ((part(4) + part(5)) + (part(6) + part(7)));
        }
    }
    sums
}

vectorized! {
    /// Takes the parts along these unit vectors out of `next`, twice: that is enough for orthogonality to rounding (Parlett).
    orthogonalize(next: &mut [f64], first: &[f64], basis: &[Vec<f64>]) -> () {
        for _ in 0..2 {
            remove(next, first);
            for vector in basis {
                remove(next, vector);
            }
        }
    }
}

/// Takes the part along the unit vector `b` out of `a`.
#[inline(always)]
fn remove(a: &mut [f64], b: &[f64]) {
    let along = dot(a, b);
    for (a, b) in a.iter_mut().zip(b) {
        *a -= along * b;
    }
}

/// Scales to unit length and returns the length before; leaves a zero vector as it is.
#[inline(always)]
fn normalize(a: &mut [f64]) -> f64 {
    let length = dot(a, a).sqrt();
    if length > 0.0 {
        a.iter_mut().for_each(|a| *a /= length);
    }
    length
}
