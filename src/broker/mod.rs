//! Who takes messages from the program: a client per kind of broker. What is to be sent waits in a spool; a [`Client`] hands the next of it
//! over and says how much was acknowledged. It is asked again after a pause where something was not.

#![cfg_attr(
    not(all(
        feature = "kafka",
        feature = "mqtt",
        feature = "nats",
        feature = "redis",
        feature = "webhook",
        feature = "zeromq"
    )),
    expect(dead_code, reason = "one kind of broker uses a part of what all share")
)]

mod address;
mod connection;
mod file;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "webhook")]
mod webhook;
#[cfg(feature = "zeromq")]
mod zeromq;

pub use address::shown;
#[cfg(feature = "mqtt")]
pub use mqtt::Mqtt;

use crate::bounded;
use crate::markup::plain;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// Bytes of a file with a secret or certificates.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Bytes of letters that are handed over as one: a slow connection takes them in time.
const MAX_GROUP_BYTES: usize = 1 << 20;
/// Letters of what a broker says of an error.
const MAX_WORDS: usize = 300;
/// How addresses of brokers begin.
const SCHEMES: &[&str] = &[
    "file:",
    #[cfg(feature = "webhook")]
    "http://, https://",
    #[cfg(feature = "kafka")]
    "kafka://, kafka+tls://",
    #[cfg(feature = "mqtt")]
    "mqtt://, mqtts://",
    #[cfg(feature = "nats")]
    "nats://, tls://",
    #[cfg(feature = "redis")]
    "redis://, rediss://",
    #[cfg(feature = "zeromq")]
    "zmq://",
];

/// One message as it leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    /// MQTT's topic, NATS' subject, Kafka's topic, Redis' stream; of no use to the others.
    pub topic: String,
    /// The name of the source: what keeps its order has it as key.
    pub source: String,
    /// The same for every repeat of a message, and of no other message.
    pub id: String,
    pub content_type: String,
    /// MQTT: the broker keeps it for whoever comes later, as the last of its topic.
    pub retain: bool,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What became of letters that were handed over.
#[derive(Debug)]
pub struct Delivered {
    /// How many of the first were acknowledged.
    pub acknowledged: usize,
    /// Why the next one was not; none where all were.
    pub failure: Option<Failure>,
}

/// Why a letter was not acknowledged, in one line that names the broker and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may be the next time: the broker is away, busy, full, or does not let the program in.
    #[error("{0}")]
    Away(String),
    /// It never will be, however often it is sent: it is larger than the broker takes.
    #[error("{0}")]
    Refused(String),
}

/// What a client works on in the background.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Speaks to one broker, inside a Tokio runtime that has its I/O and its clock. All of it runs on one thread, beside other clients': it
/// never blocks.
pub trait Client: Send {
    /// Connects where it is not connected, hands the letters over in this order, and waits until each is acknowledged, which it counts, or one
    /// fails. It comes back in bounded time, whatever the broker does; what was handed over and not acknowledged is handed over again. Without
    /// letters it sees to it that the connection is there.
    fn hand_over<'a>(&'a mut self, letters: &'a [Letter], acknowledged: &'a mut usize)
    -> Work<'a, Result<(), Failure>>;

    /// The same, and what became of them.
    fn deliver<'a>(&'a mut self, letters: &'a [Letter]) -> Work<'a, Delivered> {
        let mut acknowledged = 0;
        Box::pin(async move {
            let failure = self.hand_over(letters, &mut acknowledged).await.err();
            Delivered { acknowledged, failure }
        })
    }

    /// Connects and is let in, without leaving anything there.
    fn check(&mut self) -> Work<'_, Result<(), Failure>>;

    /// Says good-bye, in bounded time.
    fn close(&mut self) -> Work<'_, ()>;
}

/// How a broker is reached, and entered. Files are read at each connection, so that what is in them may change.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Without user name and password. Options follow `?`, or `#` where the address is a page's.
    pub url: String,
    /// In the text of this file, as the kind of broker has it: `USER:PASSWORD`, a token, NATS' credentials or seed.
    pub credentials: Option<PathBuf>,
    /// PEM: whom to trust instead of the system's authorities; the client's own certificate and its key.
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// A file with the secret that bodies are signed by (webhook).
    pub secret: Option<PathBuf>,
    /// For a connection to be made and the broker to let the program in, and for each next acknowledgement.
    pub timeout: Duration,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            url: String::new(),
            credentials: None,
            ca: None,
            cert: None,
            key: None,
            secret: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// A page's address may be a secret itself.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("url", &address::shown(&self.url)).finish_non_exhaustive()
    }
}

impl Target {
    /// User name and password, where there are any.
    fn user(&self) -> Result<Option<(String, String)>, Failure> {
        let Some(path) = &self.credentials else { return Ok(None) };
        let text = read_text(path)?;
        let pair = text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()));
        let wrong = || Failure::Away(format!("{}: expected USER:PASSWORD in it", path.display()));
        pair.map(Some).ok_or_else(wrong)
    }

    /// What there is to say where the broker does not.
    fn not_let_in(&self) -> String {
        match &self.credentials {
            Some(path) => format!("it does not let in whom {} names", path.display()),
            None => "it lets nobody in without credentials: write them to a file, and name it".to_owned(),
        }
    }
}

/// The client of the broker at this address.
///
/// # Errors
///
/// Where the address or what belongs to it is none; nothing is connected.
pub fn open(target: &Target) -> Result<Box<dyn Client>, String> {
    Ok(Box::new(Guarded { target: target.clone(), client: client(target)? }))
}

fn client(target: &Target) -> Result<Box<dyn Client>, String> {
    if target.cert.is_some() != target.key.is_some() {
        return Err(format!("{}: cert and key go together: name both files", address::shown(&target.url)));
    }
    match target.url.split_once(':').unwrap_or_default().0 {
        "file" => Ok(Box::new(file::File::new(target)?)),
        #[cfg(feature = "webhook")]
        "http" | "https" => Ok(Box::new(webhook::Webhook::new(target)?)),
        #[cfg(feature = "kafka")]
        "kafka" | "kafka+tls" => Ok(Box::new(kafka::Kafka::new(target)?)),
        #[cfg(feature = "mqtt")]
        "mqtt" | "mqtts" => Ok(Box::new(mqtt::Mqtt::new(target)?)),
        #[cfg(feature = "nats")]
        "nats" | "tls" => Ok(Box::new(nats::Nats::new(target)?)),
        #[cfg(feature = "redis")]
        "redis" | "rediss" => Ok(Box::new(redis::Redis::new(target)?)),
        #[cfg(feature = "zeromq")]
        "zmq" => Ok(Box::new(zeromq::ZeroMq::new(target)?)),
        _ => {
            let shown = address::shown(&target.url);
            Err(format!("{shown:?} is no broker's address (expected one that begins with {})", SCHEMES.join(", ")))
        }
    }
}

/// A client that outlives what a broker's bytes do to its library: where it panics, there is a new one, and the broker is away.
struct Guarded {
    target: Target,
    client: Box<dyn Client>,
}

impl Guarded {
    async fn or_away<'a, T>(target: &Target, mut work: Work<'a, T>) -> Result<T, Failure> {
        let caught = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        });
        let shown = address::shown(&target.url);
        caught.await.ok_or_else(|| Failure::Away(format!("{shown}: its answers cannot be understood")))
    }

    fn renew(&mut self) {
        if let Ok(client) = client(&self.target) {
            self.client = client;
        }
    }
}

impl Client for Guarded {
    fn hand_over<'a>(
        &'a mut self,
        letters: &'a [Letter],
        acknowledged: &'a mut usize,
    ) -> Work<'a, Result<(), Failure>> {
        Box::pin(async move {
            let handed = Self::or_away(&self.target, self.client.hand_over(letters, acknowledged)).await;
            handed.unwrap_or_else(|failure| {
                self.renew();
                // Whoever failed so may have counted wrongly.
                *acknowledged = 0;
                Err(failure)
            })
        })
    }

    fn check(&mut self) -> Work<'_, Result<(), Failure>> {
        Box::pin(async move {
            let checked = Self::or_away(&self.target, self.client.check()).await;
            checked.unwrap_or_else(|failure| {
                self.renew();
                Err(failure)
            })
        })
    }

    fn close(&mut self) -> Work<'_, ()> {
        Box::pin(async move {
            // It is over in any case.
            let _ = Self::or_away(&self.target, self.client.close()).await;
        })
    }
}

/// The bytes of a small file.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    bounded::read_file(path, MAX_FILE_BYTES).map_err(|error| Failure::Away(format!("{}: {error}", path.display())))
}

/// The text of a small file, without the space around it.
fn read_text(path: &Path) -> Result<String, Failure> {
    let text = bounded::text(read(path)?).map_err(|error| Failure::Away(format!("{}: {error}", path.display())))?;
    Ok(text.trim().to_owned())
}

/// How many of the first go together: at most so many, and one at least where there is one.
fn together(letters: &[Letter], most: usize) -> usize {
    let mut bytes = 0;
    let fitting = letters.iter().take(most).take_while(|letter| {
        bytes += letter.body.len();
        bytes <= MAX_GROUP_BYTES
    });
    fitting.count().max(1).min(letters.len())
}

/// `within 10s`.
fn within(time: Duration) -> String {
    format!("within {time:?}")
}

/// What somebody else says of an error, in some words of one line.
fn words(said: impl fmt::Display) -> String {
    let mut line = plain(&said.to_string());
    if let Some((end, _)) = line.char_indices().nth(MAX_WORDS) {
        line.truncate(end);
    }
    line
}
