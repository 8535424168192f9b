//! The drawn scenes in which something happens: they are the same each time, and what they say is what they show.

use crate::support::play::{BARE, HEIGHT, Play, Situation, WIDTH};
use crate::support::scene::Picture;
use serde_json::Value;

type Point = [f64; 2];

fn seconds(event: &Value, key: &str) -> Option<f64> {
    event[key].as_f64().map(|ns| ns / 1e9)
}

fn named<'a>(truth: &'a Value, name: &'a str, thing: usize) -> Vec<&'a Value> {
    let events = truth["events"].as_array().unwrap().iter();
    events.filter(|event| event["event"] == name && event["thing"] == thing + 1).collect()
}

#[test]
fn a_scene_is_the_same_each_time_and_another_by_another_number() {
    for number in [3, 64, 119] {
        let (play, again, other) = (Play::new(number), Play::new(number), Play::new(number + 120));
        assert_eq!(play.truth(), again.truth());
        for frame in [0, 1, play.frames / 2] {
            assert!(play.draw(frame).rgb == again.draw(frame).rgb, "frame {frame} of {number}");
            assert!(play.draw(frame).rgb != other.draw(frame).rgb, "frame {frame} of {number}");
        }
        let kind = |play: &Play| (play.situation, play.disturbance);
        assert_eq!(kind(&play), kind(&other));
    }
}

#[test]
fn scenes_are_long_and_bare_at_first_and_things_are_as_large_and_clear_as_they_say() {
    for number in (0..240).step_by(11) {
        let play = Play::new(number);
        let truth = play.truth();
        let length = f64::from(play.frames) / f64::from(play.rate);
        assert!((20.0..45.0).contains(&length), "{number}: {length}");
        for event in truth["events"].as_array().unwrap() {
            let start = seconds(event, "start_ns").unwrap();
            assert!(start >= f64::from(BARE), "{number}: {event}");
            assert!(seconds(event, "end_ns").is_none_or(|end| (start..length).contains(&end)), "{number}: {event}");
        }
        for thing in truth["things"].as_array().unwrap() {
            let [share, contrast] = ["share", "contrast"].map(|key| thing[key].as_f64().unwrap());
            assert!((0.003..=0.15).contains(&share) && (12.0..=120.0).contains(&contrast.abs()), "{number}: {thing}");
        }
        // Of what moves by itself there is nothing to be seen.
        let bare = play.draw((BARE * play.rate) as u32 - 1);
        let actors = bare.boxes.len() - usize::from(matches!(play.situation, Situation::Left | Situation::Taken));
        assert!(bare.boxes[..actors].iter().all(|bbox| *bbox == [0; 4]), "{number}: {:?}", bare.boxes);
    }
}

/// What the drawn boxes of one thing say, by rules of the test's own.
struct Seen {
    rate: f64,
    /// Frame by frame; all zero where nothing of it is to be seen.
    boxes: Vec<[u32; 4]>,
}

impl Seen {
    fn width(&self, frame: usize) -> u32 {
        self.boxes[frame][2] - self.boxes[frame][0]
    }

    fn foot(&self, frame: usize) -> Point {
        let [xmin, _, xmax, ymax] = self.boxes[frame].map(f64::from);
        [(xmin + xmax) / 2.0 / f64::from(WIDTH), ymax / f64::from(HEIGHT)]
    }

    /// From when to when it holds, in seconds; runs and gaps of less than half a second are none.
    fn spans(&self, holds: impl Fn(usize) -> bool) -> Vec<(f64, Option<f64>)> {
        let mut runs: Vec<(bool, usize)> = Vec::new();
        for frame in 0..self.boxes.len() {
            match runs.last_mut() {
                Some((last, length)) if *last == holds(frame) => *length += 1,
                _ => runs.push((holds(frame), 1)),
            }
        }
        let (mut spans, mut now, mut is_on): (Vec<(f64, Option<f64>)>, usize, bool) = (Vec::new(), 0, false);
        for (holds, length) in runs {
            if holds != is_on && length as f64 >= 0.5 * self.rate {
                match spans.last_mut() {
                    Some((_, end)) if is_on => *end = Some(now as f64 / self.rate),
                    _ => {}
                }
                if holds {
                    spans.push((now as f64 / self.rate, None));
                }
                is_on = holds;
            }
            now += length;
        }
        spans
    }
}

fn agree(what: &str, told: &[&Value], seen: &[(f64, Option<f64>)], within: f64) {
    let told: Vec<_> = told.iter().map(|e| (seconds(e, "start_ns").unwrap(), seconds(e, "end_ns"))).collect();
    let near = |a: f64, b: f64| (a - b).abs() <= within;
    let is_same = told.len() == seen.len()
        && told.iter().zip(seen).all(|(a, b)| {
            near(a.0, b.0) && a.1.is_some() == b.1.is_some() && a.1.zip(b.1).is_none_or(|(a, b)| near(a, b))
        });
    assert!(is_same, "{what}: told {told:?}, seen {seen:?}");
}

/// By the angle that the corners go round it.
fn is_inside(polygon: &[Point], at: Point) -> bool {
    let angle = |corner: &Point| (corner[1] - at[1]).atan2(corner[0] - at[0]);
    let around = polygon.iter().zip(polygon.iter().cycle().skip(1)).map(|(a, b)| {
        let turn = angle(b) - angle(a);
        turn - std::f64::consts::TAU * (turn / std::f64::consts::TAU).round()
    });
    around.sum::<f64>().abs() > 3.0
}

#[test]
fn what_is_told_is_what_is_drawn() {
    // One of each situation, without weather.
    for number in 0..12 {
        let play = Play::new(number);
        let truth = play.truth();
        let pictures: Vec<Picture> = play.pictures().collect();
        let name = |what: &str, thing: usize| format!("{}: {what} of thing {}", play.name(), thing + 1);
        let things = pictures[0].boxes.len();
        let is_carried =
            |thing: usize| thing + 1 == things && matches!(play.situation, Situation::Left | Situation::Taken);
        let seen = |thing: usize| Seen {
            rate: f64::from(play.rate),
            boxes: pictures.iter().map(|picture| picture.boxes[thing]).collect(),
        };
        for thing in (0..things).filter(|thing| !is_carried(*thing)) {
            let seen = seen(thing);
            let widest = (0..seen.boxes.len()).map(|frame| seen.width(frame)).max().unwrap();
            let objects = seen.spans(|frame| 2 * seen.width(frame) >= widest);
            agree(&name("object", thing), &named(&truth, "object", thing), &objects, 0.4);

            let is_whole = |frame: usize| seen.boxes[frame][0] > 0 && (1..WIDTH).contains(&seen.boxes[frame][2]);
            let half = (seen.rate / 2.0) as usize;
            let rests = |frame: usize| {
                let (before, after) = (frame.saturating_sub(half), (frame + half).min(seen.boxes.len() - 1));
                is_whole(before) && is_whole(after) && (seen.foot(after)[0] - seen.foot(before)[0]).abs() < 0.02
            };
            let mut stops = seen.spans(rests);
            stops.retain(|(start, end)| end.is_none_or(|end| end - start >= 1.9));
            agree(&name("stopped", thing), &named(&truth, "stopped", thing), &stops, 0.7);

            for zone in truth["zone"].as_array().unwrap() {
                let polygon: Vec<Point> = serde_json::from_value(zone["polygon"].clone()).unwrap();
                let spans = seen.spans(|frame| is_whole(frame) && is_inside(&polygon, seen.foot(frame)));
                agree(&name("zone", thing), &named(&truth, "zone", thing), &spans, 0.5);
                let stays = zone["stay"].as_f64().into_iter().flat_map(|stay| {
                    let long = |(start, end): &&(f64, Option<f64>)| end.is_none_or(|end| end - start > stay);
                    spans.iter().filter(long).map(|(start, end)| (start + stay, *end)).collect::<Vec<_>>()
                });
                agree(&name("stay", thing), &named(&truth, "stay", thing), &stays.collect::<Vec<_>>(), 0.5);
            }
            for line in truth["line"].as_array().unwrap() {
                let [a, b]: [Point; 2] = serde_json::from_value(line["points"].clone()).unwrap();
                let side = |frame: usize| {
                    let [x, y] = seen.foot(frame);
                    (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
                };
                let whole: Vec<usize> = (0..seen.boxes.len()).filter(|frame| is_whole(*frame)).collect();
                let over = whole.windows(2).filter(|pair| (side(pair[0]) > 0.0) != (side(pair[1]) > 0.0));
                let over: Vec<(f64, &str)> = over
                    .map(|pair| (pair[1] as f64 / seen.rate, if side(pair[1]) > 0.0 { "right" } else { "left" }))
                    .collect();
                let told = named(&truth, "line", thing);
                let is_same = |(told, seen): (&&Value, &(f64, &str))| {
                    (seconds(told, "start_ns").unwrap() - seen.0).abs() < 0.5 && told["side"] == seen.1
                };
                assert_eq!(told.len(), over.len(), "{}: {told:?} {over:?}", name("line", thing));
                assert!(told.iter().zip(&over).all(is_same), "{}: {told:?} {over:?}", name("line", thing));
            }
        }
        for item in (0..things).filter(|thing| is_carried(*thing)) {
            let (carrier, item) = (seen(0), (item, seen(item)));
            let is_left = play.situation == Situation::Left;
            let place = item.1.boxes[if is_left { item.1.boxes.len() - 1 } else { 0 }];
            let touches = |bbox: [u32; 4]| {
                (0..2).all(|axis| bbox[axis] < place[axis + 2] + 2 && place[axis] < bbox[axis + 2] + 2)
            };
            let is_so = |frame: usize| match is_left {
                true => item.1.boxes[frame] == place && !touches(carrier.boxes[frame]),
                false => !touches(item.1.boxes[frame]) && !touches(carrier.boxes[frame]),
            };
            let first = (0..item.1.boxes.len()).find(|frame| is_so(*frame)).unwrap() as f64 / carrier.rate;
            let kind = if is_left { "left_behind" } else { "taken_away" };
            let [told] = named(&truth, kind, item.0)[..] else { panic!("{}", name(kind, item.0)) };
            let start = seconds(told, "start_ns").unwrap();
            assert!((start - first).abs() < 0.5, "{}: told {start}, seen {first}", name(kind, item.0));
            assert_eq!(told["end_ns"].is_null(), is_left);
        }
    }
}

fn mean(picture: &Picture) -> f64 {
    picture.rgb.iter().map(|value| f64::from(*value)).sum::<f64>() / picture.rgb.len() as f64
}

/// The means of squares of so many pixels, in which there is little noise, row by row.
fn coarse(picture: &Picture, side: u32) -> Vec<f64> {
    let mut means = vec![0.0; (WIDTH / side * HEIGHT / side) as usize];
    for (at, pixel) in picture.rgb.chunks_exact(3).enumerate() {
        let (x, y) = (at as u32 % WIDTH, at as u32 / WIDTH);
        means[(y / side * (WIDTH / side) + x / side) as usize] += f64::from(pixel[1]) / f64::from(side * side);
    }
    means
}

/// How much there is to see: the mean difference of neighbouring squares.
fn detail(picture: &Picture) -> f64 {
    let means = coarse(picture, 8);
    let steps =
        means.chunks_exact((WIDTH / 8) as usize).flat_map(|row| row.windows(2).map(|two| (two[0] - two[1]).abs()));
    steps.sum::<f64>() / means.len() as f64
}

#[test]
fn the_whole_picture_changes_when_it_is_told() {
    let mut told = [0; 3];
    for number in (10..240).step_by(12).chain([96, 103, 229]) {
        let play = Play::new(number);
        let truth = play.truth();
        let frame = |ns: &Value| (ns.as_f64().unwrap() / 1e9 * f64::from(play.rate)).round() as u32;
        for event in truth["events"].as_array().unwrap() {
            let start = frame(&event["start_ns"]);
            match event["event"].as_str().unwrap() {
                "light" => {
                    let [before, after] = [start - 1, start].map(|frame| mean(&play.draw(frame)));
                    assert!(!(0.8..1.2).contains(&(after / before)), "{}: {before} {after}", play.name());
                    told[0] += 1;
                }
                "covered" => {
                    let end = frame(&event["end_ns"]);
                    let [before, covered, after] =
                        [start - 2, (start + end) / 2, end + 2].map(|frame| detail(&play.draw(frame)));
                    // What is black is noisy, too.
                    assert!(covered < 0.75 * before && covered < 0.75 * after, "{}: {before} {covered}", play.name());
                    told[1] += 1;
                }
                "camera_moved" => {
                    let end = frame(&event["end_ns"]);
                    let apart = |a: u32, b: u32| {
                        let [a, b] = [a, b].map(|frame| coarse(&play.draw(frame), 16));
                        a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64
                    };
                    let usual = apart(start - 3, start - 2).max(apart(end + 1, end + 2));
                    assert!(apart(start - 1, end) > 1.5 * usual, "{}: {usual}", play.name());
                    told[2] += 1;
                }
                _ => {}
            }
        }
    }
    assert!(told.iter().all(|count| *count >= 4), "{told:?}");
}

#[test]
fn an_empty_scene_has_nothing_but_its_light() {
    let play = Play::still(0, 3600.0);
    let truth = play.truth();
    assert_eq!((play.frames, truth["things"].as_array().map(Vec::len)), (18_000, Some(0)));
    let events = truth["events"].as_array().unwrap();
    assert!(events.len() > 10 && events.iter().all(|event| event["event"] == "light"), "{events:?}");
    assert!(play.draw(0).rgb != play.draw(1).rgb);
}
