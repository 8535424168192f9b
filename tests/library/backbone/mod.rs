//! The backbone against `tests/golden/vit` (the reference implementation's numbers), its cache, and hostile checkpoints.
//!
//! Families of models are in `families.rs`. Needs the ONNX Runtime library: `make setup`, or ORT_DYLIB_PATH.

mod families;
mod user_onnx;

use half::{bf16, f16};
use mostream::backbone::{
    Backbone, BackboneError, Checkpoint, Device, Dialect, Feature, Model, SessionOptions, find_library, runtime_info,
};
use ndarray::{Array2, Array3};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_oneof, proptest};
use proptest::sample::{Index, select};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::io::{Cursor, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
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

/// The largest difference, as a share of the largest expected value.
fn difference(got: &Array2<f32>, expected: &Array2<f32>) -> f32 {
    assert_eq!(got.dim(), expected.dim());
    let largest = |values: &Array2<f32>| values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    assert!(got.iter().all(|value| value.is_finite()));
    largest(&(got - expected)) / largest(expected)
}

fn expected(case: &Case, name: &str) -> Array2<f32> {
    ndarray_npy::read_npy(golden().join(format!("{}.{name}.npy", case.name))).unwrap()
}

fn open(case: &Case, checkpoint: &Checkpoint, feature: Feature, dialect: Dialect, cache: Option<&Path>) -> Backbone {
    let (height, width, _) = case.rgb.dim();
    let cache = cache.map(Path::to_owned);
    let options = SessionOptions { threads: Some(2), cache, ..SessionOptions::default() };
    Backbone::open_in(dialect, checkpoint, feature, width as u32, height as u32, &options)
        .unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

fn features_of(checkpoint: &Checkpoint, feature: Feature, dialect: Dialect, rgb: &Array3<u8>) -> Array2<f32> {
    let (height, width, _) = rgb.dim();
    let options = SessionOptions { threads: Some(2), ..SessionOptions::default() };
    let backbone = Backbone::open_in(dialect, checkpoint, feature, width as u32, height as u32, &options);
    backbone.unwrap().features(rgb.as_slice().unwrap()).unwrap()
}

fn run(case: &Case, backbone: &mut Backbone) -> Array2<f32> {
    backbone.features(case.rgb.as_slice().unwrap()).unwrap()
}

#[test]
fn every_feature_of_every_golden_case_agrees() {
    for case in cases() {
        for ending in ["pth", "safetensors"] {
            let checkpoint = Checkpoint::read(&golden().join(format!("{}.{ending}", case.checkpoint))).unwrap();
            assert_eq!(checkpoint.heads(), case.heads);
            for (feature, name) in FEATURES {
                for dialect in [Dialect::Fused, Dialect::Gpu, Dialect::Plain] {
                    let mut backbone = open(&case, &checkpoint, feature, dialect, None);
                    let error = difference(&run(&case, &mut backbone), &expected(&case, name));
                    assert!(error <= 2e-5, "{} {ending} {name} {dialect:?}: error {error}", case.name);
                    let layout = backbone.layout();
                    assert_eq!((layout.image_height, layout.image_width), {
                        let (height, width, _) = case.rgb.dim();
                        (height as u32, width as u32)
                    });
                    assert_eq!(layout.grid.patches(), expected(&case, "k").nrows());
                }
            }
        }
    }
}

/// Name, shape, numbers.
type Tensor = (String, Vec<usize>, Vec<f32>);

/// The golden checkpoint's tensors.
fn tensors(name: &str) -> Vec<Tensor> {
    tensors_of(&golden().join(name))
}

/// The tensors of a `.safetensors` file.
fn tensors_of(path: &Path) -> Vec<Tensor> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (String, TensorView)| {
        let values = match view.dtype() {
            Dtype::F16 => view.data().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            _ => view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        };
        (name, view.shape().to_vec(), values)
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// A `.safetensors` file of these tensors.
fn saved(tensors: &[Tensor], dtype: Dtype, metadata: &[(&str, &str)]) -> Vec<u8> {
    let bytes = |value: &f32| match dtype {
        Dtype::F16 => f16::from_f32(*value).to_le_bytes().to_vec(),
        Dtype::BF16 => bf16::from_f32(*value).to_le_bytes().to_vec(),
        Dtype::F64 => f64::from(*value).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    };
    let data: Vec<Vec<u8>> = tensors.iter().map(|(_, _, values)| values.iter().flat_map(bytes).collect()).collect();
    let view =
        |((name, shape, _), data): (&Tensor, _)| (name.clone(), TensorView::new(dtype, shape.clone(), data).unwrap());
    let metadata = metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    safetensors::serialize(tensors.iter().zip(data.iter().map(Vec::as_slice)).map(view), Some(metadata)).unwrap()
}

fn read(bytes: &[u8]) -> Result<Checkpoint, BackboneError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    fs::write(&path, bytes).unwrap();
    Checkpoint::read(&path)
}

#[test]
fn half_precision_checkpoints_give_the_features_of_their_rounded_weights() {
    let case = &cases()[3];
    for dtype in [Dtype::F16, Dtype::BF16] {
        let rounded = |value: f32| match dtype {
            Dtype::F16 => f16::from_f32(value).to_f32(),
            _ => bf16::from_f32(value).to_f32(),
        };
        let mut tensors = tensors(&format!("{}.safetensors", case.checkpoint));
        let half = read(&saved(&tensors, dtype, &[])).unwrap();
        tensors.iter_mut().for_each(|(_, _, values)| values.iter_mut().for_each(|value| *value = rounded(*value)));
        let whole = read(&saved(&tensors, Dtype::F32, &[])).unwrap();
        let features = |checkpoint| run(case, &mut open(case, checkpoint, Feature::Keys, Dialect::Fused, None));
        assert_eq!(features(&half), features(&whole), "{dtype:?}");
        let error = difference(&features(&half), &expected(case, "k"));
        assert!(error < if dtype == Dtype::F16 { 2e-3 } else { 2e-2 }, "{dtype:?}: error {error}");
    }
}

#[test]
fn weights_wrapped_as_in_full_checkpoints_are_found_and_the_teacher_preferred() {
    let case = &cases()[3];
    let plain = tensors(&format!("{}.safetensors", case.checkpoint));
    let mut wrapped = Vec::new();
    for (name, shape, values) in &plain {
        wrapped.push((format!("teacher.backbone.{name}"), shape.clone(), values.clone()));
        wrapped.push((format!("student.module.backbone.{name}"), shape.clone(), vec![0.0; values.len()]));
    }
    wrapped.push(("teacher.head.mlp.0.weight".to_owned(), vec![2], vec![0.0; 2]));
    let checkpoint = read(&saved(&wrapped, Dtype::F32, &[])).unwrap();
    let mut backbone = open(case, &checkpoint, Feature::Keys, Dialect::Fused, None);
    assert!(difference(&run(case, &mut backbone), &expected(case, "k")) < 2e-5);
}

#[test]
fn the_bundled_model_is_whole_and_refuses_other_sizes_of_image() {
    let checkpoint = Checkpoint::bundled().unwrap();
    assert_eq!((checkpoint.patch(), checkpoint.heads(), checkpoint.dim()), (8, 3, 192));
    let (name, hash) = checkpoint.id().split_once('@').unwrap();
    assert_eq!((name, hash.len()), ("mostream-vit-tiny-8", 12));
    let options = SessionOptions::default();
    let backbone = Backbone::open(&checkpoint, Feature::Keys, 60, 41, &options).unwrap();
    assert_eq!((backbone.layout().grid.rows, backbone.layout().grid.cols), (6, 8));
    assert_eq!(backbone.features(&[7; 60 * 41 * 3]).unwrap().dim(), (48, 192));
    assert!(matches!(backbone.features(&[7; 10]), Err(BackboneError::Pixels { got: 10, .. })));
    for (width, height) in [(0, 40), (40, 0), (u32::MAX, u32::MAX), (8192, 8192)] {
        let opened = Backbone::open(&checkpoint, Feature::Keys, width, height, &options);
        assert!(matches!(opened, Err(BackboneError::Size(_))), "{width}x{height}");
    }
}

#[test]
fn the_middles_keys_come_beside_the_last_ones_or_alone() {
    let checkpoint = Checkpoint::bundled().unwrap();
    assert_eq!(checkpoint.middle_block(), 3);
    let rgb: Vec<u8> = (0..3 * 60 * 41).map(|at| (at * 37 % 251) as u8).collect();
    let options = SessionOptions { threads: Some(1), ..SessionOptions::default() };
    let open = |feature| Backbone::open(&checkpoint, feature, 60, 41, &options).unwrap();
    let both = Backbone::open_with_middle(&checkpoint, Feature::Keys, 60, 41, &options).unwrap();
    let mut memory = both.memory().unwrap();
    memory.pixels(1).unwrap().copy_from_slice(&rgb);
    both.run(&mut memory, 1).unwrap();
    assert_eq!(memory.values(0), open(Feature::Keys).features(&rgb).unwrap(), "the last keys stay as they are");
    let (middle, alone) = (memory.middle(0).unwrap(), open(Feature::MiddleKeys).features(&rgb).unwrap());
    assert!(difference(&middle.into_owned(), &alone) < 2e-5);
    assert!(difference(&alone, &memory.values(0).into_owned()) > 0.1);
    assert!(open(Feature::Keys).memory().unwrap().middle(0).is_none());
    let half = open(Feature::MiddleKeys);
    let mut memory = half.memory().unwrap();
    memory.pixels(1).unwrap().copy_from_slice(&rgb);
    half.run(&mut memory, 1).unwrap();
    assert_eq!(memory.middle(0).unwrap(), alone, "whoever asks for the middle's keys gets them of half a model, too");
    let refused = Backbone::open_with_middle(&checkpoint, Feature::MiddleKeys, 60, 41, &options);
    assert!(matches!(refused, Err(BackboneError::Checkpoint { .. })));
}

/// The files of a cache, but for those half written.
fn cached(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn what_the_cache_keeps_is_used_when_whole_and_made_again_when_not() {
    let case = &cases()[3];
    let checkpoint = Checkpoint::read(&golden().join(format!("{}.safetensors", case.checkpoint))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("a/cache");
    let check = |what: &str| {
        let mut backbone = open(case, &checkpoint, Feature::Keys, Dialect::Fused, Some(&cache));
        assert!(backbone.notes().is_empty(), "{what}: {:?}", backbone.notes());
        assert!(difference(&run(case, &mut backbone), &expected(case, "k")) < 2e-5, "{what}");
    };
    check("empty");
    let files = cached(&cache);
    assert_eq!(files.len(), 2, "a graph and a model: {files:?}");
    let whole: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let inodes = || -> Vec<u64> { files.iter().map(|file| fs::symlink_metadata(file).unwrap().ino()).collect() };
    let before = inodes();
    check("whole");
    assert_eq!(inodes(), before, "nothing was written again");

    let outside = folder.path().join("outside");
    fs::write(&outside, &whole[0]).unwrap();
    let is_root = fs::metadata(folder.path()).unwrap().uid() == 0;
    for (what, spoil) in [
        (
            "a flipped bit",
            (|file: &Path, bytes: &[u8], _: &Path| {
                let mut bytes = bytes.to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(file, bytes).unwrap();
            }) as fn(&Path, &[u8], &Path),
        ),
        ("an empty file", |file, _, _| fs::write(file, "").unwrap()),
        ("a cut file", |file, bytes, _| fs::write(file, &bytes[..bytes.len() / 3]).unwrap()),
        ("one others may write", |file, _, _| fs::set_permissions(file, Permissions::from_mode(0o666)).unwrap()),
        ("a link", |file, _, outside| {
            fs::remove_file(file).unwrap();
            symlink(outside, file).unwrap();
        }),
        ("another user's", |file, _, _| chown(file, Some(12_345), None).unwrap()),
    ] {
        if what == "another user's" && !is_root {
            continue;
        }
        files.iter().zip(&whole).for_each(|(file, bytes)| spoil(file, bytes, &outside));
        let spoilt = inodes();
        check(what);
        assert_eq!(cached(&cache), files, "{what}");
        for (file, (now, then)) in files.iter().zip(inodes().into_iter().zip(spoilt)) {
            let metadata = fs::symlink_metadata(file).unwrap();
            assert!(metadata.is_file() && metadata.mode() & 0o022 == 0 && now != then, "{what}: not made again");
        }
    }

    // The content of one entry under the name of the other.
    fs::copy(&files[0], folder.path().join("swap")).unwrap();
    fs::copy(&files[1], &files[0]).unwrap();
    fs::rename(folder.path().join("swap"), &files[1]).unwrap();
    check("swapped");
}

#[test]
fn a_cache_that_cannot_be_used_is_a_warning() {
    let case = &cases()[3];
    let checkpoint = Checkpoint::read(&golden().join(format!("{}.safetensors", case.checkpoint))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let open_to_all = folder.path().join("open");
    fs::create_dir(&open_to_all).unwrap();
    fs::set_permissions(&open_to_all, Permissions::from_mode(0o777)).unwrap();
    // Not even root can make a file in the last one.
    for cache in [file.join("below"), file, open_to_all.clone(), "/proc/self/task".into()] {
        let mut backbone = open(case, &checkpoint, Feature::Keys, Dialect::Fused, Some(&cache));
        let warning = backbone.notes().join("\n");
        assert!(warning.contains(cache.to_str().unwrap()), "{warning}");
        assert!(difference(&run(case, &mut backbone), &expected(case, "k")) < 2e-5);
    }
    assert_eq!(cached(&open_to_all), Vec::<PathBuf>::new());
}

/// What is said of a checkpoint that cannot be used.
fn reason(bytes: &[u8]) -> String {
    match read(bytes) {
        Err(error @ BackboneError::Checkpoint { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn expect(bytes: &[u8], words: &[&str]) {
    let reason = reason(bytes);
    words.iter().for_each(|word| assert!(reason.contains(word), "{reason:?} does not say {word:?}"));
}

#[test]
fn broken_safetensors_are_named_and_do_no_harm() {
    let good = fs::read(golden().join("p8.safetensors")).unwrap();
    for length in [0, 1, 7, 8, 9, 100, good.len() / 2, good.len() - 1] {
        expect(&good[..length], &["neither a .safetensors nor a .pth file"]);
    }
    expect(b"not a model at all, but a text", &["neither"]);
    for header in [u64::MAX, 1 << 63] {
        expect(&[&header.to_le_bytes(), b"{}".as_slice()].concat(), &["neither"]);
    }
    expect(&[&99_000_000u64.to_le_bytes(), b"{".as_slice()].concat(), &["neither"]);

    let tensors = tensors("p8.safetensors");
    let place = |name: &str| tensors.iter().position(|(other, _, _)| other == name).unwrap();
    let mut missing = tensors.clone();
    missing.remove(place("blocks.1.mlp.fc1.bias"));
    expect(&saved(&missing, Dtype::F32, &[]), &["blocks.1.mlp.fc1.bias", "missing"]);
    missing.retain(|(name, _, _)| !name.ends_with("cls_token"));
    expect(&saved(&missing, Dtype::F32, &[]), &["cls_token", "missing"]);

    let mut shaped = tensors.clone();
    shaped[place("blocks.2.attn.qkv.weight")].1 = vec![96, 288];
    expect(&saved(&shaped, Dtype::F32, &[]), &["blocks.2.attn.qkv.weight", "[96, 288]", "expected [288, 96]"]);
    let mut unsquare = tensors.clone();
    let position = place("pos_embed");
    unsquare[position].1[1] -= 1;
    unsquare[position].2.truncate(64 * 96);
    expect(&saved(&unsquare, Dtype::F32, &[]), &["pos_embed", "[1, 64, 96]"]);

    for value in [f32::NAN, f32::INFINITY] {
        let mut odd = tensors.clone();
        odd[place("blocks.0.norm2.weight")].2[5] = value;
        expect(&saved(&odd, Dtype::F32, &[]), &["blocks.0.norm2.weight", "finite"]);
    }
    let mut other = tensors.clone();
    other.push(("blocks.0.ls1.gamma".to_owned(), vec![96], vec![1.0; 96]));
    expect(&saved(&other, Dtype::F32, &[]), &["blocks.0.ls2.gamma", "missing"]);
    expect(&saved(&tensors, Dtype::F64, &[]), &["no f32, f16 or bf16"]);

    expect(&saved(&tensors, Dtype::F32, &[("heads", "5")]), &["5 heads"]);
    expect(&saved(&tensors, Dtype::F32, &[("heads", "0")]), &["0 heads"]);
    expect(&saved(&tensors, Dtype::F32, &[("heads", "many")]), &["heads", "many"]);
    expect(&saved(&tensors, Dtype::F32, &[("std", "0,0,0")]), &["0,0,0"]);
    expect(&saved(&tensors, Dtype::F32, &[("mean", "0.5")]), &["0.5", "three numbers"]);
    assert_eq!(read(&saved(&tensors, Dtype::F32, &[("heads", "6")])).unwrap().heads(), 6);
}

/// A `.pth` file with this pickle and one storage of 16 bytes, which is called "0".
fn pth(pickle: &[u8]) -> Vec<u8> {
    let mut file = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    file.start_file("model/data.pkl", options).unwrap();
    file.write_all(pickle).unwrap();
    file.start_file("model/data/0", options).unwrap();
    file.write_all(&[0; 16]).unwrap();
    file.finish().unwrap().into_inner()
}

#[test]
fn broken_pth_files_are_named_and_run_nothing() {
    let good = fs::read(golden().join("p8.pth")).unwrap();
    for length in [2, 30, 1000, good.len() / 2, good.len() - 1] {
        assert!(!reason(&good[..length]).is_empty());
    }
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("witness");
    let command = format!("touch {}", witness.display());
    let mut run = b"\x80\x02cos\nsystem\nX".to_vec();
    run.extend((command.len() as u32).to_le_bytes());
    run.extend(command.as_bytes());
    run.extend(b"\x85R.");
    expect(&pth(&run), &["os.system", "no state dict needs"]);
    assert!(!witness.exists());
    expect(&pth(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93."), &["builtins.eval"]);

    expect(&pth(b""), &["data.pkl"]);
    expect(&pth(b"."), &["broken"]);
    expect(&pth(b"}"), &["ends early"]);
    expect(&pth(b"K"), &["ends early"]);
    expect(&pth(b"h\x07."), &["never kept"]);
    expect(&pth(b"t."), &["broken"]);
    expect(&pth(b"(0."), &["0x30"]);
    expect(&pth(b"N."), &["no state dict"]);
    expect(&pth(b"}."), &["cls_token", "missing"]);
    expect(&pth(&[b'N'; 3 << 20]), &["more than"]);
    // A dict that holds itself under the name of a wrapper, without end.
    expect(&pth(b"}q\x00X\x05\x00\x00\x00modelh\x00s."), &["cls_token"]);
    // A text that claims 4 GiB.
    expect(&pth(b"X\xff\xff\xff\xff."), &["ends early"]);

    // `{"cls_token": tensor(storage "0", offset, size, strides)}`
    let tensor = |key: &[u8], offset: u8, size: &[u8], strides: &[u8]| {
        let mut code = b"}X\x09\x00\x00\x00cls_tokenctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n".to_vec();
        code.extend(b"X\x01\x00\x00\x00");
        code.extend(key);
        code.extend(b"X\x03\x00\x00\x00cpuK\x04tQK");
        code.push(offset);
        code.extend([size, strides].concat());
        code.extend(b"\x89}tRs.");
        code
    };
    let (four, one) = (b"K\x04\x85".as_slice(), b"K\x01\x85".as_slice());
    expect(&pth(&tensor(b"0", 0, four, one)), &["blocks.0.norm1.weight", "missing"]);
    expect(&pth(&tensor(b"0", 1, four, one)), &["cls_token", "ends past its storage"]);
    expect(&pth(&tensor(b"1", 0, four, one)), &["storage 1", "missing"]);
    expect(&pth(&tensor(b"0", 0, four, b"K\x02\x85")), &["strides"]);
    expect(&pth(&tensor(b"0", 0, b"J\xff\xff\xff\xff\x85", one)), &["size -1"]);
    let huge = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85";
    expect(&pth(&tensor(b"0", 0, huge, one)), &["past its storage"]);
}

/// The pickle of the golden `.pth` file.
fn golden_pickle() -> Vec<u8> {
    let file = fs::File::open(golden().join("p8.pth")).unwrap();
    let mut pickle = Vec::new();
    zip::ZipArchive::new(file).unwrap().by_name("p8/data.pkl").unwrap().read_to_end(&mut pickle).unwrap();
    pickle
}

proptest! {
    #[test]
    fn no_pickle_brings_the_reader_down(
        edits in vec((any::<Index>(), any::<u8>()), 1..6),
        cut in any::<Index>(),
        noise in vec(prop_oneof![any::<u8>(), select(b"(.Nc)tsuehjQRq}]KX\x85\x86\x87\x88\x93\x94".to_vec())], 0..64),
    ) {
        let mut pickle = golden_pickle();
        edits.iter().for_each(|(place, byte)| *place.get_mut(&mut pickle) = *byte);
        prop_assert!(!reason(&pth(&pickle)).is_empty());
        pickle.truncate(cut.index(pickle.len()));
        pickle.extend(&noise);
        prop_assert!(!reason(&pth(&pickle)).is_empty());
        prop_assert!(!reason(&pth(&noise)).is_empty());
    }
}

#[test]
fn a_path_that_is_no_file_is_a_read_error() {
    for path in ["/nonexistent/model.pth", "/tmp", "/dev/zero"] {
        let error = Checkpoint::read(Path::new(path)).unwrap_err();
        assert!(matches!(error, BackboneError::Read { .. }) && error.to_string().contains(path), "{error}");
    }
}

#[test]
fn a_library_that_is_missing_is_an_error_that_says_what_to_do() {
    let error = find_library(Some(Path::new("/nonexistent/libonnxruntime.so")), Device::Auto).unwrap_err();
    assert!(matches!(error, BackboneError::LibraryMissing(_)));
    for words in ["/nonexistent/libonnxruntime.so", "make setup", "ORT_DYLIB_PATH"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    let info = runtime_info(&find_library(None, Device::Auto).unwrap()).unwrap();
    assert!(
        info.version.starts_with("1.") && info.providers.iter().any(|name| name == "CPUExecutionProvider"),
        "{info:?}"
    );
}
