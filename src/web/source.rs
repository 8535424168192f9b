//! One source as its viewers see it, and the sink that keeps it new.

use crate::engine::sink::{Message, Picture, Sink, SinkError, Wish, wish_while};
use crate::record::{EndRecord, FrameRecord, StateRecord};
use crate::stream::jpeg::JpegEncoder;
use crate::stream::redact;
use hyper::body::Bytes;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// The timeline's length, in seconds.
const TIMELINE: u64 = 300;
/// Encoding takes at most one part in this many of the time.
const ENCODING_SHARE: u32 = 4;
/// Who has asked for a picture within this time is watching.
const WATCHING: Duration = Duration::from_secs(2);

/// Of one source: what was last seen there.
pub struct Source {
    interval: Duration,
    started: Instant,
    newest: Mutex<Option<(Picture, Arc<FrameRecord>)>>,
    /// When a picture was last asked for.
    asked: Mutex<Option<Instant>>,
    /// The most objects of any frame of a second of the run, oldest first; none for seconds without a frame.
    timeline: Mutex<VecDeque<(u64, usize)>>,
    jpeg: Arc<tokio::sync::Mutex<Jpeg>>,
}

/// An encoded picture and the frame it is of.
#[derive(Clone)]
pub struct Shown {
    pub jpeg: Bytes,
    pub record: Arc<FrameRecord>,
}

#[derive(Default)]
struct Jpeg {
    encoder: JpegEncoder,
    last: Option<Shown>,
    /// None is encoded before.
    next: Option<Instant>,
}

/// A record as an event of `/records`, and the name of its source.
#[derive(Clone)]
pub struct Told {
    pub source: Arc<str>,
    pub event: Bytes,
}

/// Keeps a source new.
pub struct WebSink {
    pub name: Arc<str>,
    pub source: Arc<Source>,
    pub records: broadcast::Sender<Told>,
}

impl Source {
    pub fn new(interval: Duration, started: Instant) -> Self {
        Self {
            interval,
            started,
            newest: Mutex::default(),
            asked: Mutex::default(),
            timeline: Mutex::default(),
            jpeg: Arc::default(),
        }
    }

    fn is_watched(&self) -> bool {
        locked(&self.asked).is_some_and(|asked| asked.elapsed() < WATCHING)
    }

    /// The newest picture, encoded now or, where that was too short a time ago, then; none before the first.
    pub async fn picture(self: &Arc<Self>) -> Result<Option<Shown>, String> {
        *locked(&self.asked) = Some(Instant::now());
        let mut jpeg = self.jpeg.clone().lock_owned().await;
        let Some((picture, record)) = locked(&self.newest).clone() else { return Ok(None) };
        let is_early = jpeg.next.is_some_and(|next| Instant::now() < next);
        if let Some(last) = &jpeg.last
            && (is_early || Arc::ptr_eq(&last.record, &record))
        {
            return Ok(Some(last.clone()));
        }
        let interval = self.interval;
        let encode = move || {
            let begun = Instant::now();
            let result = jpeg.encoder.encode(&picture.into_frame(record.frame));
            jpeg.next = Some(begun + interval.max(begun.elapsed() * ENCODING_SHARE));
            let shown = Shown { jpeg: result.map_err(|error| error.to_string())?.into(), record };
            jpeg.last = Some(shown.clone());
            Ok(Some(shown))
        };
        tokio::task::spawn_blocking(encode).await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// The most objects in a frame of each second, the last of which is now.
    pub fn timeline(&self) -> Vec<Option<usize>> {
        let now = self.started.elapsed().as_secs();
        let mut seconds = vec![None; TIMELINE.min(now + 1) as usize];
        let first = now + 1 - seconds.len() as u64;
        for (second, objects) in locked(&self.timeline).iter() {
            if let Some(place) = second.checked_sub(first).and_then(|at| seconds.get_mut(at as usize)) {
                *place = Some(*objects);
            }
        }
        seconds
    }

    fn count(&self, objects: usize) {
        let second = self.started.elapsed().as_secs();
        let mut timeline = locked(&self.timeline);
        match timeline.back_mut() {
            Some((last, most)) if *last == second => *most = objects.max(*most),
            _ => timeline.push_back((second, objects)),
        }
        while timeline.front().is_some_and(|(first, _)| first + TIMELINE < second) {
            timeline.pop_front();
        }
    }
}

impl WebSink {
    fn tell(&self, record: &impl Serialize) -> Result<(), SinkError> {
        if self.records.receiver_count() == 0 {
            return Ok(());
        }
        let json = serde_json::to_string(record)
            .map_err(|error| SinkError::Other(format!("live page: the record is not JSON: {error}")))?;
        // Nobody follows any more: that is no fault.
        self.records.send(Told { source: self.name.clone(), event: format!("data: {json}\n\n").into() }).ok();
        Ok(())
    }
}

impl Sink for WebSink {
    fn name(&self) -> String {
        "live page".into()
    }

    fn wish(&self) -> Wish {
        let source = self.source.clone();
        wish_while(move || source.is_watched())
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        match message {
            Message::Frame { record, picture } => {
                self.source.count(record.objects.len());
                if let Some(picture) = picture {
                    *locked(&self.source.newest) = Some((picture.clone(), record.clone()));
                }
                self.tell(record.as_ref())
            }
            Message::Event(_) => Ok(()),
            Message::State(state) => {
                let why = state.why.as_deref().map(redact);
                self.tell(&StateRecord { why, ..state.as_ref().clone() })
            }
            Message::End(end) => {
                let why = end.why.as_deref().map(redact);
                self.tell(&EndRecord { why, ..end.as_ref().clone() })
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
