//! Annotated video for whoever asks: an RTSP server, with a path for each source.
//!
//! A source's pictures are encoded once, for all its clients, and only while there are any; who joins gets the newest as a key frame at once, also where
//! the source is gone. Pictures are handed over without waiting: what the encoder or a client has no time for is left out, and a client that reads
//! nothing is dropped by the server.
//!
//! Whoever must log in does so before anything is described. With a certificate all goes through the one encrypted connection, pictures too.

use super::encoding::{Timeline, insert_encoder, running_ns};
use super::picture_of;
use crate::engine::sink::{Ending, Message, Picture, Sink, SinkError, Wish, wish_while};
use crate::stream::{self, StreamError, launch, output};
use gst::glib;
use gst::prelude::*;
use gst_rtsp_server::gio;
use gst_rtsp_server::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as gst_rtsp_server;
use gstreamer_video as gst_video;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

const MEDIA: &str = include_str!("../../pipelines/rtsp-out.launch");
/// Clients at a time.
const MAX_SESSIONS: u32 = 64;
/// Threads that talk to clients: one that waits for a source's first picture does not keep all others waiting.
const MAX_THREADS: i32 = 4;
/// How often the sessions of clients that went away without a word are looked for.
const CLEANUP: Duration = Duration::from_secs(5);

/// The sources' paths, and what is shown there once there is a picture.
type Paths = HashMap<String, Weak<Stage>>;

/// Who may watch, and over what.
#[derive(Default)]
pub struct Access {
    /// The user name and the password that clients are asked for; none lets everybody in.
    pub login: Option<(String, String)>,
    /// What the server proves itself with, and encrypts; none serves in the clear.
    pub identity: Option<Identity>,
}

/// A certificate with its private key.
pub struct Identity(gio::TlsCertificate);

impl Identity {
    /// From PEM files, of which the first may hold those who vouch for the certificate, too.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, StreamError> {
        let fail = |why: String| StreamError::Input { input: certificate.display().to_string(), why };
        if !gio::TlsBackend::default().supports_tls() {
            return Err(fail("GLib has no TLS here; install it: apt-get install glib-networking".into()));
        }
        let read = gio::TlsCertificate::from_files(certificate, key).map_err(|error| StreamError::Input {
            input: format!("{}, {}", certificate.display(), key.display()),
            why: error.message().to_owned(),
        })?;
        // Nothing says whether they belong together but their use.
        shake_hands(&read).map_err(|error| {
            fail(format!("is {} its key? No TLS connection comes about with them: {}", key.display(), error.message()))
        })?;
        Ok(Self(read))
    }
}

/// Greets a client of its own, which trusts everybody.
fn shake_hands(certificate: &gio::TlsCertificate) -> Result<(), glib::Error> {
    let (near, far) =
        UnixStream::pair().map_err(|error| glib::Error::new(gio::IOErrorEnum::Failed, &error.to_string()))?;
    let connection =
        |end: UnixStream| gio::Socket::from_fd(end.into()).map(|end| end.connection_factory_create_connection());
    let server = gio::TlsServerConnection::new(&connection(near)?, Some(certificate))?;
    let client = gio::TlsClientConnection::new(&connection(far)?, None::<&gio::NetworkAddress>)?;
    client.connect_accept_certificate(|_, _, _| true);
    glib::MainContext::new().block_on(async {
        // A server that cannot go on hangs up.
        let serve = async move { server.handshake_future(glib::Priority::DEFAULT).await.is_ok() };
        glib::MainContext::ref_thread_default().spawn_local(serve);
        client.handshake_future(glib::Priority::DEFAULT).await
    })
}

/// The one role of who has logged in, and of everybody where nobody has to.
const VIEWER: &str = "viewer";

/// What holds for all clients; none where nobody is asked for anything and nothing is encrypted.
fn auth(access: &Access) -> Option<gst_rtsp_server::RTSPAuth> {
    if access.login.is_none() && access.identity.is_none() {
        return None;
    }
    let auth = gst_rtsp_server::RTSPAuth::new();
    auth.set_realm(Some("mostream"));
    auth.set_tls_certificate(access.identity.as_ref().map(|identity| &identity.0));
    let mut viewer = gst_rtsp_server::RTSPToken::builder().field("media.factory.role", VIEWER).build();
    match &access.login {
        Some((user, password)) => {
            use gst_rtsp_server::gst_rtsp::RTSPAuthMethod::{Basic, Digest};
            // In the clear, no password goes over the network.
            auth.set_supported_methods(if access.identity.is_some() { Basic } else { Digest });
            auth.add_basic(&gst_rtsp_server::RTSPAuth::make_basic(user, password), &viewer);
            auth.add_digest(user, password, &viewer);
        }
        None => auth.set_default_token(Some(&mut viewer)),
    }
    Some(auth)
}

/// The server. It ends with its last sink.
pub struct RtspServer {
    address: SocketAddr,
    /// All goes through the encrypted connection.
    is_secure: bool,
    encoder: &'static str,
    server: gst_rtsp_server::RTSPServer,
    paths: Arc<Mutex<Paths>>,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
}

impl RtspServer {
    /// Listens at this address; port 0 is any that is free.
    pub fn bind(address: SocketAddr, access: &Access) -> Result<Arc<Self>, StreamError> {
        let fail = |why: &dyn std::fmt::Display| StreamError::Output {
            output: format!("rtsp://{address}"),
            why: format!("the server cannot listen there: {why}"),
        };
        let encoder = launch::choose_encoder(launch::LIVE_ENCODERS)?;
        for element in ["h264parse", "rtph264pay"] {
            stream::make(element, "to serve RTSP")?;
        }
        // The server itself does not say why it cannot.
        TcpListener::bind(address).map_err(|error| fail(&error))?;
        let server = gst_rtsp_server::RTSPServer::new();
        server.set_address(&address.ip().to_string());
        server.set_service(&address.port().to_string());
        server.set_auth(auth(access).as_ref());
        let sessions = gst_rtsp_server::RTSPSessionPool::new();
        sessions.set_max_sessions(MAX_SESSIONS);
        server.set_session_pool(Some(&sessions));
        let threads = gst_rtsp_server::RTSPThreadPool::new();
        threads.set_max_threads(MAX_THREADS);
        server.set_thread_pool(Some(&threads));
        let paths: Arc<Mutex<Paths>> = Arc::default();
        let shown = paths.clone();
        server.connect_client_connected(move |_, client| {
            let shown = shown.clone();
            client.connect_play_request(move |_, request| {
                let components = request.uri().map(|uri| uri.decode_path_components()).unwrap_or_default();
                let path = format!("/{}", components.get(1).map_or("", |name| name.as_str()));
                let stage = lock(&shown).get(&path).and_then(Weak::upgrade);
                stage.into_iter().for_each(|stage| stage.now().show_again());
            });
        });
        let context = glib::MainContext::new();
        server.attach(Some(&context)).map_err(|error| fail(&error))?;
        let port = u16::try_from(server.bound_port()).map_err(|error| fail(&error))?;
        let cleanup = glib::timeout_source_new(CLEANUP, None, glib::Priority::DEFAULT, move || {
            sessions.cleanup();
            glib::ControlFlow::Continue
        });
        cleanup.attach(Some(&context));
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let own = main_loop.clone();
        let thread = Builder::new().name("rtsp".into()).spawn(move || own.run()).map_err(|error| fail(&error))?;
        Ok(Arc::new(Self {
            address: SocketAddr::new(address.ip(), port),
            is_secure: access.identity.is_some(),
            encoder,
            server,
            paths,
            main_loop,
            thread: Some(thread),
        }))
    }

    /// The sink of one more source. Its path is its name, with `-` for what does not belong into a path.
    pub fn sink(self: &Arc<Self>, name: &str) -> RtspSink {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let wanted = format!("/{}", name.chars().map(plain).collect::<String>());
        let mut paths = lock(&self.paths);
        let numbered = (2..).map(|number| format!("{wanted}-{number}"));
        let mut all = std::iter::once(wanted.clone()).chain(numbered);
        let path = all.find(|path| !paths.contains_key(path)).unwrap_or(wanted);
        paths.insert(path.clone(), Weak::new());
        RtspSink { server: self.clone(), path, is_watched: Arc::default(), stage: None }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        self.server.client_filter(Some(&mut |_, _| gst_rtsp_server::RTSPFilterResult::Remove));
        // In the loop's own thread: one that has not begun yet would not notice.
        let main_loop = self.main_loop.clone();
        let quit = glib::idle_source_new(None, glib::Priority::DEFAULT, move || {
            main_loop.quit();
            glib::ControlFlow::Break
        });
        quit.attach(Some(&self.main_loop.context()));
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Serves one source, from its first picture on.
pub struct RtspSink {
    server: Arc<RtspServer>,
    path: String,
    is_watched: Arc<AtomicBool>,
    stage: Option<Arc<Stage>>,
}

/// What the sink and the server's threads share.
struct Stage(Mutex<Now>);

struct Now {
    /// What a new client sees at once, even where the source is gone.
    last: Picture,
    /// Where pictures go while somebody watches.
    media: Option<(gst_app::AppSrc, Timeline)>,
    /// Whether there is one.
    is_watched: Arc<AtomicBool>,
}

impl RtspSink {
    /// Where clients find it.
    pub fn url(&self) -> String {
        let scheme = if self.server.is_secure { "rtsps" } else { "rtsp" };
        format!("{scheme}://{}{}", self.server.address, self.path)
    }

    fn mount(&self, picture: &Picture) -> Result<Arc<Stage>, String> {
        let caps = output::encoder_caps(&picture.info)?;
        let now = Now { last: picture.clone(), media: None, is_watched: self.is_watched.clone() };
        let stage = Arc::new(Stage(Mutex::new(now)));
        lock(&self.server.paths).insert(self.path.clone(), Arc::downgrade(&stage));
        let factory = gst_rtsp_server::RTSPMediaFactory::new();
        factory.set_launch(&launch::lines(MEDIA).collect::<Vec<_>>().join(" "));
        factory.set_shared(true);
        if self.server.is_secure {
            factory.set_protocols(gst_rtsp_server::gst_rtsp::RTSPLowerTrans::TCP);
        }
        let may =
            gst::Structure::builder(VIEWER).field("media.factory.access", true).field("media.factory.construct", true);
        factory.add_role_from_structure(&may.build());
        let (shared, encoder) = (stage.clone(), self.server.encoder);
        factory.connect_media_configure(move |_, media| {
            let bin = media.element().downcast::<gst::Bin>().map_err(|_| "no bin".to_owned());
            // Without an encoder the server tells the client that there is no service.
            if let Ok(pictures) = bin.and_then(|bin| insert_encoder(&bin, encoder)) {
                pictures.set_caps(Some(&caps));
                Stage::enter(&shared, media, pictures);
            }
        });
        let mounts = self.server.server.mount_points().ok_or("the RTSP server has no paths")?;
        mounts.add_factory(&self.path, factory);
        Ok(stage)
    }
}

impl Drop for RtspSink {
    /// The path is free again.
    fn drop(&mut self) {
        lock(&self.server.paths).remove(&self.path);
    }
}

impl Sink for RtspSink {
    fn name(&self) -> String {
        self.url()
    }

    fn wish(&self) -> Wish {
        let is_watched = self.is_watched.clone();
        wish_while(move || is_watched.load(Ordering::Relaxed))
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        let Some(picture) = picture_of(message) else { return Ok(()) };
        match &self.stage {
            Some(stage) => stage.show(picture),
            None => {
                let mounted = self.mount(picture);
                self.stage = Some(mounted.map_err(|why| SinkError::Other(format!("{}: {why}", self.url())))?);
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _ending: Ending) -> Result<(), SinkError> {
        if let Some(mounts) = self.server.server.mount_points() {
            mounts.remove_factory(&self.path);
        }
        if let Some((media, _)) = self.stage.as_ref().and_then(|stage| stage.now().media.take()) {
            media.end_of_stream().ok();
        }
        Ok(())
    }
}

impl Stage {
    fn now(&self) -> MutexGuard<'_, Now> {
        lock(&self.0)
    }

    /// The first client has come: pictures go to this media until the last one has left.
    fn enter(stage: &Arc<Self>, media: &gst_rtsp_server::RTSPMedia, pictures: gst_app::AppSrc) {
        let (shared, mut is_empty) = (stage.clone(), true);
        let first = move |_: &gst_app::AppSrc, _| {
            if std::mem::take(&mut is_empty) {
                shared.now().show_again();
            }
        };
        pictures.set_callbacks(gst_app::AppSrcCallbacks::builder().need_data(first).build());
        let (shared, own) = (stage.clone(), pictures.clone());
        media.connect_unprepared(move |_| {
            let mut now = shared.now();
            if now.media.as_ref().is_some_and(|(current, _)| *current == own) {
                now.watch(None);
            }
        });
        stage.now().watch(Some((pictures, Timeline::default())));
    }

    fn show(&self, picture: &Picture) {
        let mut now = self.now();
        now.last = picture.clone();
        if let Some((pictures, timeline)) = &mut now.media {
            let pts_ns = timeline.place(picture.pts_ns, running_ns(pictures));
            push(pictures, picture, pts_ns);
        }
    }
}

impl Now {
    fn watch(&mut self, media: Option<(gst_app::AppSrc, Timeline)>) {
        self.is_watched.store(media.is_some(), Ordering::Relaxed);
        self.media = media;
    }

    /// The last picture as a key frame, for who has just come.
    fn show_again(&mut self) {
        if let Some((pictures, timeline)) = &mut self.media {
            pictures.send_event(gst_video::DownstreamForceKeyUnitEvent::builder().all_headers(true).build());
            push(pictures, &self.last, timeline.again(running_ns(pictures)));
        }
    }
}

fn push(pictures: &gst_app::AppSrc, picture: &Picture, pts_ns: u64) {
    let mut buffer = picture.buffer.clone();
    let timed = buffer.make_mut();
    timed.set_pts(gst::ClockTime::from_nseconds(pts_ns));
    timed.set_dts(gst::ClockTime::NONE);
    // Refused before the media runs and after it has ended.
    pictures.push_buffer(buffer).ok();
}
