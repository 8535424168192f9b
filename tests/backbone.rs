//! The backbone against `tests/golden/vit` (the reference implementation's numbers), its cache, and hostile checkpoints.
//!
//! Needs the ONNX Runtime library: `make setup`, or ORT_DYLIB_PATH.

use half::{bf16, f16};
use mostream::backbone::{Backbone, BackboneError, Checkpoint, Feature, SessionOptions};
use ndarray::{Array2, Array3};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

const FEATURES: [(Feature, &str); 4] =
    [(Feature::Keys, "k"), (Feature::Queries, "q"), (Feature::Values, "v"), (Feature::ClsAttention, "cls_attention")];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vit")
}

struct Case {
    name: String,
    checkpoint: String,
    heads: usize,
    rgb: Array3<u8>,
}

fn cases() -> Vec<Case> {
    let index: Value = serde_json::from_str(&fs::read_to_string(golden().join("index.json")).unwrap()).unwrap();
    let case = |case: &Value| {
        let name = case["name"].as_str().unwrap().to_owned();
        let rgb = ndarray_npy::read_npy(golden().join(format!("{name}.rgb.npy"))).unwrap();
        let checkpoint = case["checkpoint"].as_str().unwrap().to_owned();
        Case { name, checkpoint, heads: case["heads"].as_u64().unwrap() as usize, rgb }
    };
    let cases: Vec<Case> = index.as_array().unwrap().iter().map(case).collect();
    assert!(cases.len() >= 8, "only {} cases", cases.len());
    cases
}

/// Runs `case` and gives the largest error, as a share of the largest expected value.
fn error_of(case: &Case, checkpoint: &Checkpoint, (feature, name): (Feature, &str), options: &SessionOptions) -> f32 {
    let (height, width, _) = case.rgb.dim();
    let mut backbone = Backbone::open(checkpoint, feature, width as u32, height as u32, options).unwrap();
    assert_eq!(backbone.cache_warning(), None);
    let got = backbone.features(case.rgb.as_slice().unwrap()).unwrap();
    let expected: Array2<f32> = ndarray_npy::read_npy(golden().join(format!("{}.{name}.npy", case.name))).unwrap();
    assert_eq!(got.dim(), expected.dim(), "{} {name}", case.name);
    if feature != Feature::ClsAttention {
        assert_eq!(backbone.layout().grid.patches(), got.nrows());
    }
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    (&got - &expected).iter().fold(0f32, |error, value| error.max(value.abs())) / largest
}

#[test]
fn every_feature_of_every_golden_case_agrees() {
    for case in cases() {
        for ending in ["pth", "safetensors"] {
            let path = golden().join(format!("{}.{ending}", case.checkpoint));
            let checkpoint = Checkpoint::read(&path).unwrap();
            assert_eq!(checkpoint.heads(), case.heads);
            for feature in FEATURES {
                let error = error_of(&case, &checkpoint, feature, &SessionOptions::default());
                println!("{} {ending} {}: {error:.1e}", case.name, feature.1);
                assert!(error <= 1e-4, "{} {ending} {}: error {error}", case.name, feature.1);
            }
        }
    }
}
