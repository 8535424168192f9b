//! TokenCut: one box from a normalised cut of the patch graph (Wang et al., CVPR 2022, section 3).
//!
//! The graph's weights are a 0/1 pattern plus a constant, so a product with them is a masked sum over a bit matrix, and
//! Lanczos finds the one eigenvector that is needed.

use super::affinity::SignMatrix;
use super::{Features, components};
use crate::geometry::{PatchLayout, PixelBox};
use nalgebra::{DMatrix, SymmetricEigen};

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
    let product = |z: &[f64]| -> Vec<f64> {
        let x: Vec<f64> = z.iter().zip(&root).map(|(z, r)| z / r).collect();
        let total: f64 = x.iter().sum();
        (0..n).map(|i| weight_sum(masked_sum(edges.row(i), &x), total) / root[i]).collect()
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
        // Twice is enough (Parlett): the basis stays orthogonal to rounding.
        for _ in 0..2 {
            remove(&mut next, &first);
            basis.iter().for_each(|b| remove(&mut next, b));
        }
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

/// The eigenvector of the largest eigenvalue of a symmetric tridiagonal matrix.
fn top(diagonal: &[f64], off: &[f64]) -> Vec<f64> {
    let n = diagonal.len();
    let matrix = DMatrix::from_fn(n, n, |i, j| match i.abs_diff(j) {
        0 => diagonal[i],
        1 => off[i.min(j)],
        _ => 0.0,
    });
    let eigen = SymmetricEigen::new(matrix);
    eigen.eigenvectors.column(eigen.eigenvalues.imax()).iter().copied().collect()
}

fn masked_sum(row: &[u64], x: &[f64]) -> f64 {
    let chunk = |(word, x): (&u64, &[f64])| {
        x.iter().enumerate().map(|(bit, &x)| if word >> bit & 1 == 1 { x } else { 0.0 }).sum::<f64>()
    };
    row.iter().zip(x.chunks(64)).map(chunk).sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Takes the part along the unit vector `b` out of `a`.
fn remove(a: &mut [f64], b: &[f64]) {
    let along = dot(a, b);
    a.iter_mut().zip(b).for_each(|(a, b)| *a -= along * b);
}

/// Scales to unit length and returns the length before; leaves a zero vector as it is.
fn normalize(a: &mut [f64]) -> f64 {
    let length = dot(a, a).sqrt();
    if length > 0.0 {
        a.iter_mut().for_each(|a| *a /= length);
    }
    length
}
