//! The feed of a live source: cameras by RTSP, capture devices, network streams, raw frames on standard input, pipelines of the
//! user's own.
//!
//! ```text
//! connecting ─► live ─► stalled ─► connecting          frames stopped: at once
//!     └────────► lost ◄──┘  └ pause, longer each time ─► connecting … ended (after `retry_for`, or at the end of the stream)
//! ```
//!
//! What a connection is made of stands in `pipelines/`, one launch line per kind.

mod address;
mod ask;
mod clock;
mod connection;
mod gate;
mod web;

pub use address::Mode;

use super::decoder::{Decoder, Decoding};
use super::feed::{Event, Feed, StateChange};
use super::frame::{Capture, Frame};
use super::ingest::UNKNOWN_DURATION_NS;
use super::{StreamError, init, memory};
use crate::bounded;
use crate::record::{CaptureClock, SourceState};
use address::{Address, Kind};
use clock::{SenderClock, Timeline};
use connection::{Cause, Connection, Heard};
use gstreamer as gst;
use gstreamer_video as gst_video;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a waiting feed looks whether to go on.
const LOOK: Duration = Duration::from_millis(20);
/// Connections that may be going down at once; more are not begun before one has gone.
const MAX_CLOSING: usize = 4;
/// How long the last connection may take to say goodbye: cameras serve few clients and wait for it.
const GOODBYE: Duration = Duration::from_secs(1);
/// Of the pause between tries.
const MAX_DOUBLINGS: u32 = 16;
/// Tries of a transport that may come to nothing before the other one is tried.
const MAX_MISSES: u32 = 2;
/// A time stamp further in the past was not made by the machine's clock.
const MAX_AGE_NS: u64 = 10_000_000_000;
/// Of a file with user name and password.
const MOST_CREDENTIALS_BYTES: u64 = 64 << 10;

/// How to reach a live source, and how long to wait for what.
#[derive(Clone)]
pub struct CameraOptions {
    /// Frames that stop for so long make the source stalled.
    pub stall_after: Duration,
    /// How long a connection may take to its first frame; key frames may be many seconds apart.
    pub first_frame_after: Duration,
    /// The pause before the second try, doubled before each further one, and somewhat shorter by chance.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// A source that was gone for longer has ended; none tries for ever.
    pub retry_for: Option<Duration>,
    /// How long packets are waited for that are late or out of order.
    pub latency_ms: u32,
    /// Of RTSP.
    pub transport: Transport,
    /// Where the URL has none.
    pub user: Option<String>,
    pub password: Option<String>,
    /// Accepts any certificate: cameras mostly have none that can be verified.
    pub insecure_tls: bool,
    /// Of a capture device, or of raw frames, which need it.
    pub mode: Option<Mode>,
    pub decoding: Decoding,
}

impl Default for CameraOptions {
    fn default() -> Self {
        Self {
            stall_after: Duration::from_secs(5),
            first_frame_after: Duration::from_secs(20),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            retry_for: None,
            latency_ms: 100,
            transport: Transport::Auto,
            user: None,
            password: None,
            insecure_tls: false,
            mode: None,
            decoding: Decoding::default(),
        }
    }
}

impl CameraOptions {
    /// Takes user name and password from a file with `USER:PASSWORD` in its first line; without a file, from the environment's
    /// MOSTREAM_RTSP_USER and MOSTREAM_RTSP_PASSWORD, where they are set.
    pub fn read_credentials(&mut self, file: Option<&Path>) -> Result<(), StreamError> {
        let Some(file) = file else {
            self.user = std::env::var("MOSTREAM_RTSP_USER").ok().or(self.user.take());
            self.password = std::env::var("MOSTREAM_RTSP_PASSWORD").ok().or(self.password.take());
            return Ok(());
        };
        let (user, password) = read_login(file)?;
        (self.user, self.password) = (Some(user), Some(password));
        Ok(())
    }
}

/// User name and password from a file with `USER:PASSWORD` in its first line.
pub fn read_login(file: &Path) -> Result<(String, String), StreamError> {
    let fail = |why: String| StreamError::Input { input: file.display().to_string(), why };
    let text = bounded::read_text(file, MOST_CREDENTIALS_BYTES).map_err(|error| fail(error.to_string()))?;
    let pair = text.lines().next().and_then(|line| line.split_once(':'));
    let (user, password) = pair.ok_or_else(|| fail("its first line is not USER:PASSWORD".into()))?;
    Ok((user.to_owned(), password.to_owned()))
}

/// How RTSP carries frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP first, and the other one after [`MAX_MISSES`] tries without a frame; what has worked is tried first again.
    Auto,
    Tcp,
    Udp,
}

/// Whether an input names a live source rather than a file.
pub fn is_live(input: &OsStr) -> bool {
    address::kind_of(input).is_some()
}

/// Whether what is at an address of the web is a file, whatever its name: its answer has a length. It is asked, for some seconds where it is
/// not there.
pub fn is_file(input: &OsStr) -> bool {
    address::kind_of(input) == Some(Kind::Http) && init().is_ok() && input.to_str().is_some_and(web::has_length_at)
}

/// Whether an input is the address of a live source in a network, rather than a device, standard input or a pipeline.
pub fn is_url(input: &OsStr) -> bool {
    address::kind_of(input).is_some_and(Kind::is_url)
}

/// A live source.
pub struct Camera {
    name: String,
    address: Address,
    options: CameraOptions,
    phase: Phase,
    connection: Option<Connection>,
    /// The frame that made the source live.
    first: Option<Frame>,
    timeline: Timeline,
    frames: u64,
    broken: Arc<AtomicU64>,
    decoder: Option<Decoder>,
    /// Tries since one that was good for longer than the pause that came before it.
    tries: u32,
    /// Tries since a frame came.
    failures: u32,
    /// The transport of the next try, and tries of it that came to nothing.
    over_udp: bool,
    misses: u32,
    /// When the source was last known good, or first tried.
    last_good: Instant,
    /// One more for each connection that has not gone down yet.
    alive: Arc<()>,
}

#[derive(Clone, Copy)]
enum Phase {
    Pausing {
        until: Instant,
    },
    /// That it connects has been told.
    Opening,
    /// Raw frames on standard input are waited for without end: no other try would do better.
    Connecting {
        until: Option<Instant>,
    },
    Live {
        since: Instant,
        last: Instant,
    },
    Ended,
}

impl Camera {
    /// Checks the address and that its elements are installed; the first connection is made by [`Feed::next`].
    pub fn open(input: &OsStr, name: String, options: CameraOptions) -> Result<Self, StreamError> {
        init()?;
        options.decoding.check()?;
        let address = Address::new(input)?;
        match address.kind {
            // Which device it is, is seen when it is connected to.
            Kind::Device => drop(connection::parse(&address)?),
            _ => drop(connection::build(&address, &options, &SenderClock::default(), false)?),
        }
        let now = Instant::now();
        Ok(Self {
            name,
            address,
            over_udp: options.transport == Transport::Udp,
            options,
            phase: Phase::Pausing { until: now },
            connection: None,
            first: None,
            timeline: Timeline::default(),
            frames: 0,
            broken: Arc::default(),
            decoder: None,
            tries: 0,
            failures: 0,
            misses: 0,
            last_good: now,
            alive: Arc::default(),
        })
    }

    /// What a connection is made of, as a launch line to read, without secrets.
    pub fn pipeline(&self) -> String {
        connection::shown(&self.address)
    }

    /// Shown and recorded.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts a connection; why it is lost where that fails.
    fn connect(&mut self) -> Option<Event> {
        let now = Instant::now();
        if self.frames == 0 && self.failures == 0 {
            self.last_good = now;
        }
        let over_udp = self.over_udp;
        let alive = self.alive.clone();
        match Connection::open(&self.address, &self.options, over_udp, &self.broken, alive) {
            Ok(connection) => {
                self.connection = Some(connection);
                self.timeline.reconnected();
                let until = (self.address.kind != Kind::Stdin).then(|| now + self.options.first_frame_after);
                self.phase = Phase::Connecting { until };
                None
            }
            Err(error) => Some(self.lose(Cause::Other, error.to_string())),
        }
    }

    /// Closes the connection and pauses before the next, or ends.
    fn lose(&mut self, cause: Cause, why: String) -> Event {
        let was_described = self.connection.take().is_some_and(|connection| connection.is_described());
        let asked = match cause {
            _ if self.address.kind != Kind::Rtsp => None,
            Cause::Unreached => ask::why_unreached(&self.address),
            Cause::Login => ask::why_refused(&self.address),
            Cause::Other => None,
        };
        let why = self.address.place(asked.unwrap_or(why));
        let gone = self.last_good.elapsed();
        if self.address.kind == Kind::Stdin || self.options.retry_for.is_some_and(|limit| gone >= limit) {
            self.phase = Phase::Ended;
            return change(SourceState::Ended, Some(why));
        }
        // A camera locks out who tries wrong passwords in a row.
        let pause = self.pause(if cause == Cause::Login { MAX_DOUBLINGS } else { self.tries });
        if was_described && matches!(self.phase, Phase::Connecting { .. }) {
            self.miss();
        }
        self.failures += 1;
        self.tries += 1;
        self.phase = Phase::Pausing { until: Instant::now() + pause };
        change(SourceState::Lost, Some(why))
    }

    /// The transport has given no frame.
    fn miss(&mut self) {
        self.misses += 1;
        if self.misses >= MAX_MISSES && self.options.transport == Transport::Auto {
            (self.over_udp, self.misses) = (!self.over_udp, 0);
        }
    }

    /// Half to all of a time that doubles with each try, so that many sources do not come back at once.
    fn pause(&self, tries: u32) -> Duration {
        let doubled = self.options.backoff_min.saturating_mul(1 << tries.min(MAX_DOUBLINGS));
        let random = std::hash::RandomState::new().hash_one(tries) as f64 / u64::MAX as f64;
        doubled.min(self.options.backoff_max).mul_f64(0.5 + 0.5 * random)
    }

    fn stall(&mut self) -> Event {
        let why = self.address.place(format!("no frame for {:.1} s", self.options.stall_after.as_secs_f64()));
        if self.address.kind == Kind::Stdin {
            self.phase = Phase::Connecting { until: None };
        } else {
            self.connection = None;
            self.phase = Phase::Pausing { until: Instant::now() };
        }
        change(SourceState::Stalled, Some(why))
    }

    /// What to make of it that nothing comes.
    fn on_silence(&mut self) -> Option<Event> {
        let now = Instant::now();
        let patience = match self.phase {
            Phase::Connecting { until: Some(until) } if now >= until => self.options.first_frame_after,
            Phase::Live { last, .. } if now - last >= self.options.stall_after => self.options.stall_after,
            _ => return None,
        };
        if self.connection.as_ref().is_some_and(|connection| connection.gate.give_in(self.options.stall_after / 2)) {
            return Some(self.go_without_key_frame(patience));
        }
        let is_silent =
            self.address.kind == Kind::Rtsp && self.connection.as_ref().is_some_and(|it| !it.is_described());
        let seconds = patience.as_secs_f64();
        Some(match self.phase {
            Phase::Live { .. } => self.stall(),
            _ if is_silent => self.lose(Cause::Unreached, format!("no answer within {seconds:.1} s")),
            _ => self.lose(Cause::Other, format!("no first frame within {seconds:.1} s")),
        })
    }

    /// Frames come, but they have been waiting for a key frame for so long: they are taken as they are.
    fn go_without_key_frame(&mut self, patience: Duration) -> Event {
        let now = Instant::now();
        let state = match self.phase {
            Phase::Live { since, .. } => {
                self.phase = Phase::Live { since, last: now };
                SourceState::Live
            }
            _ => {
                self.phase = Phase::Connecting { until: Some(now + self.options.stall_after) };
                SourceState::Connecting
            }
        };
        let waited = patience.as_secs_f64();
        change(state, Some(format!("no key frame within {waited:.1} s: frames may be broken until one comes")))
    }

    /// At the end of the stream: one that goes on by the clock was cut off, any other is over.
    fn end(&mut self) -> Event {
        let is_clocked = self.connection.as_mut().is_some_and(Connection::is_clocked);
        let is_live = matches!(self.phase, Phase::Live { .. });
        // It was a file, and has been read.
        let is_clocked = is_clocked && !self.connection.as_ref().is_some_and(Connection::has_length);
        match (is_clocked, is_live || self.address.kind == Kind::Stdin) {
            (false, true) => {
                (self.connection, self.phase) = (None, Phase::Ended);
                change(SourceState::Ended, None)
            }
            (_, true) => self.lose(Cause::Other, "the stream was closed".into()),
            (_, false) => self.lose(Cause::Other, "the stream was closed before its first frame".into()),
        }
    }

    /// The frame of a sample; none where it is broken.
    fn frame(&mut self, sample: &gst::Sample) -> Result<Option<Frame>, String> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let buffer = sample.buffer_owned().ok_or("a frame without data")?;
        let native = sample.caps().and_then(memory::native_size);
        let info = sample.caps().and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok());
        let info = info.ok_or("it gives no raw video: put decodebin before the appsink")?;
        let is_corrupt = buffer.flags().contains(gst::BufferFlags::CORRUPTED) && !connection.gate.is_lenient();
        if is_corrupt || buffer.flags().contains(gst::BufferFlags::DECODE_ONLY) {
            connection.gate.keep_back();
            return Ok(None);
        }
        let is_clocked = connection.is_clocked();
        let (running_ns, age_ns) = connection.time_of(sample);
        let age = Duration::from_nanos(age_ns.filter(|&age| age <= MAX_AGE_NS).unwrap_or(0));
        let now = Instant::now();
        let instant = now.checked_sub(age).unwrap_or(now);
        let arrival = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(age);
        let arrival_ns = u64::try_from(arrival.as_nanos()).unwrap_or(u64::MAX);
        let sent_ns = connection.clock.unix_ns(buffer.pts(), arrival_ns);

        let is_back = !matches!(self.phase, Phase::Live { .. });
        let gap = self.timeline.last().filter(|_| is_back).map(|last| instant.saturating_duration_since(last));
        let pts_ns = self.timeline.place(instant, running_ns, is_clocked);
        let by_rate = || {
            let fps = info.fps();
            (fps.numer() > 0).then(|| 1_000_000_000 * fps.denom() as u64 / fps.numer() as u64)
        };
        let duration_ns = buffer.duration().map(|time| time.nseconds()).filter(|&ns| ns > 0).or_else(by_rate);
        let capture = Capture {
            instant,
            unix_ns: sent_ns.unwrap_or(arrival_ns),
            clock: if sent_ns.is_some() { CaptureClock::Rtcp } else { CaptureClock::Arrival },
            gap_ns: gap.map(|gap| gap.as_nanos() as u64),
        };
        let duration_ns = duration_ns.unwrap_or(UNKNOWN_DURATION_NS);
        let frame = Frame::new(self.frames, pts_ns, duration_ns, buffer, info);
        let frame = Frame { native, capture: Some(capture), ..frame };
        self.frames += 1;
        Ok(Some(frame))
    }

    /// A frame came: the source is live, if it was not.
    fn arrived(&mut self, frame: Frame) -> Event {
        let now = Instant::now();
        self.last_good = now;
        (self.failures, self.misses) = (0, 0);
        if let Phase::Live { since, .. } = self.phase {
            if since.elapsed() > self.options.backoff_min.saturating_mul(1 << self.tries.min(MAX_DOUBLINGS)) {
                self.tries = 0;
            }
            self.phase = Phase::Live { since, last: now };
            return Event::Frame(frame);
        }
        self.decoder = self.connection.as_ref().and_then(Connection::decoder);
        self.phase = Phase::Live { since: now, last: now };
        self.first = Some(frame);
        change(SourceState::Live, None)
    }
}

fn change(state: SourceState, why: Option<String>) -> Event {
    Event::State(StateChange { state, at: SystemTime::now(), why })
}

impl Feed for Camera {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Event> {
        loop {
            if stop() {
                return None;
            }
            if let Some(frame) = self.first.take() {
                return Some(Event::Frame(frame));
            }
            match self.phase {
                Phase::Ended => return None,
                Phase::Pausing { until } => {
                    let closing = Arc::strong_count(&self.alive) - 1;
                    if Instant::now() >= until && closing < MAX_CLOSING {
                        self.phase = Phase::Opening;
                        return Some(change(SourceState::Connecting, None));
                    }
                    std::thread::sleep(LOOK);
                    continue;
                }
                Phase::Opening => match self.connect() {
                    Some(event) => return Some(event),
                    None => continue,
                },
                Phase::Connecting { .. } | Phase::Live { .. } => {}
            }
            let heard = self.connection.as_mut().map_or(Heard::End, |connection| connection.listen(LOOK));
            let event = match heard {
                Heard::Nothing => self.on_silence(),
                Heard::Failed(cause, why) => Some(self.lose(cause, why)),
                Heard::End => Some(self.end()),
                Heard::Sample(sample) => match self.frame(&sample) {
                    Ok(Some(frame)) => Some(self.arrived(frame)),
                    Ok(None) => self.on_silence(),
                    Err(why) => Some(self.lose(Cause::Other, why)),
                },
            };
            if event.is_some() {
                return event;
            }
        }
    }

    fn is_live(&self) -> bool {
        true
    }

    fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    fn decoder(&self) -> Option<Decoder> {
        self.decoder.clone()
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.connection = None;
        let start = Instant::now();
        while Arc::strong_count(&self.alive) > 1 && start.elapsed() < GOODBYE {
            std::thread::sleep(LOOK / 4);
        }
    }
}
