//! Whose the boxes are, on scenes of boxes whose truth is exact: things that cross, stop, are hidden, touch, before a camera that shakes, with
//! boxes that tremble, are missing, or are of nothing.

use mostream::evaluate::tracking::{Frame, Tally};
use mostream::track::{Identity, Sighting, State, Tracks};
use std::collections::{BTreeMap, HashSet};

const FPS: u64 = 25;
const FRAMES: u64 = 200;

/// Numbers by chance, the same in every run.
struct Chance(u64);

impl Chance {
    /// From 0 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.next()
    }

    /// Of mean 0 and spread 1, nearly.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.next()).sum::<f32>() - 6.0
    }
}

/// A thing that walks on a line, and what happens to it.
struct Thing {
    from: [f32; 2],
    velocity: [f32; 2],
    size: [f32; 2],
    look: Vec<f32>,
    /// Frames in which it stands, and in which it is hidden.
    stands: std::ops::Range<u64>,
    hidden: std::ops::Range<u64>,
}

impl Thing {
    fn bbox(&self, frame: u64) -> [f32; 4] {
        let stood = frame.clamp(self.stands.start, self.stands.end) - self.stands.start;
        let walked = (frame - stood.min(frame)) as f32 / FPS as f32;
        let [x, y] = [0, 1].map(|k| self.from[k] + walked * self.velocity[k]);
        [x, y, x + self.size[0], y + self.size[1]]
    }
}

/// Four things of one kind, which cross each other's ways; one stops, one is hidden for a second.
fn scene(chance: &mut Chance) -> Vec<Thing> {
    let thing = |number: usize, chance: &mut Chance| {
        let height = chance.between(40.0, 110.0);
        let is_right = number.is_multiple_of(2);
        let x = if is_right { chance.between(0.0, 120.0) } else { chance.between(420.0, 560.0) };
        let speed = chance.between(25.0, 75.0);
        let mut look: Vec<f32> = (0..32).map(|at| (at as f32 * 0.9).sin()).collect();
        look.iter_mut().for_each(|value| *value += 0.7 * chance.normal());
        let at = chance.between(40.0, 120.0) as u64;
        let never = FRAMES..FRAMES;
        Thing {
            from: [x, 20.0 + 105.0 * number as f32 + chance.between(-20.0, 20.0)],
            velocity: [if is_right { speed } else { -speed }, chance.between(-4.0, 4.0)],
            size: [0.45 * height, height],
            look,
            stands: if number == 1 { at..at + 50 } else { never.clone() },
            hidden: if number == 2 { at..at + FPS } else { never },
        }
    };
    (0..4).map(|number| thing(number, chance)).collect()
}

/// `shake` is in pixels; `by` leaves the other frames without keys.
fn follow(things: &[Thing], chance: &mut Chance, shake: f32, by: u64) -> (Vec<Frame>, Vec<Identity>) {
    let (mut tracks, mut run, mut all) = (Tracks::default(), Vec::new(), Vec::new());
    let mut last = [0.0; 2];
    for frame in 0..FRAMES {
        let camera = [shake * chance.normal(), shake * chance.normal()];
        let moved = |bbox: [f32; 4]| [0, 1, 2, 3].map(|at| bbox[at] + camera[at % 2]);
        let seen = |thing: &&(usize, &Thing)| !thing.1.hidden.contains(&frame);
        let numbered: Vec<(usize, &Thing)> = things.iter().enumerate().collect();
        let truth: Vec<_> = numbered.iter().filter(seen).map(|(at, thing)| (*at, moved(thing.bbox(frame)))).collect();
        let mut found = Vec::new();
        for (at, bbox) in &truth {
            if chance.next() < 0.05 {
                continue;
            }
            let side = things[*at].size[0];
            let bbox = bbox.map(|edge| edge + 0.06 * side * chance.normal());
            let key = match frame % by {
                0 => things[*at].look.iter().map(|value| value + 0.15 * chance.normal()).collect(),
                _ => Vec::new(),
            };
            found.push(Sighting { bbox, score: 0.8, key });
        }
        if chance.next() < 0.05 {
            let [x, y] = [chance.between(0.0, 500.0), chance.between(0.0, 400.0)];
            found.push(Sighting { bbox: [x, y, x + 40.0, y + 60.0], score: 0.4, key: Vec::new() });
        }
        let by = [camera[0] - last[0], camera[1] - last[1]];
        let owners = tracks.update(frame * 1_000_000_000 / FPS, |at| [at[0] + by[0], at[1] + by[1]], &found);
        last = camera;
        let owned = found.iter().zip(&owners).filter_map(|(sighting, owner)| Some((*owner.as_ref()?, sighting.bbox)));
        let owned: Vec<_> = owned.filter(|(identity, _)| identity.state != State::Tentative).collect();
        all.extend(owned.iter().map(|(identity, _)| *identity));
        let drawn = |bbox: [f32; 4]| bbox.map(f64::from);
        run.push(Frame {
            truth: truth.into_iter().map(|(thing, bbox)| (thing as u64, drawn(bbox))).collect(),
            found: owned.into_iter().map(|(identity, bbox)| (identity.id, drawn(bbox))).collect(),
        });
    }
    (run, all)
}

#[test]
fn things_that_cross_stop_and_hide_keep_their_identity() {
    for (kind, shake, by) in [("still", 0.0, 1), ("shaking", 3.0, 1), ("keys of every fifth frame", 0.0, 5)] {
        let mut chance = Chance(7);
        let scores: Vec<f64> = (0..80)
            .map(|_| {
                let things = scene(&mut chance);
                Tally::of(&follow(&things, &mut chance, shake, by).0, 0.0).measures().unwrap().idf1
            })
            .collect();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let worst = scores.iter().copied().fold(1.0, f64::min);
        assert!(mean >= 0.95, "{kind}: {mean:.3} in the mean, {worst:.3} at worst");
    }
}

#[test]
fn identities_are_never_given_twice_and_the_same_boxes_get_the_same() {
    let things = scene(&mut Chance(3));
    let once = follow(&things, &mut Chance(5), 1.0, 1);
    let again = follow(&things, &mut Chance(5), 1.0, 1);
    assert_eq!(once.1, again.1);
    for (frame, Frame { found, .. }) in once.0.iter().enumerate() {
        let ids: HashSet<u64> = found.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), found.len(), "frame {frame}");
    }
    let mut ends: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for identity in &once.1 {
        let (first, hits) = ends.entry(identity.id).or_insert((identity.first_seen_ns, 0));
        assert!(*first == identity.first_seen_ns && identity.hits as u64 > *hits);
        *hits = identity.hits.into();
    }
}

#[test]
fn who_stands_is_stationary_and_who_walks_has_its_velocity() {
    let mut tracks = Tracks::default();
    let mut last = Vec::new();
    for frame in 0..150u64 {
        let x = 2.0 * frame as f32;
        let boxes = [[x, 10.0, x + 40.0, 90.0], [500.0, 200.0, 540.0, 280.0]];
        let found: Vec<Sighting> = boxes.iter().map(|bbox| Sighting { bbox: *bbox, score: 0.5, key: vec![] }).collect();
        last = tracks.update(frame * 40_000_000, |at| at, &found);
    }
    let [walks, stands] = [0, 1].map(|at| last[at].unwrap());
    assert!((walks.velocity[0] - 50.0).abs() < 2.0 && walks.velocity[1].abs() < 2.0, "{walks:?}");
    assert_eq!((walks.state, stands.state), (State::Active, State::Stationary));
    assert_eq!((walks.id, stands.id, stands.hits), (1, 2, 150));
}

#[test]
fn who_comes_back_elsewhere_is_known_by_its_looks() {
    let look = |kind: usize| (0..16).map(|at| if at % 4 == kind { 1.0 } else { 0.1 }).collect::<Vec<f32>>();
    let mut tracks = Tracks::default();
    let mut ids = [0; 2];
    for frame in 0..400u64 {
        let mut found = Vec::new();
        // One stands; the other leaves on the left, and comes back on the right after eight seconds.
        found.push(Sighting { bbox: [300.0, 100.0, 340.0, 180.0], score: 0.5, key: look(0) });
        let x = match frame {
            0..100 => Some(200.0 - 2.0 * frame as f32),
            300.. => Some(560.0 - (frame - 300) as f32),
            _ => None,
        };
        if let Some(x) = x {
            found.push(Sighting { bbox: [x, 110.0, x + 40.0, 190.0], score: 0.5, key: look(1) });
        }
        let owners = tracks.update(frame * 40_000_000, |at| at, &found);
        match frame {
            99 => ids = [owners[0].unwrap().id, owners[1].unwrap().id],
            399 => assert_eq!([owners[0].unwrap().id, owners[1].unwrap().id], ids),
            _ => {}
        }
    }
}

#[test]
fn a_thousand_boxes_a_frame_are_bounded_and_nonsense_is_no_panic() {
    let mut tracks = Tracks::default();
    for frame in 0..4u64 {
        let found: Vec<Sighting> = (0..1500)
            .map(|at| {
                let (x, y) = ((at % 50) as f32 * 12.0 + frame as f32, (at / 50) as f32 * 12.0);
                Sighting { bbox: [x, y, x + 20.0, y + 20.0], score: at as f32 / 1500.0, key: vec![1.0; 8] }
            })
            .collect();
        let owners = tracks.update(frame * 40_000_000, |at| at, &found);
        assert_eq!(owners.iter().flatten().count(), 1024);
        assert!(owners[..400].iter().all(Option::is_none), "those of the lowest scores are left out");
    }
    assert!(tracks.bytes() < 2_000_000, "{} bytes", tracks.bytes());
    let strange = [[f32::NAN; 4], [f32::INFINITY; 4], [9.0, 9.0, 1.0, 1.0], [0.0; 4]];
    for frame in 4..12u64 {
        let key = vec![f32::NAN, f32::INFINITY];
        let found: Vec<Sighting> =
            strange.iter().map(|bbox| Sighting { bbox: *bbox, score: f32::NAN, key: key.clone() }).collect();
        assert_eq!(tracks.update(frame, |_| [f32::NAN; 2], &found).len(), 4);
    }
}
