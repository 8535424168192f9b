//! The live page, metrics, records and events, over HTTP.
//!
//! ```text
//! engine ─► one sink per source ─► newest picture ─► JPEG, when somebody asks ─► /sources/N/picture.jpg, stream.mjpg
//!                               ├► objects of each second ───────────────────┐
//!                               └► records, to whoever follows ─► /records   ├► /sources, /metrics, /readyz
//! status board ──────────────────────────────────────────────────────────────┘
//! Events, which the run implements ─► /events, /events.json, /events/N.jpg
//! POST, PUT, DELETE ─► guard: host, origin, token ─► body ─► Control, which the run implements
//! ```
//!
//! One thread serves, pictures are encoded and changes made on others, and the engine waits for none of them: a sink swaps the newest
//! picture and goes. Every request is hostile: what is read, kept and waited for has a limit ([`Options`]).

mod answer;
mod change;
mod content;
mod events;
mod exposition;
mod guard;
mod machine;
mod metrics;
mod room;
mod source;

pub use change::{Control, Refusal};
pub use events::Events;

use crate::engine::sink::Sink;
use crate::engine::status::{Board, SourceStatus};
use crate::fault::{Kind, OfKind};
use crate::stream::StreamError;
use crate::stream::jpeg::JpegEncoder;
use answer::Site;
use events::Kept;
use guard::Guard;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use room::Guest;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_io_timeout::TimeoutStream;

/// Bytes of a request's line and headers.
const REQUEST_BYTES: usize = 16 * 1024;
const REQUEST_HEADERS: usize = 64;

/// Limits.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Connections at a time; for one more another is closed.
    pub connections: usize,
    /// Of these, how many may follow records or a picture stream.
    pub streams: usize,
    /// Within this time a request must be read, and a connection that asks nothing is closed.
    pub request_timeout: Duration,
    /// A reader that takes nothing for this long is dropped.
    pub write_timeout: Duration,
    /// A comment is sent to a follower who was sent nothing for this long.
    pub silence: Duration,
    /// The shortest time between two pictures of a source.
    pub picture_interval: Duration,
    /// Records that wait for a slow reader; older ones are dropped and counted.
    pub queued_records: usize,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error("cannot listen on {addr}: {why}; name another address or port, or end what uses it")]
    Listen { addr: SocketAddr, why: std::io::Error },
    #[error("the token of the live page is empty: name one, or none")]
    EmptyToken,
    #[error("the live page's thread does not start: {0}")]
    Thread(std::io::Error),
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl OfKind for WebError {
    fn kind(&self) -> Kind {
        match self {
            Self::Listen { .. } => Kind::Output,
            Self::EmptyToken => Kind::Usage,
            Self::Thread(_) => Kind::Internal,
            Self::Stream(error) => error.kind(),
        }
    }
}

/// Serves until it is dropped.
pub struct Server {
    addr: SocketAddr,
    site: Arc<Site>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 128,
            streams: 64,
            request_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(15),
            silence: Duration::from_secs(10),
            picture_interval: Duration::from_millis(80),
            queued_records: 256,
        }
    }
}

impl Server {
    /// Listens, and shows the sources of the board that have a sink here.
    ///
    /// On a loopback address only requests to a loopback name are answered. With a token every request but those for `/healthz`
    /// must know it.
    pub fn start(
        addr: SocketAddr,
        board: Arc<Board>,
        token: Option<String>,
        options: Options,
    ) -> Result<Self, WebError> {
        JpegEncoder::check()?;
        if token.as_ref().is_some_and(|token| token.trim().is_empty()) {
            return Err(WebError::EmptyToken);
        }
        let listen = |why| WebError::Listen { addr, why };
        let listener = TcpListener::bind(addr).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let site = Arc::new(Site::new(board, Guard::new(addr, token.as_deref()), options));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // A picture, a change and events.
            .max_blocking_threads(3)
            .thread_name("web-work")
            .build()
            .map_err(WebError::Thread)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(listen)?
        };
        let (stop, stopped) = oneshot::channel();
        let shared = site.clone();
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = serve(listener, shared) => {}
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(2));
        };
        let thread = thread::Builder::new().name("web".into()).spawn(work).map_err(WebError::Thread)?;
        Ok(Self { addr, site, stop: Some(stop), thread: Some(thread) })
    }

    /// The sink of one of the board's sources.
    pub fn sink(&self, status: &SourceStatus) -> Box<dyn Sink> {
        self.site.sink(status)
    }

    /// Changes are made from now on, by whoever knows the page's token, or `token` where the page has none.
    pub fn obey(&self, control: Box<dyn Control>, token: Option<&str>) {
        token.into_iter().for_each(|token| self.site.guard.learn(token));
        *self.site.control.lock().unwrap_or_else(PoisonError::into_inner) = Some(control);
    }

    /// Shows what happened from now on.
    pub fn tell(&self, events: Arc<dyn Events>) {
        self.site.kept.set(Kept::new(events)).ok();
    }

    /// No change is made any more; waits for one that is being made.
    pub fn obey_no_more(&self) {
        *self.site.control.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Where it listens: with the port it got, where 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn serve(listener: tokio::net::TcpListener, site: Arc<Site>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file descriptors: there will be some again.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (guest, left) = site.room.enter(peer.ip());
        let site = site.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = left => {}
                () = connection(stream, site, Arc::new(guest)) => {}
            }
        });
    }
}

async fn connection(stream: tokio::net::TcpStream, site: Arc<Site>, guest: Arc<Guest>) {
    stream.set_nodelay(true).ok();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(site.options.write_timeout));
    let timeout = site.options.request_timeout;
    let answer = service_fn(move |request| {
        let (site, guest) = (site.clone(), guest.clone());
        guest.asks();
        async move { Ok::<_, Infallible>(site.answer(request, &guest).await) }
    });
    // A fault of one connection is the affair of who is at its other end.
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(REQUEST_BYTES)
        .max_headers(REQUEST_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), answer)
        .await
        .ok();
}
