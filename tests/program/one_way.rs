//! `mostream run` on one file, on many, on pictures of many shapes: what is written does not depend on the options beside it, nor what is
//! found on the company.

use crate::support::clips::{X264, make, probe};
use crate::support::program::{PROGRAM, files_in, mostream, records_in, stderr};
use crate::support::scene::{self, Shape, Texture, Thing};
use mostream::analyzer::{Analyzer, ModelSize};
use mostream::backbone::{Checkpoint, Feature, SessionOptions};
use mostream::localize::Localizer;
use mostream::picture;
use mostream::record::FrameRecord;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    mostream(folder, &["run"]).args(arguments).output().unwrap()
}

#[track_caller]
fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let ran = run(folder, arguments);
    let told = stderr(&ran);
    assert_eq!(ran.status.code(), Some(0), "{arguments:?}: {told}");
    told
}

#[test]
fn an_option_never_changes_what_else_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let tone = format!("-f lavfi -i sine=duration=1 {X264} -c:a aac -shortest");
    make(folder.path().join("in.mp4"), (160, 120), 20, false, &tone);
    make(folder.path().join("in2.mp4"), (160, 120), 3, false, X264);
    let port = crate::support::camera::free_port();
    let (web, push) = (format!("--web=127.0.0.1:{port}"), format!("--push=udp://127.0.0.1:{port}"));
    let mut first = None;
    for options in [&["in.mp4"][..], &["in.mp4", &web], &["in.mp4", &push], &["in.mp4", "in2.mp4"], &["in=in.mp4"]] {
        let at = tempfile::tempdir_in(folder.path()).unwrap();
        for name in ["in.mp4", "in2.mp4"] {
            std::os::unix::fs::symlink(folder.path().join(name), at.path().join(name)).unwrap();
        }
        succeeds(at.path(), options);
        let boxes = |name: &str| at.path().join(format!("in.boxes.{name}"));
        assert!(probe(&boxes("mp4")).has_audio, "{options:?}: its audio");
        let found = records_in(&boxes("jsonl"))
            .into_iter()
            .map(|record| FrameRecord { source: String::new(), ..crate::support::of_any_run(record) });
        let written = (Vec::from_iter(found), probe(&boxes("mp4")).pts_ns);
        assert_eq!(written.0.len(), written.1.len());
        assert_eq!(*first.get_or_insert_with(|| written.clone()), written, "{options:?}");
        // But for what the program keeps for itself.
        let names = std::fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name != ".state").collect();
        let others = if options.contains(&"in2.mp4") { 2 } else { 0 };
        assert_eq!(left.len(), 4 + others, "{options:?}: {left:?}");
    }
    // It spares the model frames, and changes nothing else.
    let at = tempfile::tempdir_in(folder.path()).unwrap();
    succeeds(at.path(), &["../in.mp4", "--adaptive", "--cue", "appearance"]);
    let adaptive = at.path().join("in.boxes.mp4");
    assert_eq!(probe(&adaptive).pts_ns, first.unwrap().1);
    assert!(
        probe(&adaptive).has_audio
            && records_in(&at.path().join("in.boxes.jsonl")).iter().any(|record| !record.inferred)
    );
}

#[test]
fn every_file_of_a_folder_has_its_own_results_and_a_broken_one_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, frames) in [("in/a.mp4", 4), ("in/sub/a.mkv", 3), ("in/b.mkv", 2), ("in/old.boxes.mp4", 9)] {
        std::fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
        make(at.join(name), (64, 48), frames, false, X264);
    }
    std::fs::write(at.join("in/c.mp4"), "no video").unwrap();
    for name in ["in/y.png", "in/z.png"] {
        make(at.join(name), (64, 48), 1, false, "-frames:v 1");
    }
    let ran = run(at, &["in"]);
    let told = stderr(&ran);
    assert_eq!(ran.status.code(), Some(3), "{told}");
    assert!(told.contains("c.mp4") && !told.contains("127.0.0.1"), "{told}");
    assert!(told.contains("passed over: in/old.boxes.mp4"), "{told}");
    let written = ["b", "in", "in-a", "sub-a"].map(|stem| [format!("{stem}.boxes.jsonl"), format!("{stem}.boxes.mp4")]);
    let all: Vec<String> =
        std::fs::read_dir(at).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    for (names, frames) in written.iter().zip([2, 2, 4, 3]) {
        assert!(names.iter().all(|name| all.contains(name)), "{all:?}");
        assert_eq!(records_in(&at.join(&names[0])).len(), frames, "{names:?}");
        // One picture after the other, for as long as anybody can see it.
        assert_eq!(probe(&at.join(&names[1])).pts_ns.len(), frames, "{names:?}");
    }
    assert_eq!(all.len(), 9, "nothing else: {all:?}");
    assert!(records_in(&at.join("in.boxes.jsonl"))[1].source.ends_with("in/z.png"));

    // What is there stays until somebody says otherwise.
    let before = std::fs::read(at.join("b.boxes.jsonl")).unwrap();
    let ran = run(at, &["in/b.mkv", "--every", "2"]);
    let told = stderr(&ran);
    assert_eq!(ran.status.code(), Some(2), "{told}");
    assert!(told.contains("b.boxes.mp4") && told.contains("--force"), "{told}");
    assert_eq!(std::fs::read(at.join("b.boxes.jsonl")).unwrap(), before);
    succeeds(at, &["in/b.mkv", "--every", "2", "--force"]);
    assert_ne!(std::fs::read(at.join("b.boxes.jsonl")).unwrap(), before);
    // Who names a file means it.
    succeeds(at, &["in/b.mkv", "-o", "b.boxes.mp4"]);
    // One file for all of them, in order, in place of what is there.
    for _ in 0..2 {
        succeeds(at, &["in/b.mkv", "in/a.mp4", "--records", "all.jsonl"]);
        let all: Vec<_> = records_in(&at.join("all.jsonl")).into_iter().map(|r| (r.source, r.frame)).collect();
        let of = |name: &str, frames: u64| Vec::from_iter((0..frames).map(|frame| (format!("in/{name}"), frame)));
        let mut sorted = all.clone();
        sorted.sort();
        assert_eq!(sorted, [of("a.mp4", 4), of("b.mkv", 2)].concat());
        let first_of_b = all.iter().position(|(source, _)| source == "in/b.mkv");
        assert_eq!(first_of_b, Some(0), "the first begins first");
    }
}

#[test]
fn no_output_destroys_an_input_by_whatever_name_and_option() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    make(at.join("in.mp4"), (64, 48), 3, false, X264);
    let before = std::fs::read(at.join("in.mp4")).unwrap();
    std::os::unix::fs::symlink("in.mp4", at.join("soft.mp4")).unwrap();
    std::fs::hard_link(at.join("in.mp4"), at.join("hard.mp4")).unwrap();
    std::fs::create_dir(at.join("sub")).unwrap();
    for name in ["in.mp4", "./in.mp4", "sub/../in.mp4", "soft.mp4", "hard.mp4"] {
        for more in [&[][..], &["--adaptive"], &["--push", "udp://127.0.0.1:9"], &["--segment", "1s"]] {
            for flag in ["-o", "--records"] {
                if flag == "--records" && more.contains(&"--segment") {
                    continue;
                }
                let ran = run(at, &[&["in.mp4", flag, name], more].concat());
                let told = stderr(&ran);
                assert_eq!(ran.status.code(), Some(2), "{name} {flag} {more:?}: {told}");
                assert!(told.contains("is the input"), "{told}");
            }
        }
    }
    for arguments in [
        &["in.mp4", "sub", "--records", "in.mp4"][..],
        &["in.mp4", "-o", "x.mp4", "--records", "X.MP4"],
        &["in.mp4", "a=in.mp4", "-o", "x.mp4"],
    ] {
        assert!(matches!(run(at, arguments).status.code(), Some(2 | 3)), "{arguments:?}");
    }
    assert_eq!(std::fs::read(at.join("in.mp4")).unwrap(), before);
    assert_eq!(files_in(at), ["hard.mp4", "in.mp4", "soft.mp4", "sub"], "nothing was opened for writing");
}

/// Pictures of several shapes, each with something to find.
fn draw(folder: &Path) -> Vec<String> {
    let shapes = [(320, 240), (240, 320), (320, 180), (300, 300), (200, 320), (320, 128)];
    let names = shapes.iter().enumerate().map(|(index, &(width, height))| {
        let disc = Thing {
            shape: Shape::Blob,
            texture: Texture::Dots,
            colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
            centre: [width as f32 * 0.4, height as f32 * 0.5],
            radius: 36.0,
            turn: 0.3 * index as f32,
        };
        let rgb = scene::draw(&scene::ground(width, height), width, height, &[disc]).rgb;
        let name = format!("in{index}.png");
        let picture = picture::RgbImage::from_raw(width, height, rgb).unwrap();
        std::fs::write(folder.join(&name), picture::to_png(&picture).unwrap()).unwrap();
        name
    });
    names.collect()
}

/// Boxes and scores by the picture's name.
type Found = BTreeMap<String, Vec<([u32; 4], f32)>>;

fn found_by_run(folder: &Path, arguments: &[&str]) -> Found {
    let out = folder.join("out.jsonl");
    succeeds(folder, &[arguments, &["--device", "cpu", "--records", out.to_str().unwrap()]].concat());
    let all = records_in(&out).into_iter().map(|record| {
        let name = record.source.rsplit('/').next().unwrap().to_owned();
        (name, record.objects.iter().map(|object| (object.bbox, object.score)).collect())
    });
    all.collect()
}

#[test]
fn a_picture_gives_the_same_boxes_alone_or_among_others_in_whatever_order_and_command() {
    let folder = tempfile::tempdir().unwrap();
    let (at, names) = (folder.path(), draw(folder.path()));
    let alone: Found = names.iter().flat_map(|name| found_by_run(at, &[name])).collect();
    assert_eq!(alone.len(), names.len());
    assert!(alone.values().all(|found| !found.is_empty()), "{alone:?}");

    let mut orders: Vec<Vec<&str>> = (0..names.len())
        .map(|turn| names.iter().cycle().skip(turn).take(names.len()).map(String::as_str).collect())
        .collect();
    orders.push(names.iter().rev().map(String::as_str).collect());
    for order in &orders {
        assert_eq!(found_by_run(at, order), alone, "{order:?}");
    }
    // A folder of them is one source.
    let inside = at.join("in");
    std::fs::create_dir(&inside).unwrap();
    names.iter().for_each(|name| drop(std::fs::hard_link(at.join(name), inside.join(name))));
    assert_eq!(found_by_run(at, &["in"]), alone);

    let options = SessionOptions { device: "cpu".parse().unwrap(), ..SessionOptions::default() };
    let mut analyzer = Analyzer::new(Arc::new(Checkpoint::bundled().unwrap()), options, ModelSize::default());
    let by_library = names.iter().rev().map(|name| {
        let picture = picture::decode(&at.join(name)).unwrap();
        let analysis = analyzer.analyze(&picture::view(&picture).unwrap(), Feature::Keys).unwrap();
        let found = analysis.detections(&Localizer::default()).unwrap();
        let corners = |b: mostream::geometry::PixelBox| [b.xmin, b.ymin, b.xmax, b.ymax];
        (name.clone(), found.iter().map(|found| (corners(found.bbox), found.score)).collect())
    });
    assert_eq!(by_library.collect::<Found>(), alone, "the library");

    let labelled = Command::new(PROGRAM)
        .args(["label", "in", "-o", "set", "--val", "0", "--device", "cpu", "--quiet"])
        .current_dir(at)
        .output()
        .unwrap();
    assert!(labelled.status.success(), "{}", stderr(&labelled));
    let mut by_label = Found::new();
    for file in files_below(&at.join("set")).iter().filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let coco: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let Some(images) = coco["images"].as_array() else { continue };
        for image in images {
            let of_image = coco["annotations"].as_array().unwrap().iter().filter(|a| a["image_id"] == image["id"]);
            let boxes = of_image.map(|annotation| {
                let number = |at: usize| annotation["bbox"][at].as_f64().unwrap() as u32;
                [number(0), number(1), number(0) + number(2), number(1) + number(3)]
            });
            let mut boxes: Vec<_> = boxes.map(|bbox| (bbox, 0.0)).collect();
            boxes.sort_by_key(|(bbox, _)| *bbox);
            let name = image["file_name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            by_label.insert(name, boxes);
        }
    }
    assert_eq!(by_label.len(), names.len(), "{by_label:?}");
    for (name, found) in &alone {
        let mut boxes: Vec<_> = found.iter().map(|(bbox, _)| (*bbox, 0.0)).collect();
        boxes.sort_by_key(|(bbox, _)| *bbox);
        let stem = name.trim_end_matches(".png");
        let (_, labelled) = by_label.iter().find(|(labelled, _)| labelled.contains(stem)).unwrap();
        assert_eq!(*labelled, boxes, "label: {name}");
    }
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn many_files_cost_no_more_threads_than_a_few() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path().join("in.mp4"), (64, 48), 3, false, X264);
    let most = |files: usize| {
        let at = tempfile::tempdir_in(folder.path()).unwrap();
        let names: Vec<String> = (0..files).map(|number| format!("in{number}.mp4")).collect();
        names.iter().for_each(|name| drop(std::fs::hard_link(folder.path().join("in.mp4"), at.path().join(name))));
        let mut child = Command::new(PROGRAM)
            .args(["run", "--quiet", "--size", "64x48"])
            .args(&names)
            .current_dir(&at)
            .spawn()
            .unwrap();
        let mut most = 0;
        while child.try_wait().unwrap().is_none() {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
            most = most.max(threads.map_or(0, |threads| threads.trim().parse().unwrap()));
        }
        assert!(child.wait().unwrap().success());
        let written = std::fs::read_dir(&at)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".boxes."));
        assert_eq!(written.count(), 2 * files);
        most
    };
    let (few, many): (usize, usize) = (most(4), most(40));
    assert!(many <= few + 8, "{few} threads for 4 files, {many} for 40");
}
