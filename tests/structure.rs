//! Which room may use which library: the architecture, held to by a scan of the source.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::path::{Path, PathBuf};

/// A crate, and the files and folders of `src` that may name it.
const RULES: [(&str, &[&str]); 67] = [
    ("serde", &[""]),
    ("jiff", &["broker/webhook.rs", "dialect", "zones/schedule.rs"]),
    ("pathfinding", &["assign.rs"]),
    ("thiserror", &[""]),
    ("ndarray", &["backbone", "cli", "discover", "engine", "inspect", "localize", "npy.rs"]),
    (
        "serde_json",
        &[
            "backbone", "cli", "dialect", "discover", "evaluate", "inspect", "label", "publish", "run", "spool", "web",
            "zoo",
        ],
    ),
    ("gstreamer", &["stream", "overlay.rs", "engine", "publish", "web/source.rs", "cli/doctor.rs"]),
    ("gstreamer_app", &["stream", "publish"]),
    ("gstreamer_pbutils", &["stream/preflight.rs"]),
    ("gstreamer_rtsp", &["stream/camera/connection.rs"]),
    ("gstreamer_rtsp_server", &["publish/rtsp.rs"]),
    ("gstreamer_video", &["stream", "overlay.rs", "engine", "publish"]),
    ("ort", &["backbone/session.rs", "backbone/library.rs", "backbone/provider.rs", "backbone/memory.rs"]),
    ("half", &["backbone"]),
    ("prost", &["backbone/onnx.rs", "backbone/onnx", "dialect/savant.rs"]),
    ("safetensors", &["backbone/checkpoint.rs", "backbone/random.rs"]),
    ("zip", &["backbone/pickle.rs"]),
    ("libc", &["backbone/by_shape.rs"]),
    ("libloading", &["backbone/library.rs", "backbone/tensorrt.rs"]),
    ("rustix", &["backbone/cache.rs", "cli/bench/parts.rs", "cli/measure.rs"]),
    ("blake3", &["backbone", "cli/eval", "dialect/mod.rs", "discover/groups.rs", "label/naming.rs", "web/guard.rs"]),
    ("async_nats", &["broker/nats.rs"]),
    (
        "base64",
        &["broker/webhook.rs", "dialect/cloud_events.rs", "inspect/page.rs", "label/contact.rs", "zoo/download.rs"],
    ),
    ("bytemuck", &["fit.rs"]),
    ("fast_image_resize", &["fit.rs"]),
    ("opencv", &["overlay.rs"]),
    ("crossbeam_channel", &["engine", "run/observe.rs"]),
    ("toml_edit", &["run/config.rs", "run/save.rs"]),
    ("humantime", &["publish/broker", "publish/segments.rs", "run/values.rs", "web/events.rs", "cli"]),
    ("directories", &["backbone/cache.rs", "zoo/mod.rs"]),
    ("indicatif", &["cli/log.rs", "cli/models.rs", "cli/progress.rs"]),
    ("sd_notify", &["cli/run/supervisor.rs"]),
    ("signal_hook", &["cli/interrupt.rs"]),
    ("image", &["picture.rs", "picture"]),
    ("tiff", &["picture", "picture.rs"]),
    ("zune_jpeg", &["picture/jpeg.rs"]),
    ("png", &["evaluate/dataset/mask.rs"]),
    ("redb", &["publish/event_store.rs"]),
    ("percent_encoding", &["dialect/cloud_events.rs"]),
    ("rmp_serde", &["dialect/mostream.rs"]),
    ("roxmltree", &["evaluate/dataset/voc.rs"]),
    ("serde_saphyr", &["evaluate/dataset/yolo.rs"]),
    ("ndarray_npy", &["npy.rs", "cli/features.rs"]),
    ("kodama", &["discover/clustering.rs"]),
    ("hyper", &["broker/webhook.rs", "web"]),
    ("http_body_util", &["broker/webhook.rs"]),
    ("hyper_util", &["broker/webhook.rs", "web/mod.rs"]),
    ("rdkafka", &["broker/kafka.rs"]),
    ("redis", &["broker/mod.rs", "broker/redis.rs"]),
    ("ring", &["broker/webhook.rs"]),
    ("rumqttc_v4", &["broker/mqtt/v4.rs"]),
    ("rumqttc_v5", &["broker/mqtt/v5.rs"]),
    ("rustls", &["broker/connection.rs"]),
    ("tokio", &["broker", "publish/broker", "publish/home_assistant", "web"]),
    ("crc32fast", &["spool"]),
    ("tokio_rustls", &["broker/connection.rs"]),
    ("zeromq", &["broker/mod.rs", "broker/zeromq.rs"]),
    ("tokio_io_timeout", &["web/mod.rs"]),
    ("form_urlencoded", &["broker/address.rs", "web/answer.rs"]),
    ("ureq", &["zoo/download.rs"]),
    ("rustls_native_certs", &["broker/connection.rs", "zoo/download.rs"]),
    ("sha2", &["zoo"]),
    ("clap", &["main.rs", "cli"]),
    ("tracing", &["analyzer.rs", "cli", "engine", "publish", "run", "stream/ingest.rs", "stream/mod.rs"]),
    ("tracing_subscriber", &["cli/log.rs", "cli/trace.rs"]),
    (
        "std::thread",
        &[
            "broker/file.rs",
            "engine",
            "publish/broker/delivery.rs",
            "publish/event_store.rs",
            "publish/home_assistant",
            "publish/rtsp.rs",
            "stream/stills.rs",
            "stream/camera",
            "web/mod.rs",
            "cli/interrupt.rs",
            "cli/log.rs",
            "cli/measure.rs",
            "cli/trace.rs",
            "cli/run/start.rs",
            "cli/bench",
            "cli/eval",
            "backbone/session.rs",
            "backbone/cache.rs",
            "zoo/download.rs",
        ],
    ),
    (
        "std::fs",
        &[
            "broker/file.rs",
            "stream",
            "backbone",
            "publish",
            "bounded.rs",
            "partial.rs",
            "picture.rs",
            "cli/trace.rs",
            "picture/tiff.rs",
            "evaluate/dataset/files.rs",
            "discover/groups.rs",
            "discover/collection.rs",
            "label",
            "run",
            "spool",
            "web/metrics.rs",
            "web/machine.rs",
            "zoo",
            "cli",
        ],
    ),
];

/// A room, and the rooms below it, which it may name. The program's own, `cli`, stands on all of them.
const FLOORS: [(&str, &[&str]); 32] = [
    // Everybody's.
    ("fault", &[]),
    ("bounded", &[]),
    ("geometry", &[]),
    ("localize", &["geometry"]),
    ("assign", &[]),
    ("track", &["assign", "geometry"]),
    ("motion", &["localize"]),
    ("scene", &["geometry", "localize", "motion"]),
    ("zones", &[]),
    ("record", &["geometry", "localize", "motion", "scene", "track", "zones"]),
    ("events", &["geometry", "motion", "record", "track", "zones"]),
    ("fit", &[]),
    ("markup", &[]),
    ("npy", &["markup"]),
    ("dialect", &["markup", "record", "track"]),
    ("broker", &["bounded", "markup"]),
    ("spool", &["broker"]),
    ("partial", &[]),
    ("backbone", &["geometry", "markup"]),
    ("zoo", &["backbone", "bounded", "markup", "partial"]),
    ("picture", &["fit", "partial"]),
    ("analyzer", &["backbone", "geometry", "localize", "picture", "fit"]),
    ("stream", &["bounded", "fit", "geometry", "partial", "picture", "record", "zones"]),
    ("overlay", &["geometry", "localize", "record"]),
    ("evaluate", &["assign", "bounded", "geometry", "localize", "markup", "picture", "record", "scene", "zones"]),
    ("discover", &["bounded", "geometry", "localize", "partial", "picture"]),
    ("inspect", &["analyzer", "geometry", "localize", "markup", "motion", "picture", "record", "scene"]),
    ("label", &["geometry", "localize", "markup", "partial", "picture", "record"]),
    (
        "engine",
        &[
            "analyzer", "backbone", "discover", "events", "geometry", "localize", "motion", "overlay", "record",
            "scene", "stream", "track", "zones",
        ],
    ),
    ("publish", &["broker", "dialect", "engine", "partial", "record", "spool", "stream"]),
    ("web", &["engine", "record", "stream"]),
    (
        "run",
        &[
            "analyzer", "backbone", "bounded", "broker", "dialect", "discover", "engine", "geometry", "localize",
            "markup", "partial", "picture", "publish", "record", "scene", "spool", "stream", "web", "zones", "zoo",
        ],
    ),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether the line names the crate or module, as a path or an import.
fn names(line: &str, library: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices(library).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + library.len()..];
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '.' || c == '"')
            && (after.starts_with("::")
                || code.trim_start().starts_with("use ") && (after.starts_with(';') || after.starts_with(" as ")))
    })
}

/// The rooms that a line names.
fn rooms_in(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    code.match_indices("crate::").map(|(at, name)| word(&code[at + name.len()..])).collect()
}

#[test]
fn every_dependency_has_its_room() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let (dependencies, _) = rest.split_once("\n[").unwrap();
    let names = dependencies.lines().filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_")));
    let (mut named, mut ruled) = (Vec::from_iter(names), Vec::new());
    ruled
        .extend(RULES.iter().map(|(library, _)| (*library).to_owned()).filter(|library| !library.starts_with("std::")));
    named.sort();
    ruled.sort();
    assert_eq!(named, ruled);
}

#[test]
fn every_room_stands_on_those_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut seen = std::collections::BTreeSet::new();
    for file in files {
        let path = file.strip_prefix(&src).unwrap();
        let room = path.iter().next().and_then(|first| first.to_str()).unwrap().trim_end_matches(".rs");
        if ["main", "lib", "cli"].contains(&room) {
            continue;
        }
        let floor = FLOORS.iter().position(|(name, _)| *name == room);
        let (_, below) = FLOORS[floor.unwrap_or_else(|| panic!("{room} has no floor"))];
        assert!(below.iter().all(|name| FLOORS[..floor.unwrap()].iter().any(|(earlier, _)| earlier == name)), "{room}");
        seen.insert(room.to_owned());
        for (number, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            for name in rooms_in(line) {
                let may = name == room
                    || name == "fault"
                    || below.contains(&name.as_str())
                    || !FLOORS.iter().any(|(other, _)| *other == name);
                assert!(may, "{}:{}: {room} names {name}, and may name {below:?}", path.display(), number + 1);
                assert!(!name.is_empty(), "{}:{}: one room in a line", path.display(), number + 1);
            }
        }
    }
    assert_eq!(seen.len(), FLOORS.len());
}

#[test]
fn every_library_stays_in_its_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 20, "only {} files", files.len());
    let mut uses = 0;
    for file in files {
        let room = file.strip_prefix(&src).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            for (library, rooms) in RULES.iter().filter(|(library, _)| names(line, library)) {
                uses += 1;
                let may = rooms.iter().any(|allowed| room.starts_with(allowed));
                assert!(may, "{}:{}: {library} belongs in {rooms:?}", room.display(), number + 1);
            }
        }
    }
    assert!(uses >= RULES.len(), "the scan found only {uses} uses");
}

#[test]
fn channels_are_bounded_and_nothing_is_left_to_do() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for word in ["unbounded", "mpsc::channel", "todo!(", "unimplemented!("] {
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
    }
}

#[test]
fn only_the_program_ends_the_process_and_prints() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let own = files.iter().filter(|file| !file.starts_with(src.join("cli")) && !file.ends_with("main.rs"));
    for file in own {
        let text = std::fs::read_to_string(file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for word in ["process::exit", "println!(", "eprint!(", "set_hook"] {
            assert!(!code.clone().any(|line| line.contains(word)), "{}: {word}", file.display());
        }
    }
}

#[test]
fn rooms_of_numbers_know_no_clock_no_disk_and_no_console() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for room in ["dialect", "localize", "motion", "scene", "track"] {
        let mut files = Vec::new();
        sources(&src.join(room), &mut files);
        assert!(files.len() >= 4, "{room} has {} files", files.len());
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let own = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in
                ["std::time", "std::fs", "std::thread", "std::env", "std::net", "println!", "Instant", "SystemTime"]
            {
                assert!(!own.contains(word), "{}: {word}", file.display());
            }
        }
    }
}
