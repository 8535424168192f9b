//! Films, drawn pixel by pixel, whose identities are known: what moves and what is new becomes objects, objects become tracks, as in a
//! run of a file. A stand-in plays the backbone.

use crate::support::scene::{self, Shape, Texture};
use crate::time::{DIM, FPS, LAYOUT, SIZE, hash, keys};
use mostream::evaluate::dataset::{FrameTruth, TruthBox};
use mostream::evaluate::sample::{FoundBox, Sample};
use mostream::evaluate::tracking::Tally;
use mostream::geometry;
use mostream::motion::Motion;
use mostream::motion::camera::Movement;
use mostream::scene::{Keys, MIN_SCORE, Scene};
use mostream::track::{AROUND_NS, Between, Identity, Owned, Sighting, State, Steadied, Steady, Tracks};
use std::collections::VecDeque;

/// Of each kind.
const FILMS: u64 = 40;
const FRAMES: u64 = 120;
/// The scene is empty for so long.
const EMPTY_S: f32 = 2.5;
/// Ground beside the picture, for a camera that shakes.
const MARGIN: u32 = 8;
/// Of a thing; what shows less of itself is hard to recognise.
const VISIBLE: f64 = 0.5;

const WIDTH: f32 = SIZE.0 as f32;

/// Numbers by chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn between(&mut self, low: f32, high: f32) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (high - low) * (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }

    fn one<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        of[self.between(0.0, N as f32) as usize % N]
    }
}

/// A thing and where it is when: `(seconds, place of its middle)`, in order, on straight ways between them.
struct Actor {
    look: scene::Thing,
    way: Vec<(f32, [f32; 2])>,
}

impl Actor {
    fn new(chance: &mut Chance, radius: f32, way: Vec<(f32, [f32; 2])>) -> Self {
        let dark = chance.between(10.0, 60.0);
        let colour = [0.0, 1.0, 2.0].map(|_| chance.between(120.0, 230.0));
        let look = scene::Thing {
            shape: chance.one([Shape::Ellipse, Shape::Square, Shape::Blob]),
            texture: chance.one([Texture::Stripes, Texture::Checks, Texture::Dots, Texture::Noise]),
            colours: [colour, [dark, chance.between(10.0, 60.0), dark]],
            centre: [0.0; 2],
            radius,
            turn: chance.between(-0.4, 0.4),
        };
        Self { look, way }
    }

    /// Of its whole box, in square pixels.
    fn area(&self) -> f64 {
        let side = 4 * self.look.radius as u32;
        let alone = scene::Thing { centre: [side as f32 / 2.0; 2], ..self.look };
        geometry::area(&scene::draw(&vec![0; 3 * (side * side) as usize], side, side, &[alone]).boxes[0].map(f64::from))
    }

    fn at(&self, seconds: f32) -> [f32; 2] {
        let next = self.way.iter().position(|(when, _)| *when > seconds).unwrap_or(self.way.len() - 1).max(1);
        let [(from, a), (to, b)] = [self.way[next - 1], self.way[next]];
        let share = ((seconds - from) / (to - from)).clamp(0.0, 1.0);
        [0, 1].map(|k| a[k] + share * (b[k] - a[k]))
    }
}

/// What is filmed, and how.
#[derive(Default)]
struct Film {
    actors: Vec<Actor>,
    /// Things of the scene that stand before all others.
    front: Vec<scene::Thing>,
    /// In pixels, and in grey levels.
    shake: f32,
    noise: f32,
}

/// From one side to the other, `from` the left or not.
fn walk(chance: &mut Chance, radius: f32, y: f32, is_from_left: bool) -> Vec<(f32, [f32; 2])> {
    let begin = EMPTY_S + chance.between(0.0, 0.8);
    let end = begin + chance.between(6.0, 8.5);
    let (left, right) = ([-radius - 2.0, y], [WIDTH + radius + 2.0, y + chance.between(-4.0, 4.0)]);
    match is_from_left {
        true => vec![(begin, left), (end, right)],
        false => vec![(begin, right), (end, left)],
    }
}

fn apart(chance: &mut Chance) -> Vec<Actor> {
    let rows = [22.0, 60.0, 98.0];
    let actor = |y: f32| {
        let (radius, is_from_left) = (chance.between(9.0, 13.0), chance.one([false, true]));
        let way = walk(chance, radius, y, is_from_left);
        Actor::new(chance, radius, way)
    };
    rows.map(actor).into()
}

fn crossing(chance: &mut Chance) -> Film {
    let y = chance.between(35.0, 80.0);
    let off = chance.between(-12.0, 12.0);
    let actors = [(y, true), (y + off, false)].map(|(y, is_from_left)| {
        let radius = chance.between(9.0, 13.0);
        let way = walk(chance, radius, y, is_from_left);
        Actor::new(chance, radius, way)
    });
    Film { actors: actors.into(), noise: 3.0, ..Film::default() }
}

fn stopping(chance: &mut Chance) -> Film {
    let mut actors = apart(chance);
    for actor in &mut actors {
        let [(begin, from), (end, to)] = [actor.way[0], actor.way[1]];
        let stop = chance.between(0.3, 0.7);
        let place = [0, 1].map(|k| from[k] + stop * (to[k] - from[k]));
        let stands = chance.between(2.0, 3.5);
        let pace = 0.6 * (end - begin);
        let arrives = begin + stop * pace;
        actor.way = vec![(begin, from), (arrives, place), (arrives + stands, place), (begin + pace + stands, to)];
    }
    Film { actors, noise: 3.0, ..Film::default() }
}

fn hidden(chance: &mut Chance) -> Film {
    let mut actors = apart(chance);
    actors.remove(1);
    // Wide enough to hide a thing for a second.
    let radius = 22.0;
    let wall = |y: f32| scene::Thing {
        shape: Shape::Square,
        texture: Texture::Noise,
        colours: [[130.0, 100.0, 80.0], [110.0, 85.0, 70.0]],
        centre: [WIDTH / 2.0, y],
        radius,
        turn: 0.0,
    };
    let front = vec![wall(24.0), wall(98.0)];
    Film { actors, front, noise: 3.0, ..Film::default() }
}

fn touching(chance: &mut Chance) -> Film {
    let y = chance.between(40.0, 80.0);
    let x = chance.between(60.0, 100.0);
    let meet = EMPTY_S + chance.between(2.5, 3.2);
    let part = meet + chance.between(0.8, 1.5);
    let actors = [-1.0, 1.0].map(|side: f32| {
        let radius = chance.between(9.0, 13.0);
        let far = if side < 0.0 { -radius - 2.0 } else { WIDTH + radius + 2.0 };
        let way = vec![
            (EMPTY_S, [far, y]),
            (meet, [x + 0.75 * side * radius, y]),
            (part, [x + 0.75 * side * radius, y]),
            (part + 3.0, [far, y + chance.between(-15.0, 15.0)]),
        ];
        Actor::new(chance, radius, way)
    });
    Film { actors: actors.into(), noise: 3.0, ..Film::default() }
}

fn shaking(chance: &mut Chance) -> Film {
    Film { actors: apart(chance), shake: 3.0, noise: 3.0, ..Film::default() }
}

fn noisy(chance: &mut Chance) -> Film {
    Film { actors: apart(chance), noise: 20.0, ..Film::default() }
}

impl Film {
    /// A frame's pixels, and whose boxes are in it.
    fn frame(&self, number: u64, ground: &[u8], whole: &[f64], chance: &mut Chance) -> (Vec<u8>, FrameTruth) {
        let seconds = number as f32 / FPS as f32;
        let shake = [0, 1].map(|_| chance.between(-self.shake, self.shake).round());
        let row = |y: u32| {
            let left = (MARGIN as f32 - shake[0]) as usize;
            let top = ((y + MARGIN) as f32 - shake[1]) as usize;
            let from = 3 * (top * (SIZE.0 + 2 * MARGIN as usize) + left);
            &ground[from..from + 3 * SIZE.0]
        };
        let behind: Vec<u8> = (0..SIZE.1 as u32).flat_map(row).copied().collect();
        let seen =
            |look: &scene::Thing, [x, y]: [f32; 2]| scene::Thing { centre: [x + shake[0], y + shake[1]], ..*look };
        let mut things: Vec<scene::Thing> =
            self.actors.iter().map(|actor| seen(&actor.look, actor.at(seconds))).collect();
        things.extend(self.front.iter().map(|thing| seen(thing, thing.centre)));
        let picture = scene::draw(&behind, SIZE.0 as u32, SIZE.1 as u32, &things);
        let boxes: Vec<[f64; 4]> = picture.boxes.iter().map(|bbox| bbox.map(f64::from)).collect();
        let truth = |at: usize| {
            // What is drawn later lies over it; what is outside the picture is missed, too.
            let over = boxes[at + 1..].iter().map(|other| geometry::shared_area(&boxes[at], other)).fold(0.0, f64::max);
            let is_difficult = geometry::area(&boxes[at]) - over < VISIBLE * whole[at];
            let (class, is_truncated, is_crowd, track) = (None, false, false, Some(at as u64));
            TruthBox { bbox: boxes[at], class, is_difficult, is_truncated, is_crowd, track }
        };
        let truth = (0..self.actors.len()).filter(|&at| geometry::area(&boxes[at]) > 0.0).map(truth).collect();
        let noisy = |(at, value): (usize, &u8)| {
            let noise = self.noise * (hash(at as i64, number as i64, 5) / 127.5 - 1.0);
            (f32::from(*value) + noise).clamp(0.0, 255.0) as u8
        };
        (picture.rgb.iter().enumerate().map(noisy).collect(), FrameTruth { is_annotated: true, boxes: truth })
    }

    /// The true boxes of each frame, and those that are found, with their tracks.
    fn run(&self, chance: &mut Chance) -> Vec<(FrameTruth, Vec<FoundBox>)> {
        let whole: Vec<f64> = self.actors.iter().map(|actor| actor.area()).collect();
        let ground = scene::ground(SIZE.0 as u32 + 2 * MARGIN, SIZE.1 as u32 + 2 * MARGIN);
        let (mut motion, mut scene) = (Motion::new(SIZE), Scene::default());
        let (mut tracks, mut steady) = (Tracks::default(), Steady::new(AROUND_NS));
        let (mut waiting, mut frames, mut last) = (VecDeque::new(), Vec::new(), None);
        for number in 0..FRAMES {
            let (rgb, truth) = self.frame(number, &ground, &whole, chance);
            let pts_ns = number * 1_000_000_000 / FPS;
            let evidence = motion.look(&rgb, pts_ns);
            let values = keys(&rgb);
            let objects = scene.know(&evidence, Some(&Keys { values: &values, dim: DIM }), &LAYOUT, &[]);
            let found: Vec<Sighting> =
                objects.iter().map(|object| sighting(&object.bbox, object.score, &values)).collect();
            // Movements are in pixels of the small picture's half.
            let now = evidence.shake;
            let by =
                |shake: Option<Movement>, at: [f32; 2]| shake.map_or([0.0; 2], |shake| shake.by(at.map(|at| at / 2.0)));
            let ahead = |at: [f32; 2]| [0, 1].map(|k| at[k] + 2.0 * (by(now, at)[k] - by(last, at)[k]));
            let owners = tracks.update(pts_ns, ahead, &found);
            last = now;
            let owned = owners.into_iter().flatten().zip(&found);
            steady.push(pts_ns, owned.map(|(identity, found)| Owned { identity, bbox: found.bbox }).collect());
            waiting.push_back((truth, found));
            while let Some(Steadied { identities, between }) = steady.pop(number + 1 == FRAMES) {
                let (truth, found) = waiting.pop_front().unwrap();
                let is_object = |(_, identity): &(Sighting, Identity)| {
                    identity.state != State::Tentative && identity.score >= MIN_SCORE
                };
                let found = found.into_iter().zip(identities).filter(is_object).map(|(found, identity)| FoundBox {
                    bbox: found.bbox.map(f64::from),
                    score: identity.score,
                    track: Some(identity.id),
                });
                let between = between.iter().map(|Between { owned: Owned { identity, bbox }, .. }| FoundBox {
                    bbox: bbox.map(f64::from),
                    score: identity.score,
                    track: Some(identity.id),
                });
                frames.push((truth, found.chain(between.filter(|found| found.score >= MIN_SCORE)).collect()));
            }
        }
        frames
    }
}

/// A box with the mean key of its patches.
fn sighting(bbox: &[f32; 4], score: f32, values: &[f32]) -> Sighting {
    let patch = LAYOUT.patch as f32;
    let inside = |at: usize| {
        let middle = [at % LAYOUT.grid.cols, at / LAYOUT.grid.cols].map(|at| (at as f32 + 0.5) * patch);
        (0..2).all(|k| (bbox[k]..bbox[k + 2]).contains(&middle[k]))
    };
    let patches: Vec<usize> = (0..LAYOUT.grid.patches()).filter(|&at| inside(at)).collect();
    let mut key = vec![0.0; DIM];
    for at in &patches {
        key.iter_mut().zip(&values[at * DIM..]).for_each(|(sum, value)| *sum += value);
    }
    Sighting { bbox: *bbox, score, key }
}

/// The mean IDF1 of the films of a kind is at least this.
fn assert_kept(kind: fn(&mut Chance) -> Film, least: f64) {
    let mut all = Vec::new();
    for seed in 0..FILMS {
        let mut chance = Chance(1000 + seed);
        let film = kind(&mut chance);
        let frames = film.run(&mut chance);
        let sample = |(frame, (truth, found))| Sample {
            item: 0,
            frame,
            picture: [SIZE.0 as u32, SIZE.1 as u32],
            truth,
            is_exhaustive: true,
            found,
            is_followed: true,
            moment: None,
        };
        let samples: Vec<Sample> =
            frames.iter().map(|(truth, found)| (truth, &found[..])).enumerate().map(sample).collect();
        all.push(Tally::of_clip(&samples).unwrap().measures().unwrap().idf1);
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let worst = all.iter().copied().fold(1.0, f64::min);
    assert!(mean >= least, "IDF1 {mean:.3}, {worst:.3} at worst");
}

#[test]
fn who_stops_and_goes_on_stays_the_same() {
    assert_kept(stopping, 0.98);
}

#[test]
fn who_is_filmed_by_a_shaking_camera_stays_the_same() {
    assert_kept(shaking, 0.97);
}

#[test]
fn who_is_seen_through_noise_stays_the_same() {
    assert_kept(noisy, 0.96);
}

// Two that overlap are one box, which counts as a miss of one of them.
#[test]
fn who_crosses_anothers_way_stays_the_same() {
    assert_kept(crossing, 0.93);
}

// The first sliver of who comes out is not known for the thing that went in.
#[test]
fn who_is_hidden_for_a_second_stays_the_same() {
    assert_kept(hidden, 0.92);
}

// Two of three; the others change places, since who meets another is thought to go on.
#[test]
fn who_touches_another_and_turns_back_mostly_stays_the_same() {
    assert_kept(touching, 0.69);
}
