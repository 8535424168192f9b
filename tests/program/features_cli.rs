//! `mostream features` as a person runs it, against `tests/golden/vit`.

use crate::support::program::{self, PROGRAM, fails, stderr};
use image::{DynamicImage, ImageBuffer, Rgb, RgbImage, Rgba};
use ndarray::{Array2, Array3};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn golden(name: &str) -> PathBuf {
    program::golden("vit").join(name)
}

/// Runs the program in a folder of its own, so that nothing is found by being near.
fn features(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("features").args(arguments).current_dir(folder).env("MOSTREAM_CACHE", folder.join("cache"));
    command.output().unwrap()
}

fn said(output: &Output) -> Value {
    let error = stderr(output);
    assert!(output.status.success() && error.is_empty(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn picture(name: &str) -> RgbImage {
    let rgb: Array3<u8> = ndarray_npy::read_npy(golden(&format!("{name}.rgb.npy"))).unwrap();
    let (height, width, _) = rgb.dim();
    RgbImage::from_raw(width as u32, height as u32, rgb.into_raw_vec_and_offset().0).unwrap()
}

fn assert_near(path: &Path, expected: &Path) {
    let got: Array2<f32> = ndarray_npy::read_npy(path).unwrap();
    let expected: Array2<f32> = ndarray_npy::read_npy(expected).unwrap();
    assert_eq!(got.dim(), expected.dim());
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    assert!((&got - &expected).iter().all(|error| error.abs() <= 2e-3 * largest));
}

/// An uncompressed RGB TIFF whose orientation tag is `orientation`.
fn tiff(image: &RgbImage, orientation: u16) -> Vec<u8> {
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    let entries: [(u16, u16, u32, u32); 10] = [
        (256, 4, 1, image.width()),
        (257, 4, 1, image.height()),
        (258, 3, 3, 134),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 140),
        (274, 3, 1, orientation.into()),
        (277, 3, 1, 3),
        (278, 4, 1, image.height()),
        (279, 4, 1, image.as_raw().len() as u32),
    ];
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        file.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        file.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    file.extend([0; 4]);
    file.extend([8, 0, 8, 0, 8, 0]);
    assert_eq!(file.len(), 140);
    file.extend(image.as_raw());
    file
}

#[test]
fn features_of_a_picture_are_the_golden_ones_and_the_grid_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let picture = picture("p8_61x100_padded");
    picture.save(folder.path().join("in.png")).unwrap();
    for (feature, file, model) in [("k", "k", "p8.pth"), ("q", "q", "p8.safetensors"), ("v", "v", "p8.pth")] {
        let model = golden(model);
        let arguments =
            ["in.png", "-o", "out.npy", "--model", model.to_str().unwrap(), "--size", "100x61", "--feature", feature];
        let said = said(&features(folder.path(), &arguments));
        assert_near(&folder.path().join("out.npy"), &golden(&format!("p8_61x100_padded.{file}.npy")));
        assert_eq!((&said["grid"], &said["patch"]), (&json!({ "rows": 8, "cols": 13 }), &json!(8)));
        assert_eq!((&said["width"], &said["height"]), (&json!(100), &json!(61)));
        assert_eq!((&said["feature"], &said["dim"]), (&json!(feature), &json!(96)));
        assert!(said["model"].as_str().unwrap().starts_with("p8@"));
    }
    let model = golden("p8.pth");
    let arguments =
        ["in.png", "-o", "a.npy", "--model", model.to_str().unwrap(), "--size", "100x61", "--feature", "attention"];
    assert_eq!(said(&features(folder.path(), &arguments))["heads"], json!(3));
    assert_near(&folder.path().join("a.npy"), &golden("p8_61x100_padded.cls_attention.npy"));
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.npy", "cache", "in.png", "out.npy"], "nothing half written is left");
}

#[test]
fn a_picture_is_read_upright_whatever_its_depth_and_alpha() {
    let folder = tempfile::tempdir().unwrap();
    let picture = picture("p8_72x128");
    let (width, height) = picture.dimensions();
    let deep = ImageBuffer::from_fn(width, height, |x, y| Rgb(picture.get_pixel(x, y).0.map(|v| u16::from(v) * 257)));
    DynamicImage::ImageRgb16(deep).save(folder.path().join("deep.png")).unwrap();
    let alpha = ImageBuffer::from_fn(width, height, |x, y| {
        let [r, g, b] = picture.get_pixel(x, y).0;
        Rgba([r, g, b, (x + y) as u8])
    });
    DynamicImage::ImageRgba8(alpha).save(folder.path().join("alpha.png")).unwrap();
    let lying = image::imageops::rotate270(&picture);
    fs::write(folder.path().join("lying.tiff"), tiff(&lying, 6)).unwrap();
    fs::write(folder.path().join("named-wrongly.png"), tiff(&picture, 1)).unwrap();
    let model = golden("p8.pth");
    for name in ["deep.png", "alpha.png", "lying.tiff", "named-wrongly.png"] {
        let said = said(&features(folder.path(), &[name, "-o", "o.npy", "--model", model.to_str().unwrap()]));
        assert_eq!((&said["width"], &said["height"]), (&json!(128), &json!(72)), "{name}");
        assert_near(&folder.path().join("o.npy"), &golden("p8_72x128.k.npy"));
    }
}

#[test]
fn a_large_picture_is_scaled_to_the_bundled_model_and_its_aspect_kept() {
    let folder = tempfile::tempdir().unwrap();
    RgbImage::from_pixel(640, 480, Rgb([90, 120, 30])).save(folder.path().join("large.png")).unwrap();
    RgbImage::from_pixel(320, 240, Rgb([90, 120, 30])).save(folder.path().join("small.png")).unwrap();
    let large = said(&features(folder.path(), &["large.png", "-o", "large.npy", "--threads", "1"]));
    let small = said(&features(folder.path(), &["small.png", "-o", "small.npy"]));
    assert_eq!(large, small);
    assert_eq!(
        (&large["grid"], &large["width"], &large["height"]),
        (&json!({ "rows": 30, "cols": 40 }), &json!(320), &json!(240))
    );
    assert!(large["model"].as_str().unwrap().starts_with("mostream-vit-tiny-8@"));
    assert_near(&folder.path().join("large.npy"), &folder.path().join("small.npy"));
}

#[test]
fn what_cannot_be_used_is_said_in_one_line_with_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture("p8_64x64").save(at("in.png")).unwrap();
    fs::write(at("text.png"), "no picture").unwrap();
    let whole = fs::read(at("in.png")).unwrap();
    fs::write(at("cut.png"), &whole[..whole.len() / 2]).unwrap();
    // 60000 × 60000 pixels, by its header.
    let mut bomb = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bomb.extend([60_000u32.to_le_bytes(), 60_000u32.to_le_bytes()].concat());
    bomb.extend([1, 0, 24, 0].into_iter().chain([0; 24]));
    fs::write(at("bomb.bmp"), bomb).unwrap();
    let run = |arguments: &[&str]| features(folder.path(), arguments);

    for input in ["missing.png", ".", "text.png", "cut.png", "bomb.bmp"] {
        fails(&run(&[input, "-o", "o.npy"]), 3, &[input]);
    }
    fails(&run(&["in.png", "-o", "nowhere/o.npy"]), 4, &["nowhere/o.npy"]);
    fails(&run(&["in.png", "-o", "."]), 4, &["."]);
    fails(&run(&["in.png", "-o", "/dev/full"]), 4, &["/dev/full"]);
    fails(&run(&["in.png", "-o", "o.npy", "--model", "text.png"]), 5, &["text", "neither"]);
    fails(&run(&["in.png", "-o", "o.npy", "--model", "missing.pth"]), 5, &["missing.pth"]);
    fails(&run(&["in.png", "-o", "o.npy", "--size", "9000x9000"]), 2, &["9000x9000", "16384"]);
    for size in ["12", "0x10", "-1x5", "axb", "99999x1"] {
        assert_eq!(run(&["in.png", "-o", "o.npy", "--size", size]).status.code(), Some(2), "{size}");
    }
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder.path()).args(["features", "in.png", "-o", "o.npy"]);
    let output = command.env("ORT_DYLIB_PATH", "/nonexistent/libonnxruntime.so").output().unwrap();
    fails(&output, 6, &["/nonexistent/libonnxruntime.so", "make setup"]);
    assert!(!at("o.npy").exists());
}
