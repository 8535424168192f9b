//! Changes asked for over HTTP, by who may and by who may not: a hostile page in a browser of the same machine, above all.

use crate::support::browser::{Browser, ENTER, TAB};
use crate::support::camera::{RtspCamera, free_port};
use crate::support::log::heard;
use crate::support::program::{self, signal, until, whole_lines};
use crate::support::site::get;
use mostream::localize::Method;
use mostream::record::FrameRecord;
use mostream::run::{Options, Run, RunSpec, SourceSpec};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) const DOOR: &str = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=160,height=120,framerate=15/1 \
                    ! appsink name=frames";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The status, the headers and the body that come back.
fn send(page: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String, String) {
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    let mut add = |name: &str, value: &str| request.push_str(&format!("{name}: {value}\r\n"));
    let has = |wanted: &str| headers.iter().any(|(name, _)| *name == wanted);
    if !has("Host") {
        add("Host", &page.to_string());
    }
    if !has("Transfer-Encoding") {
        add("Content-Length", &body.len().to_string());
    }
    headers.iter().for_each(|(name, value)| add(name, value));
    let mut stream = TcpStream::connect(page).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(format!("{request}\r\n").as_bytes()).unwrap();
    // It may have hung up already.
    stream.write_all(body).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

/// The sources that are there: number, name, whether it is paused.
fn listed(page: SocketAddr) -> Vec<Value> {
    let all: Value = serde_json::from_str(&get(&format!("http://{page}/sources"), &[]).1).unwrap();
    let listed = all["sources"].as_array().unwrap().iter();
    listed.map(|source| json!([source["number"], source["name"], source["paused"]])).collect()
}

#[test]
fn a_hostile_page_on_the_same_machine_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let mut spec = RunSpec { sources: vec![SourceSpec::new(DOOR).named("door")], ..RunSpec::default() };
    spec.shared.size = "64x48".parse().ok();
    spec.shared.method = Some(Method::Lost);
    spec.shared.records = Some(folder.path().join("r.jsonl"));
    spec.shared.web = "127.0.0.1:0".parse().ok();
    let said = lines.clone();
    let hear = move |_, line: &str| said.lock().unwrap().push(line.to_owned());
    let run = heard(hear, || Run::start(spec, Options::default())).unwrap();
    let page = run.page().unwrap();

    // The link with the token is for who looks on; the file that holds it is for nobody else.
    let token = run.page_link().unwrap().split_once("?token=").unwrap().1.to_owned();
    let find = |line: &String| Some(line.split_once("over HTTP is in ")?.1.to_owned());
    let file = PathBuf::from(lines.lock().unwrap().iter().find_map(find).unwrap());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{token}\n"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(token.len() >= 32);
    assert!(lines.lock().unwrap().iter().all(|line: &String| !line.contains(&token)));
    let (status, head, _) = send(page, "GET", &format!("/?token={token}"), &[], b"");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!((status, cookie.contains(&token)), (303, false));
    assert_eq!(send(page, "GET", "/?token=wrong", &[], b"").0, 401);

    // Browsers send a host's cookie to all of its ports, whichever page asks.
    let (cookie, bearer) = (("Cookie", cookie), format!("Bearer {token}"));
    let bearer = ("Authorization", bearer.as_str());
    let own = format!("http://{page}");
    let near = format!("http://{page}.evil.example");
    let good = br#"{"input": "rtsp://127.0.0.1:1/x", "name": "evil"}"#;
    let changes = [
        ("POST", "/sources"),
        ("DELETE", "/sources/0"),
        ("POST", "/sources/0/pause"),
        ("PUT", "/sources/0/regions"),
        ("POST", "/reload"),
    ];
    let before = listed(page);
    let refused = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8], status: u16, words: &[&str]| {
        let (got, head, text) = send(page, method, path, headers, body);
        let told: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{method} {path} {headers:?}: {text}"));
        assert_eq!(got, status, "{method} {path} {headers:?}: {text}");
        let shown = format!("{} {} {}", told["place"], told["value"], told["error"].as_str().unwrap());
        assert!(words.iter().all(|word| shown.contains(word)), "{words:?} are not all in {shown}");
        assert!(!text.contains(&token) && !text.contains("s3cret"), "{text}");
        assert!(!head.contains("access-control"), "{head}");
        head
    };
    for (method, path) in changes {
        for (headers, status, word) in [
            (&[cookie, ("Content-Type", "text/plain")][..], 415, "text/plain"),
            (&[cookie, ("Content-Type", "application/x-www-form-urlencoded")], 415, "urlencoded"),
            (&[cookie, ("Content-Type", "text/plain; application/json")], 415, "application/json"),
            (&[cookie], 415, "Content-Type"),
            (&[cookie, JSON, ("Origin", "http://localhost:9999")], 403, "localhost:9999"),
            (&[cookie, JSON, ("Origin", "null")], 403, "null"),
            (&[cookie, JSON, ("Origin", near.as_str())], 403, "evil.example"),
            (&[cookie, JSON, ("Origin", own.as_str()), ("Origin", "http://evil.example")], 403, "Origin"),
            (&[cookie, JSON, ("Sec-Fetch-Site", "same-site")], 403, "same-site"),
            (&[cookie, JSON, ("Sec-Fetch-Site", "cross-site"), ("Origin", own.as_str())], 403, "cross-site"),
            (&[cookie, JSON, ("Host", "evil.example"), ("Origin", "http://evil.example")], 421, "evil.example"),
            (&[JSON, ("Origin", own.as_str())], 401, "token"),
            (&[JSON, ("Authorization", "Bearer s3cret-and-wrong")], 401, "Authorization"),
            (&[JSON, ("Cookie", &format!("mostream_{}=00", page.port()))], 401, "token"),
        ] {
            refused(method, path, headers, good, status, &[word]);
        }
        refused(method, &format!("{path}?token={token}"), &[JSON], good, 401, &["token"]);
        refused(method, path, &[bearer, JSON], &vec![b' '; 2 << 20], 413, &["body", "65536"]);
    }
    let mut endless = format!("{:x}\r\n", 2 << 20).into_bytes();
    endless.extend(vec![b' '; 2 << 20]);
    refused("POST", "/sources", &[bearer, JSON, ("Transfer-Encoding", "chunked")], &endless, 413, &["body"]);

    for (method, path, allow) in [
        ("PUT", "/sources", "get, head, post"),
        ("OPTIONS", "/sources", "get, head, post"),
        ("DELETE", "/sources", "get, head, post"),
        ("GET", "/reload", "post"),
        ("POST", "/sources/0", "delete"),
        ("GET", "/sources/0/pause", "post"),
        ("POST", "/sources/0/regions", "get, head, put"),
        ("POST", "/sources/0/picture.jpg", "get, head"),
        ("POST", "/", "get, head"),
    ] {
        let head = refused(method, path, &[bearer, JSON], good, 405, &[method, path]);
        assert!(head.contains(&format!("\r\nallow: {allow}\r\n")), "{method} {path}: {head}");
    }
    for number in ["7", "-1", "x", "", "99999999999999999999999"] {
        refused("DELETE", &format!("/sources/{number}"), &[bearer, JSON], b"", 404, &["source", number]);
        refused("POST", &format!("/sources/{number}/pause"), &[bearer, JSON], b"", 404, &["source", number]);
        refused("PUT", &format!("/sources/{number}/regions"), &[bearer, JSON], b"{}", 404, &["source", number]);
    }
    refused("POST", "/reload", &[bearer, JSON], b"", 400, &["config", "--config"]);

    let secret = "rtspsrc location=rtsp://me:s3cret@h ! decodebin ! appsink name=frames";
    let (forged, broken) = ("rtsp://127.0.0.1:1/x\nmostream: all is well", "rtsp://me:s3cret s3cret@127.0.0.1/x");
    for input in [
        forged,
        broken,
        DOOR,
        secret,
        "/etc",
        "a.mp4",
        "file:///etc/passwd",
        "cam",
        "/dev/video0",
        "-",
        "http://x/a.mp4",
        "",
    ] {
        let body = json!({ "input": input, "name": "evil" }).to_string();
        refused("POST", "/sources", &[bearer, JSON], body.as_bytes(), 400, &["input", "config file"]);
    }
    for key in ["output", "segment", "push", "scene", "decoder", "credentials", "mode", "start", "duration"] {
        let body = json!({ "input": "rtsp://127.0.0.1:1/x", key: "/tmp/x" }).to_string();
        refused("POST", "/sources", &[bearer, JSON], body.as_bytes(), 400, &[key, "config file"]);
    }
    for (body, words) in [
        (r#"{"input": "rtsp://127.0.0.1:1/x", "evry": 2}"#, &["evry", "every"][..]),
        (r#"{"input": "rtsp://127.0.0.1:1/x", "every": "often"}"#, &["every", "often"]),
        (r#"{"input": "rtsp://127.0.0.1:1/x", "every": 0}"#, &["every", "0"]),
        (r#"{"input": "rtsp://127.0.0.1:1/x", "name": "../../evil"}"#, &["../../evil"]),
        (r#"{"input": ["rtsp://me:s3cret@127.0.0.1/x"]}"#, &["input"]),
        (r#"{"name": "evil"}"#, &["input"]),
        (
            r#"{"input": "rtsp://127.0.0.1:1/x", "mask": [{"polygon": [[0, 0], [1, 0], [1, 1]]}, {"polygon": [[0, 0], [1, 1]]}]}"#,
            &["mask 2", "3 to 128 points"],
        ),
        (
            r#"{"input": "rtsp://127.0.0.1:1/x", "zone": [{"name": "a b", "polygon": [[0, 0], [1, 0], [1, 1]]}]}"#,
            &["zone 1", "a b"],
        ),
        ("input=rtsp://127.0.0.1:1/x", &["JSON"]),
        ("[]", &["JSON"]),
        ("", &["JSON"]),
    ] {
        refused("POST", "/sources", &[bearer, JSON], body.as_bytes(), 400, words);
    }

    let nowhere = br#"{"input": "rtsp://me:s3cret@127.0.0.1:99999/x"}"#;
    refused("POST", "/sources", &[bearer, JSON], nowhere, 422, &["input", "port"]);

    assert_eq!(listed(page), before);
    assert_eq!(before, [json!([0, "door", false])]);
    let frames = || run.snapshot()[0].frames;
    let then = frames();
    until("it goes on", || frames() > then + 5);
    // The same is done for who may: the page itself, and a program.
    let (status, ..) = send(page, "POST", "/sources/0/pause", &[cookie, JSON, ("Origin", &own)], b"");
    assert_eq!((status, listed(page)), (200, vec![json!([0, "door", true])]));
    let (status, _, told) = send(page, "POST", "/sources/0/resume", &[bearer, JSON], b"");
    assert_eq!((status, told.as_str()), (200, r#"{"name":"door","number":0,"paused":false}"#));
    assert!(!run.snapshot()[0].paused);
    run.stop();
    run.join().unwrap();
    assert!(!file.exists());
}

#[test]
fn a_camera_is_added_paused_and_removed_over_http_and_the_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let port = free_port();
    let page = SocketAddr::from(([127, 0, 0, 1], port));
    let head = format!(
        "records = \"r.jsonl\"\nsize = \"64x48\"\nmethod = \"lost\"\nweb = \"{page}\"\ncredentials = \"login\"\n"
    );
    let source = |name: &str| format!("[[source]]\nname = \"{name}\"\ninput = \"{DOOR}\"\n");
    let write = |text: String| std::fs::write(at("c.toml"), text).unwrap();
    write([head.as_str(), &source("stays")].concat());
    std::fs::write(at("login"), "me:s3cret\n").unwrap();
    let camera = RtspCamera::start(free_port(), &["--size", "160x120", "--user", "me", "--password", "s3cret"]);
    let mut command = program::mostream(folder.path(), &["run", "--config", "c.toml"]);
    command.env("XDG_STATE_HOME", folder.path()).env_remove("STATE_DIRECTORY").stdout(Stdio::null());
    let mut child = command.stderr(std::fs::File::create(at("log")).unwrap()).spawn().unwrap();

    let file = at(&format!("mostream/page-{port}.token"));
    until("a token", || std::fs::read_to_string(&file).is_ok_and(|token| token.ends_with('\n')));
    let token = std::fs::read_to_string(&file).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let change = |method: &str, path: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, _, told) = send(page, method, path, &[("Authorization", &bearer), JSON], body.as_bytes());
        (status, serde_json::from_str::<Value>(&told).unwrap())
    };
    let of = |name: &str| {
        let lines = whole_lines(&at("r.jsonl"));
        let records = lines.iter().filter_map(|line| serde_json::from_str::<FrameRecord>(line).ok());
        Vec::from_iter(records.filter(|record| record.source == name).map(|record| record.frame))
    };
    let more = |name: &str, count: usize| {
        let before = of(name).len();
        until(name, || of(name).len() >= before + count);
    };
    until("the first", || at("r.jsonl").exists());
    more("stays", 3);

    // The user name and the password of the file are for the cameras of the file.
    let (status, told) = change("POST", "/sources", json!({ "input": camera.url(), "name": "door" }));
    assert_eq!((status, &told["added"]), (201, &json!([{ "number": 1, "name": "door" }])));
    let state = |number: usize| {
        let all: Value = serde_json::from_str(&get(&format!("http://{page}/sources"), &[]).1).unwrap();
        all["sources"][number].clone()
    };
    until("it is let in nowhere", || state(1)["state"] == "lost");
    assert!(state(1)["why"].as_str().unwrap().contains("password"), "{}", state(1));
    assert_eq!(change("DELETE", "/sources/1", Value::Null).0, 200);

    let url = camera.url().replace("rtsp://", "rtsp://me:s3cret@");
    let (status, told) = change("POST", "/sources", json!({ "input": url, "name": "door", "every": 2 }));
    assert_eq!((status, &told["added"]), (201, &json!([{ "number": 2, "name": "door" }])));
    more("door", 5);
    until("its picture", || get(&format!("http://{page}/sources/2/snapshot"), &[]).0 == 200);
    assert_eq!(change("POST", "/sources/2/pause", Value::Null).1["paused"], true);
    // What is under way comes yet.
    more("stays", 15);
    let paused = of("door").len();
    more("stays", 15);
    assert_eq!(of("door").len(), paused);
    assert_eq!(change("POST", "/sources/2/resume", Value::Null).1["paused"], false);
    more("door", 5);

    write([head.as_str(), "masks = true\n", &source("stays"), &source("comes")].concat());
    let changes = json!({ "added": ["comes"], "removed": [], "paused": [], "resumed": [], "regions": [], "publishes": [], "publishes_no_more": [], "need_restart": ["masks"] });
    assert_eq!(change("POST", "/reload", Value::Null), (200, changes));
    more("comes", 3);
    more("door", 3);
    write([head.as_str(), "[[source]]\nname = \"x\"\n"].concat());
    let (status, told) = change("POST", "/reload", Value::Null);
    assert!(status == 400 && told["error"].as_str().unwrap().contains("c.toml:6: source 1: it has no input"), "{told}");
    let names = Vec::from_iter(listed(page).iter().map(|source| source[1].clone()));
    assert_eq!(names, ["stays", "door", "comes"]);

    let (status, told) = change("DELETE", "/sources/2", Value::Null);
    assert!(status == 200 && told["frames"].as_u64().unwrap() >= 13 && told["faults"] == json!([]), "{told}");
    more("stays", 3);
    // One that says nothing of its name is not called by its secrets; a run without any source waits for one.
    let (_, told) = change("POST", "/sources", json!({ "input": url }));
    assert_eq!(told["added"][0]["name"], camera.url());
    for source in listed(page) {
        assert_eq!(change("DELETE", &format!("/sources/{}", source[0]), Value::Null).0, 200);
    }
    assert_eq!(listed(page), [] as [Value; 0]);
    let (_, told) = change("POST", "/sources", json!({ "input": url, "name": "again" }));
    assert_eq!(told["added"][0]["name"], "again");
    more("again", 3);
    assert!(!get(&format!("http://{page}/sources"), &[]).1.contains("s3cret"));

    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let stays = of("stays");
    assert_eq!(stays, Vec::from_iter(0..stays.len() as u64), "it noticed nothing");
    let log = std::fs::read_to_string(at("log")).unwrap();
    assert!(log.contains("added over HTTP: \"door\"") && log.contains("removed over HTTP: \"door\""), "{log}");
    assert!(!log.contains("s3cret") && !log.contains(token.trim()), "{log}");
    assert!(!file.exists());
}

/// The program with a page, and a file with this text besides.
pub(super) struct Running {
    pub(super) folder: tempfile::TempDir,
    child: Child,
    pub(super) page: SocketAddr,
    pub(super) token: String,
}

impl Running {
    pub(super) fn start(text: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let page = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = program::mostream(folder.path(), &["run", "--config", "c.toml"]);
        command.env("XDG_STATE_HOME", folder.path()).env_remove("STATE_DIRECTORY").stdout(Stdio::null());
        command.stderr(std::fs::File::create(folder.path().join("log")).unwrap());
        write(&folder, page, text);
        let child = command.spawn().unwrap();
        let file = folder.path().join(format!("mostream/page-{port}.token"));
        until("a token", || std::fs::read_to_string(&file).is_ok_and(|token| token.ends_with('\n')));
        let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
        Self { folder, child, page, token }
    }

    pub(super) fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = format!("Bearer {}", self.token);
        let (status, _, told) = send(self.page, method, path, &[("Authorization", &bearer), JSON], body.as_bytes());
        (status, serde_json::from_str(&told).unwrap())
    }

    /// The source of this number as it is listed.
    pub(super) fn source(&self, number: u64) -> Value {
        let all: Value = serde_json::from_str(&get(&format!("http://{}/sources", self.page), &[]).1).unwrap();
        all["sources"].as_array().unwrap().iter().find(|source| source["number"] == number).cloned().unwrap_or_default()
    }

    pub(super) fn reload(&self, text: &str) -> Value {
        write(&self.folder, self.page, text);
        let (status, told) = self.ask("POST", "/reload", Value::Null);
        assert_eq!(status, 200, "{told}");
        told
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(super) fn write(folder: &tempfile::TempDir, page: SocketAddr, text: &str) {
    let head = format!("records = \"r.jsonl\"\nsize = \"64x48\"\nmethod = \"lost\"\nweb = \"{page}\"\n");
    std::fs::write(folder.path().join("c.toml"), head + text).unwrap();
}

#[test]
fn a_source_begins_paused_where_the_file_says_so_and_goes_on_without_connecting_anew() {
    let source = |name: &str, more: &str| format!("[[source]]\nname = \"{name}\"\ninput = \"{DOOR}\"\n{more}\n");
    let (stays, paused) = (source("stays", ""), source("door", "paused = true"));
    let run = Running::start(&(stays.clone() + &paused));
    let records = || whole_lines(&run.folder.path().join("r.jsonl")).join("");
    let is_of_door = |line: &str| line.contains("\"source\":\"door\"") && line.contains("\"objects\"");
    let of_door = || records().lines().filter(|line| is_of_door(line)).count();
    let frames = |number| run.source(number)["inferred"].as_u64().unwrap();
    until("the other", || frames(0) > 15);
    assert_eq!((of_door(), &run.source(1)["paused"]), (0, &json!(true)));

    let changes = |paused: &[&str], resumed: &[&str]| json!({ "added": [], "removed": [], "paused": paused, "resumed": resumed, "regions": [], "publishes": [], "publishes_no_more": [], "need_restart": [] });
    assert_eq!(run.reload(&(stays.clone() + &source("door", ""))), changes(&[], &["door"]));
    until("it goes on", || of_door() > 5);
    assert_eq!(run.reload(&(stays.clone() + &source("door", "paused = true"))), changes(&["door"], &[]));
    assert_eq!(run.source(1)["paused"], true);
    // Who has resumed it by hand is not overruled by a file that says nothing new.
    assert_eq!(run.ask("POST", "/sources/1/resume", Value::Null).1["paused"], false);
    assert_eq!(run.reload(&(stays + &source("door", "paused = true"))), changes(&[], &[]));
    let so_far = of_door();
    until("it goes on again", || of_door() > so_far + 5);
    assert_eq!((run.source(1)["connections"].clone(), run.source(0)["paused"].clone()), (json!(1), json!(false)));
    let log = run.log();
    assert!(
        ["resumed door", "paused door", "resumed over HTTP: \"door\""].iter().all(|said| log.contains(said)),
        "{log}"
    );
}

#[test]
fn what_has_ended_is_removed_and_no_more_are_added_than_there_may_be() {
    let run = Running::start(&format!("[[source]]\nname = \"stays\"\ninput = \"{DOOR}\"\n"));
    let nowhere = format!("rtsp://127.0.0.1:{}/x", free_port());
    let short = json!({ "input": nowhere, "name": "short", "retry-for": "1s" });
    assert_eq!(run.ask("POST", "/sources", short).0, 201);
    until("it is given up", || run.source(1)["state"] == "ended");
    let (status, told) = run.ask("DELETE", "/sources/1", Value::Null);
    assert_eq!((status, &told["name"], run.source(1)), (200, &json!("short"), Value::Null));
    assert_eq!(run.ask("DELETE", "/sources/1", Value::Null).0, 404);

    let add = |name: &str| run.ask("POST", "/sources", json!({ "input": nowhere, "name": name, "paused": true }));
    let twice = json!({ "place": "name", "fault": "usage", "error": "the source name \"stays\" is there twice" });
    assert_eq!(add("stays"), (400, twice));
    for number in 0..64 {
        assert_eq!(add(&format!("g{number}")).0, 201);
    }
    let (status, told) = add("one-more");
    assert!(status == 400 && told["error"].as_str().unwrap().contains("64"), "{told}");
    let (status, told) = run.ask("DELETE", "/sources/7", Value::Null);
    assert_eq!(status, 200, "{told}");
    assert_eq!(add("one-more").0, 201);
}

#[test]
fn who_knows_the_token_changes_sources_on_the_page() {
    let run = Running::start(&format!("[[source]]\nname = \"stays\"\ninput = \"{DOOR}\"\n"));
    let camera = RtspCamera::start(free_port(), &["--size", "160x120"]);
    let page = format!("http://{}/", run.page);
    let browser = Browser::open(1280, 900);
    let tiles = || browser.run("return [...document.querySelectorAll('.tile')].map((tile) => tile.ariaLabel)");
    let is_hidden =
        |selector: &str| browser.run(&format!("return document.querySelector('{selector}').offsetParent === null"));
    browser.visit(&page);
    until("a tile", || tiles() == json!(["stays"]));
    until("a state", || browser.text(".state").starts_with("live"));
    assert_eq!((is_hidden("#add"), is_hidden(".changes")), (json!(true), json!(true)));
    browser.visit(&format!("{page}?token={}", run.token));
    until("buttons", || browser.run("return document.querySelector('.changes')?.hidden === false") == true);

    // By keyboard alone: what is wrong is told, and then mended.
    browser.run("document.getElementById('add').focus()");
    browser.keys(&[ENTER]);
    browser.write("cam");
    browser.keys(&[ENTER]);
    until("the fault", || browser.text("#adding .fault").starts_with("input: cam: it is no camera's address"));
    browser.run("document.getElementById('input').select()");
    browser.write(&camera.url());
    browser.keys(&[TAB]);
    browser.write("gate");
    browser.keys(&[ENTER]);
    until("one more", || tiles() == json!(["stays", "gate"]));
    assert_eq!(browser.run("return document.querySelector('dialog[open]')"), Value::Null);
    until("it is live", || run.source(1)["state"] == "live");

    browser.click(".tile:nth-child(2) .pause");
    until("it rests", || browser.text(".tile:nth-child(2) .pause") == "Resume");
    assert_eq!(
        (run.source(1)["paused"].clone(), browser.text(".tile:nth-child(2) .veil")),
        (json!(true), "Paused".into())
    );
    browser.click(".tile:nth-child(2) .pause");
    until("it goes on", || run.source(1)["paused"] == false);
    browser.click(".tile:nth-child(2) .remove");
    assert_eq!(browser.text("#removing h2"), "Remove gate?");
    browser.click("#removing button:last-child");
    assert_eq!(tiles(), json!(["stays", "gate"]), "who does not want to changes nothing");
    browser.click(".tile:nth-child(2) .remove");
    browser.click("#removing button[value=yes]");
    until("it is gone", || tiles() == json!(["stays"]));
    assert!(run.log().contains("removed over HTTP: \"gate\""));
}
