//! `mostream model` but for the download: import, info, export, list, remove, and `--model` by name.
//!
//! `.venv` has Python's onnxruntime, which runs what is exported: `make setup`.

use crate::support::program::{self, PROGRAM, stderr};
use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden(name: &str) -> PathBuf {
    root().join("tests/golden/vit").join(name)
}

/// A folder with an empty store, the picture `in.png`, and no cache.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pixels = (0..150 * 230 * 3).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        image::RgbImage::from_raw(230, 150, pixels).unwrap().save(folder.path().join("in.png")).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.0.path()).env("MOSTREAM_MODELS", self.path("store"));
        command.env("MOSTREAM_CACHE", "").output().unwrap()
    }

    /// What it prints, where it must work and say nothing else.
    #[track_caller]
    fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = stderr(&output);
        assert!(output.status.success() && error.is_empty(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.prints(arguments)).unwrap()
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, words: &[&str]) {
        program::fails(&self.run(arguments), code, words);
    }

    /// The bytes of the features file.
    #[track_caller]
    fn features(&self, arguments: &[&str]) -> Vec<u8> {
        self.prints(&[&["features", "in.png", "-o", "o.npy"], arguments].concat());
        fs::read(self.path("o.npy")).unwrap()
    }

    fn listed(&self, name: &str) -> Value {
        let list = self.json(&["model", "list", "--json"]);
        list.as_array().unwrap().iter().find(|model| model["name"] == name).unwrap().clone()
    }
}

fn sha256(path: &Path) -> String {
    String::from_utf8(Command::new("sha256sum").arg(path).output().unwrap().stdout).unwrap()[..64].to_owned()
}

/// The golden checkpoint in half precision, wrapped as in a full training checkpoint, with what others keep beside it.
fn full_checkpoint() -> Vec<u8> {
    let bytes = fs::read(golden("p16.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let half = |bytes: &[u8]| f16::from_f32(f32::from_le_bytes(bytes.try_into().unwrap())).to_le_bytes();
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, view) in file.tensors() {
        let data: Vec<u8> = view.data().chunks_exact(4).flat_map(half).collect();
        let zeros = vec![0; data.len()];
        tensors.push((format!("teacher.module.backbone.{name}"), Dtype::F16, view.shape().to_vec(), data));
        tensors.push((format!("student.module.backbone.{name}"), Dtype::F16, view.shape().to_vec(), zeros));
    }
    tensors.push(("teacher.module.head.last.weight".to_owned(), Dtype::F32, vec![2], vec![0; 8]));
    tensors.push(("teacher.module.backbone.head.weight".to_owned(), Dtype::F32, vec![2], vec![0; 8]));
    tensors.push(("teacher.module.backbone.steps".to_owned(), Dtype::I64, vec![1], vec![0; 8]));
    let view = |(name, dtype, shape, data): &'_ (String, Dtype, Vec<usize>, Vec<u8>)| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), Box::leak(data.clone().into_boxed_slice())).unwrap())
    };
    let words =
        HashMap::from([("mean".to_owned(), "0.1,0.2,0.3".to_owned()), ("license".to_owned(), "CC0-1.0".to_owned())]);
    safetensors::serialize(tensors.iter().map(view), Some(words)).unwrap()
}

#[test]
fn what_is_imported_gives_bit_identical_features() {
    let place = Place::new();
    fs::write(place.path("full.pth"), full_checkpoint()).unwrap();
    fs::copy(golden("p16.pth"), place.path("plain.pth")).unwrap();
    for (file, name) in [("full.pth", "full"), ("plain.pth", "plain")] {
        assert!(place.prints(&["model", "import", file]).contains(&format!("--model {name}")));
        for feature in ["k", "attention"] {
            let by_name = place.features(&["--model", name, "--feature", feature]);
            assert_eq!(by_name, place.features(&["--model", file, "--feature", feature]), "{name} {feature}");
        }
    }
    assert_ne!(place.features(&["--model", "full"]), place.features(&["--model", "plain"]));

    // Only the model's own tensors are kept, as they are.
    let bytes = fs::read(place.path("store/full.safetensors")).unwrap();
    let imported = SafeTensors::deserialize(&bytes).unwrap();
    let original = fs::read(golden("p16.safetensors")).unwrap();
    let original = SafeTensors::deserialize(&original).unwrap();
    let names = |file: &SafeTensors| {
        let mut names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(names(&imported), names(&original));
    assert!(imported.tensors().iter().all(|(_, view)| view.dtype() == Dtype::F16));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let said = header.metadata().clone().unwrap();
    assert_eq!(
        (said["heads"].as_str(), said["mean"].as_str(), said["source"].as_str()),
        ("3", "0.1,0.2,0.3", "full.pth")
    );
    assert_eq!(said["source_sha256"], sha256(&place.path("full.pth")));

    // The same file gives the same bytes, and what is imported again gives them too.
    place.prints(&["model", "import", "full.pth", "--name", "twin"]);
    assert_eq!(fs::read(place.path("store/twin.safetensors")).unwrap(), bytes);
    place.fails(&["model", "import", "full.pth"], 4, &["full", "remove", "--name"]);
    assert_eq!(fs::read_dir(place.path("store")).unwrap().count(), 3);
}

#[test]
fn models_are_found_by_name_and_names_stay_in_the_store() {
    let place = Place::new();
    place.fails(&["features", "in.png", "-o", "o.npy", "--model", "tiny"], 5, &["tiny", "mostream-vit-tiny-8", "list"]);
    place.fails(
        &["features", "in.png", "-o", "o.npy", "--model", "dino-vits16"],
        5,
        &["mostream model pull dino-vits16"],
    );
    place.fails(&["features", "in.png", "-o", "o.npy", "--model", "nothing.pth"], 5, &["nothing.pth", "No such file"]);
    assert_eq!(place.features(&["--model", "mostream-vit-tiny-8"]), place.features(&[]));

    fs::copy(golden("p16.pth"), place.path("my model.pth")).unwrap();
    place.fails(&["model", "import", "my model.pth"], 2, &["my model", "--name"]);
    let long = "a".repeat(65);
    for name in ["../out", "a/b", "..", ".hidden", "", &long] {
        place.fails(&["model", "import", "my model.pth", "--name", name], 2, &["is no name for a model"]);
        place.fails(&["model", "remove", name], 2, &["is no name for a model"]);
    }
    place.fails(&["model", "import", "my model.pth", "--name", "mostream-vit-tiny-8"], 4, &["comes with the program"]);
    place.fails(&["model", "remove", "mostream-vit-tiny-8"], 4, &["comes with the program"]);
    place.fails(&["model", "remove", "tiny"], 5, &["tiny", "mostream-vit-tiny-8"]);
    assert!(!place.path("store").exists());

    // A file here goes before a model of its name; a name may hold a dot.
    place.prints(&["model", "import", "my model.pth", "--name", "my.model"]);
    let by_name = place.json(&["model", "info", "my.model", "--json"]);
    assert_eq!(by_name["metadata"]["source"], "my model.pth");
    fs::copy(golden("p8.pth"), place.path("my.model")).unwrap();
    assert_eq!(place.json(&["model", "info", "my.model", "--json"])["patch"], 8);
    place.prints(&["model", "remove", "my.model"]);
    assert_eq!(fs::read_dir(place.path("store")).unwrap().count(), 0);
}

#[test]
fn what_is_chosen_is_used_where_no_model_is_named() {
    let place = Place::new();
    let bundled = place.features(&[]);
    assert!(place.prints(&["model", "default"]).starts_with("mostream-vit-tiny-8 "));
    place.fails(&["model", "default", "tiny"], 5, &["tiny", "mostream-vit-tiny-8"]);
    fs::copy(golden("p16.pth"), place.path("tiny.pth")).unwrap();
    place.prints(&["model", "import", "tiny.pth"]);
    assert!(place.prints(&["model", "default", "tiny"]).starts_with("tiny "));
    assert!(place.prints(&["model", "default"]).starts_with("tiny "));
    let tiny = place.features(&[]);
    assert_eq!(tiny, place.features(&["--model", "tiny.pth"]));
    assert_ne!(tiny, bundled);
    assert_eq!(place.features(&["--model", "mostream-vit-tiny-8"]), bundled);
    let defaults = |list: &Value| -> Vec<Value> {
        list.as_array()
            .unwrap()
            .iter()
            .filter(|model| model["is_default"] == true)
            .map(|model| model["name"].clone())
            .collect()
    };
    assert_eq!(defaults(&place.json(&["model", "list", "--json"])), ["tiny"]);
    // `run` as well.
    let record = place.prints(&["run", "in.png", "--records", "-", "--quiet", "--size", "64x48"]);
    let record: Value = serde_json::from_str(record.lines().next().unwrap()).unwrap();
    assert!(record["model"].as_str().unwrap().starts_with("tiny@"), "{record}");

    // A default that is removed is none any more; one that was lost is told.
    fs::remove_file(place.path("store/tiny.safetensors")).unwrap();
    place.fails(&["features", "in.png", "-o", "o.npy"], 5, &["tiny", "mostream model default NAME"]);
    place.prints(&["model", "default", "mostream-vit-tiny-8"]);
    assert_eq!(place.features(&[]), bundled);
    place.prints(&["model", "import", "tiny.pth"]);
    place.prints(&["model", "default", "tiny"]);
    place.prints(&["model", "remove", "tiny"]);
    assert_eq!(place.features(&[]), bundled);
    for (wrong, words) in [(&b"../tiny\n"[..], "../tiny"), (&[0xff; 9], "UTF-8"), (&[b'a'; 2000], "2000 bytes")] {
        fs::write(place.path("store/default"), wrong).unwrap();
        place.fails(
            &["features", "in.png", "-o", "o.npy"],
            if words == "../tiny" { 2 } else { 4 },
            &["store/default", words],
        );
    }
}

#[test]
fn the_recommended_model_is_told_once_and_known_by_that_name() {
    let place = Place::new();
    let doctor = String::from_utf8(place.run(&["doctor"]).stdout).unwrap();
    let line = doctor.lines().find(|line| line.contains("recommended")).unwrap();
    assert!(line.contains("mostream model pull recommended") && line.contains("dino-vits16"), "{line}");
    // A terminal is told, and nobody else.
    let run = format!("{PROGRAM} run in.png --records r.jsonl --size 64x48");
    let at_terminal = || {
        let mut script = Command::new("script");
        script.args(["-qec", &run, "/dev/null"]).current_dir(place.0.path()).env("MOSTREAM_CACHE", "");
        let ran =
            script.env("MOSTREAM_MODELS", place.path("store")).stdin(std::process::Stdio::null()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8_lossy(&ran.stdout).matches("model pull recommended").count()
    };
    assert!(!stderr(&place.run(&["run", "in.png", "--records", "r.jsonl", "--size", "64x48"])).contains("recommended"));
    assert_eq!([at_terminal(), at_terminal()], [1, 0]);

    place.fails(
        &["features", "in.png", "-o", "o.npy", "--model", "recommended"],
        5,
        &["mostream model pull dino-vits16"],
    );
    place.fails(&["model", "default", "recommended"], 5, &["mostream model pull dino-vits16"]);
    fs::copy(golden("p16.pth"), place.path("tiny.pth")).unwrap();
    place.fails(&["model", "import", "tiny.pth", "--name", "recommended"], 2, &["dino-vits16"]);
    place.fails(&["model", "pull", "recommended", "--from", "tiny.pth"], 5, &["tiny.pth", "384"]);
    assert!(
        place
            .prints(&["model", "list"])
            .lines()
            .any(|line| line.starts_with("dino-vits16 ") && line.contains("recommended"))
    );
    // Who has another model needs no advice.
    place.prints(&["model", "import", "tiny.pth"]);
    assert!(!String::from_utf8(place.run(&["doctor"]).stdout).unwrap().contains("recommended"));
}

#[test]
fn the_list_says_what_is_there_and_what_can_be_had() {
    let place = Place::new();
    fs::write(place.path("full.pth"), full_checkpoint()).unwrap();
    place.prints(&["model", "import", "full.pth"]);
    fs::write(place.path("store/broken.safetensors"), [0xff; 100]).unwrap();

    let full = place.listed("full");
    assert_eq!((&full["state"], &full["patch"], &full["width"]), (&json!("installed"), &json!(16), &json!(96)));
    assert_eq!((&full["license"], &full["hash"]), (&json!("CC0-1.0"), &json!("pinned")));
    assert_eq!(full["bytes"], fs::metadata(place.path("store/full.safetensors")).unwrap().len());
    assert_eq!(place.listed("broken")["state"], "broken");
    let bundled = place.listed("mostream-vit-tiny-8");
    assert_eq!(
        (&bundled["state"], &bundled["sha256"]),
        (&json!("bundled"), &json!(sha256(&root().join("models/mostream-vit-tiny-8.safetensors"))))
    );
    assert_eq!(
        (&place.listed("dino-vits16")["state"], &place.listed("dino-vits16")["hash"]),
        (&json!("known"), &json!("not verified"))
    );
    assert_eq!(place.listed("dinov2-vitb14")["hash"], "published");

    let text = place.prints(&["model", "list"]);
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("mostream-vit-tiny-8 ").ends_with("bundled, default"));
    assert!(line("dino-vits8 ").ends_with("known, hash not verified") && line("dinov2-vits14 ").ends_with("known"));
    assert!(line("full ").contains("0.4 M") && line("broken ").ends_with("broken"));

    // The list of one's own is held to the same rules.
    fs::write(place.path("store/models.json"), "[{}]").unwrap();
    place.fails(&["model", "list"], 2, &["models.json", "name"]);
    let evil = json!([{ "name": "../x", "family": "", "license": "", "address": "", "patch": 1, "width": 1, "depth": 1,
        "heads": 1, "parameters": 1 }]);
    fs::write(place.path("store/models.json"), evil.to_string()).unwrap();
    place.fails(&["model", "list"], 2, &["../x"]);
}

#[test]
fn info_says_what_the_file_holds() {
    let place = Place::new();
    let path = golden("p16.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let parameters: usize = tensors.tensors().iter().map(|(_, view)| view.shape().iter().product::<usize>()).sum();
    let said = place.json(&["model", "info", path.to_str().unwrap(), "--json"]);
    assert_eq!(
        [&said["patch"], &said["width"], &said["depth"], &said["heads"], &said["parameters"], &said["bytes"]],
        [&json!(16), &json!(96), &json!(3), &json!(3), &json!(parameters), &json!(bytes.len())]
    );
    assert_eq!((&said["positions"], &said["dtypes"]), (&json!([14, 14]), &json!(["f32"])));
    assert_eq!(said["sha256"], sha256(&path));
    let hash = said["blake3"].as_str().unwrap();
    assert_eq!((hash.len(), &said["model"]), (64, &json!(format!("p16@{}", &hash[..12]))));

    let text = place.prints(&["model", "info", "mostream-vit-tiny-8"]);
    assert!(text.contains("license          Apache-2.0 OR MIT"), "{text}");
    assert!(text.contains("0.485 0.456 0.406") && text.contains("f16"), "{text}");
    // A stranger's words reach no terminal.
    let evil = HashMap::from([("note".to_owned(), "a\u{1b}[2Jb\nc".to_owned())]);
    fs::write(place.path("evil.safetensors"), safetensors::serialize(tensors.tensors(), Some(evil)).unwrap()).unwrap();
    let text = place.prints(&["model", "info", "evil.safetensors"]);
    assert!(text.contains("a [2Jb c"), "{text:?}");
    place.fails(&["model", "info", "in.png"], 5, &["in.png", "neither"]);
}

/// Runs the exported model over `in.png` as Python does, without a line of this project's code.
const PYTHON: &str = r#"
import json, sys, numpy, onnxruntime
from PIL import Image
path, width, height, output = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
[inp], [out] = session.get_inputs(), session.get_outputs()
image = numpy.asarray(Image.open("in.png"))[:height, :width]
[one] = session.run([out.name], {inp.name: image[None]})
[two] = session.run([out.name], {inp.name: numpy.stack([image, image[::-1]])})
assert numpy.allclose(one[0], two[0], atol=1e-4 * abs(one).max())
numpy.save(output, one[0])
meta = session.get_modelmeta()
print(json.dumps({"input": [inp.name, inp.type, inp.shape], "output": [out.name, out.type, out.shape],
    "words": meta.custom_metadata_map, "producer": meta.producer_name}))
"#;

#[test]
fn what_is_exported_runs_in_python() {
    let place = Place::new();
    fs::write(place.path("full.pth"), full_checkpoint()).unwrap();
    place.prints(&["model", "import", "full.pth"]);
    for feature in ["k", "q", "v", "attention"] {
        // 230x150 is no whole number of patches: the graph pads.
        let arguments = ["--model", "full", "--feature", feature, "--size", "230x150"];
        let said = place.json(&[&["model", "export", "out.onnx"][..], &arguments].concat());
        let mut python = Command::new(root().join(".venv/bin/python"));
        let output = python
            .args(["-c", PYTHON, "out.onnx", "230", "150", "python.npy"])
            .current_dir(place.0.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let python: Value = serde_json::from_slice(&output.stdout).unwrap();
        let got: ndarray::Array2<f32> = ndarray_npy::read_npy(place.path("python.npy")).unwrap();
        place.features(&arguments);
        let expected: ndarray::Array2<f32> = ndarray_npy::read_npy(place.path("o.npy")).unwrap();
        assert_eq!(got.dim(), expected.dim());
        let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let error = (&got - &expected).iter().fold(0f32, |largest, value| largest.max(value.abs())) / largest;
        assert!(error < 2e-5, "{feature}: {error}");

        assert_eq!(python["input"], json!([said["input"]["name"], "tensor(uint8)", said["input"]["shape"]]));
        assert_eq!(python["output"], json!([said["output"]["name"], "tensor(float)", said["output"]["shape"]]));
        let words = &python["words"];
        let said_of = ["feature", "patch", "grid", "mean", "license", "name"].map(|key| words[key].as_str().unwrap());
        assert_eq!(said_of[..5], [feature, "16", "10,15", "0.1,0.2,0.3", "CC0-1.0"]);
        assert_eq!((&python["producer"], &said["model"]), (&json!("mostream"), &json!(said_of[5])));
    }
    let bytes = fs::read(place.path("out.onnx")).unwrap();
    assert!(!bytes.windows(13).any(|word| word == b"com.microsoft"));
    // The bundled model, at its usual size.
    let said = place.json(&["model", "export", "bundled.onnx"]);
    assert_eq!(
        (&said["input"]["shape"], &said["grid"]),
        (&json!(["batch", 240, 320, 3]), &json!({ "rows": 30, "cols": 40 }))
    );
    place.fails(&["model", "export", "nowhere/out.onnx"], 4, &["nowhere/out.onnx"]);
    place.fails(&["model", "export", "out.onnx", "--size", "9000x9000", "--model", "full"], 2, &["9000x9000"]);
}

#[test]
fn what_is_exported_is_a_model_as_well() {
    let place = Place::new();
    place.prints(&["model", "export", "own.onnx", "--size", "160x120"]);
    let own = place.features(&["--model", "own.onnx"]);
    assert_eq!(own.len(), place.features(&["--size", "160x120"]).len());
    let numbers = |bytes: &[u8]| -> Vec<f32> {
        bytes[128..].chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect()
    };
    let (own, built) = (numbers(&own), numbers(&place.features(&["--size", "160x120"])));
    let largest = built.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    assert!(own.iter().zip(&built).all(|(a, b)| (a - b).abs() <= 2e-5 * largest));
    let info = place.json(&["model", "info", "own.onnx", "--json"]);
    assert_eq!((&info["patch"], &info["width"]), (&json!(8), &json!(192)));
    place.fails(
        &["features", "in.png", "-o", "o.npy", "--model", "own.onnx", "--size", "80x80"],
        2,
        &["160x120", "80x80"],
    );
    place.fails(&["model", "import", "own.onnx"], 2, &["own.onnx", "--model own.onnx"]);
    place.fails(&["model", "export", "again.onnx", "--model", "own.onnx"], 5, &["ONNX file already"]);
}
