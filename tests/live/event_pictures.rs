//! A picture of each event: of the frame that shows it best, kept as long as its line, through kill -9, and given to who asks.

use crate::events::{lines, open, site};
use crate::support::browser::{Browser, DOWN};
use crate::support::clips::{X264, film};
use crate::support::program::{alone, until};
use crate::support::scene::{self, Shape, Texture, Thing};
use crate::support::site::{Site, agent, ask, event, header, noise, picture, read, record};
use mostream::engine::sink::{Message, Picture, Sink};
use mostream::publish::event_store::{EventReader, EventStore, MOST_LINES, MOST_PICTURE_BYTES};
use mostream::record::{EventName, EventRecord, FrameRecord, ObjectRecord, Phase, TrackRecord};
use mostream::run::{Options, Run, RunSpec, SourceSpec};
use mostream::track::State;
use mostream::web;
use mostream::zones::{Area, Polygon};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;

/// A box of so many pixels across, and how certain it is.
fn seen(track: u64, side: u32, score: f32) -> ObjectRecord {
    let track = TrackRecord { id: track, hits: 9, ..TrackRecord::default() };
    let track = TrackRecord { state: State::Active, ..track };
    ObjectRecord {
        bbox: [20, 20, 20 + side, 20 + side],
        score,
        patches: 4,
        track: Some(track),
        ..ObjectRecord::default()
    }
}

/// Frame `number`, 40 ms after the one before; its picture shows its number.
fn frame(sink: &mut dyn Sink, number: u64, objects: Vec<ObjectRecord>, picture: Option<Picture>) {
    let record = FrameRecord { objects, ..record("yard", number, 0) };
    sink.take(&Message::Frame { record: Arc::new(record), picture }).unwrap();
}

fn tell(sink: &mut dyn Sink, line: EventRecord) {
    sink.take(&Message::Event(Arc::new(line))).unwrap();
}

/// Of track 1, told by a frame.
fn line(id: u64, phase: Phase, frame: u64) -> EventRecord {
    let at = 40_000_000 * frame;
    EventRecord { told_ns: at, pts_ns: at, since_ns: 0, tracks: vec![1], ..event("yard", id, EventName::Object, phase) }
}

/// All lines, once this event is among them: what was put before is written, too.
fn written(sink: &mut dyn Sink, reader: &EventReader, id: u64) -> Vec<EventRecord> {
    tell(sink, EventRecord { tracks: Vec::new(), ..event("gate", id, EventName::Light, Phase::End) });
    until("written", || lines(reader).iter().any(|line| line.id == id));
    lines(reader)
}

/// The number that the picture of this line shows.
fn shown(reader: &EventReader, seq: u64) -> Option<u64> {
    let (number, size) = read(&reader.picture(seq).unwrap()?);
    assert_eq!(size, (160, 120));
    Some(number)
}

#[test]
fn the_picture_of_an_event_is_that_of_the_frame_that_shows_it_best() {
    let store = EventStore::open(None).unwrap();
    let (mut sink, reader) = (store.sink(true), store.reader());
    let sink = sink.as_mut();
    frame(sink, 9, vec![seen(1, 40, 0.9)], Some(picture(9)));
    frame(sink, 10, vec![seen(1, 20, 0.5)], Some(picture(10)));
    tell(sink, line(1, Phase::Start, 10));
    let first = written(sink, &reader, 90).remove(0);
    let seq = first.seq.unwrap();
    assert_eq!((first.picture, shown(&reader, seq)), (Some(seq), Some(10)), "that by which it is told");
    let lost = |mut object: ObjectRecord| {
        object.track.as_mut().unwrap().state = State::Lost;
        object
    };
    for (number, objects, with_picture, expected) in [
        (11, vec![seen(1, 20, 0.55)], true, 10),                  // Hardly better.
        (12, vec![seen(1, 20, 0.7)], true, 12),                   // More certain.
        (13, vec![seen(2, 80, 0.9), seen(1, 20, 0.7)], true, 12), // Another is large.
        (14, vec![lost(seen(1, 80, 0.9))], true, 12),             // It is not seen.
        (15, vec![seen(1, 80, 0.9)], false, 12),                  // There is no picture.
        (16, vec![seen(1, 40, 0.4)], true, 16),                   // Larger.
        (17, vec![], true, 16),
    ] {
        frame(sink, number, objects, with_picture.then(|| picture(number)));
        written(sink, &reader, 100 + number);
        assert_eq!(shown(&reader, seq), Some(expected), "after frame {number}");
    }
    tell(sink, EventRecord { tracks: vec![1, 2], ..line(1, Phase::Update, 17) });
    frame(sink, 18, vec![seen(2, 60, 0.5)], Some(picture(18)));
    tell(sink, line(1, Phase::End, 18));
    frame(sink, 19, vec![seen(1, 100, 1.0)], Some(picture(19)));
    let all = written(sink, &reader, 91);
    let own = Vec::from_iter(all.iter().filter(|line| line.id == 1));
    assert_eq!(own.len(), 3);
    for line in own {
        assert_eq!((line.picture, shown(&reader, line.seq.unwrap())), (Some(seq), Some(18)), "{line:?}");
    }
    assert_eq!([0, seq - 1, u64::MAX].map(|number| reader.picture(number).unwrap()), [None, None, None]);
    // Nobody asks for pictures: none is made.
    let mut other = store.sink(false);
    frame(other.as_mut(), 20, vec![seen(1, 40, 0.9)], Some(picture(20)));
    tell(other.as_mut(), line(2, Phase::Start, 20));
    let all = written(other.as_mut(), &reader, 92);
    let line = all.iter().find(|line| line.id == 2).unwrap();
    assert_eq!((line.picture, shown(&reader, line.seq.unwrap())), (None, None));
}

#[test]
fn what_is_told_without_a_picture_has_the_next_one() {
    let store = EventStore::open(None).unwrap();
    let (mut sink, reader) = (store.sink(true), store.reader());
    let sink = sink.as_mut();
    // This one is too old.
    frame(sink, 1, vec![], Some(picture(1)));
    frame(sink, 50, vec![], None);
    tell(
        sink,
        EventRecord { told_ns: 2_000_000_000, tracks: vec![], ..event("yard", 1, EventName::Light, Phase::End) },
    );
    tell(sink, line(2, Phase::Start, 50));
    frame(sink, 51, vec![], None);
    frame(sink, 52, vec![], Some(picture(52)));
    frame(sink, 53, vec![seen(1, 10, 0.1)], Some(picture(53)));
    let all = written(sink, &reader, 90);
    let of = |id: u64| all.iter().find(|line| line.id == id).unwrap();
    assert_eq!([of(1), of(2)].map(|line| line.picture), [None, None]);
    // The light is not asked about again, the thing is, now that it is seen.
    assert_eq!([of(1), of(2)].map(|line| shown(&reader, line.seq.unwrap())), [Some(52), Some(53)]);
    // What was told long before it has none.
    frame(sink, 100, vec![], None);
    tell(
        sink,
        EventRecord { told_ns: 4_000_000_000, tracks: vec![], ..event("yard", 3, EventName::Light, Phase::End) },
    );
    frame(sink, 126, vec![], Some(picture(126)));
    let all = written(sink, &reader, 91);
    assert_eq!(shown(&reader, all.iter().find(|line| line.id == 3).unwrap().seq.unwrap()), None);
}

#[test]
fn pictures_are_asked_for_while_something_moves_and_not_more_than_four_a_second() {
    const MS: u64 = 1_000_000;
    let store = EventStore::open(None).unwrap();
    let mut sink = store.sink(true);
    let mut wish = sink.wish();
    let standing = |mut object: ObjectRecord| {
        object.track.as_mut().unwrap().state = State::Stationary;
        object
    };
    let all: Vec<u64> = (0..100).map(|number| 40 * MS * number).collect();
    let mut wishes = |objects: &dyn Fn() -> Vec<ObjectRecord>, sink: &mut dyn Sink, from: u64| {
        let mut count = 0;
        for at in &all {
            count += u64::from(wish(from + at));
            frame(sink, (from + at) / (40 * MS), objects(), None);
        }
        count
    };
    let sink = sink.as_mut();
    assert_eq!(wishes(&Vec::new, sink, 0), 0, "nothing is there");
    let moving = wishes(&|| vec![seen(1, 20, 0.5)], sink, 4000 * MS);
    assert!((14..=16).contains(&moving), "{moving} in four seconds");
    assert!(wishes(&|| vec![standing(seen(1, 20, 0.5))], sink, 8000 * MS) <= 1);
    // An event without a picture asks for one.
    tell(sink, line(1, Phase::Start, 299));
    assert!(wishes(&Vec::new, sink, 12_000 * MS) > 10);
    assert!(wish(30_000 * MS), "nobody knows what is there by now");
    let mut none = store.sink(false).wish();
    assert!(!all.iter().any(|at| none(*at)));
}

/// Keeps something that goes on, and its picture that came later, until it is killed; nothing where it is run by itself.
#[test]
fn a_picture_until_it_is_killed() {
    let Some(file) = std::env::var_os("PICTURE_TO_BE_KILLED") else { return };
    let store = open(Path::new(&file));
    let (mut sink, reader) = (store.sink(true), store.reader());
    tell(sink.as_mut(), line(1, Phase::Start, 5));
    frame(sink.as_mut(), 7, vec![seen(1, 20, 0.5)], Some(picture(7)));
    until("it is kept", || shown(&reader, lines(&reader)[0].seq.unwrap()).is_some());
    println!("written");
    thread::park();
}

#[test]
fn pictures_are_there_after_a_kill_also_of_what_is_closed_then() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.redb");
    let mut command = alone(module_path!(), "a_picture_until_it_is_killed");
    let mut child = command.env("PICTURE_TO_BE_KILLED", &file).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.map(Result::unwrap).any(|line| line.ends_with("written")));
    child.kill().unwrap();
    child.wait().unwrap();
    for _ in 0..2 {
        let reader = open(&file).reader();
        let [start, end] = &lines(&reader)[..] else { panic!() };
        assert_eq!((start.picture, end.picture, end.interrupted), (None, start.seq, true));
        assert_eq!([start, end].map(|line| shown(&reader, line.seq.unwrap())), [Some(7), Some(7)]);
    }
}

#[test]
fn a_picture_goes_with_the_last_line_of_its_event() {
    let store = EventStore::open(None).unwrap();
    let (mut sink, reader) = (store.sink(true), store.reader());
    let sink = sink.as_mut();
    frame(sink, 10, vec![seen(1, 20, 0.5)], Some(picture(10)));
    tell(sink, line(1, Phase::Start, 10));
    tell(sink, line(2, Phase::Start, 10));
    tell(sink, line(1, Phase::End, 10));
    let all = written(sink, &reader, 90);
    let [first, second, end] = [0, 1, 2].map(|at| all[at].seq.unwrap());
    assert_eq!([first, second, end].map(|seq| shown(&reader, seq)), [Some(10); 3]);
    // In memory the last 10 000 lines are kept.
    let more = |sink: &mut dyn Sink, ids: std::ops::Range<u64>| {
        ids.for_each(|id| tell(sink, EventRecord { tracks: vec![], ..event("gate", id, EventName::Line, Phase::End) }));
    };
    more(sink, 1000..10_997);
    let all = written(sink, &reader, 91);
    assert_eq!(all[0].seq, Some(end), "its last line is still there");
    assert_eq!(shown(&reader, end), Some(10));
    more(sink, 20_000..20_001);
    written(sink, &reader, 92);
    assert_eq!([first, end].map(|seq| reader.picture(seq).unwrap()), [None, None]);
    assert_eq!(shown(&reader, second), Some(10), "what goes on has its picture");
}

#[test]
fn pictures_are_bounded_and_the_oldest_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.redb");
    let store = open(&file);
    let (mut sink, reader) = (store.sink(true), store.reader());
    // As many lines as there may be, and a few of the largest pictures there are.
    let mut other = store.sink(false);
    for id in 1000..1000 + MOST_LINES {
        tell(other.as_mut(), event("gate", id, EventName::Line, Phase::End));
    }
    let large = [0, 1, 2, 3].map(noise);
    let events = 100;
    for id in 1..=events {
        frame(sink.as_mut(), 10 * id, vec![], Some(large[id as usize % 4].clone()));
        tell(sink.as_mut(), EventRecord { tracks: vec![], ..line(id, Phase::End, 10 * id) });
    }
    // The newest lines, the oldest of them first, once all are written.
    let mut seqs = Vec::new();
    until("written", || {
        seqs.clear();
        let mut see = |seq, line: &str| {
            let is_own = line.contains("\"source\":\"yard\"");
            seqs.extend(is_own.then_some(seq));
            is_own
        };
        reader.before(u64::MAX, &mut see).unwrap();
        seqs.len() as u64 == events
    });
    let size = |seq: &u64| Some(reader.picture(*seq).unwrap()?.len());
    let sizes = Vec::from_iter(seqs.iter().rev().map(size));
    let kept = sizes.iter().position(Option::is_some).unwrap();
    assert!(sizes[kept..].iter().all(Option::is_some), "a newer one went before an older one: {sizes:?}");
    let bytes: usize = sizes.iter().flatten().sum();
    assert!(kept > 0 && bytes as u64 <= MOST_PICTURE_BYTES && bytes as u64 > MOST_PICTURE_BYTES / 3, "{kept}, {bytes}");
    // Its length is doubled when it is full; what was never written takes no room.
    let on_disk = 512 * std::fs::metadata(&file).unwrap().blocks();
    assert!(on_disk < 256 << 20, "{on_disk} bytes");
}

#[test]
fn the_picture_of_a_run_shows_the_thing_and_nothing_under_a_mask() {
    let folder = tempfile::tempdir().unwrap();
    let (size, start) = ((320u32, 240u32), 60);
    let ground = scene::ground(size.0, size.1);
    let disc = |frame: u32| Thing {
        shape: Shape::Blob,
        texture: Texture::Dots,
        colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
        centre: [3.0 * frame.saturating_sub(start) as f32 - 40.0, 150.0],
        radius: 34.0,
        turn: 0.3,
    };
    let picture = |frame: u32| {
        let things = [disc(frame)];
        scene::draw(&ground, size.0, size.1, if frame < start { &[] } else { &things })
    };
    let clip = film(folder.path().join("yard.mp4"), size, (0..start + 140).map(picture), X264);
    let mut source = SourceSpec::new(&clip.path).named("yard");
    let mask: Polygon = vec![[0.05, 0.02], [0.95, 0.02], [0.95, 0.3], [0.05, 0.3]].try_into().unwrap();
    source.options.mask = Some(vec![Area { polygon: mask }]);
    let mut spec = RunSpec { sources: vec![source], ..RunSpec::default() };
    let kept = folder.path().join("events.redb");
    (spec.shared.event_store, spec.shared.events) = (Some(kept.clone()), Some(folder.path().join("events.jsonl")));
    spec.shared.web = "127.0.0.1:0".parse().ok();
    spec.shared.size = "160x120".parse().ok();
    assert!(Run::start(spec, Options::default()).unwrap().join().unwrap().into_fault().is_none());

    let reader = open(&kept).reader();
    let of_things = lines(&reader).into_iter().filter(|line| line.event == EventName::Object);
    let ends = Vec::from_iter(of_things.filter(|line| line.phase == Phase::End));
    let [end] = &ends[..] else { panic!("{ends:?}") };
    assert_eq!((end.width, end.height), size);
    let jpeg = reader.picture(end.picture.unwrap()).unwrap().unwrap();
    let image = image::load_from_memory_with_format(&jpeg, image::ImageFormat::Jpeg).unwrap().into_rgb8();
    assert_eq!(image.dimensions(), size);
    // The disc is yellow and dark red, the ground a muted green.
    let is_disc = |[red, green, blue]: [u8; 3]| {
        red > 100 && u32::from(red) + 20 > u32::from(green) && green > blue.saturating_add(25) || red > 90 && green < 80
    };
    let share = |[xmin, ymin, xmax, ymax]: [u32; 4]| {
        let (across, down) = ((xmax - xmin) / 4, (ymax - ymin) / 4);
        let inner = (ymin + down..ymax - down).flat_map(|y| (xmin + across..xmax - across).map(move |x| (x, y)));
        let all = Vec::from_iter(inner.map(|(x, y)| is_disc(image.get_pixel(x, y).0)));
        all.iter().filter(|is| **is).count() as f32 / all.len().max(1) as f32
    };
    let whole = clip.boxes.iter().filter(|bbox| bbox[2] > bbox[0] + 55 && bbox[0] > 0 && bbox[2] < size.0);
    let best = whole.map(|bbox| share(*bbox)).fold(0.0, f32::max);
    assert!(best > 0.9, "the disc is whole nowhere: {best}");
    for (x, y) in (20..300).step_by(7).flat_map(|x| (8..68).step_by(7).map(move |y| (x, y))) {
        let pixel = image.get_pixel(x, y).0;
        assert!(pixel.iter().all(|value| *value < 40), "{pixel:?} at {x}, {y}");
    }
    // What is written to a file knows no store.
    let told = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    assert!(told.lines().count() > 1 && !told.contains("\"picture\""), "{told}");
}

#[test]
fn the_page_gives_pictures_to_who_may_ask_and_hostile_numbers_an_answer() {
    let (site, store) = site();
    let mut sink = store.sink(true);
    frame(sink.as_mut(), 10, vec![seen(1, 20, 0.5)], Some(picture(10)));
    tell(sink.as_mut(), line(1, Phase::Start, 10));
    tell(sink.as_mut(), line(1, Phase::End, 10));
    let all = written(sink.as_mut(), &store.reader(), 90);
    for line in &all[..2] {
        let mut answer = ask(&site.url(&format!("/events/{}.jpg", line.seq.unwrap())), &[]);
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "image/jpeg"));
        assert_eq!(read(&answer.body_mut().read_to_vec().unwrap()), (10, (160, 120)));
    }
    let path = format!("/events/{}.jpg", all[0].seq.unwrap());
    let head = agent().head(site.url(&path)).call().unwrap();
    assert_eq!((head.status().as_u16(), header(&head, "content-type")), (200, "image/jpeg"));
    for number in
        ["x", "-1", "", "1.5", "1e3", "%31", "18446744073709551616", "..%2f1", "1/../2", "\u{fc}", "<script>", "0x1"]
    {
        let (status, why) = site.get(&format!(
            "/events/{}.jpg",
            number.replace('<', "%3C").replace('>', "%3E").replace('\u{fc}', "%C3%BC")
        ));
        assert_eq!(status, 400, "{number}: {why}");
        assert!(why.contains("expected a whole number") && why.len() < 200, "{number}: {why}");
    }
    let light = all[2].seq.unwrap();
    for number in ["0", "1", "18446744073709551615", &(light + 1).to_string()] {
        let (status, why) = site.get(&format!("/events/{number}.jpg"));
        assert!(status == 404 && why.contains("no picture"), "{number}: {status} {why}");
    }
    assert_eq!([site.get("/events/1").0, site.get("/events/1.jpg/").0, site.get("/events/1.jpeg").0], [404; 3]);
    let port = site.server.addr().port();
    let foreign = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(site.raw(foreign.as_bytes()).starts_with("HTTP/1.1 421"));
    let post = format!("POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    assert!(site.raw(post.as_bytes()).starts_with("HTTP/1.1 405"));
    let closed = Site::open(&["yard"], Some("key"), web::Options::default());
    closed.server.tell(Arc::new(store.reader()));
    assert_eq!(closed.get(&path).0, 401);
    assert_eq!(ask(&closed.url(&path), &[("authorization", "Bearer key")]).status(), 200);
    let none = Site::open(&["yard"], None, web::Options::default());
    assert_eq!(none.get(&path).0, 404, "nothing is kept there");
}

#[test]
fn the_page_shows_the_picture_of_the_event_that_is_gone_to() {
    let (site, store) = site();
    let mut sink = store.sink(true);
    tell(sink.as_mut(), EventRecord { tracks: vec![], ..event("gate", 2, EventName::Light, Phase::End) });
    frame(sink.as_mut(), 10, vec![seen(1, 20, 0.5)], Some(picture(10)));
    tell(sink.as_mut(), line(1, Phase::Start, 10));
    let browser = Browser::open(1280, 900);
    browser.visit(&site.url("/"));
    until("rows", || browser.run("return document.querySelectorAll('#rows li').length") == 2);
    let shots = || {
        browser.run(
            "return [...document.querySelectorAll('.shot')].map((shot) => [shot.hidden, shot.naturalWidth, shot.alt])",
        )
    };
    assert_eq!(shots(), serde_json::json!([[true, 0, ""], [true, 0, ""]]));
    browser.keys(&["e"]);
    let is_shown = serde_json::json!([[false, 160, "Picture: yard, something came"], [true, 0, ""]]);
    until("it is shown", || shots() == is_shown);
    // With its next line it is the best so far; that is in the same row.
    frame(sink.as_mut(), 11, vec![seen(1, 40, 0.5)], Some(picture(11)));
    tell(sink.as_mut(), line(1, Phase::Update, 11));
    let numbers = "const canvas = document.createElement('canvas'), shot = document.querySelector('.shot'); \
                   [canvas.width, canvas.height] = [160, 120]; const context = canvas.getContext('2d'); context.drawImage(shot, 0, 0); \
                   return [...Array(10).keys()].reduce((sum, bit) => sum + (context.getImageData(16 * bit + 8, 30, 1, 1).data[0] > 128 ? 2 ** bit : 0), 0)";
    until("another is shown", || browser.run(numbers) == 11);
    assert_eq!(browser.text("#rows li .lasts"), "goes on");
    assert_eq!(browser.run("return document.querySelectorAll('#rows li').length"), 2);
    browser.keys(&[DOWN]);
    until("the other has none", || shots().as_array().unwrap().iter().all(|shot| shot[0] == true));
    crate::web::is_clean(&browser, &site);
}
