//! Devices, precisions and batches: what works agrees with the CPU in fp32, what does not is refused by name.
//!
//! The device tests are for the plain ONNX Runtime library of `make setup`; where ORT_DYLIB_PATH names one with more providers, only
//! those that need none of them hold.

use crate::support::clips::X264;
use crate::support::clips::make;
use crate::support::program::{PROGRAM, stderr};
use mostream::backbone::{
    Backbone, BackboneError, Checkpoint, Device, Feature, OpenVino, Precision, SessionOptions, find_library,
};
use ndarray::Array2;
use std::process::{Command, Output};

const SIZE: (u32, u32) = (96, 77);

fn options(device: Device, precision: Precision) -> SessionOptions {
    SessionOptions { device, precision, threads: Some(2), ..SessionOptions::default() }
}

fn open(options: &SessionOptions) -> Result<Backbone, BackboneError> {
    Backbone::open(&Checkpoint::bundled().unwrap(), Feature::Keys, SIZE.0, SIZE.1, options)
}

/// Blots on a slope, another picture for each number.
fn picture(number: usize) -> Vec<u8> {
    let pixel = |at: usize| {
        let (x, y) = (at / 3 % SIZE.0 as usize, at / 3 / SIZE.0 as usize);
        let is_inside = (x + 7 * number) % 41 < 13 && (y + 5 * number) % 37 < 17;
        if is_inside { 40 + 90 * (at % 3) } else { 60 + x / 2 + y + at % 3 }
    };
    (0..3 * SIZE.0 as usize * SIZE.1 as usize).map(|at| pixel(at) as u8).collect()
}

/// Of the difference, as a share of the expected values' norm.
fn difference(got: &Array2<f32>, expected: &Array2<f32>) -> f32 {
    assert_eq!(got.dim(), expected.dim());
    let norm = |values: &Array2<f32>| values.iter().map(|value| value * value).sum::<f32>().sqrt();
    norm(&(got - expected)) / norm(expected)
}

fn program(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    stderr(output)
}

#[test]
fn a_batch_gives_what_its_images_give_alone() {
    let pictures: Vec<Vec<u8>> = (0..5).map(picture).collect();
    let images: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
    let mut one = open(&SessionOptions::default()).unwrap();
    assert_eq!(one.batch(), 1);
    let alone: Vec<Array2<f32>> = images.iter().map(|image| one.features(image).unwrap()).collect();
    assert!(difference(&alone[0], &alone[1]) > 0.05, "the pictures differ");
    // Five images are two runs, of four and one.
    let mut four = open(&SessionOptions { batch: Some(4), ..SessionOptions::default() }).unwrap();
    for backbone in [&mut one, &mut four] {
        let together = backbone.features_batch(&images).unwrap();
        assert_eq!(together.len(), 5);
        for (got, expected) in together.iter().zip(&alone) {
            assert!(difference(got, expected) < 1e-5, "{}", difference(got, expected));
        }
    }
    assert_eq!(four.features_batch(&[]).unwrap().len(), 0);
    // Two wrong sizes that add up to two right ones are wrong still.
    let (short, long) = (&pictures[0][1..], [&pictures[0][..], &[0]].concat());
    assert!(matches!(four.features_batch(&[short, &long]), Err(BackboneError::Pixels { .. })));
}

#[test]
fn int8_is_near_fp32_on_the_cpu() {
    let (fp32, int8) =
        (open(&options(Device::Cpu, Precision::Fp32)).unwrap(), open(&options(Device::Cpu, Precision::Int8)).unwrap());
    assert_eq!(fp32.placement().note(), None);
    assert_eq!(int8.placement().note().as_deref(), Some("the model runs on cpu in int8"));
    for number in 0..3 {
        let image = picture(number);
        let error = difference(&int8.features(&image).unwrap(), &fp32.features(&image).unwrap());
        assert!(error > 0.0 && error < 0.04, "{error}");
    }
}

#[test]
fn what_is_kept_of_one_precision_is_not_used_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let image = picture(0);
    let features = |precision| {
        let cache = Some(folder.path().join("cache"));
        let backbone = open(&SessionOptions { cache, ..options(Device::Cpu, precision) }).unwrap();
        assert_eq!(backbone.notes().iter().find(|note| note.contains("cache")), None);
        backbone.features(&image).unwrap()
    };
    let first = [features(Precision::Fp32), features(Precision::Int8)];
    assert_ne!(first[0], first[1]);
    assert_eq!([features(Precision::Fp32), features(Precision::Int8)], first);
}

#[test]
fn a_precision_that_a_device_lacks_is_refused_with_those_that_have_it() {
    for (device, precision, others) in [
        (Device::Cpu, Precision::Fp16, "cuda:0, tensorrt:0"),
        (Device::Cpu, Precision::Bf16, "openvino:CPU, tensorrt:0"),
        (Device::Cuda(1), Precision::Int8, "cpu"),
        (Device::OpenVino(OpenVino::Cpu), Precision::Fp16, "openvino:GPU"),
    ] {
        let error = open(&options(device, precision)).unwrap_err();
        assert!(matches!(error, BackboneError::Precision(_)), "{error}");
        let error = error.to_string();
        assert!(error.starts_with(&format!("{device} does not compute in {precision}")), "{error}");
        assert!(error.contains(others), "{error}");
    }
}

#[test]
fn auto_is_the_cpu_with_the_plain_library_and_devices_it_lacks_are_named() {
    let library = find_library(None, Device::Cpu).unwrap();
    let of_plain = |options| SessionOptions { library: Some(library.clone()), ..options };
    let auto = open(&of_plain(SessionOptions::default())).unwrap();
    if std::env::var_os("ORT_DYLIB_PATH").is_some() && auto.placement().device != Device::Cpu {
        return;
    }
    assert_eq!((auto.placement().device, auto.placement().note()), (Device::Cpu, None));
    // What was measured once may be gone.
    let openvino = Device::OpenVino(OpenVino::Cpu);
    let chosen = SessionOptions { chosen: Some((openvino, Precision::Fp32)), ..SessionOptions::default() };
    let next = open(&of_plain(chosen)).unwrap();
    assert_eq!((next.placement().device, next.placement().precision), (Device::Cpu, Precision::Fp32));
    let note = next.placement().note().unwrap();
    assert!(note.contains("openvino:CPU in fp32, which was measured to be the fastest, does not work"), "{note}");
    for (device, provider, install) in [
        (Device::Cuda(0), "CUDAExecutionProvider", "onnxruntime-gpu"),
        (Device::TensorRt(0), "TensorrtExecutionProvider", "libnvinfer.so"),
        (Device::OpenVino(OpenVino::Cpu), "OpenVINOExecutionProvider", "onnxruntime-openvino"),
    ] {
        let error = open(&of_plain(options(device, Precision::Fp32))).unwrap_err();
        assert!(matches!(error, BackboneError::Device { .. }), "{error}");
        for words in [device.to_string().as_str(), provider, install, "ORT_DYLIB_PATH", "CPUExecutionProvider"] {
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    }
}

#[test]
fn the_program_names_what_is_missing_and_ends_with_the_code_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join("clip.mp4"), (64, 48), 3, false, X264);
    let clip = clip.path.to_str().unwrap();
    let run = |more: &[&str]| program(&[&["run", clip, "--size", "64x48", "--records", "-"], more].concat());

    let ran = run(&["--device", "tensorrt:7", "--precision", "fp16"]);
    assert_eq!(ran.status.code(), Some(6), "{}", told(&ran));
    assert!(
        told(&ran).contains("tensorrt:7 does not work") && told(&ran).contains("onnxruntime-gpu"),
        "{}",
        told(&ran)
    );
    let ran = run(&["--device", "cpu", "--precision", "fp16"]);
    assert_eq!(ran.status.code(), Some(2), "{}", told(&ran));
    let ran = run(&["--device", "gpu"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(told(&ran).contains("openvino[:CPU|GPU|NPU]"), "{}", told(&ran));

    let ran = run(&["--device", "cpu", "--precision", "int8"]);
    assert_eq!(ran.status.code(), Some(0), "{}", told(&ran));
    assert!(told(&ran).contains("the model runs on cpu in int8"), "{}", told(&ran));
    assert_eq!(String::from_utf8_lossy(&ran.stdout).lines().count(), 3);
}

#[test]
fn warmup_leaves_what_a_run_needs_in_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    make(folder.path().join("clip.mp4"), (64, 48), 2, false, X264);
    let entries = || std::fs::read_dir(&cache).map_or(0, Iterator::count);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        let ran = command.args(arguments).env("MOSTREAM_CACHE", &cache).current_dir(folder.path()).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{}", told(&ran));
        told(&ran)
    };
    let said = run(&["warmup", "--size", "96x80", "clip.mp4"]);
    assert!(said.contains("96x80 is ready on cpu in fp32"), "{said}");
    let warm = entries();
    assert!(warm >= 2, "a graph and an optimised model");
    run(&["run", "clip.mp4", "--size", "96x80", "--records", "-"]);
    assert_eq!(entries(), warm, "the run made nothing of its own");
    let said = run(&["warmup", "clip.mp4"]);
    assert!(said.contains("64x48 is ready"), "{said}");
    assert!(entries() > warm);
    assert_eq!(program(&["warmup"]).status.code(), Some(2), "neither an input nor a size");
}

#[test]
fn bench_compares_the_precisions_at_hand_and_lists_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join("clip.mp4"), (96, 72), 12, true, X264);
    let clip = clip.path.to_str().unwrap();
    let ran = program(&["bench", clip, "--accuracy", "--json", "--rounds", "1"]);
    assert_eq!(ran.status.code(), Some(0), "{}", told(&ran));
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(report["frames"], 3, "every fifth of twelve");
    let results = report["results"].as_array().unwrap();
    let row = |precision| results.iter().find(|row| row["device"] == "cpu" && row["precision"] == precision).unwrap();
    let fp32 = row("fp32");
    assert_eq!((&fp32["agreement"]["identical"], &fp32["agreement"]["mean_iou"]), (&1.0.into(), &1.0.into()));
    for row in [fp32, row("int8")] {
        let fps = row["fps_in_batches_of_1_4_16"].as_array().unwrap();
        assert!(fps.len() == 3 && fps.iter().all(|fps| fps.as_f64().unwrap() > 0.0), "{row}");
        assert!(row["latency_ms"].as_f64().unwrap() > 0.0 && row["peak_memory_mib"].as_f64().unwrap() > 10.0, "{row}");
    }
    let known = results.len() + report["missing"].as_array().unwrap().len();
    let all: usize = Device::ALL.iter().map(|device| device.precisions().len()).sum();
    assert_eq!(known, all);
    let ran = program(&["bench", clip, "--accuracy", "--rounds", "1", "--device", "cpu"]);
    assert_eq!(ran.status.code(), Some(2), "all of them are compared");
}
