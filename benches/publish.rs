//! What it costs to send the records of eight cameras, 25 a second each, to four receivers: processor time of this process alone, of one core,
//! and how long a record waits. Every receiver must have acknowledged every record.
//!
//! `cargo bench --profile release --bench publish [SECONDS] [RECEIVER...]` starts mosquitto, nats-server and redis-server; the fourth receiver is a file.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench ends where something is not as it should be, and prints its times"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use mostream::broker::Target;
use mostream::engine::sink::{Message, Sink};
use mostream::engine::status::Board;
use mostream::publish::broker::{Choice, Order, Publisher};
use mostream::record::FrameRecord;
use mostream::spool::Bounds;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use support::brokers;

const CAMERAS: usize = 8;
const INTERVAL: Duration = Duration::from_millis(40);
const SECONDS: u64 = 20;

/// Of this process so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A record of four tracked objects with their cues: 1.9 KB.
fn record() -> FrameRecord {
    let object = |at: u32| {
        format!(
            r#"{{"bbox":[{at},32,416,160],"seed":null,"score":0.61,"patches":55,"track":{{"id":{at},"state":"active","hits":12,
            "first_seen_ns":280000000,"velocity":[12.5,-3.25]}},"cues":{{"novelty":3.25,"pixels":120.5,"familiar":0.25,"unrest":0.5,
            "contour":1.75,"scene_contour":0.5,"motion":4.5,"appearance":0.375}}}}"#
        )
    };
    let objects = Vec::from_iter((1..5).map(object)).join(",");
    let text = format!(
        r#"{{"kind":"frame","version":1,"run":"9f1c6b02e47d5a38","source":"camera","frame":7,"pts_ns":280000000,"width":640,"height":480,
        "grid":{{"rows":30,"cols":40,"patch_width":16.0,"patch_height":16.0}},"method":"most","model":"mostream-vit-tiny-8@f2596acdf0e5",
        "inferred":true,"objects":[{objects}]}}"#
    );
    serde_json::from_str(&text).unwrap()
}

/// Eight threads give their sinks a record every 40 ms. How long a sink held its thread up, of every record.
fn run(sinks: Vec<Box<dyn Sink>>, seconds: u64) -> Vec<Duration> {
    let record = record();
    let frames = seconds * 1000 / INTERVAL.as_millis() as u64;
    std::thread::scope(|scope| {
        let threads = sinks.into_iter().enumerate().map(|(number, mut sink)| {
            let record = FrameRecord { source: format!("camera{number}"), ..record.clone() };
            scope.spawn(move || {
                // Cameras do not tell each other when to look.
                let start = Instant::now() + INTERVAL * number as u32 / CAMERAS as u32;
                let take = |frame: u64| {
                    std::thread::sleep((start + INTERVAL * frame as u32).saturating_duration_since(Instant::now()));
                    let began = Instant::now();
                    let record = Arc::new(FrameRecord { frame, ..record.clone() });
                    sink.take(&Message::Frame { record, picture: None }).unwrap();
                    began.elapsed()
                };
                Vec::from_iter((0..frames).map(take))
            })
        });
        let threads = Vec::from_iter(threads);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// JetStream takes nothing whose subject is no stream's.
fn make_stream(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let jetstream = async_nats::jetstream::new(async_nats::connect(url).await.unwrap());
        let (name, subjects) = ("bench".into(), vec!["a.>".into()]);
        let config = async_nats::jetstream::stream::Config { name, subjects, ..Default::default() };
        jetstream.create_stream(config).await.unwrap();
    });
}

fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(SECONDS);
    let folder = tempfile::tempdir().unwrap();
    let room = || tempfile::tempdir().unwrap();
    let mosquitto = brokers::mosquitto(room(), "allow_anonymous true");
    let nats = brokers::nats(room(), "");
    let redis = brokers::redis(room(), "");
    let file = folder.path().join("records.jsonl");
    let (mqtt, to_redis) =
        (format!("mqtt://127.0.0.1:{}", mosquitto.port), format!("redis://127.0.0.1:{}", redis.port));
    let to_nats = format!("nats://127.0.0.1:{}", nats.port);
    make_stream(&to_nats);
    let receivers = [
        ("mqtt", mqtt, "a/{source}/{kind}"),
        ("nats", to_nats, "a.{source}.{kind}"),
        ("redis", to_redis, "a"),
        ("file", format!("file://{}", file.display()), "a"),
    ];

    let board = Arc::new(Board::default());
    let publisher = Publisher::start(board.clone(), Arc::new(AtomicBool::new(false))).unwrap();
    let sinks = || {
        Vec::from_iter((0..CAMERAS).map(|number| format!("camera{number}")).map(|name| publisher.sink(&name, &name)))
    };
    // What the threads alone cost.
    let before = processor_time();
    run(sinks(), seconds.min(5));
    let alone = (processor_time() - before).as_secs_f64() / seconds.min(5) as f64;
    let asked = Vec::from_iter(std::env::args().skip(1));
    let is_asked = |name: &str| {
        !receivers.iter().any(|(other, ..)| asked.contains(&(*other).to_owned())) || asked.contains(&name.to_owned())
    };
    for (name, url, topic) in receivers.iter().filter(|(name, ..)| is_asked(name)) {
        let choice = Choice { topic: Some(topic.parse().unwrap()), ..Choice::default() };
        let target = Target { url: url.clone(), ..Target::default() };
        let bounds = Bounds { bytes: 1 << 30, age_ns: None };
        publisher
            .add(Order { name: (*name).into(), target, choice, folder: folder.path().join(name), bounds })
            .unwrap();
    }
    let before = processor_time();
    let mut held = run(sinks(), seconds);
    let share = (processor_time() - before).as_secs_f64() / seconds as f64 - alone;
    held.sort_unstable();
    let records = held.len() as u64;
    let deadline = Instant::now() + Duration::from_secs(10);
    while board.destinations().iter().any(|to| to.snapshot().acknowledged < records) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("{CAMERAS} cameras, {records} records in {seconds} s, to {} receivers", board.destinations().len());
    println!(
        "processor: {:.2} % of one core (and {:.2} % for the threads that make the records)",
        100.0 * share,
        100.0 * alone
    );
    println!(
        "a sink holds its source up for {:?} (median), {:?} (99 of 100)",
        held[held.len() / 2],
        held[held.len() * 99 / 100]
    );
    for to in board.destinations() {
        let now = to.snapshot();
        assert_eq!(now.acknowledged, records, "{}: {:?}", now.name, now.last_error);
        let mean = now.waits.sum().as_secs_f64() / records as f64;
        println!("{}: acknowledged after {:.2} ms on average", now.name, 1e3 * mean);
    }
    if is_asked("file") {
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count() as u64, records);
    }
}
