//! The log: the program's one subscriber to what is told anywhere in it. Lines on stderr, as text or as JSON, from which every secret is
//! taken here; that nobody reads them any more is no reason to end, or to wait: a thread writes them, and those that find no room are counted.

use super::trace;
use indicatif::{ProgressBar, WeakProgressBar};
use mostream::stream::redact;
use serde_json::{Map, Value};
use std::fmt::{Debug, Write as _};
use std::io::{IsTerminal, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

static IS_JSON: AtomicBool = AtomicBool::new(false);
/// The finest that is told; who sets it first is heard: the command line, before a file.
static FINEST: OnceLock<Level> = OnceLock::new();
/// What is drawn where the lines go.
static BAR: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// Lines that wait for who reads them.
const LINES: usize = 1024;
/// How long the end of the program waits for them.
const PATIENCE: Duration = Duration::from_secs(1);

/// To the thread that writes; none where there is none.
static TO_WRITER: OnceLock<SyncSender<String>> = OnceLock::new();
/// Lines that wait for that thread, and that found no room.
static WAITING: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);

/// From now on what is told is written.
pub fn begin() {
    let (to_writer, lines) = sync_channel(LINES);
    if std::thread::Builder::new().name("log".into()).spawn(move || write_all(&lines)).is_ok() {
        TO_WRITER.set(to_writer).ok();
    }
    // There is none before.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Log).with(trace::Spans)).ok();
}

/// How much is told, of every command.
#[derive(Clone, Copy, clap::Args)]
pub struct Volume {
    /// Say nothing but results, warnings and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say also how the work was done: rates, devices, what was copied
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
}

impl Volume {
    /// Holds from now on, unless something else was asked for before.
    pub fn set(self) {
        if self.quiet || self.verbose {
            FINEST.set(if self.quiet { Level::WARN } else { Level::DEBUG }).ok();
        }
    }
}

fn finest() -> Level {
    FINEST.get().copied().unwrap_or(Level::INFO)
}

pub fn is_quiet() -> bool {
    finest() < Level::INFO
}

pub fn is_verbose() -> bool {
    finest() > Level::INFO
}

/// Writes an object per line.
pub fn write_json(is_json: bool) {
    IS_JSON.store(is_json, Ordering::Relaxed);
}

/// Whether somebody reads it at a terminal.
pub fn has_terminal() -> bool {
    !is_quiet() && !IS_JSON.load(Ordering::Relaxed) && std::io::stderr().is_terminal()
}

/// What is for a person alone, as what holds a secret is: only a terminal shows it, which keeps nothing.
pub fn whisper(line: &str) {
    if has_terminal() {
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

/// Before the program ends: what was told is written, where somebody takes it.
pub fn finish() {
    let since = Instant::now();
    while WAITING.load(Ordering::Acquire) > 0 && since.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn write(line: &str) {
    let Some(to_writer) = TO_WRITER.get() else { return put(line) };
    WAITING.fetch_add(1, Ordering::AcqRel);
    if to_writer.try_send(line.to_owned()).is_err() {
        WAITING.fetch_sub(1, Ordering::AcqRel);
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// The thread's work.
fn write_all(lines: &Receiver<String>) {
    for line in lines {
        let lost = LOST.swap(0, Ordering::Relaxed);
        if lost > 0 {
            put(&formed(
                Level::WARN,
                Map::from_iter([("message".into(), format!("{lost} lines found no reader").into())]),
            ));
        }
        put(&line);
        WAITING.fetch_sub(1, Ordering::AcqRel);
    }
}

fn put(line: &str) {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(WeakProgressBar::upgrade);
    let put = || drop(std::io::stderr().lock().write_all(format!("{line}\n").as_bytes()));
    match bar.filter(|bar| !bar.is_finished()) {
        Some(bar) => bar.suspend(put),
        None => put(),
    }
}

/// The line of an event with these fields, of which one is its message.
fn formed(level: Level, mut fields: Map<String, Value>) -> String {
    if IS_JSON.load(Ordering::Relaxed) {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let mut line = Map::from_iter([("time".to_owned(), Value::from(time))]);
        line.insert("level".into(), level.as_str().to_ascii_lowercase().into());
        line.append(&mut fields);
        return Value::from(line).to_string();
    }
    let message = fields.get("message").and_then(Value::as_str).unwrap_or_default();
    format!("mostream: {}", plain(message))
}

struct Log;

impl<S: Subscriber> Layer<S> for Log {
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > finest() || !event.metadata().target().starts_with("mostream") {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        write(&formed(level, said.0));
    }
}

/// The fields of an event or a span, without secrets.
#[derive(Default)]
pub struct Said(pub Map<String, Value>);

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
        // Or turns what comes after it round.
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c.is_control() || turns {
            true => write!(shown, "{}", c.escape_default()).unwrap_or_default(),
            false => shown.push(c),
        }
    }
    shown
}
