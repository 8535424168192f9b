//! What happened, kept and asked for: through kill -9, restarts, damaged and locked files, cut connections and hostile questions.

use crate::support::browser::{Browser, DOWN};
use crate::support::camera::{Running, free_port};
use crate::support::program::{alone, mostream, until};
use crate::support::site::{NEW_YEAR_NS, Site, agent, ask, event, get};
use crate::support::strict_line;
use mostream::engine::sink::Message;
use mostream::publish::event_store::{EventReader, EventStore, MOST_LINES};
use mostream::record::{EventName, EventRecord, Phase};
use mostream::web::Options;
use mostream::zones::Side;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;

pub fn open(file: &Path) -> EventStore {
    EventStore::open(Some(file)).unwrap()
}

fn put(store: &EventStore, line: EventRecord) {
    store.sink(false).take(&Message::Event(Arc::new(line))).unwrap();
}

/// All lines, the oldest first.
pub fn lines(reader: &EventReader) -> Vec<EventRecord> {
    let mut lines = Vec::new();
    let mut see = |seq, line: &str| {
        let line: EventRecord = serde_json::from_value(strict_line(line).unwrap()).unwrap();
        assert_eq!(line.seq, Some(seq));
        lines.push(line);
        true
    };
    reader.after(0, &mut see).unwrap();
    lines
}

fn ids(lines: &[EventRecord]) -> Vec<u64> {
    lines.iter().map(|line| line.id).collect()
}

/// Keeps two things that stand and one that goes by, until it is killed; nothing where it is run by itself.
#[test]
fn a_store_until_it_is_killed() {
    let Some(file) = std::env::var_os("STORE_TO_BE_KILLED") else { return };
    let store = open(Path::new(&file));
    put(&store, event("yard", 1, EventName::Object, Phase::Start));
    put(&store, event("yard", 2, EventName::Stopped, Phase::Start));
    put(&store, event("yard", 3, EventName::Line, Phase::End));
    put(&store, event("yard", 2, EventName::Stopped, Phase::End));
    let bbox = Some([80, 60, 120, 120]);
    put(&store, EventRecord { bbox, ..event("yard", 4, EventName::LeftBehind, Phase::Start) });
    put(&store, event("gate", 5, EventName::Stopped, Phase::Start));
    put(&store, EventRecord { interrupted: true, ..event("gate", 5, EventName::Stopped, Phase::End) });
    let reader = store.reader();
    until("all are written", || lines(&reader).len() == 7);
    println!("written");
    thread::park();
}

#[test]
fn what_was_open_at_a_kill_is_closed_as_interrupted_and_what_stood_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.redb");
    let mut command = alone(module_path!(), "a_store_until_it_is_killed");
    let mut child = command.env("STORE_TO_BE_KILLED", &file).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.map(Result::unwrap).any(|line| line.ends_with("written")));
    child.kill().unwrap();
    child.wait().unwrap();

    let store = open(&file);
    let all = lines(&store.reader());
    assert_eq!(ids(&all), [1, 2, 3, 2, 4, 5, 5, 1, 4]);
    assert!(all.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    for end in &all[7..] {
        assert_eq!((end.phase, end.interrupted), (Phase::End, true));
        // The last line of the yard was told at 8 s.
        assert_eq!((end.pts_ns, end.at_unix_ns), (8_000_000_000, Some(NEW_YEAR_NS + 8_000_000_000)));
        assert_eq!(end.since_ns, 2_000_000_000 * end.id);
    }
    // In shares of 160×120; what moved on stands there no more.
    assert_eq!(store.standing("yard"), [[0.5, 0.5, 0.75, 1.0]]);
    assert_eq!(store.standing("gate"), [[0.1, 0.1, 0.3, 0.5]]);
    assert!(store.standing("nobody").is_empty());
    drop(store);
    // Nothing is closed twice, and numbers go on.
    let store = open(&file);
    assert_eq!(lines(&store.reader()), all);
    assert_eq!(store.standing("yard").len(), 1);
    put(&store, EventRecord { bbox: Some([84, 64, 120, 118]), ..event("yard", 9, EventName::TakenAway, Phase::End) });
    let reader = store.reader();
    until("written", || lines(&reader).len() == 10);
    assert!(lines(&reader)[9].seq > all[8].seq);
    assert!(store.standing("yard").is_empty());
}

/// The program before a ball that never rests, its page on this port.
fn watch(folder: &Path, port: u16) -> Running {
    let camera = "yard=videotestsrc is-live=true pattern=ball background-color=0xff808080 ! \
                  video/x-raw,width=320,height=240,framerate=10/1 ! appsink name=frames";
    let mut command = mostream(folder, &["run", camera, "--size", "160x120", &format!("--web=127.0.0.1:{port}")]);
    Running(command.stderr(Stdio::piped()).spawn().unwrap())
}

/// What its page lists, the oldest first.
fn listed(port: u16) -> Vec<EventRecord> {
    let url = format!("http://127.0.0.1:{port}/events.json");
    let Some(mut answer) = agent().get(url).call().ok().filter(|answer| answer.status() == 200) else {
        return Vec::new();
    };
    let mut answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    let mut lines: Vec<EventRecord> = serde_json::from_value(answer["events"].take()).unwrap();
    lines.reverse();
    lines
}

#[test]
fn a_killed_run_is_gone_on_with_and_another_beside_it_has_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, beside] = [(); 3].map(|()| free_port());
    let run = watch(folder.path(), first);
    let is_open = |lines: &[EventRecord]| lines.last().is_some_and(|line| line.phase == Phase::Start);
    let mut before = Vec::new();
    until("something is there", || {
        before = listed(first);
        is_open(&before)
    });
    // Killed by the signal that nobody is told of.
    drop(run);
    let run = watch(folder.path(), second);
    let mut after = Vec::new();
    until("something is there again", || {
        after = listed(second);
        after.len() > before.len() + 1
    });
    assert_eq!(after[..before.len()], before);
    let open = before.last().unwrap();
    let end =
        after.iter().find(|line| (line.id, &line.run) == (open.id, &open.run) && line.phase == Phase::End).unwrap();
    assert!(end.interrupted && end.seq > open.seq && end.at_unix_ns >= open.at_unix_ns, "{end:?}");
    assert!(after.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert_ne!(after.last().unwrap().run, open.run);
    let mut other = watch(folder.path(), beside);
    until("its own are listed", || is_open(&listed(beside)));
    assert!(listed(beside).iter().all(|line| line.run != open.run));
    other.0.kill().unwrap();
    let mut said = String::new();
    other.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("another run").count(), 1, "{said}");
    drop(run);
}

#[test]
fn lines_are_bounded_and_so_is_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.redb");
    let store = open(&file);
    let mut sink = store.sink(false);
    let mut put = |ids: std::ops::Range<u64>| {
        for id in ids {
            sink.take(&Message::Event(Arc::new(event("yard", id, EventName::Line, Phase::End)))).unwrap();
        }
    };
    let kept = |last: u64| {
        let reader = store.reader();
        until("written", || {
            let mut newest = 0;
            reader
                .before(u64::MAX, &mut |_, line| {
                    newest = serde_json::from_str::<EventRecord>(line).unwrap().id;
                    false
                })
                .unwrap();
            newest == last
        });
        std::fs::metadata(&file).unwrap().len()
    };
    let sizes = [1, 2, 3].map(|times| {
        put((times - 1) * MOST_LINES + 1..times * MOST_LINES + 1);
        kept(times * MOST_LINES)
    });
    let all = lines(&store.reader());
    assert_eq!((all.len() as u64, all[0].id), (MOST_LINES, 2 * MOST_LINES + 1));
    assert!(sizes[2] <= sizes[1] && sizes[2] < 128 << 20, "{sizes:?} bytes");
    println!("{sizes:?} bytes");
}

#[test]
fn a_damaged_file_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.redb");
    let store = open(&file);
    (1..400).for_each(|id| put(&store, event("yard", id, EventName::Line, Phase::End)));
    drop(store);
    let whole = std::fs::read(&file).unwrap();
    let last = lines(&open(&file).reader()).last().unwrap().seq;
    type Harm = fn(&mut Vec<u8>);
    let damage: [(&str, Harm); 5] = [
        ("no store at all", |bytes| *bytes = b"It was a dark and stormy night".to_vec()),
        ("zeros", |bytes| bytes.fill(0)),
        ("cut off", |bytes| bytes.truncate(bytes.len() / 3)),
        ("its head is gone", |bytes| bytes[..512].fill(0xff)),
        ("here and there", |bytes| bytes.iter_mut().skip(4096).step_by(997).for_each(|byte| *byte ^= 0x55)),
    ];
    for (what, harm) in damage {
        let mut bytes = whole.clone();
        harm(&mut bytes);
        std::fs::write(&file, &bytes).unwrap();
        let store = open(&file);
        put(&store, event("yard", 1000, EventName::Line, Phase::End));
        let reader = store.reader();
        until("written", || lines(&reader).last().is_some_and(|line| line.id == 1000));
        let line = lines(&reader).pop().unwrap();
        assert!(line.seq > last, "{what}");
        drop((store, reader));
        let aside = folder.path().join("events.redb.damaged");
        assert_eq!(std::fs::read(&aside).unwrap().len(), bytes.len(), "{what}");
        assert_eq!(lines(&open(&file).reader()).pop(), Some(line), "{what}: the new one is a file again");
        std::fs::remove_file(aside).unwrap();
    }
}

#[test]
fn where_the_file_cannot_be_had_memory_has_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.redb");
    let first = open(&file);
    for file in [file.as_path(), folder.path(), Path::new("/proc/no/store"), Path::new("/dev/full")] {
        let second = open(file);
        put(&second, event("gate", 1, EventName::Line, Phase::End));
        let reader = second.reader();
        until("kept", || ids(&lines(&reader)) == [1]);
    }
    put(&first, event("yard", 2, EventName::Line, Phase::End));
    drop(first);
    assert_eq!(ids(&lines(&open(&file).reader())), [2]);
}

/// A page that shows a store in memory.
pub fn site() -> (Site, EventStore) {
    let store = EventStore::open(None).unwrap();
    let site = Site::open(&["yard"], None, Options::default());
    site.server.tell(Arc::new(store.reader()));
    (site, store)
}

/// The number and the id of each event that follows, until `is_enough`.
fn follow(site: &Site, path: &str, last: Option<u64>, mut is_enough: impl FnMut(u64) -> bool) -> Vec<(u64, u64)> {
    let last = last.map(|seq| seq.to_string());
    let header = last.as_ref().map(|seq| ("last-event-id", seq.as_str()));
    let mut answer = ask(&site.url(path), header.as_slice());
    assert_eq!(answer.status(), 200, "{path}");
    let (mut seen, mut seq) = (Vec::new(), None);
    for line in BufReader::new(answer.body_mut().as_reader()).lines() {
        let line = line.unwrap();
        if let Some(number) = line.strip_prefix("id: ") {
            seq = Some(number.parse::<u64>().unwrap());
        } else if let Some(data) = line.strip_prefix("data: ") {
            let line: EventRecord = serde_json::from_value(strict_line(data).unwrap()).unwrap();
            assert_eq!(line.seq, seq);
            seen.push((seq.take().unwrap(), line.id));
            if is_enough(line.id) {
                break;
            }
        }
    }
    seen
}

#[test]
fn who_is_cut_off_goes_on_where_he_was_and_misses_nothing_and_sees_nothing_twice() {
    const ALL: u64 = 3000;
    let (site, store) = site();
    let writer = thread::spawn(move || {
        for id in 1..=ALL {
            put(&store, event("yard", id, EventName::Line, Phase::End));
            if id % 7 == 0 {
                thread::yield_now();
            }
        }
        store
    });
    let mut seen: Vec<(u64, u64)> = Vec::new();
    while seen.len() < ALL as usize {
        // Cut after 1, 2, 4 … 512 events, and again.
        let (most, mut count) = (1 << (seen.len() % 10), 0);
        let last = seen.last().map(|(seq, _)| *seq);
        let path = if last.is_none() { "/events?after=0" } else { "/events?after=1" };
        seen.extend(follow(&site, path, last, |id| {
            count += 1;
            count == most || id == ALL
        }));
    }
    assert_eq!(seen.iter().map(|(_, id)| *id).collect::<Vec<_>>(), (1..=ALL).collect::<Vec<_>>());
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
    writer.join().unwrap();
}

#[test]
fn events_are_listed_and_followed_as_asked() {
    let (site, store) = site();
    let in_zone = |id, source: &str, zone: &str| EventRecord {
        zone: Some(zone.into()),
        ..event(source, id, EventName::Zone, Phase::Start)
    };
    put(&store, in_zone(1, "yard", "drive"));
    put(&store, in_zone(2, "yard", "Küche & \"Bad\""));
    put(&store, in_zone(3, "gate", "drive"));
    put(&store, event("gate", 4, EventName::TakenAway, Phase::End));
    put(&store, EventRecord { at_unix_ns: None, ..event("film.mp4", 5, EventName::Object, Phase::Start) });
    let listed = |query: &str| {
        let found = site.json(&format!("/events.json{query}"));
        let ids = found["events"].as_array().unwrap().iter().map(|line| {
            strict_line(&line.to_string()).unwrap();
            line["id"].as_u64().unwrap()
        });
        ids.collect::<Vec<_>>()
    };
    until("written", || listed("").len() == 5);
    for (query, ids) in [
        ("", &[5, 4, 3, 2, 1][..]),
        ("?source=yard", &[2, 1]),
        ("?zone=drive", &[3, 1]),
        ("?zone=drive&source=yard", &[1]),
        ("?zone=K%C3%BCche+%26+%22Bad%22", &[2]),
        ("?event=taken_away", &[4]),
        ("?event=zone&limit=2", &[3, 2]),
        ("?source=", &[]),
        ("?source=yard' OR 1=1", &[]),
        // Each happened two seconds after the one before it; one is of a film that knows no clock.
        ("?from=2026-01-01T00:00:04Z", &[4, 3, 2]),
        ("?from=2026-01-01T00:00:04Z&to=2026-01-01T00:00:06.5Z", &[3, 2]),
        ("?to=1767225603000000000", &[1]),
        ("?from=2026-01-01T02:00:04%2B02:00", &[4, 3, 2]),
        ("?from=2026-01-01T02:00:04+02:00", &[4, 3, 2]),
        ("?to=2025-12-31T19:30:03-04:30", &[1]),
    ] {
        assert_eq!(listed(&query.replace(' ', "%20")), ids, "{query}");
    }
    let first = site.json("/events.json?limit=2");
    assert_eq!((&first["has_more"], &first["newest"]), (&true.into(), &first["events"][0]["seq"]));
    let before = &first["events"][1]["seq"];
    assert_eq!(listed(&format!("?limit=2&before={before}")), [3, 2]);
    assert_eq!(site.json("/events.json?event=zone")["has_more"], false);

    let ids = |seen: Vec<(u64, u64)>| seen.into_iter().map(|(_, id)| id).collect::<Vec<_>>();
    assert_eq!(ids(follow(&site, "/events?after=0&source=gate", None, |id| id == 4)), [3, 4]);
    assert_eq!(ids(follow(&site, "/events?after=0&zone=drive&event=zone", None, |id| id == 3)), [1, 3]);
    // Without a number only what comes from now on.
    let mut answer = ask(&site.url("/events"), &[]);
    let mut now = BufReader::new(answer.body_mut().as_reader());
    let mut text = String::new();
    now.read_line(&mut text).unwrap();
    put(&store, event("yard", 6, EventName::Light, Phase::End));
    while !text.contains("data: ") {
        now.read_line(&mut text).unwrap();
    }
    assert!(text.contains("\"id\":6,") && !text.contains("\"id\":5,"), "{text}");
}

#[test]
fn hostile_questions_are_refused() {
    let (site, store) = site();
    put(&store, event("yard", 1, EventName::Line, Phase::End));
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=1e3",
        "limit=18446744073709551616",
        "before=x",
        "event=Zone",
        "event=%00",
        "event=%3Cscript%3Ealert(1)%3C/script%3E",
        "from=yesterday",
        "from=2026-01-01T00:00:00%2B0a:00",
        "from=1970-01-01T00:00:00%2B02:00",
        "from=%C3%BC%C3%BC%C3%BC%C3%BC:%C3%BC",
        "from=",
        "to=2026-13-01T00:00:00Z",
        "from=1969-01-01T00:00:00Z",
        "from=%FF%FE",
    ] {
        let (status, why) = site.get(&format!("/events.json?{query}"));
        assert_eq!(status, 400, "{query}: {why}");
        assert!(why.contains(query.split('=').next().unwrap()) && why.len() < 300, "{query}: {why}");
    }
    for query in ["after=x", "after=-1", "event=all", "after=1.5"] {
        assert_eq!(site.get(&format!("/events?{query}")).0, 400, "{query}");
    }
    for id in ["x", "-1", "1 2", "ü"] {
        assert_eq!(get(&site.url("/events"), &[("last-event-id", id)]).0, 400, "{id}");
    }
    let port = site.server.addr().port();
    for path in ["/events", "/events.json"] {
        let foreign = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
        assert!(site.raw(foreign.as_bytes()).starts_with("HTTP/1.1 421"), "{path}");
        let post = format!("POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
        assert!(site.raw(post.as_bytes()).starts_with("HTTP/1.1 405"), "{path}");
    }
    let closed = Site::open(&["yard"], Some("key"), Options::default());
    closed.server.tell(Arc::new(store.reader()));
    assert_eq!([closed.get("/events").0, closed.get("/events.json").0], [401, 401]);
    let none = Site::open(&["yard"], None, Options { streams: 0, ..Options::default() });
    assert_eq!([none.get("/events").0, none.get("/events.json").0], [204, 204]);
    let full = EventStore::open(None).unwrap();
    none.server.tell(Arc::new(full.reader()));
    assert_eq!([none.get("/events").0, none.get("/events.json").0], [503, 200]);
}

#[test]
fn the_page_tells_what_happened_in_sentences() {
    const EVIL: &str = "<img src=x onerror=alert(1)>";
    let store = EventStore::open(None).unwrap();
    let site = Site::open(&["yard", EVIL], None, Options::default());
    let browser = Browser::open(1280, 900);
    browser.visit(&site.url("/"));
    until("sources", || browser.run("return document.querySelectorAll('.tile').length") == 2);
    assert_eq!(browser.run("return document.getElementById('timeline').hidden"), true, "nothing is kept yet");
    let in_zone =
        |id, zone: &str, phase| EventRecord { zone: Some(zone.into()), ..event("yard", id, EventName::Zone, phase) };
    put(&store, in_zone(1, "drive", Phase::Start));
    put(&store, event(EVIL, 2, EventName::TakenAway, Phase::End));
    let line = EventRecord {
        zone: Some("door".into()),
        side: Some(Side::Left),
        ..event("yard", 3, EventName::Line, Phase::End)
    };
    put(&store, line);
    site.server.tell(Arc::new(store.reader()));
    // The first answer was that there are none; the page asks again.
    let rows = || {
        let rows = browser.run(
            "return [...document.querySelectorAll('#rows li')].map((row) => \
             ['.who', '.what', '.lasts'].map((part) => row.querySelector(part).innerText).join('|'))",
        );
        serde_json::from_value::<Vec<String>>(rows).unwrap()
    };
    let taken = format!("{EVIL}|something was taken away|");
    let crossed = "yard|something crossed door to the left|";
    until("rows", || rows() == [crossed, taken.as_str(), "yard|something entered drive|goes on"]);
    // Its end changes the row that is there; what is new comes first.
    let end = EventRecord { pts_ns: 14_000_000_000, interrupted: true, ..in_zone(1, "drive", Phase::End) };
    put(&store, end);
    put(&store, event("yard", 4, EventName::LeftBehind, Phase::Start));
    let was = "yard|something was in drive|12 s, interrupted";
    let left = "yard|something was left behind|goes on";
    until("more", || rows() == [left, crossed, taken.as_str(), was]);
    assert!(
        browser.run("return document.getElementById('said').textContent").as_str().unwrap().contains("left behind")
    );

    // By keyboard, from the newest to the one before.
    browser.keys(&["e"]);
    let focus = || browser.run("return document.activeElement.querySelector('.what')?.innerText");
    assert_eq!(focus(), "something was left behind");
    assert_eq!(browser.run("return document.querySelectorAll('.tile .mark:not([hidden])').length"), 1);
    browser.keys(&[DOWN]);
    assert_eq!(focus(), "something crossed door to the left");
    assert_eq!(browser.run("return getComputedStyle(document.activeElement).outlineStyle"), "solid");
    assert_eq!(browser.run("return document.querySelectorAll('#rows [aria-selected=true]').length"), 1);
    // Long ago nothing is where it was.
    assert_eq!(browser.run("return document.querySelectorAll('.tile .mark:not([hidden])').length"), 0);

    let choose = |name: &str, value: &str| {
        browser.run(&format!(
            "const field = document.querySelector('#timeline [name={name}]'); field.value = '{value}'; \
             field.dispatchEvent(new Event('change', {{ bubbles: true }}))"
        ));
    };
    choose("zone", "drive");
    until("of a zone", || rows() == [was]);
    put(&store, event("yard", 5, EventName::Light, Phase::End));
    put(&store, EventRecord { run: "another".into(), ..in_zone(1, "drive", Phase::Start) });
    until("of a zone, live", || rows() == ["yard|something entered drive|goes on", was]);
    browser.click("#timeline [type=reset]");
    until("all", || rows().len() == 6);
    choose("event", "taken_away");
    until("of a kind", || rows() == [taken.as_str()]);
    browser.click("#timeline [type=reset]");
    choose("source", "yard");
    until("of a source", || rows().len() == 5);
    choose("to", "2025-12-30T00:00");
    until("none before", || rows().is_empty() && browser.text("#nothing") == "Nothing so far.");
    // A letter that is typed into a field is no key of the page.
    browser.run("document.querySelector('#timeline [name=from]').focus()");
    browser.keys(&["?"]);
    assert_eq!(browser.run("return document.querySelector('dialog[open]')"), Value::Null);
    crate::web::is_clean(&browser, &site);
}

#[test]
fn a_phone_shows_what_happened_without_scrolling_sideways() {
    let (site, store) = site();
    for (id, zone) in [(1, "z".repeat(64)), (2, "a zone as people call theirs, with words ".repeat(3))] {
        let line = event(&"rtsp://10.0.0.1/".repeat(9), id, EventName::Zone, Phase::Start);
        put(&store, EventRecord { zone: Some(zone), ..line });
    }
    let browser = Browser::open(390, 844);
    browser.visit(&site.url("/"));
    until("rows", || browser.run("return document.querySelectorAll('#rows li').length") == 2);
    assert_eq!(browser.run("return document.documentElement.scrollWidth"), 390);
    crate::web::is_clean(&browser, &site);
}
