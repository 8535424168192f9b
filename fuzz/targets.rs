//! Everything that reads foreign bytes, as functions of these bytes: whatever they are, it comes back, with a value that holds what it
//! promises or with words in one line. `tests/fuzzed.rs` runs the stored corpora and mutations of them, `fuzz_targets/any.rs` looks for
//! more of them with libFuzzer.

use mostream::backbone::{Checkpoint, Feature, Metadata};
use mostream::dialect::{Attributes, Dialect, Record, headers, id, structured};
use mostream::discover::groups::Groups;
use mostream::engine::status::Board;
use mostream::evaluate::dataset::{Dataset, Format, Options};
use mostream::publish::push;
use mostream::record::{EndRecord, EventRecord, FrameRecord, StateRecord};
use mostream::run::RunSpec;
use mostream::scene::Scene;
use mostream::stream::camera::{Camera, CameraOptions, Mode, Transport};
use mostream::stream::feed::{Event, Feed};
use mostream::zoo::Store;
use mostream::{npy, picture, web};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One of the functions.
pub struct Target {
    /// Also of its folder in `corpus`.
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// What it may hold at a time, in MiB.
    pub most_mib: usize,
    /// How many mutations an ordinary test tries.
    pub rounds: usize,
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, most_mib: 64, rounds: 10_000 }
}

pub const TARGETS: [Target; 21] = [
    target("pickle", pickle),
    target("pth", checkpoint),
    target("safetensors", checkpoint),
    target("onnx", checkpoint),
    target("installed", installed),
    target("models", models),
    target("npy", matrix),
    // A picture may take 512 MiB, and as much again while it is turned.
    Target { most_mib: 1100, rounds: 300, ..target("picture", any_picture) },
    target("coco", |bytes| dataset(Format::Coco, "annotations.json", bytes)),
    target("voc", |bytes| dataset(Format::Voc, "Annotations/a.xml", bytes)),
    target("yolo", |bytes| dataset(Format::Yolo, "labels/a.txt", bytes)),
    target("yolo_names", |bytes| dataset(Format::Yolo, "data.yaml", bytes)),
    target("clips", |bytes| dataset(Format::Clips, "a.boxes.json", bytes)),
    target("events", |bytes| dataset(Format::Events, "a.events.json", bytes)),
    target("mot", |bytes| dataset(Format::Mot, "a/gt/gt.txt", bytes)),
    Target { most_mib: 600, ..target("davis", |bytes| dataset(Format::Davis, "Annotations/480p/a/00000.png", bytes)) },
    target("groups", groups),
    target("scene", scene),
    target("record", record),
    target("address", address),
    target("config", config),
];

/// Those that answer over a socket, and are slower by that.
pub const ONLINE: [Target; 2] =
    [Target { rounds: 200, ..target("http", http) }, Target { rounds: 5, ..target("sdp", sdp) }];

/// What is told people is one line, and commands no terminal.
fn told(why: impl std::fmt::Display) {
    let why = why.to_string();
    assert!(!why.is_empty() && !why.contains(char::is_control), "{why:?}");
}

/// A folder of this thread's own; in memory where it can be, since thousands of files are written.
fn folder() -> PathBuf {
    thread_local!(static FOLDER: TempDir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap());
    FOLDER.with(|folder| folder.path().to_owned())
}

/// A file of that name below the folder, with these bytes.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    if !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    std::fs::write(&path, bytes).unwrap();
    path
}

fn checkpoint(bytes: &[u8]) {
    match Checkpoint::read(&file("model", bytes)) {
        Ok(checkpoint) => {
            let description = checkpoint.description();
            assert!(checkpoint.patch() > 0, "{description:?}");
            match checkpoint.onnx(Feature::Keys, 16, 16, &Metadata::default()) {
                Ok(graph) => drop(graph),
                Err(error) => told(error),
            }
        }
        Err(error) => told(error),
    }
}

/// A pickle in an archive whose sums are right, with one storage of 64 bytes.
fn pickle(bytes: &[u8]) {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in [("m/data.pkl", bytes), ("m/data/0", &[0; 64])] {
        archive.start_file(name, options).unwrap();
        archive.write_all(content).unwrap();
    }
    checkpoint(&archive.finish().unwrap().into_inner());
}

/// What stands at the beginning of a model in the store.
fn installed(bytes: &[u8]) {
    file("store/a.safetensors", bytes);
    let found = Store::new(folder().join("store")).installed().unwrap();
    assert_eq!(found.len(), 1);
}

fn models(bytes: &[u8]) {
    file("list/models.json", bytes);
    if let Err(error) = Store::new(folder().join("list")).known() {
        told(error);
    }
}

fn matrix(bytes: &[u8]) {
    match npy::read_matrix(bytes) {
        Ok(matrix) => assert!(4 * matrix.len() < bytes.len()),
        Err(error) => told(error),
    }
}

fn any_picture(bytes: &[u8]) {
    let path = file("picture", bytes);
    let mut count = 0;
    let read = picture::each_frame(&path, |frame, _| {
        assert!(frame.width() > 0 && frame.height() > 0);
        count += 1;
        count < 3
    });
    if let Err(error) = read {
        told(error);
    }
    picture::is_picture(&path);
    picture::dimensions(&path).ok();
}

/// One picture or video, and its annotations, which are these bytes at `name`.
fn dataset(format: Format, name: &str, bytes: &[u8]) {
    let root = format!("set {format}");
    let media = match format {
        Format::Coco | Format::Yolo => "images/a.png",
        Format::Voc => "JPEGImages/a.png",
        Format::Davis => "JPEGImages/480p/a/00000.png",
        Format::Mot => "a/img1/000001.png",
        Format::Clips | Format::Events => "a.mp4",
    };
    let root_path = folder().join(&root);
    if !root_path.join(media).exists() {
        file(&format!("{root}/{media}"), &picture::to_png(&picture::RgbImage::new(64, 48)).unwrap());
        file(&format!("{root}/labels/a.txt"), b"0 0.5 0.5 0.5 0.5");
    }
    file(&format!("{root}/{name}"), bytes);
    match Dataset::open(&root_path, Some(format), &Options::default()) {
        Ok(dataset) => {
            dataset.failures.iter().for_each(told);
            for bbox in dataset.items.iter().flat_map(|item| &item.frames).flat_map(|frame| &frame.boxes) {
                let [xmin, ymin, xmax, ymax] = bbox.bbox;
                assert!(0.0 <= xmin && xmin < xmax && 0.0 <= ymin && ymin < ymax, "{bbox:?}");
            }
        }
        Err(error) => told(error),
    }
}

fn groups(bytes: &[u8]) {
    match Groups::load(&file("groups.json", bytes)) {
        Ok(groups) => {
            let again = folder().join("again.json");
            groups.write(&again).unwrap();
            assert_eq!(Groups::load(&again).unwrap().digest(), groups.digest());
        }
        Err(error) => told(error),
    }
}

/// With the sum made right, so that what stands before it is looked at.
fn scene(bytes: &[u8]) {
    let sum =
        bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    match Scene::load(&[bytes, &sum.to_le_bytes()].concat(), "model") {
        Ok((scene, (width, height), rgb)) => {
            assert_eq!(rgb.len(), 3 * width * height);
            assert!(scene.save("model").is_some_and(|again| Scene::load(&again, "model").is_ok()));
        }
        Err(error) => told(error),
    }
}

fn record(bytes: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<FrameRecord>(bytes) {
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<FrameRecord>(&line).unwrap(), record);
        for mask in record.objects.iter().filter_map(|object| object.mask.as_ref()) {
            assert!(mask.patches().iter().all(|&patch| patch < mask.size[0] * mask.size[1]));
        }
        translated(Record::Frame(&record));
    }
    if let Ok(record) = serde_json::from_slice::<EventRecord>(bytes) {
        translated(Record::Event(&record));
    }
    if let Ok(record) = serde_json::from_slice::<StateRecord>(bytes) {
        translated(Record::State(&record));
    }
    if let Ok(record) = serde_json::from_slice::<EndRecord>(bytes) {
        translated(Record::End(&record));
    }
}

/// The record in every other system's words.
fn translated(record: Record) {
    let id = id(record);
    let attributes = Attributes::new(record, &id);
    assert!(!Dialect::Mostream.encode(record).is_empty());
    for message in Dialect::ALL.into_iter().flat_map(|dialect| dialect.encode(record)) {
        let is_json = serde_json::from_slice::<serde_json::Value>(&message.body).is_ok();
        assert!(is_json || message.content_type != "application/json");
        serde_json::from_slice::<serde_json::Value>(&structured(&attributes, &message).body).unwrap();
        let headers = headers(&attributes, &message);
        assert!(headers.iter().all(|(_, value)| value.chars().all(|c| c.is_ascii_graphic())), "{headers:?}");
    }
}

/// A file of a run's flags, which also survives being written.
fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match RunSpec::from_toml(text) {
        Ok(spec) => {
            let again = spec.to_toml().unwrap();
            // Passwords are not written.
            if !again.contains("# its user name and password") {
                assert_eq!(RunSpec::from_toml(&again).as_ref(), Ok(&spec), "{again}");
            }
        }
        Err(error) => told(error),
    }
}

/// What a person or a file names as an input or an output.
fn address(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // A password between the marks is never told.
    let secret = "s3cretw0rd";
    for text in [&*text, &format!("rtsp://me:{secret}@host/{text}"), &format!("{text} rtsp://me:{secret}@host/")] {
        let shown = mostream::stream::redact(text);
        assert!(!shown.contains(&format!("me:{secret}@host")), "{text:?} is told as {shown:?}");
    }
    if let Err(why) = text.parse::<Mode>() {
        told(why);
    }
    if let Err(why) = push::Target::parse(&text) {
        assert!(!why.is_empty());
    }
}

/// A request, or several, to the page's server. Its token is "token".
fn http(bytes: &[u8]) {
    static SERVER: LazyLock<(SocketAddr, Mutex<Box<dyn Send>>)> = LazyLock::new(|| {
        let board = Arc::<Board>::default();
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let server = web::Server::start(address, board.clone(), Some("token".into()), web::Options::default()).unwrap();
        let sink = server.sink(&board.enter("a".into()));
        (server.addr(), Mutex::new(Box::new((server, sink))))
    });
    let mut stream = TcpStream::connect(SERVER.0).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    // It may have hung up already.
    stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write)).ok();
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    // What is followed has no end.
    while !String::from_utf8_lossy(&answer).contains("text/event-stream") {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend(&part[..count]),
            // libFuzzer's clock.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "no answer, and no end: {error}");
                break;
            }
        }
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || text.starts_with("HTTP/1."), "{text}");
    assert!(!text.starts_with("HTTP/1.1 500"), "{text}");
    // The site goes on, and whoever does not know the token learns nothing.
    let known = bytes.windows(5).any(|five| five.eq_ignore_ascii_case(b"token"));
    assert!(known || !text.contains("\"sources\""), "{text}");
}

/// The session description of a camera, which the RTSP server on the other side gives for an answer.
fn sdp(bytes: &[u8]) {
    static CAMERA: LazyLock<(u16, Arc<Mutex<Vec<u8>>>)> = LazyLock::new(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let body = Arc::new(Mutex::new(Vec::new()));
        let given = body.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let body = given.lock().unwrap_or_else(PoisonError::into_inner).clone();
                std::thread::spawn(move || answer(stream, &body));
            }
        });
        (port, body)
    });
    let (port, body) = &*CAMERA;
    *body.lock().unwrap_or_else(PoisonError::into_inner) = bytes.to_vec();
    let options = CameraOptions {
        first_frame_after: Duration::from_secs(1),
        stall_after: Duration::from_secs(1),
        retry_for: Some(Duration::ZERO),
        transport: Transport::Tcp,
        latency_ms: 20,
        ..CameraOptions::default()
    };
    let mut camera = Camera::open(format!("rtsp://127.0.0.1:{port}/live").as_ref(), "camera".into(), options).unwrap();
    let start = Instant::now();
    while let Some(Event::State(change)) = camera.next(&|| start.elapsed() > Duration::from_secs(20)) {
        if let Some(why) = change.why {
            told(why);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(20), "it does not end");
}

/// Answers RTSP requests with this description, and whatever else is asked with "200 OK".
fn answer(mut stream: TcpStream, body: &[u8]) {
    let Ok(read) = stream.try_clone() else { return };
    let mut lines = BufReader::new(read).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        let mut sequence = String::new();
        for header in lines.by_ref().take_while(|line| !line.is_empty()) {
            if header.starts_with("CSeq") {
                sequence = header;
            }
        }
        let body = if request.starts_with("DESCRIBE") { body } else { &[] };
        let head = format!(
            "RTSP/1.0 200 OK\r\n{sequence}\r\nPublic: DESCRIBE, SETUP, PLAY\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_err() {
            return;
        }
    }
}
