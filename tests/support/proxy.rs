//! A network that fails: a TCP proxy which passes bytes on until it is told not to, or has passed as many as it may.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// What becomes of bytes for the server, and of the connections. What the server says comes back as long as there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Network {
    Passes,
    /// Connections are taken and stay, and nothing comes through in either direction.
    Silent,
    /// Nothing comes through to the server, which still is heard.
    Mute,
    /// Every connection is ended at once.
    Cut,
}

struct State {
    network: AtomicU8,
    /// Bytes that may go to the server before `then`.
    left: AtomicU64,
    then: AtomicU8,
    /// Bytes a second to the server; 0 is as many as can be.
    rate: AtomicU64,
    /// What every piece waits, in milliseconds.
    delay: AtomicU64,
    sent: AtomicU64,
}

/// Stands before a port of this machine as long as the test lives.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            network: AtomicU8::new(Network::Passes as u8),
            left: AtomicU64::new(u64::MAX),
            then: AtomicU8::new(Network::Passes as u8),
            rate: AtomicU64::new(0),
            delay: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = shared.clone();
                thread::spawn(move || state.join(client, port));
            }
        });
        Self { port: own, state }
    }

    /// From now on.
    pub fn becomes(&self, network: Network) {
        self.state.left.store(u64::MAX, Ordering::SeqCst);
        self.state.network.store(network as u8, Ordering::SeqCst);
    }

    /// After this many more bytes for the server.
    pub fn becomes_after(&self, bytes: u64, network: Network) {
        self.state.then.store(network as u8, Ordering::SeqCst);
        self.state.left.store(bytes, Ordering::SeqCst);
    }

    pub fn is(&self, network: Network) -> bool {
        self.state.network.load(Ordering::SeqCst) == network as u8
    }

    /// To the server, at most.
    pub fn bytes_per_second(&self, rate: u64) {
        self.state.rate.store(rate, Ordering::SeqCst);
    }

    /// Each way.
    pub fn delays(&self, time: Duration) {
        self.state.delay.store(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// Bytes that came through to the server.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }
}

impl State {
    fn is(&self, network: Network) -> bool {
        self.network.load(Ordering::SeqCst) == network as u8
    }

    /// Waits while nothing comes through.
    fn hold(&self, to_server: bool) {
        while self.is(Network::Silent) || self.is(Network::Mute) && to_server {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn join(self: Arc<Self>, client: TcpStream, port: u16) {
        while self.is(Network::Silent) {
            thread::sleep(Duration::from_millis(5));
        }
        if self.is(Network::Cut) {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
        let (to, from) = ((client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client));
        let state = self.clone();
        thread::spawn(move || state.pass(to.0, to.1, true));
        self.pass(from.0, from.1, false);
    }

    /// Passes bytes on from one to the other until one of them ends or the network is cut.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream, to_server: bool) {
        from.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut buffer = [0; 4096];
        loop {
            self.hold(to_server);
            let most = if to_server { self.left.load(Ordering::SeqCst).min(4096) as usize } else { buffer.len() };
            if most == 0 {
                self.left.store(u64::MAX, Ordering::SeqCst);
                self.network.store(self.then.load(Ordering::SeqCst), Ordering::SeqCst);
                continue;
            }
            let read = match from.read(&mut buffer[..most]) {
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                    match self.is(Network::Cut) {
                        true => break,
                        false => continue,
                    }
                }
                read => read.unwrap_or(0),
            };
            thread::sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst)));
            self.hold(to_server);
            if read == 0 || self.is(Network::Cut) || to.write_all(&buffer[..read]).is_err() {
                break;
            }
            if to_server {
                self.sent.fetch_add(read as u64, Ordering::SeqCst);
                let count = |left: u64| (left != u64::MAX).then(|| left.saturating_sub(read as u64));
                let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
                let rate = self.rate.load(Ordering::SeqCst);
                if rate > 0 {
                    thread::sleep(Duration::from_secs_f64(read as f64 / rate as f64));
                }
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
