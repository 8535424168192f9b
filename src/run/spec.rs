//! What a run is asked to do, as plain data: the flags of `mostream run`, the keys of its file, or what a program fills in.

use super::RunError;
use crate::analyzer::ModelSize;
use crate::backbone::{
    Checkpoint, DEFAULT_MAX_PATCHES, Devices, Feature, Hints, Precision, SessionOptions, user_cache,
};
use crate::discover::groups::Groups;
use crate::engine::Cue;
use crate::localize::{Localizer, Method};
use crate::scene::{MIN_SCORE, Sense};
use crate::stream::camera::{CameraOptions, Mode, Transport};
use crate::stream::decoder::{self, Decoding};
use crate::stream::ingest::Span;
use crate::zoo;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
pub struct Shared {
    /// One JSON object a frame goes here; `-` is stdout.
    pub records: Option<PathBuf>,
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
    pub method: Option<Method>,
    /// From 0 to 1.
    #[serde(serialize_with = "short")]
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
    /// Of the program: only errors are said.
    pub quiet: bool,
    /// Of the program: the log is JSON.
    pub log_json: bool,
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
    pub batch: Option<u16>,
}

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
    /// The backbone runs on each `every`-th frame.
    pub every: Option<u64>,
    /// The backbone rests while the picture does not change.
    pub adaptive: Option<bool>,
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

/// What speaks for an object; see [`Cue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CueName {
    Appearance,
    Time,
}

/// What the model gives; see [`Feature`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureName {
    #[default]
    K,
    Q,
    V,
    Attention,
}

/// `(width, height)` in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u32, pub u32);

/// What cannot be so in a spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}{}{why}",
    .source_number.map_or_else(String::new, |number| format!("source {}: ", number + 1)),
    .key.as_ref().map_or_else(String::new, |key| format!("{key}: "))
)]
pub struct SpecError {
    /// The number of the source it is of, from 0; shown from 1.
    pub source_number: Option<usize>,
    pub key: Option<String>,
    pub why: String,
}

impl SpecError {
    fn new(key: &str, why: impl Into<String>) -> Self {
        Self { source_number: None, key: Some(key.to_owned()), why: why.into() }
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

/// The value as `T` reads it under this key: numbers may be written as text, and text that is a number without quotes.
fn fitting<T: DeserializeOwned>(key: &str, value: Value) -> Result<Value, SpecError> {
    let probe = |value: &Value| {
        let table = Map::from_iter([(key.to_owned(), value.clone())]);
        serde_json::from_value::<T>(Value::Object(table)).map(drop)
    };
    let Err(error) = probe(&value) else { return Ok(value) };
    let other = match &value {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Number(number) => Some(Value::String(number.to_string())),
        _ => None,
    };
    other.filter(|other| probe(other).is_ok()).ok_or_else(|| SpecError::new(key, error.to_string()))
}

fn unknown(key: &str, mut known: Vec<String>) -> SpecError {
    known.sort_unstable();
    SpecError::new(key, format!("there is no such key (known: {})", known.join(", ")))
}

/// Each value was read before.
fn whole<T: DeserializeOwned>(table: Map<String, Value>) -> Result<T, SpecError> {
    let fail = |error: serde_json::Error| SpecError { source_number: None, key: None, why: error.to_string() };
    serde_json::from_value(Value::Object(table)).map_err(fail)
}

impl SourceSpec {
    fn from_table(table: Map<String, Value>) -> Result<Self, SpecError> {
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
        let none = || SpecError { source_number: None, key: None, why: "it has no input".into() };
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
            return Err(SpecError { source_number: None, key: None, why });
        }
        for (number, source) in self.sources.iter().enumerate() {
            source.options.over(&self.each).check().map_err(|error| error.of(number))?;
        }
        Ok(())
    }
}

impl Shared {
    fn check(&self) -> Result<(), SpecError> {
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
        if self.min_score.is_some() && self.paper {
            return wrong("min-score", "the paper's boxes have no lower bound: leave out paper, or this".into());
        }
        if self.size.is_some() && self.patches.is_some() {
            return wrong("patches", "size says how large the model's input is: leave out one of them".into());
        }
        for (key, is_given) in [("heads", self.heads.is_some()), ("patch", self.patch.is_some())] {
            if is_given && self.model.is_none() {
                return wrong(key, "it is of a model, and none is named (model)".into());
            }
        }
        match (self.web, &self.web_token) {
            (None, Some(_)) => wrong("web-token", "there is no page to ask for it (web)".into()),
            (Some(address), None) if !address.ip().to_canonical().is_loopback() => wrong(
                "web",
                format!(
                    "the page on {address} shows the pictures to whoever reaches that address: name a file with a token \
                     (web-token), or serve 127.0.0.1 only"
                ),
            ),
            _ => Ok(()),
        }
    }

    pub fn method(&self) -> Method {
        self.method.unwrap_or_default()
    }

    pub fn localizer(&self) -> Localizer {
        localizer(self.method(), self.paper, self.min_score)
    }

    pub fn cue(&self) -> Cue {
        cue(self.cue, self.no_crops, self.method(), self.paper, self.min_score)
    }

    /// What the method needs of the model.
    pub fn feature(&self) -> Result<Feature, RunError> {
        let asked = self.feature.unwrap_or_default();
        match (self.method(), asked) {
            (Method::DinoSeg, FeatureName::K | FeatureName::Attention) => Ok(Feature::ClsAttention),
            (method @ Method::DinoSeg, feature) | (method, feature @ FeatureName::Attention) => {
                let name = feature.name();
                Err(RunError::Usage(format!(
                    "--method {method} cannot use --feature {name} (dino-seg reads the attention, the others k, q or v)"
                )))
            }
            (_, feature) => Ok(feature.into()),
        }
    }

    pub fn checkpoint(&self) -> Result<Checkpoint, RunError> {
        Ok(match &self.model {
            Some(model) => {
                let hints = Hints { heads: self.heads.map(usize::from), patch: self.patch.map(usize::from) };
                zoo::open(model, hints)?
            }
            None => Checkpoint::bundled()?,
        })
    }

    pub fn devices(&self) -> Devices {
        self.device.unwrap_or_default()
    }

    pub fn session_options(&self) -> SessionOptions {
        SessionOptions {
            device: self.devices().first(),
            precision: self.precision.unwrap_or_default(),
            batch: self.batch.map(usize::from),
            threads: self.threads.map(usize::from),
            library: None,
            cache: user_cache(),
        }
    }

    pub fn model_size(&self) -> ModelSize {
        let patches = self.patches.map_or(DEFAULT_MAX_PATCHES, usize::from);
        self.size.map_or(ModelSize::MaxPatches(patches), |Size(width, height)| ModelSize::Fixed(width, height))
    }

    /// The named groups asked for; they must be of this model.
    pub fn load_groups(&self, model: &str, warn: impl Fn(&str)) -> Result<Option<Groups>, RunError> {
        let feature = self.feature.unwrap_or_default().name();
        self.groups.as_deref().map(|path| load_groups(path, self.method(), feature, model, warn)).transpose()
    }
}

/// The groups of this file; they must be of this model, and of the feature in use. `warn` is told when none has a name.
pub fn load_groups(
    path: &Path,
    method: Method,
    feature: &str,
    model: &str,
    warn: impl Fn(&str),
) -> Result<Groups, RunError> {
    if method == Method::DinoSeg {
        let why = "--groups compares patch features, and dino-seg reads none: use another --method";
        return Err(RunError::Usage(why.into()));
    }
    let groups = Groups::load(path).and_then(|groups| groups.expect_model(model, feature));
    let groups = groups.map_err(|error| RunError::Input(error.to_string()))?;
    if groups.names().next().is_none() {
        let file = path.display();
        warn(&format!("warning: no group in {file} has a name: mostream discover --name {file} 1=NAME"));
    }
    Ok(groups)
}

/// How boxes are found.
pub fn localizer(method: Method, paper: bool, min_score: Option<f32>) -> Localizer {
    let usual = Localizer::new(method);
    let bound = if paper { 0.0 } else { usual.min_score };
    Localizer { paper, min_score: min_score.unwrap_or(bound), ..usual }
}

/// What speaks for an object. Another method, or the paper's boxes, are asked for to see what they find.
pub fn cue(asked: Option<CueName>, no_crops: bool, method: Method, paper: bool, min_score: Option<f32>) -> Cue {
    let is_usual = method == Method::Most && !paper;
    match asked.unwrap_or(if is_usual { CueName::Time } else { CueName::Appearance }) {
        CueName::Time => Cue::Time {
            min_score: min_score.unwrap_or(MIN_SCORE),
            without: no_crops.then_some(Sense::Crops).into_iter().collect(),
        },
        CueName::Appearance => Cue::Appearance,
    }
}

impl FeatureName {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::K => "k",
            Self::Q => "q",
            Self::V => "v",
            Self::Attention => "attention",
        }
    }
}

impl From<FeatureName> for Feature {
    fn from(feature: FeatureName) -> Self {
        match feature {
            FeatureName::K => Self::Keys,
            FeatureName::Q => Self::Queries,
            FeatureName::V => Self::Values,
            FeatureName::Attention => Self::ClsAttention,
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
            adaptive: own.adaptive.or(each.adaptive),
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
        }
    }

    /// Of each value alone.
    fn check_values(&self) -> Result<(), SpecError> {
        match self.every {
            Some(0) => Err(SpecError::new("every", "expected 1 or more, not 0")),
            _ => Ok(()),
        }
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        self.check_values()?;
        if self.segment.is_some() && self.output.is_none() {
            return Err(SpecError::new("segment", "there is no output to part into files"));
        }
        if self.scene.is_some() && self.no_scene == Some(true) {
            return Err(SpecError::new("scene", "no-scene says that none is kept: leave out one of them"));
        }
        Ok(())
    }

    pub fn span(&self) -> Span {
        let ns = |time: Duration| time.as_nanos() as u64;
        Span { start_ns: self.start.map_or(0, ns), duration_ns: self.duration.map(ns) }
    }

    /// How the source is decoded; with a size, what is in a device's memory leaves it in the model's size.
    pub fn decoding(&self, model_size: Option<decoder::ModelSize>) -> Decoding {
        Decoding { decoder: self.decoder.clone().filter(|name| name != "auto"), model_size }
    }

    /// How a live source is reached.
    pub fn camera(&self, model_size: Option<decoder::ModelSize>) -> Result<CameraOptions, RunError> {
        let usual = CameraOptions::default();
        let mut options = CameraOptions {
            transport: self.transport.unwrap_or(usual.transport),
            insecure_tls: self.insecure_tls.unwrap_or(usual.insecure_tls),
            mode: self.mode.clone(),
            latency_ms: self.latency.unwrap_or(usual.latency_ms),
            stall_after: self.stall_after.unwrap_or(usual.stall_after),
            retry_for: self.retry_for,
            decoding: self.decoding(model_size),
            ..usual
        };
        options.read_credentials(self.credentials.as_deref())?;
        Ok(options)
    }
}

/// The same, for a decoder.
pub(super) fn decoder_size(size: ModelSize, checkpoint: &Checkpoint) -> decoder::ModelSize {
    let size = match (size, checkpoint.fixed_size()) {
        (ModelSize::MaxPatches(_), Some((width, height))) => ModelSize::Fixed(width, height),
        (size, _) => size,
    };
    let patch = checkpoint.patch();
    Arc::new(move |width, height| size.for_picture(width, height, patch))
}

impl std::fmt::Display for Size {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}x{}", self.0, self.1)
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once('x').ok_or("expected WIDTHxHEIGHT, such as 320x240")?;
        let side = |text: &str| match text.parse() {
            Ok(side @ 1..=65_536) => Ok(side),
            _ => Err(format!("{text:?} is no side of an image (expected 1 to 65536)")),
        };
        Ok(Self(side(width)?, side(height)?))
    }
}

/// `12.5`, `1:30` or `1:00:02.25`: seconds, or [H:]M:S.
pub fn parse_clock(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected seconds or [H:]M:S, such as 12.5 or 1:30, not {text:?}");
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(wrong());
    }
    let mut seconds = 0.0;
    for part in parts {
        let value: f64 = part.parse().map_err(|_| wrong())?;
        if !(0.0..1e9).contains(&value) {
            return Err(wrong());
        }
        seconds = seconds * 60.0 + value;
    }
    Ok(Duration::from_nanos((seconds * 1e9).round() as u64))
}

/// `90`, `90s`, `10m` or `1h`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let span = seconds.or_else(|| humantime::parse_duration(text).ok());
    let span = span.filter(|span| *span >= Duration::from_millis(1) && span.as_secs() < 1_000_000_000);
    span.ok_or_else(|| format!("expected a time such as 30s, 10m or 1h, not {text:?}"))
}

/// `true`, or an address.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    match Option::<Value>::deserialize(from)? {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::Bool(true)) => Ok(Some(WEB)),
        Some(Value::String(text)) => text
            .parse()
            .map(Some)
            .map_err(|_| D::Error::custom(format!("expected true, or an address such as {WEB}, not {text:?}"))),
        Some(other) => Err(D::Error::custom(format!("expected true, or an address such as {WEB}, not {other}"))),
    }
}

fn as_text<S: serde::Serializer>(text: &OsString, to: S) -> Result<S::Ok, S::Error> {
    let none = || serde::ser::Error::custom(format!("{} is not UTF-8", text.display()));
    to.serialize_str(text.to_str().ok_or_else(none)?)
}

/// As few digits as tell it.
fn short<S: serde::Serializer>(number: &Option<f32>, to: S) -> Result<S::Ok, S::Error> {
    number.and_then(|number| number.to_string().parse::<f64>().ok()).serialize(to)
}

/// What is written as it is shown.
mod text {
    use super::{Deserialize, Deserializer, Serialize};
    use serde::de::Error;
    use std::fmt::Display;
    use std::str::FromStr;

    pub fn serialize<T: Display, S: serde::Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(T::to_string).serialize(to)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

mod span {
    use super::{Deserialize, Deserializer, Duration, Serialize, parse_span};
    use serde::de::Error;

    pub fn serialize<S: serde::Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        span.map(|span| humantime::format_duration(span).to_string()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| parse_span(&text).map_err(D::Error::custom)).transpose()
    }
}

mod clock {
    use super::{Deserialize, Deserializer, Duration, Serialize, parse_clock};
    use serde::de::Error;

    pub fn serialize<S: serde::Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64().to_string()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| parse_clock(&text).map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_clock_like() {
        let ns = |text: &str| parse_clock(text).map(|time| time.as_nanos());
        assert_eq!(ns("12.5"), Ok(12_500_000_000));
        assert_eq!(ns("1:30"), Ok(90_000_000_000));
        assert_eq!(ns("1:00:02.25"), Ok(3_602_250_000_000));
        for wrong in ["", "-1", "nan", "1:2:3:4", "1h"] {
            assert!(parse_clock(wrong).is_err(), "{wrong}");
        }
    }
}
