//! What happens, told by boxes that are given: who comes and goes, at zones and lines, and what becomes of the whole picture.

use crate::support::scene;
use mostream::events::{Event, Events, Glance, Moment, Sight};
use mostream::motion::Motion;
use mostream::record::EventName::{self, CameraMoved, Covered, LeftBehind, Light, Line, Object, Stay, Stopped, Zone};
use mostream::record::Phase;
use mostream::zones::{self, Polygon, Regions, Side};
use std::sync::Arc;

const SIZE: (u32, u32) = (96, 72);
const FPS: f32 = 12.5;
/// Frames before anybody comes.
const BARE: u64 = 50;

/// A box by its foot, the middle of its bottom, and its width and height, in shares of the picture.
fn at(foot: [f32; 2], size: [f32; 2]) -> [f32; 4] {
    let edges = [foot[0] - size[0] / 2.0, foot[1] - size[1], foot[0] + size[0] / 2.0, foot[1]];
    edges.map(|edge| edge.clamp(0.0, 1.0))
}

fn zone(name: &str, polygon: &[[f32; 2]], stay: Option<f32>) -> zones::Zone {
    let polygon = Polygon::try_from(polygon.to_vec()).unwrap();
    let none = serde_json::json!({ "name": name, "polygon": polygon });
    zones::Zone { stay, ..serde_json::from_value(none).unwrap() }
}

fn yard() -> Regions {
    let line = serde_json::json!({ "name": "door", "points": [[0.7, 1.0], [0.7, 0.2]] });
    let yard = zone("yard", &[[0.3, 0.5], [0.6, 0.5], [0.6, 0.9], [0.3, 0.9]], Some(2.0));
    Regions { zones: vec![yard], lines: vec![serde_json::from_value(line).unwrap()], ..Regions::default() }
}

/// What is told of a film of so many seconds: where each track is seen at a time, and what becomes of the picture's pixels.
fn told(
    regions: Regions,
    seconds: f32,
    tracks: &[&dyn Fn(f32) -> Option<[f32; 4]>],
    picture: impl Fn(f32, &[u8]) -> Vec<u8>,
) -> Vec<Event> {
    told_after(Vec::new(), regions, seconds, tracks, picture)
}

/// The same, where these stood when the last run ended.
fn told_after(
    standing: Vec<[f32; 4]>,
    regions: Regions,
    seconds: f32,
    tracks: &[&dyn Fn(f32) -> Option<[f32; 4]>],
    picture: impl Fn(f32, &[u8]) -> Vec<u8>,
) -> Vec<Event> {
    let ground = scene::ground(SIZE.0, SIZE.1);
    let mut motion = Motion::new((SIZE.0 as usize, SIZE.1 as usize));
    let mut events = Events::default();
    events.expect(standing);
    let mut told = events.watch(&Arc::new(regions), 0);
    let frames = (seconds * FPS) as u64;
    let ns = |frame: u64| (1e9 * frame as f32 / FPS) as u64;
    for frame in 0..frames {
        let time = frame as f32 / FPS;
        let evidence = motion.look(&picture(time, &ground), ns(frame));
        let sights: Vec<Sight> = (tracks.iter().zip(1..))
            .filter_map(|(way, track)| Some(Sight { track, bbox: way(time)?, score: 0.9 }))
            .collect();
        let glance = Glance::new(&evidence, &[]);
        let across = SIZE.0 as f32 / SIZE.1 as f32;
        told.extend(events.update(&Moment {
            pts_ns: ns(frame),
            unix_ns: None,
            across,
            sights: &sights,
            glance: Some(&glance),
        }));
    }
    told.extend(events.break_off(ns(frames - 1)));
    for (number, event) in told.iter().enumerate() {
        let is_of = |other: &&Event| other.id == event.id;
        match event.phase {
            Phase::Start => assert!(!told[..number].iter().any(|other| other.id == event.id), "{event:?} begins twice"),
            Phase::Update | Phase::End => {
                assert!(told.iter().filter(is_of).filter(|other| other.phase == Phase::End).count() == 1, "{event:?}");
                assert!(event.pts_ns >= event.since_ns, "{event:?}");
            }
        }
    }
    told
}

/// `(what, where, when it began, when it ended)`, in seconds, in the order of ids; no end where it was broken off.
fn lasting(told: &[Event]) -> Vec<(EventName, Option<String>, f32, Option<f32>)> {
    let seconds = |ns: u64| ns as f32 / 1e9;
    let mut ends: Vec<&Event> = told.iter().filter(|event| event.phase == Phase::End).collect();
    ends.sort_by_key(|event| event.id);
    let lasting = ends.iter().map(|event| {
        let end = (!event.interrupted).then(|| seconds(event.pts_ns));
        (event.name, event.zone.clone(), seconds(event.since_ns), end)
    });
    lasting.collect()
}

fn is_near(told: Option<f32>, expected: f32) -> bool {
    told.is_some_and(|told| (told - expected).abs() < 0.5)
}

fn as_it_is(_: f32, ground: &[u8]) -> Vec<u8> {
    ground.to_vec()
}

/// Walks from the left edge to the right, from second 5 on, a tenth of the picture a second; its bottom is at `y`.
fn walker(y: f32) -> impl Fn(f32) -> Option<[f32; 4]> {
    move |time| {
        let foot = 0.1 * (time - 5.0);
        (-0.04..1.04).contains(&foot).then(|| at([foot, y], [0.1, 0.3]))
    }
}

#[test]
fn who_walks_through_comes_and_goes_and_is_at_zones_and_over_lines_once() {
    let told = told(yard(), 18.0, &[&walker(0.8)], as_it_is);
    let all = lasting(&told);
    let names: Vec<EventName> = all.iter().map(|event| event.0).collect();
    assert_eq!(names, [Object, Zone, Stay, Line], "{all:?}");
    // Half of it is in the picture at second 5, in the zone from 8 to 11, at the line at 12, half gone at 15.
    assert!((all[0].2 - 5.0).abs() < 0.5 && is_near(all[0].3, 15.0), "{all:?}");
    assert!((all[1].2 - 8.0).abs() < 0.2 && is_near(all[1].3, 11.0) && all[1].1.as_deref() == Some("yard"), "{all:?}");
    assert!((all[2].2 - 10.0).abs() < 0.2 && is_near(all[2].3, 11.0), "{all:?}");
    assert!(is_near(all[3].3, 12.0) && all[3].1.as_deref() == Some("door"), "{all:?}");
    let line = told.iter().find(|event| event.name == Line).unwrap();
    // Seen from below upwards, it comes from the left.
    assert_eq!((line.side, line.tracks.as_slice()), (Some(Side::Right), &[1][..]));
}

#[test]
fn who_goes_back_and_forth_at_a_border_enters_once() {
    // Along the zone's upper edge, with a noise of a hundredth of the picture.
    let noisy = |time: f32| {
        let foot = 0.06 * (time - 5.0);
        let noise = 0.01 * (31.0 * time).sin();
        (0.0..1.0).contains(&foot).then(|| at([foot, 0.515 + noise], [0.08, 0.25]))
    };
    let told = told(yard(), 20.0, &[&noisy], as_it_is);
    let zones = told.iter().filter(|event| event.name == Zone && event.phase == Phase::Start).count();
    assert!(zones <= 1, "{:?}", lasting(&told));
    let lines = told.iter().filter(|event| event.name == Line).count();
    assert_eq!(lines, 1, "{:?}", lasting(&told));
}

#[test]
fn who_bends_down_stays_one_and_who_stops_is_there_while_nobody_sees_him() {
    let way = |time: f32| {
        let foot = match time {
            5.0..8.0 => 0.1 * (time - 5.0) + 0.02,
            8.0..20.0 => 0.32,
            20.0.. => 0.32 + 0.1 * (time - 20.0),
            _ => return None,
        };
        // Bent down for two seconds; not seen for four, because nobody looks.
        let height = if (9.0..11.0).contains(&time) { 0.15 } else { 0.3 };
        let is_seen = foot < 1.0 && !(13.0..17.0).contains(&time);
        is_seen.then(|| at([foot, 0.4], [0.1, height]))
    };
    let all = lasting(&told(Regions::default(), 30.0, &[&way], as_it_is));
    let names: Vec<EventName> = all.iter().map(|event| event.0).collect();
    assert_eq!(names, [Object, Stopped]);
    assert!((all[1].2 - 8.0).abs() < 0.5 && is_near(all[1].3, 20.0), "{all:?}");
}

#[test]
fn what_is_left_stands_alone_since_its_bearer_went() {
    // The bag has a box of its own from second 7 on, while the bearer is still at it.
    let bag = |time: f32| (time >= 7.0).then(|| at([0.22, 0.8], [0.05, 0.06]));
    let all = lasting(&told(Regions::default(), 14.0, &[&walker(0.8), &bag], as_it_is));
    let left: Vec<_> = all.iter().filter(|event| event.0 == LeftBehind).collect();
    assert_eq!(left.len(), 1, "{all:?}");
    assert!((7.0..8.5).contains(&left[0].2) && left[0].3.is_none(), "{all:?}");
    assert_eq!(all.iter().filter(|event| event.0 == Object).count(), 1, "{all:?}");
}

#[test]
fn what_stood_there_in_the_last_run_is_told_of_when_it_moves() {
    // A car, seen again from second 6 on, when the scene has forgotten it; it drives off at second 14.
    let place = at([0.4, 0.6], [0.2, 0.12]);
    let car = |time: f32| {
        let foot = 0.4 + 0.1 * (time - 14.0).max(0.0);
        (time >= 6.0 && foot < 1.0).then(|| at([foot, 0.6], [0.2, 0.12]))
    };
    let anew = lasting(&told(Regions::default(), 12.0, &[&car], as_it_is));
    assert!(matches!(anew[..], [(LeftBehind, ..)]), "{anew:?}");
    let known = lasting(&told_after(vec![place], Regions::default(), 24.0, &[&car], as_it_is));
    assert!(matches!(known[..], [(Object, None, start, Some(_))] if (start - 14.0).abs() < 1.0), "{known:?}");
    // Nor does another light make it new.
    let lamp = |time: f32, ground: &[u8]| match time {
        9.0.. => ground.iter().map(|value| (0.6 * f32::from(*value)) as u8).collect(),
        _ => ground.to_vec(),
    };
    let parked = |time: f32| car(time).filter(|_| !(9.0..10.0).contains(&time) && time < 14.0);
    let lit = lasting(&told_after(vec![place], Regions::default(), 14.0, &[&parked], lamp));
    assert!(matches!(lit[..], [(Light, ..)]), "{lit:?}");
}

#[test]
fn a_knock_a_cloth_and_a_lamp_are_told_apart() {
    let view = |time: f32, ground: &[u8]| match time {
        6.0..9.0 => vec![40; ground.len()],
        13.0..16.0 => ground.iter().map(|value| (0.6 * f32::from(*value)) as u8).collect(),
        20.0.. => {
            // Another part of a larger lawn.
            let (wide, row) = (scene::ground(2 * SIZE.0, SIZE.1), 3 * SIZE.0 as usize);
            wide.chunks(2 * row).flat_map(|line| line[row..].to_vec()).collect()
        }
        _ => ground.to_vec(),
    };
    let all = lasting(&told(yard(), 26.0, &[], view));
    let names: Vec<EventName> = all.iter().map(|event| event.0).collect();
    assert_eq!(names, [Covered, Light, Light, CameraMoved], "{all:?}");
    let times = [(6.0, 9.0), (13.0, 13.0), (16.0, 16.0), (20.0, 20.0)];
    for ((_, _, start, end), (from, to)) in all.iter().zip(times) {
        assert!((start - from).abs() < 0.5 && end.is_some_and(|end| (end - to).abs() < 1.0), "{all:?}");
    }
}

#[test]
fn nothing_is_told_before_the_scene_is_known_and_what_goes_on_at_the_end_is_broken_off() {
    let first = lasting(&told(
        Regions::default(),
        BARE as f32 / FPS - 2.0,
        &[&|time| Some(at([0.5, 0.1 + 0.1 * time], [0.1, 0.1]))],
        as_it_is,
    ));
    assert_eq!(first, []);
    let cut = lasting(&told(Regions::default(), 9.0, &[&walker(0.8)], as_it_is));
    assert!(matches!(cut[..], [(Object, None, _, None)]), "{cut:?}");
}

/// What is told between the start and the end, each with the second in which it was.
fn updates(told: &[Event]) -> Vec<(f32, &Event)> {
    let updates = told.iter().filter(|event| event.phase == Phase::Update);
    updates.map(|event| (event.pts_ns as f32 / 1e9, event)).collect()
}

#[test]
fn of_who_goes_on_walking_it_is_told_now_and_then_where_he_is() {
    let slow = |time: f32| {
        let foot = 0.02 * (time - 5.0);
        (-0.04..1.04).contains(&foot).then(|| at([foot, 0.8], [0.1, 0.3]))
    };
    let told = told(yard(), 60.0, &[&slow], as_it_is);
    let of_thing = told.iter().find(|event| event.name == Object).unwrap();
    let updates = updates(&told);
    assert!((3..10).contains(&updates.len()), "{updates:?}");
    for (time, update) in &updates {
        assert_eq!((update.id, update.name, update.since_ns), (of_thing.id, Object, of_thing.since_ns));
        let (is, was) = (update.bbox.unwrap(), slow(*time).unwrap());
        assert!(is.iter().zip(was).all(|(is, was)| (is - was).abs() < 0.01), "{update:?}, not {was:?}");
        // In the yard from second 20 on, to 35.
        let is_in = (20.5..34.5).contains(time);
        assert!(
            is_in == (update.zones == ["yard"]) || (time - 20.0).abs().min((time - 35.0).abs()) < 0.5,
            "{update:?}"
        );
        assert!(!update.stationary, "{update:?}");
    }
    let times: Vec<f32> = updates.iter().map(|(time, _)| *time).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 5.0), "{times:?}");
}

#[test]
fn of_who_stands_there_unchanged_nothing_more_is_told_and_of_his_next_track_once() {
    let way = |time: f32| {
        let foot = 0.32f32.min(0.1 * (time - 5.0) + 0.02);
        let noise = 0.003 * (31.0 * time).sin();
        (time >= 5.0).then(|| at([foot + noise, 0.4], [0.1 + noise, 0.3]))
    };
    let [first, second] =
        [0.0..30.0, 30.0..90.0].map(|when| move |time: f32| way(time).filter(|_| when.contains(&time)));
    let told = told(Regions::default(), 90.0, &[&first, &second], as_it_is);
    let updates = updates(&told);
    let said: Vec<(bool, &[u64])> =
        updates.iter().map(|(_, update)| (update.stationary, update.tracks.as_slice())).collect();
    // He stopped at second 8, and has another track from second 30 on.
    assert_eq!(said, [(true, &[1][..]), (true, &[1, 2])], "{updates:?}");
    assert!((8.0..13.0).contains(&updates[0].0) && (30.0..31.0).contains(&updates[1].0), "{updates:?}");
}

#[test]
fn whose_box_is_another_again_and_again_is_told_of_the_more_rarely_the_longer_that_lasts() {
    let way = |time: f32| {
        let foot = 0.5f32.min(0.1 * (time - 5.0) + 0.02);
        let height = if time % 4.0 < 2.0 { 0.3 } else { 0.1 };
        (time >= 5.0).then(|| at([foot, 0.6], [0.1, height]))
    };
    let told = told(Regions::default(), 305.0, &[&way], as_it_is);
    assert_eq!(lasting(&told).iter().filter(|event| event.0 == Object).count(), 1, "{:?}", lasting(&told));
    let times: Vec<f32> = updates(&told).iter().map(|(time, _)| *time).collect();
    // Every five seconds would be sixty times.
    assert!((8..20).contains(&times.len()), "{times:?}");
    let pauses: Vec<f32> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| (5.0..70.0).contains(pause)) && *pauses.last().unwrap() > 40.0, "{pauses:?}");
}
