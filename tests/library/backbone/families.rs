//! Every family in every library's layout against `tests/golden/families`: what transformers and timm gave.

use super::{FEATURES, Tensor, difference, expect, features_of, saved, tensors_of};
use mostream::backbone::{Checkpoint, Dialect, Hints};
use ndarray::{Array2, Array3};
use safetensors::tensor::Dtype;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/families")
}

fn read(bytes: &[u8]) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    fs::write(&path, bytes).unwrap();
    Checkpoint::read_with(&path, Hints { heads: Some(3), patch: None }).unwrap()
}

/// The image of a case, and what is expected of it.
fn rgb(case: &str) -> Array3<u8> {
    ndarray_npy::read_npy(folder().join(format!("{case}.rgb.npy"))).unwrap()
}

fn expected(case: &str, feature: &str) -> Array2<f32> {
    ndarray_npy::read_npy(folder().join(format!("{case}.{feature}.npy"))).unwrap()
}

fn agrees(case: &str, file: &str, checkpoint: &Checkpoint) {
    for (feature, name) in FEATURES {
        for dialect in [Dialect::Fused, Dialect::Gpu, Dialect::Plain] {
            let got = features_of(checkpoint, feature, dialect, &rgb(case));
            let error = difference(&got, &expected(case, name));
            assert!(error <= 2e-5, "{case} {file} {name} {dialect:?}: error {error}");
        }
    }
}

#[test]
fn every_family_in_every_layout_agrees_with_its_library() {
    let index: Value = serde_json::from_str(&fs::read_to_string(folder().join("index.json")).unwrap()).unwrap();
    let mut files = std::collections::BTreeSet::new();
    for case in index.as_array().unwrap() {
        for file in case["checkpoints"].as_array().unwrap() {
            let file = file.as_str().unwrap();
            let heads = case["heads"].as_u64().unwrap() as usize;
            let checkpoint =
                Checkpoint::read_with(&folder().join(file), Hints { heads: Some(heads), patch: None }).unwrap();
            agrees(case["name"].as_str().unwrap(), file, &checkpoint);
            files.insert(file.to_owned());
        }
    }
    assert_eq!(files.len(), 14, "{files:?}");
}

/// The tensors of a file under other names.
fn renamed(file: &str, rename: impl Fn(&str) -> String) -> Vec<Tensor> {
    let tensors = tensors_of(&folder().join(file));
    tensors.into_iter().map(|(name, shape, values)| (rename(&name), shape, values)).collect()
}

#[test]
fn names_that_vary_within_a_library_are_the_same_model() {
    for (case, file, rename) in [
        // Meta's largest models are saved in chunks; transformers 5 names its layers anew, and puts models into larger ones.
        (
            "dinov2_42x98",
            "dinov2_meta.safetensors",
            (|name| name.replace("blocks.", "blocks.0.")) as fn(&str) -> String,
        ),
        ("dinov2_42x98", "dinov2_transformers.safetensors", |name| {
            let name =
                name.replace("attention.attention.query", "attention.q_proj").replace(".attention.key", ".k_proj");
            format!(
                "dinov2.{}",
                name.replace("attention.attention.value", "attention.v_proj").replace("output.dense", "o_proj")
            )
            .replace("attention.attention.", "attention.")
        }),
        ("dinov3_48x112", "dinov3_transformers.safetensors", |name| {
            if name.starts_with("layer.") { format!("model.{name}") } else { name.to_owned() }
        }),
    ] {
        let checkpoint = read(&saved(&renamed(file, rename), Dtype::F32, &[]));
        agrees(case, file, &checkpoint);
    }
}

#[test]
fn what_a_family_needs_is_asked_for_by_name() {
    let without = |file: &str, name: &str| {
        let mut tensors = renamed(file, str::to_owned);
        let before = tensors.len();
        tensors.retain(|(other, ..)| other != name);
        assert_eq!(tensors.len(), before - 1, "{name}");
        tensors
    };
    let saved = |tensors: &[Tensor]| saved(tensors, Dtype::F32, &[("heads", "3")]);
    let tensors = without("dinov2_meta.safetensors", "blocks.0.ls2.gamma");
    expect(&saved(&tensors), &["blocks.0.ls2.gamma", "missing"]);
    let tensors = without("dinov2_transformers.safetensors", "encoder.layer.0.attention.attention.query.weight");
    expect(&saved(&tensors), &["blocks.0.attn.qkv.weight", "missing", "q_proj"]);
    let mut tensors = without("dinov2_transformers.safetensors", "encoder.layer.0.attention.attention.query.weight");
    tensors.push(("encoder.layer.0.attention.attention.query.weight".to_owned(), vec![24, 48], vec![0.0; 24 * 48]));
    expect(&saved(&tensors), &["layer.0.attention.attention.query.weight", "[24, 48]", "expected [48, 48]"]);
    let mut tensors = without("dinov3_meta.safetensors", "rope_embed.periods");
    assert!(Checkpoint::dim(&read(&saved(&tensors))) == 48, "its periods are known");
    tensors.push(("rope_embed.periods".to_owned(), vec![7], vec![1.0; 7]));
    expect(&saved(&tensors), &["rope_embed.periods", "[7]", "expected [4]"]);

    let tensors = without("dinov3_gated_meta.safetensors", "blocks.0.mlp.w2.weight");
    expect(&saved(&tensors), &["blocks.0.mlp.fc1.weight", "missing", "up_proj"]);
    let mut tensors = without("dinov2_gated_meta.safetensors", "blocks.0.mlp.w3.weight");
    tensors.push(("blocks.0.mlp.w3.weight".to_owned(), vec![48, 60], vec![0.0; 48 * 60]));
    expect(&saved(&tensors), &["blocks.0.mlp.w12.weight", "[128, 48]", "expected [60, 48]"]);
    let mut twice = renamed("dinov2_meta.safetensors", str::to_owned);
    twice.push(("blocks.0.0.norm1.weight".to_owned(), vec![48], vec![1.0; 48]));
    expect(&saved(&twice), &["blocks.0.norm1.weight", "blocks.0.0.norm1.weight"]);
}

#[test]
fn models_of_other_families_are_refused_by_a_tensor_of_theirs() {
    let one =
        |names: &[&str]| -> Vec<Tensor> { names.iter().map(|name| (name.to_string(), vec![1], vec![0.0])).collect() };
    let refused = |tensors: &[Tensor], words: &[&str]| expect(&saved(tensors, Dtype::F32, &[]), words);
    let clip = ["text_projection", "visual.class_embedding", "visual.conv1.weight", "visual.ln_pre.weight"];
    refused(&one(&clip), &["cls_token", "no vision transformer", "text_projection"]);
    refused(&one(&["conv1.weight", "layer1.0.bn1.weight", "fc.weight"]), &["cls_token", "conv1.weight"]);
    for (extra, words) in [
        ("decoder_blocks.0.attn.qkv.weight", "masked autoencoder"),
        ("norm_pre.weight", "CLIP"),
        ("blocks.0.attn.q_norm.weight", "not part of DINO's layout"),
        ("blocks.0.attn.relative_position_bias_table", "not part of DINO's layout"),
        ("blocks.4000000000.norm1.weight", "not part of DINO's layout"),
    ] {
        let mut tensors = renamed("dinov2_meta.safetensors", str::to_owned);
        tensors.extend(one(&[extra]));
        refused(&tensors, &[extra, words]);
    }
}
