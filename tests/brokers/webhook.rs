//! Web hooks, and a page that does as each test says.

use super::{Sender, at, bodies, file, letters, says};
use crate::support::brokers::{Reader, certificates, free_port};
use crate::support::camera::serve;
use crate::support::program::until;
use crate::support::proxy::{Network, Proxy};
use crate::support::server::Request;
use mostream::broker::{Failure, Letter, Target};
use serde_json::Value;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::tempdir;

type Seen = Arc<Mutex<Vec<(Request, String)>>>;

/// A page at `/hook?token=hunter2`; `answer` is given the number of the request, from 0, and its body, and gives a status and headers.
struct Hook {
    port: u16,
    seen: Seen,
}

impl Hook {
    fn start(answer: impl Fn(usize, &str) -> (u16, &'static str) + Send + Sync + 'static) -> Self {
        let seen = Seen::default();
        let log = seen.clone();
        let port = serve(move |mut stream| {
            while let Some(request) = Request::read(&mut stream) {
                let mut body = vec![0; request.headers["content-length"].parse().unwrap()];
                if stream.read_exact(&mut body).is_err() {
                    return;
                }
                let body = String::from_utf8(body).unwrap();
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push((request, body.clone()));
                    log.len() - 1
                };
                let (status, headers) = answer(number, &body);
                let _ = write!(stream, "HTTP/1.1 {status} Said\r\n{headers}Content-Length: 0\r\n\r\n");
            }
        });
        Self { port, seen }
    }

    fn target(&self, options: &str) -> Target {
        at(&format!("http://127.0.0.1:{}/hook?token=hunter2{options}", self.port))
    }

    fn seen(&self) -> Vec<(Request, String)> {
        self.seen.lock().unwrap().clone()
    }

    /// The bodies of all arrays that were posted.
    fn posted(&self) -> Vec<Value> {
        self.seen().iter().flat_map(|(_, body)| serde_json::from_str::<Vec<Value>>(body).unwrap()).collect()
    }
}

fn values(letters: &[Letter]) -> Vec<Value> {
    letters.iter().map(|letter| serde_json::from_slice(&letter.body).unwrap()).collect()
}

#[test]
fn letters_are_posted_together_by_line_or_alone() {
    let letters = letters(0..250);
    let hook = Hook::start(|_, _| (204, ""));
    Sender::new(&hook.target("")).deliver_all(&letters);
    assert_eq!(hook.posted(), values(&letters));
    let seen = hook.seen();
    assert_eq!(seen.len(), 3);
    let (request, _) = &seen[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/hook?token=hunter2"));
    assert_eq!(
        (request.headers["content-type"].as_str(), request.headers["host"].as_str()),
        ("application/json", format!("127.0.0.1:{}", hook.port).as_str())
    );
    // A repeat is known by its key, and what is none has another.
    Sender::new(&hook.target("")).deliver_all(&letters[..100]);
    let keys: Vec<String> = hook.seen().iter().map(|(request, _)| request.headers["idempotency-key"].clone()).collect();
    assert!(keys[0] == keys[3] && keys[0] != keys[1] && keys[1] != keys[2], "{keys:?}");

    let by_line = Hook::start(|_, _| (200, ""));
    let mut sender = Sender::new(&by_line.target("#format=ndjson&batch=20"));
    sender.check().unwrap();
    sender.deliver_all(&letters[..50]);
    let seen = by_line.seen();
    assert_eq!((seen.len(), seen[0].0.headers["content-type"].as_str()), (3, "application/x-ndjson"));
    let lines: Vec<String> =
        seen.iter().flat_map(|(_, body)| body.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert_eq!(lines, bodies(&letters[..50]));

    let alone = Hook::start(|_, _| (200, ""));
    Sender::new(&alone.target("#batch=1")).deliver_all(&letters[..3]);
    for ((request, body), letter) in alone.seen().iter().zip(&letters) {
        assert_eq!(body.as_bytes(), letter.body);
        assert_eq!((&request.headers["idempotency-key"], &request.headers["ce-id"]), (&letter.id, &letter.id));
    }
    // What is no JSON is in no array.
    let mixed = Hook::start(|_, _| (200, ""));
    let mut sent = letters[..5].to_vec();
    sent[2].content_type = "text/plain".into();
    Sender::new(&mixed.target("")).deliver_all(&sent);
    let kinds: Vec<String> = mixed.seen().iter().map(|(request, _)| request.headers["content-type"].clone()).collect();
    assert_eq!(kinds, ["application/json", "text/plain", "application/json"]);
}

#[test]
fn a_secret_signs_what_is_posted() {
    let own = tempdir().unwrap();
    let hook = Hook::start(|_, _| (200, ""));
    let target = Target {
        secret: file(own.path(), "secret", "hunter2\n"),
        credentials: file(own.path(), "user", "camera:hunter2"),
        ..hook.target("")
    };
    Sender::new(&target).deliver_all(&letters(0..3));
    let (request, body) = &hook.seen()[0];
    let header = |name: &str| request.headers[name].clone();
    let signed = format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp"));
    let shell = "openssl dgst -sha256 -hmac hunter2 -binary | base64";
    let mut openssl =
        Command::new("sh").args(["-c", shell]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    openssl.stdin.take().unwrap().write_all(signed.as_bytes()).unwrap();
    let code = String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(header("webhook-signature"), format!("v1,{}", code.trim()));
    assert_eq!(header("authorization"), "Basic Y2FtZXJhOmh1bnRlcjI=");
    file(own.path(), "user", "token");
    Sender::new(&target).deliver_all(&letters(0..3));
    assert_eq!(hook.seen()[1].0.headers["authorization"], "Bearer token");
}

#[test]
fn what_the_page_cannot_take_is_found_and_the_rest_is_posted() {
    let hook = Hook::start(|_, body| if body.contains("\"n\":37,") { (422, "") } else { (200, "") });
    let letters = letters(0..100);
    let mut sender = Sender::new(&hook.target(""));
    let delivered = sender.deliver(&letters);
    assert_eq!(delivered.acknowledged, 37);
    let Some(Failure::Refused(line)) = delivered.failure else { panic!() };
    says(&line, &["http://127.0.0.1:", "422"]);
    sender.deliver_all(&letters[38..]);
    let taken: Vec<Value> = hook
        .seen()
        .iter()
        .filter(|(_, body)| !body.contains("\"n\":37,"))
        .flat_map(|(_, body)| serde_json::from_str::<Vec<Value>>(body).unwrap())
        .collect();
    let expected: Vec<Value> = values(&letters).into_iter().filter(|letter| letter["n"] != 37).collect();
    assert_eq!(taken, expected);
}

#[test]
fn what_may_be_taken_later_is_away_with_a_clear_word() {
    let answers = [
        (500, "", vec!["500", "not take them now"]),
        (408, "", vec!["408"]),
        (429, "Retry-After: 100000\r\n", vec!["429", "wait for 300s"]),
        (503, "Retry-After: Tue, 31 Dec 2999 23:59:59 GMT\r\n", vec!["503", "wait for 300s"]),
        (301, "Location: http://127.0.0.1:1/hunter2\r\n", vec!["301", "another address"]),
        (401, "", vec!["401", "credentials"]),
        (403, "", vec!["403", "credentials"]),
        (404, "", vec!["404", "no such page"]),
    ];
    for (status, headers, words) in answers {
        let hook = Hook::start(move |_, _| (status, headers));
        let mut sender = Sender::new(&hook.target(""));
        says(&sender.is_away(), &words);
        if headers.starts_with("Retry") {
            says(&sender.is_away(), &["it asked to wait for another"]);
            assert_eq!(hook.seen().len(), 1);
        }
    }
    let short = Hook::start(|number, _| if number == 0 { (503, "Retry-After: 1\r\n") } else { (200, "") });
    Sender::new(&short.target("")).deliver_all(&letters(0..10));
    assert_eq!(short.seen().len(), 2);
    says(&Sender::new(&at(&format!("http://127.0.0.1:{}/hunter2", free_port()))).is_away(), &["Connection refused"]);
}

#[test]
fn a_network_that_fails_loses_nothing() {
    let hook = Hook::start(|_, _| (200, ""));
    let proxy = Proxy::before(hook.port);
    proxy.becomes(Network::Silent);
    let mut sender = Sender::new(&at(&format!("http://127.0.0.1:{}/", proxy.port)));
    says(&sender.is_away(), &["it does not answer within 2s"]);
    proxy.becomes(Network::Passes);
    let letters = letters(0..600);
    proxy.becomes_after(8000, Network::Cut);
    let cut = sender.deliver(&letters);
    assert!(cut.failure.is_some() && cut.acknowledged.is_multiple_of(100) && cut.acknowledged < 600, "{cut:?}");
    proxy.becomes(Network::Passes);
    sender.deliver_all(&letters[cut.acknowledged..]);
    let mut posted = hook.posted();
    posted.dedup();
    assert_eq!(posted[posted.len() - 600 + cut.acknowledged..], values(&letters[cut.acknowledged..]));
    // A connection that the server has ended meanwhile is none that fails.
    proxy.becomes(Network::Cut);
    std::thread::sleep(std::time::Duration::from_millis(100));
    proxy.becomes(Network::Passes);
    assert_eq!(sender.deliver(&letters[..3]).acknowledged, 3);
}

/// Says its port, then the body of each request.
const SECURED: &str = r#"
import http.server, ssl, sys
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        print(self.rfile.read(int(self.headers["content-length"])).decode(), flush=True)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_): pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server.key")
context.load_verify_locations("ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
print(server.server_port, flush=True)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"#;

#[test]
fn certificates_are_asked_for_and_shown() {
    let folder = tempdir().unwrap();
    certificates(folder.path());
    let page = Reader::start(Command::new("python3").args(["-c", SECURED]).current_dir(folder.path()));
    until("it listens", || !page.lines().is_empty());
    let path = |name: &str| Some(folder.path().join(name));
    let url = format!("https://127.0.0.1:{}/hook", page.lines()[0]);
    let whole = Target { ca: path("ca.pem"), cert: path("client.pem"), key: path("client.key"), ..at(&url) };
    Sender::new(&whole).deliver_all(&letters(0..1));
    until("it is read", || page.lines().len() == 2);
    assert_eq!(page.lines()[1], format!("[{}]", bodies(&letters(0..1))[0]));
    let away = |target: Target| Sender::new(&target).is_away();
    says(&away(Target { ca: path("other.pem"), ..whole.clone() }), &["vouched for by nobody", "/other.pem"]);
    says(&away(Target { cert: None, key: None, ..whole.clone() }), &["client's certificate (there is none)"]);
    says(
        &away(Target { url: url.replace("127.0.0.1", "localhost"), ..whole.clone() }),
        &["its certificate does not hold"],
    );
    says(&away(Target { url: url.replace("https", "http"), ..whole }), &["http://127.0.0.1:"]);
}
