//! What a run is asked to do, as plain data: the flags of `mostream run`, the keys of its file, or what a program fills in.

use super::home_assistant::HomeAssistantSpec;
use super::publish::PublishSpec;
use super::values::{address, as_text, clock, span, text};
use crate::backbone::{Devices, Precision};
use crate::fault::{Kind, OfKind};
use crate::localize::Method;
use crate::markup::plain;
use crate::record::Every;
use crate::stream::camera::{Mode, Transport};
use crate::zones::{Area, Line, Polygon, Regions, Zone};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use super::resolve::{cue, load_groups, localizer};
pub use super::values::{Size, parse_clock, parse_span};

/// Where the live page is, if nothing else is said.
pub const WEB: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8600);

/// A run: what holds for all of it, what holds for each source that says nothing else, and the sources.
///
/// It is read from any format of serde as one table: the keys of [`Shared`] and [`SourceOptions`], and an array `source` of tables
/// ([`SourceSpec`]). A key that is not known is an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunSpec {
    #[serde(flatten)]
    pub shared: Shared,
    #[serde(flatten)]
    pub each: SourceOptions,
    #[serde(rename = "source")]
    pub sources: Vec<SourceSpec>,
}

/// What becomes of all sources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own in the file")]
pub struct Shared {
    /// One JSON object a frame goes here; `-` is stdout.
    pub records: Option<PathBuf>,
    /// One JSON object an event goes here; `-` is stdout.
    pub events: Option<PathBuf>,
    /// Who records are sent to.
    pub publish: Option<Vec<PublishSpec>>,
    /// Sources are devices of this one.
    pub home_assistant: Option<HomeAssistantSpec>,
    /// Events are kept here for the page, and for the next start.
    pub event_store: Option<PathBuf>,
    /// Files that are there may be overwritten, under the names that outputs have by themselves.
    pub force: bool,
    /// The annotated video is shown in a window.
    pub display: bool,
    /// Where the live page is; `true` is [`WEB`].
    #[serde(deserialize_with = "address")]
    pub web: Option<SocketAddr>,
    /// A file with the page's token in its first line.
    pub web_token: Option<PathBuf>,
    /// Where the annotated videos are served over RTSP.
    pub rtsp_out: Option<SocketAddr>,
    /// A file with USER:PASSWORD in its first line, which clients are asked for.
    pub rtsp_out_credentials: Option<PathBuf>,
    /// The server's certificate, PEM: it then speaks TLS only.
    pub rtsp_out_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    pub rtsp_out_key: Option<PathBuf>,
    pub method: Option<Method>,
    /// From 0 to 1.
    pub min_score: Option<f32>,
    /// The paper's boxes as they are.
    pub paper: bool,
    pub cue: Option<CueName>,
    /// Small things are not looked at again.
    pub no_crops: bool,
    /// Named groups that objects are labelled by.
    pub groups: Option<PathBuf>,
    pub masks: bool,
    pub timings: bool,
    /// Of the program: a file that is cut off, damaged or shorter than it says makes an exit code of its own.
    pub strict: bool,
    /// Of the program: only warnings and errors are said.
    pub quiet: bool,
    /// Of the program: how the work was done is said, too.
    pub verbose: bool,
    /// Of the program: the log is JSON.
    pub log_json: bool,
    /// Of the program: where it is written which thread was at what.
    pub trace: Option<PathBuf>,
    /// A checkpoint's file, or an installed model's name.
    pub model: Option<PathBuf>,
    pub heads: Option<u16>,
    pub patch: Option<u16>,
    pub feature: Option<FeatureName>,
    /// Of the model's input, `(width, height)` in pixels, written `WIDTHxHEIGHT`.
    #[serde(with = "text")]
    pub size: Option<Size>,
    /// Of the model's input, at most.
    pub patches: Option<u16>,
    pub threads: Option<u16>,
    #[serde(with = "text")]
    pub device: Option<Devices>,
    #[serde(with = "text")]
    pub precision: Option<Precision>,
    /// The CPU in fp32: the same boxes on every machine.
    pub exact: bool,
    pub batch: Option<u16>,
}

/// The keys of what a picture is parted into.
pub(super) const REGIONS: [&str; 4] = ["zone", "line", "ignore", "mask"];
/// Frames that wait hold their pictures.
const MOST_DELAY: Duration = Duration::from_secs(2);

/// What a source may have of its own. What is none is as [`RunSpec::each`] says, else as usual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SourceOptions {
    /// The annotated video; `{name}` stands for the source's name, as in all of these.
    pub output: Option<PathBuf>,
    /// A new file begins after so long; written `90`, `30s`, `10m` or `1h`, as all times but two.
    #[serde(with = "span")]
    pub segment: Option<Duration>,
    /// Where the annotated video is sent.
    pub push: Option<String>,
    /// Which frames the backbone runs on.
    pub every: Option<Every>,
    /// How long records wait for what comes after them.
    #[serde(with = "span")]
    pub delay: Option<Duration>,
    /// The backbone rests while the picture does not change.
    pub adaptive: Option<bool>,
    /// It begins paused, until it is resumed.
    pub paused: Option<bool>,
    /// Where it is kept what a still camera has seen.
    pub scene: Option<PathBuf>,
    pub no_scene: Option<bool>,
    /// The name of a GStreamer element, or `auto`.
    pub decoder: Option<String>,
    pub transport: Option<Transport>,
    /// A file with USER:PASSWORD in its first line.
    pub credentials: Option<PathBuf>,
    pub insecure_tls: Option<bool>,
    #[serde(with = "text")]
    pub mode: Option<Mode>,
    /// Milliseconds.
    pub latency: Option<u32>,
    #[serde(with = "span")]
    pub stall_after: Option<Duration>,
    #[serde(with = "span")]
    pub retry_for: Option<Duration>,
    /// Of files: where they are read from; written `12.5` or `1:30`.
    #[serde(with = "clock")]
    pub start: Option<Duration>,
    /// Of files: how much of them is read.
    #[serde(with = "clock")]
    pub duration: Option<Duration>,
    /// Parts of its picture that are told of.
    pub zone: Option<Vec<Zone>>,
    pub line: Option<Vec<Line>>,
    /// What stands here is no object.
    pub ignore: Option<Vec<Area>>,
    /// Black in all that is made of its frames.
    pub mask: Option<Vec<Area>>,
    /// It came over HTTP, to stay until it is removed or the run ends. It may be anybody's camera, and is shown no user name and no
    /// password but those in its address.
    #[serde(skip)]
    pub is_guest: bool,
}

/// A source: a file, a folder, or what is live.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceSpec {
    #[serde(serialize_with = "as_text")]
    pub input: OsString,
    /// In records, file names and on the page: letters, digits, `-` and `_`.
    pub name: Option<String>,
    #[serde(flatten)]
    pub options: SourceOptions,
}

/// What speaks for an object; see [`crate::engine::Cue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CueName {
    Appearance,
    Time,
}

/// What the model gives; see [`crate::backbone::Feature`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureName {
    #[default]
    K,
    Q,
    V,
    Attention,
}

/// What cannot be so in a spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}{}{}",
    .source_number.map_or_else(String::new, |number| format!("source {}: ", number + 1)),
    shown(.key.as_deref(), *.table).map_or_else(String::new, |key| format!("{}: ", plain(&key))),
    plain(why)
)]
pub struct SpecError {
    /// The number of the source it is of, from 0; shown from 1.
    pub source_number: Option<usize>,
    pub key: Option<String>,
    /// The number of the table that it is of, where the key has several; from 0, shown from 1.
    pub table: Option<usize>,
    pub why: String,
}

/// A key; of several tables, which.
pub(super) fn shown(key: Option<&str>, table: Option<usize>) -> Option<String> {
    key.map(|key| table.map_or_else(|| key.to_owned(), |table| format!("{key} {}", table + 1)))
}

impl OfKind for SpecError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
}

/// What ends a word also ends what is known of a secret in it, and would show the rest; and it may end a line of the log.
pub(super) fn is_one_word(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || c.is_whitespace() || "\"'".contains(c))
}

impl SpecError {
    pub(super) fn new(key: &str, why: impl Into<String>) -> Self {
        Self { key: Some(key.to_owned()), why: why.into(), ..Self::default() }
    }

    pub(super) fn in_table(key: &str, table: usize, why: String) -> Self {
        Self { table: Some(table), ..Self::new(key, why) }
    }

    fn of(self, number: usize) -> Self {
        Self { source_number: Some(number), ..self }
    }
}

impl SourceSpec {
    /// With nothing of its own.
    pub fn new(input: impl Into<OsString>) -> Self {
        Self { input: input.into(), ..Self::default() }
    }

    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// What is whole: nothing holds besides.
    pub(super) fn check(&self) -> Result<(), SpecError> {
        self.check_input().and_then(|()| self.options.check())
    }

    fn check_input(&self) -> Result<(), SpecError> {
        let input = self.input.to_string_lossy();
        match input.contains("://") && !input.contains('!') && !is_one_word(&input) {
            true => {
                let why = "an address holds no blank and no quotation mark: percent-encode what is special in it (%20, %22, %27)";
                Err(SpecError::new("input", why))
            }
            false => Ok(()),
        }
    }

    /// The same, whole: what it does not say is as `each` has it.
    pub fn over(&self, each: &SourceOptions) -> Self {
        Self { options: self.options.over(each), ..self.clone() }
    }
}

impl<'de> Deserialize<'de> for RunSpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::from_table(Map::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for SourceSpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::from_table(Map::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// The keys of a table that `T` is read from.
pub fn keys_of<T: Default + Serialize>() -> Vec<String> {
    match serde_json::to_value(T::default()) {
        Ok(Value::Object(table)) => table.into_iter().map(|(key, _)| key).collect(),
        _ => Vec::new(),
    }
}

/// The first of several tables that `T` does not read under this key.
fn unfitting<T: DeserializeOwned>(key: &str, tables: &[Value]) -> Option<SpecError> {
    let fault = |table: &Map<String, Value>| {
        let probe = Map::from_iter([(key.to_owned(), Value::from_iter([table.clone()]))]);
        serde_json::from_value::<T>(Value::Object(probe)).err().map(|error| error.to_string())
    };
    let faulty = |table: &Map<String, Value>| {
        let why = fault(table)?;
        // It is of the key without which it goes, or changes.
        let without = |key: &String| {
            let mut others = table.clone();
            others.remove(key);
            fault(&others).as_ref() != Some(&why)
        };
        let is_named = why.contains("missing") || why.contains("unknown field");
        let of_key = table.keys().filter(|_| !is_named).find(|key| without(key));
        Some(of_key.map_or_else(|| why.clone(), |key| format!("{key}: {why}")))
    };
    let mut all = tables.iter().map(Value::as_object).enumerate();
    all.find_map(|(number, table)| Some(SpecError::in_table(key, number, faulty(table?)?)))
}

/// Whether zones, lines and receivers may be called so, on the page and in files' names.
pub(super) fn is_plain_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// The value as `T` reads it under this key: numbers may be written as text, and text that is a number without quotes.
fn fitting<T: DeserializeOwned>(key: &str, value: Value) -> Result<Value, SpecError> {
    let probe = |value: &Value| {
        let table = Map::from_iter([(key.to_owned(), value.clone())]);
        serde_json::from_value::<T>(Value::Object(table)).map(drop)
    };
    let Err(error) = probe(&value) else { return Ok(value) };
    if let Value::Array(tables) = &value
        && let Some(error) = unfitting::<T>(key, tables)
    {
        return Err(error);
    }
    let other = match &value {
        Value::String(text) => number(text),
        Value::Number(number) => Some(Value::String(number.to_string())),
        _ => None,
    };
    other.filter(|other| probe(other).is_ok()).ok_or_else(|| SpecError::new(key, error.to_string()))
}

/// As a command line has it: `.5` and `007`, too.
fn number(text: &str) -> Option<Value> {
    let whole = text.parse::<u64>().map(Value::from).ok();
    whole.or_else(|| text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from))
}

fn unknown(key: &str, mut known: Vec<String>) -> SpecError {
    known.sort_unstable();
    SpecError::new(key, format!("there is no such key (known: {})", known.join(", ")))
}

/// Each value was read before.
fn whole<T: DeserializeOwned>(table: Map<String, Value>) -> Result<T, SpecError> {
    let fail = |error: serde_json::Error| SpecError { why: error.to_string(), ..SpecError::default() };
    serde_json::from_value(Value::Object(table)).map_err(fail)
}

impl SourceSpec {
    pub(super) fn from_table(table: Map<String, Value>) -> Result<Self, SpecError> {
        let known = keys_of::<SourceOptions>();
        let (mut input, mut name, mut options) = (None, None, Map::new());
        for (key, value) in table {
            let text = |value: Value| match value {
                Value::String(text) => Ok(text),
                Value::Number(number) => Ok(number.to_string()),
                other => Err(SpecError::new(&key, format!("expected text, not {other}"))),
            };
            match key.as_str() {
                "input" => input = Some(text(value)?.into()),
                "name" if value.is_null() => {}
                "name" => name = Some(text(value)?),
                _ if known.contains(&key) => {
                    let value = fitting::<SourceOptions>(&key, value)?;
                    options.insert(key, value);
                }
                _ => return Err(unknown(&key, [known, vec!["input".into(), "name".into()]].concat())),
            }
        }
        let none = || SpecError { why: "it has no input".into(), ..SpecError::default() };
        Ok(Self { input: input.ok_or_else(none)?, name, options: whole(options)? })
    }
}

impl RunSpec {
    /// From the keys and values of a file, or of flags. It may have no source yet, and is not checked ([`RunSpec::check`]).
    pub fn from_table(table: Map<String, Value>) -> Result<Self, SpecError> {
        let (of_all, of_each) = (keys_of::<Shared>(), keys_of::<SourceOptions>());
        let (mut shared, mut each, mut sources) = (Map::new(), Map::new(), Vec::new());
        for (key, value) in table {
            if key == "source" {
                let Value::Array(tables) = value else {
                    return Err(SpecError::new(&key, "write [[source]] before each source"));
                };
                for (number, table) in tables.into_iter().enumerate() {
                    let Value::Object(table) = table else {
                        return Err(SpecError::new(&key, "write [[source]] before each source"));
                    };
                    sources.push(SourceSpec::from_table(table).map_err(|error| error.of(number))?);
                }
            } else if of_all.contains(&key) {
                let value = fitting::<Shared>(&key, value)?;
                shared.insert(key, value);
            } else if of_each.contains(&key) {
                let value = fitting::<SourceOptions>(&key, value)?;
                each.insert(key, value);
            } else {
                return Err(unknown(&key, [of_all, of_each, vec!["source".into()]].concat()));
            }
        }
        Ok(Self { shared: whole(shared)?, each: whole(each)?, sources })
    }

    /// What must not be, and what must not be together.
    pub fn check(&self) -> Result<(), SpecError> {
        self.shared.check()?;
        self.each.check_values()?;
        if self.sources.is_empty() {
            let why = "there is no [[source]]: name at least one input".into();
            return Err(SpecError { why, ..SpecError::default() });
        }
        for (number, source) in self.sources.iter().enumerate() {
            source.over(&self.each).check().map_err(|error| error.of(number))?;
        }
        Ok(())
    }
}

impl Shared {
    /// Whether what is found goes somewhere.
    pub(super) fn has_lines(&self) -> bool {
        self.records.is_some() || self.events.is_some() || self.publish.is_some() || self.home_assistant.is_some()
    }

    fn check(&self) -> Result<(), SpecError> {
        super::publish::orders(self)?;
        super::home_assistant::order(self)?;
        let wrong = |key: &str, why: String| Err(SpecError::new(key, why));
        let within = |key: &str, number: Option<u16>, least: u16, most: u16| match number {
            Some(number) if !(least..=most).contains(&number) => {
                wrong(key, format!("expected {least} to {most}, not {number}"))
            }
            _ => Ok(()),
        };
        within("heads", self.heads, 1, u16::MAX)?;
        within("patch", self.patch, 1, 64)?;
        within("patches", self.patches, 1, 16_384)?;
        within("threads", self.threads, 1, u16::MAX)?;
        within("batch", self.batch, 1, 64)?;
        if let Some(score) = self.min_score.filter(|score| !(0.0..=1.0).contains(score)) {
            return wrong("min-score", format!("expected a number from 0 to 1, not {score}"));
        }
        if self.quiet && self.verbose {
            return wrong("verbose", "quiet says that little is told: leave out one of them".into());
        }
        if self.min_score.is_some() && self.paper {
            return wrong("min-score", "the paper's boxes have no lower bound: leave out paper, or this".into());
        }
        for (key, is_given) in [("device", self.device.is_some()), ("precision", self.precision.is_some())] {
            if is_given && self.exact {
                return wrong(key, "exact says that it is the CPU in fp32: leave out one of them".into());
            }
        }
        if self.size.is_some() && self.patches.is_some() {
            return wrong("patches", "size says how large the model's input is: leave out one of them".into());
        }
        for (key, is_given) in [("heads", self.heads.is_some()), ("patch", self.patch.is_some())] {
            if is_given && self.model.is_none() {
                return wrong(key, "it is of a model, and none is named (model)".into());
            }
        }
        let is_open = |address: SocketAddr| !address.ip().to_canonical().is_loopback();
        match (self.web, &self.web_token) {
            (None, Some(_)) => wrong("web-token", "there is no page to ask for it (web)".into())?,
            (Some(address), None) if is_open(address) => wrong(
                "web",
                format!(
                    "the page on {address} shows the pictures to whoever reaches that address: name a file with a token \
                     (web-token), or serve 127.0.0.1 only"
                ),
            )?,
            _ => {}
        }
        let of_server = [
            ("rtsp-out-credentials", &self.rtsp_out_credentials),
            ("rtsp-out-cert", &self.rtsp_out_cert),
            ("rtsp-out-key", &self.rtsp_out_key),
        ];
        match (self.rtsp_out, of_server.iter().find(|(_, file)| file.is_some())) {
            (None, Some((key, _))) => wrong(key, "nothing is served over RTSP (rtsp-out)".into()),
            (Some(address), _) if self.rtsp_out_credentials.is_none() && is_open(address) => wrong(
                "rtsp-out",
                format!(
                    "the videos on {address} are shown to whoever reaches that address: name a file with USER:PASSWORD \
                     (rtsp-out-credentials), or serve 127.0.0.1 only"
                ),
            ),
            _ if self.rtsp_out_cert.is_some() != self.rtsp_out_key.is_some() => {
                let (given, other) = if self.rtsp_out_cert.is_some() { (1, 2) } else { (2, 1) };
                wrong(
                    of_server[given].0,
                    format!("a certificate and its key go together: name the other, too ({})", of_server[other].0),
                )
            }
            _ => Ok(()),
        }
    }
}

impl SourceOptions {
    /// What is none here is as `each` has it.
    pub fn over(&self, each: &Self) -> Self {
        let (own, each) = (self.clone(), each.clone());
        Self {
            output: own.output.or(each.output),
            segment: own.segment.or(each.segment),
            push: own.push.or(each.push),
            every: own.every.or(each.every),
            delay: own.delay.or(each.delay),
            adaptive: own.adaptive.or(each.adaptive),
            paused: own.paused.or(each.paused),
            scene: own.scene.or(each.scene),
            no_scene: own.no_scene.or(each.no_scene),
            decoder: own.decoder.or(each.decoder),
            transport: own.transport.or(each.transport),
            credentials: own.credentials.or(each.credentials),
            insecure_tls: own.insecure_tls.or(each.insecure_tls),
            mode: own.mode.or(each.mode),
            latency: own.latency.or(each.latency),
            stall_after: own.stall_after.or(each.stall_after),
            retry_for: own.retry_for.or(each.retry_for),
            start: own.start.or(each.start),
            duration: own.duration.or(each.duration),
            zone: own.zone.or(each.zone),
            line: own.line.or(each.line),
            ignore: own.ignore.or(each.ignore),
            mask: own.mask.or(each.mask),
            is_guest: own.is_guest,
        }
    }

    /// With nothing but what a picture is parted into, checked; a key that is not there is none.
    pub(super) fn of_regions(table: Map<String, Value>) -> Result<Self, SpecError> {
        let mut options = Map::new();
        for (key, value) in table {
            if !REGIONS.contains(&key.as_str()) {
                let key = key.chars().take(64).collect::<String>();
                return Err(unknown(&key, REGIONS.map(str::to_owned).into()));
            }
            let value = fitting::<Self>(&key, value)?;
            options.insert(key, value);
        }
        let options: Self = whole(options)?;
        options.check_regions()?;
        Ok(options)
    }

    /// What the picture is parted into.
    pub fn regions(&self) -> Regions {
        let polygons = |areas: &Option<Vec<Area>>| areas.iter().flatten().map(|area| area.polygon.clone()).collect();
        Regions {
            zones: self.zone.clone().unwrap_or_default(),
            lines: self.line.clone().unwrap_or_default(),
            ignored: polygons(&self.ignore),
            masks: polygons(&self.mask),
        }
    }

    /// The same, with the picture parted into these.
    pub(super) fn with_regions(self, regions: &Regions) -> Self {
        let areas = |polygons: &[Polygon]| Some(polygons.iter().cloned().map(|polygon| Area { polygon }).collect());
        Self {
            zone: Some(regions.zones.clone()),
            line: Some(regions.lines.clone()),
            ignore: areas(&regions.ignored),
            mask: areas(&regions.masks),
            ..self
        }
    }

    fn check_regions(&self) -> Result<(), SpecError> {
        let zones = self.zone.iter().flatten().map(|zone| (zone.name.as_str(), zone.check()));
        let lines = self.line.iter().flatten().map(|line| (line.name.as_str(), line.check()));
        for (key, tables) in [("zone", Vec::from_iter(zones)), ("line", lines.collect())] {
            for (number, (name, checked)) in tables.iter().enumerate() {
                let why = if !is_plain_name(name) {
                    Err(format!("the name {name:?} is not 1 to 64 letters, digits, - and _"))
                } else if tables[..number].iter().any(|(other, _)| other == name) {
                    Err(format!("the name {name:?} is there twice"))
                } else {
                    checked.clone()
                };
                why.map_err(|why| SpecError::in_table(key, number, why))?;
            }
        }
        Ok(())
    }

    /// Of each value alone.
    fn check_values(&self) -> Result<(), SpecError> {
        self.check_regions()?;
        if self.every == Some(Every::Frames(0)) {
            return Err(SpecError::new("every", "expected 1 or more, not 0"));
        }
        match self.delay {
            Some(delay) if delay > MOST_DELAY => {
                let [most, delay] = [MOST_DELAY, delay].map(|time| time.as_secs_f64());
                Err(SpecError::new("delay", format!("expected at most {most} s, not {delay} s")))
            }
            _ => Ok(()),
        }
    }

    fn check(&self) -> Result<(), SpecError> {
        self.check_values()?;
        if self.segment.is_some() && self.output.is_none() {
            return Err(SpecError::new("segment", "there is no output to part into files"));
        }
        if self.scene.is_some() && self.no_scene == Some(true) {
            return Err(SpecError::new("scene", "no-scene says that none is kept: leave out one of them"));
        }
        Ok(())
    }
}
