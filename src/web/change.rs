//! Changes of what runs, asked for over HTTP. Who asks is taken for a page of another site until it is shown that he is not.

use super::answer::{Answer, JSON, Site, answer, with};
use crate::engine::status::LaneId;
use crate::fault::Kind;
use crate::stream::redact;
use hyper::body::{Body, Bytes};
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};

/// Of a request's body.
const MOST_BYTES: u64 = 64 * 1024;
/// Of a value that is told back.
const MOST_CHARS: usize = 200;

/// What changes a run. A change may take as long as a camera does, and one is made at a time.
pub trait Control: Send {
    /// Adds the source that this table says, and tells what it became.
    fn add(&self, source: Map<String, Value>) -> Result<Value, Refusal>;
    /// Ends a source, and tells how it went; none where it is not there.
    fn remove(&self, id: LaneId) -> Option<Value>;
    /// Has a source rest, or go on, and tells which; none where it is not there.
    fn pause(&self, id: LaneId, is_paused: bool) -> Option<Value>;
    /// Parts a source's picture anew, as these tables of a config say, and tells where that is kept; none where it is not there.
    fn set_regions(&self, id: LaneId, regions: Map<String, Value>) -> Result<Option<Value>, Refusal>;
    /// Reads the file of the run again, and tells what has changed.
    fn reload(&self) -> Result<Value, Refusal>;
}

/// Why a change is not made; nothing has changed.
#[derive(Debug, Serialize)]
pub struct Refusal {
    /// A key, a header, a file with its line.
    pub place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// With what to do.
    #[serde(rename = "error")]
    pub why: String,
    #[serde(rename = "fault")]
    kind: Kind,
}

impl Refusal {
    pub fn new(place: impl Into<String>, value: Option<&str>, why: impl Into<String>) -> Self {
        let value = value.map(|value| redact(value).chars().take(MOST_CHARS).collect());
        Self { place: place.into(), value, why: redact(&why.into()), kind: Kind::Usage }
    }

    /// The same, where what is wrong is not what was asked.
    pub fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    fn with(self, status: StatusCode) -> Answer {
        answer(status, JSON, json!(self).to_string())
    }
}

/// The status that says of which kind a refusal is.
fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Usage => StatusCode::BAD_REQUEST,
        Kind::Input => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Output | Kind::Model | Kind::Missing | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

enum Change {
    Add,
    Remove(LaneId),
    Pause(LaneId, bool),
    Regions(LaneId),
    Reload,
}

/// How a path may be asked for.
pub fn methods(path: &str) -> &'static str {
    match Vec::from_iter(path.split('/').skip(1))[..] {
        ["sources"] => "GET, HEAD, POST",
        ["sources", _, "regions"] => "GET, HEAD, PUT",
        ["sources", _, "pause" | "resume"] | ["reload"] => "POST",
        ["sources", _] => "DELETE",
        _ => "GET, HEAD",
    }
}

/// Another method than those.
pub fn not_so(method: &Method, path: &str) -> Answer {
    let why = format!("{path} is asked for by {}", methods(path));
    let refused = Refusal::new("method", Some(method.as_str()), why).with(StatusCode::METHOD_NOT_ALLOWED);
    with(refused, header::ALLOW, methods(path).into())
}

impl Site {
    /// Answers a request that is to change something.
    pub async fn change<B: Body<Data = Bytes> + Unpin>(self: &Arc<Self>, request: Request<B>) -> Answer {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if !self.guard.is_for_us(&head.headers) {
            let why = "this host name is not answered: ask for localhost or 127.0.0.1";
            return Refusal::new("Host", text(&head.headers, "host"), why).with(StatusCode::MISDIRECTED_REQUEST);
        }
        if let Some(name) = self.guard.foreign(&head.headers) {
            let why = "pages of other sites change nothing: ask from this server's own page, or without a browser";
            return Refusal::new(name, text(&head.headers, name), why).with(StatusCode::FORBIDDEN);
        }
        let unknown = |number: &str| {
            let why = "there is no source of this number: /sources lists them";
            Refusal::new("source", Some(number), why).with(StatusCode::NOT_FOUND)
        };
        let segments = Vec::from_iter(path.split('/').skip(1));
        let change = match (head.method.as_str(), &segments[..]) {
            ("POST", ["sources"]) => Ok(Change::Add),
            ("POST", ["reload"]) => Ok(Change::Reload),
            ("DELETE", ["sources", number]) => number.parse().map(Change::Remove).map_err(|_| *number),
            ("POST", ["sources", number, how @ ("pause" | "resume")]) => {
                number.parse().map(|id| Change::Pause(id, *how == "pause")).map_err(|_| *number)
            }
            ("PUT", ["sources", number, "regions"]) => number.parse().map(Change::Regions).map_err(|_| *number),
            _ => return not_so(&head.method, path),
        };
        if !self.guard.may_change(&head.headers) {
            let why = "the token is missing or wrong: send Authorization: Bearer TOKEN, or open the page by the link with the token";
            let refused = Refusal::new("Authorization", None, why).with(StatusCode::UNAUTHORIZED);
            return with(refused, header::WWW_AUTHENTICATE, "Bearer".into());
        }
        let kind = text(&head.headers, "content-type");
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case(JSON) {
            let why = format!("send Content-Type: {JSON}, also where there is no body");
            return Refusal::new("Content-Type", kind, why).with(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let body = match tokio::time::timeout(self.options.request_timeout, whole(body)).await {
            Ok(Ok(body)) => body,
            Ok(Err((status, why))) => return Refusal::new("body", None, why).with(status),
            Err(_) => return Refusal::new("body", None, "it did not come in time").with(StatusCode::REQUEST_TIMEOUT),
        };
        let no_object = |such: &str, error: serde_json::Error| {
            let why = format!("it is no JSON object such as {such}: {error}");
            Refusal::new("body", None, why).with(StatusCode::BAD_REQUEST)
        };
        match change {
            Ok(Change::Add) => match serde_json::from_slice(&body) {
                Ok(table) => self.made(StatusCode::CREATED, move |control| control.add(table)).await,
                Err(error) => no_object(r#"{"input": "rtsp://10.0.0.7/stream"}"#, error),
            },
            Ok(Change::Reload) => self.made(StatusCode::OK, |control| control.reload()).await,
            Ok(Change::Remove(id) | Change::Pause(id, _) | Change::Regions(id)) if self.board.get(id).is_none() => {
                unknown(segments[1])
            }
            Ok(Change::Remove(id)) => {
                self.made(StatusCode::OK, move |control| control.remove(id).ok_or_else(gone)).await
            }
            Ok(Change::Pause(id, is)) => {
                self.made(StatusCode::OK, move |control| control.pause(id, is).ok_or_else(gone)).await
            }
            Ok(Change::Regions(id)) => match serde_json::from_slice(&body) {
                Ok(table) => {
                    let set = move |control: &dyn Control| control.set_regions(id, table)?.ok_or_else(gone);
                    self.made(StatusCode::OK, set).await
                }
                Err(error) => no_object(r#"{"mask": [{"polygon": [[0, 0], [0.2, 0], [0.2, 0.3]]}]}"#, error),
            },
            Err(number) => unknown(number),
        }
    }

    /// Makes a change when those before it are made.
    async fn made(
        self: &Arc<Self>,
        status: StatusCode,
        change: impl FnOnce(&dyn Control) -> Result<Value, Refusal> + Send + 'static,
    ) -> Answer {
        let turn = self.changing.clone().acquire_owned().await;
        let site = self.clone();
        let work = move || {
            let _turn = turn;
            let control = site.control.lock().unwrap_or_else(PoisonError::into_inner);
            control.as_deref().map(change)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Some(Ok(told))) => answer(status, JSON, told.to_string()),
            Ok(Some(Err(refusal))) => {
                let status = status_of(refusal.kind);
                refusal.with(status)
            }
            Ok(None) | Err(_) => Refusal::new("run", None, "nothing can be changed any more: it ends")
                .with(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

fn gone() -> Refusal {
    Refusal::new("source", None, "it has gone meanwhile: /sources lists those that are there")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// All of a body; one that is too large is not read to its end.
async fn whole<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Result<Vec<u8>, (StatusCode, String)> {
    let mut bytes = Vec::new();
    let mut next = body.size_hint().lower();
    loop {
        if bytes.len() as u64 + next > MOST_BYTES {
            let why = format!("it is longer than {MOST_BYTES} bytes: change less at a time");
            return Err((StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => return Err((StatusCode::BAD_REQUEST, "it broke off: send it again".into())),
            None => return Ok(bytes),
        }
        next = 0;
    }
}
