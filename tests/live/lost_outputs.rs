//! Outputs that cannot be written for a while: the run goes on, whoever asks is told, and they are written again by themselves.

use super::control::{DOOR, Running};
use crate::support::clips::probe;
use crate::support::program::{until, whole_lines};
use crate::support::site::get;
use mostream::record::FrameRecord;
use serde_json::Value;
use std::path::Path;

#[test]
fn a_folder_that_goes_is_told_at_every_door_and_written_again_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let at = |name: &str| disk.join(name).display().to_string();
    let run = Running::start(&format!(
        "output = \"{}\"\n\
         [[source]]\nname = \"one\"\ninput = \"{DOOR}\"\n\
         [[source]]\nname = \"many\"\ninput = \"{DOOR}\"\nsegment = \"1s\"\n",
        at("{name}.mp4")
    ));
    let page = |path: &str| get(&format!("http://{}{path}", run.page), &[]);
    let failing = |number: u64| {
        let outputs = run.source(number)["outputs"].as_array().cloned().unwrap_or_default();
        outputs.iter().filter(|output| !output["failing"].is_null()).count()
    };
    let bytes = |number: u64| {
        let outputs = run.source(number)["outputs"].as_array().cloned().unwrap_or_default();
        outputs.iter().map(|output| output["written_bytes"].as_u64().unwrap()).min().unwrap_or_default()
    };
    until("all is written", || page("/readyz").0 == 200 && bytes(0) > 0 && bytes(1) > 0);
    assert!(page("/metrics").1.contains("mostream_output_failing{source=\"one\""));

    let away = folder.path().join("away");
    std::fs::rename(&disk, &away).unwrap();
    until("it is told of all", || failing(0) == 1 && failing(1) == 1);
    let (status, told) = page("/readyz");
    assert!(status == 503 && told.contains("many.mp4") && told.contains("one.mp4"), "{told}");
    let metrics = page("/metrics").1;
    for said in
        ["mostream_output_failing{source=\"many\"", "mostream_write_errors_total", "mostream_unwritten_frames_total"]
    {
        assert!(metrics.lines().any(|line| line.starts_with(said) && !line.ends_with(" 0")), "{said}: {metrics}");
    }

    std::fs::create_dir(&disk).unwrap();
    until("they are written again", || page("/readyz").0 == 200 && failing(0) + failing(1) == 0);
    let videos = |name: &str| {
        let files = std::fs::read_dir(&disk).unwrap().map(|entry| entry.unwrap().path());
        let of_name = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(name);
        Vec::from_iter(files.filter(of_name))
    };
    until("videos of both", || {
        ["one-", "many-"]
            .iter()
            .all(|name| videos(name).iter().any(|file| file.metadata().is_ok_and(|file| file.len() > 1500)))
    });
    // What was written before is whole, and was not begun anew.
    assert!(!probe(&away.join("one.mp4")).pts_ns.is_empty());
    assert!(!disk.join("one.mp4").exists());
    let log = run.log();
    assert!(log.contains("it is tried again") && log.contains("written again after"), "{log}");
    assert!(log.matches("it is tried again").count() <= 4, "{log}");
}

#[test]
fn what_is_missing_when_a_source_ends_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let output = disk.join("{name}.mp4");
    let run = Running::start(&format!(
        "output = \"{}\"\nsegment = \"1h\"\n[[source]]\nname = \"door\"\ninput = \"{DOOR}\"\n",
        output.display()
    ));
    let unwritten = || {
        let outputs = run.source(0)["outputs"].as_array().cloned().unwrap_or_default();
        outputs.iter().map(|output| output["unwritten"].as_u64().unwrap()).sum::<u64>()
    };
    until("a video", || std::fs::read_dir(&disk).unwrap().next().is_some());
    std::fs::rename(&disk, folder.path().join("away")).unwrap();
    until("frames that are not written", || unwritten() > 3);
    let before = unwritten();
    assert_eq!(run.ask("DELETE", "/sources/0", Value::Null).0, 200);
    let log = run.log();
    let told = log.lines().find_map(|line| line.split_once("door.mp4: the source has ended").map(|(_, rest)| rest));
    let told = told.unwrap_or_else(|| panic!("{log}")).rsplit_once(", ").unwrap().1;
    let frames: u64 = told.strip_suffix(" frames are missing").unwrap().parse().unwrap();
    assert!(frames >= before, "{before} {told}");
}

#[test]
fn records_that_are_moved_away_are_begun_anew() {
    let run = Running::start(&format!("[[source]]\nname = \"door\"\ninput = \"{DOOR}\"\n"));
    let [path, moved] = ["r.jsonl", "r.1.jsonl"].map(|name| run.folder.path().join(name));
    let frames = |path: &Path| {
        let lines = whole_lines(path).into_iter();
        Vec::from_iter(
            lines.filter_map(|line| serde_json::from_str::<FrameRecord>(&line).ok()).map(|record| record.frame),
        )
    };
    until("the first", || path.exists() && frames(&path).len() > 5);
    std::fs::rename(&path, &moved).unwrap();
    until("more", || path.exists() && frames(&path).len() > 5);
    let all = [frames(&moved), frames(&path)].concat();
    assert!(all.iter().copied().eq(0..all.len() as u64), "{all:?}");
    assert_eq!(get(&format!("http://{}/readyz", run.page), &[]).0, 200);
}
