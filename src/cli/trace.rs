//! `run --trace FILE`: what every thread did when, as a trace that Perfetto and `chrome://tracing` open (the Trace Event Format's JSON).
//!
//! Spans of [`TRACE`] are a thread's work, with the source and the frame it was for; an event of it with `latency_us` is a frame's whole
//! way, from its arrival to its record, beside them.

use super::log::Said;
use mostream::engine::TRACE;
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, callsite};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Where it goes, and when it began; none where nobody asked for it.
static FILE: OnceLock<Trace> = OnceLock::new();
/// Numbers of threads, from 1.
static THREADS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread's number; 0 as long as it has none.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

struct Trace {
    began: Instant,
    /// None once writing to it has failed, or it is whole.
    out: Mutex<Option<BufWriter<File>>>,
}

/// From now on spans are written to this file, which is replaced.
pub fn begin(path: &Path) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    // An array that is not closed is whole as well, by the format.
    writeln!(out, "[")?;
    FILE.set(Trace { began: Instant::now(), out: Mutex::new(Some(out)) }).ok();
    // Who was told before that nobody listens asks again.
    callsite::rebuild_interest_cache();
    Ok(())
}

/// What is written is whole; why it is not.
pub fn finish() -> io::Result<()> {
    let Some(trace) = FILE.get() else { return Ok(()) };
    let Some(mut out) = trace.out().take() else {
        return Err(io::Error::other("it could not be written to its end"));
    };
    writeln!(out, "{}]", json!({ "name": "process_name", "ph": "M", "pid": 1, "args": { "name": "mostream" } }))?;
    out.flush()
}

impl Trace {
    fn out(&self) -> MutexGuard<'_, Option<BufWriter<File>>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds.
    fn at(&self, instant: Instant) -> f64 {
        instant.saturating_duration_since(self.began).as_nanos() as f64 / 1e3
    }

    fn write(&self, events: &[Value]) {
        let mut out = self.out();
        let written = out.as_mut().map(|out| events.iter().try_for_each(|event| writeln!(out, "{event},")));
        if matches!(written, Some(Err(_))) {
            *out = None;
        }
    }

    /// The number of this thread, whose name is written before its first event.
    fn thread(&self) -> u64 {
        THREAD.with(|thread| {
            if thread.get() == 0 {
                thread.set(1 + THREADS.fetch_add(1, Ordering::Relaxed));
                let name = std::thread::current().name().unwrap_or("thread").to_owned();
                let number = thread.get();
                self.write(&[
                    json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": number, "args": { "name": name } }),
                ]);
            }
            thread.get()
        })
    }
}

/// What spans are about, and when they were begun.
struct Work {
    fields: Map<String, Value>,
    since: Option<Instant>,
}

pub struct Spans;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if FILE.get().is_some() { LevelFilter::TRACE } else { LevelFilter::OFF })
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match metadata.target() == TRACE && FILE.get().is_none() {
            true => Interest::never(),
            false => Interest::always(),
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| span.metadata().target() == TRACE) else { return };
        let mut fields = Said::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(Work { fields: fields.0, since: None });
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(work) = span.extensions_mut().get_mut::<Work>() {
            work.since = Some(Instant::now());
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let (Some(span), Some(trace)) = (context.span(id), FILE.get()) else { return };
        let mut extensions = span.extensions_mut();
        let Some(work) = extensions.get_mut::<Work>() else { return };
        let Some(since) = work.since.take() else { return };
        let took = since.elapsed().as_nanos() as f64 / 1e3;
        let tid = trace.thread();
        trace.write(&[json!({
            "name": span.name(), "cat": "work", "ph": "X", "pid": 1, "tid": tid, "ts": trace.at(since), "dur": took, "args": work.fields,
        })]);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(trace) = FILE.get().filter(|_| event.metadata().target() == TRACE) else { return };
        let mut fields = Said::default();
        event.record(&mut fields);
        let Some(latency) = fields.0.remove("latency_us").and_then(|latency| latency.as_u64()) else { return };
        let end = trace.at(Instant::now());
        let words = |name: &str| fields.0.get(name).map_or(String::new(), |value| value.to_string());
        let id = format!("{} {}", words("source"), words("frame"));
        let of = |phase: &str, ts: f64| json!({ "name": "frame", "cat": "frame", "ph": phase, "id": id, "pid": 1, "ts": ts, "args": fields.0 });
        trace.write(&[of("b", end - latency as f64), of("e", end)]);
    }
}
