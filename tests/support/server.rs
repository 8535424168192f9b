//! A file server on loopback that does as each test says, well or ill.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

/// The head of a request; names of headers in small letters.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: HashMap<String, String>,
}

impl Request {
    /// The next request on a connection; none where it ends.
    pub fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ').map(str::to_owned);
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let headers = lines.filter_map(header).collect();
        Some(Self { method: first.next()?, target: first.next()?, headers })
    }

    /// The first byte asked for, where it asks for a range.
    pub fn start(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// A server that lives as long as the test.
pub struct Server {
    pub port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `answer` is given the number of the request, from 0, and writes what it likes; then the connection ends.
    pub fn start(answer: impl Fn(usize, &Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let port = super::camera::serve(move |mut stream| {
            let Some(request) = Request::read(&mut stream) else { return };
            let number = {
                let mut log = log.lock().unwrap();
                log.push(request.clone());
                log.len() - 1
            };
            answer(number, &request, &mut stream);
        });
        Self { port, seen }
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Writes a head, and as much of a body as the other side takes.
pub fn respond(stream: &mut TcpStream, status: &str, headers: &[(&str, &str)], body: &[u8]) {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let _ =
        write!(stream, "HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n").and_then(|()| stream.write_all(body));
}

/// Answers as a good server does, but sends no more than `most` bytes of the body.
pub fn serve(request: &Request, stream: &mut TcpStream, file: &[u8], etag: &str, most: usize) {
    let is_same = request.headers.get("if-range").is_none_or(|tag| tag == etag);
    let start = request.start().filter(|_| is_same);
    if start.is_some_and(|start| start >= file.len()) {
        return respond(
            stream,
            "416 Range Not Satisfiable",
            &[("Content-Range", &format!("bytes */{}", file.len()))],
            b"",
        );
    }
    let body = &file[start.unwrap_or(0)..];
    let length = body.len().to_string();
    let range = format!("bytes {}-{}/{}", start.unwrap_or(0), file.len() - 1, file.len());
    let mut headers = vec![("Content-Length", length.as_str()), ("ETag", etag)];
    if start.is_some() {
        headers.push(("Content-Range", &range));
    }
    let status = if start.is_some() { "206 Partial Content" } else { "200 OK" };
    respond(stream, status, &headers, &body[..most.min(body.len())]);
}

/// Says nothing until the other side gives up.
pub fn stall(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0]);
}
