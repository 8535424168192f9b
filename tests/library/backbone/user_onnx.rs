//! ONNX files of the user's own, against what the model in them gave in PyTorch (`tests/golden/make_onnx.py`).

use super::difference;
use mostream::backbone::{Backbone, BackboneError, Checkpoint, Feature, Hints, Precision, SessionOptions};
use ndarray::{Array2, Array3};
use std::fs;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/families").join(name)
}

fn open(model: &Checkpoint, side: u32, options: &SessionOptions) -> Result<Backbone, BackboneError> {
    Backbone::open(model, Feature::Keys, side, side, options)
}

#[test]
fn tokens_of_a_normalised_image_and_a_map_of_a_picture_are_the_same_features() {
    let rgb: Array3<u8> = ndarray_npy::read_npy(golden("dinov2_registers_56x56.rgb.npy")).unwrap();
    let rgb = rgb.as_slice().unwrap();
    let expected: Array2<f32> = ndarray_npy::read_npy(golden("user.features.npy")).unwrap();
    for file in ["user_tokens.onnx", "user_map.onnx"] {
        let model = Checkpoint::read(&golden(file)).unwrap();
        assert_eq!((model.patch(), model.fixed_size()), (14, Some((56, 56))), "{file}");
        let backbone = open(&model, 56, &SessionOptions { batch: Some(2), ..SessionOptions::default() }).unwrap();
        assert_eq!(backbone.batch(), if file == "user_tokens.onnx" { 2 } else { 1 }, "{file}");
        let mut all = backbone.features_batch(&[rgb, &vec![0; rgb.len()], rgb]).unwrap();
        assert_eq!(all.len(), 3);
        let black = all.remove(1);
        for features in &all {
            let error = difference(features, &expected);
            assert!(error <= 2e-5, "{file}: error {error}");
        }
        assert!(difference(&black, &expected) > 0.1, "{file}");
    }
}

#[test]
fn what_an_onnx_file_does_not_do_is_refused_by_name() {
    let model = Checkpoint::read(&golden("user_tokens.onnx")).unwrap();
    let refused = |opened: Result<Backbone, BackboneError>, words: &[&str]| {
        let error = opened.unwrap_err().to_string();
        words.iter().for_each(|word| assert!(error.contains(word), "{error:?} does not say {word:?}"));
    };
    refused(open(&model, 70, &SessionOptions::default()), &["user_tokens@", "56x56", "70x70"]);
    let int8 = SessionOptions { precision: Precision::Int8, ..SessionOptions::default() };
    refused(open(&model, 56, &int8), &["user_tokens@", "ONNX", "--precision int8"]);
    let attention = Backbone::open(&model, Feature::ClsAttention, 56, 56, &SessionOptions::default());
    refused(attention, &["user_tokens@", "its own features"]);
    // A patch that is told goes before what is found, and is held to what comes out.
    let told = Checkpoint::read_with(&golden("user_map.onnx"), Hints { heads: None, patch: Some(7) }).unwrap();
    refused(open(&told, 56, &SessionOptions::default()), &["features", "[1, 48, 4, 4]", "[1, 48, 8, 8]"]);
    let bytes = fs::read(golden("user_tokens.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.onnx");
    for length in [9, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&cut, &bytes[..length]).unwrap();
        let opened = Checkpoint::read(&cut).and_then(|model| open(&model, 56, &SessionOptions::default()));
        assert!(opened.is_err(), "{length}");
    }
}
