//! Named tensors in a file: `.safetensors`, or a `.pth` of PyTorch 1.6 or later. The bytes stay as they are in the file;
//! a tensor is a range of them, so that no file can ask for more memory than its own size.

use super::pickle;
use half::{bf16, f16};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    F32,
    F16,
    Bf16,
}

impl Dtype {
    /// Bytes per number.
    pub fn size(self) -> usize {
        if self == Dtype::F32 { 4 } else { 2 }
    }

    /// `f32`, `f16` or `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
        }
    }
}

/// One tensor: C-order, little-endian.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// None where the file stores another kind of number than the backbone reads.
    pub dtype: Option<Dtype>,
    pub shape: Vec<usize>,
    /// Bytes of the file.
    pub range: Range<usize>,
}

/// Every tensor of a file.
#[derive(Debug)]
pub struct Tensors {
    bytes: Cow<'static, [u8]>,
    by_name: BTreeMap<String, Tensor>,
    /// The metadata of a `.safetensors` file; empty for a `.pth`.
    pub metadata: HashMap<String, String>,
}

impl Tensors {
    /// The tensors of a file with this content, told apart by its first bytes; the error is a reason.
    pub fn parse(bytes: Cow<'static, [u8]>) -> Result<Self, String> {
        if bytes.starts_with(b"PK") {
            let by_name = pickle::tensors(&bytes)?;
            return Ok(Self { bytes, by_name, metadata: HashMap::new() });
        }
        if bytes.first() == Some(&0x80) && bytes.get(8) != Some(&b'{') {
            return Err("it is in PyTorch's format from before 1.6; save it again with a newer PyTorch".to_owned());
        }
        let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes)
            .map_err(|error| format!("it is neither a .safetensors nor a .pth file ({error})"))?;
        let start = 8 + header;
        let tensor = |info: &safetensors::tensor::TensorInfo| Tensor {
            dtype: match info.dtype {
                safetensors::Dtype::F32 => Some(Dtype::F32),
                safetensors::Dtype::F16 => Some(Dtype::F16),
                safetensors::Dtype::BF16 => Some(Dtype::Bf16),
                _ => None,
            },
            shape: info.shape.clone(),
            range: start + info.data_offsets.0..start + info.data_offsets.1,
        };
        let by_name = metadata.tensors().into_iter().map(|(name, info)| (name, tensor(info))).collect();
        let metadata = metadata.metadata().clone().unwrap_or_default();
        Ok(Self { bytes, by_name, metadata })
    }

    /// A file that holds other things than tensors by name.
    pub fn none(bytes: Cow<'static, [u8]>, metadata: HashMap<String, String>) -> Self {
        Self { bytes, by_name: BTreeMap::new(), metadata }
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Every name, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The tensor of this name; the error is a reason.
    pub fn get(&self, name: &str) -> Result<&Tensor, String> {
        self.by_name.get(name).ok_or_else(|| format!("tensor {name} is missing"))
    }

    /// The numbers of the tensor of this name as f32, in C-order; the error is a reason.
    pub fn values(&self, name: &str) -> Result<Vec<f32>, String> {
        let tensor = self.get(name)?;
        let dtype = tensor.dtype.ok_or_else(|| format!("tensor {name} holds no f32, f16 or bf16"))?;
        let bytes = self.bytes.get(tensor.range.clone()).ok_or_else(|| format!("tensor {name} ends past the file"))?;
        let words = || bytes.as_chunks::<2>().0.iter().copied();
        Ok(match dtype {
            Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Dtype::F16 => words().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
            Dtype::Bf16 => words().map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
        })
    }
}
