//! `mostream run` on drawn scenes without objects: blank frames, walls, sky, noise, gradients, a lawn, patterns, a lens's dark corners,
//! and what lies below a sky: a road, the sea, a meadow. None gets a box.
//!
//! Not all scenes are that lucky yet: bricks of many shades still get one.

use crate::support::program::{PROGRAM, stderr};
use crate::support::scene::{self, Shape, Texture, Thing};
use crate::support::validate_line;
use mostream::localize::MOST_MIN_SCORE;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const WIDTH: u32 = 320;
const HEIGHT: u32 = 240;

/// Random numbers in −1..1, the same on every run (Marsaglia, Xorshift RNGs).
struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as f32 / u32::MAX as f32 * 2.0 - 1.0
    }
}

/// A colour for every point, both coordinates 0..1.
fn draw(colour: impl Fn(f32, f32) -> [f32; 3], noise: f32) -> Vec<u8> {
    let mut random = Random(7);
    let points = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x as f32 / WIDTH as f32, y as f32 / HEIGHT as f32)));
    points.flat_map(|(x, y)| colour(x, y).map(|value| (value + noise * random.next()) as u8)).collect()
}

fn mix(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t)
}

/// Every scene with its name, `[height, width, 3]`.
fn scenes() -> Vec<(String, Vec<u8>)> {
    let mut scenes = Vec::new();
    let mut add = |name: &str, noise: f32, rgb: Vec<u8>| scenes.push((format!("{name}, noise {noise}"), rgb));
    let flat = [
        ("black", [0.0; 3]),
        ("grey", [128.0; 3]),
        ("white", [255.0; 3]),
        ("blue", [30.0, 80.0, 180.0]),
        ("wall", [225.0, 215.0, 200.0]),
    ];
    for (name, colour) in flat {
        for noise in [0.0, 5.0, 40.0] {
            add(name, noise, draw(|_, _| colour, noise));
        }
    }
    add("noise alone", 127.0, draw(|_, _| [128.0; 3], 127.0));
    let (zenith, horizon) = ([110.0, 170.0, 235.0], [215.0, 235.0, 250.0]);
    let gradients = [
        ("black to white", [0.0; 3], [255.0; 3]),
        ("sky", zenith, horizon),
        ("dusk", [200.0, 40.0, 60.0], [60.0, 60.0, 200.0]),
    ];
    for (name, from, to) in gradients {
        for noise in [0.0, 8.0] {
            add(&format!("{name}, downwards"), noise, draw(|_, y| mix(from, to, y), noise));
            add(&format!("{name}, across"), noise, draw(|x, _| mix(from, to, x), noise));
            add(&format!("{name}, slanting"), noise, draw(|x, y| mix(from, to, (x + y) / 2.0), noise));
        }
    }
    add("lawn", 0.0, scene::ground(WIDTH, HEIGHT));
    let tile = |v: f32| v * 8.0 % 1.0 < 0.05;
    add("tiles", 3.0, draw(|x, y| if tile(x) || tile(y) { [150.0; 3] } else { [205.0, 205.0, 210.0] }, 3.0));
    let from_centre = |x: f32, y: f32| (x - 0.5).hypot(y - 0.5) * 1.4;
    let dark_corners = |x, y| mix([200.0, 190.0, 170.0], [90.0, 85.0, 75.0], from_centre(x, y).powi(2));
    add("dark corners", 4.0, draw(dark_corners, 4.0));
    let brick = |x: f32, y: f32| {
        let row = (y * 12.0).floor();
        let x = x * 8.0 + row % 2.0 / 2.0;
        let shade = ((row * 12.9898 + x.floor() * 78.233).sin() * 43758.547).rem_euclid(1.0);
        if x % 1.0 < 0.06 || y * 12.0 % 1.0 < 0.1 {
            [170.0; 3]
        } else {
            [140.0 + 40.0 * shade, 70.0 + 20.0 * shade, 55.0]
        }
    };
    add("bricks", 4.0, draw(brick, 4.0));
    let planks = |x: f32, _| if x * 10.0 % 1.0 < 0.04 { [60.0, 40.0, 25.0] } else { [150.0, 110.0, 75.0] };
    add("planks", 6.0, draw(planks, 6.0));
    let stripes = |x, y| if (x + y) * 8.0 % 1.0 < 0.5 { [200.0, 60.0, 60.0] } else { [230.0; 3] };
    add("stripes", 3.0, draw(stripes, 3.0));
    let checks =
        |x: f32, y: f32| if ((x * 10.0).floor() + (y * 8.0).floor()) % 2.0 == 0.0 { [40.0; 3] } else { [220.0; 3] };
    add("checks", 3.0, draw(checks, 3.0));
    let below_sky =
        |height: f32, ground: [f32; 3]| move |_, y| if y < height { mix(zenith, horizon, y / height) } else { ground };
    add("sea", 5.0, draw(below_sky(0.5, [20.0, 70.0, 110.0]), 5.0));
    add("meadow", 6.0, draw(below_sky(0.45, [80.0, 130.0, 60.0]), 6.0));
    let land = below_sky(0.4, [70.0, 120.0, 50.0]);
    let is_road = |x: f32, y: f32| y > 0.4 && (x - 0.5).abs() < 0.05 + (y - 0.4) * 0.9;
    add("road", 8.0, draw(|x, y| if is_road(x, y) { [95.0, 95.0, 100.0] } else { land(x, y) }, 8.0));
    let room = |_, y| if y < 0.65 { [225.0, 215.0, 200.0] } else { [120.0, 85.0, 60.0] };
    add("wall and floor", 4.0, draw(room, 4.0));
    scenes
}

/// The scores of each picture's boxes.
fn scores(folder: &Path, pictures: &[&[u8]], arguments: &[&str]) -> Vec<Vec<f32>> {
    let clip = folder.join("scenes.mkv");
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-framerate", "25"])
        .args(["-video_size", &format!("{WIDTH}x{HEIGHT}"), "-i", "-", "-c:v", "ffv1", "-pix_fmt", "yuv444p"])
        .arg(&clip)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = ffmpeg.stdin.take().unwrap();
    pictures.iter().for_each(|picture| pipe.write_all(picture).unwrap());
    drop(pipe);
    assert!(ffmpeg.wait().unwrap().success());
    let ran = Command::new(PROGRAM)
        .args(["run", "--quiet", "--cue", "appearance", "--records", "-"])
        .args(arguments)
        .arg(&clip)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", stderr(&ran));
    let lines = String::from_utf8(ran.stdout).unwrap();
    let records = lines.lines().map(|line| validate_line(line).unwrap());
    let scores: Vec<Vec<f32>> = records.map(|record| record.objects.iter().map(|o| o.score).collect()).collect();
    assert_eq!(scores.len(), pictures.len());
    scores
}

#[test]
fn walls_skies_noise_gradients_and_a_lawn_stay_empty() {
    let folder = tempfile::tempdir().unwrap();
    let scenes = scenes();
    let thing = Thing {
        shape: Shape::Blob,
        texture: Texture::Dots,
        colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
        centre: [120.0, 130.0],
        radius: 50.0,
        turn: 0.3,
    };
    let lawn = scene::ground(WIDTH, HEIGHT);
    let object = scene::draw(&lawn, WIDTH, HEIGHT, &[thing]).rgb;
    let mut pictures: Vec<&[u8]> = scenes.iter().map(|(_, rgb)| &rgb[..]).collect();
    pictures.push(&object);

    let found = scores(folder.path(), &pictures, &[]);
    let names = scenes.iter().map(|(name, _)| name);
    let boxed: Vec<_> = names.zip(&found).filter(|(_, scores)| !scores.is_empty()).collect();
    assert!(boxed.is_empty(), "{boxed:?}");
    assert_eq!(found.last().map(Vec::len), Some(1), "an object on a lawn: {:?}", found.last());

    // It is the bound that keeps some of them empty, and a higher one takes the object too.
    let needs_it = |name: &str| ["noise alone", "road"].iter().any(|start| name.starts_with(start));
    let mut few: Vec<&[u8]> = scenes.iter().filter(|(name, _)| needs_it(name)).map(|(_, rgb)| &rgb[..]).collect();
    few.push(&object);
    let kept = |arguments: &[&str]| scores(folder.path(), &few, arguments).concat();
    let (usual, unbound) = (kept(&[]), kept(&["--min-score", "0"]));
    assert!(usual.iter().all(|score| *score >= MOST_MIN_SCORE), "{usual:?}");
    assert_eq!(usual.len(), unbound.iter().filter(|score| **score >= MOST_MIN_SCORE).count());
    assert!(unbound.len() > 4 && unbound.len() > usual.len(), "{unbound:?}");
    assert!(kept(&["--min-score", "1"]).is_empty());
    assert!(kept(&["--paper"]).len() >= unbound.len());
}
