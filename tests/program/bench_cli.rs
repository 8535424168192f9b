//! `mostream bench` on a tiny clip: what it reports, and what it refuses.

use crate::support::clips::{X264, make};
use crate::support::program::{PROGRAM, stderr};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const FRAMES: u32 = 12;

fn bench(input: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(["bench", "--size", "64x48", "--rounds", "2"])
        .args(arguments)
        .arg(input)
        .output()
        .unwrap()
}

fn number(report: &Value, path: &str) -> f64 {
    let found = report.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("{path} is no number in {report}"))
}

#[test]
fn the_report_is_one_json_object_with_every_part_measured() {
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join("clip.mp4"), (64, 48), FRAMES, true, X264);
    let ran = bench(&clip.path, &["--json"]);
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();

    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let date = report["date"].as_str().unwrap();
    assert!(date.len() == 20 && date.starts_with("20") && date.ends_with('Z'), "{date}");
    assert!(report["machine"]["cpu"].is_string() && number(&report, "/machine/cores") >= 1.0);
    assert_eq!((&report["rounds"], &report["frames_per_round"]), (&2.into(), &FRAMES.into()));
    assert_eq!(report["input"]["grid"], serde_json::json!([6, 8]));
    assert_eq!(report["method"], "most");

    for stage in ["decode_scale", "infer", "localize", "draw_encode"] {
        for time in ["cpu_ms", "wall_ms"] {
            assert!(number(&report, &format!("/stages/{stage}/{time}")) > 0.0, "{stage}");
        }
    }
    for way in ["to_records", "to_video"] {
        let of = |field: &str| number(&report, &format!("/{way}/{field}"));
        assert!(of("fps") > 0.0 && of("share_of_bound") > 0.0 && of("share_of_session") > 0.0, "{way}: {report}");
        // No more time than the cores have, but for the grain of the clock.
        assert!(of("share_of_cores") > 0.0 && of("share_of_cores") < 1.1, "{way}: {report}");
        let [p50, p95, p99] = ["p50", "p95", "p99"].map(|rank| of(&format!("latency_ms/{rank}")));
        assert!(0.0 < p50 && p50 <= p95 && p95 <= p99, "{way}: {report}");
        assert!(of("peak_memory_mib") > 10.0, "{way}: {report}");
    }
    assert!(number(&report, "/to_video/peak_memory_mib") >= number(&report, "/to_records/peak_memory_mib"));
    let drawn: f64 =
        ["in_place", "copied", "converted"].map(|how| number(&report, &format!("/canvas/{how}"))).iter().sum();
    assert_eq!(drawn, f64::from(2 * FRAMES), "both rounds' frames");

    // 48 patches of width 192, each with those up to itself, a multiplication and an addition each.
    assert_eq!(number(&report, "/affinity/gflop"), (192 * 48 * 49) as f64 / 1e9);
    for products in ["backbone", "affinity"] {
        for field in ["gflop", "flop_per_byte", "gflop_per_s"] {
            assert!(number(&report, &format!("/{products}/{field}")) > 0.0, "{products} {field}");
        }
        // It may be missing: on other processors, and where much else goes on.
        let share = report.pointer(&format!("/{products}/share_of_peak"));
        assert!(share.is_none_or(|share| share.as_f64().is_some_and(|share| 0.0 < share && share <= 1.0)), "{share:?}");
    }
    assert!(number(&report, "/backbone/weight_mib") > 1.0);
}

#[test]
fn what_changed_beyond_noise_is_told_beside_an_older_report() {
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join("clip.mp4"), (64, 48), FRAMES, true, X264);
    let ran = bench(&clip.path, &["--json"]);
    let mut old: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(old["each_round"]["infer"].as_array().unwrap().len(), 2);
    // A thousandth of the time, and a thousand times it: no noise does that.
    old["each_round"]["infer"] = serde_json::json!([1e-3, 1.1e-3]);
    old["each_round"]["localize"] = serde_json::json!([1e3, 1.1e3]);
    old["machine"]["cpu"] = "another".into();
    let path = folder.path().join("old.json");
    std::fs::write(&path, old.to_string()).unwrap();
    let ran = bench(&clip.path, &["--json", "--compare", path.to_str().unwrap()]);
    let new: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let change = |name: &str| {
        let figures = new["comparison"]["figures"].as_array().unwrap();
        figures.iter().find(|figure| figure["name"] == name).unwrap()["change"].as_str().unwrap().to_owned()
    };
    assert_eq!([change("infer"), change("localize")], ["slower", "faster"]);
    assert!(new["comparison"]["differs"][0].as_str().unwrap().ends_with("another"), "{new}");
    let told = String::from_utf8(bench(&clip.path, &["--compare", path.to_str().unwrap()]).stdout).unwrap();
    assert!(told.lines().any(|line| line.contains("infer") && line.ends_with("slower")), "{told}");

    for (wrong, word) in [("[]", "no report"), ("{}", "no report"), ("\u{1}", "no report")] {
        std::fs::write(&path, wrong).unwrap();
        crate::support::program::fails(
            &bench(&clip.path, &["--compare", path.to_str().unwrap()]),
            2,
            &["old.json", word],
        );
    }
    old["each_round"]["infer"] = serde_json::json!([]);
    std::fs::write(&path, old.to_string()).unwrap();
    crate::support::program::fails(
        &bench(&clip.path, &["--compare", path.to_str().unwrap()]),
        2,
        &["old.json", "numbers"],
    );
}

#[test]
fn people_are_told_in_tables_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join("clip.mp4"), (64, 48), FRAMES, true, X264);
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let ran = Command::new(PROGRAM)
        .args(["bench", "--size", "64x48", "--rounds", "1", "--method", "lost", "--verbose"])
        .arg(&clip.path)
        .env("TMPDIR", &scratch)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    for part in
        ["decode and scale", "infer", "localize", "draw and encode", "to records", "to overlay and MP4", "peak", "lost"]
    {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    let left = std::fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.starts_with("mostream")).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_model_that_is_not_installed_is_measured_by_its_shape() {
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join("clip.mp4"), (64, 48), FRAMES, true, X264);
    let ran = bench(&clip.path, &["--json", "--random", "dino-vits16"]);
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert!(report["model"].as_str().unwrap().starts_with("dino-vits16-random@"), "{}", report["model"]);
    assert_eq!(report["input"]["grid"], serde_json::json!([3, 4]));
    let unknown = bench(&clip.path, &["--random", "dino-vits17"]);
    assert!(!unknown.status.success() && stderr(&unknown).contains("dino-vits16"), "{}", stderr(&unknown));
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join("one.mp4"), (64, 48), 1, false, X264);
    let ran = bench(&clip.path, &[]);
    let told = stderr(&ran);
    assert_eq!(ran.status.code(), Some(3), "{told}");
    assert!(told.contains("has 1 frame") && told.contains("at least 2"), "{told}");
    assert_eq!(bench(&clip.path, &["--method", "dino-seg"]).status.code(), Some(2));
    assert_eq!(bench(&folder.path().join("none.mp4"), &[]).status.code(), Some(3));
}
