//! `mostream discover` as its users meet it: three kinds of drawn things come apart, their names reach the records, and files
//! that are not its own are refused in words.

use crate::support::browser::{Browser, ENTER, ESCAPE, SHIFT, TAB};
use crate::support::clips;
use crate::support::program::{self, PROGRAM, stderr};
use crate::support::scene::{self, Shape, Texture, Thing};
use mostream::record::FrameRecord;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SIZE: (u32, u32) = (192, 144);

fn mostream(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

/// Runs, and must end with this code; what it said.
fn told(arguments: &[&str], code: i32) -> String {
    let ran = mostream(arguments);
    let said = stderr(&ran);
    assert_eq!(ran.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

/// A picture of one thing of a kind; `variant` moves and turns it.
fn picture(folder: &Path, kind: &str, variant: u32) -> PathBuf {
    let path = folder.join(format!("{kind} {variant}.png"));
    image(&path, &crate::support::of_kind(kind, variant, SIZE));
    path
}

fn image(path: &Path, rgb: &[u8]) {
    let raw = path.with_extension("ppm");
    std::fs::write(&raw, [format!("P6 {} {} 255\n", SIZE.0, SIZE.1).as_bytes(), rgb].concat()).unwrap();
    let made = Command::new("ffmpeg").args(["-v", "error", "-y", "-i"]).arg(&raw).arg(path).status().unwrap();
    std::fs::remove_file(raw).unwrap();
    assert!(made.success());
}

fn pictures(folder: &Path) -> PathBuf {
    let photos = folder.join("photos");
    std::fs::create_dir(&photos).unwrap();
    for variant in 0..5 {
        for kind in ["ball", "star", "blob"] {
            picture(&photos, kind, variant);
        }
    }
    photos
}

fn groups(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("groups.json")).unwrap()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The kind that a group's member was drawn as.
fn kind(member: &Value) -> String {
    let name = Path::new(member["source"].as_str().unwrap()).file_stem().unwrap().to_str().unwrap();
    name.split(' ').next().unwrap().to_owned()
}

fn records(input: &Path, file: &Path) -> Vec<FrameRecord> {
    let ran =
        mostream(&["run", text(input), "--groups", text(file), "--records", "-", "--quiet", "--method", "tokencut"]);
    assert!(ran.status.success(), "{}", stderr(&ran));
    program::records(&ran.stdout)
}

#[test]
fn three_kinds_come_apart_and_their_names_reach_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let photos = pictures(folder.path());
    std::fs::write(photos.join("broken.png"), b"no picture").unwrap();
    let out = folder.path().join("found <b>");
    let said = told(&["discover", text(&photos), "-o", text(&out), "--method", "tokencut"], 3);
    assert!(said.contains("15 objects") && said.contains("3 groups") && said.contains("broken.png"), "{said}");

    let found = groups(&out);
    let all = found["groups"].as_array().unwrap();
    assert_eq!(all.len(), 3, "{said}");
    for group in all {
        let members = group["members"].as_array().unwrap();
        assert_eq!(group["size"], members.len());
        assert!(members.iter().all(|member| kind(member) == kind(&members[0])), "a mixed group: {members:?}");
        for member in members {
            let [xmin, ymin, xmax, ymax] = [0, 1, 2, 3].map(|at| member["bbox"][at].as_u64().unwrap() as u32);
            assert!(xmin < xmax && xmax <= SIZE.0 && ymin < ymax && ymax <= SIZE.1);
            assert!(out.join(member["thumbnail"].as_str().unwrap()).is_file());
        }
    }
    assert!(std::fs::read_to_string(out.join("index.html")).unwrap().contains("groups.js"));

    // Names given on the command line, one taken back.
    let file = out.join("groups.json");
    let number = |wanted: &str| all.iter().find(|group| kind(&group["members"][0]) == wanted).unwrap()["id"].clone();
    let name = |kind: &str, name: &str| format!("{}={name}", number(kind));
    told(
        &["discover", "--name", text(&file), &name("ball", "Bällchen \"1\""), &name("star", "star"), &name("star", "")],
        0,
    );
    let script = std::fs::read_to_string(out.join("groups.js")).unwrap();
    let script = script.strip_prefix("const DATA = ").and_then(|text| text.strip_suffix(";\n")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(script).unwrap(), groups(&out), "the gallery reads the same");

    let labels = |kind: &str| -> Vec<Option<String>> {
        let records = records(&picture(folder.path(), kind, 7), &file);
        records.into_iter().flat_map(|record| record.objects).map(|object| object.label).collect()
    };
    assert_eq!(labels("ball"), [Some("Bällchen \"1\"".to_owned())], "a ball never seen before");
    assert_eq!(labels("star"), [None], "its group has no name");
    assert_eq!(labels("blob"), [None]);

    // Names are not lost by looking again.
    let said = told(&["discover", text(&photos), "-o", text(&out)], 2);
    assert!(said.contains("named groups"), "{said}");
}

#[test]
fn the_gallery_is_read_and_named_by_keyboard_and_gives_the_file_back() {
    let folder = tempfile::tempdir().unwrap();
    let photos = pictures(folder.path());
    let out = folder.path().join("found");
    told(&["discover", text(&photos), "-o", text(&out), "--method", "tokencut", "--quiet"], 0);
    let browser = Browser::open(1280, 1000);
    browser.load(&out.join("index.html"));
    assert_eq!(browser.text("#counts"), "15 objects in 3 groups, 0 named");
    let decoded = "return Promise.all([...document.querySelectorAll('.grid img')].map(image => { \
        image.loading = 'eager'; return image.decode(); })).then(images => images.length)";
    assert_eq!(browser.run(decoded), 15);
    assert_eq!(browser.run("return document.getElementById('save').disabled"), true);
    let focus = || browser.run("return document.activeElement.ariaLabel ?? document.activeElement.tagName");
    let press = |key: &str| {
        browser.keys(&[key]);
        focus()
    };
    for (key, wanted) in [("j", 1), ("j", 2), ("j", 3), ("j", 3), ("k", 2), ("k", 1), ("k", 1)] {
        assert_eq!(press(key), format!("Group {wanted}"), "{key}");
    }

    // From a group to its name, and from there to the next; letters are text there.
    assert_eq!(press(TAB), "Name of group 1");
    browser.write(" jk <b>");
    assert_eq!(browser.text("#counts"), "15 objects in 3 groups, 1 named");
    assert_eq!(press(ENTER), "Name of group 2");
    browser.write("x");
    browser.run("document.activeElement.select()");
    browser.keys(&["\u{e003}"]);
    assert_eq!(press(ESCAPE), "BODY");

    // A thumbnail opens, says where it is from, closes, and is where it was.
    assert_eq!(press("j"), "Group 1");
    browser.keys(&[TAB]);
    assert_eq!(press(TAB), "BUTTON");
    let source = groups(&out)["groups"][0]["members"][0]["source"].clone();
    browser.keys(&[ENTER]);
    assert_eq!(browser.run("return document.getElementById('one').open"), true);
    assert_eq!(browser.text("#one dd"), source.as_str().unwrap());
    browser.keys(&[ESCAPE]);
    assert_eq!(browser.run("return document.getElementById('one').open"), false);
    assert_eq!(browser.run("return document.activeElement.title"), source);
    assert_eq!(browser.run("return getComputedStyle(document.activeElement).outlineStyle !== 'none'"), true);
    browser.keys(&[SHIFT, TAB]);
    assert_eq!(focus(), "Name of group 1");

    // The file that comes down is the one that was read, and the name; other commands take it.
    browser.click("#save");
    let file = out.join("groups.json");
    std::fs::write(&file, browser.downloaded("groups.json")).unwrap();
    let mut named = groups(&out);
    assert_eq!(named["groups"][0]["name"].take(), "jk <b>");
    std::fs::write(folder.path().join("named.json"), std::fs::read(&file).unwrap()).unwrap();
    told(&["discover", "--name", text(&file), "1="], 0);
    assert_eq!(named, groups(&out));
    let said = told(&["discover", "--name", text(&folder.path().join("named.json")), "2=star"], 0);
    assert!(said.contains("is jk <b>") && said.contains("is star"), "{said}");
    assert_eq!(browser.run("return document.getElementById('save').disabled"), true);
    assert_eq!(browser.console(), json!([]));
}

#[test]
fn a_phone_shows_the_gallery_without_scrolling_sideways() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("a folder with a very long name that has to be broken somewhere, or scrolls");
    std::fs::create_dir(&photos).unwrap();
    (0..4).for_each(|variant| drop(picture(&photos, "ball", variant)));
    let out = folder.path().join("found");
    told(&["discover", text(&photos), "-o", text(&out), "--method", "tokencut", "--groups", "1", "--quiet"], 0);
    let browser = Browser::open(390, 844);
    browser.load(&out.join("index.html"));
    let width = || browser.run("return document.documentElement.scrollWidth");
    assert_eq!(width(), 390);
    browser.click("summary");
    // The list is made when the browser says that it is open, which is a little later.
    let listed = "return new Promise(done => (function look() { \
        const count = document.querySelectorAll('details li').length; count ? done(count) : setTimeout(look, 10); })())";
    assert_eq!(browser.run(listed), 4);
    assert_eq!(width(), 390);
    browser.click("section .grid button");
    let [left, top, wide, high] = browser.area("#one");
    assert!(left >= 0.0 && top >= 0.0 && left + wide <= 390.0 && top + high <= 844.0, "{left} {top} {wide} {high}");
    browser.click("#one button");
    // What is touched is as large as a finger, and text that is typed is not so small that the page zooms in.
    for touched in ["#save", ".head input", ".grid button", "summary"] {
        let [_, _, wide, high] = browser.area(touched);
        assert!(wide >= 40.0 && high >= 40.0, "{touched}: {wide}x{high}");
    }
    let size = browser.run("return parseFloat(getComputedStyle(document.querySelector('.head input')).fontSize)");
    assert!(size.as_f64().unwrap() >= 16.0, "{size}");
    assert_eq!(browser.console(), json!([]));
}

#[test]
fn a_group_names_only_what_is_near_enough() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    (0..6).for_each(|variant| drop(picture(&photos, "ball", variant)));
    let out = folder.path().join("found");
    told(&["discover", text(&photos), "-o", text(&out), "--method", "tokencut", "--groups", "1", "--quiet"], 0);
    let file = out.join("groups.json");
    told(&["discover", "--name", text(&file), "1=ball"], 0);
    let label = |kind: &str| records(&picture(folder.path(), kind, 8), &file)[0].objects[0].label.clone();
    assert_eq!(label("ball").as_deref(), Some("ball"));
    assert_eq!(label("star"), None, "the only group is not its own");
    assert_eq!(label("blob"), None);
}

#[test]
fn a_video_is_looked_at_now_and_then() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clips::make(folder.path().join("clip.mp4"), SIZE, 30, true, "-c:v libx264 -pix_fmt yuv420p");
    let out = folder.path().join("found");
    let look = ["discover", text(&clip.path), "-o", text(&out), "--every", "0.4", "--method", "tokencut"];
    let said = told(&look, 0);
    assert!(said.contains("3 pictures"), "{said}");
    let found = groups(&out);
    let mut frames: Vec<u64> = found["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|g| g["members"].as_array().unwrap())
        .map(|member| member["frame"].as_u64().unwrap())
        .collect();
    frames.sort();
    assert_eq!(frames, [0, 10, 20]);
    assert!(told(&[&look[..], &["--min-score", "1"]].concat(), 0).contains(" 0 objects"), "none is that sure");
}

#[test]
fn of_each_thing_that_comes_and_goes_in_a_video_there_is_one_sample_and_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (width, height) = (320, 240);
    let ground = scene::ground(width, height);
    let picture = |frame: u32| {
        let thing = |shape, colours, x: f32| Thing {
            shape,
            texture: Texture::Stripes,
            colours,
            centre: [x, 120.0],
            radius: 30.0,
            turn: 0.2,
        };
        let (first, second) = (6.0 * (frame as f32 - 30.0), width as f32 - 6.0 * (frame as f32 - 105.0));
        let things = match frame {
            25..90 => vec![thing(Shape::Star, [[250.0, 210.0, 60.0], [160.0, 40.0, 30.0]], first)],
            100..165 => vec![thing(Shape::Ellipse, [[240.0, 240.0, 250.0], [30.0, 40.0, 160.0]], second)],
            _ => vec![],
        };
        scene::draw(&ground, width, height, &things)
    };
    let clip = folder.path().join("clip.mp4");
    clips::film(clip.clone(), (width, height), (0..175).map(picture), "-c:v libx264 -crf 18 -pix_fmt yuv420p");
    let out = folder.path().join("found");
    told(&["discover", text(&clip), "-o", text(&out), "--every", "0.2", "--size", "320x240"], 0);
    let found = groups(&out);
    let members = found["groups"].as_array().unwrap().iter().flat_map(|group| group["members"].as_array().unwrap());
    let mut members: Vec<(u64, [u32; 4])> = members
        .map(|member| (member["frame"].as_u64().unwrap(), serde_json::from_value(member["bbox"].clone()).unwrap()))
        .collect();
    members.sort();
    let [(first, star), (second, ball)] = members[..] else { panic!("{members:?}") };
    assert!((25..90).contains(&first) && (100..165).contains(&second), "{members:?}");
    for [xmin, _, xmax, _] in [star, ball] {
        assert!(xmin > 0 && xmax < width && xmax - xmin > 40, "{members:?}");
    }
}

#[test]
fn groups_against_the_classes_of_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    std::fs::create_dir_all(set.join("images")).unwrap();
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for (at, kind) in ["ball", "star", "ball", "star"].iter().enumerate() {
        let name = picture(&set.join("images"), kind, at as u32).file_name().unwrap().to_str().unwrap().to_owned();
        images.push(json!({"id": at, "file_name": name, "width": SIZE.0, "height": SIZE.1}));
        let (x, y) = (36 + 8 * (at % 4), 20 + 10 * (at % 3));
        annotations.push(json!({"id": at + 1, "image_id": at, "category_id": 1 + at % 2, "bbox": [x, y, 88, 88],
            "area": 7744, "iscrowd": 0}));
    }
    let categories = json!([{"id": 1, "name": "ball"}, {"id": 2, "name": "star"}]);
    let all = json!({"images": images, "annotations": annotations, "categories": categories});
    std::fs::write(set.join("annotations.json"), all.to_string()).unwrap();
    let out = folder.path().join("found");
    let ran =
        mostream(&["discover", text(&set), "--classes", "-o", text(&out), "--groups", "2", "--method", "tokencut"]);
    let said: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!(said, json!({"objects": 4, "judged": 4, "groups": 2, "classes": 2, "purity": 1.0, "nmi": 1.0}));
}

#[test]
fn files_that_are_no_groups_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("groups.json");
    let good = json!({"version": 1, "model": "other@00", "feature": "k", "silhouette": null, "groups": [
        {"id": 1, "name": null, "size": 0, "centre": [1.0, 0.0], "limit": 0.5, "members": []}]});
    let refused = |content: &[u8]| {
        std::fs::write(&file, content).unwrap();
        told(&["discover", "--name", text(&file), "1=cup"], 3)
    };
    for content in ["", "[]", "{", "\u{0}", &"[".repeat(100_000)] {
        assert!(refused(content.as_bytes()).contains("is no groups.json"));
    }
    for (place, value, word) in [
        ("/version", json!(2), "version 2"),
        ("/groups/0/centre", json!([]), "centre of group 1"),
        ("/groups/0/centre", json!([3.0, 0.0]), "length 3"),
        ("/groups/0/centre", json!([1e39, 0.0]), "out of range"),
        ("/groups/0/limit", json!(-1), "limit"),
        ("/groups/0/size", json!(7), "members"),
        ("/groups/0/name", json!("a\nb"), "is no name"),
        ("/groups/0/name", json!("x".repeat(65)), "is no name"),
        ("/groups/0/id", json!(-1), "is no groups.json"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        let said = refused(bad.to_string().as_bytes());
        assert!(said.contains(word), "{place}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(told(&["discover", "--name", text(folder.path()), "1=cup"], 3).contains("no file"));

    std::fs::write(&file, good.to_string()).unwrap();
    for (name, word) in [("9=cup", "no group 9"), ("cup", "such as 3=cup"), ("1=a\tb", "is no name")] {
        assert!(told(&["discover", "--name", text(&file), name], 2).contains(word), "{name}");
    }
    // Made with another model: said before anything is decoded.
    let photo = picture(folder.path(), "ball", 0);
    let said = told(&["run", text(&photo), "--groups", text(&file), "--records", "-"], 3);
    assert!(said.contains("other@00") && said.contains("--model"), "{said}");
    let out = folder.path().join("found");
    assert!(told(&["discover", text(&photo), "-o", text(&out), "--method", "dino-seg"], 2).contains("--method most"));
}
