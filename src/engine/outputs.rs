//! How the outputs of a source are doing, for whoever asks.

use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// One place that the frames of a source go to.
pub struct OutputStatus {
    name: String,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    written_bytes: Option<u64>,
    last_write: Option<SystemTime>,
    errors: u64,
    unwritten: u64,
    failing: Option<String>,
}

/// What is known of an output at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct OutputSnapshot {
    pub name: String,
    /// So far in this run.
    pub written_bytes: u64,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_write: Option<f64>,
    pub write_errors: u64,
    /// Frames that could not be written.
    pub unwritten: u64,
    /// Why nothing can be written at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
}

impl OutputStatus {
    pub fn new(name: String) -> Self {
        Self { name, now: Mutex::default() }
    }

    /// It took something; it has written so many bytes so far, where it counts them.
    pub(super) fn wrote(&self, bytes: Option<u64>) {
        self.with(|now| {
            if bytes > now.written_bytes {
                now.last_write = Some(SystemTime::now());
            }
            now.written_bytes = bytes;
        });
    }

    pub(super) fn failed(&self, why: String) {
        self.with(|now| {
            now.errors += 1;
            now.failing = Some(why);
        });
    }

    pub(super) fn recovered(&self) {
        self.with(|now| now.failing = None);
    }

    /// A frame could not be written.
    pub(super) fn unwritten(&self) {
        self.with(|now| now.unwritten += 1);
    }

    /// None of what writes nothing, such as the page, as long as it does not fail.
    pub(super) fn snapshot(&self) -> Option<OutputSnapshot> {
        self.with(|now| {
            let is_told = now.written_bytes.is_some() || now.failing.is_some();
            is_told.then(|| OutputSnapshot {
                name: self.name.clone(),
                written_bytes: now.written_bytes.unwrap_or_default(),
                last_write: now.last_write.map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()),
                write_errors: now.errors,
                unwritten: now.unwritten,
                failing: now.failing.clone(),
            })
        })
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Now) -> T) -> T {
        use_it(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
