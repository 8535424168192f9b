//! `mostream model pull` against servers that cut, stall, lie and serve other bytes.

use crate::support::program::{PROGRAM, signal, stderr};
use crate::support::server::{Request, Server, respond, serve, stall};
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TAG: &str = "\"one\"";
const ALL: usize = usize::MAX;

/// A small model in PyTorch's format: patch 16, width 96, 3 blocks, 3 heads.
fn file() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vit/p16.pth")).unwrap()
}

/// Another model of the same shape: one weight differs.
fn other_file() -> Vec<u8> {
    let mut bytes = file();
    let middle = bytes.len() / 2 / 4 * 4;
    bytes[middle] ^= 1;
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), bytes).unwrap();
    let output = Command::new("sha256sum").arg(folder.path().join("file")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// A store that knows of one model, `tiny`, with these words about its file.
struct Store(TempDir);

impl Store {
    fn new(words: serde_json::Value) -> Self {
        let mut model = json!({
            "name": "tiny", "family": "DINO", "license": "CC0-1.0", "address": "https://models.example/files/tiny.pth",
            "patch": 16, "width": 96, "depth": 3, "heads": 3, "parameters": 428_544,
        });
        model.as_object_mut().unwrap().extend(words.as_object().unwrap().clone());
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("models.json"), json!([model]).to_string()).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn model(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("model").args(arguments).env("MOSTREAM_MODELS", self.0.path()).current_dir(self.0.path());
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn pull(&self, mirror: &str, more: &[&str]) -> Command {
        let mut command = self.model(&["pull", "tiny", "--mirror", mirror, "--retries", "2"]);
        let timeout: &[&str] = if more.contains(&"--timeout") { &[] } else { &["--timeout", "1"] };
        command.args(timeout).args(more);
        command
    }

    /// Pulls, which must work; gives what was said meanwhile.
    #[track_caller]
    fn pulls(&self, mirror: &str, more: &[&str]) -> String {
        let output = self.pull(mirror, more).output().unwrap();
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        assert!(self.path("tiny.safetensors").is_file());
        assert!(!self.path("tiny.part").exists() && !self.path("tiny.part.json").exists());
        said
    }

    /// Pulls, which must fail with these words and without installing anything.
    #[track_caller]
    fn fails(&self, mirror: &str, more: &[&str], words: &[&str]) -> String {
        let output = self.pull(mirror, more).output().unwrap();
        assert!(!self.path("tiny.safetensors").exists());
        said(&output, 5, words)
    }

    /// The hash of the file the installed model came from.
    #[track_caller]
    fn source(&self) -> String {
        let listed: serde_json::Value =
            serde_json::from_slice(&self.model(&["list", "--json"]).output().unwrap().stdout).unwrap();
        let tiny = listed.as_array().unwrap().iter().find(|model| model["name"] == "tiny").unwrap();
        assert_eq!(tiny["state"], "installed");
        tiny["sha256"].as_str().unwrap().to_owned()
    }
}

#[track_caller]
fn said(output: &Output, code: i32, words: &[&str]) -> String {
    let error = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{error}");
    words.iter().for_each(|word| assert!(error.contains(word), "{error:?} does not say {word:?}"));
    error
}

fn whole(_: usize, request: &Request, stream: &mut TcpStream) {
    serve(request, stream, &file(), TAG, ALL);
}

/// Waits until the part has grown to so many bytes.
fn wait_for(path: &Path, bytes: u64) {
    let start = Instant::now();
    while fs::metadata(path).map_or(0, |file| file.len()) < bytes {
        assert!(start.elapsed() < Duration::from_secs(20), "{} does not grow", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_known_model_is_fetched_verified_and_installed() {
    let file = file();
    let store = Store::new(json!({ "bytes": file.len(), "sha256": sha256(&file) }));
    let server = Server::start(whole);
    assert_eq!(store.pulls(&server.address(), &[]), "");
    assert_eq!(store.source(), sha256(&file));
    assert_eq!(server.seen()[0].target, "/files/tiny.pth");
    // Installed is installed: nobody is asked.
    store.pulls("http://127.0.0.1:1", &[]);
    store.pulls(&server.address(), &["--again"]);
    assert_eq!(server.seen().len(), 2);
    // The environment may name the mirror; a file goes before it.
    fs::write(store.path("tiny.pth"), &file).unwrap();
    let asking = |more: &[&str]| store.model(more).env("MOSTREAM_MIRROR", server.address()).output().unwrap();
    said(&asking(&["pull", "tiny", "--again"]), 0, &[]);
    said(&asking(&["pull", "tiny", "--from", "tiny.pth"]), 0, &[]);
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_cut_or_stalled_download_goes_on_where_it_was() {
    for is_stalled in [false, true] {
        let half = file().len() / 2;
        let store = Store::new(json!({ "bytes": file().len(), "sha256": sha256(&file()) }));
        let server = Server::start(move |number, request, stream| {
            serve(request, stream, &file(), TAG, if number == 0 { half } else { ALL });
            if number == 0 && is_stalled {
                stall(stream);
            }
        });
        let said = store.pulls(&server.address(), &[]);
        assert!(said.contains(&format!("byte {half} of {}", file().len())), "{said}");
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[0].start(), seen[1].start()), (None, Some(half)));
        assert_eq!(seen[1].headers["if-range"], TAG);
        assert_eq!(store.source(), sha256(&file()));
    }
}

#[test]
fn a_killed_download_goes_on_and_a_stopped_one_keeps_what_is_there() {
    let half = file().len() / 2;
    let store = Store::new(json!({}));
    let server = Server::start(move |number, request, stream| {
        let most = [half, 1000].get(number).copied().unwrap_or(ALL);
        serve(request, stream, &file(), TAG, most);
        if most != ALL {
            stall(stream);
        }
    });
    let start = |bytes: usize| -> Child {
        let child = store.pull(&server.address(), &["--timeout", "60"]).spawn().unwrap();
        wait_for(&store.path("tiny.part"), bytes as u64);
        child
    };
    let mut killed = start(half);
    // Two do not write to one file.
    said(&store.pull(&server.address(), &[]).output().unwrap(), 4, &["tiny.part", "another mostream"]);
    killed.kill().unwrap();
    killed.wait().unwrap();

    let stopped = start(half + 1000);
    for _ in 0..2 {
        signal(&stopped, "INT");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(stopped.wait_with_output().unwrap().status.code(), Some(130));
    assert!(!store.path("tiny.safetensors").exists());

    store.pulls(&server.address(), &[]);
    let starts: Vec<_> = server.seen().iter().map(Request::start).collect();
    assert_eq!(starts, [None, Some(half), Some(half + 1000)]);
    assert_eq!(store.source(), sha256(&file()));
}

#[test]
fn a_server_that_lies_about_the_length_installs_nothing() {
    let length = file().len();
    // Longer, to the end: what is missing never comes.
    let longer = Server::start(move |_, request, stream| {
        if request.start().is_some() {
            return respond(stream, "416 Range Not Satisfiable", &[], b"");
        }
        respond(stream, "200 OK", &[("Content-Length", &(length + 1000).to_string()), ("ETag", TAG)], &file());
    });
    Store::new(json!({})).fails(&longer.address(), &[], &["127.0.0.1", "given up"]);
    // Shorter: what comes is no model, or is not as long as it is known to be.
    let shorter = Server::start(move |_, _, stream| {
        respond(stream, "200 OK", &[("Content-Length", &(length - 1000).to_string())], &file());
    });
    let store = Store::new(json!({}));
    store.fails(&shorter.address(), &[], &["no model"]);
    assert!(!store.path("tiny.part").exists());
    let store = Store::new(json!({ "bytes": length }));
    let words = [format!("{} bytes", length - 1000), format!("expected {length}")];
    store.fails(&shorter.address(), &[], &[&words[0], &words[1]]);
    // No length at all, and no end.
    let endless = Server::start(|_, _, stream| {
        respond(stream, "200 OK", &[], b"");
        while std::io::Write::write_all(stream, &[7; 1 << 16]).is_ok() {}
    });
    let store = Store::new(json!({ "bytes": 100_000 }));
    store.fails(&endless.address(), &[], &["more than the 100000 bytes"]);
    assert!(fs::metadata(store.path("tiny.part")).map_or(0, |file| file.len()) <= 100_000);
}

#[test]
fn other_bytes_are_not_installed() {
    let store = Store::new(json!({ "sha256": sha256(&other_file()) }));
    let server = Server::start(whole);
    store.fails(&server.address(), &[], &[&sha256(&file()), &sha256(&other_file()), "mostream model import"]);
    assert!(!store.path("tiny.part").exists());
    let page = Server::start(|_, _, stream| respond(stream, "200 OK", &[("Content-Length", "13")], b"<html></html>"));
    Store::new(json!({})).fails(&page.address(), &[], &["no model", "neither"]);
    Store::new(json!({ "width": 384 })).fails(&server.address(), &[], &["[16, 96, 3, 3]", "[16, 384, 3, 3]"]);
}

#[test]
fn refusals_are_told_and_failures_tried_again() {
    let store = Store::new(json!({}));
    let missing = Server::start(|_, _, stream| respond(stream, "404 Not Found", &[], b""));
    store.fails(&missing.address(), &[], &[&missing.address(), "/files/tiny.pth", "404", "--mirror"]);
    assert_eq!(missing.seen().len(), 1);
    let broken = Server::start(|_, _, stream| respond(stream, "500 Internal Server Error", &[], b""));
    store.fails(&broken.address(), &[], &["500", "given up"]);
    assert_eq!(broken.seen().len(), 3);
    let recovering = Server::start(|number, request, stream| match number {
        0 => respond(stream, "503 Service Unavailable", &[], b""),
        _ => whole(number, request, stream),
    });
    store.pulls(&recovering.address(), &[]);
    // Nobody listens.
    Store::new(json!({})).fails("http://127.0.0.1:1", &[], &["http://127.0.0.1:1/files/tiny.pth", "given up"]);
}

#[test]
fn what_cannot_be_continued_starts_anew() {
    // A server that knows no ranges, one whose file changes, and one that goes on with another file.
    for kind in 0..3 {
        let server = Server::start(move |number, request, stream| {
            let half = file().len() / 2;
            let length = file().len().to_string();
            match (number, kind) {
                (0, _) => serve(request, stream, &other_file(), "\"old\"", half),
                (_, 0) => respond(stream, "200 OK", &[("Content-Length", &length), ("ETag", TAG)], &file()),
                (1, 2) => {
                    let range = format!("bytes {half}-{}/{length}", file().len() - 1);
                    let length = (file().len() - half).to_string();
                    let headers = [("Content-Length", &*length), ("Content-Range", &range), ("ETag", TAG)];
                    respond(stream, "206 Partial Content", &headers, &file()[half..]);
                }
                _ => whole(number, request, stream),
            }
        });
        let store = Store::new(json!({}));
        store.pulls(&server.address(), &[]);
        assert_eq!(store.source(), sha256(&file()), "{kind}");
        assert_eq!(server.seen()[1].start(), Some(file().len() / 2));
        assert_eq!(server.seen().len(), if kind == 2 { 3 } else { 2 });
    }
}

#[test]
fn redirects_are_followed_but_not_for_ever_nor_anywhere() {
    let target = Server::start(whole);
    let to = target.address();
    let server = Server::start(move |_, request, stream| {
        let to = match request.target.split('/').nth(1) {
            Some("good") => format!("{to}/elsewhere"),
            Some("round") => request.target.clone(),
            _ => "file:///etc/passwd".to_owned(),
        };
        respond(stream, "302 Found", &[("Location", &to)], b"");
    });
    let store = Store::new(json!({}));
    store.fails(&format!("{}/bad", server.address()), &[], &["redirects to no http or https"]);
    store.fails(&format!("{}/round", server.address()), &[], &["redirects more than"]);
    // A password is for the server it was given for.
    let address = format!("http://me:s3cret@127.0.0.1:{}/good", server.port);
    store.pulls(&address, &[]);
    assert_eq!(server.seen().last().unwrap().headers["authorization"], "Basic bWU6czNjcmV0");
    assert!(!target.seen()[0].headers.contains_key("authorization"));
    assert_eq!(target.seen()[0].target, "/elsewhere");
}

#[test]
fn passwords_are_not_shown() {
    let server = Server::start(|_, _, stream| respond(stream, "401 Unauthorized", &[], b""));
    let address = format!("http://me:s3cret@127.0.0.1:{}", server.port);
    let said = Store::new(json!({})).fails(&address, &[], &["401"]);
    assert!(!said.contains("s3cret"), "{said}");
    let closed = Store::new(json!({})).fails("http://me:s3cret@127.0.0.1:1", &[], &["127.0.0.1:1"]);
    assert!(!closed.contains("s3cret"), "{closed}");
    assert_eq!(server.seen()[0].headers["authorization"], "Basic bWU6czNjcmV0");
}

#[test]
fn the_proxy_of_the_environment_is_asked() {
    let proxy = Server::start(|number, request, stream| {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("CONNECT", "mirror.invalid:80"));
        respond(stream, "200 OK", &[], b"");
        let request = Request::read(stream).unwrap();
        whole(number, &request, stream);
    });
    let store = Store::new(json!({}));
    let mut pull = store.pull("http://mirror.invalid", &[]);
    let output = pull.env("http_proxy", proxy.address()).output().unwrap();
    said(&output, 0, &[]);
    assert_eq!(proxy.seen().len(), 1);
    // An exempt host is asked itself.
    let server = Server::start(whole);
    let mut pull = store.pull(&server.address(), &["--again"]);
    let output = pull.env("http_proxy", proxy.address()).env("no_proxy", "localhost, 127.0.0.1").output().unwrap();
    said(&output, 0, &[]);
    assert_eq!((proxy.seen().len(), server.seen().len()), (1, 1));
}

#[test]
fn https_is_for_servers_whose_certificate_is_trusted() {
    let store = Store::new(json!({ "sha256": sha256(&file()) }));
    fs::create_dir(store.path("files")).unwrap();
    fs::write(store.path("files/tiny.pth"), file()).unwrap();
    crate::support::certificate::make(&store.path(""));
    // Files below its folder, by HTTP 1.0.
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-WWW", "-key", "key.pem", "-cert", "certificate.pem"])
        .current_dir(store.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let port = BufReader::new(server.stdout.take().unwrap())
        .lines()
        .find_map(|line| Some(line.ok()?.strip_prefix("ACCEPT 127.0.0.1:")?.to_owned()));
    let mirror = format!("https://127.0.0.1:{}", port.unwrap());
    let pull = || store.pull(&mirror, &["--timeout", "10"]);
    let refused = pull().env_remove("SSL_CERT_FILE").output();
    let trusting = pull().env("SSL_CERT_FILE", store.path("certificate.pem")).output();
    // Before anything is asserted, which would leave it behind.
    server.kill().unwrap();
    server.wait().unwrap();
    let refused = said(&refused.unwrap(), 5, &["/files/tiny.pth", "certificate", "SSL_CERT_FILE"]);
    assert!(!refused.contains("trying again"), "{refused}");
    said(&trusting.unwrap(), 0, &[]);
    assert_eq!(store.source(), sha256(&file()));
}

#[test]
fn the_first_hash_is_pinned_and_another_accepted_only_as_told() {
    let store = Store::new(json!({}));
    let server = Server::start(|number, request, stream| match number {
        0 => whole(number, request, stream),
        _ => serve(request, stream, &other_file(), "\"two\"", ALL),
    });
    let pull = |more: &[&str]| store.pull(&server.address(), more).output().unwrap();
    said(&pull(&[]), 0, &[]);
    let before = fs::read(store.path("tiny.safetensors")).unwrap();
    let words = [sha256(&file()), sha256(&other_file()), "mostream model remove tiny".to_owned()];
    said(&pull(&["--again"]), 5, &words.each_ref().map(String::as_str));
    assert_eq!(fs::read(store.path("tiny.safetensors")).unwrap(), before);
    // As the error says.
    said(&store.model(&["remove", "tiny"]).output().unwrap(), 0, &[]);
    said(&pull(&[]), 0, &[]);
    assert_eq!(store.source(), sha256(&other_file()));
}

#[test]
fn a_file_is_taken_as_if_downloaded() {
    let store = Store::new(json!({ "bytes": file().len(), "sha256": sha256(&file()) }));
    fs::write(store.path("good.pth"), file()).unwrap();
    fs::write(store.path("bad.pth"), other_file()).unwrap();
    let from = |name: &str| store.model(&["pull", "tiny", "--from", name]).output().unwrap();
    said(&from("bad.pth"), 5, &["bad.pth", &sha256(&other_file())]);
    assert!(!store.path("tiny.safetensors").exists());
    said(&from("nothing.pth"), 4, &["nothing.pth"]);
    said(&from("good.pth"), 0, &[]);
    assert_eq!(store.source(), sha256(&file()));
    said(&store.model(&["pull", "nobody"]).output().unwrap(), 2, &["nobody", "dino-vits16", "tiny"]);
    said(&store.model(&["pull", "../evil"]).output().unwrap(), 2, &["../evil", "letters"]);
}
