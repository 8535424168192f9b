//! What a frame of 640×480 costs in motion and scene, as a small picture of 384×288, on one core; every answer is checked on the way.
//!
//! `cargo bench --bench time` prints the median of each stage, before a still camera and before a moving one.

#![expect(clippy::print_stdout, reason = "a bench prints its times")]

use mostream::events::{Events, Glance, Moment, Sight};
use mostream::geometry::{Grid, PatchLayout, iou};
use mostream::motion::flow::{TEXTURE, flow};
use mostream::motion::grey::{Grey, Pyramid};
use mostream::motion::{Camera, Motion};
use mostream::record::{EventName, Phase};
use mostream::scene::{Keys, Scene};
use mostream::track::{Sighting, Tracks};
use mostream::zones::{Path, Polygon, Regions};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SIZE: (usize, usize) = (384, 288);
const LAYOUT: PatchLayout =
    PatchLayout { grid: Grid { rows: 30, cols: 40 }, patch: 8, image_width: 320, image_height: 240 };
const DIM: usize = 192;
const FRAMES: u64 = 200;
/// The aim for all stages together before a still camera, in milliseconds.
const AIM_MS: f64 = 2.5;
/// ... and for 50 tracks.
const FOLLOW_MS: f64 = 0.3;
/// ... and for what happens to them at 20 zones.
const TELL_MS: f64 = 0.1;

/// A smooth pattern that looks nowhere the same.
fn pattern(x: f32, y: f32) -> f32 {
    let wave = |a: f32, b: f32| (a * x + b * y + 3.0 * (0.013 * x * b + 0.017 * y).sin()).sin();
    128.0 + 25.0 * wave(0.31, 0.11) + 25.0 * wave(-0.17, 0.27) + 20.0 * wave(0.06, -0.09)
}

/// A dark thing of 40×80 pixels on the pattern, seen from a place.
fn frame(from: [f32; 2], thing: [f32; 2]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(3 * SIZE.0 * SIZE.1);
    for y in 0..SIZE.1 {
        for x in 0..SIZE.0 {
            let (x, y) = (x as f32, y as f32);
            let is_thing = (thing[0]..thing[0] + 40.0).contains(&x) && (thing[1]..thing[1] + 80.0).contains(&y);
            let value = match is_thing {
                true => 0.4 * pattern(2.0 * (x - thing[0]), 2.0 * (y - thing[1])),
                false => pattern(x + from[0], y + from[1]),
            };
            rgb.extend([value as u8, (0.9 * value) as u8, (0.8 * value) as u8]);
        }
    }
    rgb
}

/// Keys that turn where the thing is.
fn keys(thing: [f32; 2]) -> Vec<f32> {
    let mut keys = vec![1.0; LAYOUT.grid.patches() * DIM];
    for (patch, keys) in keys.chunks_exact_mut(DIM).enumerate() {
        let middle = [patch % LAYOUT.grid.cols, patch / LAYOUT.grid.cols].map(|at| (at as f32 * 8.0 + 4.0) * 1.2);
        let is_thing = (0..2).all(|k| (thing[k]..thing[k] + [40.0, 80.0][k]).contains(&middle[k]));
        keys.iter_mut().step_by(2).for_each(|key| *key = if is_thing { -1.0 } else { 1.0 });
    }
    keys
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// `(look, know)` in milliseconds, and how many of the last frames had the right box first.
fn run(pan: f32) -> (f64, f64, usize) {
    let (mut motion, mut scene) = (Motion::new(SIZE), Scene::default());
    let (mut looks, mut knows, mut right) = (Vec::new(), Vec::new(), 0);
    for number in 0..FRAMES {
        let left = 3.0 * number as f32 - 300.0;
        let thing = [left.max(-60.0), 100.0];
        let rgb = frame([pan * number as f32, 0.0], thing);
        let keys = keys(thing);
        let start = Instant::now();
        let evidence = motion.look(&rgb, number * 40_000_000);
        looks.push(start.elapsed());
        assert!(number < 30 || (evidence.camera == Camera::Moving) == (pan > 0.0), "frame {number}");
        let start = Instant::now();
        let objects = scene.know(&evidence, Some(&Keys { values: &keys, dim: DIM }), &LAYOUT, &[]);
        knows.push(start.elapsed());
        let truth = [thing[0], 100.0, thing[0] + 40.0, 180.0].map(f64::from);
        let is_right = objects.first().is_some_and(|first| iou(&first.bbox.map(f64::from), &truth) >= 0.5);
        right += usize::from((120..160).contains(&number) && is_right);
    }
    println!("{} kB of memory", (motion.bytes() + scene.bytes()) / 1000);
    assert!(motion.bytes() + scene.bytes() <= 20_000_000);
    (median_ms(looks), median_ms(knows), right)
}

/// What 50 tracks that cross each other's ways cost a frame, in milliseconds; each keeps its identity.
fn follow() -> f64 {
    let (mut tracks, mut times, mut first) = (Tracks::default(), Vec::new(), Vec::new());
    for number in 0..FRAMES {
        let sighting = |at: usize| {
            let (row, col) = (at / 10, at % 10);
            let way = if row % 2 == 0 { number as f32 } else { -(number as f32) };
            let (x, y) = (40.0 * col as f32 + 0.5 * way, 60.0 * row as f32 + 0.1 * way);
            let key = (0..DIM).map(|k| ((k * (at + 3)) as f32).sin()).collect();
            Sighting { bbox: [x, y, x + 25.0, y + 50.0], score: 0.8, key }
        };
        let found: Vec<Sighting> = (0..50).map(sighting).collect();
        let start = Instant::now();
        let owners = tracks.update(number * 40_000_000, |at| at, &found);
        times.push(start.elapsed());
        let ids: Vec<u64> = owners.iter().flatten().map(|owner| owner.id).collect();
        first = if number == 0 { ids.clone() } else { first };
        assert_eq!(ids, first, "frame {number}");
    }
    median_ms(times)
}

/// What it costs a frame to tell what happens to 50 things at 20 zones and 5 lines, in milliseconds, with the look at the whole picture.
fn tell() -> f64 {
    let zone = |at: usize| {
        let (left, top) = (0.2 * (at % 5) as f32, 0.25 * (at / 5) as f32);
        // Six corners.
        let corners = [[0.0, 0.1], [0.05, 0.0], [0.15, 0.0], [0.2, 0.1], [0.15, 0.2], [0.05, 0.2]];
        let polygon = Polygon::try_from(corners.map(|[x, y]| [left + x, top + y]).to_vec()).ok()?;
        serde_json::from_value(serde_json::json!({ "name": format!("zone{at}"), "polygon": polygon })).ok()
    };
    let line = |at: usize| {
        let points = Path::try_from(vec![[0.1 + 0.2 * at as f32, 0.0], [0.1 + 0.2 * at as f32, 1.0]]).ok()?;
        serde_json::from_value(serde_json::json!({ "name": format!("line{at}"), "points": points })).ok()
    };
    let (zones, lines) = ((0..20).filter_map(zone).collect(), (0..5).filter_map(line).collect());
    let regions = Arc::new(Regions { zones, lines, ..Regions::default() });
    let (mut motion, mut events) = (Motion::new(SIZE), Events::default());
    let rgb = frame([0.0, 0.0], [-60.0, 0.0]);
    let (mut times, mut told) = (Vec::new(), events.watch(&regions, 0));
    for number in 0..400 {
        let pts_ns = number * 40_000_000;
        let evidence = motion.look(&rgb, pts_ns);
        // Ten in a row, on five heights, none so near to the edge that it has gone at once; a picture's width in eight seconds.
        let sight = |at: u64| {
            let x = (at % 10) as f32 / 11.0 + 0.005 * (number as f32 - 100.0);
            let y = 0.15 + 0.2 * (at / 10) as f32;
            let is_there = number >= 100 && (0.0..1.0).contains(&x);
            is_there.then(|| Sight {
                track: at + 1,
                bbox: [(x - 0.02).max(0.0), y - 0.1, (x + 0.02).min(1.0), y],
                score: 0.9,
            })
        };
        let sights: Vec<Sight> = (0..50).filter_map(sight).collect();
        let start = Instant::now();
        let glance = Glance::new(&evidence, &[]);
        let across = SIZE.0 as f32 / SIZE.1 as f32;
        told.extend(events.update(&Moment { pts_ns, unix_ns: None, across, sights: &sights, glance: Some(&glance) }));
        // While all of them are there, and not before.
        if (100..160).contains(&number) {
            times.push(start.elapsed());
        }
    }
    let began = |name| told.iter().filter(|event| event.name == name && event.phase == Phase::Start).count();
    let crossed = told.iter().filter(|event| event.name == EventName::Line).count();
    println!("{} things, {} zones entered, {crossed} lines crossed", began(EventName::Object), began(EventName::Zone));
    assert_eq!(began(EventName::Object), 50);
    // Who begins at a tenth of the width crosses what is ahead of it.
    assert!(crossed >= 50, "{crossed}");
    median_ms(times)
}

fn main() {
    let pyramid = |shift: f32| Pyramid::new(Grey::half_of(&frame([shift, 0.0], [-60.0, 0.0]), SIZE.0, SIZE.1), 16);
    let field = flow(&pyramid(0.0), &pyramid(4.0), 4, TEXTURE);
    let fits = field.vectors.iter().filter(|vector| (vector.by[0] + 2.0).hypot(vector.by[1]) < 0.2).count();
    assert!(fits * 10 >= field.vectors.len() * 8, "{fits} of {} squares", field.vectors.len());

    let (look, know, right) = run(0.0);
    assert!(right >= 38, "{right} of 40 before a still camera");
    println!("still camera: look {look:.2} ms, know {know:.2} ms, {:.2} of {AIM_MS} ms", look + know);
    let (look, know, right) = run(2.0);
    println!("moving camera: look {look:.2} ms, know {know:.2} ms; {right} of 40 right");
    println!("50 tracks: {:.2} of {FOLLOW_MS} ms", follow());
    println!("what happens to 50 things at 20 zones: {:.3} of {TELL_MS} ms", tell());
}
