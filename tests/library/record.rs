//! The record: what is written keeps to the published schema, and means what `docs/record.md` says.

use crate::support::{OPEN_SCHEMA, STRICT_SCHEMA, strict_line, validate_line};
use mostream::geometry::{Grid, PatchLayout, PixelBox};
use mostream::localize::{Detection, Method};
use mostream::motion::Camera;
use mostream::record::{
    EndRecord, EventName, EventRecord, Every, FrameRecord, GapRecord, GridRecord, MaskRecord, ObjectRecord, Phase,
    SourceState, StateRecord, TimingsRecord, TrackRecord, VERSION,
};
use mostream::scene::Cues;
use mostream::track::State;
use mostream::zones::Side;
use proptest::prelude::*;
use serde_json::{Value, json};

/// 100×60 px in patches of 8: the last row and column reach past the image.
const LAYOUT: PatchLayout =
    PatchLayout { grid: Grid { rows: 8, cols: 13 }, patch: 8, image_width: 100, image_height: 60 };

fn record(objects: Vec<ObjectRecord>) -> FrameRecord {
    FrameRecord {
        every: Some(Every::Auto),
        version: VERSION,
        run: "00c0ffee00c0ffee".into(),
        source: "street \"1\".mp4".into(),
        frame: 3,
        pts_ns: 120_000_000,
        captured_unix_ns: None,
        width: 853,
        height: 479,
        grid: GridRecord::new(&LAYOUT, 853, 479),
        method: Method::Most,
        model: "tiny@00".into(),
        device: Some("cuda:0,cuda:1".into()),
        precision: Some("fp16".into()),
        inferred: true,
        objects,
        timings_us: None,
        camera: None,
        live: None,
        shortfall: None,
    }
}

fn object(with_mask: bool) -> ObjectRecord {
    let bbox = PixelBox { xmin: 8, ymin: 16, xmax: 100, ymax: 60 };
    let detection = Detection { bbox, seed: Some(40), score: 0.75, patches: vec![27, 40, 41, 103] };
    ObjectRecord::new(&detection, None, &LAYOUT, (853, 479), with_mask)
}

fn round_trip(record: &FrameRecord) -> FrameRecord {
    validate_line(&serde_json::to_string(record).unwrap()).unwrap()
}

#[test]
fn every_kind_of_record_keeps_to_the_schema_and_reads_back() {
    let cues = Cues { novelty: 1.5, pixels: 8.0, ..Cues::default() };
    let track =
        TrackRecord { id: 7, state: State::Stationary, hits: 31, first_seen_ns: 40_000_000, velocity: [-1.5, 0.25] };
    let timings = TimingsRecord { convert: 1, inference: 40_000, localize: 0, motion: 250, scene: 900 };
    for written in [
        record(vec![]),
        record(vec![object(false), object(true)]),
        record(vec![ObjectRecord { label: Some("cup".into()), ..object(true) }]),
        FrameRecord {
            camera: Some(Camera::Shaking),
            ..record(vec![ObjectRecord {
                track: Some(track),
                ..ObjectRecord::of_place([3, 4, 5, 6], 0.5, cues, &[2, 3], None, &LAYOUT, true)
            }])
        },
        FrameRecord { timings_us: Some(timings), inferred: false, ..record(vec![object(false)]) },
        FrameRecord { captured_unix_ns: Some(1_600_000_000_120_000_000), ..record(vec![]) },
        FrameRecord { method: Method::Lost, pts_ns: 0, ..record(vec![]) },
        FrameRecord { method: Method::TokenCut, frame: u64::MAX, ..record(vec![]) },
        FrameRecord { method: Method::DinoSeg, ..record(vec![ObjectRecord { seed: None, ..object(false) }]) },
    ] {
        assert_eq!(round_trip(&written), written);
    }
}

#[test]
fn an_empty_frame_has_an_empty_list_and_no_optional_field() {
    let line = serde_json::to_value(record(vec![])).unwrap();
    assert_eq!(line["objects"], json!([]));
    assert_eq!(line.get("timings_us"), None);
    assert_eq!(serde_json::to_value(object(false)).unwrap().get("mask"), None);
}

fn changes() -> (StateRecord, EndRecord) {
    let (version, run, source) = (VERSION, "00c0ffee00c0ffee".to_owned(), "door".to_owned());
    let why = Some("the server closed the connection".to_owned());
    let (state, at_unix_ns) = (SourceState::Lost, 1_600_000_000_000_000_000);
    let end = EndRecord {
        version,
        run: run.clone(),
        source: source.clone(),
        state: SourceState::Ended,
        at_unix_ns,
        frames: 9,
        why: None,
    };
    (StateRecord { version, run, source, state, at_unix_ns, why }, end)
}

#[test]
fn changes_keep_to_the_schema_and_are_no_frames_to_whoever_reads() {
    let (state, end) = changes();
    let lines = [serde_json::to_value(&state).unwrap(), serde_json::to_value(&end).unwrap()];
    for line in &lines {
        assert_eq!(&strict_line(&line.to_string()).unwrap(), line);
        // By either sign that the first lines of version 1 were told apart by; an end is a state to those readers.
        assert_eq!((line.get("objects"), line["state"].is_string()), (None, true));
        serde_json::from_value::<StateRecord>(line.clone()).unwrap();
        serde_json::from_value::<FrameRecord>(line.clone()).unwrap_err();
        for field in ["version", "kind", "run", "source", "state", "at_unix_ns"] {
            let mut less = line.clone();
            less.as_object_mut().unwrap().remove(field).unwrap();
            assert!(!STRICT_SCHEMA.is_valid(&less), "without {field}");
        }
        for (field, value) in
            [("state", json!("gone")), ("state", json!(1)), ("objects", json!([])), ("kind", json!("frame"))]
        {
            let mut other = line.clone();
            other[field] = value;
            assert!(!OPEN_SCHEMA.is_valid(&other), "{other}");
        }
    }
    assert_eq!((&lines[0]["kind"], &lines[1]["kind"]), (&json!("state"), &json!("end")));
    assert_eq!(serde_json::from_value::<StateRecord>(lines[0].clone()).unwrap(), state);
    assert_eq!(serde_json::from_value::<EndRecord>(lines[1].clone()).unwrap(), end);
    let frame = serde_json::to_value(record(vec![])).unwrap();
    assert_eq!((&frame["kind"], frame.get("state")), (&json!("frame"), None));
}

#[test]
fn events_keep_to_the_schema_and_look_like_no_frame_and_no_state() {
    let event = EventRecord {
        version: VERSION,
        run: "00c0ffee00c0ffee".into(),
        source: "yard".into(),
        seq: None,
        id: 1,
        event: EventName::Covered,
        phase: Phase::Start,
        pts_ns: 0,
        at_unix_ns: None,
        told_ns: 0,
        since_ns: 0,
        tracks: Vec::new(),
        zone: None,
        side: None,
        bbox: None,
        stationary: false,
        zones: Vec::new(),
        picture: None,
        width: 640,
        height: 480,
        interrupted: false,
    };
    let all = EventRecord {
        seq: Some(9),
        at_unix_ns: Some(7),
        tracks: vec![3],
        zone: Some("door".into()),
        side: Some(Side::Left),
        bbox: Some([1, 2, 3, 4]),
        stationary: true,
        zones: vec!["drive".into()],
        picture: Some(8),
        interrupted: true,
        ..event.clone()
    };
    let named = EventName::ALL.map(|name| EventRecord { event: name, ..event.clone() });
    for event in named.iter().chain([&event, &all]) {
        let line = serde_json::to_value(event).unwrap();
        assert_eq!(strict_line(&line.to_string()).unwrap(), line);
        assert_eq!((&line["event"], line.get("objects"), line.get("state")), (&event.event.name().into(), None, None));
        assert_eq!(&serde_json::from_value::<EventRecord>(line).unwrap(), event);
    }
    let line = serde_json::to_value(&all).unwrap();
    for (field, value) in [
        ("phase", json!("begin")),
        ("event", json!("rain")),
        ("id", json!(0)),
        ("side", json!("up")),
        ("width", json!(0)),
        ("bbox", json!([1, 2, 3])),
        ("stationary", json!("yes")),
        ("zones", json!([""])),
        ("picture", json!(0)),
        ("more", json!(1)),
    ] {
        let mut other = line.clone();
        other[field] = value;
        assert!(!STRICT_SCHEMA.is_valid(&other), "{other}");
    }
    for field in
        ["version", "run", "source", "id", "event", "phase", "pts_ns", "told_ns", "since_ns", "width", "height"]
    {
        let mut less = line.clone();
        less.as_object_mut().unwrap().remove(field).unwrap();
        assert!(!STRICT_SCHEMA.is_valid(&less), "without {field}");
    }
}

#[test]
fn what_is_added_later_is_passed_over_and_is_not_ours_yet() {
    let known = record(vec![object(true)]);
    let mut frame = serde_json::to_value(&known).unwrap();
    for place in ["", "/grid", "/objects/0", "/objects/0/mask"] {
        frame.pointer_mut(place).unwrap()["more"] = json!({ "of": [1, "kind"] });
        assert!(OPEN_SCHEMA.is_valid(&frame) && !STRICT_SCHEMA.is_valid(&frame), "{place}");
    }
    assert_eq!(serde_json::from_value::<FrameRecord>(frame).unwrap(), known);
    let (state, end) = changes();
    for known in [serde_json::to_value(&state).unwrap(), serde_json::to_value(&end).unwrap()] {
        let mut more = known.clone();
        more["more"] = json!(1);
        assert!(OPEN_SCHEMA.is_valid(&more) && !STRICT_SCHEMA.is_valid(&more), "{more}");
        let read: StateRecord = serde_json::from_value(more).unwrap();
        assert_eq!(read, serde_json::from_value(known).unwrap());
    }

    let event = json!({ "version": 1, "kind": "weather", "at": 7 });
    assert!(OPEN_SCHEMA.is_valid(&event) && !STRICT_SCHEMA.is_valid(&event));
    for (field, value) in [("version", json!(2)), ("kind", json!(7)), ("objects", json!([])), ("state", json!("lost"))]
    {
        let mut wrong = event.clone();
        wrong[field] = value;
        assert!(!OPEN_SCHEMA.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn lines_from_before_there_were_runs_and_kinds_are_still_read() {
    let (state, _) = changes();
    for line in [serde_json::to_value(record(vec![object(true)])).unwrap(), serde_json::to_value(&state).unwrap()] {
        let mut line = line;
        line.as_object_mut().unwrap().retain(|field, _| field != "kind" && field != "run");
        assert!(OPEN_SCHEMA.is_valid(&line) && !STRICT_SCHEMA.is_valid(&line), "{line}");
        let run = match line.get("state") {
            Some(_) => serde_json::from_value::<StateRecord>(line).unwrap().run,
            None => serde_json::from_value::<FrameRecord>(line).unwrap().run,
        };
        assert_eq!(run, "");
    }
}

#[test]
fn the_documented_lines_keep_to_the_schema() {
    let lines: Vec<&str> =
        include_str!("../../docs/record.md").lines().filter(|line| line.starts_with("{\"")).collect();
    let kinds: Vec<Value> = lines.iter().map(|line| strict_line(line).unwrap()["kind"].take()).collect();
    assert_eq!(kinds, ["frame", "state", "end", "event", "gap"]);
    serde_json::from_str::<EventRecord>(lines[3]).unwrap();
    let gap: GapRecord = serde_json::from_str(lines[4]).unwrap();
    assert_eq!(serde_json::to_value(gap).unwrap(), serde_json::from_str::<Value>(lines[4]).unwrap());
    let record = validate_line(lines[0]).unwrap();
    assert_eq!((record.frame, record.objects.len()), (7, 1));
}

#[test]
fn malformed_lines_are_refused() {
    let good = serde_json::to_value(record(vec![object(true)])).unwrap();
    validate_line(&good.to_string()).unwrap();

    let missing = |place: &str, field: &str| {
        let mut line = good.clone();
        line.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(field).unwrap();
        line
    };
    for (place, fields) in [
        ("", &["version", "source", "frame", "pts_ns", "width", "height", "grid", "method", "model"] as &[_]),
        ("", &["inferred", "objects"]),
        ("/grid", &["rows", "cols", "patch_width", "patch_height"]),
        ("/objects/0", &["bbox", "seed", "score", "patches"]),
        ("/objects/0/mask", &["size", "counts"]),
    ] {
        for field in fields {
            assert!(validate_line(&missing(place, field).to_string()).is_err(), "without {place}/{field}");
        }
    }

    let mut good = good.clone();
    good["objects"][0]["label"] = json!("cup");
    validate_line(&good.to_string()).unwrap();
    let changed = |place: &str, value: &Value| {
        let mut line = good.clone();
        *line.pointer_mut(place).unwrap() = value.clone();
        line
    };
    for (place, value) in [
        ("/version", json!(2)),
        ("/source", json!("")),
        ("/frame", json!(-1)),
        ("/frame", json!(1.5)),
        ("/pts_ns", json!(null)),
        ("/pts_ns", json!("0")),
        ("/width", json!(0)),
        ("/grid/rows", json!(0)),
        ("/grid/patch_width", json!(0.0)),
        ("/method", json!("MOST")),
        ("/inferred", json!(1)),
        ("/objects", json!(null)),
        ("/objects/0/bbox", json!([0, 0, 10])),
        ("/objects/0/bbox", json!([-1, 0, 10, 10])),
        ("/objects/0/bbox", json!([0.5, 0, 10, 10])),
        ("/objects/0/bbox", json!([10, 0, 10, 10])),
        ("/objects/0/bbox", json!([0, 0, 854, 10])),
        ("/objects/0/score", json!(1.01)),
        ("/objects/0/score", json!(null)),
        ("/objects/0/seed", json!(104)),
        ("/objects/0/patches", json!(0)),
        ("/objects/0/label", json!("")),
        ("/objects/0/label", json!(1)),
        ("/objects/0/mask/size", json!([13, 8])),
        ("/objects/0/mask/counts", json!([])),
        ("/objects/0/mask/counts", json!([104])),
    ] {
        assert!(validate_line(&changed(place, &value).to_string()).is_err(), "{place} {value}");
    }

    for place in ["", "/grid", "/objects/0", "/objects/0/mask"] {
        let mut line = good.clone();
        line.pointer_mut(place).unwrap()["more"] = json!(1);
        assert!(validate_line(&line.to_string()).is_err(), "{place}/more");
    }
    assert!(validate_line("").is_err());
    assert!(validate_line(&good.to_string()[1..]).is_err());
}

#[test]
fn boxes_and_patches_are_given_in_frame_pixels() {
    // 100×60 px to 853×479: ×8.53 and ×7.98333.
    assert_eq!(object(false).bbox, [68, 128, 853, 479]);
    let grid = record(vec![]).grid;
    assert_eq!((grid.rows, grid.cols), (8, 13));
    assert!((grid.patch_width - 68.24).abs() < 1e-9 && (grid.patch_height - 63.866_666_666_7).abs() < 1e-9, "{grid:?}");
}

/// The cells of a mask, as COCO's documentation tells to read it: run after run, down each column, the first run is off.
fn decoded(mask: &MaskRecord) -> Vec<(usize, usize)> {
    let runs = mask.counts.iter().enumerate();
    let cells: Vec<bool> = runs.flat_map(|(run, &count)| std::iter::repeat_n(run % 2 == 1, count)).collect();
    let on = cells.iter().enumerate().filter(|(_, on)| **on);
    on.map(|(cell, _)| (cell % mask.size[0], cell / mask.size[0])).collect()
}

proptest! {
    #[test]
    fn a_mask_reads_back_as_the_patches_it_was_made_of(
        (rows, cols, patches) in (1usize..12, 1usize..12).prop_flat_map(|(rows, cols)| {
            let all: Vec<usize> = (0..rows * cols).collect();
            (Just(rows), Just(cols), proptest::sample::subsequence(all, 0..=rows * cols))
        })
    ) {
        let grid = Grid { rows, cols };
        let layout = PatchLayout { grid, patch: 8, image_width: 8 * cols as u32, image_height: 8 * rows as u32 };
        let mask = MaskRecord::new(&patches, layout.grid.rows, layout.grid.cols);
        prop_assert_eq!(mask.size, [rows, cols]);
        prop_assert!(mask.counts.iter().skip(1).all(|&count| count > 0), "only the first run may be empty");
        let mut found: Vec<usize> = decoded(&mask).into_iter().map(|(row, col)| row * cols + col).collect();
        found.sort_unstable();
        prop_assert_eq!(found, patches);
    }
}

#[test]
fn a_mask_tells_its_patches() {
    for patches in [vec![], vec![0], vec![5, 11], vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]] {
        let layout = PatchLayout { grid: Grid { rows: 3, cols: 4 }, patch: 8, image_width: 32, image_height: 24 };
        assert_eq!(MaskRecord::new(&patches, layout.grid.rows, layout.grid.cols).patches(), patches);
    }
}
