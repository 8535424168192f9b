//! What moves and what is new, on drawn scenes whose truth is exact. A stand-in plays the backbone: the pattern of each patch, without
//! its light.

use mostream::geometry::{Grid, PatchLayout, iou};
use mostream::motion::{Camera, Carry, Evidence, Motion, Need};
use mostream::scene::{Candidate, Keys, Object, Scene, SceneError};

pub const SIZE: (usize, usize) = (160, 120);
pub const LAYOUT: PatchLayout =
    PatchLayout { grid: Grid { rows: 15, cols: 20 }, patch: 8, image_width: 160, image_height: 120 };
pub const FPS: u64 = 10;
pub const DIM: usize = 32;

/// A number for a place, 0 to 255.
pub fn hash(x: i64, y: i64, seed: u64) -> f32 {
    let mut mixed =
        (x as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (y as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f) ^ seed;
    mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 32)) & 255) as f32
}

/// A smooth pattern, 0 to 255: a lattice of numbers, `grain` pixels apart.
fn pattern(x: f32, y: f32, grain: f32, seed: u64) -> f32 {
    let (x, y) = (x / grain, y / grain);
    let (left, top) = (x.floor(), y.floor());
    let at = |dx: i64, dy: i64| hash(left as i64 + dx, top as i64 + dy, seed);
    let above = at(0, 0) + (x - left) * (at(1, 0) - at(0, 0));
    let below = at(0, 1) + (x - left) * (at(1, 1) - at(0, 1));
    above + (y - top) * (below - above)
}

/// A thing: its box, and the seed of its pattern.
#[derive(Clone, Copy)]
struct Thing([f32; 4], u64);

/// A frame of a camera that looks `from` a place, at things, in this light.
fn frame(number: u64, from: [f32; 2], things: &[Thing], light: f32) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(3 * SIZE.0 * SIZE.1);
    for y in 0..SIZE.1 {
        for x in 0..SIZE.0 {
            let (across, down) = (x as f32 + from[0], y as f32 + from[1]);
            let inside = |b: &[f32; 4]| (b[0]..b[2]).contains(&across) && (b[1]..b[3]).contains(&down);
            let thing = things.iter().find(|Thing(b, _)| inside(b));
            for colour in 0..3 {
                let value = match thing {
                    Some(Thing(b, seed)) => 20.0 + 0.35 * pattern(across - b[0], down - b[1], 5.0, seed + colour),
                    None => 90.0 + 0.5 * pattern(across, down, 9.0, 7 + colour),
                };
                let noise = hash(x as i64, y as i64, 1000 + 3 * number + colour) / 64.0 - 2.0;
                rgb.push((light * value + noise).clamp(0.0, 255.0) as u8);
            }
        }
    }
    rgb
}

/// The pattern of each patch: 4×4 means and their neighbours' differences, without the mean.
pub fn keys(rgb: &[u8]) -> Vec<f32> {
    let mut keys = Vec::new();
    for patch in 0..LAYOUT.grid.patches() {
        let (left, top) = (patch % LAYOUT.grid.cols * 8, patch / LAYOUT.grid.cols * 8);
        let grey = |x: usize, y: usize| {
            let at = 3 * ((top + y) * SIZE.0 + left + x);
            rgb[at..at + 3].iter().map(|value| f32::from(*value)).sum::<f32>() / 3.0
        };
        let cell = |k: usize| {
            let (x, y) = (k % 4 * 2, k / 4 * 2);
            (grey(x, y) + grey(x + 1, y) + grey(x, y + 1) + grey(x + 1, y + 1)) / 4.0
        };
        let cells: Vec<f32> = (0..16).map(cell).collect();
        let mean = cells.iter().sum::<f32>() / 16.0;
        // Weak patterns count less than a constant.
        keys.extend(cells.iter().map(|cell| cell - mean));
        keys.extend([12.0; DIM - 16]);
    }
    keys
}

struct Run {
    motion: Motion,
    scene: Scene,
    frames: u64,
}

impl Run {
    fn new() -> Self {
        Self { motion: Motion::new(SIZE), scene: Scene::default(), frames: 0 }
    }

    fn step(&mut self, rgb: &[u8], candidates: &[Candidate]) -> (Evidence, Vec<Object>) {
        let evidence = self.motion.look(rgb, self.frames * 1_000_000_000 / FPS);
        self.frames += 1;
        let values = keys(rgb);
        let objects = self.scene.know(&evidence, Some(&Keys { values: &values, dim: DIM }), &LAYOUT, candidates);
        (evidence, objects)
    }

    fn draw(&mut self, things: &[Thing]) -> Vec<Object> {
        let rgb = frame(self.frames, [0.0; 2], things, 1.0);
        self.step(&rgb, &[]).1
    }
}

fn has(objects: &[Object], bbox: [f32; 4]) -> bool {
    objects.iter().any(|object| iou(&object.bbox.map(f64::from), &bbox.map(f64::from)) >= 0.5)
}

const MAN: Thing = Thing([60.0, 40.0, 76.0, 80.0], 50);

#[test]
fn an_empty_scene_stays_empty_and_lets_the_backbone_rest() {
    let mut run = Run::new();
    let mut asked = 0;
    for number in 0..150 {
        let (evidence, objects) = run.step(&frame(number, [0.0; 2], &[], 1.0), &[]);
        assert_eq!((evidence.camera, objects.len()), (Camera::Still, 0), "frame {number}");
        asked += usize::from(evidence.need.is_some());
    }
    assert!(asked <= 15, "{asked} of 150 frames");
    assert!(run.scene.bytes() + run.motion.bytes() < 20_000_000);
}

#[test]
fn leaves_in_the_wind_let_the_backbone_rest() {
    let mut run = Run::new();
    let mut asked = 0;
    for number in 0..200u64 {
        let leaf = |at: u64| {
            let gust = 2.5 * (number as f32 / 19.0 + at as f32).sin();
            let left = 30.0 + 40.0 * at as f32 + gust * (number as f32 * 0.9 + at as f32).sin();
            Thing([left, 30.0, left + 14.0, 44.0], 60 + at)
        };
        let (evidence, _) = run.step(&frame(number, [0.0; 2], &[leaf(0), leaf(1), leaf(2)], 1.0), &[]);
        asked += usize::from(evidence.need.is_some());
    }
    assert!(asked <= 20, "{asked} of 200 frames");
}

#[test]
fn who_walks_through_is_one_box_and_asks_for_half_of_the_backbone() {
    let mut run = Run::new();
    let (mut found, mut asked) = (0, 0);
    for number in 0..80u64 {
        let left = 4.0 * (number as f32 - 30.0);
        let man = Thing([left, 40.0, left + 16.0, 80.0], 50);
        let (evidence, objects) = run.step(&frame(number, [0.0; 2], &[man], 1.0), &[]);
        if (32..62).contains(&number) {
            found += usize::from(has(&objects, man.0) && objects.len() == 1);
            asked += usize::from(evidence.need == Some(Need::Half));
            assert_ne!(evidence.need, Some(Need::Whole), "frame {number}");
        }
    }
    assert!(found >= 27 && asked >= 10, "found in {found} of 30, {asked} looks");
}

#[test]
fn a_bag_that_is_left_stays_new_and_leaves_no_ghost_when_it_is_taken() {
    let mut run = Run::new();
    let bag = Thing([60.0, 60.0, 80.0, 80.0], 90);
    (0..40).for_each(|_| drop(run.draw(&[])));
    let there = (0..200).filter(|_| has(&run.draw(&[bag]), bag.0)).count();
    assert!(there >= 195, "{there} of 200");
    let still_there = (0..20).filter(|_| has(&run.draw(&[]), bag.0)).count();
    assert!(still_there <= 5, "{still_there} of 20");
}

#[test]
fn who_was_there_in_the_first_frame_leaves_no_ghost() {
    let mut run = Run::new();
    (0..100).for_each(|_| assert_eq!(run.draw(&[MAN]).len(), 0));
    let mut ghosts = 0;
    for step in 0..60 {
        let left = 60.0 + 5.0 * step as f32;
        let objects = run.draw(&[Thing([left, 40.0, left + 16.0, 80.0], 50)]);
        ghosts += usize::from(step > 12 && has(&objects, MAN.0));
    }
    assert!(ghosts <= 3, "{ghosts}");
}

#[test]
fn a_car_that_parks_becomes_scene_in_minutes_and_drives_off_without_a_ghost() {
    let mut run = Run::new();
    let car = Thing([50.0, 50.0, 98.0, 80.0], 33);
    (0..30).for_each(|_| drop(run.draw(&[])));
    let seen: Vec<bool> = (0..4000).map(|_| has(&run.draw(&[car]), car.0)).collect();
    assert!(seen[..300].iter().all(|seen| *seen), "it is new for half a minute");
    assert!(!seen[3990..].contains(&true), "it is scene after six minutes");
    let ghosts = (0..30).filter(|_| has(&run.draw(&[]), car.0)).count();
    assert!(ghosts <= 6, "{ghosts} of 30");
}

#[test]
fn dusk_and_a_lamp_are_no_objects() {
    let mut run = Run::new();
    for number in 0..240u64 {
        let light = 1.0 - 0.5 * (number as f32 - 40.0).clamp(0.0, 200.0) / 200.0;
        let (_, objects) = run.step(&frame(number, [0.0; 2], &[], light), &[]);
        assert_eq!(objects.len(), 0, "dusk, frame {number}");
    }
    for number in 240..300 {
        let (evidence, objects) = run.step(&frame(number, [0.0; 2], &[], 0.9), &[]);
        assert!(!evidence.is_cut);
        assert!(objects.is_empty() || number < 250, "the lamp, frame {number}: {objects:?}");
    }
}

#[test]
fn shaking_is_told_and_taken_away() {
    let mut run = Run::new();
    let (mut found, mut shaking, mut wrong) = (0, 0, 0);
    for number in 0..100u64 {
        let from = [0, 1].map(|side| if number == 0 { 0.0 } else { hash(number as i64, side, 5) / 51.0 - 2.5 });
        let left = 3.0 * (number as f32 - 50.0);
        let man = Thing([left, 40.0, left + 16.0, 80.0], 50);
        let (evidence, objects) = run.step(&frame(number, from, &[man], 1.0), &[]);
        if (30..44).contains(&number) {
            wrong += objects.len();
        }
        if (54..94).contains(&number) {
            shaking += usize::from(evidence.camera == Camera::Shaking);
            let seen = [man.0[0] - from[0], man.0[1] - from[1], man.0[2] - from[0], man.0[3] - from[1]];
            found += usize::from(has(&objects, seen));
        }
    }
    assert!(shaking >= 36 && found >= 34 && wrong <= 2, "{shaking} and {found} of 40, {wrong} wrong");
}

#[test]
fn a_wall_without_any_pattern_is_still_and_who_walks_before_it_is_found() {
    let mut run = Run::new();
    let mut found = 0;
    for number in 0..90u64 {
        let left = 3 * number as i64 - 120;
        let man = [left.clamp(0, 160), 40, (left + 16).clamp(0, 160), 80];
        let mut rgb = frame(number, [0.0; 2], &[Thing([left as f32, 40.0, left as f32 + 16.0, 80.0], 50)], 1.0);
        for (at, pixel) in rgb.chunks_exact_mut(3).enumerate() {
            let (x, y) = ((at % SIZE.0) as i64, (at / SIZE.0) as i64);
            if !((man[0]..man[2]).contains(&x) && (man[1]..man[3]).contains(&y)) {
                pixel.iter_mut().for_each(|value| *value = (110.0 + hash(x, y, 7000 + number) / 64.0) as u8);
            }
        }
        let (evidence, objects) = run.step(&rgb, &[]);
        assert_eq!(evidence.camera, Camera::Still, "frame {number}");
        let is_inside = man[2] - man[0] == 16;
        assert!(is_inside || objects.len() <= 1, "frame {number}: {objects:?}");
        found += usize::from(is_inside && has(&objects, man.map(|edge| edge as f32)));
    }
    assert!(found >= 44, "{found} of 49");
}

#[test]
fn a_flash_is_no_cut_and_a_camera_that_comes_back_knows_its_view() {
    let mut run = Run::new();
    let mut at = |place: f32, light: f32, count: usize| {
        let mut evidence = None;
        for _ in 0..count {
            let rgb = frame(run.frames, [place, 0.0], &[], light);
            evidence = Some(run.step(&rgb, &[]).0);
        }
        (evidence.unwrap(), run.scene.bytes())
    };
    let (first, alone) = at(0.0, 1.0, 30);
    assert!(!at(0.0, 1.4, 1).0.is_cut, "a flash");
    assert_eq!(at(0.0, 1.0, 5).0.view, first.view);
    let cut = at(5000.0, 1.0, 1).0;
    assert!(cut.is_cut && cut.view != first.view);
    let (other, both) = at(5000.0, 1.0, 20);
    assert_eq!(other.view, cut.view);
    assert!(10 * both < 15 * alone, "the view that was left rests: {alone} bytes, then {both}");
    assert_eq!(at(0.0, 1.0, 20).0.view, first.view, "it came back");
}

#[test]
fn before_a_moving_camera_it_is_what_moves_against_it() {
    let mut run = Run::new();
    let (mut moving, mut best) = (0, 0);
    for number in 0..60u64 {
        let from = [3.0 * number as f32, 0.5 * number as f32];
        let left = 60.0 + from[0] + 1.5 * number as f32 - 40.0;
        let thing = Thing([left, 40.0 + from[1], left + 40.0, 80.0 + from[1]], 50);
        let seen = [left - from[0], 40.0, left + 40.0 - from[0], 80.0];
        let (evidence, objects) = run.step(&frame(number, from, &[thing], 1.0), &[]);
        if number >= 15 {
            moving += usize::from(evidence.camera == Camera::Moving);
            best += usize::from(objects.first().is_some_and(|first| has(std::slice::from_ref(first), seen)));
        }
    }
    assert!(moving == 45 && best >= 30, "{moving} and {best} of 45");
}

#[test]
fn a_box_of_a_frame_ago_is_carried_with_what_it_holds_and_over_no_cut() {
    let thing = |n: u64| [60.0 + 3.0 * n as f32, 40.0, 100.0 + 3.0 * n as f32, 80.0];
    let (mut motion, mut carry) = (Motion::new(SIZE), Carry::default());
    let mut see = |n: u64, from: [f32; 2], seed: u64, carry: &mut Carry| {
        let evidence = motion.look(&frame(n, from, &[Thing(thing(n), seed)], 1.0), n * 1_000_000_000 / FPS);
        carry.push(&evidence);
        evidence
    };
    for n in 0..30 {
        let from = [2.0 * n as f32, 1.5 * n as f32];
        let evidence = see(n, from, 5, &mut carry);
        if n < 20 {
            continue;
        }
        assert_eq!(evidence.camera, Camera::Moving);
        let shown = |n: u64| {
            let from = [2.0 * n as f32, 1.5 * n as f32];
            [0, 1, 2, 3].map(|edge| thing(n)[edge] - from[edge % 2])
        };
        let (carried, now) = (carry.over(8, shown(n - 8)).unwrap(), shown(n).map(f64::from));
        assert!(iou(&carried.map(f64::from), &now) > 0.85, "frame {n}: {carried:?}, and it is at {now:?}");
        // What holds nothing goes with the scene.
        let ground = carry.over(8, [16.0, 20.0, 40.0, 36.0]).unwrap();
        let by = [ground[0] - 16.0, ground[1] - 20.0];
        assert!((by[0] + 16.0).abs() < 2.0 && (by[1] + 12.0).abs() < 2.0, "frame {n}: {by:?}");
    }
    assert!(carry.over(30, [10.0, 10.0, 20.0, 20.0]).is_some() && carry.over(31, [10.0, 10.0, 20.0, 20.0]).is_none());
    assert!(see(30, [4000.0, 4000.0], 77, &mut carry).is_cut);
    assert!(carry.over(0, [10.0, 10.0, 20.0, 20.0]).is_some() && carry.over(1, [10.0, 10.0, 20.0, 20.0]).is_none());
}

#[test]
fn a_camera_that_turns_too_fast_to_follow_stays_a_moving_one_and_its_edges_are_no_objects() {
    let mut run = Run::new();
    let mut place = 0.0;
    let mut boxes = 0;
    for number in 0..60u64 {
        // Slowly, then further in a frame than anything is found again, then slowly.
        place += if (25..30).contains(&number) { 90.0 } else { 3.0 };
        let (evidence, objects) = run.step(&frame(number, [place, 0.0], &[], 1.0), &[]);
        assert!(number < 10 || evidence.camera == Camera::Moving, "frame {number}: {:?}", evidence.camera);
        let against = evidence.against.filter(|_| number >= 10 && !(25..45).contains(&number));
        assert!(against.is_none_or(|against| against.pixels.iter().all(|pixels| *pixels < 2.0)), "frame {number}");
        boxes += usize::from(number >= 10) * objects.len();
    }
    assert!(boxes <= 10, "{boxes} boxes of nothing");
}

#[test]
fn the_same_frames_give_the_same_objects_also_after_a_restart() {
    let man = |step: u64| Thing([3.0 * step as f32, 40.0, 3.0 * step as f32 + 16.0, 80.0], 50);
    let play = || {
        let mut run = Run::new();
        (0..40).for_each(|_| drop(run.draw(&[])));
        let objects: Vec<_> = (0..10).map(|step| run.draw(&[man(step)])).collect();
        (run, objects)
    };
    let ((run, objects), (_, again)) = (play(), play());
    assert_eq!(objects, again);

    let saved = run.scene.save("model, grid").unwrap();
    let other = Scene::load(&saved, "another").err();
    assert_eq!(other, Some(SceneError::Other { found: "model, grid".into(), expected: "another".into() }));
    let (scene, size, picture) = Scene::load(&saved, "model, grid").unwrap();
    assert_eq!((scene.save("model, grid").unwrap(), size), (saved.clone(), SIZE));
    let mut resumed = Run { motion: Motion::resume(SIZE, &picture), scene, frames: 0 };
    let found = (10..30).filter(|&step| has(&resumed.draw(&[man(step)]), man(step).0)).count();
    assert!(found >= 18, "{found} of 20 without learning anew");

    for cut in [0, 10, 16, 40, saved.len() / 2, saved.len() - 1] {
        assert!(Scene::load(&saved[..cut], "model, grid").is_err(), "the first {cut} bytes");
    }
    for at in (0..saved.len()).step_by(9973) {
        let mut damaged = saved.clone();
        damaged[at] ^= 64;
        assert!(Scene::load(&damaged, "model, grid").is_err(), "byte {at}");
    }
}

#[test]
fn frames_with_other_patches_begin_the_memory_anew() {
    let (mut motion, mut scene) = (Motion::new(SIZE), Scene::default());
    let fewer = PatchLayout { grid: Grid { rows: 14, ..LAYOUT.grid }, image_height: 112, ..LAYOUT };
    for number in 0..12 {
        let rgb = frame(number, [0.0; 2], &[], 1.0);
        let layout = if number % 4 < 2 { LAYOUT } else { fewer };
        let values = &keys(&rgb)[..layout.grid.patches() * DIM];
        let evidence = motion.look(&rgb, number * 1_000_000_000 / FPS);
        let found = scene.know(&evidence, Some(&Keys { values, dim: DIM }), &layout, &[]);
        assert!(found.is_empty(), "{number}: {found:?}");
    }
}
