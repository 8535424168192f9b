//! The vision transformer that named tensors make: its measures, its weights checked against them, its positions.

use super::BackboneError;
use super::checkpoint::Tensors;
use super::layout::Layout;
use super::onnx::UserModel;
use super::position;
use crate::markup;
use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

const MAX_FILE_BYTES: u64 = 8 << 30;
const BUNDLED: &[u8] = include_bytes!("../../models/mostream-vit-tiny-8.safetensors");
/// Of ImageNet, which DINO is trained with.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];
const PERIODS: &str = "rope_embed.periods";
/// Of DINOv3's periods, where the file does not hold them.
const ROTARY_BASE: f64 = 100.0;

/// A vision transformer: DINO, DINOv2 or DINOv3. Its weights stay as they are in the file until a graph is built.
#[derive(Debug)]
pub struct Checkpoint {
    id: String,
    hash: blake3::Hash,
    origin: Option<(PathBuf, Hints)>,
    pub(super) tensors: Tensors,
    layout: Layout,
    pub(super) measures: Measures,
    /// For an ONNX file of the user's own, which is run as it is.
    pub(super) user: Option<UserModel>,
}

/// What a file may not say of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    /// Attention heads; no tensor's shape says how many. The default is one per 64 of the width, as in every model DINO published,
    /// or per 32 where 64 does not divide it.
    pub heads: Option<usize>,
    /// The side of a patch in pixels, of an ONNX file.
    pub patch: Option<usize>,
}

/// What the shapes of the tensors say, and the normalisation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measures {
    pub patch: usize,
    pub dim: usize,
    pub heads: usize,
    pub depth: usize,
    /// Patches per side of the position embedding; 0 where there is none, as positions are rotary.
    pub side: usize,
    /// Whether the position embedding begins with the CLS token's.
    pub has_cls_position: bool,
    /// Tokens between CLS and the patches.
    pub registers: usize,
    /// Whether what attention and MLP give is multiplied, number by number, before it is added.
    pub layer_scale: bool,
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
        Self::parse(name, name.to_owned(), Cow::Borrowed(BUNDLED), Hints::default())
    }

    /// Reads a `.safetensors`, `.pth` or `.onnx` file, told apart by content.
    pub fn read(path: &Path) -> Result<Self, BackboneError> {
        Self::read_with(path, Hints::default())
    }

    /// Like [`Self::read`], for a file that does not say everything.
    pub fn read_with(path: &Path, hints: Hints) -> Result<Self, BackboneError> {
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
        let checkpoint = Self::parse(&name, path.display().to_string(), Cow::Owned(bytes), hints)?;
        Ok(Self { origin: Some((path.to_owned(), hints)), ..checkpoint })
    }

    /// The file that it was read from, and what was said of it; none for the model that comes with the program.
    pub fn origin(&self) -> Option<&(PathBuf, Hints)> {
        self.origin.as_ref()
    }

    /// `name` goes into the id, `shown` into errors.
    pub(super) fn parse(
        name: &str,
        shown: String,
        bytes: Cow<'static, [u8]>,
        hints: Hints,
    ) -> Result<Self, BackboneError> {
        let hash = blake3::hash(&bytes);
        let id = format!("{name}@{}", &hash.to_hex()[..12]);
        let read = || {
            // The other formats begin in ways of their own.
            let is_other = bytes.starts_with(b"PK") || bytes.first() == Some(&0x80) || bytes.get(8) == Some(&b'{');
            if let Some((user, words)) = if is_other { None } else { UserModel::parse(&bytes, hints.patch)? } {
                let tensors = Tensors::none(bytes, words.into_iter().collect());
                let measures = Measures::of_user(&user, &tensors)?;
                let layout = Layout::default();
                return Ok(Self { id, hash, origin: None, tensors, layout, measures, user: Some(user) });
            }
            let tensors = Tensors::parse(bytes)?;
            let layout = Layout::new(&tensors)?;
            let measures = Measures::new(&tensors, &layout, hints.heads)?;
            if let Some(patch) = hints.patch.filter(|&patch| patch != measures.patch) {
                return Err(format!(
                    "its patches are of {} pixels, not {patch} (`--patch` is for ONNX files)",
                    measures.patch
                ));
            }
            let checkpoint = Self { id, hash, origin: None, tensors, layout, measures, user: None };
            checkpoint.check()?;
            Ok(checkpoint)
        };
        read().map_err(|reason| BackboneError::Checkpoint { name: shown, reason: markup::plain(&reason) })
    }

    /// The file's name without its ending, `@`, and the first 12 hex digits of its BLAKE3 hash.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The side of a patch in pixels.
    pub fn patch(&self) -> u32 {
        self.measures.patch as u32
    }

    /// `(width, height)` of the model's input in pixels, where it takes no other.
    pub fn fixed_size(&self) -> Option<(u32, u32)> {
        self.user.as_ref()?.size
    }

    /// Whether it is an ONNX file, which gives one kind of features.
    pub fn is_onnx(&self) -> bool {
        self.user.is_some()
    }

    /// The number of attention heads.
    pub fn heads(&self) -> usize {
        self.measures.heads
    }

    /// The block whose keys are the middle's, counted from 0: the last of the first half. There a patch is told from its neighbours
    /// most sharply; the last block's keys have a halo around what is new.
    pub fn middle_block(&self) -> usize {
        (self.measures.depth / 2).saturating_sub(1)
    }

    /// The width of keys, queries and values; 0 where only a run tells.
    pub fn dim(&self) -> usize {
        self.measures.dim
    }

    /// BLAKE3 of the whole file.
    pub fn hash(&self) -> &blake3::Hash {
        &self.hash
    }

    /// A tensor's name without what the model is wrapped in; none where it is not the model's.
    pub(super) fn prefix_stripped<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.layout.prefix)
    }

    /// The numbers of the tensor DINO calls this, in C-order.
    pub(super) fn values(&self, name: &str) -> Result<Vec<f32>, BackboneError> {
        let values = self.layout.values(&self.tensors, name);
        values.map_err(|reason| BackboneError::Checkpoint { name: self.id.clone(), reason })
    }

    /// Every tensor a graph reads has the shape the others give it, and finite numbers.
    fn check(&self) -> Result<(), String> {
        let Measures { patch, dim, heads, depth, side, has_cls_position, registers, layer_scale, .. } = self.measures;
        let mut expected = vec![
            ("cls_token".to_owned(), vec![1, 1, dim]),
            ("patch_embed.proj.weight".to_owned(), vec![dim, 3, patch, patch]),
            ("patch_embed.proj.bias".to_owned(), vec![dim]),
        ];
        if side > 0 {
            expected.push(("pos_embed".to_owned(), vec![1, side * side + usize::from(has_cls_position), dim]));
        } else if self.layout.has(PERIODS) {
            expected.push((PERIODS.to_owned(), vec![dim / heads / 4]));
        }
        if registers > 0 {
            expected.push(("register_tokens".to_owned(), vec![1, registers, dim]));
        }
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
                layer("mlp.fc1", &[if self.is_gated(index)? { 2 * hidden } else { hidden }, dim]);
                layer("mlp.fc2", &[dim, hidden]);
                if layer_scale {
                    expected.extend(["ls1", "ls2"].map(|name| (format!("blocks.{index}.{name}.gamma"), vec![dim])));
                }
            }
        }
        expected.iter().try_for_each(|(name, shape)| self.layout.check(&self.tensors, name, shape))
    }

    /// The width of a block's MLP.
    pub(super) fn hidden(&self, block: usize) -> Result<usize, String> {
        let shape = self.layout.shape(&self.tensors, &format!("blocks.{block}.mlp.fc2.weight"))?;
        Ok(shape.get(1).copied().unwrap_or(0))
    }

    /// Whether the hidden values of a block's MLP are SiLU(gates) · values, the gates' weights being the first half of `mlp.fc1` (SwiGLU), and not
    /// GELU(values).
    pub(super) fn is_gated(&self, block: usize) -> Result<bool, String> {
        let shape = self.layout.shape(&self.tensors, &format!("blocks.{block}.mlp.fc1.weight"))?;
        Ok(shape.first().copied() == self.hidden(block)?.checked_mul(2))
    }

    /// What is added to the CLS token and the patches of a grid, `[1 + rows·cols, dim]`; nothing where positions are turned.
    pub(super) fn positions(&self, rows: usize, cols: usize) -> Result<Vec<f32>, BackboneError> {
        let dim = self.measures.dim;
        if self.measures.is_rotary() {
            return Ok(vec![0.0; (1 + rows * cols) * dim]);
        }
        let trained = self.values("pos_embed")?;
        let (cls, square) = trained.split_at(if self.measures.has_cls_position { dim } else { 0 });
        let mut positions = cls.to_vec();
        positions.resize(dim, 0.0);
        positions.extend(position::resampled(&self.measures, square, rows, cols));
        Ok(positions)
    }

    /// The cosines and sines of [`position::rotation`] for every token; none where positions are added.
    pub(super) fn rotation(&self, rows: usize, cols: usize) -> Result<Option<[Vec<f32>; 2]>, BackboneError> {
        if !self.measures.is_rotary() {
            return Ok(None);
        }
        let width = self.measures.dim / self.measures.heads;
        let periods = match self.layout.has(PERIODS) {
            true => self.values(PERIODS)?,
            false => (0..width / 4).map(|k| ROTARY_BASE.powf(4.0 * k as f64 / width as f64) as f32).collect(),
        };
        Ok(Some(position::rotation(&periods, self.measures.prefix(), rows, cols)))
    }
}

impl Measures {
    /// What is known of an ONNX file: the rest is nobody's business.
    fn of_user(user: &UserModel, tensors: &Tensors) -> Result<Self, String> {
        let stated = |name: &str| tensors.metadata.get(name).map(String::as_str);
        let (mean, std) = (channels(stated("mean"), MEAN, 0.0)?, channels(stated("std"), STD, 1e-3)?);
        let dim = user.dim.unwrap_or(0);
        let none = Self {
            patch: user.patch,
            dim,
            heads: 0,
            depth: 0,
            side: 0,
            has_cls_position: false,
            registers: 0,
            layer_scale: false,
            mean,
            std,
        };
        Ok(none)
    }

    fn new(tensors: &Tensors, layout: &Layout, heads: Option<usize>) -> Result<Self, String> {
        let shape = |name: &str| layout.shape(tensors, name);
        let wrong = |name: &str, got: &[usize], expected: &str| {
            format!("tensor {name} has shape {got:?} (expected {expected})")
        };
        let kernel = shape("patch_embed.proj.weight")?;
        let (dim, patch) = match kernel[..] {
            [dim, 3, patch, across] if patch == across && (1..=64).contains(&patch) && (1..=4096).contains(&dim) => {
                (dim, patch)
            }
            _ => {
                let expected = "[dim, 3, patch, patch], dim to 4096, patch to 64";
                return Err(wrong("patch_embed.proj.weight", &kernel, expected));
            }
        };
        let registers = match layout.has("register_tokens").then(|| shape("register_tokens")).transpose()?.as_deref() {
            None => 0,
            Some(&[1, count @ 0..=64, _]) => count,
            Some(other) => return Err(wrong("register_tokens", other, "[1, count, dim], count to 64")),
        };
        let is_rotary = !layout.has("pos_embed") && (layout.has("register_tokens") || layout.has(PERIODS));
        let (side, has_cls_position) = if is_rotary { (0, false) } else { side(&shape("pos_embed")?, registers > 0)? };
        let depth = layout.depth;
        let layer_scale = (0..depth).any(|block| layout.has(&format!("blocks.{block}.ls1.gamma")));
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
        if is_rotary && !(dim / heads).is_multiple_of(4) {
            return Err(format!(
                "its {heads} heads of {} numbers cannot be turned (expected a multiple of 4)",
                dim / heads
            ));
        }
        let (mean, std) = (channels(stated("mean"), MEAN, 0.0)?, channels(stated("std"), STD, 1e-3)?);
        Ok(Self { patch, dim, heads, depth, side, has_cls_position, registers, layer_scale, mean, std })
    }

    /// Whether positions are turned into queries and keys, as in DINOv3.
    pub fn is_rotary(&self) -> bool {
        self.side == 0
    }

    /// Which family has these measures.
    pub fn family(&self) -> &'static str {
        match (self.is_rotary(), self.layer_scale) {
            (true, _) => "DINOv3",
            (false, true) => "DINOv2",
            (false, false) => "DINO",
        }
    }

    /// Tokens before the patches: CLS and the registers.
    pub fn prefix(&self) -> usize {
        1 + self.registers
    }

    /// What keeps a norm from dividing by zero; DINOv3 has its own.
    pub fn epsilon(&self) -> f32 {
        if self.is_rotary() { 1e-5 } else { 1e-6 }
    }
}

/// The patches per side of a position embedding of this shape, and whether the CLS token's comes before: timm adds that to the
/// token itself where there are registers.
fn side(shape: &[usize], has_registers: bool) -> Result<(usize, bool), String> {
    if let [1, tokens, _] = *shape {
        let root = |count: usize| Some(count.isqrt()).filter(|side| *side > 0 && side * side == count);
        let with_cls = tokens.checked_sub(1).and_then(root).map(|side| (side, true));
        let found = with_cls.or_else(|| root(tokens).filter(|_| has_registers).map(|side| (side, false)));
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(format!("tensor pos_embed has shape {shape:?} (expected [1, 1 + side², dim])"))
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
