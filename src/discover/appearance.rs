//! What an object looks like, as one vector.

use crate::localize::Features;

/// The mean of the features of `patches`, each less the mean of the whole picture and of unit length; itself of unit length,
/// `[D]`, or all zeros where there is nothing to see. Patches past the grid are passed over.
///
/// Less the mean, because what all patches of a picture share says nothing of the object: drawn things of one kind are then
/// half as far from each other, measured by the distance to other kinds; photos are grouped neither better nor worse.
pub fn appearance(features: &Features, patches: &[usize]) -> Vec<f32> {
    let values = features.values();
    let mut mean = vec![0f64; values.ncols()];
    values.rows().into_iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v)));
    mean.iter_mut().for_each(|m| *m /= values.nrows() as f64);
    let mut sum = vec![0f64; values.ncols()];
    let mut own = vec![0f64; values.ncols()];
    for row in patches.iter().filter(|&&patch| patch < values.nrows()).map(|&patch| values.row(patch)) {
        own.iter_mut().zip(row).zip(&mean).for_each(|((own, &v), m)| *own = f64::from(v) - m);
        let norm = own.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 0.0 {
            sum.iter_mut().zip(&own).for_each(|(s, v)| *s += v / norm);
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
        // Their mean is (1, 2).
        let values = array![[11.0, 2.0], [1.0, 3.0], [-9.0, 2.0], [1.0, 2.0], [1.0, 1.0], [1.0, 2.0]];
        let features = Features::new(Grid { rows: 2, cols: 3 }, values).unwrap();
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
