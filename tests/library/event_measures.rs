//! Measures of events against a case worked out by hand and against all ways to pair them; and the clips that have such truth.

use mostream::evaluate::dataset::{Dataset, Format, Options};
use mostream::evaluate::events::{Clip, Event, Row, Story, TOLERANCE_NS, Told, measure, pairs, told};
use mostream::record::{EventName, EventRecord, Phase};
use mostream::zones::Side;
use proptest::prelude::*;
use serde_json::json;

fn event(event: EventName, start: f64, end: Option<f64>, zone: Option<&str>, thing: Option<u64>) -> Event {
    let ns = |seconds: f64| (seconds * 1e9).round() as u64;
    let zone = zone.map(str::to_owned);
    Event { event, start_ns: ns(start), end_ns: end.map(ns), zone, side: None, thing }
}

fn late(event: Event, seconds: u64) -> Told {
    Told { event, delay_ns: seconds * 1_000_000_000 }
}

#[test]
fn a_case_worked_out_by_hand() {
    use EventName::{Light, Object, Zone};
    let walk = Story {
        events: vec![
            event(Object, 5.0, Some(15.0), None, Some(1)),
            event(Zone, 8.0, Some(11.0), Some("yard"), Some(1)),
            event(Zone, 9.0, None, Some("door"), Some(1)),
            event(Light, 12.0, Some(12.0), None, None),
        ],
        situation: Some("zone".into()),
        disturbance: Some("light".into()),
        ..Story::default()
    };
    let empty = Story { situation: Some("empty".into()), disturbance: Some("light".into()), ..Story::default() };
    let of_walk = vec![
        // Half a second late, and its end right.
        late(event(Object, 5.5, Some(15.9), None, None), 1),
        // The same thing once more.
        late(event(Object, 5.6, Some(15.0), None, None), 1),
        // In time, with another end.
        late(event(Zone, 8.0, Some(13.0), Some("yard"), None), 2),
        // At another place.
        late(event(Zone, 9.0, None, Some("yard"), None), 2),
        // Too late by a hair.
        late(event(Light, 13.001, None, None, None), 1),
    ];
    let of_empty = vec![late(event(Object, 20.0, Some(21.0), None, None), 1)];
    let clips = [
        Clip { id: "walk", story: &walk, told: of_walk, length_ns: 30_000_000_000 },
        Clip { id: "empty", story: &empty, told: of_empty, length_ns: 120_000_000_000 },
    ];
    let measured = measure(&clips);
    let counts = |row: &Row| {
        let share = |share: &Option<mostream::evaluate::sample::Estimate>| share.map(|share| share.value);
        (
            (row.name.clone(), row.truth, row.told, row.right),
            share(&row.recall),
            share(&row.precision),
            row.lasting,
            row.ends,
        )
    };
    let kinds: Vec<_> = measured.kinds.iter().map(counts).collect();
    assert_eq!(
        kinds,
        [
            (("light".into(), 1, 1, 0), Some(0.0), Some(0.0), 0, 0),
            (("object".into(), 1, 3, 1), Some(1.0), Some(1.0 / 3.0), 1, 1),
            (("zone".into(), 2, 2, 1), Some(0.5), Some(0.5), 1, 0),
        ]
    );
    assert_eq!(counts(&measured.all), (("all".into(), 4, 6, 2), Some(0.5), Some(2.0 / 6.0), 2, 1));
    // Of 1 and 2 s, the upper.
    assert_eq!(measured.all.delay, Some(2.0));
    let named = |rows: &[Row]| rows.iter().map(|row| (row.name.clone(), row.truth, row.told)).collect::<Vec<_>>();
    assert_eq!(named(&measured.situations), [("empty".into(), 0, 1), ("zone".into(), 4, 5)]);
    assert_eq!(named(&measured.disturbances), [("light".into(), 4, 6)]);
    // Two minutes with nobody there, and one event.
    let nobody = measured.empty.unwrap();
    assert_eq!((nobody.minutes, nobody.wrong, nobody.per_minute), (2.0, 1, 0.5));
    let [walk, _] = &measured.clips[..] else { panic!() };
    assert_eq!((walk.missed.len(), walk.wrong.len(), walk.ends.len()), (2, 3, 1));
}

/// Of all ways to pair them, the most pairs, and the least time between those.
fn best(truth: &[Event], told: &[Told]) -> (usize, u64) {
    let Some((first, rest)) = truth.split_first() else { return (0, 0) };
    let mut found = best(rest, told);
    for (at, other) in told.iter().enumerate() {
        let Event { event, start_ns, zone, side, .. } = &other.event;
        let apart = first.start_ns.abs_diff(*start_ns);
        if (event, zone, side) != (&first.event, &first.zone, &first.side) || apart > TOLERANCE_NS {
            continue;
        }
        let others = [&told[..at], &told[at + 1..]].concat();
        let (count, sum) = best(rest, &others);
        let (count, sum) = (count + 1, sum + apart);
        if count > found.0 || count == found.0 && sum < found.1 {
            found = (count, sum);
        }
    }
    found
}

fn some(count: usize) -> impl Strategy<Value = Vec<Event>> {
    let names = prop_oneof![Just(EventName::Object), Just(EventName::Line)];
    let sides = prop_oneof![Just(None), Just(Some(Side::Left)), Just(Some(Side::Right))];
    let one = (names, 0..40u64, prop::option::of(Just("gate".to_owned())), sides);
    let one = one.prop_map(|(event, tenths, zone, side)| Event {
        event,
        start_ns: tenths * 100_000_000,
        end_ns: None,
        zone,
        side,
        thing: None,
    });
    prop::collection::vec(one, 0..=count)
}

proptest! {
    #[test]
    fn as_many_are_paired_as_can_be_and_the_nearest(truth in some(6), told in some(6)) {
        let told: Vec<Told> = told.into_iter().map(|event| late(event, 0)).collect();
        let found = pairs(&truth, &told);
        let sum = found.iter().map(|(left, right)| truth[*left].start_ns.abs_diff(told[*right].event.start_ns)).sum();
        prop_assert_eq!((found.len(), sum), best(&truth, &told));
    }
}

#[test]
fn lines_of_records_are_events() {
    let line = |id: u64, phase: &str, pts: u64, since: u64, told: u64, more: serde_json::Value| -> EventRecord {
        let mut line = json!({
            "kind": "event", "version": 1, "run": "r", "source": "a", "id": id, "event": "zone", "phase": phase,
            "pts_ns": pts, "told_ns": told, "since_ns": since, "zone": "yard", "width": 320, "height": 240,
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(line).unwrap()
    };
    let lines = [
        line(1, "start", 10, 10, 14, json!({})),
        line(2, "start", 20, 20, 21, json!({})),
        line(1, "update", 25, 10, 25, json!({})),
        line(1, "end", 30, 10, 33, json!({})),
        line(3, "end", 35, 35, 36, json!({ "event": "line", "side": "left", "zone": "gate" })),
        // The clip is over, and it is still there.
        line(2, "end", 40, 20, 40, json!({ "interrupted": true })),
    ];
    let found = told(&lines);
    let times: Vec<_> = found.iter().map(|told| (told.event.start_ns, told.event.end_ns, told.delay_ns)).collect();
    assert_eq!(times, [(10, Some(30), 4), (20, None, 1), (35, Some(35), 1)]);
    assert_eq!((found[2].event.event, found[2].event.side), (EventName::Line, Some(Side::Left)));
    assert_eq!(lines[0].phase, Phase::Start);
}

#[test]
fn clips_with_events_are_a_data_set_and_what_is_wrong_costs_the_event_or_the_clip() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    for name in ["good.mp4", "crossed.mp4", "torn.mp4"] {
        write(name, String::new());
    }
    let zone = json!({ "name": "yard", "polygon": [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]], "stay": 3.0 });
    let line = json!({ "name": "gate", "points": [[0.5, 1.0], [0.5, 0.0]] });
    let events = json!([
        { "event": "object", "start_ns": 5, "end_ns": null, "thing": 1 },
        { "event": "line", "start_ns": 7, "zone": "gate", "side": "left", "thing": 1 },
        { "event": "zone", "start_ns": 7, "zone": "garden" },
        { "event": "danced", "start_ns": 7 },
    ]);
    write("good.events.json", json!({ "zone": [zone], "line": [line], "events": events }).to_string());
    let bow = json!({ "name": "bow", "polygon": [[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]] });
    write("crossed.events.json", json!({ "zone": [bow], "events": [] }).to_string());
    write("torn.events.json", "{".into());
    write("alone.events.json", json!({ "events": [] }).to_string());
    assert_eq!(Format::recognise(folder.path()).unwrap(), Format::Events);
    let Dataset { items, failures } = Dataset::open(folder.path(), None, &Options::default()).unwrap();
    let [good] = &items[..] else { panic!("{items:?}") };
    let story = good.story.as_ref().unwrap();
    assert_eq!((story.zones[0].stay, story.lines[0].name.as_str(), story.events.len()), (Some(3.0), "gate", 2));
    assert_eq!((story.events[0].end_ns, story.events[1].side), (None, Some(Side::Left)));
    let has = |name: &str, why: &str| failures.iter().any(|line| line.contains(name) && line.contains(why));
    assert!(has("good.events.json", "event 2 (counted from 0): there is no zone or line \"garden\""), "{failures:?}");
    assert!(has("good.events.json", "event 3"), "{failures:?}");
    assert!(has("crossed.events.json", "crosses itself"), "{failures:?}");
    assert!(has("torn.events.json", "EOF"), "{failures:?}");
    assert!(has("alone.events.json", "there is no clip"), "{failures:?}");
    assert_eq!(failures.len(), 5);
}
