//! The vision transformer that named tensors make: its measures, its weights checked against them, its position embedding
//! at another size.

use super::BackboneError;
use super::checkpoint::{Tensor, Tensors};
use super::pickle::WRAPPERS;
use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

const MAX_FILE_BYTES: u64 = 8 << 30;
const BUNDLED: &[u8] = include_bytes!("../../models/mostream-vit-tiny-8.safetensors");
/// Of ImageNet, which DINO is trained with.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];
/// The layers of a block; a block that holds others is of another architecture.
const BLOCK: [&str; 6] = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"];

/// A vision transformer in DINO's layout. Its weights stay as they are in the file until a graph is built.
#[derive(Debug)]
pub struct Checkpoint {
    id: String,
    hash: blake3::Hash,
    pub(super) tensors: Tensors,
    /// What comes before `cls_token` in its tensors' names.
    prefix: String,
    pub(super) measures: Measures,
}

/// What the shapes of the tensors say, and the normalisation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measures {
    pub patch: usize,
    pub dim: usize,
    pub heads: usize,
    pub depth: usize,
    /// Patches per side of the position embedding.
    pub side: usize,
    /// Of RGB in 0..=1.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

impl Checkpoint {
    /// What the model that comes with the program is called.
    pub const BUNDLED_NAME: &str = "mostream-vit-tiny-8";

    /// The model that comes with the program.
    pub fn bundled() -> Result<Self, BackboneError> {
        let name = Self::BUNDLED_NAME;
        Self::parse(name, name.to_owned(), Cow::Borrowed(BUNDLED), None)
    }

    /// Reads a `.safetensors` or `.pth` file, told apart by content.
    pub fn read(path: &Path) -> Result<Self, BackboneError> {
        Self::read_with_heads(path, None)
    }

    /// Like [`Self::read`], with this number of attention heads where the file does not say: no tensor's shape does. The
    /// default is one head per 64 of the width, as in every model DINO published, or per 32 where 64 does not divide it.
    pub fn read_with_heads(path: &Path, heads: Option<usize>) -> Result<Self, BackboneError> {
        let failed = |source| BackboneError::Read { path: path.to_owned(), source };
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let length = match std::fs::metadata(path).map_err(failed)? {
            file if file.is_file() => file.len(),
            _ => return Err(failed(std::io::Error::other("it is no regular file"))),
        };
        if length > MAX_FILE_BYTES {
            let reason = format!("it has {length} bytes (expected at most {MAX_FILE_BYTES})");
            return Err(BackboneError::Checkpoint { name: path.display().to_string(), reason });
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path).and_then(|file| file.take(length).read_to_end(&mut bytes)).map_err(failed)?;
        Self::parse(&name, path.display().to_string(), Cow::Owned(bytes), heads)
    }

    /// `name` goes into the id, `shown` into errors.
    fn parse(
        name: &str,
        shown: String,
        bytes: Cow<'static, [u8]>,
        heads: Option<usize>,
    ) -> Result<Self, BackboneError> {
        let hash = blake3::hash(&bytes);
        let id = format!("{name}@{}", &hash.to_hex()[..12]);
        let read = || {
            let tensors = Tensors::parse(bytes)?;
            let prefix = prefix(&tensors)?;
            let measures = Measures::new(&tensors, &prefix, heads)?;
            let checkpoint = Self { id, hash, tensors, prefix, measures };
            checkpoint.check()?;
            Ok(checkpoint)
        };
        read().map_err(|reason| BackboneError::Checkpoint { name: shown, reason })
    }

    /// The file's name without its ending, `@`, and the first 12 hex digits of its BLAKE3 hash.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The side of a patch in pixels.
    pub fn patch(&self) -> u32 {
        self.measures.patch as u32
    }

    /// The number of attention heads.
    pub fn heads(&self) -> usize {
        self.measures.heads
    }

    /// The width of keys, queries and values.
    pub fn dim(&self) -> usize {
        self.measures.dim
    }

    /// BLAKE3 of the whole file.
    pub fn hash(&self) -> &blake3::Hash {
        &self.hash
    }

    /// A tensor's name without what the model is wrapped in; none where it is not the model's.
    pub(super) fn prefix_stripped<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.prefix)
    }

    /// The numbers of a tensor, in C-order.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f32>, BackboneError> {
        let values = self.tensors.values(&format!("{}{name}", self.prefix));
        values.map_err(|reason| BackboneError::Checkpoint { name: self.id.clone(), reason })
    }

    /// Every tensor a graph reads has the shape the others give it, and finite numbers.
    fn check(&self) -> Result<(), String> {
        let Measures { patch, dim, depth, side, .. } = self.measures;
        let mut expected = vec![
            ("cls_token".to_owned(), vec![1, 1, dim]),
            ("pos_embed".to_owned(), vec![1, side * side + 1, dim]),
            ("patch_embed.proj.weight".to_owned(), vec![dim, 3, patch, patch]),
            ("patch_embed.proj.bias".to_owned(), vec![dim]),
        ];
        for index in 0..depth {
            let mut layer = |name: &str, shape: &[usize]| {
                expected.push((format!("blocks.{index}.{name}.weight"), shape.to_vec()));
                expected.push((format!("blocks.{index}.{name}.bias"), shape[..1].to_vec()));
            };
            layer("norm1", &[dim]);
            layer("attn.qkv", &[3 * dim, dim]);
            if index + 1 < depth {
                let hidden = self.hidden(index)?;
                layer("attn.proj", &[dim, dim]);
                layer("norm2", &[dim]);
                layer("mlp.fc1", &[hidden, dim]);
                layer("mlp.fc2", &[dim, hidden]);
            }
        }
        for (name, shape) in expected {
            let tensor = self.get(&name)?;
            if tensor.shape != shape {
                return Err(format!("tensor {name} has shape {:?} (expected {shape:?})", tensor.shape));
            }
            let values = self.tensors.values(&format!("{}{name}", self.prefix))?;
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(format!("tensor {name} holds {value} (expected finite numbers)"));
            }
        }
        Ok(())
    }

    /// The width of a block's MLP.
    pub(super) fn hidden(&self, block: usize) -> Result<usize, String> {
        Ok(self.get(&format!("blocks.{block}.mlp.fc1.weight"))?.shape.first().copied().unwrap_or(0))
    }

    fn get(&self, name: &str) -> Result<&Tensor, String> {
        self.tensors.get(&format!("{}{name}", self.prefix))
    }

    /// The position embedding `[1 + rows·cols, dim]`, the CLS token's first, interpolated from the square it was trained at:
    /// bicubic with a = −0.75, sampled at half-pixel positions, scaled by (side + 0.1) / trained side as DINO does.
    pub(super) fn positions(&self, rows: usize, cols: usize) -> Result<Vec<f32>, BackboneError> {
        let Measures { dim, side, .. } = self.measures;
        let trained = self.values("pos_embed")?;
        if (rows, cols) == (side, side) {
            return Ok(trained);
        }
        let (cls, square) = trained.split_at(dim);
        let (by_row, by_col) = (taps(rows, side), taps(cols, side));
        let mut positions = Vec::with_capacity((1 + rows * cols) * dim);
        positions.extend_from_slice(cls);
        let mut sum = vec![0f64; dim];
        for row in &by_row {
            for col in &by_col {
                sum.fill(0.0);
                for &(y, wy) in row {
                    for &(x, wx) in col {
                        let start = (y * side + x) * dim;
                        for (sum, &value) in sum.iter_mut().zip(&square[start..start + dim]) {
                            *sum += wy * wx * f64::from(value);
                        }
                    }
                }
                positions.extend(sum.iter().map(|&value| value as f32));
            }
        }
        Ok(positions)
    }
}

/// For each of `to` places the four samples among `from` that make it, with their weights; past the edge, the edge repeats.
fn taps(to: usize, from: usize) -> Vec<[(usize, f64); 4]> {
    const A: f64 = -0.75;
    let near = |t: f64| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0;
    let far = |t: f64| ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A;
    let scale = from as f64 / (to as f64 + 0.1);
    let tap = |place: usize| {
        let at = (place as f64 + 0.5) * scale - 0.5;
        let (base, t) = (at.floor() as i64, at - at.floor());
        let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
        std::array::from_fn(|k| ((base - 1 + k as i64).clamp(0, from as i64 - 1) as usize, weights[k]))
    };
    (0..to).map(tap).collect()
}

/// What comes before `cls_token`: a full DINO checkpoint holds a teacher and a student, of which the teacher is better.
fn prefix(tensors: &Tensors) -> Result<String, String> {
    let known = |prefix: &&str| prefix.split_terminator('.').all(|part| WRAPPERS.contains(&part));
    let prefixes = tensors.names().filter_map(|name| name.strip_suffix("cls_token")).filter(known);
    let best = prefixes.min_by_key(|prefix| (!prefix.contains("teacher"), prefix.len()));
    best.map(str::to_owned)
        .ok_or_else(|| "tensor cls_token is missing: it is no vision transformer in DINO's layout".to_owned())
}

impl Measures {
    fn new(tensors: &Tensors, prefix: &str, heads: Option<usize>) -> Result<Self, String> {
        let shape = |name: &str| tensors.get(&format!("{prefix}{name}")).map(|tensor| tensor.shape.as_slice());
        let wrong = |name: &str, got: &[usize], expected: &str| {
            format!("tensor {name} has shape {got:?} (expected {expected})")
        };
        let (dim, patch) = match shape("patch_embed.proj.weight")? {
            &[dim, 3, patch, across] if patch == across && (1..=64).contains(&patch) && (1..=4096).contains(&dim) => {
                (dim, patch)
            }
            other => {
                return Err(wrong(
                    "patch_embed.proj.weight",
                    other,
                    "[dim, 3, patch, patch], dim to 4096, patch to 64",
                ));
            }
        };
        let side = match shape("pos_embed")? {
            &[1, tokens, _] if tokens > 1 && (tokens - 1).isqrt().pow(2) == tokens - 1 => (tokens - 1).isqrt(),
            other => return Err(wrong("pos_embed", other, "[1, 1 + side², dim]")),
        };
        let depth = depth(tensors, prefix)?;
        let stated = |name: &str| tensors.metadata.get(name).map(String::as_str);
        let heads = match stated("heads") {
            Some(text) => text.parse().map_err(|_| format!("its metadata has heads {text:?} (expected a number)"))?,
            None => match heads {
                Some(heads) => heads,
                None => [64, 32].iter().find(|&&width| dim % width == 0).map(|width| dim / width).ok_or_else(|| {
                    format!("nothing says how many heads its width of {dim} is split into; say so (`--heads`)")
                })?,
            },
        };
        if heads == 0 || dim % heads != 0 {
            return Err(format!("its width of {dim} cannot be split into {heads} heads"));
        }
        let (mean, std) = (channels(stated("mean"), MEAN, 0.0)?, channels(stated("std"), STD, 1e-3)?);
        Ok(Self { patch, dim, heads, depth, side, mean, std })
    }
}

/// The number of blocks, all of them in DINO's layout.
fn depth(tensors: &Tensors, prefix: &str) -> Result<usize, String> {
    let mut depth = 0;
    for name in tensors.names() {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        let Some((index, layer)) = rest.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) else {
            if ["register_tokens", "storage_tokens", "reg_token"].contains(&rest) {
                return Err(format!("tensor {name} is not part of DINO's layout"));
            }
            continue;
        };
        let kind = layer.strip_suffix(".weight").or(layer.strip_suffix(".bias"));
        let index = index.parse().ok().filter(|&index: &usize| index < 128);
        match (index, kind) {
            (Some(index), Some(kind)) if BLOCK.contains(&kind) => depth = depth.max(index + 1),
            _ => return Err(format!("tensor {name} is not part of DINO's layout")),
        }
    }
    if depth == 0 { Err("tensor blocks.0.norm1.weight is missing".to_owned()) } else { Ok(depth) }
}

/// Three numbers, `least` to 1, from metadata.
fn channels(text: Option<&str>, default: [f32; 3], least: f32) -> Result<[f32; 3], String> {
    let Some(text) = text else { return Ok(default) };
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|number| number.trim().parse()).collect();
    let numbers: Option<[f32; 3]> = numbers.ok().and_then(|numbers| numbers.try_into().ok());
    numbers
        .filter(|numbers| numbers.iter().all(|number| (least..=1.0).contains(number)))
        .ok_or_else(|| format!("its metadata has {text:?} (expected three numbers from {least} to 1)"))
}
