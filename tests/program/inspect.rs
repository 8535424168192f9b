//! `mostream inspect` as a person uses it: the page in a browser, its numbers against plain products of the features, and
//! inputs of every odd kind.

use crate::support::browser::{Browser, DOWN, LEFT, RIGHT, SHIFT, TAB};
use crate::support::clips;
use crate::support::pixel_box;
use crate::support::program::{self, PROGRAM, stderr};
use crate::support::scene::{self, Shape, Texture, Thing};
use image::{Rgb, RgbImage};
use mostream::analyzer::Analysis;
use mostream::geometry::{Grid, PatchLayout};
use mostream::inspect::{Candidate, Fate, Inspection};
use mostream::localize::most::DropReason;
use mostream::localize::{Features, Localizer, MOST_MIN_SCORE, Method, PatchOutput};
use mostream::record::ObjectRecord;
use ndarray::Array2;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const ROWS: usize = 30;
const COLS: usize = 40;
const PATCH: usize = 8;
/// As good as a file name can be at breaking out of a page.
const NAME: &str = "<img src=x onerror=alert(1)>\"'&amp;{{data}}.png";

fn program(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).env("MOSTREAM_CACHE", folder.join("cache"));
    command.output().unwrap()
}

fn works(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = program(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    output.stdout
}

fn fails(folder: &Path, arguments: &[&str], code: i32, word: &str) {
    program::fails(&program(folder, arguments), code, &[word]);
}

/// Two things on a lawn, as large as the bundled model sees pictures.
fn picture() -> RgbImage {
    let (width, height) = ((COLS * PATCH) as u32, (ROWS * PATCH) as u32);
    let thing = |shape, texture, colours, centre| Thing { shape, texture, colours, centre, radius: 34.0, turn: 0.3 };
    let things = [
        thing(Shape::Star, Texture::Checks, [[236.0, 196.0, 40.0], [196.0, 64.0, 24.0]], [80.0, 70.0]),
        thing(Shape::Ellipse, Texture::Stripes, [[228.0, 228.0, 236.0], [40.0, 70.0, 190.0]], [230.0, 160.0]),
    ];
    RgbImage::from_raw(width, height, scene::draw(&scene::ground(width, height), width, height, &things).rgb).unwrap()
}

/// What the page holds.
fn embedded(page: &Path) -> Value {
    let page = fs::read_to_string(page).unwrap();
    let start = page.find("id=\"data\">").unwrap() + 10;
    serde_json::from_str(&page[start..][..page[start..].find("</script>").unwrap()]).unwrap()
}

/// A number as the page writes it.
fn shown(text: &str) -> f64 {
    text.replace('−', "-").parse().unwrap()
}

#[test]
fn the_page_shows_what_the_features_say() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture().save(at(NAME)).unwrap();
    works(folder.path(), &["inspect", NAME, "-o", "page.html"]);
    assert!(fs::metadata(at("page.html")).unwrap().len() < 5_000_000);
    works(folder.path(), &["features", NAME, "-o", "keys.npy"]);
    let keys: Array2<f32> = ndarray_npy::read_npy(at("keys.npy")).unwrap();
    let said = works(folder.path(), &["localize", "keys.npy", "--image", "320x240", "--patch", "8", "--details"]);
    let said: Value = serde_json::from_slice(&said).unwrap();
    let affinity = |i: usize, j: usize| -> f64 {
        (0..keys.ncols()).map(|c| f64::from(keys[[i, c]]) * f64::from(keys[[j, c]])).sum()
    };

    let browser = Browser::open(1280, 1000);
    browser.load(&at("page.html"));
    assert_eq!(browser.text("h1"), NAME);
    assert_eq!(browser.run("return document.title"), format!("{NAME} · mostream inspect"));

    // The boxes lie over the picture where the localizer says.
    let objects = said["objects"].as_array().unwrap();
    let boxes: Vec<[f64; 4]> =
        objects.iter().map(|object| serde_json::from_value(object["bbox"].clone()).unwrap()).collect();
    assert!(!boxes.is_empty());
    assert_eq!(browser.run("return document.querySelectorAll('#overlay .box').length"), boxes.len());
    let stage = browser.area("#picture");
    let scale = stage[2] / (COLS * PATCH) as f64;
    for (i, [xmin, ymin, xmax, ymax]) in boxes.into_iter().enumerate() {
        let drawn = browser.area(&format!("#overlay .box:nth-child({})", i + 1));
        let expected = [stage[0] + xmin * scale, stage[1] + ymin * scale, (xmax - xmin) * scale, (ymax - ymin) * scale];
        for (drawn, expected) in drawn.into_iter().zip(expected) {
            assert!((drawn - expected).abs() < 0.6, "box {i}: {drawn} px, expected {expected}");
        }
    }

    // Pointing at a patch and comparing it with another.
    browser.click("#views label:nth-child(2) input");
    browser.run("document.getElementById('stage').scrollIntoView({ block: 'center' })");
    let stage = browser.area("#stage");
    let middle = |patch: usize| {
        let (row, col) = ((patch / COLS) as f64 + 0.5, (patch % COLS) as f64 + 0.5);
        (stage[0] + stage[2] * col / COLS as f64, stage[1] + stage[3] * row / ROWS as f64)
    };
    let (pointed, others) = (8 * COLS + 10, [8 * COLS + 11, 20 * COLS + 28, 25 * COLS + 3]);
    let (x, y) = middle(pointed);
    browser.mouse(x, y, true);
    assert_eq!(browser.text("#pointed-place"), "row 8, column 10 (patch 330)");
    for other in others {
        let (x, y) = middle(other);
        browser.mouse(x, y, false);
        let expected = affinity(pointed, other);
        let got = shown(&browser.text("#affinity"));
        assert!(
            (got - expected).abs() <= 1e-5 * expected.abs(),
            "patches {pointed} and {other}: {got}, not {expected}"
        );
        let sign = browser.text("#affinity-sign");
        assert_eq!(sign, if expected > 0.0 { "positive: alike" } else { "negative: not alike" });
    }
    let degree = (0..ROWS * COLS).filter(|&j| j != pointed && affinity(pointed, j) > 0.0).count();
    assert_eq!(browser.text("#numbers dd"), format!("{degree} of 1199"));
    assert_eq!(said["details"]["degree"][pointed], degree);
    let is_seed = said["details"]["seeds"].as_array().unwrap().iter().any(|seed| seed == pointed);
    assert_eq!(!browser.text("#verdict").contains("not a seed"), is_seed);

    // The map has the sign of every product: warm where alike.
    let script = "const c = document.getElementById('map'); \
        return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]";
    let pixels: Vec<u8> = serde_json::from_value(browser.run(script)).unwrap();
    assert_eq!(pixels.len(), 4 * ROWS * COLS);
    for (other, pixel) in pixels.chunks_exact(4).enumerate() {
        // Near zero both are pale.
        if affinity(pointed, other).abs() > 0.05 * affinity(pointed, pointed) {
            let is_warm = pixel[0] > pixel[2];
            assert_eq!(is_warm, affinity(pointed, other) > 0.0, "patch {other} is {pixel:?}");
        }
    }

    // By keyboard.
    browser.run("document.getElementById('stage').focus()");
    [RIGHT, DOWN, DOWN, LEFT, LEFT].iter().for_each(|key| browser.keys(&[key]));
    assert_eq!(browser.text("#pointed-place"), "row 10, column 9 (patch 409)");
    browser.keys(&[SHIFT, DOWN]);
    assert_eq!(browser.text("#other-place"), "row 11, column 9 (patch 449)");
    let expected = affinity(409, 449);
    assert!((shown(&browser.text("#affinity")) - expected).abs() <= 1e-5 * expected.abs());

    assert_eq!(browser.run("return performance.getEntriesByType('resource').length"), 0);
    assert_eq!(browser.console(), Value::Array(vec![]));
}

#[test]
fn everything_is_reached_by_tab_and_seen_when_it_is() {
    let folder = tempfile::tempdir().unwrap();
    picture().save(folder.path().join("in.png")).unwrap();
    works(folder.path(), &["inspect", "in.png"]);
    let browser = Browser::open(1280, 1000);
    browser.load(&folder.path().join("in.inspect.html"));
    let mut reached = Vec::new();
    for _ in 0..30 {
        browser.keys(&[TAB]);
        let focus = browser.run(
            "const e = document.activeElement, shown = e.closest('label')?.querySelector('span') ?? e; \
             const outlined = [e, shown].some((x) => getComputedStyle(x).outlineStyle !== 'none'); \
             const label = e.ariaLabel ?? e.labels?.[0]?.innerText ?? e.innerText; \
             return [e.id || e.name || e.tagName, label, outlined]",
        );
        let (name, label) = (focus[0].as_str().unwrap().to_owned(), focus[1].as_str().unwrap_or_default());
        if name == "BODY" {
            break;
        }
        assert!(!label.trim().is_empty() && focus[2] == true, "{focus}");
        reached.push(name);
    }
    for name in ["view", "stage", "boxes-of", "moves", "BUTTON"] {
        assert!(reached.iter().any(|reached| reached == name), "{name} is not among {reached:?}");
    }
}

#[test]
fn a_phone_shows_every_view_without_scrolling_sideways() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture().save(at("in.png")).unwrap();
    RgbImage::from_fn(20_000, 60, |x, y| Rgb([(x / 90) as u8, y as u8, 90])).save(at("wide.png")).unwrap();
    RgbImage::from_pixel(1, 1, Rgb([90, 120, 30])).save(at("dot.png")).unwrap();
    let browser = Browser::open(390, 844);
    for name in ["in", "wide", "dot"] {
        works(folder.path(), &["inspect", &format!("{name}.png")]);
        browser.load(&at(&format!("{name}.inspect.html")));
        for view in 1..=8 {
            browser.click(&format!("#views label:nth-child({view}) input"));
            let width = browser.run("return document.documentElement.scrollWidth");
            assert_eq!(width, 390, "{name}, view {view}");
            assert!(!browser.text("#view-text").is_empty());
        }
        browser.click("#methods button, #candidates button, #stage");
        assert_eq!(browser.console(), Value::Array(vec![]), "{name}");
    }
}

#[test]
fn a_frame_of_a_video_is_the_one_at_that_time() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let clip = clips::make(at("clip.mp4"), (320, 240), 20, true, "-c:v libx264 -pix_fmt yuv420p -qp 10");
    works(folder.path(), &["inspect", "clip.mp4"]);
    works(folder.path(), &["inspect", "clip.mp4@0:00.52", "-o", "odd.html"]);
    // Two times in one clip are two pages.
    works(folder.path(), &["inspect", "clip.mp4@0:00.2"]);
    works(folder.path(), &["inspect", "clip.mp4@0.44"]);
    let pages =
        [("clip.inspect.html", 0), ("odd.html", 13), ("clip@0.2.inspect.html", 5), ("clip@0.44.inspect.html", 11)];
    for (page, frame) in pages {
        let data = embedded(&at(page));
        assert_eq!(data["time"], frame as f64 / 25.0);
        let boxes = data["methods"][0]["boxes"].as_array().unwrap();
        let drawn = pixel_box(clip.boxes[frame]);
        let best = boxes.iter().map(|b| drawn.iou(&pixel_box(serde_json::from_value(b["bbox"].clone()).unwrap())));
        assert!(best.fold(0.0, f64::max) > 0.6, "{page}: {boxes:?}, not {drawn:?}");
    }
    // A file that is called like a time is itself.
    fs::rename(at("clip.mp4"), at("clip.mp4@3")).unwrap();
    works(folder.path(), &["inspect", "clip.mp4@3", "-o", "whole.html"]);
    assert_eq!(embedded(&at("whole.html"))["time"], 0.0);
    fails(folder.path(), &["inspect", "clip.mp4@3@99", "-o", "no.html"], 3, "ends at 0.800 s");
    assert!(!at("no.html").exists());
}

#[test]
fn a_frame_of_a_video_is_seen_as_run_sees_it_with_its_past() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let x264 = "-c:v libx264 -preset veryfast -crf 16 -pix_fmt yuv420p";
    let ground = scene::ground(320, 240);
    let disc = |frame: usize| Thing {
        shape: Shape::Blob,
        texture: Texture::Dots,
        colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
        centre: [40.0 + 4.0 * frame.saturating_sub(50) as f32, 120.0],
        radius: 24.0,
        turn: 0.3,
    };
    let things = |frame: usize| (frame >= 50).then(|| disc(frame));
    let pictures = (0..80).map(|frame| scene::draw(&ground, 320, 240, things(frame).as_slice()));
    clips::film(at("walk.mp4"), (320, 240), pictures, x264);
    clips::pan(at("pan.mp4"), (320, 240), 40, x264);
    let model = ["--device", "cpu", "--patches", "300"];
    for (name, frame, camera) in [("walk", 70, "still"), ("pan", 35, "moving")] {
        let (file, out) = (format!("{name}.mp4"), format!("{name}.html"));
        let records = works(folder.path(), &[&["run", "-q", "--records", "-", &file][..], &model].concat());
        let records: Vec<Value> =
            String::from_utf8(records).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let moment = format!("{file}@{}", frame as f64 / 25.0);
        works(folder.path(), &[&["inspect", &moment, "-o", &out, "--pngs", name][..], &model].concat());
        let past = &embedded(&at(&out))["past"];
        let objects = records[frame]["objects"].as_array().unwrap();
        let read = |objects: &Value| serde_json::from_value::<Vec<ObjectRecord>>(objects.clone()).unwrap();
        assert!(!objects.is_empty(), "{name}");
        assert_eq!(read(&past["objects"]), read(&records[frame]["objects"]), "{name}");
        assert_eq!((&past["frame"], &past["camera"]), (&frame.into(), &camera.into()));
        let history: Vec<Value> = (0..=frame)
            .map(|at| {
                let seconds = records[at]["pts_ns"].as_f64().unwrap() / 1e9;
                serde_json::json!([seconds, records[at]["camera"], records[at]["objects"].as_array().unwrap().len()])
            })
            .collect();
        assert_eq!(past["history"], Value::Array(history));
        // The maps are brightest where the thing is.
        let bbox: [u32; 4] = serde_json::from_value(objects[0]["bbox"].clone()).unwrap();
        let inside = |x: u32, y: u32| (bbox[0]..bbox[2]).contains(&x) && (bbox[1]..bbox[3]).contains(&y);
        for map in if camera == "still" { &["time-novelty", "time-pixels"][..] } else { &["time-motion"] } {
            let map = image::open(at(name).join(format!("{map}.png"))).unwrap().into_rgb8();
            let light = |is_in: bool| {
                let pixels = map.enumerate_pixels().filter(|(x, y, _)| inside(*x, *y) == is_in);
                let values: Vec<f64> = pixels.map(|(.., pixel)| pixel.0.map(f64::from).iter().sum()).collect();
                values.iter().sum::<f64>() / values.len() as f64
            };
            assert!(light(true) > 1.5 * light(false), "{name}: {} and {}", light(true), light(false));
        }
        let browser = Browser::open(1280, 1000);
        browser.load(&at(&out));
        assert_eq!(browser.run("return document.querySelectorAll('#overlay .box.time').length"), objects.len());
        assert_eq!(browser.run("return document.querySelectorAll('#objects .card').length"), objects.len());
        let told = browser.text("#objects .card");
        let cue = if camera == "still" { "New pixels" } else { "Motion against the camera" };
        assert!(told.contains(cue), "{told}");
        browser.click("#views label:last-child input");
        assert_eq!(browser.text("#view-title"), if camera == "still" { "New pixels" } else { "Motion" });
        assert_eq!(browser.console(), Value::Array(vec![]));
    }
    let single = [&["inspect", "walk.mp4@2.8", "--cue", "appearance", "-o", "one.html"][..], &model].concat();
    works(folder.path(), &single);
    assert_eq!(embedded(&at("one.html"))["past"], Value::Null);
}

#[test]
fn what_cannot_be_inspected_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture().save(at("in.png")).unwrap();
    picture().save(at("whole.jpg")).unwrap();
    let whole = fs::read(at("whole.jpg")).unwrap();
    fs::write(at("cut.jpg"), &whole[..200]).unwrap();
    for input in ["missing.png", "missing.mp4@3", "cut.jpg"] {
        fails(folder.path(), &["inspect", input], 3, input.split('@').next().unwrap());
    }
    fails(folder.path(), &["inspect", "in.png@3"], 2, "leave out the time");
    fails(folder.path(), &["inspect", "in.png", "-o", "in.png"], 2, "is the input");
    fs::write(at("in.inspect.html"), "mine").unwrap();
    fails(folder.path(), &["inspect", "in.png"], 2, "in.inspect.html would be overwritten: --force");
    assert_eq!(fs::read(at("in.inspect.html")).unwrap(), b"mine");
    works(folder.path(), &["inspect", "in.png", "--force"]);
    assert_ne!(fs::read(at("in.inspect.html")).unwrap(), b"mine");
    fails(folder.path(), &["inspect", "in.png", "--feature", "attention"], 2, "k, q or v");
    fails(folder.path(), &["inspect", "in.png", "-o", "nowhere/page.html"], 4, "nowhere/page.html");
    fails(folder.path(), &["inspect", "in.png", "-o", "/dev/full"], 4, "/dev/full");
    assert!(fs::metadata("/dev/full").is_ok_and(|file| !file.is_file()));
}

#[test]
fn the_maps_are_pictures_too() {
    let folder = tempfile::tempdir().unwrap();
    picture().save(folder.path().join("in.png")).unwrap();
    works(folder.path(), &["inspect", "in.png", "--pngs", "maps/of/in"]);
    let map = |name: &str| image::open(folder.path().join("maps/of/in").join(name)).unwrap().into_rgb8();
    let data = embedded(&folder.path().join("in.inspect.html"));
    let mask = map("most-mask-0.png");
    assert_eq!(mask.dimensions(), (320, 240));
    let background = *mask.get_pixel(0, 239);
    let on = || mask.enumerate_pixels().filter(|(_, _, pixel)| **pixel != background);
    let bbox = [
        on().map(|(x, ..)| x).min().unwrap(),
        on().map(|(_, y, _)| y).min().unwrap(),
        on().map(|(x, ..)| x + 1).max().unwrap(),
        on().map(|(_, y, _)| y + 1).max().unwrap(),
    ];
    assert_eq!(serde_json::json!(bbox), data["methods"][0]["boxes"][0]["bbox"]);
    // Lighter is more: the patch of highest degree is lighter than that of lowest.
    let degrees: Vec<u32> = serde_json::from_value(data["degrees"].clone()).unwrap();
    let light = |patch: usize| {
        let pixel = *map("degree.png").get_pixel((patch % COLS * PATCH) as u32, (patch / COLS * PATCH) as u32);
        pixel.0.map(u32::from).iter().sum::<u32>()
    };
    let by_degree = |best: u32| degrees.iter().position(|&degree| degree == best).unwrap();
    assert!(light(by_degree(*degrees.iter().max().unwrap())) > 300 + light(by_degree(*degrees.iter().min().unwrap())));
    for name in ["votes.png", "votes-k5.png", "clusters.png", "tokencut-eigenvector.png", "cls-attention-2.png"] {
        assert_eq!(map(name).dimensions(), (320, 240), "{name}");
    }
}

/// One fate each, checked by its own rule; every cluster has one.
fn check_fates(inspection: &Inspection, output: &PatchOutput) -> Vec<Fate> {
    let Inspection { layout, most, candidates, .. } = inspection;
    let drawn = Localizer::new(Method::Most).localize(output, layout).unwrap();
    assert_eq!(inspection.methods[0], drawn);
    let seeds: Vec<usize> =
        (0..layout.grid.patches()).filter(|&p| 2 * inspection.votes(p) >= inspection.scales.len()).collect();
    assert_eq!(seeds, most.seeds);
    let mut clusters: Vec<usize> = candidates.iter().map(|candidate| candidate.cluster).collect();
    clusters.sort_unstable();
    assert_eq!(clusters, (0..most.clusters.iter().max().map_or(0, |last| last + 1)).collect::<Vec<_>>());
    for Candidate { size: (width, height), bbox, core, patches, fate, .. } in candidates {
        let share = f64::from(width * height) / f64::from(layout.image_width * layout.image_height);
        match *fate {
            Fate::Drawn { object, score } => {
                assert_eq!((Some(drawn[object].bbox), drawn[object].score), (*bbox, score));
                assert_eq!((drawn[object].seed, &drawn[object].patches), (Some(*core), patches));
            }
            Fate::Merged { into, iou, score } => {
                assert_eq!(drawn[into].bbox.iou(&bbox.unwrap()), iou);
                assert!(iou > 0.7 && drawn[into].score >= score);
            }
            Fate::Unsure { score } => assert!(score < MOST_MIN_SCORE),
            Fate::Dropped(DropReason::TooSmall) => assert!(*width <= 16 || *height <= 16),
            Fate::Dropped(DropReason::TooLarge) => assert!(share >= 0.9),
            Fate::Dropped(DropReason::NoPatches) => assert!(bbox.is_none() && patches.is_empty()),
        }
    }
    candidates.iter().map(|candidate| candidate.fate).collect()
}

fn inspect(grid: Grid, values: Array2<f32>) -> Vec<Fate> {
    let (width, height) = ((grid.cols * PATCH) as u32, (grid.rows * PATCH) as u32);
    let layout = PatchLayout { grid, patch: PATCH as u32, image_width: width, image_height: height };
    let analysis = |output| Analysis { layout, output, picture: (width, height) };
    let features = analysis(PatchOutput::Features(Features::new(grid, values).unwrap()));
    let attention = analysis(PatchOutput::Attention(Array2::ones((2, grid.patches())).into()));
    let inspection = Inspection::new(&features, &attention).unwrap();
    check_fates(&inspection, &features.output)
}

type Kind = (&'static str, fn(&Fate) -> bool);

#[test]
fn every_cluster_is_accounted_for_by_its_own_rule() {
    let mut fates = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/localize");
    for (name, rows, cols) in [("g20x20_d64_noise", 20, 20), ("g30x40_d192_six", 30, 40), ("g14x14_d64_three", 14, 14)]
    {
        let values: Array2<f32> = ndarray_npy::read_npy(folder.join(format!("{name}.features.npy"))).unwrap();
        fates.extend(inspect(Grid { rows, cols }, values));
    }
    // Each patch like itself alone; and, where features are zero, not even that.
    let grid = Grid { rows: 9, cols: 12 };
    fates.extend(inspect(grid, Array2::from_shape_fn((108, 108), |(i, j)| f32::from(u8::from(i == j)))));
    fates.extend(inspect(grid, Array2::zeros((108, 4))));
    // Rows that are like themselves alone, and a first column whose patches are like each other, too: row and column reach
    // every edge.
    let large = Array2::from_shape_fn((108, 10), |(i, j)| {
        let (row, col) = (i / grid.cols, i % grid.cols);
        f32::from(u8::from(j == row || (j == 9 && col == 0)))
    });
    fates.extend(inspect(grid, large));
    // A thing of 5×8 patches whose two middle columns are like everything, so that its left and its right are two clusters.
    let twice = Array2::from_shape_fn((600, 2), |(i, j)| {
        let (row, col) = (i / 30, i % 30);
        let is_thing = (7..12).contains(&row) && (10..18).contains(&col);
        let is_middle = is_thing && (13..15).contains(&col);
        f32::from(u8::from(is_middle || is_thing == (j == 1)))
    });
    fates.extend(inspect(Grid { rows: 20, cols: 30 }, twice));
    // A thing whose patches hardly point one way.
    let faint = Array2::from_shape_fn((600, 42), |(i, j)| {
        let (row, col) = (i / 30, i % 30);
        match ((7..12).contains(&row) && (10..18).contains(&col), j) {
            (true, 40) => 0.3,
            (true, _) => f32::from(u8::from(j == (row - 7) * 8 + col - 10)),
            (false, _) => f32::from(u8::from(j == 41)),
        }
    });
    fates.extend(inspect(Grid { rows: 20, cols: 30 }, faint));
    let kinds: [Kind; 6] = [
        ("drawn", |fate| matches!(fate, Fate::Drawn { .. })),
        ("unsure", |fate| matches!(fate, Fate::Unsure { .. })),
        ("too small", |fate| matches!(fate, Fate::Dropped(DropReason::TooSmall))),
        ("too large", |fate| matches!(fate, Fate::Dropped(DropReason::TooLarge))),
        ("no patches", |fate| matches!(fate, Fate::Dropped(DropReason::NoPatches))),
        ("merged", |fate| matches!(fate, Fate::Merged { .. })),
    ];
    for (kind, is_so) in kinds {
        assert!(fates.iter().any(is_so), "none of {} is {kind}", fates.len());
    }
}
