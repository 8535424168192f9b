//! What the model runs on where it is left open: measured once, kept, told, and never the end of a run.

use crate::support::clips::{X264, make};
use crate::support::program::{mostream, outcome, records, records_in, stderr};
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

const MEASURING: &str = "measuring what the model is fastest on";

/// The program with a cache of the test's own, and nothing said of devices.
fn open_minded(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = mostream(folder, arguments);
    command.env("MOSTREAM_CACHE", folder.join("cache")).env_remove("MOSTREAM_EXACT").env_remove("ORT_DYLIB_PATH");
    command
}

#[track_caller]
fn succeeds(mut command: Command) -> Output {
    let ran = command.output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    ran
}

fn clip(folder: &Path) {
    make(folder.join("clip.mp4"), (96, 72), 3, true, X264);
}

/// `(device, precision)` of every record.
fn ran_on(ran: &Output) -> Vec<(String, String)> {
    let pair = |record: mostream::record::FrameRecord| (record.device.unwrap(), record.precision.unwrap());
    records(&ran.stdout).into_iter().map(pair).collect()
}

#[test]
fn the_fastest_is_measured_once_used_by_all_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    clip(at);
    let unknown: Value = serde_json::from_slice(&succeeds(open_minded(at, &["doctor", "--json"])).stdout).unwrap();
    assert_eq!(unknown["measured"]["choice"], Value::Null);
    assert!(unknown["measured"]["candidates"].as_array().unwrap().len() >= 2, "fp32 and int8 of the CPU at least");

    let said = stderr(&succeeds(open_minded(at, &["warmup", "--size", "320x240"])));
    assert!(said.contains(MEASURING), "{said}");
    let known: Value = serde_json::from_slice(&succeeds(open_minded(at, &["doctor", "--json"])).stdout).unwrap();
    let choice = &known["measured"]["choice"];
    let (device, precision) = (choice["best"][0].as_str().unwrap(), choice["best"][1].as_str().unwrap());
    let tried = choice["tried"].as_array().unwrap();
    let of = |device: &str, precision: &str| {
        tried.iter().find(|tried| tried["device"] == device && tried["precision"] == precision).unwrap()
    };
    // Nothing that is slower than the CPU in fp32, and nothing that finds other boxes.
    let (chosen, exact) = (of(device, precision), of("cpu", "fp32"));
    // What would be used otherwise stays where it is nearly as fast.
    assert!(0.95 * chosen["ms"].as_f64().unwrap() <= exact["ms"].as_f64().unwrap(), "{choice}");
    assert!(chosen["agreement"].as_f64().is_none_or(|share| share >= 0.99), "{choice}");
    assert_eq!(known["self_test"]["device"], device);

    let run = ["run", "clip.mp4", "--size", "320x240", "--records", "-"];
    let ran = succeeds(open_minded(at, &run));
    assert!(!stderr(&ran).contains(MEASURING), "{}", stderr(&ran));
    assert_eq!(ran_on(&ran), vec![(device.to_owned(), precision.to_owned()); 3]);
    let told = format!("the model runs on {device} in {precision}");
    assert_eq!(stderr(&ran).contains(&told), (device, precision) != ("cpu", "fp32"), "{}", stderr(&ran));
    // Another model input is another question.
    let said = stderr(&succeeds(open_minded(at, &["run", "clip.mp4", "--patches", "40", "--records", "-"])));
    assert!(said.contains(MEASURING), "{said}");
}

#[test]
fn who_wants_the_same_boxes_on_every_machine_measures_nothing() {
    let folder = tempfile::tempdir().unwrap();
    clip(folder.path());
    for more in [&["--exact"][..], &["--paper"], &["--device", "cpu", "--precision", "fp32"]] {
        let run = ["run", "clip.mp4", "--records", "-"];
        let ran = succeeds(open_minded(folder.path(), &[&run, more].concat()));
        assert!(!stderr(&ran).contains(MEASURING), "{}", stderr(&ran));
        assert_eq!(ran_on(&ran), vec![("cpu".to_owned(), "fp32".to_owned()); 3]);
    }
    let ran = open_minded(folder.path(), &["run", "clip.mp4", "--exact", "--precision", "int8"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(2), "{}", stderr(&ran));
    fs::write(folder.path().join("both.toml"), "exact = true\ndevice = \"cpu\"\n[[source]]\ninput = \"clip.mp4\"\n")
        .unwrap();
    let (code, said) = outcome(&open_minded(folder.path(), &["config", "check", "both.toml"]).output().unwrap());
    assert!(code == Some(2) && said.contains("device") && said.contains("exact"), "{said}");
}

#[test]
fn where_it_cannot_be_measured_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    clip(at);
    let run = ["run", "clip.mp4", "--records", "records.jsonl"];
    let runs_exactly = |command, word: &str| {
        let said = stderr(&succeeds(command));
        assert!(said.contains(word), "{said}");
        assert_eq!(records_in(&at.join("records.jsonl"))[2].precision.as_deref(), Some("fp32"));
        fs::remove_file(at.join("records.jsonl")).unwrap();
    };
    // A cache that is none.
    let mut command = open_minded(at, &run);
    command.env("MOSTREAM_CACHE", at.join("clip.mp4"));
    runs_exactly(command, "what the model is fastest on is not measured");
    // Somebody else measures at this moment.
    fs::create_dir(at.join("cache")).unwrap();
    fs::set_permissions(at.join("cache"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let lock = File::create(at.join("cache/measuring.lock")).unwrap();
    lock.lock().unwrap();
    runs_exactly(open_minded(at, &run), "another process measures now");
}

#[test]
fn a_library_that_is_broken_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    clip(at);
    let capi = at.join("env/lib/python3/site-packages/onnxruntime/capi");
    fs::create_dir_all(&capi).unwrap();
    for file in ["libonnxruntime.so.9.9.9", "libonnxruntime_providers_cuda.so"] {
        fs::write(capi.join(file), "no library").unwrap();
    }
    let with_it = |arguments: &[&str]| {
        let mut command = open_minded(at, arguments);
        command.env("VIRTUAL_ENV", at.join("env"));
        command
    };
    let ran = succeeds(with_it(&["run", "clip.mp4", "--size", "320x240", "--records", "-"]));
    assert!(ran_on(&ran).iter().all(|(device, _)| !device.contains("cuda")));
    // Nor does it end a run that has measured nothing.
    let mut unmeasured = with_it(&["run", "clip.mp4", "--size", "320x240", "--records", "-"]);
    unmeasured.env("MOSTREAM_CACHE", "");
    succeeds(unmeasured);
    let known: Value = serde_json::from_slice(&succeeds(with_it(&["doctor", "--json"])).stdout).unwrap();
    let tried = known["measured"]["choice"]["tried"].as_array().unwrap();
    let broken = tried.iter().find(|tried| tried["device"] == "cuda:0" && tried["precision"] == "fp16").unwrap();
    assert!(broken["ms"].is_null() && broken["why"].as_str().unwrap().contains("libonnxruntime.so.9.9.9"), "{broken}");
}
