//! Where a checkpoint's tensors are: the names a family of files has for them → DINO's own names, the only ones the rest asks
//! for. Known are the layouts of Meta (DINO, DINOv2, DINOv3), of timm, and of transformers (ViT, Dinov2, DINOv3ViT).

use super::checkpoint::Tensors;
use super::pickle::WRAPPERS;
use std::collections::BTreeMap;

const MAX_DEPTH: usize = 128;
/// What transformers calls a backbone inside a larger model.
const INNER: [&str; 4] = ["vit", "dinov2", "dinov2_with_registers", "dinov3_vit"];
const ROOT: [(&str, &str); 12] = [
    ("cls_token", "cls_token"),
    ("embeddings.cls_token", "cls_token"),
    ("pos_embed", "pos_embed"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("register_tokens", "register_tokens"),
    ("storage_tokens", "register_tokens"),
    ("reg_token", "register_tokens"),
    ("embeddings.register_tokens", "register_tokens"),
    ("rope_embed.periods", "rope_embed.periods"),
    ("patch_embed.proj", "patch_embed.proj"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("embeddings.patch_embeddings", "patch_embed.proj"),
];
/// What blocks are called; after the first, Meta's largest models have the number of a chunk before the block's own.
const BLOCKS: [&str; 5] = ["blocks.", "encoder.layer.", "model.layer.", "layers.", "layer."];
const BLOCK: [(&str, &str); 25] = [
    ("norm1", "norm1"),
    ("layernorm_before", "norm1"),
    ("attn.qkv", "attn.qkv"),
    ("attn.qkv.bias_mask", "attn.qkv.bias_mask"),
    ("attn.proj", "attn.proj"),
    ("attention.o_proj", "attn.proj"),
    ("attention.output.dense", "attn.proj"),
    ("ls1.gamma", "ls1.gamma"),
    ("gamma_1", "ls1.gamma"),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("norm2", "norm2"),
    ("layernorm_after", "norm2"),
    ("mlp.fc1", "mlp.fc1"),
    ("mlp.up_proj", "mlp.fc1"),
    ("intermediate.dense", "mlp.fc1"),
    ("mlp.fc2", "mlp.fc2"),
    ("mlp.down_proj", "mlp.fc2"),
    ("output.dense", "mlp.fc2"),
    ("mlp.w12", "mlp.fc1"),
    ("mlp.weights_in", "mlp.fc1"),
    ("mlp.w3", "mlp.fc2"),
    ("mlp.weights_out", "mlp.fc2"),
    ("ls2.gamma", "ls2.gamma"),
    ("gamma_2", "ls2.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
];
/// Queries, keys and values, each on its own.
const SEPARATE: [&[&str]; 3] = [
    &["attention.attention.query", "attention.q_proj"],
    &["attention.attention.key", "attention.k_proj"],
    &["attention.attention.value", "attention.v_proj"],
];
/// A gated MLP's gates, and what they are multiplied with (SwiGLU; Shazeer 2020, "GLU Variants Improve Transformer"), each on its own.
const GATED: [&[&str]; 2] = [&["mlp.w1", "mlp.gate_proj", "mlp.fc1_g"], &["mlp.w2", "mlp.up_proj", "mlp.fc1_x"]];

/// The tensors of one checkpoint by DINO's names for them.
#[derive(Debug, Default)]
pub struct Layout {
    /// What comes before every tensor of the model.
    pub prefix: String,
    /// The number of blocks.
    pub depth: usize,
    sources: BTreeMap<String, Source>,
}

#[derive(Debug)]
enum Source {
    Whole(String),
    /// One below the other. Keys may have no bias, and in DINOv3 none may have one: it is zero.
    Parts(Vec<Option<String>>),
}

impl Layout {
    /// Of the vision transformer among these tensors; the error is a reason.
    pub fn new(tensors: &Tensors) -> Result<Self, String> {
        let is_decoder = |name: &&str| name.split('.').any(|part| part.starts_with("decoder"));
        if let Some(name) = tensors.names().find(is_decoder) {
            return Err(format!("tensor {name} belongs to a masked autoencoder (expected a DINO backbone)"));
        }
        let mut layout = Self { prefix: prefix(tensors)?, depth: 0, sources: BTreeMap::new() };
        let is_gate = |name: &str| GATED[0].iter().any(|gate| name.ends_with(&format!(".{gate}.weight")));
        let is_gated = tensors.names().any(is_gate);
        for name in tensors.names() {
            if let Some(rest) = name.strip_prefix(&layout.prefix) {
                let place = place(rest, is_gated).map_err(|reason| format!("tensor {name} {reason}"))?;
                if let Some(place) = place {
                    layout.depth = layout.depth.max(place.block.map_or(0, |block| block + 1));
                    layout.insert(place, name)?;
                }
            }
        }
        if layout.depth == 0 {
            return Err("tensor blocks.0.norm1.weight is missing".to_owned());
        }
        if !layout.has("pos_embed") {
            for block in 0..layout.depth {
                let bias = format!("blocks.{block}.attn.qkv.bias");
                layout.sources.entry(bias).or_insert(Source::Parts(vec![None; 3]));
            }
        }
        Ok(layout)
    }

    fn insert(&mut self, place: Place, name: &str) -> Result<(), String> {
        let before = match (place.part, self.sources.get_mut(&place.name)) {
            (Some((part, _)), Some(Source::Parts(parts))) => parts[part].replace(name.to_owned()),
            (_, Some(Source::Whole(before))) => Some(before.clone()),
            (None, Some(Source::Parts(parts))) => parts.iter().flatten().next().cloned(),
            (None, None) => {
                self.sources.insert(place.name, Source::Whole(name.to_owned()));
                None
            }
            (Some((part, count)), None) => {
                let mut parts = vec![None; count];
                parts[part] = Some(name.to_owned());
                self.sources.insert(place.name, Source::Parts(parts));
                None
            }
        };
        before.map_or(Ok(()), |before| Err(format!("tensor {name} says what tensor {before} has said already")))
    }

    /// Whether the checkpoint has the tensor DINO calls this.
    pub fn has(&self, name: &str) -> bool {
        self.sources.contains_key(name)
    }

    /// The shape of the tensor DINO calls this, of its parts taken together; the error is a reason.
    pub fn shape(&self, tensors: &Tensors, name: &str) -> Result<Vec<usize>, String> {
        match self.source(name)? {
            Source::Whole(source) => Ok(tensors.get(source)?.shape.clone()),
            Source::Parts(parts) => match parts.iter().flatten().next() {
                Some(part) => {
                    let mut shape = tensors.get(part)?.shape.clone();
                    shape.iter_mut().take(1).for_each(|side| *side = side.saturating_mul(parts.len()));
                    Ok(shape)
                }
                None => Ok(self.shape(tensors, &weight_of(name))?.into_iter().take(1).collect()),
            },
        }
    }

    /// The numbers of the tensor DINO calls this, in C-order; the error is a reason.
    pub fn values(&self, tensors: &Tensors, name: &str) -> Result<Vec<f32>, String> {
        let length = || self.shape(tensors, name).map(|shape| shape.iter().product::<usize>());
        match self.source(name)? {
            Source::Whole(source) => {
                let mut values = tensors.values(source)?;
                // Of a masked bias only the keys' third is masked.
                if self.has(&format!("{name}_mask")) {
                    let third = values.len() / 3;
                    values[third..2 * third].fill(0.0);
                }
                Ok(values)
            }
            Source::Parts(parts) => {
                let mut values = Vec::new();
                for part in parts {
                    match part {
                        Some(part) => values.extend(tensors.values(part)?),
                        None => values.resize(values.len() + length()? / parts.len(), 0.0),
                    }
                }
                Ok(values)
            }
        }
    }

    /// The tensor DINO calls this is there, in this shape, with finite numbers; the error is a reason.
    pub fn check(&self, tensors: &Tensors, name: &str, expected: &[usize]) -> Result<(), String> {
        let of_shape = |source: &str, expected: &[usize]| match tensors.get(source)?.shape.as_slice() {
            shape if shape == expected => Ok(()),
            shape => Err(format!("tensor {source} has shape {shape:?} (expected {expected:?})")),
        };
        match self.source(name)? {
            Source::Whole(source) => of_shape(source, expected)?,
            Source::Parts(parts) => {
                let mut own = expected.to_vec();
                own.iter_mut().take(1).for_each(|side| *side /= parts.len());
                let has_any = parts.iter().any(Option::is_some);
                for (part, names) in
                    parts.iter().zip(if parts.len() == SEPARATE.len() { &SEPARATE[..] } else { &GATED })
                {
                    match part {
                        Some(source) => of_shape(source, &own)?,
                        None if name.ends_with(".bias") && (!has_any || *names == SEPARATE[1]) => {}
                        None => {
                            return Err(format!("tensor {name} is missing its part {}", names[1]));
                        }
                    }
                }
            }
        }
        match self.values(tensors, name)?.iter().find(|value| !value.is_finite()) {
            Some(value) => {
                let source = match self.source(name)? {
                    Source::Whole(source) => source,
                    Source::Parts(_) => name,
                };
                Err(format!("tensor {source} holds {value} (expected finite numbers)"))
            }
            None => Ok(()),
        }
    }

    fn source(&self, name: &str) -> Result<&Source, String> {
        self.sources.get(name).ok_or_else(|| format!("tensor {name} is missing"))
    }
}

fn weight_of(bias: &str) -> String {
    bias.replace(".bias", ".weight")
}

/// Where a tensor belongs.
#[derive(Debug, PartialEq)]
struct Place {
    /// DINO's name for it, or for what it is a part of.
    name: String,
    block: Option<usize>,
    /// Which part it is, of how many.
    part: Option<(usize, usize)>,
}

/// None for a tensor that no graph reads; the error says what is wrong with its block. In a model that `is_gated` some names mean another tensor.
fn place(name: &str, is_gated: bool) -> Result<Option<Place>, String> {
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending @ ("weight" | "bias"))) => (stem, Some(ending)),
        _ => (name, None),
    };
    let with_ending = |name: &str| ending.map_or_else(|| name.to_owned(), |ending| format!("{name}.{ending}"));
    if let Some((_, known)) = ROOT.iter().find(|(theirs, _)| *theirs == stem) {
        return Ok(Some(Place { name: with_ending(known), block: None, part: None }));
    }
    if ["norm_pre", "pre_norm", "ln_pre"].contains(&stem) {
        return Err("is not part of DINO's layout (CLIP's has it)".to_owned());
    }
    let Some(rest) = BLOCKS.iter().find_map(|blocks| stem.strip_prefix(blocks)) else { return Ok(None) };
    let outside = || "is not part of DINO's layout".to_owned();
    let number = |text: &str| text.parse().ok().filter(|&index: &usize| index < MAX_DEPTH);
    let (first, mut layer) = rest.split_once('.').ok_or_else(outside)?;
    let mut block = number(first).ok_or_else(outside)?;
    if let Some((second, rest)) = layer.split_once('.')
        && let Some(second) = number(second)
    {
        (block, layer) = (second, rest);
    }
    let place =
        |known: &str, part| Place { name: with_ending(&format!("blocks.{block}.{known}")), block: Some(block), part };
    let among = |names: &[&[&str]]| Some((names.iter().position(|names| names.contains(&layer))?, names.len()));
    if let Some(part) = among(&SEPARATE) {
        return Ok(Some(place("attn.qkv", Some(part))));
    }
    if let Some(part) = among(&GATED).filter(|_| is_gated) {
        return Ok(Some(place("mlp.fc1", Some(part))));
    }
    let known = BLOCK.iter().find(|(theirs, _)| *theirs == layer).map(|&(_, known)| known);
    Ok(Some(place(known.ok_or_else(outside)?, None)))
}

/// What comes before the model's tensors: a full DINO checkpoint holds a teacher and a student, of which the teacher is better.
fn prefix(tensors: &Tensors) -> Result<String, String> {
    let known =
        |prefix: &&str| prefix.split_terminator('.').all(|part| WRAPPERS.contains(&part) || INNER.contains(&part));
    let stem = |name| {
        let stem = str::strip_suffix(name, "cls_token")?;
        Some(stem.strip_suffix("embeddings.").unwrap_or(stem))
    };
    let best = tensors.names().filter_map(stem).filter(known);
    let best = best.min_by_key(|prefix| (!prefix.contains("teacher"), prefix.len()));
    best.map(str::to_owned).ok_or_else(|| {
        let first = tensors.names().next().map_or_else(String::new, |name| format!(" (its first tensor is {name})"));
        format!("tensor cls_token is missing: it is no vision transformer in DINO's layout{first}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_has_its_own_name_for_the_same_tensor() {
        let place = |name| place(name, false).unwrap().map(|place| (place.name, place.part));
        let is = |name: &str, part| Some((name.to_owned(), part));
        for (theirs, known, part) in [
            ("blocks.3.attn.qkv.weight", "blocks.3.attn.qkv.weight", None),
            ("blocks.0.11.attn.qkv.bias", "blocks.11.attn.qkv.bias", None),
            ("encoder.layer.2.attention.attention.key.bias", "blocks.2.attn.qkv.bias", Some((1, 3))),
            ("model.layer.2.attention.v_proj.weight", "blocks.2.attn.qkv.weight", Some((2, 3))),
            ("encoder.layer.2.attention.output.dense.weight", "blocks.2.attn.proj.weight", None),
            ("encoder.layer.2.output.dense.bias", "blocks.2.mlp.fc2.bias", None),
            ("layer.2.layer_scale2.lambda1", "blocks.2.ls2.gamma", None),
            ("embeddings.patch_embeddings.bias", "patch_embed.proj.bias", None),
            ("storage_tokens", "register_tokens", None),
        ] {
            assert_eq!(place(theirs), is(known, part), "{theirs}");
        }
        for ignored in ["mask_token", "embeddings.mask_token", "norm.weight", "head.weight", "pooler.dense.weight"] {
            assert_eq!(place(ignored), None, "{ignored}");
        }
    }
}
