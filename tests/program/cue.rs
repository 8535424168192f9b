//! `mostream run --cue time`: what moves before a still camera is found, whole; pictures are seen as ever.

use crate::support::clips::{self, Clip, film, luma, make, pan_over};
use crate::support::play::{self, Play};
use crate::support::program::{PROGRAM, stderr};
use crate::support::scene::{self, Shape, Texture, Thing};
use mostream::geometry::PixelBox;
use mostream::motion::Camera;
use mostream::record::{EventRecord, FrameRecord, Phase};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const X264: &str = "-c:v libx264 -preset veryfast -crf 18 -pix_fmt yuv420p";

fn records(input: &Path, more: &[&str]) -> Vec<FrameRecord> {
    told(input, more).0
}

/// The records, and what was said on stderr.
fn told(input: &Path, more: &[&str]) -> (Vec<FrameRecord>, String) {
    let ran = Command::new(PROGRAM)
        .args(["run", "--quiet", "--device", "cpu", "--records", "-"])
        .args(more)
        .arg(input)
        .output()
        .unwrap();
    let said = stderr(&ran);
    assert_eq!(ran.status.code(), Some(0), "{said}");
    let lines = String::from_utf8(ran.stdout).unwrap();
    (lines.lines().map(|line| crate::support::of_any_run(crate::support::validate_line(line).unwrap())).collect(), said)
}

/// A clip of an empty lawn, over which something walks from a frame on.
fn walk(folder: &Path, begin: usize, frames: usize) -> Clip {
    let (width, height) = (320, 240);
    let ground = scene::ground(width, height);
    let picture = |frame: usize| {
        let disc = Thing {
            shape: Shape::Blob,
            texture: Texture::Dots,
            colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
            centre: [40.0 + 4.0 * frame.saturating_sub(begin) as f32, 120.0],
            radius: 24.0,
            turn: 0.3,
        };
        scene::draw(&ground, width, height, if frame < begin { &[] } else { std::slice::from_ref(&disc) })
    };
    film(folder.join("a.mp4"), (width, height), (0..frames).map(picture), X264)
}

#[test]
fn what_moves_before_a_still_camera_is_found_and_a_file_gives_the_same_records_in_every_run() {
    const BEGIN: usize = 60;
    let folder = tempfile::tempdir().unwrap();
    let clip = walk(folder.path(), 50, 100);
    let found = records(&clip.path, &["--cue", "time", "--every", "2"]);
    assert_eq!(found.len(), 100);
    assert!(found[30..50].iter().all(|record| record.objects.is_empty()), "nothing is there yet");
    assert!(found.iter().all(|record| record.camera == Some(Camera::Still)));
    assert!(found.iter().all(|record| record.inferred == (record.frame % 2 == 0)));
    let corners = |[xmin, ymin, xmax, ymax]: [u32; 4]| PixelBox { xmin, ymin, xmax, ymax };
    let is_right = |record: &FrameRecord| {
        let best = record.objects.first().map(|object| corners(object.bbox));
        best.is_some_and(|best| best.iou(&corners(clip.boxes[record.frame as usize])) >= 0.5)
    };
    let late = &found[BEGIN..];
    let right = late.iter().filter(|record| is_right(record)).count();
    assert!(right * 10 >= late.len() * 9, "{right} of {}: {:?}", late.len(), late.last());
    let objects = late.iter().flat_map(|record| &record.objects);
    assert!(objects.clone().all(|object| object.cues.is_some_and(|cues| cues.pixels > 0.0)));
    assert!(objects.count() <= late.len() * 11 / 10, "one thing is one object");
    assert_eq!(records(&clip.path, &["--cue", "time", "--every", "2"]), found);

    let usual = records(&clip.path, &["--cue", "appearance"]);
    assert_eq!(
        records(&clip.path, &["--cue", "time"]),
        records(&clip.path, &[]),
        "time is what a video is asked by itself"
    );
    assert!(usual.iter().all(|record| record.camera.is_none()));
}

#[test]
fn what_walks_has_one_identity_in_records_and_in_a_set_for_trackers() {
    let folder = tempfile::tempdir().unwrap();
    let clip = walk(folder.path(), 50, 110);
    let found = records(&clip.path, &["--every", "2"]);
    let tracks: Vec<_> = found.iter().flat_map(|record| &record.objects).map(|object| object.track.unwrap()).collect();
    assert!(tracks.len() > 40 && tracks.iter().all(|track| track.id == tracks[0].id), "{tracks:?}");
    let last = tracks.last().unwrap();
    // Four pixels a frame, 25 frames a second.
    assert!((last.velocity[0] - 100.0).abs() < 15.0 && last.velocity[1].abs() < 15.0, "{last:?}");
    assert!(last.hits as usize >= tracks.len() && last.first_seen_ns >= 1_960_000_000, "{last:?}");

    // A small thing leaves the pictures much alike: none is left out.
    let set = folder.path().join("set");
    let ran = Command::new(PROGRAM)
        .args(["label", "--quiet", "--format", "mot", "--every", "0.2"])
        .arg("-o")
        .args([&set, &clip.path])
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    let mut clips = ["train", "val"].into_iter().flat_map(|side| std::fs::read_dir(set.join(side)).unwrap());
    let truth = std::fs::read_to_string(clips.next().unwrap().unwrap().path().join("gt/gt.txt")).unwrap();
    let lines: Vec<Vec<&str>> = truth.lines().map(|line| line.split(',').collect()).collect();
    assert!(lines.len() >= 10 && lines.iter().all(|line| line[1] == lines[0][1]), "{truth}");
}

#[test]
fn under_a_moving_camera_a_trail_is_the_way_over_the_ground() {
    let folder = tempfile::tempdir().unwrap();
    let (size, frames, output) = ((480, 240), 60, folder.path().join("seen.mp4"));
    // Stones, by which every frame tells how the camera moved; a lawn is too plain.
    let stones = |width: u32, height: u32| -> Vec<u8> {
        let stone = |x: u32, y: u32| {
            let number = x.wrapping_mul(374_761_393).wrapping_add(y.wrapping_mul(668_265_263));
            60 + ((number ^ (number >> 13)).wrapping_mul(1_274_126_177) >> 24) as u8 / 4
        };
        (0..width * height).flat_map(|at| [stone(at % width / 6, at / width / 6); 3]).collect()
    };
    let clip = pan_over(stones, folder.path().join("pan.mp4"), size, frames, X264);
    let found = records(&clip.path, &["--every", "5", "-o", output.to_str().unwrap()]);
    let last = &found[frames as usize - 1];
    let object = last.objects.iter().max_by_key(|object| object.track.unwrap().hits).unwrap();
    let [xmin, _, xmax, ymax] = object.bbox.map(|edge| edge as usize);
    let feet = (xmin + xmax) / 2;
    let [before, after] = [&clip.path, &output].map(|path| luma(path, frames as usize - 1, size));
    let is_drawn = |x: usize| {
        let changed = |y: usize| before[y * size.0 as usize + x].abs_diff(after[y * size.0 as usize + x]) > 24;
        (ymax.saturating_sub(8)..(ymax + 8).min(size.1 as usize)).any(changed)
    };
    // In a second and a half it went 203 pixels over the lawn, and 55 over the picture.
    let left = (feet - 190..xmin - 4).filter(|x| is_drawn(*x)).count();
    assert!(left as f64 > 0.9 * (xmin - 4 + 190 - feet) as f64, "{left} columns left of {xmin}");
}

#[test]
fn a_small_thing_in_a_large_frame_is_found_by_a_second_look_also_beside_another_file() {
    const BEGIN: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    let (width, height) = (1280, 720);
    // Beds in the lawn: from afar it is all of one colour, and a camera before it could be anywhere.
    let bed = |at: usize| Thing {
        shape: Shape::Blob,
        texture: Texture::Checks,
        colours: [[60.0, 90.0, 50.0], [120.0, 130.0, 96.0]],
        centre: [100.0 + 180.0 * (at % 7) as f32, 90.0 + 180.0 * (at / 7) as f32],
        radius: 80.0,
        turn: at as f32,
    };
    let beds: Vec<Thing> = (0..28).map(bed).collect();
    let ground = scene::draw(&scene::ground(width, height), width, height, &beds).rgb;
    let picture = |frame: usize| {
        let disc = Thing {
            shape: Shape::Blob,
            texture: Texture::Dots,
            colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
            centre: [300.0 + 8.0 * frame.saturating_sub(BEGIN) as f32, 400.0],
            radius: 14.0,
            turn: 0.3,
        };
        scene::draw(&ground, width, height, if frame < BEGIN { &[] } else { std::slice::from_ref(&disc) })
    };
    let clip = film(folder.path().join("small.mp4"), (width, height), (0..70).map(picture), X264);
    let found = records(&clip.path, &[]);
    assert!(found.iter().all(|record| record.camera == Some(Camera::Still)));
    let corners = |[xmin, ymin, xmax, ymax]: [u32; 4]| PixelBox { xmin, ymin, xmax, ymax };
    let right = |found: &[FrameRecord]| {
        let is_right = |record: &&FrameRecord| match &record.objects[..] {
            [object] => corners(object.bbox).iou(&corners(clip.boxes[record.frame as usize])) >= 0.5,
            _ => false,
        };
        found[BEGIN + 5..].iter().filter(is_right).count()
    };
    assert!(right(&found) >= 32, "{} of 35: {:?}", right(&found), found.last());
    let cues = found.iter().flat_map(|record| &record.objects).filter_map(|object| object.cues);
    assert!(cues.clone().count() > 0 && cues.into_iter().all(|cues| cues.appearance > 0.0), "the look speaks for it");
    assert_eq!(right(&records(&clip.path, &["--no-crops"])), 0, "the whole picture is too coarse");

    let other = walk(folder.path(), 10, 40);
    let mut both = records(&clip.path, &[other.path.to_str().unwrap()]);
    both.retain(|record| record.source == found[0].source);
    assert_eq!(both, found);
}

#[test]
fn labels_of_a_video_are_those_of_its_past() {
    let folder = tempfile::tempdir().unwrap();
    let clip = walk(folder.path(), 40, 90);
    let set = folder.path().join("set");
    let mut label = Command::new(PROGRAM);
    label.args(["label", "-q", "--device", "cpu", "--every", "0.4", "-o"]).args([&set, &clip.path]);
    assert!(label.status().unwrap().success());
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(set.join("annotations").join(name)).unwrap()).unwrap()
    };
    let coco = ["instances_train.json", "instances_val.json"].map(read);
    let all = |what: &str| -> Vec<serde_json::Value> {
        coco.iter().flat_map(|side| side[what].as_array().unwrap().clone()).collect()
    };
    let (mut right, objects) = (0, all("annotations"));
    for image in all("images") {
        let name = image["file_name"].as_str().unwrap();
        let frame: usize = name.rsplit(['-', '.']).nth(1).unwrap().parse().unwrap();
        let [xmin, ymin, xmax, ymax] = clip.boxes[frame];
        let truth = PixelBox { xmin, ymin, xmax, ymax };
        right += objects
            .iter()
            .filter(|object| object["image_id"] == image["id"])
            .filter(|object| {
                let [x, y, w, h] = [0, 1, 2, 3].map(|at| object["bbox"][at].as_f64().unwrap() as u32);
                PixelBox { xmin: x, ymin: y, xmax: x + w, ymax: y + h }.iou(&truth) >= 0.5
            })
            .count();
    }
    // Frames that look like one another are in the set once.
    assert!(right >= 1 && objects.len() == right, "{right} of {}", objects.len());
}

#[test]
fn what_a_camera_has_seen_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (width, height) = (320, 240);
    let ground = scene::ground(width, height);
    let bag = Thing {
        shape: Shape::Square,
        texture: Texture::Checks,
        colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
        centre: [200.0, 120.0],
        radius: 28.0,
        turn: 0.3,
    };
    let clip = |name: &str, things: &[Thing], frames: usize| {
        let picture = |_| scene::draw(&ground, width, height, things);
        film(folder.path().join(name), (width, height), (0..frames).map(picture), X264)
    };
    let (empty, later) = (clip("empty.mp4", &[], 60), clip("later.mp4", &[bag], 12));
    let file = folder.path().join("state/yard.scene");
    let kept = ["--scene", file.to_str().unwrap()];
    assert!(records(&empty.path, &kept).iter().all(|record| record.objects.is_empty()));
    let mode = std::fs::metadata(file.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o77, 0, "it shows what the camera shows");
    assert!(records(&later.path, &[]).iter().all(|record| record.objects.is_empty()), "there from the first frame on");
    let before = std::fs::read(&file).unwrap();
    let found = records(&later.path, &kept);
    let corners = |[xmin, ymin, xmax, ymax]: [u32; 4]| PixelBox { xmin, ymin, xmax, ymax };
    for (record, truth) in found.iter().zip(&later.boxes) {
        let [object] = &record.objects[..] else { panic!("frame {}: {:?}", record.frame, record.objects) };
        assert!(corners(object.bbox).iou(&corners(*truth)) > 0.6, "frame {}: {object:?} for {truth:?}", record.frame);
    }
    // What is damaged, or another model's, costs the memory, not the run.
    for broken in [&before[..before.len() / 2], b"nothing"] {
        std::fs::write(&file, broken).unwrap();
        let (found, told) = told(&later.path, &kept);
        assert!(found.len() == 12 && told.contains("its scene is seen anew"), "{told}");
    }
    let (_, told) = told(&later.path, &[&kept[..], &["--precision", "int8"]].concat());
    assert!(told.contains("its scene is seen anew") && told.contains("int8"), "{told}");
}

#[test]
fn a_picture_is_seen_as_by_appearance_alone() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("in");
    std::fs::create_dir(&inside).unwrap();
    for name in ["a.png", "b.png"] {
        make(inside.join(name), (160, 120), 1, false, "-frames:v 1");
    }
    let usual = records(&inside, &["--cue", "appearance"]);
    assert!(usual.iter().all(|record| !record.objects.is_empty()));
    assert_eq!(records(&inside, &["--cue", "time"]), usual);
    assert_eq!(records(&inside, &[]), usual);
}

#[test]
fn what_happens_in_a_scene_is_told_with_its_zone_and_where_nothing_happens_the_file_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    // Somebody comes, stays in the yard for a while, and leaves; the same place without anybody.
    let play = Play::new(8);
    let size = (play::WIDTH, play::HEIGHT);
    let clip = folder.path().join("yard.mp4");
    clips::film_at(play.rate, clip.clone(), size, play.pictures(), clips::X264);
    let truth = play.truth();
    let zone = &truth["zone"][0];
    let (name, polygon, stay) = (&zone["name"], &zone["polygon"], &zone["stay"]);
    let text = format!(
        "every = 5\n[[source]]\ninput = {clip:?}\n[[source.zone]]\nname = {name}\npolygon = {polygon}\nstay = {stay}\n"
    );
    let config = folder.path().join("yard.toml");
    let run = |events: &str| {
        let lines = folder.path().join(events);
        std::fs::write(&config, format!("quiet = true\nevents = {lines:?}\n{text}")).unwrap();
        let ran = Command::new(PROGRAM).args(["run", "--config"]).arg(&config).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
        std::fs::read_to_string(lines).unwrap()
    };
    let lines = run("first.jsonl");
    let told: Vec<EventRecord> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ends: Vec<&EventRecord> = told.iter().filter(|event| event.phase == Phase::End).collect();
    let expected = truth["events"].as_array().unwrap();
    assert_eq!(ends.len(), expected.len(), "{told:?}");
    for event in expected {
        let is_same = |told: &&&EventRecord| {
            let near = |told: u64, key: &str| told.abs_diff(event[key].as_u64().unwrap()) <= 1_000_000_000;
            serde_json::json!(told.event) == event["event"]
                && serde_json::json!(told.zone) == event["zone"]
                && near(told.since_ns, "start_ns")
                && near(told.pts_ns, "end_ns")
        };
        assert!(ends.iter().any(|told| is_same(&told)), "{event} is not in {told:?}");
    }
    // Each is told when it has begun, and of the same thing.
    for end in &ends {
        let start = told.iter().find(|start| start.id == end.id && start.phase == Phase::Start).unwrap();
        assert!(start.told_ns < end.told_ns && start.tracks.first() == end.tracks.first(), "{start:?} {end:?}");
    }
    let of_any_run =
        |lines: &str| Vec::from_iter(lines.lines().map(|line| line[line.find("\"source\"").unwrap()..].to_owned()));
    assert_eq!(of_any_run(&lines), of_any_run(&run("again.jsonl")), "a file tells the same in every run");

    let bare = folder.path().join("bare.mp4");
    let first = play.draw(0);
    clips::film_at(
        play.rate,
        bare.clone(),
        size,
        (0..90).map(|_| scene::Picture { rgb: first.rgb.clone(), boxes: vec![] }),
        clips::X264,
    );
    let none = folder.path().join("none.jsonl");
    let ran = Command::new(PROGRAM)
        .args(["run", "--quiet", "--every", "5", "--events"])
        .args([&none, &bare])
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    assert_eq!(std::fs::read_to_string(none).unwrap(), "");
}
