//! `mostream run` as a service: how it ends, what it logs, whom it shows the pictures, and what it never tells.

use crate::support::camera::{RtspCamera, free_port};
use crate::support::clips::{make, probe};
use crate::support::program::{self, signal, until, whole_lines};
use crate::support::site::get;
use crate::support::validate_line;
use mostream::record::{FrameRecord, SourceState, StateRecord};
use serde_json::Value;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PASSWORD: &str = "s3cret-W0rd";
const TOKEN: &str = "t0ken-of-the-page";

fn mostream(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program::mostream(folder, arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The exit code, and what was said on stderr.
fn outcome(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    program::outcome(&mostream(folder, arguments).output().unwrap())
}

/// As a supervisor ends it.
fn terminate(child: Child) -> (Option<i32>, String) {
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    program::outcome(&output)
}

fn frames(path: &Path) -> Vec<FrameRecord> {
    whole_lines(path).iter().filter_map(|line| validate_line(line).ok()).collect()
}

fn states(path: &Path) -> Vec<StateRecord> {
    whole_lines(path).iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Every line of the log, which must be objects with a time and a level.
#[track_caller]
fn log(said: &str) -> Vec<Value> {
    let object = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        humantime::parse_rfc3339(object["time"].as_str().unwrap()).unwrap();
        assert!(["info", "warn", "error"].contains(&object["level"].as_str().unwrap()), "{line}");
        object
    };
    said.lines().map(object).collect()
}

#[test]
fn sigterm_ends_files_and_records_and_every_line_of_the_log_is_json() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("r.jsonl");
    let camera = RtspCamera::start(free_port(), &["--size", "160x120"]);
    let config = format!(
        "records = \"r.jsonl\"\noutput = \"a.mp4\"\nlog-json = true\nsize = \"64x48\"\nmethod = \"lost\"\n\n\
         [[source]]\nname = \"door\"\ninput = \"{}\"\n",
        camera.url()
    );
    std::fs::write(folder.path().join("c.toml"), config).unwrap();
    let child = mostream(folder.path(), &["run", "--config", "c.toml"]).spawn().unwrap();
    until("frames", || frames(&records).len() > 30);
    let (code, said) = terminate(child);
    assert_eq!(code, Some(130), "{said}");

    let text = std::fs::read_to_string(&records).unwrap();
    assert!(text.ends_with("}\n"), "the last line is whole");
    let (frames, states) = (frames(&records), states(&records));
    assert_eq!(frames.len() + states.len(), text.lines().count(), "every line is a record");
    assert_eq!(probe(&folder.path().join("a.mp4")).pts_ns.len(), frames.len(), "every frame is in the video");
    let log = log(&said);
    assert!(!said.contains("assertion"), "GStreamer finds no fault: {said}");
    let says = |word: &str| log.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains(word)));
    assert!(says("door: live") && says("finishing"), "{said}");
    assert!(log.iter().any(|line| line["status"]["name"] == "door"), "{said}");
}

#[test]
fn no_secret_is_told_to_anybody() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("r.jsonl");
    let small = ["--size", "160x120", "--fps", "10", "--user", "me", "--password"];
    let [accepts, refuses] =
        [PASSWORD, "another"].map(|word| RtspCamera::start(free_port(), &[&small[..], &[word]].concat()));
    let (down, web) = (free_port(), free_port());
    let mut config = format!(
        "records = \"r.jsonl\"\nweb = \"127.0.0.1:{web}\"\nweb-token = \"token\"\nlog-json = true\nsize = \"32x24\"\n\
         method = \"lost\"\nevery = 5\n"
    );
    // Those with the password in their URL have no other name.
    for (port, name) in [(accepts.port, "good"), (refuses.port, "bad"), (down, "down")] {
        config += &format!(
            "[[source]]\ninput = \"rtsp://me:{PASSWORD}@127.0.0.1:{port}/live\"\n\
             [[source]]\nname = \"{name}-file\"\ninput = \"rtsp://127.0.0.1:{port}/live\"\ncredentials = \"secret\"\n\
             [[source]]\nname = \"{name}-environment\"\ninput = \"rtsp://127.0.0.1:{port}/live\"\n"
        );
    }
    std::fs::write(folder.path().join("c.toml"), &config).unwrap();
    std::fs::write(folder.path().join("secret"), format!("me:{PASSWORD}\n")).unwrap();
    std::fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let mut command = mostream(folder.path(), &["run", "--config", "c.toml"]);
    command.env("MOSTREAM_RTSP_USER", "me").env("MOSTREAM_RTSP_PASSWORD", PASSWORD);
    let child = command.spawn().unwrap();

    let named = |port: u16, name: &str| {
        [format!("rtsp://127.0.0.1:{port}/live"), format!("{name}-file"), format!("{name}-environment")]
    };
    let are = |names: &[String; 3], state: SourceState| {
        let states = states(&records);
        names.iter().all(|name| states.iter().any(|record| record.source == *name && record.state == state))
    };
    until("all passwords are used", || are(&named(accepts.port, "good"), SourceState::Live));
    until("the others are lost", || {
        are(&named(refuses.port, "bad"), SourceState::Lost) && are(&named(down, "down"), SourceState::Lost)
    });

    let bearer = format!("Bearer {TOKEN}");
    let mut told = String::new();
    for path in ["/", "/page.js", "/metrics", "/sources", "/readyz", "/healthz", "/nowhere"] {
        let url = format!("http://127.0.0.1:{web}{path}");
        let (status, known) = get(&url, &[("authorization", &bearer)]);
        assert_eq!(status, if path == "/nowhere" { 404 } else { 200 }, "{path}");
        told += &known;
        told += &get(&url, &[]).1;
    }
    assert!(told.contains("bad-file") && told.contains("down-environment"), "{told}");
    let (code, said) = terminate(child);
    assert_eq!(code, Some(130), "{said}");
    log(&said);
    assert!(said.contains("bad-file: lost"), "{said}");
    told += &said;
    told += &std::fs::read_to_string(&records).unwrap();

    // What ends it at once, and what is wrong with the file.
    for wrong in [
        config.replace(&format!(":{down}/live"), ":99999/live"),
        config.replace("credentials = \"secret\"", "credentials = \"token\""),
        config.replace("[[source]]\ninput", "[[source]]\ninptu"),
        config.replace("every = 5", "every = \"never\""),
        config.replace("every = 5", "every = "),
    ] {
        std::fs::write(folder.path().join("wrong.toml"), wrong).unwrap();
        let (code, said) = outcome(folder.path(), &["run", "--config", "wrong.toml"]);
        assert!([Some(2), Some(3)].contains(&code), "{code:?} {said}");
        told += &said;
    }
    // As it is, and as HTTP and RTSP carry it.
    let basic = "bWU6czNjcmV0LVcwcmQ";
    for secret in [PASSWORD, TOKEN, basic] {
        let at = told.find(secret);
        assert!(at.is_none(), "{}", &told[at.unwrap_or(0).saturating_sub(200)..]);
    }
}

#[test]
fn pictures_are_shown_to_a_network_only_with_a_token() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path().join("a.mp4"), (160, 120), 2, true, "-c:v libx264 -pix_fmt yuv420p");
    std::fs::write(folder.path().join("token"), TOKEN).unwrap();
    let run = |more: &[&str]| outcome(folder.path(), &[&["run", "a.mp4", "--force", "--size", "32x24"], more].concat());
    for address in ["--web=0.0.0.0:0", "--web=[::]:0", "--web=192.0.2.1:8600", "--web=[::ffff:192.0.2.1]:8600"] {
        let (code, said) = run(&[address]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("web-token"), "{said}");
        let (code, said) = run(&[address, "--log-json"]);
        let last = &log(&said)[0];
        assert_eq!((code, &last["level"], &last["fault"]), (Some(2), &"error".into(), &"usage".into()), "{said}");
    }
    assert_eq!(run(&["--web=0.0.0.0:0", "--web-token", "token"]).0, Some(0));
    assert_eq!(run(&["--web=127.0.0.1:0"]).0, Some(0));

    std::fs::write(folder.path().join("c.toml"), "every = 2\nweb = \"0.0.0.0:0\"\n[[source]]\ninput = \"a\"\n")
        .unwrap();
    let (code, said) = outcome(folder.path(), &["config", "check", "c.toml"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("c.toml:2: "), "{said}");
}

#[test]
fn the_example_is_a_file_that_runs_take() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let example = std::fs::read_to_string(deploy.join("cameras.example.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("door"), "me:s3cret\n").unwrap();
    std::fs::write(folder.path().join("web-token"), TOKEN).unwrap();
    // Here are the service's folders, and its port is free.
    let example = example.replace("/var/lib/mostream/", "").replace("/run/credentials/mostream.service/", "");
    let example = example.replace("127.0.0.1:8600", "127.0.0.1:0");
    // As it is, and with what is left out put in.
    for text in [example.clone(), example.replace("\n#web-token", "\nweb-token")] {
        std::fs::write(folder.path().join("c.toml"), text).unwrap();
        assert_eq!(outcome(folder.path(), &["config", "check", "c.toml"]), (Some(0), String::new()));
    }
}

#[test]
fn a_service_manager_is_told_of_start_reload_and_end_and_that_it_is_alive() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = |name: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\ninput = \"videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48 ! \
             appsink name=frames\"\n"
        )
    };
    let head = "records = \"r.jsonl\"\nsize = \"64x48\"\n";
    let gone = format!("[[source]]\nname = \"gone\"\ninput = \"rtsp://127.0.0.1:{}/x\"\n", free_port());
    std::fs::write(at("c.toml"), [head, &source("door"), &gone].concat()).unwrap();
    let socket = UnixDatagram::bind(at("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = mostream(folder.path(), &["run", "--config", "c.toml"]);
    command.env("NOTIFY_SOCKET", at("notify")).env("WATCHDOG_USEC", "2000000").env_remove("WATCHDOG_PID");
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    // What comes, lines of a message together, until this.
    let told_until = |wanted: &str| {
        let mut told = Vec::new();
        while told.last().is_none_or(|last: &String| !last.starts_with(wanted)) {
            let mut message = [0; 1024];
            let length = socket.recv(&mut message).unwrap_or_else(|error| panic!("{wanted}: {error}: {told:?}"));
            told.push(String::from_utf8(message[..length].to_vec()).unwrap());
        }
        told
    };
    assert_eq!(told_until("READY=1"), ["READY=1\n"]);
    told_until("STATUS=1 of 2 sources live");
    (0..3).for_each(|_| drop(told_until("WATCHDOG=1")));

    std::fs::write(at("c.toml"), [head, &source("door"), &source("yard"), &gone].concat()).unwrap();
    signal(&child, "HUP");
    let reloading = told_until("RELOADING=1").pop().unwrap();
    let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(time.parse::<u64>().unwrap() > 0);
    told_until("READY=1");
    told_until("STATUS=2 of 3 sources live");
    told_until("WATCHDOG=1");
    signal(&child, "TERM");
    told_until("STOPPING=1");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn the_unit_waits_for_the_program_and_watches_it() {
    let unit = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/mostream.service")).unwrap();
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
    assert_eq!(value("Type"), "notify");
    assert_eq!(value("ExecReload"), "/bin/kill -HUP $MAINPID");
    let seconds: u64 = value("WatchdogSec").parse().unwrap();
    assert!(seconds >= 60, "a slow device is no dead one");
}
