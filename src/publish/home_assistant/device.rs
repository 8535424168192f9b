//! A source as Home Assistant knows it, a device with its entities: MQTT's discovery by device, and the states that belong to it.
//!
//! Names of keys and classes are those of Home Assistant's MQTT integration (`homeassistant/device/ID/config`, 2024.11 and later).

use crate::publish::broker::one_level;
use crate::record::{EventName, EventRecord, Phase};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Letters of a state; Home Assistant takes no longer ones.
const MOST_STATE: usize = 255;

/// How a source is called everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// The machine's name, and the source's.
    pub machine: String,
    pub source: String,
}

/// What is known of a source at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Frames come.
    pub is_online: bool,
    pub objects: usize,
    pub is_moving: bool,
    /// Frames per second that the model ran on.
    pub rate: f64,
    /// Whether something is in it, by a zone's name.
    pub zones: BTreeMap<String, bool>,
}

impl Device {
    /// Of no other device, and the same in every run.
    pub fn id(&self) -> String {
        // The hash tells machine a_b with source c from machine a with b_c.
        let whole = format!("{}\0{}", self.machine, self.source);
        format!("mostream_{}_{:08x}", one_level(&self.source), hash(&whole))
    }

    /// `mostream-ha/MACHINE/SOURCE/WHAT`.
    pub fn topic(&self, what: &str) -> String {
        format!("mostream-ha/{}/{}/{what}", plain(&self.machine), plain(&self.source))
    }

    /// Where the whole program says that it is there.
    pub fn status_topic(machine: &str) -> String {
        format!("mostream-ha/{}/status", plain(machine))
    }

    pub fn discovery_topic(&self, prefix: &str) -> String {
        format!("{prefix}/device/{}/config", self.id())
    }

    /// What the device is, with these zones.
    pub fn discovery<'a>(&self, zones: impl Iterator<Item = &'a str>) -> Value {
        let program = json!({ "topic": Self::status_topic(&self.machine) });
        let camera = json!({ "topic": self.topic("available") });
        // Whether the camera is there is known as long as the program is.
        let always = json!([program]);
        let while_live = json!([program, camera]);
        let (state, event) = (self.topic("state"), self.topic("event"));
        let of_state = |key: &str| format!("{{{{ value_json.{key} }}}}");
        let mut all = Map::new();
        let mut add = |key: &str, platform: &str, name: &str, rest: Value| {
            let mut entity = json!({
                "p": platform,
                "name": name,
                "unique_id": format!("{}_{key}", self.id()),
                "availability": while_live,
                "availability_mode": "all",
            });
            if let (Some(entity), Value::Object(rest)) = (entity.as_object_mut(), rest) {
                entity.extend(rest);
            }
            all.insert(key.to_owned(), entity);
        };
        let camera = json!({ "state_topic": state, "value_template": of_state("online"), "device_class": "connectivity",
            "entity_category": "diagnostic", "availability": always });
        add("camera", "binary_sensor", "Camera", camera);
        let objects = json!({ "state_topic": state, "value_template": of_state("objects"), "state_class": "measurement",
            "icon": "mdi:shape-outline" });
        add("objects", "sensor", "Objects", objects);
        let motion = json!({ "state_topic": state, "value_template": of_state("motion"), "device_class": "motion" });
        add("motion", "binary_sensor", "Motion", motion);
        for zone in zones {
            let key = zone_key(zone);
            let occupancy = json!({ "state_topic": state, "value_template": of_state(&format!("zones.{key}")),
                "device_class": "occupancy" });
            add(&key, "binary_sensor", zone, occupancy);
        }
        let last = json!({ "state_topic": event, "value_template": of_state("what"), "json_attributes_topic": event,
            "icon": "mdi:timeline-clock-outline" });
        add("event", "sensor", "Last event", last);
        let picture = json!({ "image_topic": self.topic("picture"), "content_type": "image/jpeg" });
        add("picture", "image", "Last event", picture);
        let rate = json!({ "state_topic": state, "value_template": of_state("rate"), "state_class": "measurement",
            "unit_of_measurement": "fps", "suggested_display_precision": 1, "entity_category": "diagnostic",
            "icon": "mdi:speedometer" });
        add("rate", "sensor", "Inference rate", rate);
        let version = env!("CARGO_PKG_VERSION");
        json!({
            "dev": {
                "ids": [self.id()],
                "name": self.source,
                "mf": "mostream",
                "mdl": format!("source on {}", self.machine),
                "sw": version,
            },
            "o": { "name": "mostream", "sw": version },
            "cmps": all,
        })
    }
}

impl State {
    /// As the entities read it.
    pub fn told(&self) -> Value {
        let word = |is: bool| if is { "ON" } else { "OFF" };
        let zones: Map<String, Value> =
            self.zones.iter().map(|(name, is)| (zone_key(name), word(*is).into())).collect();
        json!({
            "online": word(self.is_online),
            "objects": self.objects,
            "motion": word(self.is_moving),
            "rate": (10.0 * self.rate).round() / 10.0,
            "zones": zones,
        })
    }
}

/// An event as it stands in Home Assistant: in words, and with all that its line says.
pub(super) fn told(line: &EventRecord) -> Value {
    let mut value = serde_json::to_value(line).unwrap_or_default();
    value["what"] = what(line).chars().take(MOST_STATE).collect::<String>().into();
    value
}

fn what(line: &EventRecord) -> String {
    let at = line.zone.as_deref().unwrap_or_default();
    let is_over = line.phase == Phase::End;
    match line.event {
        EventName::Object if is_over => "left".into(),
        EventName::Object => "came".into(),
        EventName::Stopped if is_over => "moved on".into(),
        EventName::Stopped => "stopped".into(),
        EventName::Zone if is_over => format!("left {at}"),
        EventName::Zone => format!("entered {at}"),
        EventName::Stay if is_over => format!("no longer stays in {at}"),
        EventName::Stay => format!("stays in {at}"),
        EventName::Line => format!("crossed {at}"),
        EventName::LeftBehind => "left behind".into(),
        EventName::TakenAway => "taken away".into(),
        EventName::CameraMoved => "camera moved".into(),
        EventName::Covered if is_over => "camera sees again".into(),
        EventName::Covered => "camera covered".into(),
        EventName::Light => "light changed".into(),
    }
}

/// Of one zone of a source, and no word of a template but a name.
fn zone_key(zone: &str) -> String {
    format!("zone_{}", plain(zone).replace('-', "_"))
}

/// A name in letters, digits, `-` and `_`; what was another is another still.
fn plain(name: &str) -> String {
    let plain = one_level(name);
    if plain == name && !name.is_empty() && !name.contains('-') {
        return plain;
    }
    format!("{plain}_{:08x}", hash(name))
}

/// FNV-1a: the same in every version, as ids have to be.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_stay_so_and_templates_hold_nothing_of_them() {
        let on = |machine: &str, source: &str| Device { machine: machine.into(), source: source.into() }.id();
        assert_ne!(on("box_a", "b"), on("box", "a_b"));
        let of = |source: &str| on("box", source);
        let names = ["door", "door ", "Tür", "a b", "a_b", "a-b", "a/b", "{{ x }}", "+", "#"];
        let mut ids: Vec<String> = names.iter().map(|name| of(name)).collect();
        assert!(ids[0].starts_with("mostream_door_"));
        assert!(ids.iter().all(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), names.len());
        let device = Device { machine: "box".into(), source: "door".into() };
        let hostile = "'] }}{{ 1 + 1 }}\"";
        let told = device.discovery([hostile].into_iter());
        let zone = told["cmps"].as_object().unwrap().iter().find(|(key, _)| key.starts_with("zone_")).unwrap().1;
        let template = zone["value_template"].as_str().unwrap();
        assert!(template.trim_matches(['{', '}', ' ']).chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c)));
        let state = State { zones: [(hostile.to_owned(), true)].into(), ..State::default() }.told();
        let key = template.trim_matches(['{', '}', ' ']).trim_start_matches("value_json.zones.");
        assert_eq!(state["zones"][key], "ON");
    }
}
