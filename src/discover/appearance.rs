//! What an object looks like, as one vector.

use crate::localize::Features;

/// The mean of the unit-length features of `patches`, itself of unit length, `[D]`; all zeros where there is nothing to see.
/// Patches past the grid are passed over.
pub fn appearance(features: &Features, patches: &[usize]) -> Vec<f32> {
    let values = features.values();
    let mut sum = vec![0f64; values.ncols()];
    for row in patches.iter().filter(|&&patch| patch < values.nrows()).map(|&patch| values.row(patch)) {
        let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        if norm > 0.0 {
            sum.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v) / norm);
        }
    }
    unit(&sum)
}

/// One minus the cosine of two vectors of unit length: 0 for the same look, 1 for nothing in common, 2 for the opposite.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    (1.0 - a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()).clamp(0.0, 2.0)
}

/// The direction of the sum of `vectors`, all `[D]`; zeros where they cancel out or there are none.
pub(super) fn centre<'a>(vectors: impl Iterator<Item = &'a [f32]>, dim: usize) -> Vec<f32> {
    let mut sum = vec![0f64; dim];
    vectors.for_each(|vector| sum.iter_mut().zip(vector).for_each(|(s, &v)| *s += f64::from(v)));
    unit(&sum)
}

fn unit(vector: &[f64]) -> Vec<f32> {
    let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
    vector.iter().map(|v| if norm > 0.0 { (v / norm) as f32 } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Grid;
    use ndarray::array;

    #[test]
    fn every_patch_counts_alike_however_long_its_feature() {
        let values = array![[10.0, 0.0], [0.0, 1.0], [-3.0, 0.0], [0.0, 0.0]];
        let features = Features::new(Grid { rows: 2, cols: 2 }, values).unwrap();
        let half = 0.5f32.sqrt();
        assert_eq!(appearance(&features, &[0, 1, 3]), [half, half]);
        assert_eq!(appearance(&features, &[0, 2]), [0.0, 0.0], "they cancel out");
        assert_eq!(appearance(&features, &[0, 99]), [1.0, 0.0]);
        assert_eq!(appearance(&features, &[]), [0.0, 0.0]);
    }

    #[test]
    fn distances_of_known_angles() {
        assert_eq!(distance(&[1.0, 0.0], &[1.0, 0.0]), 0.0);
        assert_eq!(distance(&[1.0, 0.0], &[0.0, 1.0]), 1.0);
        assert_eq!(distance(&[1.0, 0.0], &[-1.0, 0.0]), 2.0);
    }
}
