//! Who records are sent to, as a file says it.

use super::Options;
use super::RunError;
use super::place::{Faults, Place, Wrong};
use super::scene::state_folder;
use super::spec::{Shared, SpecError, is_one_word, is_plain_name};
use crate::broker::Target;
use crate::dialect::Dialect;
use crate::engine::status::Board;
use crate::publish::broker::{self, Choice, CloudEvents, Order, Pace, Publisher, RecordKind, Topic};
use crate::spool::Bounds;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One receiver; `[[publish]]` in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PublishSpec {
    /// The address of a broker, without user name and password, or a file's path.
    pub to: String,
    /// Letters, digits, `-` and `_`: what waits is kept under it. Without one it is that of the address' host.
    pub name: Option<String>,
    /// In whose words.
    pub format: Option<Dialect>,
    /// `structured` or `binary`, where messages are wrapped in CloudEvents.
    pub cloudevents: Option<CloudEvents>,
    /// `{source}` and `{kind}` stand for the record's.
    pub topic: Option<String>,
    /// Names of sources; all where it is not said.
    pub sources: Option<Vec<String>>,
    /// All where it is not said.
    pub kinds: Option<Vec<RecordKind>>,
    /// Which frames: `5`, `"2s"` or `"change"`.
    pub every: Option<Pace>,
    /// The folder in which what waits is kept.
    pub spool: Option<PathBuf>,
    /// How much of it, such as `"1GiB"`.
    #[serde(with = "super::values::bytes")]
    pub spool_size: Option<u64>,
    /// For how long.
    #[serde(with = "super::values::span")]
    pub max_age: Option<Duration>,
    /// As the kind of broker has it: `USER:PASSWORD`, NATS' credentials or seed.
    pub credentials: Option<PathBuf>,
    /// PEM: whom to trust instead of the system's authorities, the client's own certificate, its key.
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// A file with the secret that bodies are signed by (webhook).
    pub secret: Option<PathBuf>,
}

/// An hour of 8 sources with 25 records a second of 1.4 KiB.
const SPOOL_SIZE: u64 = 1 << 30;
const LEAST_SPOOL: u64 = 256 << 10;

/// The receivers of a spec.
pub(super) fn orders(shared: &Shared) -> Result<Vec<Order>, SpecError> {
    let mut names = BTreeSet::new();
    let all = shared.publish.iter().flatten().enumerate();
    all.map(|(number, spec)| {
        let wrong = |why: String| SpecError::in_table("publish", number, why);
        let order = spec.order().map_err(&wrong)?;
        match names.insert(order.name.clone()) {
            true => Ok(order),
            false => Err(wrong(format!("name: {} is the name of one before: give this one another", order.name))),
        }
    })
    .collect()
}

impl PublishSpec {
    /// What is wrong begins with its key.
    fn order(&self) -> Result<Order, String> {
        if self.to.is_empty() {
            return Err("to: name the broker's address, or a file".into());
        }
        if !is_one_word(&self.to) {
            return Err("to: an address holds no blank and no quotation mark".into());
        }
        let name = self.name.clone().unwrap_or_else(|| usual_name(&self.to));
        if !is_plain_name(&name) {
            return Err(format!("name: expected up to 64 letters, digits, - and _, not {name:?}"));
        }
        let scheme = self.to.split_once("://").map_or("", |(scheme, _)| scheme);
        let topic = match self.topic.as_deref().or(usual_topic(scheme)) {
            Some(topic) => Some(topic.parse::<Topic>().map_err(|why| format!("topic: {why}"))?),
            None => None,
        };
        if self.sources.as_ref().is_some_and(Vec::is_empty) || self.kinds.as_ref().is_some_and(Vec::is_empty) {
            return Err("nothing would be sent: sources and kinds name one at least, or are left out".into());
        }
        let folder = match &self.spool {
            Some(folder) => folder.clone(),
            None => state_folder()
                .ok_or(
                    "spool: there is no state directory (HOME is not set): name the folder in which what waits is kept",
                )?
                .join("publish")
                .join(&name),
        };
        let target = Target {
            url: self.to.clone(),
            credentials: self.credentials.clone(),
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            secret: self.secret.clone(),
            ..Target::default()
        };
        crate::broker::open(&target)?;
        let size = self.spool_size.unwrap_or(SPOOL_SIZE);
        if size < LEAST_SPOOL {
            return Err(format!("spool-size: expected 256KiB or more, not {size} bytes"));
        }
        Ok(Order {
            name,
            target,
            choice: Choice {
                dialect: self.format.unwrap_or_default(),
                cloud_events: self.cloudevents,
                topic,
                sources: self.sources.clone(),
                kinds: self.kinds.clone(),
                pace: self.every.unwrap_or_default(),
            },
            folder,
            bounds: Bounds { bytes: size, age_ns: self.max_age.map(|age| age.as_nanos() as u64) },
        })
    }
}

/// After the broker's kind and host, or the file's name.
fn usual_name(to: &str) -> String {
    let plain = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect::<String>()
            .trim_matches('-')
            .into()
    };
    let name = match to.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}-{}", plain(rest.split(['/', '?', ',']).next().unwrap_or_default())),
        None => plain(to.rsplit('/').next().unwrap_or_default()),
    };
    name.chars().take(64).map(|c| if c == '+' { '-' } else { c }).collect()
}

/// None where there are no topics.
fn usual_topic(scheme: &str) -> Option<&'static str> {
    match scheme {
        "mqtt" | "mqtts" => Some("mostream/{source}/{kind}"),
        "nats" | "tls" => Some("mostream.{source}.{kind}"),
        "kafka" | "kafka+tls" | "redis" | "rediss" => Some("mostream"),
        _ => None,
    }
}

/// What they need is there.
pub(super) fn check(orders: &[Order], faults: &mut Faults) {
    for (number, order) in orders.iter().enumerate() {
        check_files(&order.target, &format!("publish {}", number + 1), &place(number), faults);
    }
}

/// The files of a target can be read.
pub(super) fn check_files(target: &Target, of: &str, place: &Place, faults: &mut Faults) {
    let Target { credentials, ca, cert, key, secret, .. } = target;
    for (what, file) in [("credentials", credentials), ("ca", ca), ("cert", cert), ("key", key), ("secret", secret)] {
        let unreadable = file.as_ref().and_then(|file| Some((file, std::fs::File::open(file).err()?)));
        if let Some((file, error)) = unreadable {
            let why = format!("{of}: {what}: {}: {error}", file.display());
            faults.0.push(place.wrong(RunError::Usage(why)));
        }
    }
}

/// Sends to all of the spec, from the first record on. None where nobody is named, and no file may name somebody later.
pub(super) fn start(shared: &Shared, board: &Arc<Board>, options: &Options) -> Result<Option<Publisher>, Wrong> {
    let orders = orders(shared).map_err(RunError::from)?;
    if orders.is_empty() && options.config.is_none() {
        return Ok(None);
    }
    let publisher = Publisher::start(board.clone(), options.stop.clone()).map_err(RunError::from)?;
    for (number, order) in orders.into_iter().enumerate() {
        publisher.add(order).map_err(|error| place(number).wrong(error))?;
    }
    Ok(Some(publisher))
}

/// Those of another spec instead: the names of who gets nothing more, and of who gets something now. Whoever stays as it is does not notice.
pub(super) fn change(publisher: &Publisher, shared: &Shared) -> Result<(Vec<String>, Vec<String>), Wrong> {
    let (new, old) = (orders(shared).map_err(RunError::from)?, publisher.orders());
    let gone = Vec::from_iter(old.iter().filter(|order| !new.contains(order)).map(|order| order.name.clone()));
    // Who is there under the same name takes the other's place.
    gone.iter().filter(|name| !new.iter().any(|order| order.name == **name)).for_each(|name| publisher.remove(name));
    let mut come = Vec::new();
    for (number, order) in new.into_iter().enumerate().filter(|(_, order)| !old.contains(order)) {
        come.push(order.name.clone());
        publisher.add(order).map_err(|error| place(number).wrong(error))?;
    }
    Ok((gone, come))
}

/// Whether each lets the program in.
pub(super) fn connect(shared: &Shared, faults: &mut Faults) {
    for (number, order) in orders(shared).into_iter().flatten().enumerate() {
        faults.note(place(number), broker::check(&order.target));
    }
}

fn place(number: usize) -> Place {
    Place { table: Some(number), ..Place::of_all("publish") }
}
