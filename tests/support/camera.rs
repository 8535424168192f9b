//! Cameras that fail on command: an RTSP server in a process of its own, and a wire between it and the program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A port that nobody listens on, below those that the system gives away by itself: who is down for a while finds it free again.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(61).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + (number % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The program `examples/rtsp_camera.rs`, killed when dropped.
pub struct RtspCamera {
    child: Child,
    pub port: u16,
}

impl RtspCamera {
    /// Starts it, and waits until it listens.
    pub fn start(port: u16, options: &[&str]) -> Self {
        for _ in 0..100 {
            let mut command = Command::new(super::program::example("rtsp_camera"));
            let mut child = command.arg(port.to_string()).args(options).stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            if line.starts_with("rtsp://") {
                return Self { child, port };
            }
            child.wait().unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the camera does not start on port {port}");
    }

    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/live", self.port)
    }

    /// Sends it `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        super::program::signal(&self.child, signal);
    }
}

impl Drop for RtspCamera {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A child that is killed when dropped.
pub struct Running(pub Child);

impl Running {
    /// `gst-launch-1.0` with this line.
    pub fn launch(line: &str) -> Self {
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q").args(line.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().unwrap();
    }
}

/// What a [`Wire`] does with what comes.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
pub enum Does {
    Pass,
    /// Connections are accepted, and nothing ever comes.
    Swallow,
    /// Every connection is closed at once.
    Cut,
    /// Bytes that mean nothing come in place of the answers.
    Garble,
    /// The camera's description has no parameter sets.
    Strip,
}

/// A TCP proxy to a port of this machine.
pub struct Wire {
    pub port: u16,
    does: Arc<AtomicU8>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    asked: Arc<Mutex<String>>,
}

impl Wire {
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire =
            Self { port, does: Arc::new(AtomicU8::new(Does::Pass as u8)), open: Arc::default(), asked: Arc::default() };
        let (does, open, asked) = (wire.does.clone(), wire.open.clone(), wire.asked.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if does.load(Ordering::SeqCst) == Does::Cut as u8 {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let ends = [&near, &far].map(|end| end.try_clone().unwrap());
                open.lock().unwrap().extend(ends);
                carry(near.try_clone().unwrap(), far.try_clone().unwrap(), does.clone(), Some(asked.clone()));
                carry(far, near, does.clone(), None);
            }
        });
        wire
    }

    /// All that was asked through it.
    pub fn asked(&self) -> String {
        self.asked.lock().unwrap().clone()
    }

    pub fn now(&self, does: Does) {
        self.does.store(does as u8, Ordering::SeqCst);
        // Nothing that was swallowed or garbled can be continued.
        if matches!(does, Does::Cut | Does::Pass) {
            for end in self.open.lock().unwrap().drain(..) {
                end.shutdown(Shutdown::Both).ok();
            }
        }
    }
}

/// `asked` notes what is carried; without it answers are.
fn carry(mut from: TcpStream, mut to: TcpStream, does: Arc<AtomicU8>, asked: Option<Arc<Mutex<String>>>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 16384];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let now = does.load(Ordering::SeqCst);
            if now == Does::Swallow as u8 {
                continue;
            }
            if let Some(asked) = &asked {
                asked.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            } else if now == Does::Strip as u8 {
                strip(&mut bytes[..count]);
            } else if now == Does::Garble as u8 {
                bytes[..count].iter_mut().enumerate().for_each(|(i, byte)| *byte ^= (i * 167 + 13) as u8);
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        from.shutdown(Shutdown::Both).ok();
        to.shutdown(Shutdown::Both).ok();
    });
}

/// Gives parameter sets another name, as long.
fn strip(bytes: &mut [u8]) {
    let found: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"sprop-")).collect();
    found.into_iter().for_each(|at| bytes[at..][..6].copy_from_slice(b"other-"));
}

/// Accepts connections on a new port and hands each to `answer`, on threads that live as long as the test.
pub fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

/// Reads a request to its empty line.
pub fn request(stream: &TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            return Some(text);
        }
        text.push_str(&line);
    }
}
