//! Which room may use which library: the architecture, held to by a scan of the source.

use std::path::{Path, PathBuf};

/// A crate, and the files and folders of `src` that may name it.
const RULES: [(&str, &[&str]); 25] = [
    ("gstreamer", &["stream", "overlay.rs", "engine", "publish", "web/source.rs", "cli/doctor.rs"]),
    ("gstreamer_rtsp_server", &["publish/rtsp.rs"]),
    ("ort", &["backbone/session.rs", "backbone/library.rs", "backbone/provider.rs", "backbone/memory.rs"]),
    ("fast_image_resize", &["fit.rs"]),
    ("opencv", &["overlay.rs"]),
    ("crossbeam_channel", &["engine", "run/observe.rs"]),
    ("toml_edit", &["run/config.rs"]),
    ("humantime", &["publish/segments.rs", "run/values.rs", "cli/run/log.rs"]),
    ("directories", &["backbone/cache.rs", "zoo/mod.rs"]),
    ("indicatif", &["cli"]),
    ("signal_hook", &["cli/interrupt.rs"]),
    ("image", &["picture.rs"]),
    ("png", &["evaluate/dataset/mask.rs"]),
    ("roxmltree", &["evaluate/dataset/voc.rs"]),
    ("serde_saphyr", &["evaluate/dataset/yolo.rs"]),
    ("kodama", &["discover/clustering.rs"]),
    ("hyper", &["web"]),
    ("tokio", &["web"]),
    ("ureq", &["zoo/download.rs"]),
    ("rustls_native_certs", &["zoo/download.rs"]),
    ("sha2", &["zoo"]),
    ("clap", &["main.rs", "cli"]),
    ("anyhow", &["cli"]),
    (
        "std::thread",
        &[
            "engine",
            "publish/rtsp.rs",
            "stream/stills.rs",
            "stream/camera",
            "web/mod.rs",
            "cli/interrupt.rs",
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
            "stream",
            "backbone",
            "publish",
            "partial.rs",
            "picture.rs",
            "evaluate/dataset/files.rs",
            "discover/groups.rs",
            "discover/collection.rs",
            "label",
            "run",
            "web/metrics.rs",
            "web/machine.rs",
            "zoo",
            "cli",
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
            && (after.starts_with("::") || after.starts_with(';') || after.starts_with(" as "))
    })
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
    for room in ["localize", "motion", "scene"] {
        let mut files = Vec::new();
        sources(&src.join(room), &mut files);
        assert!(files.len() > 5, "{room} has {} files", files.len());
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
