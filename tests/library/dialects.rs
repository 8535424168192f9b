//! Records in other systems' words: read by those systems' own readers where they can be had, held to schemas of theirs where not.

use crate::support::{python, strict_line};
use jsonschema::Validator;
use mostream::dialect::{Attributes, Dialect, Encoded, LABEL, Record, headers, id, structured};
use mostream::record::{EndRecord, EventName, EventRecord, FrameRecord, ObjectRecord, Phase, StateRecord, TrackRecord};
use mostream::track::State;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::LazyLock;

const DOCS: &str = include_str!("../../docs/formats.md");

/// The message that the docs show after a line that begins so.
fn documented(beginning: &str) -> &'static str {
    let (_, rest) = DOCS.split_once(&format!("\n{beginning}")).unwrap();
    let (_, block) = rest.split_once("```text\n").unwrap();
    block.split_once("\n```").unwrap().0
}

/// The record of this kind that they are made of.
fn example(kind: &str) -> Value {
    let line = DOCS.lines().find(|line| line.starts_with(&format!("{{\"kind\":\"{kind}\""))).unwrap();
    strict_line(line).unwrap()
}

fn frame() -> FrameRecord {
    serde_json::from_value(example("frame")).unwrap()
}

/// The same from a file that says nothing of clocks.
fn timeless() -> FrameRecord {
    FrameRecord { live: None, ..frame() }
}

fn event() -> EventRecord {
    serde_json::from_value(example("event")).unwrap()
}

fn state() -> StateRecord {
    let state = json!({
        "version": 1, "run": "9f1c6b02e47d5a38", "source": "door", "state": "lost", "at_unix_ns": 1_790_000_000_000_000_000_u64, "why": "it is gone",
    });
    serde_json::from_value(state).unwrap()
}

fn end() -> EndRecord {
    let end = json!({
        "version": 1, "run": "9f1c6b02e47d5a38", "source": "door", "state": "ended", "at_unix_ns": 1_790_000_060_000_000_000_u64, "frames": 1500,
    });
    serde_json::from_value(end).unwrap()
}

fn one(dialect: Dialect, record: Record) -> Encoded {
    let mut all = dialect.encode(record);
    assert_eq!(all.len(), 1, "{dialect}");
    all.remove(0)
}

fn text(message: &Encoded) -> &str {
    std::str::from_utf8(&message.body).unwrap()
}

fn value(message: &Encoded) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

#[test]
fn the_documented_messages_are_those_that_are_written() {
    let (frame, event) = (frame(), event());
    for dialect in [Dialect::DlStreamer, Dialect::Deepstream, Dialect::DeepstreamMinimal, Dialect::SavantJson] {
        let message = dialect.encode(Record::Frame(&frame)).remove(0);
        assert_eq!(text(&message), documented(&format!("`{dialect}`")), "{dialect}");
    }
    assert_eq!(text(&one(Dialect::Frigate, Record::Event(&event))), documented("`frigate`"));
    assert_eq!(text(&one(Dialect::Onvif, Record::Frame(&frame))), documented("`onvif`"));
    let mot = one(Dialect::Mot, Record::Frame(&frame));
    assert_eq!(text(&mot), documented("`mot`"));
    let id = id(Record::Frame(&frame));
    let attributes = Attributes::new(Record::Frame(&frame), &id);
    assert_eq!(text(&structured(&attributes, &mot)), documented("Structured"));
    let lines = headers(&attributes, &mot).into_iter().map(|(name, value)| format!("{name}: {value}"));
    assert_eq!(Vec::from_iter(lines).join("\n"), documented("Binary"));
    for dialect in Dialect::ALL {
        let row = format!("| `{dialect}` | ");
        let row = DOCS.lines().find(|line| line.starts_with(&row)).unwrap();
        let records = [Record::Frame(&frame), Record::Event(&event), Record::State(&state()), Record::End(&end())];
        let told = records.map(|record| dialect.encode(record));
        let types: HashSet<&str> = told.iter().flatten().map(|message| message.content_type).collect();
        assert_eq!(types.len(), 1, "{dialect}");
        assert!(types.iter().all(|media_type| row.contains(&format!("`{media_type}`"))), "{row}");
        let told = told.map(|messages| !messages.is_empty());
        let of = row.split(" | ").nth(3).unwrap();
        let says = |words: &str| of.contains(words);
        let every = says("every record");
        assert_eq!(told, [every || says("frames"), every || says("events"), every, every || says("end")], "{row}");
    }
}

#[test]
fn a_dialect_has_one_name_and_no_other_is_known() {
    for dialect in Dialect::ALL {
        assert_eq!(dialect.name().parse(), Ok(dialect));
        assert_eq!(serde_json::to_value(dialect).unwrap(), dialect.name());
        assert_eq!(serde_json::from_value::<Dialect>(dialect.name().into()).unwrap(), dialect);
    }
    let why = "yolo".parse::<Dialect>().unwrap_err();
    assert!(why.contains("\"yolo\"") && why.contains("mostream-msgpack, dl-streamer"), "{why}");
}

#[test]
fn the_own_record_is_the_line_and_message_pack_says_the_same() {
    let (frame, timeless, event, state, end) = (frame(), timeless(), event(), state(), end());
    let all = [
        (Record::Frame(&frame), serde_json::to_string(&frame)),
        (Record::Frame(&timeless), serde_json::to_string(&timeless)),
        (Record::Event(&event), serde_json::to_string(&event)),
        (Record::State(&state), serde_json::to_string(&state)),
        (Record::End(&end), serde_json::to_string(&end)),
    ];
    let mut packed = Vec::new();
    for (record, line) in &all {
        let message = one(Dialect::Mostream, *record);
        assert_eq!(text(&message), line.as_ref().unwrap());
        strict_line(text(&message)).unwrap();
        packed.push(json!(one(Dialect::MostreamMsgpack, *record).body));
    }
    let script = "
import json, msgpack, sys
print(json.dumps([msgpack.unpackb(bytes(message)) for message in json.load(sys.stdin)]))";
    // All numbers in them are the same in single precision.
    let expected: Vec<Value> =
        all.iter().map(|(_, line)| serde_json::from_str(line.as_ref().unwrap()).unwrap()).collect();
    assert_eq!(python(script, &json!(packed)), json!(expected));
}

#[test]
fn without_a_clock_there_is_no_time() {
    let (timeless, captured) =
        (timeless(), FrameRecord { captured_unix_ns: Some(1_600_000_000_120_000_000), ..timeless() });
    let of = |dialect: Dialect, record: &FrameRecord| {
        dialect.encode(Record::Frame(record)).iter().map(value).collect::<Vec<_>>()
    };
    for (dialect, field, time) in [
        (Dialect::DlStreamer, "system_timestamp", "2020-09-13T12:26:40.12Z"),
        (Dialect::Deepstream, "@timestamp", "2020-09-13T12:26:40.120Z"),
        (Dialect::DeepstreamMinimal, "@timestamp", "2020-09-13T12:26:40.120Z"),
    ] {
        let (without, with) = (of(dialect, &timeless), of(dialect, &captured));
        assert!(!without.is_empty() && without.iter().all(|message| message.get(field).is_none()), "{dialect}");
        assert!(with.iter().all(|message| message[field] == time), "{dialect}: {with:?}");
    }
    assert_eq!(Dialect::Onvif.encode(Record::Frame(&timeless)), []);
    assert!(text(&one(Dialect::Onvif, Record::Frame(&captured))).contains("UtcTime=\"2020-09-13T12:26:40.12Z\""));
    assert_eq!(Dialect::Frigate.encode(Record::Event(&EventRecord { at_unix_ns: None, ..event() })), []);
    let attributes = Attributes::new(Record::Frame(&timeless), "1");
    let message = one(Dialect::Mostream, Record::Frame(&timeless));
    assert_eq!(value(&structured(&attributes, &message)).get("time"), None);
    assert!(headers(&attributes, &message).iter().all(|(name, _)| *name != "ce-time"));
}

#[test]
fn frames_without_objects_are_told_where_the_system_tells_them() {
    let empty = FrameRecord { objects: Vec::new(), ..frame() };
    let told = Dialect::ALL.map(|dialect| dialect.encode(Record::Frame(&empty)).len());
    assert_eq!(told, [1, 1, 0, 0, 1, 1, 1, 0, 1, 0]);
    assert_eq!(value(&one(Dialect::DeepstreamMinimal, Record::Frame(&empty)))["objects"], json!([]));
}

#[test]
fn one_thing_is_one_for_frigate_from_its_coming_to_its_leaving() {
    let told =
        |event: &EventRecord| Dialect::Frigate.encode(Record::Event(event)).iter().map(value).collect::<Vec<_>>();
    let start = EventRecord {
        phase: Phase::Start,
        pts_ns: 40_400_000_000,
        at_unix_ns: Some(1_790_000_040_400_000_000),
        ..event()
    };
    let update = EventRecord { phase: Phase::Update, bbox: Some([0, 0, 10, 20]), ..event() };
    let other = EventRecord { id: 8, ..event() };
    let all = [start, update, event(), other].map(|event| told(&event).remove(0));
    assert_eq!([0, 1, 2, 3].map(|at: usize| all[at]["type"].as_str().unwrap()), ["new", "update", "end", "end"]);
    let of = |at: usize| (&all[at]["after"]["id"], &all[at]["after"]["start_time"]);
    assert_eq!((of(0), of(1)), (of(2), of(2)));
    assert_ne!(of(2).0, of(3).0);
    for message in &all {
        let (mut before, after) = (message["before"].clone(), &message["after"]);
        assert_eq!(before["end_time"], json!(null));
        before["end_time"] = after["end_time"].clone();
        assert_eq!(&before, after);
        assert_eq!(after["end_time"].is_null(), message["type"] != "end");
    }
    for name in EventName::ALL.into_iter().filter(|name| *name != EventName::Object) {
        assert_eq!(told(&EventRecord { event: name, ..event() }), Vec::<Value>::new());
    }
}

#[test]
fn a_records_identity_is_its_own() {
    let (frame, event, state, end) = (frame(), event(), state(), end());
    let same = FrameRecord { objects: Vec::new(), inferred: false, ..frame.clone() };
    assert_eq!(id(Record::Frame(&frame)), id(Record::Frame(&same)));
    let mut all = Vec::new();
    let frames = [
        frame.clone(),
        FrameRecord { frame: 8, ..frame.clone() },
        FrameRecord { run: "0".into(), ..frame.clone() },
        FrameRecord { source: "doo".into(), ..frame.clone() },
        // Its source was removed, and came again.
        FrameRecord { pts_ns: 1, ..frame.clone() },
        FrameRecord { live: None, ..frame.clone() },
        FrameRecord { run: format!("{}d", frame.run), source: "oor".into(), ..frame },
    ];
    all.extend(frames.iter().map(|frame| id(Record::Frame(frame))));
    let events = [
        event.clone(),
        EventRecord { id: 8, ..event.clone() },
        EventRecord { phase: Phase::Start, ..event.clone() },
        EventRecord { phase: Phase::Update, ..event.clone() },
        EventRecord { phase: Phase::Update, told_ns: 1, ..event.clone() },
        EventRecord { source: "yard".into(), ..event },
    ];
    all.extend(events.iter().map(|event| id(Record::Event(event))));
    let states =
        [state.clone(), StateRecord { at_unix_ns: 0, ..state.clone() }, StateRecord { source: "yard".into(), ..state }];
    all.extend(states.iter().map(|state| id(Record::State(state))));
    all.extend([end.clone(), EndRecord { run: String::new(), ..end }].iter().map(|end| id(Record::End(end))));
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    let script = "
import json, sys, uuid
print(json.dumps([[uuid.UUID(text).version, uuid.UUID(text).variant, str(uuid.UUID(text)) == text] for text in json.load(sys.stdin)]))";
    for read in python(script, &json!(all)).as_array().unwrap() {
        assert_eq!(read, &json!([8, "specified in RFC 4122", true]));
    }
}

/// As `support::validator`, of members that are all there and no others.
fn closed(members: Value) -> Value {
    let names: Vec<&String> = members.as_object().unwrap().keys().collect();
    json!({ "type": "object", "required": names, "additionalProperties": false, "properties": members })
}

/// Without these.
fn optional(mut schema: Value, names: &[&str]) -> Value {
    schema["required"].as_array_mut().unwrap().retain(|name| !names.contains(&name.as_str().unwrap()));
    schema
}

fn schema_of(dialect: Dialect) -> Option<&'static Validator> {
    static SCHEMAS: LazyLock<Vec<(Dialect, Validator)>> = LazyLock::new(|| {
        let (text, number, nothing) =
            (json!({ "type": "string" }), json!({ "type": "number" }), json!({ "type": "null" }));
        let count = json!({ "type": "integer", "minimum": 0 });
        let positive = json!({ "type": "integer", "minimum": 1 });
        let share = json!({ "type": "number", "minimum": 0, "maximum": 1 });
        let list = |items: Value| json!({ "type": "array", "items": items });
        let time = |digits: &str| json!({ "type": "string", "pattern": format!(r"^\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d{digits}Z$") });
        let shares = closed(json!({ "x_min": share, "x_max": share, "y_min": share, "y_max": share }));
        let detection = json!({ "bounding_box": shares, "confidence": share, "label_id": count, "label": text });
        let object = json!({
            "x": count, "y": count, "w": positive, "h": positive, "region_id": count, "id": positive, "roi_type": text,
            "detection": closed(detection),
        });
        let dl_streamer = json!({
            "resolution": closed(json!({ "width": positive, "height": positive })), "source": text, "timestamp": count,
            "system_timestamp": time(r"(\.\d{1,9})?"), "objects": list(optional(closed(object), &["id"])),
        });
        let minimal = json!({
            "version": { "const": "4.0" }, "id": count, "@timestamp": time(r"\.\d{3}"), "sensorId": text,
            "objects": list(json!({ "type": "string", "pattern": r"^\d+\|\d+\|\d+\|\d+\|\d+\|[^|]+$" })),
        });
        let location = closed(json!({ "lat": number, "lon": number, "alt": number }));
        let coordinate = closed(json!({ "x": number, "y": number, "z": number }));
        let uuid = json!({ "type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$" });
        let corners =
            json!({ "topleftx": count, "toplefty": count, "bottomrightx": positive, "bottomrighty": positive });
        // One more member is the label's.
        let object = json!({
            "type": "object", "minProperties": 8, "maxProperties": 8,
            "required": ["id", "speed", "direction", "orientation", "bbox", "location", "coordinate"],
            "properties": {
                "id": { "type": "string", "pattern": r"^\d+$" }, "speed": number, "direction": number, "orientation": number,
                "bbox": closed(corners), "location": location, "coordinate": coordinate,
            },
            "additionalProperties": closed(json!({ "confidence": share })),
        });
        let full = json!({
            "messageid": uuid, "mdsversion": { "const": "1.0" }, "@timestamp": time(r"\.\d{3}"), "place": { "type": "object" },
            "sensor": closed(json!({
                "id": text, "type": text, "description": text, "location": location, "coordinate": coordinate,
            })),
            "analyticsModule": closed(json!({ "id": text, "description": text, "source": text, "version": text })),
            "object": object, "event": closed(json!({ "id": uuid, "type": { "enum": ["moving", "stopped", ""] } })), "videoPath": text,
        });
        let object = json!({
            "model_name": text, "label": text, "object_id": count, "confidence": share, "attributes": list(json!(false)),
            "bbox": closed(json!({ "xc": number, "yc": number, "width": number, "height": number, "angle": { "const": 0.0 } })),
            "parent_model_name": nothing, "parent_label": nothing, "parent_object_id": nothing,
        });
        let savant = closed(json!({
            "source_id": text, "framerate": { "type": "string", "pattern": r"^\d+/\d+$" }, "width": count, "height": count, "pts": count,
            "keyframe": nothing, "codec": nothing, "dts": nothing, "duration": nothing, "metadata": closed(json!({ "objects": list(closed(object)) })),
            "tags": { "type": "object" }, "transformations": list(json!(false)), "schema": { "const": "VideoFrame" }, "frame_num": count,
        }));
        let ended = closed(json!({ "source_id": text, "schema": { "const": "EndOfStream" } }));
        let corners = json!({ "type": "array", "items": count, "minItems": 4, "maxItems": 4 });
        let maybe = json!({ "type": ["number", "null"] });
        let tracked = closed(json!({
            "id": text, "camera": text, "frame_time": number, "label": text, "sub_label": nothing, "score": nothing, "top_score": nothing,
            "box": corners, "area": positive, "ratio": number, "region": corners, "start_time": number, "end_time": maybe,
            "current_zones": list(text.clone()), "entered_zones": list(text.clone()), "active": nothing, "stationary": nothing,
            "motionless_count": nothing, "position_changes": nothing, "has_snapshot": { "type": "boolean" }, "has_clip": { "type": "boolean" },
        }));
        let frigate = json!({ "type": { "enum": ["new", "update", "end"] }, "before": tracked, "after": tracked });
        let schemas = [
            (Dialect::DlStreamer, optional(closed(dl_streamer), &["system_timestamp"])),
            (Dialect::DeepstreamMinimal, optional(closed(minimal), &["@timestamp"])),
            (Dialect::Deepstream, optional(closed(full), &["@timestamp"])),
            (Dialect::SavantJson, json!({ "anyOf": [savant, ended] })),
            (Dialect::Frigate, closed(frigate)),
        ];
        let compiled = schemas.map(|(dialect, schema)| {
            jsonschema::draft202012::meta::validate(&schema).unwrap();
            (dialect, jsonschema::validator_for(&schema).unwrap())
        });
        Vec::from(compiled)
    });
    SCHEMAS.iter().find(|(of, _)| *of == dialect).map(|(_, schema)| schema)
}

/// What is wrong with a message, where its schema is known here.
fn judge(dialect: Dialect, message: &Encoded) -> Result<(), String> {
    let Some(schema) = schema_of(dialect) else { return Ok(()) };
    let value = value(message);
    schema.validate(&value).map_err(|error| format!("{dialect}: {}: {error}", error.instance_path()))
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z]{1,5}",
        "[\\PC|\"'<>&%\u{0}\u{1}\n\r\t\u{7f}\u{85}\u{2028}\u{fffe}\u{ffff}\u{fdd0}#?/\\\\]{1,12}",
        prop::sample::select(vec!["id", "bbox", "speed", "object", "]]>", "|#|", "-1", "//[:x", "a:b", "100%", "é"])
            .prop_map(str::to_owned),
    ]
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..1000u64, 1 => any::<u64>(), 1 => Just(u64::MAX), 1 => Just(i64::MAX as u64 + 1)]
}

prop_compose! {
    fn any_object()(
        (bbox, wild) in (prop::array::uniform4(0..400u32), prop::array::uniform4(any::<u32>())),
        (is_wild, sorted) in (prop::bool::weighted(0.1), prop::bool::weighted(0.9)),
        score in prop_oneof![12 => 0.0..=1.0f32, 1 => any::<f32>(), 1 => Just(f32::NAN), 1 => Just(f32::MIN_POSITIVE)],
        label in prop::option::of(any_text()),
        track in prop::option::of((any_number(), prop::sample::select(vec![State::Active, State::Stationary, State::Lost]))),
    ) -> ObjectRecord {
        let [mut xmin, mut ymin, mut xmax, mut ymax] = if is_wild { wild } else { bbox };
        if sorted {
            ([xmin, xmax], [ymin, ymax]) = ([xmin.min(xmax), xmin.max(xmax)], [ymin.min(ymax), ymin.max(ymax)]);
        }
        let track = track.map(|(id, state)| TrackRecord { id, state, velocity: [f32::NAN, f32::INFINITY], ..TrackRecord::default() });
        ObjectRecord { bbox: [xmin, ymin, xmax, ymax], score, label, track, ..ObjectRecord::default() }
    }
}

prop_compose! {
    fn any_frame()(
        (source, run, model) in (any_text(), any_text(), any_text()),
        (frame, pts_ns) in (any_number(), any_number()),
        captured_unix_ns in prop::option::of(any_number()),
        live in prop::option::of(any_number()),
        (width, height) in (prop_oneof![1 => Just(0), 10 => 300..800u32, 1 => Just(u32::MAX)], prop_oneof![1 => Just(0), 10 => 300..800u32]),
        objects in prop::collection::vec(any_object(), 0..6),
    ) -> FrameRecord {
        let known = self::frame();
        let live = live.map(|captured_unix_ns| mostream::record::LiveRecord { captured_unix_ns, ..known.live.unwrap() });
        FrameRecord { source, run, model, frame, pts_ns, captured_unix_ns, width, height, objects, live, ..known }
    }
}

prop_compose! {
    fn any_event()(
        (source, event, phase) in (
            any_text(),
            prop::sample::select(vec![EventName::Object, EventName::Zone]),
            prop::sample::select(vec![Phase::Start, Phase::Update, Phase::End]),
        ),
        (since_ns, lasted_ns, id) in (any_number(), any_number(), any_number()),
        at_unix_ns in prop::option::of(any::<u64>()),
        (bbox, width, height) in (prop::option::weighted(0.9, prop::array::uniform4(0..400u32)), 200..800u32, 200..800u32),
    ) -> EventRecord {
        let pts_ns = since_ns.wrapping_add(lasted_ns);
        let bbox = bbox.map(|[x, y, w, h]| [x, y, x + w, y + h]);
        EventRecord { source, event, phase, pts_ns, since_ns, at_unix_ns, id, bbox, width, height, ..self::event() }
    }
}

/// So many, the same in every run.
fn sampled<T>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// The objects that a frame has, as anybody would tell them: box, score, label, track.
fn told(frame: &FrameRecord) -> Vec<([u32; 4], f32, &str, Option<u64>)> {
    let objects = frame.objects.iter().filter(|object| {
        let [xmin, ymin, xmax, ymax] = object.bbox;
        let is_box = xmin < xmax && ymin < ymax && xmax <= frame.width && ymax <= frame.height;
        is_box && object.score >= 0.0 && object.score <= 1.0
    });
    objects
        .map(|object| {
            let own = object.label.as_deref().unwrap_or_default();
            let name = if own.is_empty() { LABEL } else { own };
            (object.bbox, object.score, name, object.track.map(|track| track.id))
        })
        .collect()
}

#[test]
fn whatever_a_record_holds_the_messages_keep_to_their_schemas() {
    let (mut said, mut unsaid) = ([0; 10], [0; 10]);
    let (frames, events) = (sampled(any_frame(), 400), sampled(any_event(), 1000));
    let records = frames.iter().map(Record::Frame).chain(events.iter().map(Record::Event));
    for record in records {
        for (at, dialect) in Dialect::ALL.into_iter().enumerate() {
            let messages = dialect.encode(record);
            (said[at], unsaid[at]) = (said[at] + messages.len(), unsaid[at] + usize::from(messages.is_empty()));
            for message in messages {
                judge(dialect, &message).unwrap_or_else(|why| panic!("{why}\n{}\n{record:?}", text(&message)));
            }
        }
    }
    assert!(said.iter().all(|count| *count > 20), "{said:?}");
    assert!(unsaid[2..].iter().all(|count| *count > 20), "{unsaid:?}");
    for frame in &frames {
        let (objects, record) = (told(frame), Record::Frame(frame));
        let messages = Dialect::Deepstream.encode(record);
        assert_eq!(messages.len(), objects.len());
        let ids: HashSet<String> = messages.iter().map(|message| value(message)["messageid"].to_string()).collect();
        assert_eq!(ids.len(), objects.len());
        let minimal = value(&one(Dialect::DeepstreamMinimal, record));
        for ((at, message), (bbox, _, label, track)) in messages.iter().enumerate().zip(&objects) {
            let full = value(message);
            let corners = ["topleftx", "toplefty", "bottomrightx", "bottomrighty"]
                .map(|name| full["object"]["bbox"][name].as_u64());
            assert_eq!(corners, bbox.map(|edge| Some(edge.into())));
            let id = track.unwrap_or(u64::MAX);
            assert_eq!(full["object"]["id"], id.to_string());
            let own = ["id", "bbox", "speed"].contains(label);
            assert!(full["object"].get(if own { LABEL } else { label }).unwrap()["confidence"].is_number());
            let [xmin, ymin, xmax, ymax] = bbox;
            let line = format!("{id}|{xmin}|{ymin}|{xmax}|{ymax}|{}", label.replace('|', " "));
            assert_eq!(minimal["objects"][at], line);
            // No member comes twice: what is read is as long as what is written.
            let compact = |text: &str| text.matches("\":").count();
            assert!(label.contains('"') || compact(text(message)) == compact(&full.to_string()), "{}", text(message));
        }
    }
}

#[test]
fn savant_reads_the_same_frames() {
    let script = r"
import json, sys
import savant_rs
from savant_rs.utils.serialization import load_message_from_bytes
def read(message):
    message = load_message_from_bytes(bytes(message))
    if message.is_end_of_stream():
        return message.as_end_of_stream().source_id
    frame = message.as_video_frame()
    def place(b): return b and [b.xc, b.yc, b.width, b.height, b.angle]
    objects = sorted(frame.get_all_objects(), key=lambda o: o.id)
    objects = [[o.namespace, o.label, place(o.detection_box), o.confidence, o.track_id, place(o.track_box)] for o in objects]
    return [frame.source_id, frame.uuid, frame.width, frame.height, frame.pts, frame.time_base, frame.creation_timestamp_ns, frame.framerate,
        frame.content.is_none(), frame.keyframe, objects]
print(json.dumps([read(message) for message in json.load(sys.stdin)]))";
    let mut frames = vec![frame(), timeless()];
    frames.extend(sampled(any_frame(), 200));
    let sent = frames.iter().map(|frame| (frame, Dialect::Savant.encode(Record::Frame(frame))));
    let (unsaid, sent): (Vec<_>, Vec<_>) = sent.partition(|(_, messages)| messages.is_empty());
    assert!(unsaid.iter().all(|(frame, _)| frame.pts_ns > i64::MAX as u64 || frame.frame == u64::MAX));
    let mut bodies = Vec::from_iter(sent.iter().map(|(_, messages)| &messages[0].body));
    let ended = one(Dialect::Savant, Record::End(&end()));
    bodies.push(&ended.body);
    let read = python(script, &json!(bodies));
    let mut expected = Vec::from_iter(sent.iter().map(|(frame, _)| {
        let objects = told(frame).into_iter().map(|([xmin, ymin, xmax, ymax], score, label, track)| {
            let middle = |low: u32, high: u32| ((f64::from(low) + f64::from(high)) / 2.0) as f32;
            let place =
                json!([middle(xmin, xmax), middle(ymin, ymax), (xmax - xmin) as f32, (ymax - ymin) as f32, null]);
            let track = track.and_then(|id| i64::try_from(id).ok());
            json!(["mostream", label, place, score, track, track.map(|_| &place)])
        });
        let captured = frame.live.map(|live| live.captured_unix_ns).or(frame.captured_unix_ns).unwrap_or(0);
        json!([
            frame.source,
            id(Record::Frame(frame)),
            frame.width,
            frame.height,
            frame.pts_ns,
            [1, 1_000_000_000],
            captured,
            "0/1",
            true,
            null,
            Vec::from_iter(objects),
        ])
    }));
    expected.push(json!("door"));
    for (read, expected) in read.as_array().unwrap().iter().zip(&expected) {
        assert_eq!(read, expected);
    }
    assert_eq!(read.as_array().unwrap().len(), expected.len());
    assert!(expected.len() > 100);
}

#[test]
fn a_reader_of_savant_misses_no_frame() {
    let script = r"
import json, sys
import savant_rs
from savant_rs.utils.serialization import load_message_from_bytes
print(json.dumps([load_message_from_bytes(bytes(message)).validate_seq_id() for message in json.load(sys.stdin)]))";
    let frames = [0, 1, 2, 5].map(|frame| FrameRecord { frame, ..self::frame() });
    let ended = EndRecord { frames: 6, ..end() };
    let records = frames.iter().map(Record::Frame).chain([Record::End(&ended)]);
    let bodies = Vec::from_iter(records.map(|record| one(Dialect::Savant, record).body));
    assert_eq!(python(script, &json!(bodies)), json!([true, true, true, false, true]));
}

#[test]
fn onvif_documents_are_valid_and_say_where_things_are() {
    let script = r"
import importlib.util, json, os, sys
from lxml import etree
wsdl = os.path.join(importlib.util.find_spec('onvif').submodule_search_locations[0], 'wsdl')
schema = etree.XMLSchema(etree.parse(os.path.join(wsdl, 'onvif.xsd'), etree.XMLParser(no_network=True)))
T = '{http://www.onvif.org/ver10/schema}'
def read(text):
    document = etree.fromstring(text.encode())
    schema.assertValid(document)
    (frame,) = document.iter(T + 'Frame')
    move, scale = (frame.find(f'{T}Transformation/{T}{name}') for name in ('Translate', 'Scale'))
    x = lambda v: float(v) * float(scale.get('x')) + float(move.get('x'))
    y = lambda v: float(v) * float(scale.get('y')) + float(move.get('y'))
    objects = []
    for object in frame.iter(T + 'Object'):
        (box,), (centre,) = object.iter(T + 'BoundingBox'), object.iter(T + 'CenterOfGravity')
        edges = [x(box.get('left')), y(box.get('top')), x(box.get('right')), y(box.get('bottom')), x(centre.get('x')), y(centre.get('y'))]
        label = [e.text for e in object.iter(T + 'Type')]
        likelihood = [float(e.text) for e in object.iter(T + 'Likelihood')]
        objects.append([object.get('ObjectId'), edges, label, likelihood[0]])
    return [frame.get('UtcTime'), objects]
print(json.dumps([read(text) for text in json.load(sys.stdin)]))";
    let mut frames = vec![frame(), FrameRecord { objects: Vec::new(), ..frame() }];
    frames.extend(sampled(any_frame(), 300));
    let sent = frames.iter().map(|frame| (frame, Dialect::Onvif.encode(Record::Frame(frame))));
    let (unsaid, sent): (Vec<_>, Vec<_>) = sent.partition(|(_, messages)| messages.is_empty());
    let has_none = |frame: &FrameRecord| {
        frame.live.is_none() && frame.captured_unix_ns.is_none() || frame.width.min(frame.height) == 0
    };
    assert!(unsaid.iter().all(|(frame, _)| has_none(frame)) && !unsaid.is_empty());
    let read = python(script, &json!(Vec::from_iter(sent.iter().map(|(_, messages)| text(&messages[0])))));
    let mut found = 0;
    for ((frame, _), read) in sent.iter().zip(read.as_array().unwrap()) {
        let (objects, of) = (told(frame), read[1].as_array().unwrap());
        assert_eq!(objects.len(), of.len());
        for ((bbox, score, label, track), read) in objects.iter().zip(of) {
            found += 1;
            assert_eq!(read[0].as_str(), track.map(|id| id.to_string()).as_deref());
            // From −1 at the left and the bottom to 1.
            let (w, h) = (f64::from(frame.width), f64::from(frame.height));
            let [xmin, ymin, xmax, ymax] = bbox.map(f64::from);
            let (x, y) = (|x: f64| 2.0 * x / w - 1.0, |y: f64| 1.0 - 2.0 * y / h);
            let places = [x(xmin), y(ymin), x(xmax), y(ymax), x((xmin + xmax) / 2.0), y((ymin + ymax) / 2.0)];
            let near =
                places.iter().zip(read[1].as_array().unwrap()).all(|(a, b)| (a - b.as_f64().unwrap()).abs() < 1e-6);
            assert!(near, "{places:?} {read}");
            let types = read[2].as_array().unwrap();
            assert_eq!((&types[0], types.len()), (&json!("Other"), if *label == LABEL { 1 } else { 2 }));
            let is_plain = label.chars().all(|c| c.is_ascii_graphic());
            assert!(types.len() == 1 || !is_plain || types[1] == **label, "{label:?} {types:?}");
            assert!((read[3].as_f64().unwrap() - f64::from(*score)).abs() < 1e-6);
        }
    }
    assert!(found > 100, "{found}");
    assert_eq!(read[0][0], "2026-09-21T14:13:20.28Z");
}

#[test]
fn track_eval_finds_what_was_tracked() {
    let script = r"
import contextlib, json, os, pathlib, sys, tempfile
given = json.load(sys.stdin)
with tempfile.TemporaryDirectory() as at, contextlib.redirect_stdout(sys.stderr):
    import trackeval
    for place, text in (('true/street/gt/gt.txt', given['true']), ('found/own/data/street.txt', given['found'])):
        os.makedirs(os.path.dirname(f'{at}/{place}'), exist_ok=True)
        pathlib.Path(f'{at}/{place}').write_text(text)
    dataset = trackeval.datasets.MotChallenge2DBox({
        'GT_FOLDER': f'{at}/true', 'TRACKERS_FOLDER': f'{at}/found', 'SKIP_SPLIT_FOL': True, 'SEQ_INFO': {'street': given['frames']},
        'TRACKERS_TO_EVAL': ['own'], 'PRINT_CONFIG': False, 'DO_PREPROC': False,
    })
    raw = dataset.get_raw_seq_data('own', 'street')
    data = dataset.get_preprocessed_seq_data(raw, 'pedestrian')
    hota = trackeval.metrics.HOTA().eval_sequence(data)
    scores = [score for frame in raw['tracker_confidences'] for score in frame.tolist()]
print(json.dumps([int(data['num_timesteps']), int(data['num_tracker_dets']), float(hota['HOTA'].min()), scores]))";
    let place = |frame: u32, track: u32| [10 * track + frame, 20 * track, 10 * track + frame + 30, 20 * track + 15];
    let object = |frame, id: u32| ObjectRecord {
        bbox: place(frame, id),
        score: 1.0 / id as f32,
        track: Some(TrackRecord { id: id.into(), ..TrackRecord::default() }),
        ..ObjectRecord::default()
    };
    let frames = (0..5).map(|frame| FrameRecord {
        frame: frame.into(),
        objects: (1..=frame).map(|id| object(frame, id)).collect(),
        ..self::frame()
    });
    let found = Vec::from_iter(frames.flat_map(|frame| Dialect::Mot.encode(Record::Frame(&frame))));
    assert_eq!(found.len(), 4);
    // As MOT Challenge has what is true.
    let truth = (0..5).flat_map(|frame| (1..=frame).map(move |track| (frame, track))).map(|(frame, track)| {
        let [xmin, ymin, xmax, ymax] = place(frame, track);
        format!("{},{track},{},{},{},{},1,1,1\n", frame + 1, xmin + 1, ymin + 1, xmax - xmin, ymax - ymin)
    });
    let found = Vec::from_iter(found.iter().map(text)).join("\n");
    let read = python(script, &json!({ "true": String::from_iter(truth), "found": found, "frames": 5 }));
    let scores = Vec::from_iter((1..5).flat_map(|frame| (1..=frame).map(|id| 1.0 / id as f32)));
    assert_eq!((&read[0], &read[1], &read[2]), (&json!(5), &json!(10), &json!(1.0)));
    let near = read[3]
        .as_array()
        .unwrap()
        .iter()
        .zip(&scores)
        .all(|(a, b)| (a.as_f64().unwrap() - f64::from(*b)).abs() < 1e-6);
    assert!(near && read[3].as_array().unwrap().len() == 10, "{read}");
}

#[test]
fn cloud_events_are_read_back_with_their_messages() {
    let script = r"
import json, sys
from datetime import timezone
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event, from_structured_event
from cloudevents.core.v1.event import CloudEvent
def read(event):
    data = event.get_data()
    time = event.get_time()
    return [event.get_id(), event.get_source(), event.get_type(), event.get_subject(), event.get_datacontenttype(), 'time' in given,
        list(data) if isinstance(data, bytes) else data]
told = []
for whole, headers, body in json.load(sys.stdin):
    given = json.loads(bytes(whole))
    one = read(from_structured_event(HTTPMessage({'content-type': 'application/cloudevents+json'}, bytes(whole))))
    given = [name[3:] for name in headers if name.startswith('ce-')]
    two = read(from_binary_event(HTTPMessage(headers, bytes(body))))
    told.append([one, two])
print(json.dumps(told))";
    let (frames, events) = (sampled(any_frame(), 60), sampled(any_event(), 20));
    let (state, end) = (state(), end());
    let records = frames.iter().map(Record::Frame).chain(events.iter().map(Record::Event));
    let records = records.chain([Record::State(&state), Record::End(&end)]);
    let messages = records.flat_map(|record| {
        let each = Dialect::ALL.into_iter().flat_map(move |dialect| dialect.encode(record));
        each.enumerate().map(move |(number, message)| (record, format!("{}/{number}", id(record)), message))
    });
    let messages = Vec::from_iter(messages);
    let sent = messages.iter().map(|(record, id, message)| {
        let attributes = Attributes::new(*record, id);
        let whole = structured(&attributes, message);
        assert_eq!(whole.content_type, "application/cloudevents+json");
        let headers = headers(&attributes, message);
        let is_safe = |value: &str| value.chars().all(|c| c.is_ascii_graphic() && c != '"');
        assert!(headers.iter().all(|(_, value)| is_safe(value)), "{headers:?}");
        json!([
            whole.body,
            serde_json::Map::from_iter(headers.into_iter().map(|(name, value)| (name.to_owned(), json!(value)))),
            message.body
        ])
    });
    let read = python(script, &json!(Vec::from_iter(sent)));
    assert_eq!(read.as_array().unwrap().len(), messages.len());
    let mut types = HashSet::new();
    for ((record, id, message), read) in messages.iter().zip(read.as_array().unwrap()) {
        let (kind, source, has_time) = match record {
            Record::Frame(frame) => {
                ("mostream.frame", &frame.source, frame.live.is_some() || frame.captured_unix_ns.is_some())
            }
            Record::Event(event) => ("mostream.event", &event.source, event.at_unix_ns.is_some()),
            Record::State(state) => ("mostream.state", &state.source, true),
            Record::End(end) => ("mostream.end", &end.source, true),
        };
        types.insert((kind, message.content_type));
        let subject = (!source.is_empty()).then(|| source.replace(char::is_control, " "));
        let is_json = message.content_type == "application/json";
        for (at, read) in read.as_array().unwrap().iter().enumerate() {
            assert_eq!(read[0], **id);
            assert!(read[1].as_str().unwrap().starts_with("/mostream/"));
            assert_eq!((&read[2], read[3].as_str()), (&json!(kind), subject.as_deref()));
            assert_eq!((&read[4], &read[5]), (&json!(message.content_type), &json!(has_time)));
            match (is_json, std::str::from_utf8(&message.body)) {
                (true, _) => assert_eq!(read[6], value(message)),
                // Bytes beside headers that happen to be UTF-8 are given as text.
                (false, Ok(text))
                    if at == 1
                        || !message.content_type.starts_with("application/")
                        || message.content_type.ends_with("xml") =>
                {
                    assert_eq!(read[6], text);
                }
                _ => assert_eq!(read[6], json!(message.body)),
            }
        }
    }
    assert!(types.len() > 8, "{types:?}");
}

#[test]
fn a_source_of_a_cloud_event_is_a_uri() {
    for (source, uri) in [
        ("door", "/mostream/door"),
        ("rtsp://10.0.0.7:554/a?b=c#d", "/mostream/rtsp://10.0.0.7:554/a%3Fb=c%23d"),
        ("//[x", "/mostream///%5Bx"),
        ("out/100% ü.mp4", "/mostream/out/100%25%20%C3%BC.mp4"),
        ("", "/mostream/"),
    ] {
        let frame = FrameRecord { source: source.into(), ..frame() };
        let attributes = Attributes::new(Record::Frame(&frame), "1");
        assert_eq!(attributes.source, uri);
        assert_eq!(attributes.subject.as_deref(), (!source.is_empty()).then_some(source));
    }
}
