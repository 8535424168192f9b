//! The live page as viewers, scrapers and attackers use it: pictures are drawn so that each shows its own frame number.

use crate::support::browser::{Browser, RIGHT, TAB};
use crate::support::program::until;
use crate::support::site::{event as happened, *};
use gstreamer_video::VideoFormat;
use mostream::engine::sink::Message;
use mostream::engine::status::Board;
use mostream::record::{EndRecord, EventName, EventRecord, FrameRecord, Phase, SourceState, StateRecord};
use mostream::stream::redact;
use mostream::web::{Options, Server, WebError};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// As good as a name can be at breaking out of a page, a label or a line.
const NAME: &str = "<img src=x onerror=alert(1)>\"'&amp;\\ a\n</script>";

/// Reads the text format by its grammar: each series' labels and value; every metric has its type.
pub fn scrape(text: &str) -> HashMap<(String, Vec<(String, String)>), f64> {
    let mut series = HashMap::new();
    let mut types = HashMap::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name, kind).is_none(), "{name} is declared twice");
            continue;
        } else if line.starts_with("# HELP ") {
            continue;
        }
        let end = line.find(['{', ' ']).unwrap();
        let (name, mut rest) = line.split_at(end);
        let of_histogram = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
        let is_typed =
            types.contains_key(name) || of_histogram.into_iter().any(|name| types.get(name) == Some(&"histogram"));
        assert!(is_typed, "{name} has no type");
        let mut labels = Vec::new();
        if rest.starts_with('{') {
            rest = &rest[1..];
            while !rest.starts_with('}') {
                let (label, tail) = rest.split_once("=\"").unwrap();
                let (mut value, mut chars) = (String::new(), tail.char_indices());
                let end = loop {
                    match chars.next().unwrap() {
                        (at, '"') => break at,
                        (_, '\\') => value.push(match chars.next().unwrap().1 {
                            'n' => '\n',
                            c @ ('\\' | '"') => c,
                            other => panic!("\\{other} in {line}"),
                        }),
                        (_, c) => value.push(c),
                    }
                };
                labels.push((label.trim_start_matches(',').to_owned(), value));
                rest = &tail[end + 1..];
            }
            rest = &rest[1..];
        }
        let value = rest.trim_start().parse().unwrap();
        assert!(series.insert((name.to_owned(), labels), value).is_none(), "twice: {line}");
    }
    series
}

#[test]
fn metrics_say_what_happened() {
    let site = Site::open(&[NAME, "yard", "yard"], None, Options::default());
    site.change(0, SourceState::Live, None);
    site.change(1, SourceState::Lost, Some("no route"));
    (0..7).for_each(|frame| site.frame(0, frame, 3, None));
    let yard = &site.board.sources()[1];
    (0..4).for_each(|_| yard.passed_over());
    yard.unchanged();
    yard.missed_by_sink();
    yard.broken(6);
    yard.moves_by(1000);
    yard.knows_by(2000);
    let door = &site.board.sources()[0];
    let in_zone = |id, phase| EventRecord { zone: Some(NAME.into()), ..happened(NAME, id, EventName::Zone, phase) };
    door.happened(&in_zone(1, Phase::Start));
    door.happened(&in_zone(1, Phase::Update));
    door.happened(&in_zone(2, Phase::Start));
    door.happened(&in_zone(2, Phase::End));
    door.happened(&happened(NAME, 3, EventName::TakenAway, Phase::End));
    let answer = ask(&site.url("/metrics"), &[]);
    assert!(header(&answer, "content-type").starts_with("text/plain; version=0.0.4"));
    let series = scrape(&site.get("/metrics").1);
    let of = |name: &str, source: &str| series[&(format!("mostream_{name}"), vec![("source".into(), source.into())])];
    assert_eq!([of("frames_total", NAME), of("inferred_total", NAME), of("objects_total", NAME)], [7.0, 7.0, 21.0]);
    assert_eq!([of("objects", NAME), of("connections_total", NAME)], [3.0, 1.0]);
    assert_eq!([of("passed_over_total", "yard"), of("unchanged_total", "yard")], [4.0, 1.0]);
    assert_eq!([of("missed_by_sinks_total", "yard"), of("broken_total", "yard")], [1.0, 6.0]);
    assert_eq!([of("past_bytes", "yard"), of("past_bytes", NAME)], [3000.0, 0.0]);
    assert_eq!(of("passed_over_total", "yard #2"), 0.0);
    for (source, state) in [(NAME, "live"), ("yard", "lost"), ("yard #2", "connecting")] {
        for other in ["connecting", "live", "stalled", "lost", "ended"] {
            let labels = vec![("source".into(), source.into()), ("state".into(), other.into())];
            let is = f64::from(u8::from(state == other));
            assert_eq!(series[&("mostream_source_state".into(), labels)], is, "{source} {other}");
        }
    }
    let events = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
        series[&("mostream_events_total".into(), labels.collect())]
    };
    assert_eq!(events(&[("source", NAME), ("event", "zone"), ("zone", NAME)]), 2.0);
    assert_eq!(events(&[("source", NAME), ("event", "taken_away")]), 1.0);
    assert_eq!([of("events_open", NAME), of("events_open", "yard")], [1.0, 0.0]);
    let labels = vec![("source".into(), NAME.into()), ("quantile".into(), "0.99".into())];
    assert_eq!(series[&("mostream_latency_seconds".into(), labels)], 0.03);
    let latency = |part: &str, bound: Option<&str>| {
        let bound = bound.map(|bound| ("le".to_owned(), bound.to_owned()));
        let labels = [("source".into(), NAME.into())].into_iter().chain(bound);
        series[&(format!("mostream_record_latency_seconds_{part}"), labels.collect())]
    };
    assert_eq!(["0.025", "0.05", "600", "+Inf"].map(|bound| latency("bucket", Some(bound))), [0.0, 7.0, 7.0, 7.0]);
    assert_eq!([latency("sum", None), latency("count", None)], [0.21, 7.0]);
    assert_eq!(series[&("mostream_up".into(), vec![])], 1.0);
    let run = site.json("/sources")["run"].as_str().unwrap().to_owned();
    assert_eq!(run, site.board.run);
    assert_eq!(series[&("mostream_run_info".into(), vec![("run".into(), run)])], 1.0);
    assert!(series[&("mostream_resident_memory_bytes".into(), vec![])] > 1e6);
}

#[test]
fn sources_and_readiness_follow_the_states() {
    let site = Site::open(&[NAME, "yard"], None, Options::default());
    assert_eq!(site.get("/healthz").0, 200);
    let (status, why) = site.get("/readyz");
    let why: Value = serde_json::from_str(&why).unwrap();
    assert_eq!((status, &why["ready"], &why["sources"][0]["state"]), (503, &false.into(), &"connecting".into()));
    let secret = "rtsp://admin:hunter2@10.0.0.9/live gives no frames";
    site.change(1, SourceState::Lost, Some(secret));
    site.change(0, SourceState::Live, None);
    assert_eq!(site.get("/readyz").0, 200);
    [2, 5, 1].into_iter().zip(0..).for_each(|(objects, frame)| site.frame(0, frame, objects, None));
    let all = site.json("/sources");
    let (first, second) = (&all["sources"][0], &all["sources"][1]);
    assert_eq!((&first["name"], &first["number"], &first["state"]), (&NAME.into(), &0.into(), &"live".into()));
    assert_eq!((&first["width"], &first["frames"], &first["objects_now"]), (&160.into(), &3.into(), &1.into()));
    let most = first["objects_each_second"].as_array().unwrap().iter().filter_map(Value::as_u64).max();
    assert_eq!(most, Some(5));
    assert!(second["objects_each_second"].as_array().unwrap().iter().all(Value::is_null));
    assert_eq!(second["why"], redact(secret));
    for path in ["/sources", "/readyz", "/metrics"] {
        assert!(!site.get(path).1.contains("hunter2"), "{path}");
    }
    for path in
        ["/", "/page.js", "/timeline.js", "/page.css", "/healthz", "/readyz", "/sources", "/metrics", "/nothing"]
    {
        let answer = ask(&site.url(path), &[]);
        assert_eq!(header(&answer, "cache-control"), "no-store", "{path}");
        assert!(header(&answer, "content-security-policy").contains("default-src 'none'"), "{path}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&answer, "cross-origin-resource-policy"), "same-origin", "{path}");
    }
}

#[test]
fn a_picture_and_its_frame_number_belong_together() {
    let site = Arc::new(Site::open(&["door"], None, Options::default()));
    assert_eq!(site.get("/sources/0/picture.jpg").0, 204);
    let player = Player::start(&site, 1, picture);
    until("a picture", || site.get("/sources/0/picture.jpg").0 == 200);
    let mut frames = Vec::new();
    while frames.len() < 5 {
        let mut answer = ask(&site.url("/sources/0/picture.jpg"), &[]);
        assert_eq!(header(&answer, "content-type"), "image/jpeg");
        let frame: u64 = header(&answer, "x-frame").parse().unwrap();
        assert_eq!(header(&answer, "x-objects"), objects_in(frame).to_string());
        assert_eq!(header(&answer, "x-pts-ns"), (frame * 40_000_000).to_string());
        let tracks: Value = serde_json::from_str(header(&answer, "x-tracks")).unwrap();
        let ids: Vec<u64> = tracks.as_array().unwrap().iter().map(|track| track["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, (1..=objects_in(frame) as u64).collect::<Vec<_>>());
        assert_eq!(read(&answer.body_mut().read_to_vec().unwrap()), (frame, (160, 120)));
        if !frames.contains(&frame) {
            frames.push(frame);
        }
    }

    let mut stream = BufReader::new(ask(&site.url("/sources/0/stream.mjpg"), &[]).into_body().into_reader());
    let mut last = None;
    for _ in 0..5 {
        let mut part = HashMap::new();
        let mut line = String::new();
        while stream.read_line(&mut line).unwrap() > 0 && !line.trim().is_empty() {
            if let Some((name, value)) = line.trim().split_once(": ") {
                part.insert(name.to_ascii_lowercase(), value.to_owned());
            }
            line.clear();
        }
        let mut jpeg = vec![0; part["content-length"].parse().unwrap()];
        stream.read_exact(&mut jpeg).unwrap();
        stream.read_line(&mut line).unwrap();
        let frame: u64 = part["x-frame"].parse().unwrap();
        assert_eq!(read(&jpeg).0, frame);
        assert!(last < Some(frame), "{frame} after {last:?}");
        last = Some(frame);
    }
    drop((stream, player));

    // The last picture is known to who has it.
    let settled = || {
        let answer = ask(&site.url("/sources/0/picture.jpg"), &[]);
        header(&answer, "etag").to_owned()
    };
    let mut tag = settled();
    until("the last picture", || {
        thread::sleep(Duration::from_millis(100));
        let before = std::mem::replace(&mut tag, settled());
        tag == before
    });
    assert_eq!(get(&site.url("/sources/0/picture.jpg"), &[("if-none-match", &tag)]), (304, String::new()));
}

#[test]
fn pictures_are_wanted_while_somebody_looks_and_else_now_and_then() {
    let board = Arc::new(Board::default());
    let server = Server::start(local(0), board.clone(), None, Options::default()).unwrap();
    let mut wish = server.sink(&board.enter("door".into())).wish();
    let mut wanted = || (0..100).filter(|at| wish(*at)).count();
    assert!((1..50).contains(&wanted()), "one for who comes first");
    assert_eq!(get(&format!("http://{}/sources", server.addr()), &[]).0, 200);
    assert!(wanted() < 50, "this is not to look");
    assert_eq!(get(&format!("http://{}/sources/0/picture.jpg", server.addr()), &[]).0, 204);
    assert!(wanted() > 50);
    until("nobody looks any more", || wanted() < 50);
}

#[test]
fn pictures_are_as_displayed() {
    for (format, par, size) in [
        (VideoFormat::Nv12, (1, 1), (322, 240)),
        (VideoFormat::I420, (4, 3), (429, 240)),
        (VideoFormat::I420, (1, 2), (322, 480)),
    ] {
        let site = Site::open(&["door"], None, Options::default());
        site.frame(0, 619, 1, Some(picture_of(layout(format, (322, 240), par), 619)));
        let jpeg = ask(&site.url("/sources/0/picture.jpg"), &[]).body_mut().read_to_vec().unwrap();
        assert_eq!(read(&jpeg), (619, size), "{format} {par:?}");
    }
}

/// The next event of a followed stream: its kind and its data.
fn event(reader: &mut impl BufRead) -> (String, String) {
    let (mut kind, mut data) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream has ended");
        match line.trim_end_matches('\n').split_once(':') {
            Some(("event", value)) => kind = value.trim().into(),
            Some(("data", value)) => data = value.trim().into(),
            Some(_) => {}
            None if !data.is_empty() => return (kind, data),
            None => {}
        }
    }
}

#[test]
fn records_are_followed() {
    let site = Site::open(&[NAME, "back yard"], None, Options::default());
    let follow = |path: &str| BufReader::new(ask(&site.url(path), &[]).into_body().into_reader());
    assert_eq!(site.get("/records?source=nobody").0, 404);
    let (mut all, mut yard) = (follow("/records"), follow("/records?source=back+yard"));
    site.frame(0, 4, 2, None);
    site.change(1, SourceState::Lost, Some("http://u:hunter2@cam/x is gone"));
    site.frame(1, 9, 0, None);
    let first: FrameRecord = serde_json::from_str(&event(&mut all).1).unwrap();
    assert_eq!(first, record(NAME, 4, 2));
    let second: StateRecord = serde_json::from_str(&event(&mut all).1).unwrap();
    assert_eq!((second.state, second.why.as_deref()), (SourceState::Lost, Some("http://cam/x is gone")));
    assert_eq!(serde_json::from_str::<StateRecord>(&event(&mut yard).1).unwrap(), second);
    assert_eq!(serde_json::from_str::<FrameRecord>(&event(&mut yard).1).unwrap(), record("back yard", 9, 0));
    let end = EndRecord {
        version: 1,
        run: site.board.run.clone(),
        source: "back yard".into(),
        state: SourceState::Ended,
        at_unix_ns: 8,
        frames: 10,
        why: Some("http://u:hunter2@cam/x is gone".into()),
    };
    site.take(1, Message::End(Arc::new(end.clone())));
    let told = crate::support::strict_line(&event(&mut yard).1).unwrap();
    let why = Some("http://cam/x is gone".into());
    assert_eq!(serde_json::from_value::<EndRecord>(told).unwrap(), EndRecord { why, ..end });
}

#[test]
fn a_follower_of_a_silent_source_hears_that_it_is_followed_while_another_is_told_of() {
    const MOST: u64 = 500;
    let options = Options { silence: Duration::from_millis(200), ..Options::default() };
    let site = Site::open(&["door", "back yard"], None, options);
    let yard = BufReader::new(ask(&site.url("/records?source=back+yard"), &[]).into_body().into_reader());
    let heard = thread::spawn(move || yard.lines().any(|line| line.unwrap() == ": still here"));
    let mut sent = 0;
    while !heard.is_finished() && sent < MOST {
        site.frame(0, sent, 1, None);
        sent += 1;
        thread::sleep(Duration::from_millis(20));
    }
    assert!(heard.join().unwrap() && sent < MOST, "{sent}");
}

#[test]
fn a_slow_follower_misses_records_and_is_told_how_many() {
    let site = Site::open(&["door"], None, Options { queued_records: 16, ..Options::default() });
    let mut reader = BufReader::new(ask(&site.url("/records"), &[]).into_body().into_reader());
    // More than what sockets hold, while nothing is read.
    const SENT: u64 = 4000;
    (0..SENT).for_each(|frame| site.frame(0, frame, 60, None));
    let (mut seen, mut dropped) = (0, 0);
    while seen + dropped < SENT {
        match event(&mut reader) {
            (kind, count) if kind == "dropped" => dropped += count.parse::<u64>().unwrap(),
            (_, data) => {
                let record: FrameRecord = serde_json::from_str(&data).unwrap();
                assert_eq!(record.frame, seen + dropped);
                seen += 1;
            }
        }
    }
    assert!(seen > 0 && dropped > 0 && seen + dropped == SENT, "{seen} seen, {dropped} dropped");
}

#[test]
fn hostile_requests_are_refused() {
    let options = Options { request_timeout: Duration::from_secs(1), ..Options::default() };
    let site = Site::open(&["door"], None, options);
    let port = site.server.addr().port();
    let status = |request: &str| site.raw(request.as_bytes()).split(' ').nth(1).unwrap_or_default().to_owned();
    let host = format!("Host: localhost:{port}\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&format!("GET /healthz HTTP/1.1\r\n{host}")), "200");
    for good in ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:8600", "127.9.9.9"] {
        assert_eq!(
            status(&format!("GET /sources HTTP/1.1\r\nHost: {good}\r\nConnection: close\r\n\r\n")),
            "200",
            "{good}"
        );
    }
    for bad in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
        "[::1",
        "[evil]",
        "a\r\nHost: localhost",
    ] {
        assert_eq!(
            status(&format!("GET /sources HTTP/1.1\r\nHost: {bad}\r\nConnection: close\r\n\r\n")),
            if bad == "[::1" { "200" } else { "421" },
            "{bad}"
        );
    }
    assert_eq!(status("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), "421");
    for path in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/sources/../page.js",
        "/sources/1/picture.jpg",
        "/sources/-1/picture.jpg",
        "/sources/99999999999999999999999/picture.jpg",
        "/sources/0/picture.jpg/x",
        "/sources/0/",
    ] {
        assert_eq!(status(&format!("GET {path} HTTP/1.1\r\n{host}")), "404", "{path}");
    }
    assert_eq!(status(&format!("POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n{host}")), "405");
    assert_eq!(status(&format!("DELETE /sources HTTP/1.1\r\n{host}")), "405");
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nX: {}\r\n{host}", "x".repeat(100_000))), "431");
    assert_eq!(status(&format!("GET / HTTP/1.1\r\n{}{host}", "X: y\r\n".repeat(200))), "431");
    assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n{host}", "x".repeat(100_000))), "431");
    assert_eq!(status("\u{16}\u{3}\u{1} no HTTP at all\r\n\r\n"), "400");
    // Who sends a header a little at a time, or nothing, is hung up on.
    let mut slow = site.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
    let mut silent = site.connect();
    for stream in [&mut slow, &mut silent] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the server hangs up");
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(site.get("/healthz").0, 200);
    let head = site.raw(format!("HEAD / HTTP/1.1\r\n{host}").as_bytes());
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn there_is_room_for_so_many_and_it_comes_back() {
    let options = Options {
        connections: 3,
        streams: 1,
        write_timeout: Duration::from_millis(500),
        picture_interval: Duration::ZERO,
        ..Options::default()
    };
    let site = Arc::new(Site::open(&["door"], None, options));
    // For one more the oldest of those who ask for nothing goes.
    let mut held: Vec<TcpStream> = (0..3).map(|_| site.connect()).collect();
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(site.raw(request("/healthz").as_bytes()).starts_with("HTTP/1.1 200"));
    assert_eq!(held.remove(0).read(&mut [0]).unwrap(), 0);
    drop(held);

    // A viewer who takes nothing holds the only place for streams, and loses it.
    let _player = Player::start(&site, 1, noise);
    let mut stuck = site.connect();
    stuck.write_all(request("/sources/0/stream.mjpg").as_bytes()).unwrap();
    let mut some = [0; 64];
    stuck.read_exact(&mut some).unwrap();
    let first_line = |path: &str| {
        let mut stream = site.connect();
        stream.write_all(request(path).as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    assert!(first_line("/records").contains("503"));
    assert_eq!(site.get("/sources").0, 200);
    until("the place is free", || first_line("/records").contains("200"));
    drop(stuck);
}

#[test]
fn nobody_keeps_health_and_page_from_others() {
    const HALF: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ";
    let whole = "GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    for token in [None, Some("a token of mine")] {
        let site = Site::open(&["door"], token, Options::default());
        site.change(0, SourceState::Live, None);
        let all_answer = |what: &str| {
            for path in ["/healthz", "/metrics", "/readyz", "/", "/page.js"] {
                let login = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
                let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{login}Connection: close\r\n\r\n");
                let answer = site.raw(asked.as_bytes());
                assert!(answer.starts_with("HTTP/1.1 200"), "{path} beside {what}: {answer}");
            }
        };
        let many = |sent: &[u8]| {
            let connect = |_| {
                let mut stream = site.connect();
                // Whom the server has left may find nobody there.
                stream.write_all(sent).ok();
                stream
            };
            (0..500).map(connect).collect::<Vec<TcpStream>>()
        };
        let silent = many(b"");
        all_answer("500 that say nothing");
        drop(silent);
        let slow = many(HALF);
        all_answer("500 with half a request");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    slow.iter().for_each(|mut stream| drop(stream.write(b"a")));
                }
            });
            all_answer("500 that send byte by byte");
            is_over.store(true, Ordering::Relaxed);
        });
        drop(slow);
        let _readers = many(whole.as_bytes());
        all_answer("500 that ask for much and read nothing");
    }
}

#[test]
fn a_token_opens_the_page_and_is_not_shown() {
    let token = "s3cret, with ü";
    let site = Site::open(&["door"], Some(token), Options::default());
    let port = site.server.addr().port();
    let paths =
        ["/", "/sources", "/metrics", "/readyz", "/records", "/sources/0/picture.jpg", "/sources/0/stream.mjpg", "/x"];
    for path in paths {
        assert_eq!(site.get(path).0, 401, "{path}");
        for wrong in ["Bearer wrong", "Bearer ", "Basic s3cret", "s3cret"] {
            assert_eq!(get(&site.url(path), &[("authorization", wrong)]).0, 401, "{path} {wrong}");
        }
    }
    assert_eq!(site.get("/healthz").0, 200);
    assert!(site.get("/").1.contains("type=\"password\""));
    let bearer = format!(
        "GET /sources HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: bearer {token}\r\n\r\n"
    );
    assert!(site.raw(bearer.as_bytes()).starts_with("HTTP/1.1 200"));
    assert_eq!(site.get("/?token=wrong").0, 401);
    let answer = ask(&site.url("/?token=s3cret%2C+with+%C3%BC"), &[]);
    assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, "/"));
    let cookie = header(&answer, "set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=") && !cookie.contains("s3cret"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(get(&site.url("/"), &[("cookie", cookie)]).0, 200);
    assert_eq!(get(&site.url("/sources"), &[("cookie", &format!("a=b; {cookie}"))]).0, 200);
    assert_eq!(get(&site.url("/sources"), &[("cookie", &format!("mostream_{port}=00"))]).0, 401);
    let other = Site::open(&["door"], Some("another"), Options::default());
    assert_eq!(get(&other.url("/sources"), &[("cookie", cookie)]).0, 401);

    let refuse = |addr, token: Option<&str>| {
        let started = Server::start(addr, Arc::default(), token.map(str::to_owned), Options::default());
        started.err().unwrap()
    };
    assert!(matches!(refuse(local(0), Some(" ")), WebError::EmptyToken));
    let taken = refuse(local(port), None).to_string();
    assert!(taken.contains(&format!("127.0.0.1:{port}")) && taken.contains("another"), "{taken}");
}

/// Nothing but the server was asked, and nothing was complained about.
pub fn is_clean(browser: &Browser, site: &Site) {
    let asked = browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)");
    let own = site.url("/");
    assert!(asked.as_array().unwrap().iter().all(|url| url.as_str().unwrap().starts_with(&own)), "{asked}");
    // Chromium's advice about how this test reads the canvas is no complaint.
    let said = browser.console();
    let complaints: Vec<_> = said.as_array().unwrap().iter().filter(|said| said["source"] != "rendering").collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn the_page_shows_every_source_as_it_is() {
    let site = Arc::new(Site::open(&[NAME, "yard", "gate"], None, Options::default()));
    site.change(0, SourceState::Live, None);
    site.change(1, SourceState::Live, None);
    site.change(2, SourceState::Lost, Some("connection refused"));
    let player = Player::start(&site, 2, picture);
    let browser = Browser::open(1280, 900);
    browser.visit(&site.url("/"));
    let tile = |n: usize, selector: &str| browser.text(&format!("#sources .tile:nth-child({n}) {selector}"));
    until("tiles", || browser.run("return document.querySelectorAll('.tile').length") == 3);
    assert_eq!(browser.run("return document.querySelector('h2').textContent"), NAME);
    until("states", || tile(1, ".state").starts_with("live") && tile(3, ".state").starts_with("lost"));
    assert_eq!(tile(3, ".why"), "connection refused");
    assert_eq!(browser.text("#summary"), "2 of 3 live");
    site.receiver(NAME);
    until("the receiver", || browser.text("#sent tbody").contains("nobody is there"));
    let receiver = browser.text("#sent tbody");
    assert!(
        receiver.contains("failing") && receiver.contains("4 (bound)") && !receiver.contains("(age)"),
        "{receiver}"
    );

    // What the picture shows is the frame that is named beside it, whenever one looks.
    let look = format!(
        "const tile = document.querySelector('.tile'), canvas = tile.querySelector('canvas'), text = tile.querySelector('.frame').innerText; \
         if (!text) return null; \
         const pixels = canvas.getContext('2d').getImageData(0, canvas.height / 4, canvas.width, 1).data; let number = 0; \
         for (let bit = 0; bit < {BITS}; bit++) if (pixels[4 * Math.floor((bit + 0.5) * canvas.width / {BITS})] > 128) number += 1 << bit; \
         return [number, text, [...tile.querySelectorAll('.tracked li')].map((line) => line.textContent)]"
    );
    let mut shown = Vec::new();
    until("five pictures", || {
        let seen = browser.run(&look);
        if let (Some(number), Some(text)) = (seen[0].as_u64(), seen[1].as_str()) {
            let objects = objects_in(number);
            let plural = if objects == 1 { "" } else { "s" };
            assert_eq!(text.replace(',', ""), format!("frame {number} · {objects} object{plural}"));
            let tracks: Vec<_> = (1..=objects).map(|id| format!("#{id} active {} s", number / 25)).collect();
            assert_eq!(seen[2], serde_json::json!(tracks));
            if !shown.contains(&number) {
                shown.push(number);
            }
        }
        shown.len() >= 5
    });
    until("numbers", || tile(1, ".latency").contains("p95 30") && tile(1, ".fps").parse::<f64>().unwrap() > 1.0);
    until("a timeline", || browser.run("return document.querySelector('.line').getAttribute('d').length > 10") == true);

    // A change is shown, and said to who does not see.
    site.change(1, SourceState::Stalled, Some("no frame for 5 s"));
    until("stalled", || tile(2, ".state").starts_with("stalled") && tile(2, ".why") == "no frame for 5 s");
    assert_eq!(browser.run("return document.getElementById('said').textContent"), "yard: stalled, no frame for 5 s");

    // By keyboard: go to a source, hold its picture, save it, make it large; the keys are listed.
    browser.keys(&["2"]);
    browser.keys(&[RIGHT]);
    assert_eq!(browser.run("return document.activeElement.getAttribute('aria-label')"), "gate");
    browser.keys(&["f"]);
    assert_eq!(browser.run("return document.querySelector('.large h2').textContent"), "gate");
    browser.keys(&["1"]);
    browser.run("HTMLAnchorElement.prototype.click = function () { window.saved = [this.download, this.href] }");
    browser.keys(&["p"]);
    browser.keys(&["s"]);
    let held = browser.text(".frame");
    let saved = browser.run("return window.saved");
    let number: String = held.split('·').next().unwrap().chars().filter(char::is_ascii_digit).collect();
    let name = saved[0].as_str().unwrap();
    assert!(name.ends_with(&format!("-{number}.jpg")) && !name.contains(['<', '/', '"', '\n']), "{name}");
    assert!(saved[1].as_str().unwrap().starts_with("blob:http://127.0.0.1:"));
    browser.keys(&["?"]);
    assert!(browser.text("dialog[open]").contains("save the picture"));
    browser.click("dialog button");
    is_clean(&browser, &site);

    // Everything is reached by Tab, has a name, and is seen when it is reached.
    browser.run("document.activeElement.blur(); document.getElementById('help').focus()");
    let mut reached = 0;
    for _ in 0..12 {
        browser.keys(&[TAB]);
        let focus = browser
            .run("const e = document.activeElement; return [e.tagName, e.innerText, getComputedStyle(e).outlineStyle]");
        if focus[0] == "BUTTON" {
            assert!(!focus[1].as_str().unwrap().trim().is_empty() && focus[2] != "none", "{focus}");
            reached += 1;
        }
    }
    assert!(reached >= 7, "{reached}");
    drop(player);
}

#[test]
fn the_page_comes_back_with_the_server() {
    let site = Site::open(&["old"], Some("key"), Options::default());
    let addr = site.server.addr();
    let browser = Browser::open(800, 700);
    browser.visit(&site.url("/"));
    browser.run("document.getElementById('token').value = 'key'; document.querySelector('form').submit()");
    until("the page", || browser.run("return document.querySelector('h2')?.textContent") == "old");
    assert_eq!(browser.run("return location.search"), "");
    drop(site);
    until("gone", || browser.text("#gone").contains("does not answer"));
    let site = Site::at(addr, &["new", "newer"], Some("key"), Options::default());
    until("back", || browser.run("return document.querySelectorAll('h2')[1]?.textContent") == "newer");
    assert_eq!(browser.run("return document.getElementById('gone').hidden"), true);
    drop(site);
    let _other = Site::at(addr, &["new"], Some("other key"), Options::default());
    until("the door", || browser.run("return document.getElementById('token') !== null") == true);
}

#[test]
fn a_phone_shows_it_without_scrolling_sideways() {
    let long = format!("rtsp://10.0.0.1:554/{}", "stream".repeat(30));
    let site = Arc::new(Site::open(&[&long, NAME], None, Options::default()));
    site.change(0, SourceState::Live, None);
    site.change(1, SourceState::Lost, Some(&"x".repeat(300)));
    let _player = Player::start(&site, 1, picture);
    let browser = Browser::open(390, 844);
    browser.visit(&site.url("/"));
    until("a picture", || browser.run("return document.querySelector('.frame')?.innerText.length > 0") == true);
    assert_eq!(browser.run("return document.documentElement.scrollWidth"), 390);
    browser.click(".enlarge");
    assert_eq!(browser.run("return document.documentElement.scrollWidth"), 390);
    let small = browser.run(
        "return [...document.querySelectorAll('button')].filter((b) => b.offsetHeight && b.offsetHeight < 38).length",
    );
    assert_eq!(small, 0);
    is_clean(&browser, &site);
}
