//! A sink's thread: what comes for it, what it has written, and what becomes of it when it fails. Of a file every failure is the end: what is
//! half there is of no use. Of a live source a disk may be full for a while, or a receiver away: the sink is tried again, and what could not
//! be written meanwhile is counted.

use super::TRACE;
use super::outbox::Parcel;
use super::outputs::OutputStatus;
use super::retry::Retry;
use super::sink::{Ending, Message, Sink, SinkError};
use super::status::SourceStatus;
use super::task::Fault;
use crate::fault::OfKind;
use crossbeam_channel::Receiver;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{error, trace_span, warn};

/// The pause before the second try, doubled before each further one, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What was taken for this long is written: a pipeline takes a picture before it knows.
const PROBATION: Duration = Duration::from_secs(2);
/// How often it is asked for the bytes it has written.
const LOOK: Duration = Duration::from_secs(1);

/// What went wrong at the sinks of one source.
pub(super) type Faults = Mutex<Vec<Fault>>;

pub(super) struct Drain {
    pub sink: Box<dyn Sink>,
    pub parcels: Receiver<Parcel>,
    pub faults: Arc<Faults>,
    /// Known when there are no more parcels.
    pub ending: Arc<Mutex<Ending>>,
    /// Set when it fails; none where it is tried again.
    pub breaks: Option<Arc<AtomicBool>>,
    pub source: Arc<SourceStatus>,
}

/// Of a sink that failed, until it writes again.
struct Trouble {
    error: SinkError,
    retry: Retry,
    next: Instant,
    unwritten: u64,
    /// Since when it takes again what comes.
    good_since: Option<Instant>,
}

impl Drain {
    pub fn run(mut self) {
        let status = self.source.output(self.sink.name());
        let finished = match self.take_all(&status) {
            Ok(()) => {
                let ending = *self.ending.lock().unwrap_or_else(PoisonError::into_inner);
                self.sink.finish(ending)
            }
            // What it has begun ends now, not when the source does.
            Err(error) => {
                self.sink.finish(Ending::Failed).ok();
                Err(error)
            }
        };
        if let Err(error) = finished {
            self.breaks.iter().for_each(|breaks| breaks.store(true, Ordering::Relaxed));
            if !error.is_end() {
                error!(source = self.source.name, fault = error.kind().name(), "{error}");
            }
            self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(Fault::Sink(error));
        }
        // What comes for a sink that has failed takes up no room.
        self.parcels.iter().for_each(drop);
    }

    /// Until there is no more, or it fails for good.
    fn take_all(&mut self, status: &OutputStatus) -> Result<(), SinkError> {
        let (mut trouble, mut looked) = (None::<Trouble>, None::<Instant>);
        for parcel in &self.parcels {
            parcel.missed.iter().for_each(|missed| self.sink.missed(missed));
            let waits = trouble.as_ref().is_some_and(|trouble| Instant::now() < trouble.next);
            let span = trace_span!(target: TRACE, "write", source = self.source.name, to = self.sink.name());
            match (!waits).then(|| span.in_scope(|| self.sink.take(&parcel.message))) {
                Some(Ok(())) => {
                    if looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                        looked = Some(Instant::now());
                        status.wrote(self.sink.written_bytes());
                    }
                    if trouble.as_mut().is_some_and(Trouble::is_over)
                        && let Some(trouble) = trouble.take()
                    {
                        status.recovered();
                        trouble.tell_end(&self.source.name, &self.sink.name());
                    }
                    continue;
                }
                Some(Err(error)) if self.breaks.is_some() || error.is_end() => return Err(error),
                Some(Err(error)) => {
                    status.failed(error.to_string());
                    trouble = Some(Trouble::again(trouble.take(), error, &self.source.name));
                }
                None => {}
            }
            if let (Message::Frame { .. }, Some(trouble)) = (&parcel.message, &mut trouble) {
                trouble.unwritten += 1;
                status.unwritten();
            }
        }
        status.wrote(self.sink.written_bytes());
        trouble.iter().for_each(|trouble| trouble.tell_end(&self.source.name, &self.sink.name()));
        trouble.filter(|trouble| trouble.good_since.is_none()).map_or(Ok(()), |trouble| Err(trouble.error))
    }
}

impl Trouble {
    /// The first failure is told, and then how long it lasts.
    fn again(before: Option<Self>, error: SinkError, source: &str) -> Self {
        let now = Instant::now();
        let fault = error.kind().name();
        let Some(Self { mut retry, unwritten, .. }) = before else {
            error!(source, fault, "{error}; it is tried again");
            let retry = Retry::new(PAUSE);
            return Self { error, retry, next: now + PAUSE, unwritten: 0, good_since: None };
        };
        if let Some(so_far) = retry.again(LONGEST_PAUSE) {
            error!(source, fault, "{error}; still so after {so_far}, {unwritten} frames are missing");
        }
        let next = now + retry.pause();
        Self { error, retry, next, unwritten, good_since: None }
    }

    /// What it has cost, when it is over, or the source is.
    fn tell_end(&self, source: &str, name: &str) {
        let (after, frames) = (self.retry.lasted(), self.unwritten);
        let what = if self.good_since.is_some() {
            "written again"
        } else {
            "the source has ended and it is not written again"
        };
        warn!(source, "{name}: {what} after {after}, {frames} frames are missing");
    }

    /// It took something: whether it has for long enough.
    fn is_over(&mut self) -> bool {
        self.good_since.get_or_insert_with(Instant::now).elapsed() >= PROBATION
    }
}
