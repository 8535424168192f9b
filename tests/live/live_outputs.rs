//! What live runs write, show and send: judged by ffprobe and ffmpeg, from pictures drawn here.

use crate::support::camera::{Wire, free_port};
use crate::support::certificate;
use crate::support::clips::{luma, probe};
use crate::support::program::{alone, stderr};
use crate::support::scene::{self, Shape, Texture, Thing};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_rtsp_server::gio;
use gstreamer_video as gst_video;
use mostream::engine::sink::{Ending, Message, Picture, Sink};
use mostream::geometry::{Grid, PatchLayout};
use mostream::localize::Method;
use mostream::publish::file::FileSink;
use mostream::publish::push::{PushSink, Target};
use mostream::publish::records::{Lines, Records};
use mostream::publish::rtsp::{Access, Identity, RtspServer};
use mostream::publish::window::WindowSink;
use mostream::record::{CaptureClock, FrameRecord, GridRecord, LiveRecord, SourceState, StateRecord, VERSION};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SIZE: (u32, u32) = (160, 96);
const FRAME_NS: u64 = 40_000_000;

/// Drawn pictures: a disc that goes from left to right, or noise, which is many bytes.
struct Scene {
    info: gst_video::VideoInfo,
    ground: Vec<u8>,
    is_noise: bool,
}

impl Scene {
    fn new() -> Self {
        Self::sized(SIZE, false)
    }

    fn sized((width, height): (u32, u32), is_noise: bool) -> Self {
        mostream::stream::init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height);
        let info = info.fps(gst::Fraction::new(25, 1)).build().unwrap();
        Self { info, ground: scene::ground(width, height), is_noise }
    }

    /// Brightness of picture `index`: `[height, width]`, full range.
    fn luma(&self, index: u64) -> Vec<u8> {
        let (width, height) = SIZE;
        let disc = Thing {
            shape: Shape::Blob,
            texture: Texture::Dots,
            colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
            centre: [30.0 + (index % 50) as f32 * 2.0, 48.0],
            radius: 24.0,
            turn: 0.3,
        };
        let rgb = scene::draw(&self.ground, width, height, &[disc]).rgb;
        rgb.chunks(3)
            .map(|p| ((u32::from(p[0]) * 77 + u32::from(p[1]) * 151 + u32::from(p[2]) * 28) >> 8) as u8)
            .collect()
    }

    fn picture(&self, index: u64, pts_ns: u64) -> Picture {
        let grey = |value: u8| (16 + u32::from(value) * 219 / 255) as u8;
        let noise = |pixel: u64| ((index << 32 | pixel).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 37) as u8;
        let mut bytes: Vec<u8> = match self.is_noise {
            true => (0..u64::from(self.info.width() * self.info.height())).map(noise).collect(),
            false => self.luma(index).into_iter().map(grey).collect(),
        };
        bytes.resize(self.info.size(), 128);
        let buffer = gst::Buffer::from_mut_slice(bytes);
        Picture { buffer, info: self.info.clone(), pts_ns, duration_ns: FRAME_NS }
    }

    /// Picture `index` of the source, which was gone before it for `gap_ns`.
    fn message(&self, index: u64, pts_ns: u64, gap_ns: Option<u64>) -> Message {
        let layout =
            PatchLayout { grid: Grid { rows: 6, cols: 10 }, patch: 16, image_width: SIZE.0, image_height: SIZE.1 };
        let captured_unix_ns = 1_700_000_000_000_000_000 + pts_ns;
        let record = FrameRecord {
            every: None,
            version: VERSION,
            run: "00c0ffee00c0ffee".into(),
            source: "rtsp://camera/1".into(),
            frame: index,
            pts_ns,
            captured_unix_ns: None,
            width: SIZE.0,
            height: SIZE.1,
            grid: GridRecord::new(&layout, SIZE.0, SIZE.1),
            method: Method::Most,
            model: "test".into(),
            device: None,
            precision: None,
            inferred: true,
            objects: Vec::new(),
            shortfall: None,
            timings_us: None,
            camera: None,
            live: Some(LiveRecord { captured_unix_ns, clock: CaptureClock::Arrival, latency_us: 1, gap_ns }),
        };
        Message::Frame { record: Arc::new(record), picture: Some(self.picture(index, pts_ns)) }
    }

    /// Hands `frames` pictures to a sink, as fast as it takes them.
    fn feed(&self, sink: &mut dyn Sink, frames: std::ops::Range<u64>) {
        frames.for_each(|index| sink.take(&self.message(index, index * FRAME_NS, None)).unwrap());
    }

    /// Hands pictures to a sink as a camera does, while `watch` runs.
    fn play<T>(&self, mut sink: Box<dyn Sink>, watch: impl FnOnce() -> T) -> T {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let playing = scope.spawn(|| {
                for index in (0..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    // What nobody is there for is lost, and the next is tried.
                    sink.take(&self.message(index, index * FRAME_NS, None)).ok();
                    std::thread::sleep(Duration::from_nanos(FRAME_NS));
                }
                // An error where nobody is left to push to.
                sink.finish(Ending::Whole).ok();
            });
            let seen = catch_unwind(AssertUnwindSafe(watch));
            is_over.store(true, Ordering::Relaxed);
            playing.join().unwrap();
            seen.unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

/// Has ffmpeg decode this many pictures from an address; retries while there is nothing.
fn receive(arguments: &str, frames: u32) -> Child {
    let words = arguments.split(' ');
    let frames = frames.to_string();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error"]).args(words).args(["-frames:v", &frames, "-f", "framecrc", "-"]);
    ffmpeg.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How many pictures it got; says what was wrong where it failed.
fn received(ffmpeg: Child) -> usize {
    let output = ffmpeg.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.starts_with('#')).count()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// When the file's first picture shows, in seconds.
fn start_of(path: &Path) -> f64 {
    let asked = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0", "-show_entries", "format=start_time"])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(asked.stdout).unwrap().trim().parse().unwrap()
}

/// Mean difference of a decoded picture and the drawn one, in grey values.
fn difference(path: &Path, frame: usize, drawn: &[u8]) -> f64 {
    let decoded = luma(path, frame, SIZE);
    decoded.iter().zip(drawn).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / drawn.len() as f64
}

#[test]
fn segments_hold_every_frame_and_begin_at_zero() {
    let scene = Scene::new();
    for extension in ["mp4", "mkv"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out").with_extension(extension);
        let mut sink = FileSink::new(&path, Some(Duration::from_secs(2))).unwrap();
        scene.feed(&mut sink, 0..125);
        Box::new(sink).finish(Ending::Whole).unwrap();
        let files = files(folder.path());
        let names: Vec<_> = files.iter().map(|file| file.file_stem().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["out-20231114T221320Z", "out-20231114T221322Z", "out-20231114T221324Z"]);
        for (segment, file) in files.iter().enumerate() {
            let seen = probe(file).pts_ns;
            let frames = if segment == 2 { 25 } else { 50 };
            let expected: Vec<i64> = (0..frames).map(|frame| frame * FRAME_NS as i64).collect();
            assert_eq!(seen, expected, "{}", file.display());
            assert_eq!(start_of(file), 0.0, "{}", file.display());
            for frame in [0, 24] {
                let other = difference(file, frame, &scene.luma((segment * 50 + frame + 10) as u64));
                let same = difference(file, frame, &scene.luma((segment * 50 + frame) as u64));
                assert!(same < 6.0 && other > same * 2.0, "{}: frame {frame}: {same}, {other}", file.display());
            }
        }
    }
}

#[test]
fn a_source_that_was_gone_leaves_no_frozen_picture() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let hour_ns = 3_600_000_000_000;
    let messages = |sink: &mut dyn Sink| {
        scene.feed(sink, 0..20);
        sink.take(&scene.message(20, hour_ns, Some(hour_ns - 20 * FRAME_NS))).unwrap();
        (21..40).for_each(|i| sink.take(&scene.message(i, hour_ns + (i - 20) * FRAME_NS, None)).unwrap());
        // The source starts its clock anew.
        (40..50).for_each(|i| sink.take(&scene.message(i, (i - 40) * FRAME_NS, None)).unwrap());
    };
    let mut one = FileSink::new(&folder.path().join("one.mp4"), None).unwrap();
    messages(&mut one);
    Box::new(one).finish(Ending::Whole).unwrap();
    let expected: Vec<i64> = (0..50).map(|frame| frame * FRAME_NS as i64).collect();
    assert_eq!(probe(&folder.path().join("one.mp4")).pts_ns, expected);

    let mut many = FileSink::new(&folder.path().join("many.mkv"), Some(Duration::from_secs(7200))).unwrap();
    messages(&mut many);
    Box::new(many).finish(Ending::Whole).unwrap();
    let counts: Vec<usize> = files(folder.path())
        .iter()
        .filter(|file| file.extension().unwrap() == "mkv")
        .map(|file| probe(file).pts_ns.len())
        .collect();
    // Sorted by name: the clock that began anew makes the last one's name that of the first, with a 2.
    assert_eq!(counts, [10, 20, 20]);
}

#[test]
fn a_killed_run_leaves_all_but_the_last_two_seconds() {
    const CHILD: &str = "MOSTREAM_TEST_CHILD";
    if let Some(folder) = std::env::var_os(CHILD) {
        let folder = Path::new(&folder);
        let scene = Scene::new();
        let segment = Some(Duration::from_secs(2));
        let mut sinks = [("one.mp4", None), ("one.mkv", None), ("many.mp4", segment), ("many.mkv", segment)]
            .map(|(name, segment)| FileSink::new(&folder.join(name), segment).unwrap());
        let mut records = Records::append(&folder.join("records.jsonl"), Lines::Frames).unwrap().sink();
        for index in 0.. {
            let message = scene.message(index, index * FRAME_NS, None);
            sinks.iter_mut().for_each(|sink| sink.take(&message).unwrap());
            records.take(&message).unwrap();
            println!("taken {index}");
            std::thread::sleep(Duration::from_nanos(FRAME_NS / 2));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = alone(module_path!(), "a_killed_run_leaves_all_but_the_last_two_seconds")
        .env(CHILD, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its output stays open until it is dead: nothing but the signal ends it.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let index = |line: String| line.strip_prefix("taken ").map(|index| index.parse::<i64>().unwrap());
    let last = lines.by_ref().filter_map(index).find(|index| *index >= 110).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    for name in ["one.mp4", "one.mkv"] {
        let seen = probe(&folder.path().join(name)).pts_ns;
        assert!(seen.len() as i64 >= last - 50, "{name}: {} of {last} frames", seen.len());
        assert!(seen.iter().enumerate().all(|(frame, pts)| *pts == frame as i64 * FRAME_NS as i64), "{name}: {seen:?}");
    }
    for extension in ["mp4", "mkv"] {
        let segments = files(folder.path()).into_iter().filter(|file| {
            file.extension().unwrap() == extension && file.file_stem().unwrap().to_str().unwrap().starts_with("many-")
        });
        let counts: Vec<usize> = segments
            .filter(|file| std::fs::metadata(file).unwrap().len() > 0)
            .map(|file| probe(&file).pts_ns.len())
            .collect();
        assert_eq!(counts[..2], [50, 50], "{extension}");
        assert!(counts.iter().sum::<usize>() as i64 >= last - 50, "{extension}: {counts:?} of {last}");
    }
    let records = std::fs::read_to_string(folder.path().join("records.jsonl")).unwrap();
    assert!(records.lines().count() as i64 >= last, "{} of {last} records", records.lines().count());
    records.lines().for_each(|line| drop(serde_json::from_str::<FrameRecord>(line).unwrap()));
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    for name in ["full.mp4", "full.mkv"] {
        let path = folder.path().join(name);
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut sink = FileSink::new(&path, None).unwrap();
        let failed = (0..1000).find_map(|i| sink.take(&scene.message(i, i * FRAME_NS, None)).err()).unwrap();
        let failed = failed.to_string();
        assert!(failed.contains(name) && failed.contains("No space left on device"), "{failed}");
    }
    let failed = Records::append(Path::new("/dev/full"), Lines::Frames)
        .unwrap()
        .sink()
        .take(&scene.message(0, 0, None))
        .unwrap_err();
    let failed = failed.to_string();
    assert!(failed.starts_with("/dev/full: No space left on device"), "{failed}");
}

#[test]
fn wrong_names_are_refused_before_anything_starts() {
    Scene::new();
    for (name, why) in [("out.avi", "neither"), ("/nonexistent/out.mp4", "no such folder"), ("/", "neither")] {
        let failed = FileSink::new(Path::new(name), None).err().unwrap().to_string();
        assert!(failed.starts_with(name) && failed.contains(why), "{failed}");
    }
    assert!(
        Records::append(Path::new("/nonexistent/records.jsonl"), Lines::Frames)
            .err()
            .unwrap()
            .to_string()
            .starts_with("/nonexistent")
    );
}

#[test]
fn several_sources_share_a_file_of_whole_lines() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    std::fs::write(&path, "{\"broken").unwrap();
    let records = Records::append(&path, Lines::Frames).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (mut sink, scene) = (records.sink(), &scene);
            scope.spawn(move || {
                let state = StateRecord {
                    version: VERSION,
                    run: "00c0ffee00c0ffee".into(),
                    source: "rtsp://camera/1".into(),
                    state: SourceState::Live,
                    at_unix_ns: 1,
                    why: None,
                };
                sink.take(&Message::State(Arc::new(state))).unwrap();
                scene.feed(sink.as_mut(), 0..50);
            });
        }
    });
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("{\"broken"));
    let (frames, others): (Vec<_>, Vec<_>) = lines.partition(|line| serde_json::from_str::<FrameRecord>(line).is_ok());
    assert_eq!((frames.len(), others.len()), (200, 4));
    others.into_iter().for_each(|line| drop(serde_json::from_str::<StateRecord>(line).unwrap()));
}

#[test]
fn rtsp_clients_see_the_source() {
    let scene = Scene::new();
    let server = RtspServer::bind("127.0.0.1:0".parse().unwrap(), &Access::default()).unwrap();
    let mut sink = server.sink("front door");
    assert_eq!(server.sink("front/door").url(), format!("{}-2", sink.url()));
    let url = sink.url();
    assert!(url.ends_with("/front-door"), "{url}");
    let taken = RtspServer::bind(url.split('/').nth(2).unwrap().parse().unwrap(), &Access::default())
        .err()
        .unwrap()
        .to_string();
    assert!(taken.contains("127.0.0.1") && taken.contains("in use"), "{taken}");
    // The path is there with the first picture.
    sink.take(&scene.message(0, 0, None)).unwrap();
    scene.play(Box::new(sink), || {
        assert_eq!(received(receive(&format!("-rtsp_transport tcp -i {url}"), 10)), 10);
        let both = ["tcp", "udp"].map(|transport| receive(&format!("-rtsp_transport {transport} -i {url}"), 30));
        both.into_iter().for_each(|client| assert_eq!(received(client), 30));
        // Who joins others need not wait for their next key frame.
        let mut other = receive(&format!("-rtsp_transport tcp -i {url}"), 100_000);
        let flags = || {
            let asked = Command::new("ffprobe")
                .args(["-v", "error", "-rtsp_transport", "tcp", "-show_entries", "packet=flags", "-of", "csv=p=0"])
                .args(["-read_intervals", "%+#12", &url])
                .output()
                .unwrap();
            String::from_utf8(asked.stdout).unwrap()
        };
        (0..3).for_each(|_| assert!(flags().contains('K'), "no key frame"));
        other.kill().unwrap();
        other.wait().unwrap();
    });
    drop(server);
    assert!(!receive(&format!("-i {url}"), 1).wait().unwrap().success());
}

/// Pictures that GStreamer takes from an RTSP address, of which it trusts the certificate in a file alone; or why it does not.
fn watch(url: &str, login: Option<(&str, &str)>, trusted: &Path) -> Result<usize, String> {
    let (pipeline, frames) = (gst::Pipeline::new(), std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let source = gst::ElementFactory::make("rtspsrc").property("location", url).build().unwrap();
    source.set_property("tls-database", gio::TlsFileDatabase::new(trusted).unwrap());
    if let Some((user, password)) = login {
        source.set_property("user-id", user);
        source.set_property("user-pw", password);
    }
    let sink = gst::ElementFactory::make("fakesink")
        .property("signal-handoffs", true)
        .property("sync", false)
        .build()
        .unwrap();
    let seen = frames.clone();
    sink.connect("handoff", false, move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        None
    });
    pipeline.add_many([&source, &sink]).unwrap();
    let into = sink.clone();
    source.connect_pad_added(move |_, pad| {
        pad.link(&into.static_pad("sink").unwrap()).ok();
    });
    pipeline.set_state(gst::State::Playing).ok();
    let bus = pipeline.bus().unwrap();
    let outcome = loop {
        let error = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(20), &[gst::MessageType::Error]);
        match error.as_deref().map(gst::MessageRef::view) {
            Some(gst::MessageView::Error(error)) => break Err(format!("{} {:?}", error.error(), error.debug())),
            _ if frames.load(Ordering::SeqCst) >= 10 => break Ok(frames.load(Ordering::SeqCst)),
            _ => {}
        }
    };
    pipeline.set_state(gst::State::Null).unwrap();
    outcome
}

#[test]
fn over_tls_who_logs_in_sees_the_source_and_knows_the_server() {
    let scene = Scene::new();
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    [&folder, &other].into_iter().for_each(|folder| certificate::make(folder.path()));
    let [certificate, key, stranger] =
        [folder.path().join("certificate.pem"), folder.path().join("key.pem"), other.path().join("certificate.pem")];
    let identity = Identity::read(&certificate, &key).unwrap();
    assert!(Identity::read(&stranger, &key).is_err(), "it is another's key");
    let access = Access { login: Some(("viewer".into(), "s3cret-word".into())), identity: Some(identity) };
    let server = RtspServer::bind("127.0.0.1:0".parse().unwrap(), &access).unwrap();
    let mut sink = server.sink("door");
    let url = sink.url();
    assert!(url.starts_with("rtsps://"), "{url}");
    sink.take(&scene.message(0, 0, None)).unwrap();
    scene.play(Box::new(sink), || {
        let login = Some(("viewer", "s3cret-word"));
        assert!(watch(&url, login, &certificate).unwrap() >= 10);
        let refused = watch(&url, login, &stranger).unwrap_err();
        assert!(refused.contains("Failed to connect"), "{refused}");
        // Who has no login, or a wrong one, is asked for it; who does not speak TLS hears nothing.
        let (right, wrong) = (basic("viewer:s3cret-word"), basic("viewer:wrong-word"));
        assert_eq!(described(&url, &right), "RTSP/1.0 200 OK");
        for login in ["", &wrong, &basic("other:s3cret-word")] {
            assert_eq!(described(&url, login), "RTSP/1.0 401 Unauthorized", "{login}");
        }
        let mut plain = TcpStream::connect(url.split('/').nth(2).unwrap()).unwrap();
        plain.write_all(describe(&url, &right).as_bytes()).unwrap();
        plain.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut heard = Vec::new();
        // The server waits for a greeting, or hangs up.
        plain.read_to_end(&mut heard).ok();
        assert!(!String::from_utf8_lossy(&heard).contains("RTSP"), "{heard:?}");
    });
}

/// A header that logs in so.
fn basic(login: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(login))
}

fn describe(url: &str, headers: &str) -> String {
    format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n{headers}\r\n")
}

/// The first line of the answer over TLS, to a client that trusts anybody.
fn described(url: &str, headers: &str) -> String {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-connect", url.split('/').nth(2).unwrap()]);
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    client.stdin.as_mut().unwrap().write_all(describe(url, headers).as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
    line.trim_end().to_owned()
}

#[test]
fn in_the_clear_a_login_is_asked_for_and_never_sent_as_it_is() {
    let scene = Scene::new();
    let access = Access { login: Some(("viewer".into(), "s3cret-word".into())), identity: None };
    let server = RtspServer::bind("127.0.0.1:0".parse().unwrap(), &access).unwrap();
    let mut sink = server.sink("door");
    sink.take(&scene.message(0, 0, None)).unwrap();
    let port = sink.url().split([':', '/']).nth(4).unwrap().parse().unwrap();
    scene.play(Box::new(sink), || {
        let wire = Wire::to(port);
        let address = |login: &str| format!("-rtsp_transport tcp -i rtsp://{login}127.0.0.1:{}/door", wire.port);
        assert_eq!(received(receive(&address("viewer:s3cret-word@"), 10)), 10);
        for login in ["", "viewer:wrong-word@", "other:s3cret-word@"] {
            assert!(!receive(&address(login), 1).wait().unwrap().success(), "{login}");
        }
        let asked = wire.asked();
        // In Basic it would be in Base64.
        assert!(asked.contains("Authorization: Digest") && !asked.contains("s3cret"), "{asked}");
        assert!(!asked.contains("Authorization: Basic"), "{asked}");
    });
}

#[test]
fn an_rtsp_client_that_reads_nothing_stops_nobody() {
    let scene = Scene::sized((640, 360), true);
    let mut sink = RtspServer::bind("127.0.0.1:0".parse().unwrap(), &Access::default()).unwrap().sink("noise");
    let url = sink.url();
    sink.take(&scene.message(0, 0, None)).unwrap();
    scene.play(Box::new(sink), || {
        // What it does not read is more than the buffers between hold.
        let _stuck = play_without_reading(&url);
        assert_eq!(received(receive(&format!("-rtsp_transport tcp -i {url}"), 100)), 100);
    });
}

/// A client that asks for pictures in its own connection, and reads no more.
fn play_without_reading(url: &str) -> TcpStream {
    let mut stream = TcpStream::connect(url.split('/').nth(2).unwrap()).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut ask = |request: String| {
        stream.write_all(request.as_bytes()).unwrap();
        let (mut session, mut length) = (String::new(), 0);
        let headers = answers.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty());
        headers.for_each(|line| match line.split_once(": ") {
            Some(("Session", id)) => session = id.split(';').next().unwrap().to_owned(),
            Some(("Content-Length", bytes)) => length = bytes.parse().unwrap(),
            _ => {}
        });
        answers.read_exact(&mut vec![0; length]).unwrap();
        session
    };
    ask(format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"));
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1";
    let session = ask(format!("SETUP {url}/stream=0 RTSP/1.0\r\nCSeq: 2\r\n{transport}\r\n\r\n"));
    assert!(!session.is_empty());
    ask(format!("PLAY {url} RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n\r\n"));
    stream
}

#[test]
fn pushing_waits_for_nobody_and_reaches_who_comes_later() {
    let scene = Scene::new();
    for scheme in ["udp", "srt"] {
        let address = format!("{scheme}://127.0.0.1:{}", free_port());
        let mut sink = PushSink::new(Target::parse(&address).unwrap()).unwrap();
        assert_eq!(sink.name(), address);
        (0..50).for_each(|index| drop(sink.take(&scene.message(index, index * FRAME_NS, None))));
        let listen = if scheme == "srt" { "?mode=listener" } else { "?timeout=20000000" };
        scene.play(Box::new(sink), || assert_eq!(received(receive(&format!("-i {address}{listen}"), 30)), 30));
    }
}

#[test]
fn the_window_shows_the_picture() {
    const CHILD: &str = "MOSTREAM_TEST_WINDOW";
    let scene = Scene::new();
    if std::env::var_os(CHILD).is_some() {
        let mut sink = WindowSink::new(Arc::default(), false).unwrap();
        // Time stamps that are far from the clock do not hold pictures up.
        for index in 0.. {
            sink.take(&scene.message(0, index * 3_600_000_000_000, None)).unwrap();
            println!("taken {index}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    // Without -noreset it starts over when the first sink that is tried lets go of it, and refuses the next one meanwhile.
    let mut screen = Command::new("Xvfb")
        .args(["-displayfd", "1", "-screen", "0", "320x200x24", "-nolisten", "tcp", "-noreset"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut number = String::new();
    BufReader::new(screen.stdout.take().unwrap()).read_line(&mut number).unwrap();
    let display = format!(":{}", number.trim());
    let mut child = alone(module_path!(), "the_window_shows_the_picture")
        .envs([(CHILD, "1"), ("DISPLAY", &display)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let shown = lines.by_ref().filter(|line| line.starts_with("taken")).take(50).count();
    let grab = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "x11grab",
            "-i",
            &display,
            "-frames:v",
            "1",
            "-pix_fmt",
            "gray",
            "-f",
            "rawvideo",
            "-",
        ])
        .output()
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    screen.kill().unwrap();
    screen.wait().unwrap();
    assert_eq!(shown, 50);
    // No window manager: the window is in the corner, or in the middle of the screen.
    let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
    let drawn = scene.luma(0);
    let differs = |left: usize, top: usize| {
        let at = |i: usize| grab.stdout[(top + i / width) * 320 + left + i % width];
        (0..width * height).map(|i| f64::from(at(i).abs_diff(drawn[i]))).sum::<f64>() / (width * height) as f64
    };
    let nearest = [(0, 0), ((320 - width) / 2, (200 - height) / 2)].map(|(left, top)| differs(left, top));
    assert!(nearest.iter().any(|difference| *difference < 6.0), "{nearest:?}");
}
