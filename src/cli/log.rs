//! The log: the program's one subscriber to what is told anywhere in it. Lines on stderr, as text or as JSON, from which every secret is
//! taken here; that nobody reads them any more is no reason to end.

use indicatif::{ProgressBar, WeakProgressBar};
use mostream::stream::redact;
use serde_json::{Map, Value};
use std::fmt::{Debug, Write as _};
use std::io::{IsTerminal, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

static IS_JSON: AtomicBool = AtomicBool::new(false);
static IS_QUIET: AtomicBool = AtomicBool::new(false);
/// What is drawn where the lines go.
static BAR: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// From now on what is told is written.
pub fn begin() {
    // There is none before.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Log)).ok();
}

/// Leaves out what nobody must know.
pub fn be_quiet(is_quiet: bool) {
    IS_QUIET.store(is_quiet, Ordering::Relaxed);
}

pub fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Writes an object per line.
pub fn write_json(is_json: bool) {
    IS_JSON.store(is_json, Ordering::Relaxed);
}

/// What holds a secret: only a terminal shows it, which keeps nothing.
pub fn whisper(line: &str) {
    let is_told = !is_quiet() && !IS_JSON.load(Ordering::Relaxed);
    if is_told && std::io::stderr().is_terminal() {
        write(&format!("mostream: {line}"));
    }
}

/// The terminal has shown what was typed.
pub fn begin_line() {
    if std::io::stderr().is_terminal() {
        write("");
    }
}

/// Lines are written above this bar, as long as it is there.
pub fn spare(bar: &ProgressBar) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
}

fn write(line: &str) {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(WeakProgressBar::upgrade);
    // In one piece, so that lines of threads do not mix.
    let write = || drop(std::io::stderr().lock().write_all(format!("{line}\n").as_bytes()));
    match bar.filter(|bar| !bar.is_finished()) {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

struct Log;

impl<S: Subscriber> Layer<S> for Log {
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let finest = if is_quiet() { Level::WARN } else { Level::INFO };
        if level > finest || !event.metadata().target().starts_with("mostream") {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        if IS_JSON.load(Ordering::Relaxed) {
            let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            let mut line = Map::from_iter([("time".to_owned(), Value::from(time))]);
            line.insert("level".into(), level.as_str().to_ascii_lowercase().into());
            line.append(&mut said.0);
            write(&Value::from(line).to_string());
        } else if let Some(message) = said.0.get("message").and_then(Value::as_str) {
            write(&format!("mostream: {}", plain(message)));
        }
    }
}

/// The fields of an event, without secrets.
#[derive(Default)]
struct Said(Map<String, Value>);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // How a source is comes as JSON.
        let object = (field.name() == "status").then(|| serde_json::from_str(value).ok()).flatten();
        self.0.insert(field.name().to_owned(), without_secrets(object.unwrap_or_else(|| value.into())));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

fn without_secrets(value: Value) -> Value {
    match value {
        Value::String(text) => redact(&text).into(),
        Value::Array(values) => values.into_iter().map(without_secrets).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, without_secrets(value))).collect(),
        other => other,
    }
}

/// One line, which moves no cursor, whatever a file is called.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => write!(shown, "{}", c.escape_default()).unwrap_or_default(),
            false => shown.push(c),
        }
    }
    shown
}
