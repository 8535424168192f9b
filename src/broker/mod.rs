//! Who takes messages from the program: a client per kind of broker. What is to be sent waits in a spool; a [`Client`] hands the next of it
//! over and says how much was acknowledged. It is asked again after a pause where something was not.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

/// One message as it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// MQTT's topic, NATS' subject, Kafka's topic, Redis' stream; of no use to the others.
    pub topic: String,
    /// The name of the source: what keeps its order has it as key.
    pub source: String,
    /// The same for every repeat of a message, and of no other message.
    pub id: String,
    pub content_type: String,
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

/// Speaks to one broker. All of it runs on one thread, beside other clients': it never blocks.
pub trait Client: Send {
    /// Connects where it is not connected, hands the letters over in this order, and waits until each is acknowledged or one fails. It comes
    /// back in bounded time, whatever the broker does; what was handed over and not acknowledged is handed over again.
    fn deliver<'a>(&'a mut self, letters: &'a [Letter]) -> Work<'a, Delivered>;

    /// Connects and is let in, without leaving anything there.
    fn check(&mut self) -> Work<'_, Result<(), Failure>>;

    /// Says good-bye, in bounded time.
    fn close(&mut self) -> Work<'_, ()>;
}

/// How a broker is reached, and entered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Without user name and password.
    pub url: String,
    /// In the text of this file, as the kind of broker has it: `USER:PASSWORD`, NATS' credentials or seed.
    pub credentials: Option<PathBuf>,
    /// PEM: whom to trust instead of the system's authorities; the client's own certificate and its key.
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// A file with the secret that bodies are signed by (webhook).
    pub secret: Option<PathBuf>,
}

/// A client for whoever this is; an error says which addresses there are.
pub fn open(target: &Target) -> Result<Box<dyn Client>, String> {
    Err(format!("{}: there is no such client", target.url))
}
