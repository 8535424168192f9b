//! A checkpoint written down again: alone in a `.safetensors` file, or as an ONNX file for others to run.

use super::checkpoint::{Dtype, Tensor};
use super::graph::{self, Dialect, Feature, INPUT, OUTPUT};
use super::onnx::{self, OPSET};
use super::pickle::WRAPPERS;
use super::{BackboneError, Checkpoint, session};
use crate::geometry::PatchLayout;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// What a model may be called; the words of its file's metadata, or of an ONNX file's.
pub type Metadata = BTreeMap<String, String>;

/// Parts of other models that share a file with the backbone, by the beginning of their tensors' names.
const HEADS: [&str; 4] = ["head", "heads", "fc", "classifier"];
/// A protobuf message may not be larger.
const MAX_ONNX_BYTES: usize = i32::MAX as usize;

/// What a checkpoint is.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// As the file says, or its tensors: DINO, DINOv2, DINOv3; ONNX for a file that holds more than tensors.
    pub family: String,
    pub patch: usize,
    /// Of keys, queries and values.
    pub width: usize,
    pub depth: usize,
    pub heads: usize,
    /// Numbers of all its tensors.
    pub parameters: u64,
    /// Patches per side of the position embedding; 0 where positions are rotary.
    pub side: usize,
    /// How its numbers are stored: `f32`, `f16`, `bf16`.
    pub dtypes: Vec<&'static str>,
    /// Of RGB in 0..=1.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// A model that any runtime of ONNX runs.
#[derive(Debug)]
pub struct Onnx {
    pub bytes: Vec<u8>,
    pub layout: PatchLayout,
    /// The input's name; it is uint8 `[batch, height, width, 3]`, RGB.
    pub input: &'static str,
    /// The output's name; it is f32 `[batch, output_shape]`.
    pub output: &'static str,
    /// `[N, D]` or `[heads, N]`.
    pub output_shape: [usize; 2],
    pub opset: i64,
}

impl Checkpoint {
    fn family(&self) -> &'static str {
        if self.is_onnx() { "ONNX" } else { self.measures.family() }
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        self.tensors.bytes()
    }

    /// What the file says about itself; nothing for a `.pth`.
    pub fn metadata(&self) -> Metadata {
        self.tensors.metadata.clone().into_iter().collect()
    }

    /// What it is.
    pub fn description(&self) -> Description {
        let measures = &self.measures;
        let own = self.own();
        let count = |tensor: &Tensor| tensor.shape.iter().map(|&side| side as u64).product::<u64>();
        let dtypes: BTreeSet<&str> = own.iter().map(|(.., dtype)| dtype.name()).collect();
        Description {
            family: self.tensors.metadata.get("family").cloned().unwrap_or_else(|| self.family().to_owned()),
            patch: measures.patch,
            width: measures.dim,
            depth: measures.depth,
            heads: measures.heads,
            parameters: own.iter().map(|(_, tensor, _)| count(tensor)).sum(),
            side: measures.side,
            dtypes: dtypes.into_iter().collect(),
            mean: measures.mean,
            std: measures.std,
        }
    }

    /// The tensors of the model itself, by their names without what they are wrapped in. Kinds of numbers that nobody reads
    /// (counters) are left out.
    fn own(&self) -> Vec<(&str, &Tensor, Dtype)> {
        let own = |name| {
            let short = self.prefix_stripped(name)?;
            let first = short.split('.').next().unwrap_or_default();
            let tensor = self.tensors.get(name).ok()?;
            // In transformers' DINOv3 the blocks are the model's.
            let is_own = short.starts_with("model.layer.") || !WRAPPERS.contains(&first) && !HEADS.contains(&first);
            Some((short, tensor, tensor.dtype.filter(|_| is_own)?))
        };
        self.tensors.names().filter_map(own).collect()
    }

    /// Writes a `.safetensors` file of the model's own tensors, their numbers as they are. What was known without being in a
    /// tensor (heads, mean, standard deviation) goes into its metadata, with `more`; the same model gives the same bytes.
    pub fn write_safetensors(&self, out: &mut impl Write, more: &Metadata) -> io::Result<()> {
        let mut own = self.own();
        // Aligned, as readers that map the file expect.
        own.sort_by_key(|&(name, _, dtype)| (Reverse(dtype.size()), name));
        let numbers = |values: [f32; 3]| values.map(|value| value.to_string()).join(",");
        let mut metadata = self.metadata();
        metadata.insert("heads".to_owned(), self.measures.heads.to_string());
        metadata.insert("mean".to_owned(), numbers(self.measures.mean));
        metadata.insert("std".to_owned(), numbers(self.measures.std));
        metadata.extend(more.clone());

        let mut header = serde_json::Map::new();
        header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
        let mut end = 0;
        for (name, tensor, dtype) in &own {
            let start = end;
            end += tensor.range.len();
            let dtype = dtype.name().to_uppercase();
            let info = serde_json::json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end] });
            header.insert((*name).to_owned(), info);
        }
        let mut header = serde_json::to_vec(&header)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for (_, tensor, _) in &own {
            let data = self.bytes().get(tensor.range.clone());
            out.write_all(data.ok_or_else(|| io::Error::other("a tensor ends past the file"))?)?;
        }
        Ok(())
    }

    /// The model in standard ONNX, for images of `width` × `height` pixels, with `more` in its metadata.
    pub fn onnx(&self, feature: Feature, width: u32, height: u32, more: &Metadata) -> Result<Onnx, BackboneError> {
        if self.is_onnx() {
            let reason = "it is an ONNX file already".to_owned();
            return Err(BackboneError::Checkpoint { name: self.id().to_owned(), reason });
        }
        let layout = session::layout(self.patch(), width, height)?;
        let mut bytes = graph::build(self, feature, false, Dialect::Plain, &layout)?;
        onnx::add_metadata(&mut bytes, more);
        if bytes.len() > MAX_ONNX_BYTES {
            let length = bytes.len();
            return Err(BackboneError::Size(format!(
                "an ONNX file of {length} bytes (expected at most {MAX_ONNX_BYTES})"
            )));
        }
        let patches = layout.grid.patches();
        let output_shape = match feature {
            Feature::ClsAttention => [self.heads(), patches],
            _ => [patches, self.dim()],
        };
        Ok(Onnx { bytes, layout, input: INPUT, output: OUTPUT, output_shape, opset: OPSET })
    }
}
