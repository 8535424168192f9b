//! What is asked, and what is answered.

use super::change::{Control, methods, not_so};
use super::content::Content;
use super::events::Kept;
use super::guard::Guard;
use super::room::{Guest, Room};
use super::source::{Shown, Source, Told, WebSink};
use super::{Options, metrics};
use crate::engine::destinations::DestinationSnapshot;
use crate::engine::sink::Sink;
use crate::engine::status::{Board, LaneId, Snapshot, SourceStatus};
use crate::record::{FrameRecord, SourceState};
use crate::stream::redact;
use hyper::body::{Body, Bytes};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::Sender;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::Instant;

const PAGE: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");
const TIMELINE_JS: &str = include_str!("timeline.js");
const ZONES_JS: &str = include_str!("zones.js");
const DOOR: &str = include_str!("door.html");

pub const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
pub const JSON: &str = "application/json";

/// Of every answer: nothing is kept, nothing comes from elsewhere, and nothing is shown within another site's page.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Tracks that are told beside a picture.
const TRACKS: usize = 12;
const BOUNDARY: &str = "mostream-next-picture";

/// What answers are made of.
pub struct Site {
    pub options: Options,
    pub board: Arc<Board>,
    /// Of the board's.
    sources: Mutex<BTreeMap<LaneId, Arc<Source>>>,
    records: broadcast::Sender<Told>,
    pub guard: Guard,
    /// None before there are events, and where none are kept.
    pub kept: OnceLock<Kept>,
    pub room: Arc<Room>,
    /// None before the run has begun, and once it ends.
    pub control: Mutex<Option<Box<dyn Control>>>,
    /// Whose turn it is to change something.
    pub changing: Arc<Semaphore>,
}

pub type Answer = Response<Content>;

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    snapshot: Snapshot,
    /// The most objects in a frame of each of the last seconds, the current one last; null where no frame came.
    objects_each_second: Vec<Option<usize>>,
}

impl Site {
    pub fn new(board: Arc<Board>, guard: Guard, options: Options) -> Self {
        Self {
            options,
            sources: Mutex::default(),
            records: broadcast::Sender::new(options.queued_records),
            guard,
            kept: OnceLock::new(),
            room: Room::new(options.connections, options.streams),
            control: Mutex::default(),
            changing: Arc::new(Semaphore::new(1)),
            board,
        }
    }

    /// The sink of one of the board's sources. What it shows goes with the source.
    pub fn sink(&self, status: &SourceStatus) -> Box<dyn Sink> {
        let source = Arc::new(Source::new(self.options.picture_interval, self.board.started));
        let mut sources = self.sources();
        sources.retain(|id, _| self.board.get(*id).is_some());
        sources.insert(status.id, source.clone());
        Box::new(WebSink { name: status.name.as_str().into(), source, records: self.records.clone() })
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<LaneId, Arc<Source>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is seen of a source that is there.
    pub fn source(&self, id: LaneId) -> Option<Arc<Source>> {
        self.board.get(id)?;
        self.sources().get(&id).cloned()
    }

    /// Answers one request; its body is read where it is to change something.
    pub async fn answer<B: Body<Data = Bytes> + Unpin>(
        self: &Arc<Self>,
        request: Request<B>,
        guest: &Arc<Guest>,
    ) -> Answer {
        let mut answer = match *request.method() {
            Method::GET | Method::HEAD => self.route(&request, guest).await,
            _ => self.change(request).await,
        };
        for (name, value) in HEADERS {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    async fn route<B>(self: &Arc<Self>, request: &Request<B>, guest: &Arc<Guest>) -> Answer {
        let path = request.uri().path();
        if !self.guard.is_for_us(request.headers()) {
            let why = "This host name is not answered: open the page by localhost or 127.0.0.1.\n";
            return answer(StatusCode::MISDIRECTED_REQUEST, TEXT, why);
        }
        // These hold no secret.
        match path {
            "/healthz" => return answer(StatusCode::OK, TEXT, "ok\n"),
            "/page.css" => return answer(StatusCode::OK, "text/css; charset=utf-8", CSS),
            "/page.js" => return answer(StatusCode::OK, "text/javascript; charset=utf-8", JS),
            "/timeline.js" => return answer(StatusCode::OK, "text/javascript; charset=utf-8", TIMELINE_JS),
            "/zones.js" => return answer(StatusCode::OK, "text/javascript; charset=utf-8", ZONES_JS),
            _ => {}
        }
        let asked: Vec<(Cow<str>, Cow<str>)> =
            form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).collect();
        let asked = |key: &str| asked.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_ref());
        if !self.guard.may_read(request.headers(), asked("token")) {
            let (kind, text) = if path == "/" { (HTML, DOOR) } else { (TEXT, "The token is missing or wrong.\n") };
            return with(answer(StatusCode::UNAUTHORIZED, kind, text), header::WWW_AUTHENTICATE, "Bearer".into());
        }
        let mut found = self.page(path, request, guest, &asked).await;
        if asked("token").is_some()
            && let Some(cookie) = self.guard.cookie()
        {
            if path == "/" {
                // Out of the address bar and the history.
                found = with(answer(StatusCode::SEE_OTHER, TEXT, ""), header::LOCATION, "/".into());
            }
            found = with(found, header::SET_COOKIE, cookie);
        }
        found
    }

    async fn page<'a, B>(
        self: &Arc<Self>,
        path: &str,
        request: &Request<B>,
        guest: &Arc<Guest>,
        asked: &impl Fn(&str) -> Option<&'a str>,
    ) -> Answer {
        match path {
            "/" => return answer(StatusCode::OK, HTML, PAGE),
            "/metrics" => {
                return answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::text(&self.board));
            }
            "/readyz" => return self.readiness(),
            "/sources" => return self.listing(self.guard.may_change(request.headers())),
            "/records" => return self.follow(guest, asked("source").map(str::to_owned)),
            "/events.json" => return self.events_listed(asked).await,
            "/events" => {
                let last = request.headers().get("last-event-id").map(HeaderValue::to_str);
                return match last.transpose() {
                    Ok(last) => self.events_followed(guest, last, asked).await,
                    Err(_) => answer(StatusCode::BAD_REQUEST, TEXT, "Last-Event-ID: expected a whole number\n"),
                };
            }
            _ => {}
        }
        if let Some(number) = path.strip_prefix("/events/").and_then(|name| name.strip_suffix(".jpg")) {
            return self.event_picture(number).await;
        }
        let of_source = path.strip_prefix("/sources/").and_then(|rest| rest.split_once('/'));
        let of_source = of_source.and_then(|(number, what)| Some((number.parse().ok()?, what)));
        if let Some((id, "regions")) = of_source
            && let Some(status) = self.board.get(id)
        {
            // Each number in as few digits as tell it.
            return match serde_json::to_string(&*status.regions()) {
                Ok(regions) => answer(StatusCode::OK, JSON, regions),
                Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            };
        }
        let found = of_source.and_then(|(id, what)| Some((self.source(id)?, what)));
        match found {
            Some((source, "picture.jpg" | "snapshot")) => self.picture(&source, request).await,
            Some((source, "stream.mjpg")) => self.stream(guest, source),
            _ if !methods(path).contains("GET") => not_so(request.method(), path),
            _ => answer(StatusCode::NOT_FOUND, TEXT, "There is nothing here.\n"),
        }
    }

    fn snapshots(&self) -> impl Iterator<Item = Snapshot> + use<> {
        self.board.sources().into_iter().map(|source| {
            let snapshot = source.snapshot();
            Snapshot { why: snapshot.why.as_deref().map(redact), ..snapshot }
        })
    }

    /// Who records are sent to.
    fn destinations(&self) -> Vec<DestinationSnapshot> {
        let all = self.board.destinations();
        let told = all.iter().map(|destination| destination.snapshot()).map(|snapshot| DestinationSnapshot {
            to: redact(&snapshot.to),
            last_error: snapshot.last_error.as_deref().map(redact),
            ..snapshot
        });
        told.collect()
    }

    /// Receivers that are away are told, and keep nothing from being ready: what is for them waits on disk.
    fn readiness(&self) -> Answer {
        let snapshots = Vec::from_iter(self.snapshots());
        let is_failing = |source: &Snapshot| source.outputs.iter().any(|output| output.failing.is_some());
        let is_ready =
            snapshots.iter().any(|source| source.state == SourceState::Live) && !snapshots.iter().any(is_failing);
        let of_source = |source: &Snapshot| {
            let failing = source.outputs.iter().filter_map(|output| output.failing.as_ref());
            let failing = Vec::from_iter(failing);
            json!({ "name": source.name, "state": source.state, "why": source.why, "failing_outputs": failing })
        };
        let sources: Vec<_> = snapshots.iter().map(of_source).collect();
        let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let all = json!({ "ready": is_ready, "sources": sources, "destinations": self.destinations() });
        answer(status, JSON, all.to_string())
    }

    fn listing(&self, may_change: bool) -> Answer {
        let listed = |snapshot: Snapshot| {
            let seen = self.sources().get(&snapshot.id).cloned();
            Listed { objects_each_second: seen.map_or_else(Vec::new, |source| source.timeline()), snapshot }
        };
        let sources: Vec<Listed> = self.snapshots().map(listed).collect();
        let all = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "run": self.board.run,
            // Whoever asks knows the token.
            "may_change": may_change,
            "uptime_s": self.board.started.elapsed().as_secs_f64(),
            "sources": sources,
            "destinations": self.destinations(),
        });
        answer(StatusCode::OK, JSON, all.to_string())
    }

    /// The newest picture; "not modified" where the browser has it, "no content" before the first.
    async fn picture<B>(&self, source: &Arc<Source>, request: &Request<B>) -> Answer {
        let Shown { jpeg, record } = match source.picture().await {
            Ok(Some(shown)) => shown,
            Ok(None) => return answer(StatusCode::NO_CONTENT, "image/jpeg", ""),
            Err(why) => return answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, redact(&why)),
        };
        // Another in every run, so that no browser takes a picture of the last for one of this.
        let tag = format!("\"{}-{}\"", self.board.run, record.frame);
        let is_known =
            request.headers().get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
        let found = match is_known {
            true => answer(StatusCode::NOT_MODIFIED, "image/jpeg", ""),
            false => answer(StatusCode::OK, "image/jpeg", jpeg),
        };
        let found = with(found, header::ETAG, tag);
        let found = with(found, HeaderName::from_static("x-frame"), record.frame.to_string());
        let found = with(found, HeaderName::from_static("x-pts-ns"), record.pts_ns.to_string());
        let found = with(found, HeaderName::from_static("x-objects"), record.objects.len().to_string());
        with(found, HeaderName::from_static("x-tracks"), tracks(&record))
    }

    /// Pictures, one after the other: each when the reader has taken the last.
    fn stream(self: &Arc<Self>, guest: &Arc<Guest>, source: Arc<Source>) -> Answer {
        let interval = self.options.picture_interval;
        let make = async move |parts: Sender<Bytes>| {
            let mut last = None;
            loop {
                let Ok(shown) = source.picture().await else { return };
                if let Some(Shown { jpeg, record }) = shown
                    && last != Some(record.frame)
                {
                    last = Some(record.frame);
                    let mut part = format!(
                        "--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\nX-Frame: {}\r\n\r\n",
                        jpeg.len(),
                        record.frame
                    )
                    .into_bytes();
                    part.extend_from_slice(&jpeg);
                    part.extend_from_slice(b"\r\n");
                    if parts.send(part.into()).await.is_err() {
                        return;
                    }
                }
                tokio::time::sleep(interval).await;
            }
        };
        self.live(guest, &format!("multipart/x-mixed-replace; boundary={BOUNDARY}"), make)
    }

    /// Records as they come, of the sources of this name or of all.
    fn follow(self: &Arc<Self>, guest: &Arc<Guest>, name: Option<String>) -> Answer {
        let is_there = |name: &String| self.board.sources().iter().any(|source| source.name == *name);
        if !name.as_ref().is_none_or(is_there) {
            return answer(StatusCode::NOT_FOUND, TEXT, "There is no source of this name; /sources lists them.\n");
        }
        let (mut records, silence) = (self.records.subscribe(), self.options.silence);
        let make = async move |parts: Sender<Bytes>| {
            let mut event = Bytes::from_static(b": records follow\n\n");
            while parts.send(event).await.is_ok() {
                // Of what was sent: what comes of other sources is none of it.
                let until = Instant::now() + silence;
                event = loop {
                    break match tokio::time::timeout_at(until, records.recv()).await {
                        Ok(Ok(told)) if name.as_ref().is_none_or(|name| **name == *told.source) => told.event,
                        Ok(Ok(_)) => continue,
                        Ok(Err(RecvError::Lagged(dropped))) => format!("event: dropped\ndata: {dropped}\n\n").into(),
                        Ok(Err(RecvError::Closed)) => return,
                        Err(_) => Bytes::from_static(b": still here\n\n"),
                    };
                };
            }
        };
        self.live(guest, "text/event-stream", make)
    }

    pub fn live<M: Future<Output = ()> + Send + 'static>(
        &self,
        guest: &Arc<Guest>,
        kind: &str,
        make: impl FnOnce(Sender<Bytes>) -> M,
    ) -> Answer {
        match guest.follow() {
            Some(place) => with(Response::new(Content::live(place, make)), header::CONTENT_TYPE, kind.to_owned()),
            None => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "Too many follow already; try again later.\n"),
        }
    }
}

pub fn answer(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Content::Whole(content.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// The tracks of a frame's objects as JSON, those that have been there for longest: each with the time since its first frame, in the
/// source's time.
fn tracks(record: &FrameRecord) -> String {
    let mut tracks: Vec<_> = record.objects.iter().filter_map(|object| object.track).collect();
    tracks.sort_by_key(|track| (track.first_seen_ns, track.id));
    let told = tracks.iter().take(TRACKS).map(|track| {
        let age_s = record.pts_ns.saturating_sub(track.first_seen_ns) as f64 / 1e9;
        json!({ "id": track.id, "state": track.state, "age_s": age_s })
    });
    told.collect::<serde_json::Value>().to_string()
}

/// `answer` with one more header; all values are made here and hold ASCII only.
pub fn with(mut answer: Answer, name: HeaderName, value: String) -> Answer {
    if let Ok(value) = HeaderValue::try_from(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}
