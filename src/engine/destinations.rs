//! How every receiver of messages is doing, for whoever asks.

use super::histogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One receiver.
pub struct DestinationStatus {
    pub name: String,
    /// Where it is, without secrets.
    pub to: String,
    /// Bytes that may wait for it.
    spool_size: u64,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    state: DestinationState,
    since: Option<SystemTime>,
    error: Option<String>,
    sent: u64,
    acknowledged: u64,
    errors: u64,
    waits: Histogram,
    waiting: Waiting,
}

/// What waits, and what was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub messages: u64,
    /// On disk.
    pub bytes: u64,
    /// When the first of them was put there.
    pub oldest: Option<SystemTime>,
    /// By cause: bound, age, disk, busy, refused, damaged.
    pub lost: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DestinationState {
    /// Nothing was sent yet.
    #[default]
    Idle,
    /// What was sent last was acknowledged.
    Delivering,
    /// What was sent last was not: it is tried again.
    Failing,
}

/// What is known of a receiver at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct DestinationSnapshot {
    pub name: String,
    pub to: String,
    pub state: DestinationState,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_since: Option<f64>,
    pub waiting: u64,
    pub waiting_bytes: u64,
    /// So many may.
    pub spool_size: u64,
    /// For how long the first of them has, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_age: Option<f64>,
    /// Messages handed over, repeats included.
    pub sent: u64,
    pub acknowledged: u64,
    pub lost: BTreeMap<&'static str, u64>,
    pub errors: u64,
    /// The last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// From when a message was put down until it was acknowledged.
    #[serde(skip)]
    pub waits: Histogram,
}

impl DestinationState {
    pub const ALL: [Self; 3] = [Self::Idle, Self::Delivering, Self::Failing];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Delivering => "delivering",
            Self::Failing => "failing",
        }
    }
}

impl DestinationStatus {
    pub fn new(name: String, to: String, spool_size: u64) -> Self {
        Self { name, to, spool_size, now: Mutex::default() }
    }

    /// So many were handed over.
    pub fn sent(&self, messages: u64) {
        self.with(|now| now.sent += messages);
    }

    /// One was acknowledged, so long after it was put down.
    pub fn acknowledged(&self, wait: Duration) {
        self.with(|now| {
            now.acknowledged += 1;
            now.waits.add(wait);
        });
    }

    /// All that was handed over has arrived.
    pub fn delivers(&self) {
        self.with(|now| now.enter(DestinationState::Delivering));
    }

    /// It does not take what it is given, for this reason.
    pub fn failed(&self, why: String) {
        self.with(|now| {
            now.enter(DestinationState::Failing);
            now.errors += 1;
            now.error = Some(why);
        });
    }

    /// Something could not be kept or sent, for this reason, and the rest goes on.
    pub fn erred(&self, why: String) {
        self.with(|now| {
            now.errors += 1;
            now.error = Some(why);
        });
    }

    pub fn waits(&self, waiting: Waiting) {
        self.with(|now| now.waiting = waiting);
    }

    pub fn snapshot(&self) -> DestinationSnapshot {
        let now = SystemTime::now();
        self.with(|at| DestinationSnapshot {
            name: self.name.clone(),
            to: self.to.clone(),
            state: at.state,
            state_since: at.since.map(|since| since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()),
            waiting: at.waiting.messages,
            waiting_bytes: at.waiting.bytes,
            spool_size: self.spool_size,
            oldest_age: at.waiting.oldest.map(|then| now.duration_since(then).unwrap_or_default().as_secs_f64()),
            sent: at.sent,
            acknowledged: at.acknowledged,
            lost: at.waiting.lost.clone(),
            errors: at.errors,
            last_error: at.error.clone(),
            waits: at.waits,
        })
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Now) -> T) -> T {
        use_it(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Now {
    fn enter(&mut self, state: DestinationState) {
        if self.state != state {
            (self.state, self.since) = (state, Some(SystemTime::now()));
        }
    }
}
