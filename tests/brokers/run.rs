//! The program sends to several brokers while these, the network and itself fail: every record of its file arrives, in order, or a gap tells
//! that it does not.

use crate::support::brokers::{self, Reader, debian};
use crate::support::camera::free_port;
use crate::support::program::{mostream, outcome, signal, until, whole_lines};
use crate::support::proxy::{Network, Proxy};
use crate::support::site::get;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Two small cameras.
fn sources() -> String {
    let camera = |name: &str, pattern: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\ninput = \"videotestsrc is-live=true pattern={pattern} ! video/x-raw,format=I420,width=64,height=48,\
             framerate=20/1 ! appsink name=frames\"\n"
        )
    };
    camera("door", "ball") + &camera("yard", "smpte")
}

fn start(folder: &Path, config: &str) -> Child {
    std::fs::write(folder.join("run.toml"), config).unwrap();
    let mut command = mostream(folder, &["--quiet", "run", "--config", "run.toml"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> String {
    signal(&child, "TERM");
    let ended = child.wait_with_output().unwrap();
    let (code, said) = outcome(&ended);
    assert_eq!(code, Some(130), "{said}");
    said
}

/// What the page of a run says, once it is there.
fn page_of(port: u16, path: &str) -> (u16, String) {
    until("the page is there", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    get(&format!("http://127.0.0.1:{port}{path}"), &[])
}

/// What names a line: its run, source, kind and what tells it from the others.
fn name(line: &Value) -> String {
    let text = |key: &str| line[key].to_string();
    [text("run"), text("source"), text("kind"), text("frame"), text("at_unix_ns"), text("phase")].join(" ")
}

/// Asserts that all lines of the file are among what arrived, or within a gap, and that each source's came first in their order.
#[track_caller]
fn nothing_is_lost(what: &str, file: &[Value], arrived: &[Value]) {
    let gaps = Vec::from_iter(arrived.iter().filter(|line| line["kind"] == "gap"));
    let mut seen = BTreeSet::new();
    let mut last = BTreeMap::new();
    for line in arrived.iter().filter(|line| line["kind"] == "frame") {
        if seen.insert(name(line)) {
            let frame = line["frame"].as_u64().unwrap();
            let before = last.insert((line["run"].clone().to_string(), line["source"].to_string()), frame);
            assert!(before.is_none_or(|before| before < frame), "{what}: {line} comes first after {before:?}");
        }
    }
    seen.extend(arrived.iter().map(name));
    // What was put down is a little later than it was.
    let late = 2_000_000_000;
    let is_told = |line: &Value| {
        gaps.iter().filter(|gap| gap["source"] == line["source"]).any(|gap| match line["frame"].as_u64() {
            Some(frame) => gap["first_frame"].as_u64() <= Some(frame) && Some(frame) <= gap["last_frame"].as_u64(),
            None => gap["first_unix_ns"].as_u64() <= line["at_unix_ns"].as_u64().map(|at| at + late),
        })
    };
    let lost = Vec::from_iter(file.iter().filter(|line| !seen.contains(&name(line)) && !is_told(line)));
    assert!(lost.is_empty(), "{what}: {} of {} are lost, the first: {}", lost.len(), file.len(), lost[0]);
}

fn lines_of(path: &Path) -> Vec<Value> {
    whole_lines(path).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Everything in a stream of Redis, in its order.
fn redis_holds(port: u16, stream: &str) -> Vec<Value> {
    let asked =
        debian("redis-cli").args(["-p", &port.to_string(), "--json", "XRANGE", stream, "-", "+"]).output().unwrap();
    let all: Vec<(String, Vec<String>)> = serde_json::from_slice(&asked.stdout).unwrap();
    let body = |fields: &Vec<String>| {
        let pair = fields.chunks(2).find(|pair| pair[0] == "body").unwrap();
        serde_json::from_str(&pair[1]).unwrap()
    };
    all.iter().map(|(_, fields)| body(fields)).collect()
}

#[test]
fn nothing_is_lost_while_brokers_are_killed_the_network_is_cut_and_the_program_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let room = || tempfile::tempdir().unwrap();
    let mosquitto = brokers::mosquitto(room(), "allow_anonymous true");
    let mut redis = brokers::redis(room(), "");
    let proxy = Proxy::before(mosquitto.port);
    let nobody = free_port();
    let mut subscriber = Command::new("mosquitto_sub");
    subscriber.args(["-p", &mosquitto.port.to_string(), "-q", "1", "-t", "site/#"]);
    let subscriber = Reader::start(&mut subscriber);
    let page = free_port();
    let config = format!(
        "records = \"r.jsonl\"\nweb = \"127.0.0.1:{page}\"\nno-scene = true\nsize = \"64x48\"\nexact = true\n\
         [[publish]]\nname = \"house\"\nto = \"mqtt://127.0.0.1:{}\"\ntopic = \"site/{{source}}/{{kind}}\"\n\
         [[publish]]\nname = \"store\"\nto = \"redis://127.0.0.1:{}\"\ntopic = \"all\"\n\
         [[publish]]\nname = \"file\"\nto = \"file://{}\"\n\
         [[publish]]\nname = \"away\"\nto = \"nats://127.0.0.1:{nobody}\"\n{}",
        proxy.port,
        redis.port,
        at("sent.jsonl").display(),
        sources()
    );
    let mut child = start(folder.path(), &config);
    let lines = || whole_lines(&at("r.jsonl")).len();
    for round in 0..6 {
        let before = lines();
        until("records are written", || lines() > before + 30);
        match round {
            0 => proxy.becomes(Network::Cut),
            1 => redis.kill(),
            2 => {
                proxy.becomes(Network::Silent);
                redis.start();
            }
            // What it had on disk, the next one sends.
            3 => {
                child.kill().unwrap();
                child.wait().unwrap();
                child = start(folder.path(), &config);
            }
            4 => {
                redis.kill();
                proxy.becomes(Network::Passes);
            }
            _ => redis.start(),
        }
    }
    // All but the one that nobody hears have caught up.
    let all = || serde_json::from_str::<Value>(&page_of(page, "/sources").1).unwrap()["destinations"].clone();
    until("everything is delivered", || {
        let now = all();
        let of = |name: &str| now.as_array().unwrap().iter().find(|to| to["name"] == name).unwrap().clone();
        ["house", "store", "file"]
            .iter()
            .all(|name| of(name)["state"] == "delivering" && of(name)["waiting"].as_u64() < Some(5))
    });
    let away = all()[3].clone();
    assert_eq!((&away["state"], away["acknowledged"].as_u64()), (&"failing".into(), Some(0)));
    assert!(away["waiting"].as_u64() > Some(100) && away["oldest_age"].as_f64() > Some(0.1), "{away}");
    let ready: Value = serde_json::from_str(&page_of(page, "/readyz").1).unwrap();
    assert_eq!((&ready["ready"], &ready["destinations"][3]["name"]), (&true.into(), &"away".into()));
    let metrics = page_of(page, "/metrics").1;
    for said in [
        "mostream_publish_state{destination=\"away\",state=\"failing\"} 1",
        "mostream_publish_wait_seconds_bucket{destination=\"store\",le=\"+Inf\"}",
    ] {
        assert!(metrics.contains(said), "{said}: {metrics}");
    }
    let said = end(child);
    assert!(said.contains("publish away: ") && said.contains("messages wait in "), "{said}");

    // What was on its way from the record to the spool when the program was killed is in no spool: the last line of each source then.
    let file = lines_of(&at("r.jsonl"));
    let runs = BTreeSet::from_iter(file.iter().map(|line| line["run"].to_string()));
    assert_eq!(runs.len(), 2);
    let first = file[0]["run"].clone();
    let last = |source: &str| {
        let of = |line: &&Value| line["run"] == first && line["source"] == source && line["kind"] == "frame";
        file.iter().rfind(of).map(name).unwrap()
    };
    let cut = [last("door"), last("yard")];
    let file = Vec::from_iter(file.iter().filter(|line| !cut.contains(&name(line))).cloned());
    nothing_is_lost("file", &file, &lines_of(&at("sent.jsonl")));
    nothing_is_lost("redis", &file, &redis_holds(redis.port, "all"));
    let parse = |line: &String| serde_json::from_str(line).unwrap();
    let wanted = file.len();
    until("the subscriber has read all", || subscriber.lines().len() >= wanted);
    nothing_is_lost("mqtt", &file, &subscriber.lines().iter().map(parse).collect::<Vec<_>>());
}

#[test]
fn what_is_more_than_may_wait_becomes_a_gap_and_a_reload_brings_and_ends_receivers() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let nobody = free_port();
    let page = free_port();
    let head = format!(
        "records = \"r.jsonl\"\nweb = \"127.0.0.1:{page}\"\nno-scene = true\nsize = \"64x48\"\nexact = true\nmasks = true\n"
    );
    let away = format!("[[publish]]\nname = \"store\"\nto = \"redis://127.0.0.1:{nobody}\"\nspool-size = \"256KiB\"\n");
    let file = format!(
        "[[publish]]\nname = \"file\"\nto = \"file://{}\"\nsources = [\"yard\"]\nkinds = [\"frame\"]\nevery = 5\n",
        at("sent.jsonl").display()
    );
    let child = start(folder.path(), &format!("{head}{away}{}", sources()));
    let destinations = || serde_json::from_str::<Value>(&page_of(page, "/sources").1).unwrap()["destinations"].clone();
    until("more waits than may", || destinations()[0]["lost"]["bound"].as_u64() > Some(0));
    assert!(destinations()[0]["waiting_bytes"].as_u64() < Some(400_000));
    // Another receiver, while the first stays as it is.
    let before = destinations()[0]["errors"].as_u64();
    std::fs::write(at("run.toml"), format!("{head}{away}{file}{}", sources())).unwrap();
    signal(&child, "HUP");
    until("the file is sent to", || at("sent.jsonl").exists() && whole_lines(&at("sent.jsonl")).len() > 5);
    assert!(destinations()[0]["errors"].as_u64() >= before);
    std::fs::write(at("run.toml"), format!("{head}{away}{}", sources())).unwrap();
    signal(&child, "HUP");
    until("the file is sent to no more", || destinations().as_array().unwrap().len() == 1);
    // One with other keys is another, and has what waited for it.
    std::fs::write(at("run.toml"), format!("{head}{away}max-age = \"1h\"\n{}", sources())).unwrap();
    signal(&child, "HUP");
    until("the store is another", || {
        let now = destinations();
        now[0]["name"] == "store" && now[0]["errors"].as_u64() < Some(4) && now[0]["waiting"].as_u64() > Some(50)
    });
    let sent = lines_of(&at("sent.jsonl"));
    assert!(sent.iter().all(|line| line["source"] == "yard" && line["kind"] == "frame"));
    assert!(sent.windows(2).all(|two| two[1]["frame"].as_u64().unwrap() == two[0]["frame"].as_u64().unwrap() + 5));
    end(child);
    // The next run finds the receiver there.
    let redis = brokers::redis(tempfile::tempdir().unwrap(), "");
    let child = start(
        folder.path(),
        &format!("{head}{}{}", away.replace(&nobody.to_string(), &redis.port.to_string()), sources()),
    );
    until("all has arrived", || {
        let now = destinations()[0].clone();
        now["acknowledged"].as_u64() > Some(100) && now["waiting"].as_u64() < Some(5)
    });
    end(child);
    let arrived = redis_holds(redis.port, "mostream");
    let gap = arrived.iter().find(|line| line["kind"] == "gap" && line["cause"] == "bound").unwrap();
    assert!(gap["lost"].as_u64() > Some(10) && gap["first_frame"].as_u64() < gap["last_frame"].as_u64(), "{gap}");
    nothing_is_lost("redis", &lines_of(&at("r.jsonl")), &arrived);
}

#[test]
fn what_is_wrong_with_a_receiver_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let source = "[[source]]\ninput = \"videotestsrc is-live=true ! appsink name=frames\"\n";
    for (table, line, words) in [
        ("to = \"mqtt://me:hunter2@broker\"\n", 1, &["credentials", "file"][..]),
        ("to = \"gopher://broker\"\n", 1, &["gopher", "mqtt"]),
        ("to = \"mqtt://broker\"\ntopic = \"a/#\"\n", 1, &["topic", "stand for many"]),
        ("to = \"mqtt://broker\"\ntopic = \"{what}\"\n", 1, &["topic", "{source}"]),
        ("to = \"mqtt://broker\"\nevery = 0\n", 1, &["every", "1 or more"]),
        ("to = \"mqtt://broker\"\nkinds = [\"box\"]\n", 1, &["kinds", "box"]),
        ("to = \"mqtt://broker\"\nformat = \"xml\"\n", 1, &["format", "xml"]),
        ("to = \"mqtt://broker\"\nspool-size = \"much\"\n", 1, &["spool-size", "much"]),
        ("to = \"mqtt://broker\"\ncert = \"a.pem\"\n", 1, &["cert", "key"]),
        ("to = \"mqtt://broker\"\ncolour = 1\n", 1, &["colour"]),
        ("to = \"mqtt://broker\"\ncredentials = \"none.secret\"\n", 1, &["credentials", "none.secret"]),
        (
            "to = \"mqtt://broker\"\nname = \"a\"\n[[publish]]\nto = \"mqtt://broker\"\nname = \"a\"\n",
            4,
            &["name", "another"],
        ),
        ("name = \"a\"\n", 1, &["to"]),
    ] {
        std::fs::write(folder.path().join("run.toml"), format!("[[publish]]\n{table}{source}")).unwrap();
        let checked = mostream(folder.path(), &["config", "check", "run.toml"]).output().unwrap();
        let (code, said) = outcome(&checked);
        assert!(code != Some(0), "{table}{said}");
        assert!(said.contains(&format!("run.toml:{line}: ")), "{table}{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{table}: {said:?} does not say {word:?}"));
        assert!(!said.contains("hunter2"), "{said}");
    }
    for (table, words) in [
        ("to = \"https://broker\"\n", &["to", "mqtt://"][..]),
        ("to = \"mqtt://me:hunter2@broker\"\n", &["credentials", "file"]),
        ("to = \"mqtt://broker?availability=x\"\n", &["availability"]),
        ("to = \"mqtt://broker\"\nmachine = \"\"\n", &["machine", "64"]),
        ("to = \"mqtt://broker\"\nprefix = \"a/+\"\n", &["prefix"]),
        ("to = \"mqtt://broker\"\ncredentials = \"none.secret\"\n", &["credentials", "none.secret"]),
        ("to = \"mqtt://broker\"\ncolour = 1\n", &["colour"]),
    ] {
        std::fs::write(folder.path().join("run.toml"), format!("[home-assistant]\n{table}{source}")).unwrap();
        let checked = mostream(folder.path(), &["config", "check", "run.toml"]).output().unwrap();
        let (code, said) = outcome(&checked);
        assert!(code != Some(0) && said.contains("run.toml:1: "), "{table}{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{table}: {said:?} does not say {word:?}"));
        assert!(!said.contains("hunter2"), "{said}");
    }
    // Who is not there is told by a check that connects.
    let broker = free_port();
    std::fs::write(
        folder.path().join("run.toml"),
        format!("[[publish]]\nto = \"mqtt://127.0.0.1:{broker}\"\n{source}"),
    )
    .unwrap();
    let check = |more: &[&str]| {
        outcome(&mostream(folder.path(), &[&["config", "check", "run.toml"], more].concat()).output().unwrap())
    };
    assert_eq!(check(&[]).0, Some(0), "{}", check(&[]).1);
    let (code, said) = check(&["--connect"]);
    assert!(code != Some(0) && said.contains("run.toml:1: ") && said.contains(&broker.to_string()), "{said}");
}
