//! A live page fed by the test as by an engine: its pictures show their own frame numbers.

use gstreamer as gst;
use gstreamer_video::{VideoColorimetry, VideoFormat, VideoInfo};
use mostream::engine::destinations::{DestinationStatus, Waiting};
use mostream::engine::sink::{Message, Picture, Sink};
use mostream::engine::status::Board;
use mostream::localize::Method;
use mostream::record::{
    EventName, EventRecord, FrameRecord, GridRecord, ObjectRecord, Phase, SourceState, StateRecord, TrackRecord,
};
use mostream::stream::feed::StateChange;
use mostream::track::State;
use mostream::web::{Options, Server};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

/// A server, and what an engine does to it.
pub struct Site {
    pub server: Server,
    pub board: Arc<Board>,
    sinks: Mutex<Vec<Box<dyn Sink>>>,
}

pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Site {
    pub fn open(names: &[&str], token: Option<&str>, options: Options) -> Self {
        Self::at(local(0), names, token, options)
    }

    pub fn at(addr: SocketAddr, names: &[&str], token: Option<&str>, options: Options) -> Self {
        let board = Arc::new(Board::default());
        let server = Server::start(addr, board.clone(), token.map(str::to_owned), options).unwrap();
        let sinks = names.iter().map(|name| server.sink(&board.enter((*name).to_owned()))).collect();
        Self { server, board, sinks: Mutex::new(sinks) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.addr())
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        get(&self.url(path), &[])
    }

    pub fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).1).unwrap()
    }

    pub fn change(&self, source: usize, state: SourceState, why: Option<&str>) {
        let (at, why) = (SystemTime::now(), why.map(str::to_owned));
        self.board.sources()[source].changed(&StateChange { state, at, why: why.clone() });
        let name = self.board.sources()[source].name.clone();
        let record = StateRecord { version: 1, run: self.board.run.clone(), source: name, state, at_unix_ns: 7, why };
        self.take(source, Message::State(Arc::new(record)));
    }

    /// A frame with as many objects, and its picture.
    pub fn frame(&self, source: usize, frame: u64, objects: usize, picture: Option<Picture>) {
        let status = &self.board.sources()[source];
        let record = record(&status.name, frame, objects);
        status.arrived((record.width, record.height));
        status.finished(&record, Duration::from_millis(30));
        self.take(source, Message::Frame { record: Arc::new(record), picture });
    }

    /// One more receiver, which took two messages of three, lost four and takes no more.
    pub fn receiver(&self, name: &str) {
        let to = DestinationStatus::new(name.into(), "mqtt://broker.example".into(), 1000);
        to.sent(3);
        to.acknowledged(Duration::from_millis(30));
        to.acknowledged(Duration::from_secs(700));
        let lost = BTreeMap::from([("bound", 4), ("age", 0)]);
        to.waits(Waiting { messages: 5, bytes: 600, oldest: Some(SystemTime::now()), lost });
        to.failed("nobody is there".into());
        self.board.sends_to(Arc::new(to));
    }

    pub fn take(&self, source: usize, message: Message) {
        self.sinks.lock().unwrap()[source].take(&message).unwrap();
    }

    /// A connection of one's own.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// What comes back until the server hangs up.
    pub fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Plays 25 frames a second until it is dropped.
pub struct Player {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Player {
    pub fn start(site: &Arc<Site>, sources: usize, pictures: fn(u64) -> Picture) -> Self {
        let (stop, site) = (Arc::new(AtomicBool::new(false)), site.clone());
        let stopped = stop.clone();
        let play = move || {
            for frame in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                (0..sources).for_each(|source| site.frame(source, frame, objects_in(frame), Some(pictures(frame))));
                thread::sleep(Duration::from_millis(40));
            }
        };
        Self { stop, thread: Some(thread::spawn(play)) }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

pub fn objects_in(frame: u64) -> usize {
    (frame / 10 % 4) as usize
}

pub fn record(source: &str, frame: u64, objects: usize) -> FrameRecord {
    let object = |at| ObjectRecord {
        bbox: [at, 0, at + 5, 5],
        seed: None,
        score: 0.5,
        patches: 4,
        track: Some(TrackRecord {
            id: u64::from(at) + 1,
            state: State::Active,
            hits: 9,
            first_seen_ns: 0,
            velocity: [0.0; 2],
        }),
        cues: None,
        label: None,
        mask: None,
    };
    FrameRecord {
        every: None,
        version: 1,
        run: "00c0ffee00c0ffee".into(),
        source: source.into(),
        frame,
        pts_ns: frame * 40_000_000,
        captured_unix_ns: None,
        width: 160,
        height: 120,
        grid: GridRecord { rows: 15, cols: 20, patch_width: 8.0, patch_height: 8.0 },
        method: Method::Most,
        model: "drawn".into(),
        device: None,
        precision: None,
        inferred: true,
        objects: (0..objects as u32).map(object).collect(),
        timings_us: None,
        camera: None,
        live: None,
        shortfall: None,
    }
}

/// What happened at a source, two seconds after 2026 began for each id.
pub fn event(source: &str, id: u64, event: EventName, phase: Phase) -> EventRecord {
    let pts_ns = 2_000_000_000 * id;
    EventRecord {
        version: 1,
        run: "00c0ffee00c0ffee".into(),
        source: source.into(),
        seq: None,
        id,
        event,
        phase,
        pts_ns,
        at_unix_ns: Some(NEW_YEAR_NS + pts_ns),
        told_ns: pts_ns,
        since_ns: pts_ns,
        tracks: vec![id],
        zone: None,
        side: None,
        bbox: Some([16, 12, 48, 60]),
        stationary: false,
        zones: Vec::new(),
        picture: None,
        width: 160,
        height: 120,
        interrupted: false,
    }
}

/// 2026, in nanoseconds since 1970.
pub const NEW_YEAR_NS: u64 = 1_767_225_600_000_000_000;

/// Limited range: this luma is black and that white.
pub const LUMA: [u8; 2] = [16, 235];
/// The number is written in binary, in bars.
pub const BITS: usize = 10;

/// The frame number in black and white bars over the upper half; red (BT.601) below.
pub fn picture_of(info: VideoInfo, frame: u64) -> Picture {
    let (width, height) = (info.width() as usize, info.height() as usize);
    let mut bytes = vec![0u8; info.size()];
    let (luma_stride, luma_at) = (info.stride()[0] as usize, info.offset()[0]);
    for y in 0..height {
        for x in 0..width {
            let bit = (frame >> (x * BITS / width)) & 1;
            bytes[luma_at + y * luma_stride + x] = if y < height / 2 { LUMA[bit as usize] } else { 81 };
        }
    }
    let is_nv12 = info.format() == VideoFormat::Nv12;
    for y in 0..height / 2 {
        for x in 0..width / 2 {
            let [u, v]: [u8; 2] = if y < height / 4 { [128, 128] } else { [90, 240] };
            let (stride, at) = (info.stride()[1] as usize, info.offset()[1]);
            match is_nv12 {
                true => bytes[at + y * stride + 2 * x..][..2].copy_from_slice(&[u, v]),
                false => {
                    bytes[at + y * stride + x] = u;
                    bytes[info.offset()[2] + y * info.stride()[2] as usize + x] = v;
                }
            }
        }
    }
    Picture { buffer: gst::Buffer::from_slice(bytes), info, pts_ns: frame * 40_000_000, duration_ns: 40_000_000 }
}

pub fn picture(frame: u64) -> Picture {
    picture_of(layout(VideoFormat::I420, (160, 120), (1, 1)), frame)
}

/// A picture that no encoder makes small.
pub fn noise(frame: u64) -> Picture {
    let info = layout(VideoFormat::I420, (1280, 720), (1, 1));
    let mut state = frame * 2 + 1;
    let bytes: Vec<u8> = (0..info.size())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    Picture { buffer: gst::Buffer::from_slice(bytes), info, pts_ns: frame, duration_ns: 1 }
}

pub fn layout(format: VideoFormat, (width, height): (u32, u32), (n, d): (i32, i32)) -> VideoInfo {
    gst::init().unwrap();
    let colours = VideoColorimetry::from_str("bt601").unwrap();
    VideoInfo::builder(format, width, height).colorimetry(&colours).par(gst::Fraction::new(n, d)).build().unwrap()
}

/// The number that the picture shows, and its size.
pub fn read(jpeg: &[u8]) -> (u64, (u32, u32)) {
    let image = image::load_from_memory_with_format(jpeg, image::ImageFormat::Jpeg).unwrap().into_rgb8();
    let (width, height) = image.dimensions();
    let bar = width / BITS as u32;
    let number = (0..BITS as u32)
        .map(|bit| {
            let pixel = image.get_pixel(bit * width / BITS as u32 + bar / 2, height / 4).0;
            assert!(pixel.iter().all(|&c| c < 12) || pixel.iter().all(|&c| c > 243), "bar {bit} is {pixel:?}");
            u64::from(pixel[0] > 128) << bit
        })
        .sum();
    let [red, green, blue] = image.get_pixel(width / 2, height * 3 / 4).0;
    assert!(red > 240 && green < 14 && blue < 14, "not red: {red} {green} {blue}");
    (number, (width, height))
}

pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().new_agent()
}

pub fn ask(url: &str, headers: &[(&str, &str)]) -> ureq::http::Response<ureq::Body> {
    headers.iter().fold(agent().get(url), |request, (name, value)| request.header(*name, *value)).call().unwrap()
}

pub fn get(url: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut answer = ask(url, headers);
    let body = answer.body_mut().read_to_vec().unwrap();
    (answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
}

pub fn header<'a>(answer: &'a ureq::http::Response<ureq::Body>, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}
