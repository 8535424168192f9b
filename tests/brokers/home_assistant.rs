//! A Home Assistant that is given nothing but its broker's address knows every camera: what it reads there is asked of a real broker, and its own
//! schemas are asked of the same device by `make test-consumers`.

use crate::support::brokers::{Broker, debian, mosquitto};
use crate::support::program::{mostream, signal, until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Stdio};
use tempfile::{TempDir, tempdir};

const DISCOVERY: &str = "homeassistant/device/mostream_door_51de4c8a/config";
const STATE: &str = "mostream-ha/box/door/state";

/// What somebody who comes now is told first: by topic.
fn retained(broker: &Broker) -> BTreeMap<String, Vec<u8>> {
    let mut command = debian("mosquitto_sub");
    command.args(["-p", &broker.port.to_string(), "-t", "#", "--retained-only", "-W", "1", "-F", "%t %x"]);
    let read = command.stderr(Stdio::null()).output().unwrap();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let letter = |line: &str| {
        let (topic, body) = line.split_once(' ').unwrap();
        (topic.to_owned(), body.as_bytes().chunks(2).map(byte).collect())
    };
    String::from_utf8(read.stdout).unwrap().lines().map(letter).collect()
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn publish(broker: &Broker, topic: &str, body: &[&str]) {
    let mut command = debian("mosquitto_pub");
    let published = command.args(["-p", &broker.port.to_string(), "-q", "1", "-t", topic]).args(body).status();
    assert!(published.unwrap().success());
}

fn start(folder: &Path, config: &str) -> Child {
    std::fs::write(folder.join("run.toml"), config).unwrap();
    let mut command = mostream(folder, &["--quiet", "run", "--config", "run.toml"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A camera before which something moves to and fro, in a zone that is all of its picture.
fn config(broker: &Broker, more: &str) -> String {
    format!(
        "[home-assistant]\nto = \"mqtt://127.0.0.1:{}\"\nmachine = \"box\"\n{more}\n[[source]]\nname = \"door\"\n\
         input = \"videotestsrc is-live=true pattern=ball motion=sweep ! video/x-raw,format=I420,width=320,height=240,framerate=15/1 ! appsink name=frames\"\n\
         [[source.zone]]\nname = \"mat\"\npolygon = [[0, 0], [1, 0], [1, 1], [0, 1]]\n",
        broker.port
    )
}

fn broker() -> Broker {
    mosquitto(tempdir().unwrap(), "allow_anonymous true\npersistence false")
}

struct Home {
    folder: TempDir,
    broker: Broker,
    child: Child,
}

impl Home {
    fn new(more: &str) -> Self {
        let (folder, broker) = (tempdir().unwrap(), broker());
        let child = start(folder.path(), &config(&broker, more));
        Self { folder, broker, child }
    }

    /// Until the broker has what is asked for.
    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn(&BTreeMap<String, Vec<u8>>) -> bool) -> BTreeMap<String, Vec<u8>> {
        let mut letters = BTreeMap::new();
        until(what, || {
            letters = retained(&self.broker);
            is_so(&letters)
        });
        letters
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn says(letters: &BTreeMap<String, Vec<u8>>, topic: &str, word: &str) -> bool {
    letters.get(topic).is_some_and(|body| body == word.as_bytes())
}

#[test]
fn a_camera_is_a_device_with_all_that_its_entities_read() {
    let mut home = Home::new("");
    let letters = home.until("something happened, and has a picture", |letters| {
        letters.contains_key("mostream-ha/box/door/event") && letters.contains_key("mostream-ha/box/door/picture")
    });
    // The device that the schemas of Home Assistant are asked about.
    let mut device = json(&letters[DISCOVERY]);
    for of in ["dev", "o"] {
        assert_eq!(device[of].as_object_mut().unwrap().remove("sw").unwrap(), env!("CARGO_PKG_VERSION"));
    }
    let known: Value = serde_json::from_str(include_str!("../consumers/home_assistant.json")).unwrap();
    assert_eq!(device, known, "tests/consumers/home_assistant.json is another: {device:#}");

    // Every topic that an entity reads has something, and every template finds its value.
    let entities = device["cmps"].as_object().unwrap();
    let mut ids = BTreeSet::new();
    for (key, entity) in entities {
        assert!(ids.insert(entity["unique_id"].as_str().unwrap()), "{key}");
        for topic in ["state_topic", "json_attributes_topic", "image_topic"] {
            let topic = entity[topic].as_str();
            assert!(topic.is_none_or(|topic| letters.contains_key(topic)), "{key}: {topic:?}");
        }
        for available in entity["availability"].as_array().unwrap() {
            assert!(says(&letters, available["topic"].as_str().unwrap(), "online"), "{key}");
        }
        let Some(template) = entity["value_template"].as_str() else { continue };
        let path = template.trim_start_matches("{{ value_json.").trim_end_matches(" }}").replace('.', "/");
        let state = json(&letters[entity["state_topic"].as_str().unwrap()]);
        let value = state.pointer(&format!("/{path}")).unwrap_or_else(|| panic!("{key}: no {path} in {state}"));
        if entity["p"] == "binary_sensor" {
            assert!(value == "ON" || value == "OFF", "{key}: {value}");
        }
    }
    let picture = &letters["mostream-ha/box/door/picture"];
    let sides = image::load_from_memory(picture).map(|picture| (picture.width(), picture.height())).unwrap();
    assert_eq!(sides, (320, 240));
    home.until("something is in the zone", |letters| json(&letters[STATE])["zones"]["zone_mat"] == "ON");
    home.until("something is there", |letters| json(&letters[STATE])["objects"] != 0);

    // Home Assistant begins anew, and has lost what was retained.
    publish(&home.broker, DISCOVERY, &["-r", "-n"]);
    assert!(!retained(&home.broker).contains_key(DISCOVERY));
    publish(&home.broker, "homeassistant/status", &["-m", "online"]);
    home.until("the device is told again", |letters| letters.contains_key(DISCOVERY));

    // A broker that has forgotten all.
    home.broker.kill();
    home.broker.start();
    home.until("all is told again", |letters| {
        letters.contains_key(DISCOVERY)
            && letters.contains_key(STATE)
            && says(letters, "mostream-ha/box/status", "online")
    });

    // The program is killed.
    home.child.kill().unwrap();
    home.until("the broker says that it is gone", |letters| says(letters, "mostream-ha/box/status", "offline"));
}

#[test]
fn the_end_is_told_and_a_source_that_is_taken_away_goes() {
    let mut home = Home::new("prefix = \"ha\"");
    let discovery = DISCOVERY.replace("homeassistant", "ha");
    home.until("the camera is there", |letters| {
        letters.contains_key(&discovery) && says(letters, "mostream-ha/box/door/available", "online")
    });
    let other = config(&home.broker, "prefix = \"ha\"").replace("\"door\"", "\"yard\"");
    std::fs::write(home.folder.path().join("run.toml"), other).unwrap();
    signal(&home.child, "HUP");
    home.until("the other camera is there, and this one is not", |letters| {
        let is_there = |name: &str| letters.keys().any(|topic| topic.contains(name));
        is_there("mostream_yard_") && !is_there("mostream_door_51de4c8a") && !is_there("box/door/")
    });
    signal(&home.child, "TERM");
    home.child.wait().unwrap();
    assert!(says(&retained(&home.broker), "mostream-ha/box/status", "offline"));
}
