//! `mostream label` as its users meet it: the tools that train read what it writes, and it goes on where it was stopped.

use crate::support::clips;
use crate::support::clips::X264;
use crate::support::program::{self, outcome, signal, stderr};
use crate::support::scene::{self, Shape, Texture, Thing};
use mostream::picture::{RgbImage, write_jpeg};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const FORMATS: [&str; 5] = ["coco", "yolo", "voc", "cvat", "mot"];

/// `label` in a folder, with a small model's input where it is not said.
fn label(at: &Path, arguments: &[&str]) -> Command {
    let mut command = program::mostream(at, &["label"]);
    command.args(arguments);
    if !arguments.contains(&"--size") {
        command.args(["--size", "64x48"]);
    }
    command
}

/// Runs quietly and well. That a side of the set is empty is told, which one source makes it by chance.
fn done(at: &Path, arguments: &[&str]) {
    let (code, said) = outcome(&label(at, arguments).arg("-q").output().unwrap());
    let other = said.lines().find(|line| !line.starts_with("mostream: no picture of the set is in "));
    assert_eq!((code, other), (Some(0), None), "{arguments:?}");
}

/// A picture that is like no other number's.
fn drawn(number: u32, width: u32, height: u32) -> RgbImage {
    let thing = |turn: u32, at: u32| Thing {
        shape: [Shape::Ellipse, Shape::Star, Shape::Square, Shape::Blob][(at % 4) as usize],
        texture: Texture::Stripes,
        colours: [[246.0, 214.0, (at * 37 % 200) as f32], [20.0, (at * 91 % 100) as f32, 150.0]],
        centre: [
            width as f32 * (0.2 + (at * 7 % 11) as f32 * 0.06),
            height as f32 * (0.2 + (at * 5 % 11) as f32 * 0.06),
        ],
        radius: 0.22 * height as f32,
        turn: turn as f32,
    };
    let picture =
        scene::draw(&scene::ground(width, height), width, height, &[thing(0, number), thing(1, number * 3 + 5)]);
    RgbImage::from_raw(width, height, picture.rgb).unwrap()
}

fn still(path: PathBuf, number: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_jpeg(&path, &drawn(number, 160, 120), 95).unwrap();
}

/// A folder `footage` with stills, one of them a copy, and a clip; names are hostile.
fn footage(at: &Path) {
    let folder = at.join("footage");
    for (name, number) in ('a'..='e').zip(0..) {
        still(folder.join(format!("a/{name}.jpg")), number);
        still(folder.join(format!("b/{name}.jpg")), number + 5);
    }
    still(folder.join("it's \"a\" <b> & ünï.jpg"), 10);
    write_jpeg(&folder.join("copy.jpg"), &drawn(3, 160, 120), 60).unwrap();
    clips::make(folder.join("clip .. 1.mp4"), (160, 120), 30, true, X264);
}

/// Every file below a folder.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => {
                    drop(files.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap()))
                }
            }
        }
    }
    files
}

fn assert_same(one: &Path, other: &Path, when: &str) {
    let (one, other) = (tree(one), tree(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{when}");
    one.iter().for_each(|(path, bytes)| assert!(other[path] == *bytes, "{when}: {} differs", path.display()));
}

fn journal(set: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(set.join(".mostream/label.jsonl")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The pictures in the journal.
fn pictures(set: &Path) -> Vec<Value> {
    let entries = journal(set).into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
    entries.filter_map(|entry| entry.get("picture").cloned()).collect()
}

/// A box and its class, as the tools read them.
type Read = ([f64; 4], String);

/// What the tools read in a set of no named things: side → picture → boxes.
fn read(format: &str, set: &Path) -> BTreeMap<String, BTreeMap<String, Vec<Read>>> {
    read_classes(format, set, &["object"])
}

/// The same in a set of these classes.
fn read_classes(format: &str, set: &Path, classes: &[&str]) -> BTreeMap<String, BTreeMap<String, Vec<Read>>> {
    read_as(format, set, classes)
}

/// What the reading script tells of a set of these classes.
fn read_as<T: serde::de::DeserializeOwned>(format: &str, set: &Path, classes: &[&str]) -> T {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".venv/bin/python");
    let script = root.join("tests/support/read_dataset.py");
    let ran =
        Command::new(python).args(["-W", "ignore"]).arg(script).arg(format).arg(set).args(classes).output().unwrap();
    assert!(ran.status.success(), "{format}: {}", stderr(&ran));
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[test]
fn the_tools_that_train_read_the_same_boxes_from_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    footage(at);
    for format in FORMATS {
        done(at, &["footage", "-o", format, "--format", format, "--val", "0.4", "--size", "160x120"]);
        let found = read(format, &at.join(format));
        let expected = pictures(&at.join(format));
        assert_eq!(found.values().map(BTreeMap::len).sum::<usize>(), expected.len(), "{format}");
        assert!(found["train"].len() > 1 && found["val"].len() > 1, "{format}: {found:?}");
        let mut boxes = 0;
        for picture in &expected {
            let name = picture["name"].as_str().unwrap();
            let is_task = format == "cvat" && picture["is_followed"].as_bool().unwrap();
            let name = match format {
                _ if is_task || format == "mot" => {
                    format!("{} {}", picture["clip"].as_str().unwrap(), picture["number"])
                }
                _ => name.to_owned(),
            };
            let mut read = found[picture["split"].as_str().unwrap()][&name].clone();
            let journal = picture["objects"].as_array().unwrap().iter().map(|object| object["bbox"].clone());
            let journal = journal.map(|bbox| (serde_json::from_value(bbox).unwrap(), "object".to_owned()));
            let mut journal: Vec<Read> = journal.collect();
            if is_task {
                // Track by track.
                [&mut read, &mut journal].into_iter().for_each(|boxes| boxes.sort_by(|a, b| a.partial_cmp(b).unwrap()));
            }
            assert_eq!(read, journal);
            boxes += read.len();
        }
        assert!(boxes >= expected.len() / 2, "{format}: {boxes} boxes");
        let page = std::fs::read_to_string(at.join(format).join("contact/page-001.html")).unwrap();
        assert_eq!(page.matches("<figure>").count(), expected.len());
        assert_eq!(page.matches("<rect").count(), boxes);
        assert!(!page.contains("<b> &") && !page.contains("http"), "not escaped, or not self-contained");
    }

    // The copy is left out, whatever its compression; files of one name are apart; a clip is on one side.
    let expected = pictures(&at.join("coco"));
    let sources: Vec<&str> = expected.iter().map(|picture| picture["source"].as_str().unwrap()).collect();
    assert_eq!(sources.iter().filter(|source| source.ends_with("/d.jpg") || source.ends_with("copy.jpg")).count(), 2);
    assert_eq!(sources.iter().filter(|source| source.ends_with("/b.jpg")).count(), 2);
    assert!(sources.contains(&"footage/it's \"a\" <b> & ünï.jpg"));
    let of_clip: Vec<&Value> = expected.iter().filter(|p| p["source"] == "footage/clip .. 1.mp4").collect();
    assert!(of_clip.len() == 2 && of_clip[0]["split"] == of_clip[1]["split"], "{of_clip:?}");

    // The same masks as run lengths: the areas and the boxes of both are held to the annotation by the reader.
    done(at, &["footage", "-o", "rle", "--masks", "rle", "--val", "0.4", "--size", "160x120"]);
    assert_eq!(read("coco", &at.join("rle")), read("coco", &at.join("coco")));
    let annotations = std::fs::read_to_string(at.join("rle/annotations/instances_train.json")).unwrap();
    assert!(annotations.contains("\"counts\":["));
}

/// A track's boxes by frame.
type Way = BTreeMap<u64, [f64; 4]>;
type Listed = Vec<(u64, [f64; 4])>;

#[test]
fn cvat_has_of_a_video_the_tracks_of_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (width, height) = (320, 240);
    let ground = scene::ground(width, height);
    // Two that cross, one of which is gone before the end; the first second is of the ground alone.
    let picture = |frame: u32| {
        let way = frame.saturating_sub(25) as f32;
        let thing = |shape, colours, x: f32, y: f32| Thing {
            shape,
            texture: Texture::Stripes,
            colours,
            centre: [x, y],
            radius: 32.0,
            turn: 0.2,
        };
        let star = thing(Shape::Star, [[250.0, 210.0, 60.0], [160.0, 40.0, 30.0]], -40.0 + 5.0 * way, 95.0);
        let ball = thing(Shape::Ellipse, [[240.0, 240.0, 250.0], [30.0, 40.0, 160.0]], 300.0 - 3.0 * way, 150.0);
        let there = if frame < 25 { vec![] } else { vec![star, ball] };
        scene::draw(&ground, width, height, &there)
    };
    clips::film(at.join("cross.mp4"), (width, height), (0..100).map(picture), X264);
    still(at.join("photo.jpg"), 3);
    let options = ["--size", "320x240"];
    done(at, &[&["cross.mp4", "photo.jpg", "-o", "set", "--format", "cvat", "--every", "0.04"][..], &options].concat());
    mostream(
        at,
        &[&["run", "cross.mp4", "--records", "found.jsonl", "--every", "5", "--quiet"][..], &options].concat(),
    );

    let numbers: BTreeMap<u64, u64> = pictures(&at.join("set"))
        .iter()
        .filter(|picture| picture["is_followed"] == true)
        .map(|picture| (picture["frame"].as_u64().unwrap(), picture["number"].as_u64().unwrap() - 1))
        .collect();
    assert_eq!(numbers, (0..100).map(|frame| (frame, frame)).collect(), "frames that look alike are not left out");
    let mut expected = BTreeMap::<u64, Way>::new();
    for line in std::fs::read_to_string(at.join("found.jsonl")).unwrap().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let Some(number) = numbers.get(&record["frame"].as_u64().unwrap()) else { continue };
        // A box put in where nothing was seen is nothing to learn from.
        let seen = |object: &&Value| object["track"]["state"] != "lost";
        for object in record["objects"].as_array().unwrap().iter().filter(seen) {
            let bbox = serde_json::from_value(object["bbox"].clone()).unwrap();
            expected.entry(object["track"]["id"].as_u64().unwrap()).or_default().insert(*number, bbox);
        }
    }
    assert!(expected.values().filter(|way| way.len() > 25).count() >= 2, "{expected:?}");

    let told: BTreeMap<String, BTreeMap<String, Listed>> = read_as("cvat_tracks", &at.join("set"), &["object"]);
    let way = |(name, way): (&String, &Listed)| {
        (name.rsplit(' ').next().unwrap().parse().unwrap(), way.iter().copied().collect())
    };
    let found: BTreeMap<u64, Way> = told.values().flatten().map(way).collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (id, way) in &expected {
        assert_eq!(found[id].keys().collect::<Vec<_>>(), way.keys().collect::<Vec<_>>(), "track {id}");
        for (frame, bbox) in way {
            let off = (0..4).map(|edge| (bbox[edge] - found[id][frame][edge]).abs()).fold(0.0, f64::max);
            assert!(off <= 1.0 + 1e-9, "track {id}, frame {frame}: {:?}, not {bbox:?}", found[id][frame]);
        }
    }
    // By fewer key frames than boxes; and the still picture beside it.
    let xml = tree(&at.join("set"))
        .into_iter()
        .find(|(path, _)| path.ends_with("annotations.xml") && path.iter().count() == 3);
    let xml = String::from_utf8(xml.unwrap().1).unwrap();
    let boxes: usize = expected.values().map(BTreeMap::len).sum();
    assert!(2 * xml.matches("keyframe=\"1\"").count() < boxes, "{xml}");
    assert_eq!(
        read("cvat", &at.join("set")).values().flatten().filter(|(name, _)| name.starts_with("photo")).count(),
        1
    );
}

#[test]
fn a_run_that_was_cut_off_anywhere_goes_on_to_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    footage(at);
    done(at, &["footage", "-o", "whole"]);
    done(at, &["footage", "-o", "cut"]);
    assert_same(&at.join("whole"), &at.join("cut"), "made twice");
    let lines = journal(&at.join("whole"));
    let clip = lines.iter().position(|line| line.contains("clip .. 1")).unwrap();
    for kept in [0, 1, 4, clip + 1, lines.len() - 1] {
        let torn = &lines[kept][..lines[kept].len() / 2];
        let text: String = lines[..kept].iter().map(|line| format!("{line}\n")).chain([torn.to_owned()]).collect();
        std::fs::write(at.join("cut/.mostream/label.jsonl"), text).unwrap();
        std::fs::create_dir_all(at.join("cut/images/train")).unwrap();
        std::fs::write(at.join("cut/images/train/x.jpg.99.part"), "half").unwrap();
        std::fs::remove_dir_all(at.join("cut/annotations")).ok();
        done(at, &["footage", "-o", "cut"]);
        assert_same(&at.join("whole"), &at.join("cut"), &format!("cut after {kept} lines"));
    }
}

/// Starts a run over many pictures and waits for its first few.
fn started(at: &Path, set: &str) -> Child {
    let mut child = label(at, &["many", "-o", set]).stderr(Stdio::null()).spawn().unwrap();
    while journal(&at.join(set)).len() < 5 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child
}

#[test]
fn a_killed_run_and_an_interrupted_one_end_as_one_that_was_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    (0..60).for_each(|number| still(at.join(format!("many/{number:02}.jpg")), number));
    done(at, &["many", "-o", "whole"]);

    let mut child = started(at, "killed");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(journal(&at.join("killed")).len() < journal(&at.join("whole")).len(), "it was over before it was killed");
    done(at, &["many", "-o", "killed"]);
    assert_same(&at.join("whole"), &at.join("killed"), "killed");

    let mut child = started(at, "stopped");
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let (some, all) = (pictures(&at.join("stopped")).len(), pictures(&at.join("whole")).len());
    assert!((1..all).contains(&some), "{some} of {all} pictures");
    let read_some: usize = read("coco", &at.join("stopped")).values().map(BTreeMap::len).sum();
    assert_eq!(read_some, some);
    done(at, &["many", "-o", "stopped"]);
    assert_same(&at.join("whole"), &at.join("stopped"), "interrupted");
}

#[test]
fn what_cannot_be_used_is_listed_and_the_rest_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    still(at.join("in/good.jpg"), 1);
    let bytes = std::fs::read(at.join("in/good.jpg")).unwrap();
    std::fs::write(at.join("in/cut.jpg"), &bytes[..200]).unwrap();
    std::fs::write(at.join("in/text.png"), "no picture\n").unwrap();
    std::fs::write(at.join("in/empty.mp4"), "").unwrap();
    write_jpeg(&at.join("in/dot.jpg"), &RgbImage::from_pixel(1, 1, [200; 3].into()), 90).unwrap();
    write_jpeg(&at.join("in/wide.jpg"), &drawn(2, 20_000, 40), 90).unwrap();
    clips::make(at.join("in/ends.ts"), (160, 120), 60, true, X264);
    clips::make(at.join("in/ends.mkv"), (160, 120), 60, true, X264).truncated(0.6);

    // The set is within its own footage, and is no footage.
    let arguments = ["in", "missing.mp4", "-o", "in/set", "--every", "0.5", "--val", "1"];
    for _ in 0..2 {
        let (code, told) = outcome(&label(at, &arguments).arg("-q").output().unwrap());
        assert_eq!(code, Some(3), "{told}");
        let listed = std::fs::read_to_string(at.join("in/set/failures.txt")).unwrap();
        let told: String =
            told.lines().map(|line| format!("{}\n", line.strip_prefix("mostream: ").unwrap_or(line))).collect();
        assert_eq!(told, listed);
        for name in ["in/cut.jpg", "in/text.png", "in/empty.mp4", "missing.mp4"] {
            assert_eq!(listed.lines().filter(|line| line.starts_with(&format!("{name}: "))).count(), 1, "{listed}");
        }
        assert!(!listed.contains("good") && !listed.contains("dot") && !listed.contains("wide"), "{listed}");
        let sources: Vec<String> =
            pictures(&at.join("in/set")).iter().map(|p| p["source"].as_str().unwrap().to_owned()).collect();
        for name in ["in/good.jpg", "in/dot.jpg", "in/wide.jpg"] {
            assert_eq!(sources.iter().filter(|source| *source == name).count(), 1, "{sources:?}");
        }
        assert!(sources.iter().any(|source| source.starts_with("in/ends")), "{sources:?}");
        assert!(read("coco", &at.join("in/set"))["train"].is_empty());
    }

    // What is mended is no failure any more.
    let arguments = ["in/cut.jpg", "-o", "mended", "--val", "0"];
    assert_eq!(outcome(&label(at, &arguments).arg("-q").output().unwrap()).0, Some(3));
    assert!(at.join("mended/failures.txt").is_file());
    std::fs::write(at.join("in/cut.jpg"), &bytes).unwrap();
    done(at, &arguments);
    assert!(!at.join("mended/failures.txt").exists() && pictures(&at.join("mended")).len() == 1);

    // It is not ours, it was begun otherwise, or the flags do not fit.
    let refused = |arguments: &[&str], code: i32, says: &str| {
        let (got, told) = outcome(&label(at, arguments).output().unwrap());
        assert!(got == Some(code) && told.contains(says) && !told.contains("panicked"), "{got:?} {told}");
    };
    std::fs::create_dir(at.join("mine")).unwrap();
    std::fs::write(at.join("mine/thesis.txt"), "years").unwrap();
    refused(&["in", "-o", "mine"], 4, "mine is not empty");
    assert_eq!(tree(&at.join("mine")).len(), 1);
    refused(&["in", "-o", "in/good.jpg"], 4, "in/good.jpg");
    refused(&["in", "-o", "in/set", "--val", "1"], 2, "every-ns");
    refused(&["in", "-o", "in/set", "--val", "1", "--every", "0.5", "--split", "time"], 2, "split");
    refused(&["in", "-o", "new", "--format", "yolo", "--masks", "rle"], 2, "--masks rle");
    refused(&["in", "-o", "new", "--val", "1.5"], 2, "0 to 1");
    refused(&["in", "-o", "new", "--every", "0"], 2, "more than 0");
    assert!(!at.join("new").exists());
}

#[test]
fn key_frames_intervals_limits_and_scores_are_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // Ten different scenes of half a second each.
    for number in 0..10 {
        still(at.join(format!("scenes/{number}.jpg")), number);
    }
    let ffmpeg = format!("-v error -framerate 2 -i scenes/%d.jpg -r 20 {X264} clip.mp4");
    assert!(Command::new("ffmpeg").current_dir(at).args(ffmpeg.split(' ')).status().unwrap().success());
    let times = |set: &str| -> Vec<u64> {
        let of = pictures(&at.join(set));
        of.iter().map(|picture| picture["pts_ns"].as_u64().unwrap() / 1_000_000).collect()
    };
    done(at, &["clip.mp4", "-o", "changes"]);
    assert_eq!(times("changes"), (0..10).map(|scene| scene * 500).collect::<Vec<_>>());
    done(at, &["clip.mp4", "-o", "interval", "--every", "1.5"]);
    assert_eq!(times("interval"), [0, 1500, 3000, 4500]);
    done(at, &["clip.mp4", "-o", "limit", "--max-per-video", "3"]);
    assert_eq!(times("limit").len(), 3);
    assert!(times("limit")[2] >= 3000, "{:?}", times("limit"));
    done(at, &["clip.mp4", "-o", "best", "--min-score", "1"]);
    assert_eq!(times("best").len(), 10);
    assert!(pictures(&at.join("best")).iter().all(|picture| picture["objects"].as_array().unwrap().is_empty()));
    assert_eq!(read("coco", &at.join("best")).values().map(BTreeMap::len).sum::<usize>(), 10);
}

/// Writes a picture of one thing of a kind.
fn one_of(folder: &Path, kind: &str, variant: u32) {
    std::fs::create_dir_all(folder).unwrap();
    let size = (192, 144);
    let picture = RgbImage::from_raw(size.0, size.1, crate::support::of_kind(kind, variant, size)).unwrap();
    write_jpeg(&folder.join(format!("{kind} {variant}.jpg")), &picture, 95).unwrap();
}

/// Runs a command of the program well.
fn mostream(at: &Path, arguments: &[&str]) {
    let ran = program::mostream(at, arguments).output().unwrap();
    assert_eq!(outcome(&ran).0, Some(0), "{arguments:?}");
}

#[test]
fn groups_that_somebody_named_are_the_classes_of_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for variant in 0..5 {
        ["ball", "star"].iter().for_each(|kind| one_of(&at.join("seen"), kind, variant));
    }
    let method = ["--method", "tokencut", "--size", "320x240"];
    mostream(at, &[&["discover", "seen", "-o", "found", "--groups", "2", "--quiet"][..], &method].concat());
    let groups: Value = serde_json::from_slice(&std::fs::read(at.join("found/groups.json")).unwrap()).unwrap();
    let mut groups = groups["groups"].as_array().unwrap().iter();
    let is_of_balls = |group: &&Value| group["members"][0]["source"].as_str().unwrap().contains("ball");
    let ball = groups.find(is_of_balls).unwrap()["id"].to_string();
    // As bad as a name may be for XML, JSON, YAML and HTML.
    let name = r#"Bälle: "1" <&'> 🙂 #no"#;
    let naming = |name: &str| mostream(at, &["discover", "--name", "found/groups.json", &format!("{ball}={name}")]);
    naming(name);

    // Never seen before; of the stars nobody has named the group.
    for variant in 5..9 {
        ["ball", "star"].iter().for_each(|kind| one_of(&at.join("new"), kind, variant));
    }
    let options = [&["--groups", "found/groups.json", "--val", "0.5"][..], &method].concat();
    for format in FORMATS {
        done(at, &[&["new", "-o", format, "--format", format][..], &options].concat());
        let found = read_classes(format, &at.join(format), &["object", name]);
        let mut balls = 0;
        for (picture, boxes) in found.values().flatten() {
            let classes: Vec<&str> = boxes.iter().map(|(_, class)| class.as_str()).collect();
            assert_eq!(classes, [if picture.starts_with("ball") { name } else { "object" }], "{format}: {picture}");
            balls += usize::from(picture.starts_with("ball"));
        }
        assert_eq!((balls, found.values().map(BTreeMap::len).sum::<usize>()), (4, 8), "{format}");
        let page = std::fs::read_to_string(at.join(format).join("contact/page-001.html")).unwrap();
        assert_eq!(page.matches(">Bälle: &quot;1&quot; &lt;&amp;&#39;&gt; 🙂 #no</text>").count(), 4);
    }

    // A set goes on with the groups it was begun with, and with no others, be their names the same.
    let again = [&["new", "-o", "coco"][..], &options].concat();
    done(at, &again);
    let refused = |arguments: &[&str], says: &str| {
        let (code, told) = outcome(&label(at, arguments).output().unwrap());
        assert!(code == Some(2) && told.contains(says), "{code:?} {told}");
    };
    let without: Vec<&str> = again.iter().copied().filter(|part| !part.contains("groups")).collect();
    refused(&without, "begun with");
    let file = at.join("found/groups.json");
    let mut other: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    other["groups"][0]["limit"] = 0.001.into();
    std::fs::write(&file, other.to_string()).unwrap();
    refused(&again, "begun with groups");
    naming("ball");
    refused(&again, "begun with");
    refused(&["new", "-o", "none", "--method", "dino-seg", "--groups", "found/groups.json"], "another --method");
    assert!(!at.join("none").exists());
}

#[test]
fn frames_of_one_clip_are_on_one_side_and_numbered_photos_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for number in 1..=16 {
        // Two clips in one folder, and a camera's pictures, all of one size.
        still(at.join(format!("in/street_{number}.jpg")), number);
        still(at.join(format!("in/yard_{number}.jpg")), number + 40);
        let [red, green, blue] = [5, 9, 13].map(|step| (number * step % 7 * 40) as u8);
        let mut photo = drawn(number + 80, 160, 120);
        for pixel in photo.pixels_mut() {
            pixel.0 = [(pixel.0[0] / 3) ^ red, (pixel.0[1] / 3) ^ green, (pixel.0[2] / 3) ^ blue];
        }
        write_jpeg(&at.join(format!("in/IMG_{number:04}.jpg")), &photo, 95).unwrap();
    }
    done(at, &["in", "-o", "set", "--val", "0.5"]);
    let mut sides: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for picture in pictures(&at.join("set")) {
        let name = picture["source"].as_str().unwrap().strip_prefix("in/").unwrap().split('_').next().unwrap();
        let side = picture["split"].as_str().unwrap().to_owned();
        *sides.entry(name.to_owned()).or_default().entry(side).or_default() += 1;
    }
    assert!(sides["street"].len() == 1 && sides["yard"].len() == 1, "{sides:?}");
    assert!(sides["street"].values().sum::<usize>() > 5, "{sides:?}");
    assert!(sides["IMG"].len() == 2 && sides["IMG"].values().all(|&count| count > 2), "{sides:?}");
}

#[test]
fn what_a_folder_holds_besides_is_passed_over_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir_all(at.join("in/sub")).unwrap();
    still(at.join("in/photo"), 1);
    still(at.join("in/photo.jfif"), 2);
    clips::make(at.join("in/anim.gif"), (160, 120), 3, true, "");
    clips::make(at.join("in/clip.data"), (160, 120), 10, false, &format!("{X264} -f matroska"));
    clips::make(at.join("in/frames.jpegs"), (160, 120), 3, true, "-c:v mjpeg -f mjpeg");
    clips::make(at.join("in/named.jpg"), (160, 120), 10, true, &format!("{X264} -f mp4"));
    let others = ["in/.hidden.jpg", "in/icon.ico", "in/notes.txt", "in/sub/old.boxes.mp4", "in/sub/up"];
    still(at.join("in/.hidden.jpg"), 3);
    std::fs::write(at.join("in/notes.txt"), "these are notes\n".repeat(99)).unwrap();
    let icon = "-v error -f lavfi -i testsrc2=s=32x32 -frames:v 1 in/icon.ico";
    assert!(Command::new("ffmpeg").args(icon.split(' ')).current_dir(at).status().unwrap().success());
    clips::make(at.join("in/sub/old.boxes.mp4"), (160, 120), 3, false, X264);
    std::os::unix::fs::symlink("..", at.join("in/sub/up")).unwrap();
    for (command, out) in [("label", "set"), ("discover", "found")] {
        let arguments = ["in", "-o", out, "--size", "64x48", "-q"];
        let ran = program::mostream(at, &[command]).args(arguments).output().unwrap();
        let (code, told) = outcome(&ran);
        assert_eq!(code, Some(0), "{command}: {told}");
        let listed = std::fs::read_to_string(at.join(out).join("failures.txt")).unwrap();
        let listed: Vec<&str> = listed.lines().collect();
        assert_eq!(listed.len(), others.len(), "{command}: {listed:?}");
        for (line, name) in listed.iter().zip(others) {
            assert!(line.starts_with(&format!("{name}: passed over: ")), "{command}: {line}");
        }
        assert!(told.contains("in/notes.txt (") && told.contains("in/icon.ico ("), "{command}: {told}");
    }
}

#[test]
fn a_side_that_is_empty_is_told_and_the_end_of_a_video_can_be_held_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // A new picture every half second, for ten.
    let shown = (0..20).map(|number| scene::Picture { rgb: drawn(number, 160, 120).into_raw(), boxes: Vec::new() });
    clips::film_at(2.0, at.join("a.mp4"), (160, 120), shown, X264);
    for format in FORMATS {
        let told = |set: &str, more: &[&str]| {
            let set = format!("{format}-{set}");
            let arguments = [&["a.mp4", "-o", &set, "--format", format, "--every", "0.5", "-q"], more].concat();
            let (code, told) = outcome(&label(at, &arguments).output().unwrap());
            assert_eq!(code, Some(0), "{told}");
            let pictures = pictures(&at.join(&set));
            let on = |side: &str| pictures.iter().filter(|picture| picture["split"] == side).count();
            (told, on("train"), on("val"))
        };
        let (said, train, val) = told("source", &[]);
        let empty = if val == 0 { "val" } else { "train" };
        assert!(
            train.min(val) == 0 && said.contains(&format!("is in {empty}:")) && said.contains("--split time"),
            "{said}"
        );
        assert_eq!(told("asked", &["--val", "0"]).0, "");
        let (said, train, val) = told("time", &["--split", "time", "--val", "0.3"]);
        assert_eq!(said, "", "{format}");
        assert!(train >= 10 && val >= 4, "{format}: {train} and {val}");
        let set = at.join(format!("{format}-time"));
        let found = read(format, &set);
        assert_eq!((found["train"].len(), found["val"].len()), (train, val), "{format}");
        for picture in pictures(&set) {
            assert_eq!(picture["split"] == "val", picture["pts_ns"].as_u64().unwrap() >= 7_000_000_000, "{picture}");
        }
    }
}

#[test]
fn where_there_is_nothing_to_label_no_set_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    std::fs::write(folder.path().join("empty/notes.txt"), "no picture").unwrap();
    for command in ["label", "discover"] {
        for (input, words) in [("nowhere", "nowhere: there is no such file"), ("empty", "empty: it holds no picture")] {
            let ran = program::mostream(folder.path(), &[command, input, "-o", "out"]).output().unwrap();
            program::fails(&ran, 3, &[words]);
            assert!(!folder.path().join("out").exists(), "{command} {input}");
        }
    }
}
