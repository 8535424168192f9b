//! What a thing looks like: the mean direction of its patches' keys, and how alike two must be to be one.
//!
//! Two boxes of one frame are two things: how alike those are says, without any label, how alike others must be to be the same.

use super::Sighting;
use crate::geometry::overlap;

/// The share of a look that the next one brings.
const FOLLOW: f32 = 0.1;
/// So many pairs of a frame are enough to learn from.
const PAIRS: usize = 64;
/// Memory of pairs: the mean over so many.
const REMEMBERED: f32 = 1000.0;
/// Pairs that must have been seen before looks alone make two boxes one.
const NEEDED: f32 = 30.0;
/// ... and by how many times the spread of pairs they must be more alike than those are in the mean.
const SPREADS: f32 = 1.5;

/// A unit vector; empty where nothing is known.
#[derive(Clone, Debug, Default)]
pub struct Look(Vec<f32>);

impl Look {
    pub fn of(key: &[f32]) -> Self {
        let mut look = Self(key.to_vec());
        look.normalise();
        look
    }

    /// Becomes a little more like another.
    pub fn follow(&mut self, other: &Self) {
        if other.0.is_empty() {
            return;
        }
        if self.0.len() != other.0.len() {
            self.clone_from(other);
            return;
        }
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own += FOLLOW * (other - *own));
        self.normalise();
    }

    pub fn bytes(&self) -> usize {
        size_of::<f32>() * self.0.len()
    }

    /// Of their angle; none where one of them is not known.
    fn cosine(&self, other: &Self) -> Option<f32> {
        let is_known = !self.0.is_empty() && self.0.len() == other.0.len();
        is_known.then(|| self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum())
    }

    fn normalise(&mut self) {
        let norm = self.0.iter().map(|value| value * value).sum::<f32>().sqrt();
        match norm.is_finite() && norm > 1e-6 {
            true => self.0.iter_mut().for_each(|value| *value /= norm),
            false => self.0.clear(),
        }
    }
}

/// How alike things are that are not the same.
#[derive(Clone, Debug, Default)]
pub struct Apart {
    pairs: f32,
    mean: f32,
    variance: f32,
}

impl Apart {
    /// From pairs of a frame's boxes that lie apart.
    pub fn learn(&mut self, open: &[usize], found: &[Sighting], looks: &[Look]) {
        let pairs = open.iter().enumerate().flat_map(|(at, &a)| open[at + 1..].iter().map(move |&b| (a, b)));
        let apart = pairs.filter(|&(a, b)| overlap(&found[a].bbox, &found[b].bbox, 0.5) == 0.0);
        for cosine in apart.filter_map(|(a, b)| looks[a].cosine(&looks[b])).take(PAIRS) {
            self.pairs = (self.pairs + 1.0).min(REMEMBERED);
            let off = cosine - self.mean;
            self.mean += off / self.pairs;
            self.variance += (off * (cosine - self.mean) - self.variance) / self.pairs;
        }
    }

    /// From 0 (as two things are) to 1 (the same); 0 as long as nothing is known.
    pub fn alike(&self, a: &Look, b: &Look) -> f32 {
        let Some(cosine) = a.cosine(b).filter(|_| self.pairs >= NEEDED) else { return 0.0 };
        let least = self.mean + SPREADS * self.variance.sqrt();
        ((cosine - least) / (1.0 - least).max(1e-3)).clamp(0.0, 1.0)
    }
}
