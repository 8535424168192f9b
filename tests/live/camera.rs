//! Live sources, and what happens to them.

use crate::support::camera::{Does, RtspCamera, Running, Wire, free_port, request, serve};
use crate::support::program::{self, stderr};
use gstreamer_video::prelude::*;
use mostream::record::{CaptureClock, SourceState};
use mostream::stream::camera::{Camera, CameraOptions, Mode, Transport};
use mostream::stream::feed::{Event, Feed, StateChange};
use mostream::stream::frame::Frame;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Long enough for the slowest machine; nothing takes so long where all is well.
const PATIENCE: Duration = Duration::from_secs(60);
const SMALL: [&str; 6] = ["--size", "160x120", "--fps", "25", "--key-frames", "10"];

/// The program's times, scaled down.
fn options() -> CameraOptions {
    CameraOptions {
        stall_after: Duration::from_millis(1000),
        first_frame_after: Duration::from_secs(5),
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(200),
        latency_ms: 20,
        transport: Transport::Tcp,
        ..CameraOptions::default()
    }
}

fn open(input: &str, options: CameraOptions) -> Camera {
    Camera::open(OsStr::new(input), "camera".into(), options).unwrap()
}

fn next(camera: &mut Camera) -> Option<Event> {
    let start = Instant::now();
    camera.next(&|| start.elapsed() > PATIENCE)
}

fn states(seen: &[StateChange]) -> Vec<SourceState> {
    seen.iter().map(|change| change.state).collect()
}

/// The next frame, and the changes before it.
fn frame(camera: &mut Camera) -> (Frame, Vec<StateChange>) {
    let mut seen = Vec::new();
    loop {
        match next(camera) {
            Some(Event::Frame(frame)) => return (frame, seen),
            Some(Event::State(change)) => seen.push(change),
            None => panic!("no frame came: {seen:?}"),
        }
    }
}

fn frames(camera: &mut Camera, count: usize) -> Vec<Frame> {
    (0..count).map(|_| frame(camera).0).collect()
}

/// The next change to `state`, over frames and other changes.
fn until(camera: &mut Camera, state: SourceState) -> StateChange {
    loop {
        match next(camera) {
            Some(Event::State(change)) if change.state == state => return change,
            Some(_) => {}
            None => panic!("it did not become {state:?}"),
        }
    }
}

fn size(frame: &Frame) -> (u32, u32) {
    (frame.info.width(), frame.info.height())
}

/// Brightness of the upper half, where the test picture stands still.
fn brightness(frame: &Frame) -> Vec<u8> {
    let video = gstreamer_video::VideoFrameRef::from_buffer_ref_readable(&frame.buffer, &frame.info).unwrap();
    let (width, height, stride) =
        (frame.info.width() as usize, frame.info.height() as usize, video.plane_stride()[0] as usize);
    let plane = video.plane_data(0).unwrap();
    // The clock is drawn into the top left.
    (height / 4..height / 2).flat_map(|y| plane[y * stride..][..width].to_vec()).collect()
}

/// Re-executes this test alone in a process, with `configure`d input and output; whether this is that process.
fn alone(test: &str, configure: impl FnOnce(&mut Command) -> bool) -> bool {
    if std::env::var_os("MOSTREAM_TEST_ALONE").is_some() {
        return true;
    }
    let mut command = program::alone(module_path!(), test);
    command.env("MOSTREAM_TEST_ALONE", "1");
    assert!(configure(&mut command));
    false
}

#[test]
fn a_camera_that_is_down_is_waited_for_and_its_frames_are_in_order() {
    let port = free_port();
    let mut camera = open(&format!("rtsp://127.0.0.1:{port}/live"), options());
    let lost = until(&mut camera, SourceState::Lost);
    assert!(lost.why.as_ref().is_some_and(|why| why.contains("onnect")), "{lost:?}");
    let server = RtspCamera::start(port, &SMALL);
    let (first, seen) = frame(&mut camera);
    assert_eq!(states(&seen)[states(&seen).len() - 2..], [SourceState::Connecting, SourceState::Live], "{seen:?}");
    assert_eq!((first.index, first.pts_ns, size(&first)), (0, 0, (160, 120)));
    let all = frames(&mut camera, 25);
    for (before, after) in all.iter().zip(&all[1..]) {
        assert_eq!(after.index, before.index + 1);
        let step = after.pts_ns - before.pts_ns;
        assert!((20_000_000..=200_000_000).contains(&step), "{step} ns at 25 frames per second");
        let (before, after) = (before.capture.unwrap(), after.capture.unwrap());
        assert!(before.instant < after.instant && before.instant <= Instant::now());
        assert_eq!(after.gap_ns, None);
    }
    drop(server);
    until(&mut camera, SourceState::Lost);
}

#[test]
fn a_source_that_stays_away_ends() {
    let retry_for = Some(Duration::from_millis(300));
    let mut camera = open(&format!("rtsp://127.0.0.1:{}/x", free_port()), CameraOptions { retry_for, ..options() });
    until(&mut camera, SourceState::Ended);
    assert!(next(&mut camera).is_none());
}

#[test]
fn the_camera_tells_when_a_frame_was_taken() {
    let server = RtspCamera::start(free_port(), &SMALL);
    let mut camera = open(&server.url(), options());
    let told = std::iter::repeat_with(|| frame(&mut camera).0.capture.unwrap())
        .take(500)
        .find(|capture| capture.clock == CaptureClock::Rtcp)
        .expect("no sender report in 20 s");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i128;
    // The same machine's clock.
    assert!((now - i128::from(told.unix_ns)).abs() < 2_000_000_000, "{} ns off", now - i128::from(told.unix_ns));
}

#[test]
fn nothing_is_shown_before_the_first_key_frame() {
    for codec in ["h264", "h265"] {
        // A key frame every 4 seconds, and a second viewer who comes between two.
        let server = RtspCamera::start(free_port(), &["--codec", codec, "--key-frames", "100", "--size", "320x240"]);
        // On a busy machine packets are late; those dropped would spoil pictures after the key frame, which is another matter.
        let patient = || CameraOptions { latency_ms: 1000, ..options() };
        let mut early = open(&server.url(), patient());
        let whole = frames(&mut early, 30).pop().unwrap();
        let mut late = open(&server.url(), patient());
        let watch = std::thread::spawn(move || {
            let (first, _) = frame(&mut late);
            (first, late.broken())
        });
        let first = loop {
            if watch.is_finished() {
                break watch.join().unwrap();
            }
            frame(&mut early);
        };
        let (first, broken) = first;
        assert!(broken > 0, "{codec}: it came with the key frame, and shows nothing");
        let (whole, first) = (brightness(&whole), brightness(&first));
        let error = whole.iter().zip(&first).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / whole.len() as f64;
        assert!(error < 4.0, "{codec}: differs by {error}");
    }
}

#[test]
fn passwords_open_cameras_and_are_never_told() {
    let server = RtspCamera::start(free_port(), &["--user", "me", "--password", "p@ss:w%rd", "--size", "160x120"]);
    let url = |credentials: &str| server.url().replace("://", &format!("://{credentials}@"));
    for credentials in ["me:p@ss:w%rd", "me:p%40ss%3Aw%25rd"] {
        frame(&mut open(&url(credentials), options()));
    }
    let (user, password) = (Some("me".to_owned()), Some("p@ss:w%rd".to_owned()));
    frame(&mut open(&server.url(), CameraOptions { user, password, ..options() }));
    for (input, password) in [(url("me:p@ss:wrong"), "wrong"), (url("me:p%40ss%2Fwrong"), "wrong")] {
        let mut camera = open(&input, options());
        let why = until(&mut camera, SourceState::Lost).why.unwrap();
        assert!(why.contains("the user name or the password is not accepted"), "{why}");
        assert!(!why.contains(password) && !why.contains("p@ss") && !why.contains("p%40"), "{why}");
    }
    let refused = Camera::open(OsStr::new("rtsp://me:p@ss@host:99999/"), "x".into(), options()).err().unwrap();
    assert!(!refused.to_string().contains("p@ss"), "{refused}");
}

#[test]
fn a_password_in_the_url_comes_before_the_file_and_the_file_before_the_environment() {
    let test = "a_password_in_the_url_comes_before_the_file_and_the_file_before_the_environment";
    let variables = [("MOSTREAM_RTSP_USER", "me"), ("MOSTREAM_RTSP_PASSWORD", "environment")];
    if !alone(test, |command| command.envs(variables).status().unwrap().success()) {
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "me:file\nmore\n").unwrap();
    let read = |file: Option<&std::path::Path>| {
        let mut options = options();
        options.read_credentials(file).unwrap();
        options
    };
    for (password, credentials, options) in [
        ("environment", "", read(None)),
        ("file", "", read(Some(file.path()))),
        ("url", "me:url@", read(Some(file.path()))),
    ] {
        let server = RtspCamera::start(free_port(), &["--user", "me", "--password", password, "--size", "160x120"]);
        frame(&mut open(&server.url().replace("://", &format!("://{credentials}")), options));
    }
}

#[test]
fn parameter_sets_may_come_with_the_stream_alone() {
    for codec in ["h264", "h265"] {
        let server = RtspCamera::start(free_port(), &[&SMALL[..], &["--codec", codec]].concat());
        let wire = Wire::to(server.port);
        wire.now(Does::Strip);
        for _ in 0..3 {
            let mut camera = open(&format!("rtsp://127.0.0.1:{}/live", wire.port), options());
            let (first, seen) = frame(&mut camera);
            assert_eq!(
                (size(&first), states(&seen)),
                ((160, 120), vec![SourceState::Connecting, SourceState::Live]),
                "{codec}"
            );
        }
    }
}

/// Whether each SETUP in what was asked is for TCP.
fn setups(asked: &str) -> Vec<bool> {
    asked.split("SETUP ").skip(1).map(|setup| setup.split("\r\n\r\n").next().unwrap().contains("/TCP")).collect()
}

#[test]
fn a_transport_that_has_worked_is_tried_again() {
    let server = RtspCamera::start(free_port(), &SMALL);
    let wire = Wire::to(server.port);
    let options = CameraOptions { transport: Transport::Auto, ..options() };
    let mut camera = open(&format!("rtsp://127.0.0.1:{}/live", wire.port), options);
    for round in 0..4 {
        frames(&mut camera, 3);
        // Away as a whole, which says nothing of the transport.
        wire.now(Does::Cut);
        (0..1 + round).for_each(|_| drop(until(&mut camera, SourceState::Lost)));
        wire.now(Does::Pass);
    }
    frames(&mut camera, 3);
    let setups = setups(&wire.asked());
    assert!(setups.len() >= 5 && setups.iter().all(|is_tcp| *is_tcp), "{setups:?}");
}

#[test]
fn the_other_transport_is_tried_where_one_was_refused_twice() {
    let asked = Arc::new(Mutex::new(String::new()));
    let heard = asked.clone();
    let port = serve(move |mut stream| {
        while let Some(request) = request(&stream) {
            let number = request.split("CSeq: ").nth(1).unwrap().lines().next().unwrap().to_owned();
            let body = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=a\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
                        a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:one\r\n";
            let answer = match request.split(' ').next().unwrap() {
                "DESCRIBE" => format!(
                    "200 OK\r\nCSeq: {number}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ),
                "SETUP" => format!("461 Unsupported Transport\r\nCSeq: {number}\r\n\r\n"),
                _ => format!("200 OK\r\nCSeq: {number}\r\nPublic: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n"),
            };
            heard.lock().unwrap().push_str(&format!("{request}\r\n\r\n"));
            stream.write_all(format!("RTSP/1.0 {answer}").as_bytes()).ok();
        }
    });
    let mut camera =
        open(&format!("rtsp://127.0.0.1:{port}/live"), CameraOptions { transport: Transport::Auto, ..options() });
    for _ in 0..5 {
        let why = until(&mut camera, SourceState::Lost).why.unwrap();
        assert!(why.starts_with(&format!("127.0.0.1:{port}: ")) && why.contains("transport"), "{why}");
    }
    // By UDP each connection asks for multicast, too.
    let mut setups = setups(&asked.lock().unwrap());
    assert_eq!(setups[..3], [true, true, false]);
    setups.dedup();
    assert_eq!(setups, [true, false, true]);
}

#[test]
fn a_login_that_cannot_be_made_is_told_and_not_tried_again_at_once() {
    let logins = Arc::new(AtomicUsize::new(0));
    let counted = logins.clone();
    let port = serve(move |mut stream| {
        while let Some(request) = request(&stream) {
            let number = request.split("CSeq: ").nth(1).unwrap().lines().next().unwrap().to_owned();
            counted.fetch_add(usize::from(request.starts_with("OPTIONS")), Ordering::SeqCst);
            let status = match request.starts_with("OPTIONS") {
                true => "200 OK\r\nPublic: DESCRIBE, SETUP, PLAY",
                false => "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"a\", nonce=\"b\", algorithm=\"SHA-256\"",
            };
            stream.write_all(format!("RTSP/1.0 {status}\r\nCSeq: {number}\r\n\r\n").as_bytes()).ok();
        }
    });
    let options = CameraOptions { user: Some("me".into()), password: Some("s3cret".into()), ..options() };
    let mut camera =
        open(&format!("rtsp://127.0.0.1:{port}/live"), CameraOptions { backoff_max: 60 * PATIENCE, ..options });
    let why = until(&mut camera, SourceState::Lost).why.unwrap();
    assert!(
        why.starts_with(&format!("127.0.0.1:{port}: ")) && why.contains("SHA-256") && !why.contains("s3cret"),
        "{why}"
    );
    let start = Instant::now();
    assert!(camera.next(&|| start.elapsed() > Duration::from_millis(300)).is_none());
    assert_eq!(logins.load(Ordering::SeqCst), 1);
}

#[test]
fn a_wrong_login_is_sent_once_in_a_connection() {
    for challenge in ["Basic realm=\"a\"", "Digest realm=\"a\", nonce=\"b\""] {
        for asks_at_once in [false, true] {
            let (logins, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (counted, all) = (logins.clone(), answered.clone());
            let port = serve(move |mut stream| {
                while let Some(request) = request(&stream) {
                    let number = request.split("CSeq: ").nth(1).unwrap().lines().next().unwrap().to_owned();
                    counted.fetch_add(usize::from(request.contains("Authorization: ")), Ordering::SeqCst);
                    let status = match request.starts_with("OPTIONS") && !asks_at_once {
                        true => "200 OK\r\nPublic: DESCRIBE, SETUP, PLAY".to_owned(),
                        false => format!("401 Unauthorized\r\nWWW-Authenticate: {challenge}"),
                    };
                    stream.write_all(format!("RTSP/1.0 {status}\r\nCSeq: {number}\r\n\r\n").as_bytes()).ok();
                    all.fetch_add(1, Ordering::SeqCst);
                }
            });
            let options = CameraOptions { user: Some("me".into()), password: Some("s3cret".into()), ..options() };
            let mut camera = open(&format!("rtsp://127.0.0.1:{port}/live"), options);
            let why = until(&mut camera, SourceState::Lost).why.unwrap();
            assert!(why.contains("the user name or the password is not accepted"), "{why}");
            let logins = logins.load(Ordering::SeqCst);
            assert_eq!(logins, 1, "{challenge}, of {} requests", answered.load(Ordering::SeqCst));
        }
    }
}

#[test]
fn transports_and_certificates() {
    let server = RtspCamera::start(free_port(), &SMALL);
    frames(&mut open(&server.url(), CameraOptions { transport: Transport::Udp, ..options() }), 5);
    frames(&mut open(&server.url(), CameraOptions { transport: Transport::Auto, ..options() }), 5);

    let folder = tempfile::tempdir().unwrap();
    crate::support::certificate::make(folder.path());
    let pem = folder.path().join("camera.pem");
    let parts = ["key.pem", "certificate.pem"].map(|part| std::fs::read(folder.path().join(part)).unwrap());
    std::fs::write(&pem, parts.concat()).unwrap();
    let server = RtspCamera::start(free_port(), &["--certificate", pem.to_str().unwrap(), "--size", "160x120"]);
    let url = server.url().replace("rtsp://", "rtsps://");
    // Nobody vouches for it.
    until(&mut open(&url, options()), SourceState::Lost);
    frames(&mut open(&url, CameraOptions { insecure_tls: true, ..options() }), 5);
}

#[test]
fn servers_that_lie_are_lost_and_left() {
    let say = |text: &'static str| {
        serve(move |mut stream: TcpStream| {
            while let Some(asked) = request(&stream) {
                let sequence = asked.lines().find(|line| line.starts_with("CSeq")).unwrap_or("CSeq: 1").to_owned();
                let body = if asked.starts_with("OPTIONS") { "" } else { text };
                let answer = format!(
                    "RTSP/1.0 200 OK\r\n{sequence}\r\nPublic: DESCRIBE, SETUP, PLAY\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        })
    };
    let patience = CameraOptions { first_frame_after: Duration::from_millis(800), ..options() };
    let liars = [
        ("never answers", serve(|stream| std::thread::sleep(PATIENCE + stream.ttl().map(|_| PATIENCE).unwrap()))),
        ("hangs up", serve(drop)),
        ("garbage", serve(|mut stream| while stream.write_all(&[0x24, 0xff, 0x80, 0x0d, 0x0a, 0x00]).is_ok() {})),
        ("no session", say("")),
        ("no session description", say("v=0\r\nv=1\r\nm=nonsense -1 \u{1}\r\na=control:../../..\r\n")),
        ("no video", say("v=0\r\no=- 0 0 IN IP4 0\r\ns=x\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\na=control:a\r\n")),
        (
            "unknown codec",
            say(
                "v=0\r\no=- 0 0 IN IP4 0\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 nonsense/0\r\na=control:a\r\n",
            ),
        ),
    ];
    for (lie, port) in liars {
        let mut camera = open(&format!("rtsp://127.0.0.1:{port}/live"), patience.clone());
        for _ in 0..3 {
            let why = until(&mut camera, SourceState::Lost).why.unwrap();
            assert!(!why.is_empty() && !why.contains('\n'), "{lie}: {why:?}");
            println!("{lie}: {why}");
        }
    }
}

/// Breaks and mends in turn; frames go on after each.
fn recover(camera: &mut Camera, times: usize, mut break_it: impl FnMut(usize), mut mend_it: impl FnMut(usize)) {
    let mut last = frame(camera).0;
    for time in 0..times {
        let mut seen = Vec::new();
        for count in 0.. {
            if count == 3 {
                break_it(time);
            }
            match next(camera) {
                Some(Event::Frame(frame)) => {
                    assert_eq!(frame.index, last.index + 1);
                    assert!(frame.pts_ns > last.pts_ns && frame.capture.unwrap().gap_ns.is_none());
                    last = frame;
                }
                Some(Event::State(change)) => {
                    seen.push(change);
                    break;
                }
                None => panic!("time {time}: it does not notice"),
            }
        }
        mend_it(time);
        let (back, then) = frame(camera);
        seen.extend(then);
        let mut before = SourceState::Live;
        for state in states(&seen) {
            use SourceState::*;
            let may_follow = match before {
                Live => matches!(state, Lost | Stalled),
                Lost | Stalled => state == Connecting,
                Connecting => matches!(state, Lost | Live),
                Ended => false,
            };
            assert!(may_follow, "time {time}: {seen:?}");
            before = state;
        }
        assert_eq!(before, SourceState::Live, "time {time}: {seen:?}");
        assert!(
            seen.iter()
                .all(|change| matches!(change.state, SourceState::Connecting | SourceState::Live)
                    == change.why.is_none())
        );
        assert_eq!(back.index, last.index + 1, "time {time}");
        let gap = back.capture.unwrap().gap_ns.unwrap();
        let (wait, pts) = (back.capture.unwrap().instant - last.capture.unwrap().instant, back.pts_ns - last.pts_ns);
        assert_eq!(u128::from(gap), wait.as_nanos(), "time {time}");
        // Time stamps tell the same time as the clock, but for what packets were waited for.
        assert!(pts.abs_diff(gap) < 500_000_000, "time {time}: {pts} over a gap of {gap}");
        last = back;
    }
}

/// Open files, threads, and resident memory in MiB.
fn held() -> [usize; 3] {
    let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    [count("/proc/self/fd"), count("/proc/self/task"), pages * 4096 / (1 << 20)]
}

/// `held`, once connections that are going down have gone.
fn held_at_rest() -> [usize; 3] {
    (0..50)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            held()
        })
        .min()
        .unwrap()
}

#[test]
fn a_hundred_recoveries_out_of_a_hundred_and_nothing_leaks() {
    let test = "a_hundred_recoveries_out_of_a_hundred_and_nothing_leaks";
    if !alone(test, |command| command.status().unwrap().success()) {
        return;
    }
    // The others would wait for one that panics for ever.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        #[expect(clippy::exit, reason = "other threads wait for this one")]
        std::process::exit(101);
    }));
    let rest = Barrier::new(5);
    let camera_on = |port: u16| open(&format!("rtsp://127.0.0.1:{port}/live"), options());
    // Two in five first, then the state is at rest, then the others.
    let in_parts = |times: usize, mut part: Box<dyn FnMut(usize) + '_>| {
        for times in [times * 2 / 5, times - times * 2 / 5] {
            part(times);
            rest.wait();
            rest.wait();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let port = free_port();
            let server = RefCell::new(Some(RtspCamera::start(port, &SMALL)));
            let mut camera = camera_on(port);
            let sizes = ["160x120", "176x144", "320x240"];
            in_parts(
                30,
                Box::new(|times| {
                    recover(
                        &mut camera,
                        times,
                        |_| drop(server.take()),
                        |time| {
                            let other = ["--size", sizes[time % 3], "--fps", ["25", "15"][time % 2]];
                            server.replace(Some(RtspCamera::start(port, &other)));
                        },
                    );
                }),
            );
        });
        scope.spawn(|| {
            let server = RtspCamera::start(free_port(), &SMALL);
            let mut camera = camera_on(server.port);
            in_parts(
                15,
                Box::new(|times| recover(&mut camera, times, |_| server.signal("STOP"), |_| server.signal("CONT"))),
            );
        });
        scope.spawn(|| {
            let server = RtspCamera::start(free_port(), &SMALL);
            let wire = Wire::to(server.port);
            let mut camera = camera_on(wire.port);
            let faults = [Does::Cut, Does::Garble];
            in_parts(
                40,
                Box::new(|times| {
                    recover(&mut camera, times, |time| wire.now(faults[time % 2]), |_| wire.now(Does::Pass))
                }),
            );
        });
        scope.spawn(|| {
            let server = RtspCamera::start(free_port(), &SMALL);
            let wire = Wire::to(server.port);
            let mut camera = camera_on(wire.port);
            in_parts(
                15,
                Box::new(|times| recover(&mut camera, times, |_| wire.now(Does::Swallow), |_| wire.now(Does::Pass))),
            );
        });
        rest.wait();
        let [files, threads, memory] = held_at_rest();
        rest.wait();
        rest.wait();
        let after = held_at_rest();
        rest.wait();
        println!("after 40: {files} files, {threads} threads, {memory} MiB; after 100: {after:?}");
        // One for each recovery would be 60 more.
        assert!(after[0] <= files + 12 && after[1] <= threads + 12, "{after:?} after {:?}", [files, threads]);
        assert!(after[2] <= memory + 20, "{} MiB after {memory}", after[2]);
    });
}

const DRAW: &str = "videotestsrc is-live=true ! video/x-raw,format=I420,framerate=25/1,";
const ENCODE: &str = "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10";

#[expect(clippy::print_stdout, reason = "shown where the test fails")]
/// Frames come, stop with their sender, and come back in another size with the next.
fn comes_back<T>(input: &str, options: CameraOptions, start: impl Fn(&str) -> T) {
    println!("{input}");
    let mut camera = open(input, options);
    let sender = start("width=160,height=120");
    assert!(frames(&mut camera, 10).iter().all(|frame| size(frame) == (160, 120)), "{input}");
    drop(sender);
    let change = loop {
        match next(&mut camera) {
            Some(Event::Frame(_)) => {}
            Some(Event::State(change)) => break change,
            None => panic!("{input}: does not notice"),
        }
    };
    assert!(matches!(change.state, SourceState::Lost | SourceState::Stalled), "{input}: {change:?}");
    let _sender = start("width=176,height=144");
    let back = frame(&mut camera).0;
    assert_eq!(size(&back), (176, 144), "{input}");
    assert!(back.capture.unwrap().gap_ns.is_some(), "{input}");
}

#[test]
fn streams_by_udp_rtp_and_srt_come_back() {
    let port = free_port();
    comes_back(&format!("udp://127.0.0.1:{port}"), options(), |size| {
        Running::launch(&format!("{DRAW}{size} {ENCODE} ! mpegtsmux alignment=7 ! udpsink host=127.0.0.1 port={port}"))
    });
    let port = free_port();
    comes_back(&format!("rtp://127.0.0.1:{port}"), options(), |size| {
        Running::launch(&format!(
            "{DRAW}{size} {ENCODE} ! rtph264pay config-interval=-1 ! udpsink host=127.0.0.1 port={port}"
        ))
    });
    let port = free_port();
    comes_back(&format!("rtp://127.0.0.1:{port}?codec=h264"), options(), |size| {
        Running::launch(&format!("{DRAW}{size} ! jpegenc ! rtpjpegpay ! udpsink host=127.0.0.1 port={port}"))
    });
    let (port, secret) = (free_port(), "passphrase=0123456789");
    comes_back(&format!("srt://127.0.0.1:{port}?{secret}"), options(), |size| {
        Running::launch(&format!(
            "{DRAW}{size} {ENCODE} ! mpegtsmux alignment=7 ! srtsink uri=srt://:{port}?mode=listener&{secret} wait-for-connection=false"
        ))
    });
}

/// Runs a pipeline to its end.
fn make(line: &str) {
    let made = Command::new("gst-launch-1.0").arg("-q").args(line.split_whitespace()).output().unwrap();
    assert!(made.status.success(), "{line}: {}", stderr(&made));
}

#[test]
fn jpeg_over_http_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, is_up) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let (shown, up) = (pictures.clone(), is_up.clone());
    let port = serve(move |mut stream: TcpStream| {
        let asked = request(&stream).unwrap_or_default();
        // me:p@ss
        if !asked.contains("Basic bWU6cEBzcw==") {
            let refusal = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"camera\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return stream.write_all(refusal.as_bytes()).unwrap_or(());
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap_or(());
        while up.load(Ordering::SeqCst) {
            let picture: Vec<u8> = shown.lock().unwrap().clone();
            let head = format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
            if [head.as_bytes(), &picture, b"\r\n"].into_iter().any(|part| stream.write_all(part).is_err()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(40));
        }
    });
    struct Up(Arc<AtomicBool>);
    impl Drop for Up {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }
    comes_back(&format!("http://me:p@ss@127.0.0.1:{port}/video.cgi"), options(), |size| {
        let file = folder.path().join("picture.jpg");
        make(&format!(
            "videotestsrc num-buffers=1 ! video/x-raw,{size} ! jpegenc ! filesink location={}",
            file.display()
        ));
        *pictures.lock().unwrap() = std::fs::read(file).unwrap();
        is_up.store(true, Ordering::SeqCst);
        Up(is_up.clone())
    });
    let mut camera = open(&format!("http://me:wr@ng@127.0.0.1:{port}/video.cgi"), options());
    let why = until(&mut camera, SourceState::Lost).why.unwrap();
    assert!(!why.contains("wr@ng") && !why.contains("ng@"), "{why}");
}

#[test]
fn segments_are_followed_to_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let make = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=s=160x120:r=25:d=3", "-g", "25", "-pix_fmt", "yuv420p"])
        .args(["-hls_time", "1", "-hls_list_size", "0", "-f", "hls"])
        .arg(path.join("live.m3u8"))
        .status();
    assert!(make.unwrap().success());
    let port = serve(move |mut stream: TcpStream| {
        let asked = request(&stream).unwrap_or_default();
        let name = asked.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        let body = std::fs::read(path.join(name)).unwrap_or_default();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).unwrap_or(());
    });
    let mut camera = open(&format!("http://127.0.0.1:{port}/live.m3u8"), options());
    let all = frames(&mut camera, 75);
    assert!((2_900_000_000..=3_000_000_000).contains(&all[74].pts_ns), "{}", all[74].pts_ns);
    // At their own pace, not all at once.
    let took = all[74].capture.unwrap().instant - all[0].capture.unwrap().instant;
    assert!(took > Duration::from_secs(2), "{took:?}");
    assert_eq!(until(&mut camera, SourceState::Ended).why, None);
}

#[test]
fn raw_frames_on_standard_input() {
    let feed = |command: &mut Command| {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        for luma in 0..10u8 {
            pipe.write_all(&[luma * 20; 64 * 48 * 3 / 2]).unwrap();
        }
        drop(pipe);
        child.wait().unwrap().success()
    };
    if !alone("raw_frames_on_standard_input", feed) {
        return;
    }
    assert!(Camera::open(OsStr::new("-"), "-".into(), options()).is_err(), "its size is not known");
    let mode: Mode = "64x48@25:I420".parse().unwrap();
    let mut camera = open("-", CameraOptions { mode: Some(mode), ..options() });
    for (number, frame) in frames(&mut camera, 10).iter().enumerate() {
        assert_eq!((size(frame), frame.pts_ns), ((64, 48), number as u64 * 40_000_000));
        assert!(brightness(frame).iter().all(|&luma| usize::from(luma) == number * 20));
    }
    assert_eq!(until(&mut camera, SourceState::Ended).why, None);
    assert!(next(&mut camera).is_none());
}

#[test]
fn pipelines_of_ones_own_may_change_their_size() {
    let part = |size: &str| format!("videotestsrc num-buffers=10 ! video/x-raw,{size},framerate=25/1 ! jpegenc !");
    let (small, large) = (part("width=160,height=120"), part("width=176,height=144"));
    let mut camera = open(&format!("{small} concat name=c ! jpegdec ! appsink name=frames {large} c."), options());
    let all = frames(&mut camera, 20);
    assert_eq!((size(&all[9]), size(&all[10])), ((160, 120), (176, 144)));
    assert!(all.iter().all(|frame| frame.capture.unwrap().gap_ns.is_none()));
    assert_eq!(until(&mut camera, SourceState::Ended).why, None);

    let fault = |line: &str| Camera::open(OsStr::new(line), "x".into(), options()).err().map(|error| error.to_string());
    assert!(fault("nonesuch ! appsink name=frames").is_some_and(|why| why.contains("nonesuch")));
    assert!(
        fault("rtspsrc location=rtsp://u:s3cret@h user-pw=s3cret ! ! appsink name=frames")
            .is_some_and(|why| !why.contains("s3cret"))
    );
}

#[test]
fn a_capture_device() {
    for input in ["/dev/video9999", "cam"] {
        let mut camera = open(input, options());
        let seen: Vec<SourceState> = (0..4)
            .map(|_| match next(&mut camera) {
                Some(Event::State(change)) => change.state,
                _ => panic!("{input}: no device is here"),
            })
            .collect();
        assert_eq!(seen, [SourceState::Connecting, SourceState::Lost].repeat(2), "{input}");
    }
    // The same line with drawn pictures in place of the device.
    let line = include_str!("../../pipelines/v4l2.launch").replace("v4l2src", "videotestsrc is-live=true");
    for mode in ["video/x-raw,format=YUY2,width=160,height=120", "video/x-raw ! jpegenc ! image/jpeg"] {
        let line = line.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
        frames(&mut open(&line.replace("capsfilter name=mode", mode), options()), 10);
    }
}
