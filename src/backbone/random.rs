//! A model of a shape, with weights by chance: what it costs is what the trained one costs.

use super::{BackboneError, Checkpoint, Hints};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::borrow::Cow;

/// The measures of a vision transformer of DINO or DINOv2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub patch: usize,
    pub width: usize,
    pub depth: usize,
    pub heads: usize,
    /// Tokens between CLS and the patches.
    pub registers: usize,
    /// Whether what attention and MLP give is multiplied before it is added, as in DINOv2.
    pub layer_scale: bool,
}

/// Sides of the pictures that DINO and DINOv2 learned positions on, in pixels.
const PICTURE: usize = 224;
const PICTURE_OF_SECOND: usize = 518;
/// Of weights, as they are before training.
const SPREAD: f32 = 0.02;

impl Checkpoint {
    /// The same weights for the same shape, in every run.
    pub fn random(name: &str, shape: Shape) -> Result<Self, BackboneError> {
        let Shape { patch, width, depth, heads, registers, layer_scale } = shape;
        let side = if layer_scale { PICTURE_OF_SECOND } else { PICTURE } / patch;
        let mut tensors = vec![
            ("cls_token".to_owned(), vec![1, 1, width]),
            ("pos_embed".to_owned(), vec![1, side * side + 1, width]),
            ("patch_embed.proj.weight".to_owned(), vec![width, 3, patch, patch]),
            ("patch_embed.proj.bias".to_owned(), vec![width]),
        ];
        if registers > 0 {
            tensors.push(("register_tokens".to_owned(), vec![1, registers, width]));
        }
        for block in 0..depth {
            let layers: [(&str, &[usize]); 6] = [
                ("norm1", &[width]),
                ("attn.qkv", &[3 * width, width]),
                ("attn.proj", &[width, width]),
                ("norm2", &[width]),
                ("mlp.fc1", &[4 * width, width]),
                ("mlp.fc2", &[width, 4 * width]),
            ];
            for (layer, shape) in layers {
                tensors.push((format!("blocks.{block}.{layer}.weight"), shape.to_vec()));
                tensors.push((format!("blocks.{block}.{layer}.bias"), shape[..1].to_vec()));
            }
            let scales = ["ls1", "ls2"].iter().filter(|_| layer_scale);
            tensors.extend(scales.map(|scale| (format!("blocks.{block}.{scale}.gamma"), vec![width])));
        }
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut chance = || {
            // Xorshift, Marsaglia 2003.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let fill = |(name, shape): (String, Vec<usize>)| {
            let is_one = (name.contains("norm") && name.ends_with("weight")) || name.ends_with("gamma");
            let numbers = shape.iter().product::<usize>();
            let bytes =
                Vec::from_iter((0..numbers).flat_map(|_| (f32::from(is_one) + SPREAD * chance()).to_le_bytes()));
            (name, shape, bytes)
        };
        let filled = Vec::from_iter(tensors.into_iter().map(fill));
        let fail = |error: safetensors::SafeTensorError| BackboneError::Checkpoint {
            name: name.into(),
            reason: error.to_string(),
        };
        let views =
            filled.iter().map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)));
        let views = views.collect::<Result<Vec<_>, _>>().map_err(fail)?;
        let bytes = safetensors::serialize(views, None).map_err(fail)?;
        Self::parse(name, name.to_owned(), Cow::Owned(bytes), Hints { heads: Some(heads), patch: None })
    }
}
