//! The ONNX graph of a checkpoint for one grid: uint8 pixels in, patch features out.

use super::onnx::{Builder, FLOAT, MICROSOFT, UINT8, float, int, ints};
use super::{BackboneError, Checkpoint};
use crate::geometry::PatchLayout;
use std::ffi::CStr;

/// What the graph puts out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Feature {
    /// Keys of the last block, `[N, D]`; as projected, also where attention turns them by their place (DINOv3): what a patch
    /// looks like must not depend on where it is.
    #[default]
    Keys,
    /// Queries of the last block, `[N, D]`, as projected.
    Queries,
    /// Values of the last block, `[N, D]`.
    Values,
    /// Attention of the CLS token in the last block, `[heads, N]`.
    ClsAttention,
    /// Keys of the middle block ([`Checkpoint::middle_block`]), `[N, D]`: the graph ends there, at less than half its cost.
    MiddleKeys,
}

/// Which operators attention is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Standard ONNX: MatMul and Softmax.
    Plain,
    /// ONNX Runtime's fused attention, which its CPU and CUDA providers have.
    Fused,
    /// The fewest passes over memory: ONNX Runtime's fused attention, the residual, the bias and the norm after them in one
    /// kernel, bias and GELU in another. Biases that do no more than a constant of a later product are moved into it.
    Gpu,
}

/// The name of the graph's input, uint8 `[batch, height, width, 3]`, of its output, `[batch, N, D]` or `[batch, heads, N]`, and of
/// the middle block's keys beside it, `[batch, N, D]`.
pub const INPUT: &str = "image";
pub const OUTPUT: &str = "features";
const MIDDLE: &str = "middle";
pub const INPUT_C: &CStr = c"image";
pub const OUTPUT_C: &CStr = c"features";
pub const MIDDLE_C: &CStr = c"middle";

/// The graph of `checkpoint` as ONNX, for images of `layout`; with `has_middle` the middle block's keys are an output, too.
pub fn build(
    checkpoint: &Checkpoint,
    feature: Feature,
    has_middle: bool,
    dialect: Dialect,
    layout: &PatchLayout,
) -> Result<Vec<u8>, BackboneError> {
    let middle = checkpoint.middle_block();
    let last = if feature == Feature::MiddleKeys { middle } else { checkpoint.measures.depth - 1 };
    if has_middle && middle >= last {
        let reason = format!("its block {middle} cannot be put out beside block {last} (expected one before it)");
        return Err(BackboneError::Checkpoint { name: checkpoint.id().to_owned(), reason });
    }
    let kept = has_middle.then_some(middle);
    let mut writer = Writer { checkpoint, dialect, graph: Builder::default(), rotation: None, kept, kept_keys: None };
    let mut tokens = Tokens::whole(writer.tokens(layout)?);
    for index in 0..last {
        tokens = writer.block(index, tokens)?;
    }
    let (dim, heads, patches) = (checkpoint.dim(), checkpoint.heads(), layout.grid.patches());
    let rows = match feature {
        Feature::ClsAttention => None,
        Feature::Queries => Some(0),
        Feature::Keys | Feature::MiddleKeys => Some(1),
        Feature::Values => Some(2),
    };
    let (features, shape) = match rows {
        None => (writer.cls_attention(last, tokens)?, [heads, patches]),
        Some(rows) => {
            let normal = writer.normal_patches(last, tokens)?;
            (writer.projection(last, rows, &normal)?, [patches, dim])
        }
    };
    let middle = writer.kept_keys.take().map(|keys| writer.without_prefix(&keys));
    writer.graph.output(&features, OUTPUT, &shape);
    if let Some(middle) = middle {
        writer.graph.output(&middle, MIDDLE, &[patches, dim]);
    }
    Ok(writer.graph.finish())
}

/// Tokens `[batch, prefix + N, D]`, what of a residual branch is not yet added to them, and its bias.
struct Tokens {
    sum: String,
    rest: Option<(String, String)>,
}

impl Tokens {
    fn whole(sum: String) -> Self {
        Self { sum, rest: None }
    }
}

struct Writer<'a> {
    checkpoint: &'a Checkpoint,
    dialect: Dialect,
    graph: Builder,
    /// The constants that turn queries and keys: cosines and sines, `[tokens, 1, width]`.
    rotation: Option<[String; 2]>,
    /// The block whose keys are put out beside the features, and those keys, `[batch, prefix + N, D]`.
    kept: Option<usize>,
    kept_keys: Option<String>,
}

impl Writer<'_> {
    /// Pixels → tokens `[batch, prefix + N, D]`, the CLS token and the registers first.
    fn tokens(&mut self, layout: &PatchLayout) -> Result<String, BackboneError> {
        let measures = &self.checkpoint.measures;
        let (patch, dim) = (measures.patch, measures.dim);
        let (rows, cols) = (layout.grid.rows, layout.grid.cols);
        let (height, width) = (layout.image_height as usize, layout.image_width as usize);

        let image = self.graph.input(INPUT, UINT8, &[height, width, 3]);
        let pixels = self.graph.op("Cast", &[&image], &[int("to", FLOAT as usize)]);
        // In whole rows of numbers, since three are too few for a processor's vectors.
        let mut pixels = self.reshape(&pixels, &[-1, height as i64, 3 * width as i64]);
        let mean = measures.mean.map(|mean| 255.0 * mean).repeat(width);
        let mean = self.graph.weight(&[3 * width], &mean);
        pixels = self.graph.op("Sub", &[&pixels, &mean], &[]);
        // After the mean is taken away, zero is what DINO pads with.
        let (below, right) = ((rows * patch - height) as i64, (cols * patch - width) as i64);
        if (below, right) != (0, 0) {
            let pads = self.graph.list(&[0, 0, 0, 0, below, 3 * right]);
            pixels = self.graph.op("Pad", &[&pixels, &pads], &[]);
        }
        // A convolution whose stride is its kernel is a product with the patches' pixels.
        pixels = self.reshape(&pixels, &[-1, rows as i64, patch as i64, cols as i64, patch as i64, 3]);
        pixels = self.graph.op("Transpose", &[&pixels], &[ints("perm", &[0, 1, 3, 2, 4, 5])]);
        pixels = self.reshape(&pixels, &[-1, (rows * cols) as i64, (patch * patch * 3) as i64]);
        let kernel = self.checkpoint.values("patch_embed.proj.weight")?;
        let mut product = vec![0f32; kernel.len()];
        for (index, &value) in kernel.iter().enumerate() {
            let (out, channel, place) =
                (index / (3 * patch * patch), index / (patch * patch) % 3, index % (patch * patch));
            product[(place * 3 + channel) * dim + out] = value / (255.0 * measures.std[channel]);
        }
        let product = self.graph.weight(&[3 * patch * patch, dim], &product);
        let patches = self.graph.op("MatMul", &[&pixels, &product], &[]);

        // One addition for the CLS token, the registers, the convolution's bias and the positions.
        let mut added = self.checkpoint.positions(rows, cols)?;
        let (cls, rest) = added.split_at_mut(dim);
        add(cls, &self.checkpoint.values("cls_token")?);
        let bias = self.checkpoint.values("patch_embed.proj.bias")?;
        rest.chunks_exact_mut(dim).for_each(|position| add(position, &bias));
        let prefix = measures.prefix();
        if measures.registers > 0 {
            added.splice(dim..dim, self.checkpoint.values("register_tokens")?);
        }
        let tokens = prefix + rows * cols;
        let added = self.graph.weight(&[1, tokens, dim], &added);
        let pads = self.graph.list(&[0, prefix as i64, 0, 0, 0, 0]);
        let patches = self.graph.op("Pad", &[&patches, &pads], &[]);
        if let Some(rotation) = self.checkpoint.rotation(rows, cols)? {
            let shape = [tokens, 1, dim / measures.heads];
            self.rotation = Some(rotation.map(|values| self.graph.weight(&shape, &values)));
        }
        Ok(self.graph.op("Add", &[&patches, &added], &[]))
    }

    /// The patches, normalised for this block's attention.
    fn normal_patches(&mut self, index: usize, tokens: Tokens) -> Result<String, BackboneError> {
        if tokens.rest.is_some() {
            let normal = self.norm(index, "norm1", tokens)?.0;
            return Ok(self.without_prefix(&normal));
        }
        let patches = self.without_prefix(&tokens.sum);
        Ok(self.norm(index, "norm1", Tokens::whole(patches))?.0)
    }

    /// The patches of `[batch, prefix + N, D]`.
    fn without_prefix(&mut self, tokens: &str) -> String {
        self.slice(tokens, 1, self.checkpoint.measures.prefix() as i64, i64::MAX)
    }

    /// One whole block.
    fn block(&mut self, index: usize, tokens: Tokens) -> Result<Tokens, BackboneError> {
        let (normal, tokens) = self.norm(index, "norm1", tokens)?;
        let (attended, moved) = self.attention(index, &normal)?;
        let (weight, bias) = self.scaled(index, "attn.proj", "ls1", &moved)?;
        let tokens = self.added(tokens, &attended, &weight, &bias);

        let (normal, tokens) = self.norm(index, "norm2", tokens)?;
        let (weight, bias) = self.weights(index, "mlp.fc1")?;
        let is_gated = self.checkpoint.is_gated(index).unwrap_or(false);
        let hidden = match is_gated {
            true => self.gated(&normal, &weight, &bias),
            false => self.hidden(&normal, &weight, &bias),
        };
        let (weight, bias) = self.scaled(index, "mlp.fc2", "ls2", &[])?;
        Ok(self.added(tokens, &hidden, &weight, &bias))
    }

    /// The tokens and a branch: input · weightᵀ + bias.
    fn added(&mut self, tokens: String, input: &str, weight: &[f32], bias: &[f32]) -> Tokens {
        if self.dialect == Dialect::Gpu {
            return Tokens { sum: tokens, rest: Some(self.product_and_bias(weight, bias, input)) };
        }
        let branch = self.affine(weight, bias, input);
        Tokens::whole(self.graph.op("Add", &[&tokens, &branch], &[]))
    }

    /// The MLP's hidden values.
    fn hidden(&mut self, input: &str, weight: &[f32], bias: &[f32]) -> String {
        if self.dialect == Dialect::Gpu {
            let (product, bias) = self.product_and_bias(weight, bias, input);
            let [hidden] = self.graph.ops(MICROSOFT, "BiasGelu", &[&product, &bias], &[]);
            return hidden;
        }
        let hidden = self.affine(weight, bias, input);
        self.gelu(&hidden)
    }

    /// The hidden values of a gated MLP.
    fn gated(&mut self, input: &str, weight: &[f32], bias: &[f32]) -> String {
        let (weights, biases) = (weight.split_at(weight.len() / 2), bias.split_at(bias.len() / 2));
        let gates = self.affine(weights.0, biases.0, input);
        let values = self.affine(weights.1, biases.1, input);
        let open = self.graph.op("Sigmoid", &[&gates], &[]);
        let gates = self.graph.op("Mul", &[&gates, &open], &[]);
        self.graph.op("Mul", &[&gates, &values], &[])
    }

    /// Every token attends to every token; heads side by side in the result `[batch, tokens, D]`, and what is to be added to it
    /// (`[D]`, empty where nothing is).
    ///
    /// The weights of a query's values add up to 1, so the values' bias can be added afterwards; and the keys' bias adds the same to
    /// all of a query's scores, which softmax does not see, unless keys are turned by their place. [`Dialect::Gpu`] leaves both out.
    fn attention(&mut self, index: usize, normal: &str) -> Result<(String, Vec<f32>), BackboneError> {
        let heads = self.checkpoint.heads();
        let dim = self.checkpoint.dim();
        let is_gpu = self.dialect == Dialect::Gpu;
        let queries = self.projection(index, 0, normal)?;
        let lacks_bias = is_gpu && self.rotation.is_none();
        let keys = match lacks_bias {
            true => self.projection_without_bias(index, 1, normal)?,
            false => self.projection(index, 1, normal)?,
        };
        if self.kept == Some(index) {
            self.kept_keys = Some(match lacks_bias {
                true => {
                    let bias = self.graph.weight(&[dim], &self.projection_weights(index, 1)?.1);
                    self.graph.op("Add", &[&keys, &bias], &[])
                }
                false => keys.clone(),
            });
        }
        let (values, moved) = match is_gpu {
            true => (self.projection_without_bias(index, 2, normal)?, self.projection_weights(index, 2)?.1),
            false => (self.projection(index, 2, normal)?, Vec::new()),
        };
        let (queries, keys) = (self.turned(queries), self.turned(keys));
        if self.dialect != Dialect::Plain {
            let heads = int("num_heads", heads);
            let [attended] = self.graph.ops(MICROSOFT, "MultiHeadAttention", &[&queries, &keys, &values], &[heads]);
            return Ok((attended, moved));
        }
        let weights = self.attention_weights(&queries, &keys);
        let values = self.split_heads(&values, [0, 2, 1, 3]);
        let attended = self.graph.op("MatMul", &[&weights, &values], &[]);
        let attended = self.graph.op("Transpose", &[&attended], &[ints("perm", &[0, 2, 1, 3])]);
        Ok((self.reshape(&attended, &[0, 0, dim as i64]), moved))
    }

    /// softmax(QKᵀ/√d), `[batch, heads, queries, keys]`.
    fn attention_weights(&mut self, queries: &str, keys: &str) -> String {
        let width = self.checkpoint.dim() / self.checkpoint.heads();
        let scale = self.graph.weight(&[1], &[1.0 / (width as f32).sqrt()]);
        let queries = self.graph.op("Mul", &[queries, &scale], &[]);
        let queries = self.split_heads(&queries, [0, 2, 1, 3]);
        let keys = self.split_heads(keys, [0, 2, 3, 1]);
        let scores = self.graph.op("MatMul", &[&queries, &keys], &[]);
        self.graph.op("Softmax", &[&scores], &[int("axis", 3)])
    }

    /// The CLS token's attention to each patch, `[batch, heads, N]`.
    fn cls_attention(&mut self, index: usize, tokens: Tokens) -> Result<String, BackboneError> {
        let normal = self.norm(index, "norm1", tokens)?.0;
        let cls = self.slice(&normal, 1, 0, 1);
        let queries = self.projection(index, 0, &cls)?;
        // The CLS token has no place to be turned by.
        let keys = self.projection(index, 1, &normal)?;
        let keys = self.turned(keys);
        let weights = self.attention_weights(&queries, &keys);
        let weights = self.slice(&weights, 3, self.checkpoint.measures.prefix() as i64, i64::MAX);
        let axes = self.graph.list(&[2]);
        Ok(self.graph.op("Squeeze", &[&weights, &axes], &[]))
    }

    /// Queries or keys of all tokens, each head's halves turned with each other by the token's place, where the model does so.
    fn turned(&mut self, input: String) -> String {
        let Some([cosines, sines]) = self.rotation.clone() else { return input };
        let (dim, heads) = (self.checkpoint.dim(), self.checkpoint.heads());
        let width = (dim / heads) as i64;
        let split = self.reshape(&input, &[0, 0, heads as i64, width]);
        let (low, high) = (self.slice(&split, 3, 0, width / 2), self.slice(&split, 3, width / 2, width));
        let swapped = self.graph.op("Concat", &[&high, &low], &[int("axis", 3)]);
        let kept = self.graph.op("Mul", &[&split, &cosines], &[]);
        let moved = self.graph.op("Mul", &[&swapped, &sines], &[]);
        let turned = self.graph.op("Add", &[&kept, &moved], &[]);
        self.reshape(&turned, &[0, 0, dim as i64])
    }

    /// The queries (0), keys (1) or values (2) of normalised tokens.
    fn projection(&mut self, index: usize, which: usize, normal: &str) -> Result<String, BackboneError> {
        let (weight, bias) = self.projection_weights(index, which)?;
        Ok(self.affine(&weight, &bias, normal))
    }

    fn projection_without_bias(&mut self, index: usize, which: usize, normal: &str) -> Result<String, BackboneError> {
        let (weight, bias) = self.projection_weights(index, which)?;
        Ok(self.product(&weight, bias.len(), normal))
    }

    /// `[D, D]` and `[D]`.
    fn projection_weights(&self, index: usize, which: usize) -> Result<(Vec<f32>, Vec<f32>), BackboneError> {
        let dim = self.checkpoint.dim();
        let (weight, bias) = self.weights(index, "attn.qkv")?;
        let rows = which * dim..(which + 1) * dim;
        Ok((weight[rows.start * dim..rows.end * dim].to_vec(), bias[rows].to_vec()))
    }

    /// `[out, in]` and `[out]`.
    fn weights(&self, index: usize, name: &str) -> Result<(Vec<f32>, Vec<f32>), BackboneError> {
        let values = |kind: &str| self.checkpoint.values(&format!("blocks.{index}.{name}.{kind}"));
        Ok((values("weight")?, values("bias")?))
    }

    /// Like [`Self::weights`], of a product whose input lacks `moved`, and its results multiplied by the layer scale where there is
    /// one: into the weights, for nothing.
    fn scaled(
        &self,
        index: usize,
        name: &str,
        scale: &str,
        moved: &[f32],
    ) -> Result<(Vec<f32>, Vec<f32>), BackboneError> {
        let (mut weight, mut bias) = self.weights(index, name)?;
        let inner = weight.len() / bias.len();
        for (row, bias) in weight.chunks_exact(inner).zip(&mut bias) {
            *bias += row.iter().zip(moved).map(|(weight, moved)| weight * moved).sum::<f32>();
        }
        if self.checkpoint.measures.layer_scale {
            let gamma = self.checkpoint.values(&format!("blocks.{index}.{scale}.gamma"))?;
            for ((row, bias), gamma) in weight.chunks_exact_mut(inner).zip(&mut bias).zip(gamma.iter()) {
                row.iter_mut().for_each(|value| *value *= gamma);
                *bias *= gamma;
            }
        }
        Ok((weight, bias))
    }

    /// input · weightᵀ + bias, for a weight `[out, in]`.
    fn affine(&mut self, weight: &[f32], bias: &[f32], input: &str) -> String {
        let (product, bias) = self.product_and_bias(weight, bias, input);
        self.graph.op("Add", &[&product, &bias], &[])
    }

    /// The same, not yet added up.
    fn product_and_bias(&mut self, weight: &[f32], bias: &[f32], input: &str) -> (String, String) {
        (self.product(weight, bias.len(), input), self.graph.weight(&[bias.len()], bias))
    }

    /// input · weightᵀ, for a weight `[out, in]`.
    fn product(&mut self, weight: &[f32], out: usize, input: &str) -> String {
        let inner = weight.len() / out;
        let mut transposed = vec![0f32; weight.len()];
        for (index, &value) in weight.iter().enumerate() {
            transposed[index % inner * out + index / inner] = value;
        }
        let weight = self.graph.weight(&[inner, out], &transposed);
        self.graph.op("MatMul", &[input, &weight], &[])
    }

    /// The tokens, all added up and normalised; and added up alone.
    fn norm(&mut self, index: usize, name: &str, tokens: Tokens) -> Result<(String, String), BackboneError> {
        let (weight, bias) = self.weights(index, name)?;
        let weight = self.graph.weight(&[weight.len()], &weight);
        let bias = self.graph.weight(&[bias.len()], &bias);
        let epsilon = float("epsilon", self.checkpoint.measures.epsilon());
        let Tokens { sum, rest } = tokens;
        Ok(match rest {
            None => (self.graph.op("LayerNormalization", &[&sum, &weight, &bias], &[epsilon]), sum),
            Some((branch, branch_bias)) => {
                let input = [branch.as_str(), &sum, &weight, &bias, &branch_bias];
                // The mean and the deviation are left out.
                let [normal, sum] =
                    self.graph.some("SkipLayerNormalization", &input, &[epsilon], [true, false, false, true]);
                (normal, sum)
            }
        })
    }

    /// x/2 · (1 + erf(x/√2)), in the order ONNX Runtime fuses.
    fn gelu(&mut self, input: &str) -> String {
        let constant = |graph: &mut Builder, value: f32| graph.weight(&[], &[value]);
        let (root, one, half) =
            (constant(&mut self.graph, 2f32.sqrt()), constant(&mut self.graph, 1.0), constant(&mut self.graph, 0.5));
        let erf = self.graph.op("Div", &[input, &root], &[]);
        let erf = self.graph.op("Erf", &[&erf], &[]);
        let erf = self.graph.op("Add", &[&erf, &one], &[]);
        let product = self.graph.op("Mul", &[input, &erf], &[]);
        self.graph.op("Mul", &[&product, &half], &[])
    }

    /// `[batch, tokens, D]` → `[batch, tokens, heads, width]`, permuted.
    fn split_heads(&mut self, input: &str, perm: [i64; 4]) -> String {
        let heads = self.checkpoint.heads();
        let width = self.checkpoint.dim() / heads;
        let split = self.reshape(input, &[0, 0, heads as i64, width as i64]);
        self.graph.op("Transpose", &[&split], &[ints("perm", &perm)])
    }

    fn slice(&mut self, input: &str, axis: i64, start: i64, end: i64) -> String {
        let [start, end, axis] = [start, end, axis].map(|value| self.graph.list(&[value]));
        self.graph.op("Slice", &[input, &start, &end, &axis], &[])
    }

    fn reshape(&mut self, input: &str, shape: &[i64]) -> String {
        let shape = self.graph.list(shape);
        self.graph.op("Reshape", &[input, &shape], &[])
    }
}

fn add(to: &mut [f32], values: &[f32]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += value);
}
