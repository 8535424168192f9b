//! What the matrix products of one image cost, counted from the shapes.

use super::{Checkpoint, Feature};
use crate::geometry::PatchLayout;

/// Bytes of an f32.
const F32: u64 = 4;

/// Matrix products alone: nothing else is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// A multiplication and an addition are two.
    pub operations: u64,
    /// The weights that are read.
    pub weight_bytes: u64,
    /// What is read and written besides, each product's once; attention's scores are taken to stay in a cache.
    pub activation_bytes: u64,
}

impl Work {
    /// Of the graph that gives this feature of images of this layout. None for an ONNX file of the user's own: nobody counts
    /// what is in it.
    pub fn of(checkpoint: &Checkpoint, feature: Feature, layout: &PatchLayout) -> Option<Self> {
        if checkpoint.is_onnx() {
            return None;
        }
        let measures = &checkpoint.measures;
        let (dim, patches) = (measures.dim, layout.grid.patches());
        let tokens = patches + measures.prefix();
        let mut work = Self::default();
        work.product(patches, 3 * measures.patch * measures.patch, dim);
        let last = if feature == Feature::MiddleKeys { checkpoint.middle_block() } else { measures.depth - 1 };
        for block in 0..last {
            // It was checked when the checkpoint was read.
            let hidden = checkpoint.hidden(block).unwrap_or(0);
            work.product(tokens, dim, 3 * dim);
            // Scores, and the sums weighted by them.
            work.operations += 2 * product(&[2, tokens, tokens, dim]);
            work.activation_bytes += F32 * product(&[4, tokens, dim]);
            work.product(tokens, dim, dim);
            let products = if checkpoint.is_gated(block).unwrap_or(false) { 2 } else { 1 };
            (0..products).for_each(|_| work.product(tokens, dim, hidden));
            work.product(tokens, hidden, dim);
        }
        if feature == Feature::ClsAttention {
            work.product(1, dim, dim);
            work.product(tokens, dim, dim);
            work.operations += product(&[2, tokens, dim]);
        } else {
            work.product(patches, dim, dim);
        }
        Some(work)
    }

    /// Adds `[rows, inner]` times weights `[inner, cols]`.
    fn product(&mut self, rows: usize, inner: usize, cols: usize) {
        self.operations += product(&[2, rows, inner, cols]);
        self.weight_bytes += F32 * product(&[inner, cols]);
        self.activation_bytes += F32 * (product(&[rows, inner]) + product(&[rows, cols]));
    }
}

fn product(factors: &[usize]) -> u64 {
    factors.iter().map(|&factor| factor as u64).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Grid;

    #[test]
    fn every_weight_is_read_once_and_used_for_every_token() {
        let checkpoint = Checkpoint::bundled().unwrap();
        let last = checkpoint.measures.depth - 1;
        let dim = checkpoint.dim();
        // In the file: the matrices of all blocks but the last, of which a third of one is used.
        let is_used = |name: &str| !name.contains("norm") && !name.starts_with(&format!("blocks.{last}."));
        let names = ["patch_embed.proj", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"];
        let mut weights = dim * dim;
        for block in 0..checkpoint.measures.depth {
            for name in names {
                let name = match name {
                    "patch_embed.proj" if block == 0 => format!("{name}.weight"),
                    "patch_embed.proj" => continue,
                    name => format!("blocks.{block}.{name}.weight"),
                };
                weights += if is_used(&name) { checkpoint.values(&name).unwrap().len() } else { 0 };
            }
        }
        let layout = PatchLayout { grid: Grid { rows: 6, cols: 8 }, patch: 8, image_width: 64, image_height: 48 };
        let work = Work::of(&checkpoint, Feature::Keys, &layout).unwrap();
        assert_eq!(work.weight_bytes, 4 * weights as u64);
        // 49 tokens use each weight once, but for the 48 of the patches alone; every token meets every token twice.
        let patches_only = 3 * 64 * dim + dim * dim;
        let multiplications = 49 * weights - patches_only + last * 2 * 49 * 49 * dim;
        assert_eq!(work.operations, 2 * multiplications as u64);
    }
}
