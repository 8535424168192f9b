//! `mostream eval` as its users meet it, on drawn data sets; and the page of results.

use crate::support::clips;
use crate::support::play::{self, Play};
use crate::support::program::{PROGRAM, records, stderr};
use crate::support::scene::{self, Shape, Texture, Thing};
use mostream::evaluate::report::Report;
use mostream::localize::MOST_MIN_SCORE;
use mostream::motion::Camera;
use mostream::picture::{RgbImage, write_jpeg};
use mostream::scene::MIN_SCORE;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const PATCHES: [&str; 2] = ["--patches", "48"];

fn eval(dataset: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["eval", "--quiet"]).arg(dataset).args(PATCHES).args(arguments);
    command
}

/// A COCO data set of `count` pictures with a disc each, and one more that is no picture.
fn draw(folder: &Path, count: u32) {
    std::fs::create_dir(folder.join("images")).unwrap();
    let (width, height) = (96, 72);
    let ground = scene::ground(width, height);
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for id in 0..count {
        let disc = Thing {
            shape: Shape::Blob,
            texture: Texture::Dots,
            colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
            centre: [30.0 + (id % 5) as f32 * 8.0, 34.0],
            radius: 16.0 + (id % 3) as f32 * 3.0,
            turn: id as f32,
        };
        let picture = scene::draw(&ground, width, height, &[disc]);
        let name = format!("{id:03}.jpg");
        let image = RgbImage::from_raw(width, height, picture.rgb).unwrap();
        write_jpeg(&folder.join("images").join(&name), &image, 95).unwrap();
        images.push(json!({ "id": id, "file_name": name, "width": width, "height": height }));
        let [xmin, ymin, xmax, ymax] = picture.boxes[0];
        annotations.push(json!({ "id": id + 1, "image_id": id, "category_id": 1, "iscrowd": 0,
            "bbox": [xmin, ymin, xmax - xmin, ymax - ymin], "area": (xmax - xmin) * (ymax - ymin) }));
    }
    std::fs::write(folder.join("images/broken.jpg"), b"\xff\xd8\xff\xe0 not a picture").unwrap();
    images.push(json!({ "id": count, "file_name": "broken.jpg", "width": width, "height": height }));
    let set = json!({ "images": images, "annotations": annotations, "categories": [{ "id": 1, "name": "disc" }] });
    std::fs::write(folder.join("annotations.json"), set.to_string()).unwrap();
}

fn report(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The report without what two runs of the same thing differ in.
fn lasting(path: &Path) -> Value {
    let mut report = report(path);
    for field in ["date", "machine"] {
        report.as_object_mut().unwrap().remove(field).unwrap();
    }
    for outcome in report["results"].as_array_mut().unwrap() {
        outcome.as_object_mut().unwrap().remove("milliseconds").unwrap();
    }
    report
}

fn lines(path: &Path) -> usize {
    std::fs::read(path).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn a_data_set_becomes_tables_a_report_and_rows_and_a_broken_picture_is_told() {
    let folder = tempfile::tempdir().unwrap();
    draw(folder.path(), 6);
    let out = tempfile::tempdir().unwrap();
    let (json, csv) = (out.path().join("r.json"), out.path().join("r.csv"));
    let arguments = ["--method", "all", "--json", json.to_str().unwrap(), "--csv", csv.to_str().unwrap()];
    let ran = eval(folder.path(), &arguments).output().unwrap();
    let (told, errors) = (String::from_utf8_lossy(&ran.stdout), stderr(&ran));
    assert_eq!(code(&ran), Some(3), "{errors}");
    assert!(errors.contains("1 could not be used") && errors.contains("broken.jpg"), "{errors}");
    for word in ["6 pictures", "CorLoc", "AP50", "most", "lost", "tokencut", "dino-seg"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let report: Report = serde_json::from_value(report(&json)).unwrap();
    assert_eq!((report.dataset.pictures, report.dataset.objects, report.failures.len()), (6, 6, 1));
    assert_eq!(report.results.len(), 4);

    // The rows say the same as the report.
    let text = std::fs::read_to_string(&csv).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| rows[0].iter().position(|cell| *cell == name).unwrap();
    assert_eq!(rows.len(), 1 + 4 * 6);
    for outcome in &report.results {
        let method = outcome.method.to_string();
        let mine = || rows[1..].iter().filter(|row| row[column("method")] == method);
        let localized = mine().filter(|row| row[column("localized_best")] == "1").count();
        let boxes: u64 = mine().map(|row| row[column("boxes")].parse::<u64>().unwrap()).sum();
        let share = outcome.measures.corloc_single.unwrap();
        assert_eq!((share.of, outcome.measures.boxes), (6, boxes), "{method}");
        assert_eq!(share.estimate.value, localized as f64 / 6.0, "{method}");
        assert!(share.estimate.low.unwrap() <= share.estimate.value && outcome.milliseconds.infer > 0.0);
    }

    // The page of results is made of the same report.
    let page = crate::results::markdown(out.path()).unwrap();
    let most = report.results[0].measures.corloc_any.unwrap().estimate;
    assert!(page.contains(&format!("| {:.1} [", 100.0 * most.value)) && page.contains(&report.date), "{page}");

    // Again: nothing is computed, and nothing but the date is new.
    let (first, kept) = (self::report(&json), std::fs::read(out.path().join("r.state.jsonl")).unwrap());
    eval(folder.path(), &arguments).output().unwrap();
    let mut second = self::report(&json);
    second["date"] = first["date"].clone();
    assert_eq!(first, second);
    assert_eq!(kept, std::fs::read(out.path().join("r.state.jsonl")).unwrap());
}

#[test]
fn a_run_that_was_killed_goes_on_and_says_what_one_in_one_piece_says() {
    let folder = tempfile::tempdir().unwrap();
    draw(folder.path(), 60);
    let out = tempfile::tempdir().unwrap();
    let (whole, pieces) = (out.path().join("whole.json"), out.path().join("pieces.json"));
    let ran =
        eval(folder.path(), &["--method", "most,lost", "--jobs", "2", "--json", whole.to_str().unwrap()]).output();
    assert_eq!(code(&ran.unwrap()), Some(3));

    let arguments = ["--method", "most", "--method", "lost", "--json", pieces.to_str().unwrap()];
    let state = out.path().join("pieces.state.jsonl");
    let mut child = eval(folder.path(), &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while lines(&state) < 10 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let done = lines(&state);
    assert!((10..120).contains(&done) && !pieces.exists(), "{done} lines");
    // A line that was torn by the cut.
    let half = std::fs::read(&state).unwrap()[..40].to_vec();
    std::fs::File::options().append(true).open(&state).unwrap().write_all(&half).unwrap();

    assert_eq!(code(&eval(folder.path(), &arguments).output().unwrap()), Some(3));
    assert_eq!(lines(&state), 120, "each picture and method once");
    assert_eq!(lasting(&pieces), lasting(&whole));
}

#[test]
fn frames_of_a_video_are_those_of_run() {
    let folder = tempfile::tempdir().unwrap();
    let x264 = "-c:v libx264 -preset veryfast -crf 12 -pix_fmt yuv420p";
    let clip = clips::make(folder.path().join("disc.mp4"), (96, 72), 9, true, x264);
    // Nothing is said of the last frame.
    let frames: Vec<Value> = clip.boxes[..8].iter().map(|bbox| json!([bbox])).collect();
    let truth = json!({ "clip": "disc.mp4", "frames": frames });
    std::fs::write(folder.path().join("disc.boxes.json"), truth.to_string()).unwrap();
    let line = |(at, [xmin, ymin, xmax, ymax]): (usize, &[u32; 4])| {
        format!("{},4,{},{},{},{},1,-1,-1,-1\n", at + 1, xmin + 1, ymin + 1, xmax - xmin, ymax - ymin)
    };
    let identities: String = clip.boxes[..8].iter().enumerate().map(line).collect();
    std::fs::write(folder.path().join("disc.mot.txt"), identities).unwrap();
    for (cue, min_score) in [("time", MIN_SCORE), ("appearance", MOST_MIN_SCORE)] {
        let out = tempfile::tempdir().unwrap();
        let json = out.path().join("r.json");
        let ran =
            eval(folder.path(), &["--every", "2", "--cue", cue, "--json", json.to_str().unwrap()]).output().unwrap();
        assert_eq!(code(&ran), Some(0), "{}", stderr(&ran));

        let run = Command::new(PROGRAM)
            .args(["run", "--quiet", "--cue", cue, "--records", "-"])
            .args(PATCHES)
            .arg(&clip.path)
            .output()
            .unwrap();
        let records = records(&run.stdout);
        let state = std::fs::read_to_string(out.path().join("r.state.jsonl")).unwrap();
        let scores = |line: &Value| -> Vec<f64> {
            line["scores"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect()
        };
        let found: Vec<Value> = state.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(found.iter().map(|line| line["frame"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 2, 4, 6]);
        for line in found {
            let record = &records[line["frame"].as_u64().unwrap() as usize];
            let boxes: Vec<_> = record.objects.iter().map(|object| object.bbox).collect();
            // The state keeps what `run` leaves out by its score.
            let kept = line["boxes"]
                .as_array()
                .unwrap()
                .iter()
                .zip(scores(&line))
                .filter(|(_, score)| *score >= f64::from(min_score));
            assert_eq!(
                kept.map(|(bbox, _)| bbox.clone()).collect::<Vec<_>>(),
                json!(boxes).as_array().unwrap().clone()
            );
        }
        let report = report(&json);
        let video = &report["results"][0]["measures"]["video"];
        assert_eq!((&video["clips"][0]["id"], &video["clips"][0]["frames"]), (&json!("disc"), &json!(4)));
        // Frames that are looked at one by one have no tracks.
        let (own, all) = (&video["clips"][0]["tracking"], &video["tracking"]);
        match cue {
            "time" => assert_eq!(own["hota"], all["hota"]["value"]),
            _ => assert!(own.is_null() && all.is_null()),
        }
        let told = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(told.contains("HOTA"), cue == "time", "{told}");
    }
}

/// A folder with one clip of a panning camera, and what is true of it.
fn panned(folder: &Path) -> clips::Clip {
    let clip =
        clips::pan(folder.join("pan.mp4"), (160, 120), 40, "-c:v libx264 -preset veryfast -crf 14 -pix_fmt yuv420p");
    let frames: Vec<Value> = clip.boxes.iter().map(|bbox| json!([bbox])).collect();
    let truth = json!({ "clip": "pan.mp4", "frames": frames });
    std::fs::write(folder.join("pan.boxes.json"), truth.to_string()).unwrap();
    clip
}

#[test]
fn before_a_moving_camera_a_bound_of_the_score_is_that_of_run() {
    let folder = tempfile::tempdir().unwrap();
    let clip = panned(folder.path());
    let mut all = Vec::new();
    for least in ["0.02", "0.7"] {
        let out = tempfile::tempdir().unwrap();
        let (csv, bound) = (out.path().join("r.csv"), ["--min-score", least]);
        let arguments = [&bound[..], &["--csv", csv.to_str().unwrap()]].concat();
        let ran = eval(folder.path(), &arguments).output().unwrap();
        assert_eq!(code(&ran), Some(0), "{}", stderr(&ran));
        let run = Command::new(PROGRAM)
            .args(["run", "--quiet", "--records", "-"])
            .args([&PATCHES[..], &bound].concat())
            .arg(&clip.path)
            .output()
            .unwrap();
        let records = records(&run.stdout);
        assert!(records[20..].iter().all(|record| record.camera == Some(Camera::Moving)), "{:?}", records[20].camera);
        let boxes: Vec<String> = records.iter().map(|record| record.objects.len().to_string()).collect();
        let text = std::fs::read_to_string(&csv).unwrap();
        let column = text.lines().next().unwrap().split(',').position(|name| name == "boxes").unwrap();
        let found: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').nth(column).unwrap()).collect();
        assert_eq!(found, boxes, "at least {least}");
        all.push(records);
    }
    assert_ne!(all[0], all[1]);
}

#[test]
fn what_a_cue_brings_is_seen_without_it_and_adaptive_runs_say_what_they_spare() {
    let folder = tempfile::tempdir().unwrap();
    panned(folder.path());
    let report = |more: &[&str]| {
        let out = tempfile::tempdir().unwrap();
        let json = out.path().join("r.json");
        let ran = eval(folder.path(), &[more, &["--json", json.to_str().unwrap()]].concat()).output().unwrap();
        assert_eq!(code(&ran), Some(0), "{}", stderr(&ran));
        let report: Report = serde_json::from_value(report(&json)).unwrap();
        (report.results[0].clone(), String::from_utf8(ran.stdout).unwrap())
    };
    let (whole, _) = report(&[]);
    let (still, told) = report(&["--without", "motion,appearance"]);
    assert!(whole.measures.boxes > 0 && whole.without.is_empty());
    // Of the frames before the camera is known to move some are left.
    assert!(still.measures.boxes < whole.measures.boxes / 2, "{} of {}", still.measures.boxes, whole.measures.boxes);
    assert!(told.contains("most, time, without motion, without appearance"), "{told}");
    let share =
        |outcome: &mostream::evaluate::report::Outcome| outcome.measures.video.as_ref().unwrap().clips[0].inferred;
    assert_eq!((share(&whole), share(&report(&["--infer-every", "4"]).0)), (Some(1.0), Some(0.25)));

    // Nothing happens for eight seconds: two are learned by five looks each, then the model rests but for a look now and then.
    std::fs::remove_file(folder.path().join("pan.mp4")).unwrap();
    std::fs::remove_file(folder.path().join("pan.boxes.json")).unwrap();
    let lawn = (0..200).map(|_| scene::Picture { rgb: scene::ground(96, 72), boxes: Vec::new() });
    clips::film(folder.path().join("lawn.mp4"), (96, 72), lawn, "-c:v libx264 -preset veryfast -pix_fmt yuv420p");
    let truth = json!({ "clip": "lawn.mp4", "frames": vec![json!([]); 200] });
    std::fs::write(folder.path().join("lawn.boxes.json"), truth.to_string()).unwrap();
    let (spared, told) = report(&["--adaptive", "--every", "10"]);
    let inferred = share(&spared).unwrap();
    // Of frames 0 to 190.
    assert!((10.0..15.0).contains(&(inferred * 191.0)), "{inferred}");
    assert!(told.contains("most, time, adaptive") && told.contains(&format!("{:.1}", 100.0 * inferred)), "{told}");
    assert_eq!(spared.measures.empty.unwrap().per_minute.unwrap().value, 0.0);
}

#[test]
fn parts_of_a_data_set_and_wrong_flags() {
    let folder = tempfile::tempdir().unwrap();
    draw(folder.path(), 5);
    let exclude = folder.path().join("seen.json");
    std::fs::write(&exclude, r#"["000.jpg", "002", "broken.jpg"]"#).unwrap();
    let exclude = exclude.to_str().unwrap();
    let partial = folder.path().join("partial.json");
    std::fs::write(&partial, r#"["001"]"#).unwrap();
    let ran = eval(folder.path(), &["--exclude", exclude]).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(code(&ran), Some(0), "{}", stderr(&ran));
    assert!(told.contains("3 pictures") && told.contains("3 items excluded"), "{told}");
    let ran = eval(folder.path(), &["--exclude", exclude, "--limit", "2"]).output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stdout).contains("2 pictures"));

    let ran = eval(folder.path(), &["--exclude", exclude, "--partial", partial.to_str().unwrap()]).output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stdout).contains("1 pictures with only some objects annotated"));

    std::fs::write(folder.path().join("no.json"), r#"{"a": 1}"#).unwrap();
    let no_list = folder.path().join("no.json");
    let wrong: [(&[&str], i32, &str); 7] = [
        (&["--without", "colour"], 2, "pixels, novelty, ghosts, motion, appearance, crops"),
        (&["--exclude", no_list.to_str().unwrap()], 3, "no JSON list"),
        (&["--json", "a", "--csv", "a"], 2, "both --json and --csv"),
        (&["--method", "best"], 2, "expected most, lost, tokencut or dino-seg, or all"),
        (&["--feature", "attention"], 2, "k, q or v"),
        (&["--min-score", "7"], 2, "--min-score"),
        (&["--format", "voc"], 3, "JPEGImages"),
    ];
    for (arguments, exit, word) in wrong {
        let ran = eval(folder.path(), arguments).output().unwrap();
        let errors = stderr(&ran);
        assert_eq!(code(&ran), Some(exit), "{arguments:?}: {errors}");
        assert!(errors.contains(word), "{arguments:?}: {errors}");
    }
    // A file that is something else is left as it is.
    let notes = folder.path().join("notes.state.jsonl");
    std::fs::write(&notes, "dear diary\nto be continued").unwrap();
    let ran = eval(folder.path(), &["--json", folder.path().join("notes.json").to_str().unwrap()]).output().unwrap();
    assert_eq!(code(&ran), Some(4), "{}", stderr(&ran));
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "dear diary\nto be continued");
}

#[test]
fn the_page_of_results_is_what_the_stored_reports_make() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = std::fs::read_to_string(docs.join("RESULTS.md")).unwrap();
    assert!(
        page == crate::results::markdown(&docs.join("results")).unwrap(),
        "docs/RESULTS.md is stale: run `make results`"
    );
}

#[test]
fn clips_of_which_it_is_known_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    std::fs::create_dir(&set).unwrap();
    // Somebody stops; and nothing happens.
    for play in [2, 11].map(Play::new) {
        let clip = set.join(format!("{}.mp4", play.name()));
        clips::film_at(play.rate, clip.clone(), (play::WIDTH, play::HEIGHT), play.pictures(), clips::X264);
        std::fs::write(clip.with_extension("events.json"), play.truth().to_string()).unwrap();
    }
    let json = folder.path().join("events.json");
    let patches = ["--patches", "300", "--infer-every", "5"];
    let run = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["eval", "--quiet"]).arg(&set).args(patches).args(more).output().unwrap()
    };
    let ran = run(&["--json", json.to_str().unwrap()]);
    assert_eq!(code(&ran), Some(0), "{}", stderr(&ran));
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    let report: Report = serde_json::from_value(report(&json)).unwrap();
    let events = report.events.unwrap();
    assert_eq!((report.results.len(), report.dataset.clips, report.dataset.events), (0, 2, 2));
    let row = |name: &str| events.kinds.iter().find(|row| row.name == name).unwrap();
    for name in ["object", "stopped"] {
        let row = row(name);
        assert_eq!((row.truth, row.told, row.right, row.lasting, row.ends), (1, 1, 1, 1, 1), "{events:?}");
    }
    assert_eq!(events.empty.unwrap().wrong, 0);
    assert!(events.empty.unwrap().minutes > 0.3 && row("stopped").delay.unwrap() >= 2.0, "{events:?}");
    for word in ["2 clips, 2 events", "Events by situation", "stopped", "Events where nobody is"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    for (arguments, why) in [
        (&["--cue", "appearance"][..], "known by the past"),
        (&["--method", "all"], "one --method"),
        (&["--csv", "rows.csv"], "--json"),
    ] {
        let ran = run(arguments);
        assert_eq!(code(&ran), Some(2), "{arguments:?}: {}", stderr(&ran));
        assert!(stderr(&ran).contains(why), "{arguments:?}: {}", stderr(&ran));
    }
}
