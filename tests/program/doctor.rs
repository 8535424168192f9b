//! `mostream doctor` tells apart a machine on which `run` works from one on which it does not.

use crate::support::program::PROGRAM;
use serde_json::Value;
use std::process::{Command, Output};

fn doctor(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("doctor").args(arguments).envs(environment.iter().copied()).output().unwrap()
}

/// The report and the exit code.
fn report(environment: &[(&str, &str)]) -> (Value, Option<i32>) {
    let asked = doctor(&["--json"], environment);
    (serde_json::from_slice(&asked.stdout).unwrap(), asked.status.code())
}

#[test]
fn where_all_is_installed_it_says_so_and_finds_the_drawn_object() {
    let (report, code) = report(&[]);
    assert_eq!((code, &report["works"], &report["problems"]), (Some(0), &Value::Bool(true), &Value::Array(vec![])));
    assert!(report["self_test"]["iou"].as_f64().unwrap() > 0.5);
    assert!(report["encoders"].as_array().unwrap().iter().any(|encoder| encoder["found"] == true));
    for place in ["/gstreamer/plugins", "/onnx_runtime/library", "/cache/folder", "/needed/0/plugin"] {
        let path = report.pointer(place).unwrap().as_str().unwrap();
        assert!(std::path::Path::new(path).exists(), "{place}: {path}");
    }
    let h264 = &report["codecs"][0];
    assert_eq!((&h264["codec"], &h264["memory"]), (&"H.264".into(), &"system".into()), "no device here");
    let decoder = h264["decoder"].as_str().unwrap();
    assert!(
        report["decoders"].as_array().unwrap().iter().any(|known| known["name"] == decoder && known["found"] == true)
    );
    let said = String::from_utf8(doctor(&[], &[]).stdout).unwrap();
    assert!(said.contains(&format!("{decoder}, frames in system memory")), "{said}");
    let providers = report["onnx_runtime"]["providers"].as_array().unwrap();
    assert!(providers.contains(&"CPUExecutionProvider".into()), "{providers:?}");
}

#[test]
fn without_the_onnx_runtime_library_it_says_what_to_do() {
    let (report, code) = report(&[("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")]);
    assert_eq!((code, &report["works"], &report["onnx_runtime"]), (Some(6), &Value::Bool(false), &Value::Null));
    let problem = report["problems"][0].as_str().unwrap();
    assert!(problem.contains("/nowhere/libonnxruntime.so") && problem.contains("make setup"), "{problem}");
}

#[test]
fn what_only_cameras_and_live_outputs_need_is_a_note() {
    let (report_here, _) = report(&[]);
    let place = report_here.pointer("/needed/0/plugin").unwrap().as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for plugin in std::fs::read_dir(std::path::Path::new(place).parent().unwrap()).unwrap() {
        let plugin = plugin.unwrap();
        if plugin.path().extension().is_some_and(|kind| kind == "so") && plugin.file_name() != "libgstsrt.so" {
            std::os::unix::fs::symlink(plugin.path(), folder.path().join(plugin.file_name())).unwrap();
        }
    }
    let registry = folder.path().join("registry");
    let environment = [
        ("GST_PLUGIN_SYSTEM_PATH_1_0", folder.path().to_str().unwrap()),
        ("GST_PLUGIN_PATH_1_0", ""),
        ("GST_REGISTRY", registry.to_str().unwrap()),
    ];
    let asked = doctor(&[], &environment);
    let text = String::from_utf8(asked.stdout).unwrap();
    assert_eq!(asked.status.code(), Some(0), "{text}");
    let note = "note: for cameras and live outputs srtsrc is missing: apt-get install gstreamer1.0-plugins-bad";
    assert!(text.lines().any(|line| line == note), "{text}");
    let (report, _) = report(&environment);
    let live = report["live"].as_array().unwrap();
    let absent: Vec<&str> =
        live.iter().filter(|element| element["found"] == false).map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(absent, ["srtsrc", "srtsink"]);
    assert!(report_here["live"].as_array().unwrap().iter().all(|element| element["found"] == true));
}

#[test]
fn without_plugins_it_names_the_packages() {
    let empty = tempfile::tempdir().unwrap();
    let registry = empty.path().join("registry");
    let environment = [
        ("GST_PLUGIN_SYSTEM_PATH_1_0", empty.path().to_str().unwrap()),
        ("GST_PLUGIN_PATH_1_0", ""),
        ("GST_REGISTRY", registry.to_str().unwrap()),
    ];
    let asked = doctor(&[], &environment);
    let text = String::from_utf8(asked.stdout).unwrap();
    assert_eq!(asked.status.code(), Some(6), "{text}");
    for line in [
        "problem: mp4mux is missing; install it: apt-get install gstreamer1.0-plugins-good",
        "problem: an H.264 encoder is missing; install it: apt-get install gstreamer1.0-plugins-ugly",
        "mostream run will not work",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line}\n{text}");
    }
}
