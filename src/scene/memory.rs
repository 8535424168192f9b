//! What each patch of a still scene usually looks like: the running mean of its keys' direction, and how far it usually is from it.

use crate::localize::kernel::vectorized;

/// z = distance / (FLOOR + SPREADS · spread); the distance is one minus the cosine.
const FLOOR: f32 = 0.05;
const SPREADS: f32 = 3.0;
/// What a patch is taken to vary by before anything is known.
const FIRST_SPREAD: f32 = 0.02;

/// Time constants in seconds, of learning what is as usual and what is new.
const USUAL_S: f32 = 4.0;
const NOVEL_S: f32 = 130.0;
/// For so long every look counts alike.
const WARM_UP_S: f32 = 1.2;

/// Where something left, patches of more z than this are learned at this rate.
const HOLE_NOVELTY: f32 = 0.3;
const HOLE_RATE: f32 = 0.5;

/// Statistics of `patches` directions of width `dim`.
pub struct Memory {
    pub dim: usize,
    /// Means of unit keys, `[patches, dim]`, not of unit length themselves.
    pub mean: Vec<f32>,
    pub spread: Vec<f32>,
    /// Of the last look.
    distance: Vec<f32>,
    /// How new each patch was in the last comparison.
    pub z: Vec<f32>,
    unit: Vec<f32>,
    /// Since when it learns.
    pub looks: u32,
    pub seconds: f32,
}

impl Memory {
    /// The first keys `[patches, dim]` are what is usual.
    pub fn new(keys: &[f32], dim: usize) -> Self {
        let mut mean = keys.to_vec();
        normalise(&mut mean, dim);
        let patches = keys.len() / dim;
        Self::of(dim, mean, vec![FIRST_SPREAD; patches], 0.0, 0)
    }

    /// A memory of this state.
    pub fn of(dim: usize, mean: Vec<f32>, spread: Vec<f32>, seconds: f32, looks: u32) -> Self {
        let nothing = vec![0.0; spread.len()];
        Self { dim, unit: mean.clone(), mean, spread, distance: nothing.clone(), z: nothing, looks, seconds }
    }

    /// The same without what a comparison needs, for a view that is left.
    pub fn rest(mut self) -> Self {
        [&mut self.unit, &mut self.distance, &mut self.z].into_iter().for_each(|values| *values = Vec::new());
        self
    }

    /// What [`Memory::rest`] made, for comparisons again.
    pub fn waken(self) -> Self {
        Self::of(self.dim, self.mean, self.spread, self.seconds, self.looks)
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        4 * [&self.mean, &self.unit, &self.spread, &self.distance, &self.z].map(Vec::len).iter().sum::<usize>()
    }

    /// How new each patch is, in units of what it usually varies by.
    pub fn compare(&mut self, keys: &[f32]) {
        self.unit.copy_from_slice(keys);
        normalise(&mut self.unit, self.dim);
        distances(&self.mean, &self.unit, self.dim, &mut self.distance);
        for ((z, distance), spread) in self.z.iter_mut().zip(&self.distance).zip(&self.spread) {
            *z = distance / (FLOOR + SPREADS * spread);
        }
    }

    /// Takes in what was compared last, `seconds` after the one before: less where pixels are foreground (`share` of the patch), and
    /// at once where pixels are a `hole` that something left.
    pub fn learn(&mut self, seconds: f32, share: &[f32], hole: &[f32]) {
        self.looks += 1;
        self.seconds += seconds;
        let average = 1.0 / self.looks as f32;
        let is_warm = self.seconds > WARM_UP_S && self.looks > 8;
        for patch in 0..self.spread.len() {
            let rate = match (is_warm, self.z[patch] > 1.0) {
                (false, _) => average,
                (true, false) => (seconds / USUAL_S).max(average),
                (true, true) => seconds / NOVEL_S,
            }
            .min(1.0);
            let spread = &mut self.spread[patch];
            // One look cannot make it jump.
            *spread += rate * (self.distance[patch].min(2.0 * (*spread + FIRST_SPREAD)) - *spread);
            let is_hole = hole[patch] > 0.0 && self.z[patch] > HOLE_NOVELTY;
            let rate = if is_hole { HOLE_RATE } else { rate * (1.0 - share[patch]).powi(2) };
            let keys = &self.unit[patch * self.dim..][..self.dim];
            let mean = &mut self.mean[patch * self.dim..][..self.dim];
            mean.iter_mut().zip(keys).for_each(|(mean, key)| *mean += rate * (key - *mean));
        }
    }
}

vectorized! {
    /// Makes each key's length 1.
    normalise(keys: &mut [f32], dim: usize) -> () {
        for key in keys.chunks_exact_mut(dim) {
            let mut squares = [0f32; 16];
            let (lanes, rest) = key.as_chunks::<16>();
            for key in lanes {
                squares.iter_mut().zip(key).for_each(|(sum, value)| *sum += value * value);
            }
            let squares = squares.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>();
            let norm = squares.sqrt().max(1e-6);
            key.iter_mut().for_each(|value| *value /= norm);
        }
    }
}

vectorized! {
    /// One minus the cosine of each mean with its key; none is below 0, where rounding would have it of what stands quite still.
    distances(mean: &[f32], unit: &[f32], dim: usize, out: &mut [f32]) -> () {
        for ((mean, key), out) in mean.chunks_exact(dim).zip(unit.chunks_exact(dim)).zip(out) {
            let (mut both, mut own) = ([0f32; 16], [0f32; 16]);
            let (means, means_rest) = mean.as_chunks::<16>();
            let (keys, keys_rest) = key.as_chunks::<16>();
            for (mean, key) in means.iter().zip(keys) {
                for lane in 0..16 {
                    both[lane] += mean[lane] * key[lane];
                    own[lane] += mean[lane] * mean[lane];
                }
            }
            let (mut both, mut own): (f32, f32) = (both.iter().sum(), own.iter().sum());
            for (mean, key) in means_rest.iter().zip(keys_rest) {
                both += mean * key;
                own += mean * mean;
            }
            *out = (1.0 - both / own.sqrt().max(1e-6)).max(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_quite_still_varies_by_nothing_and_not_by_less() {
        let keys: Vec<f32> = (0..64 * 19).map(|at| (at as f32 * 0.7).sin() + 0.3).collect();
        let mut memory = Memory::new(&keys, 19);
        for _ in 0..200 {
            memory.compare(&keys);
            memory.learn(1.0, &[0.0; 64], &[0.0; 64]);
        }
        assert!(memory.spread.iter().all(|spread| (0.0..1e-3).contains(spread)), "{:?}", memory.spread);
    }

    #[test]
    fn distances_are_cosines_and_what_is_usual_is_not_new() {
        let keys = |shift: f32| -> Vec<f32> { (0..3 * 19).map(|at| (at as f32 * 0.7 + shift).sin() + 0.3).collect() };
        let mut memory = Memory::new(&keys(0.0), 19);
        for look in 0..40 {
            memory.compare(&keys(0.01 * (look % 3) as f32));
            memory.learn(0.2, &[0.0; 3], &[0.0; 3]);
        }
        assert!(memory.z.iter().all(|z| *z < 0.1), "{:?}", memory.z);
        let other = keys(1.0);
        memory.compare(&other);
        for (patch, (mean, key)) in memory.mean.chunks(19).zip(other.chunks(19)).enumerate() {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let distance = 1.0 - dot(mean, key) / (dot(mean, mean) * dot(key, key)).sqrt();
            let z = distance / f64::from(FLOOR + SPREADS * memory.spread[patch]);
            assert!((f64::from(memory.z[patch]) - z).abs() < 1e-3, "{z} {}", memory.z[patch]);
            assert!(z > 1.0);
        }
        // What is novel is hardly learned, and a hole at once.
        let before = memory.z.clone();
        memory.learn(0.2, &[0.0; 3], &[0.0, 1.0, 0.0]);
        memory.compare(&other);
        assert!(memory.z[0] > 0.95 * before[0] && memory.z[1] < 0.6 * before[1]);
    }
}
