//! MQTT 5, and 3.1.1 with `?version=3.1.1`. Acknowledged means that the broker sent the PUBACK of QoS 1: it has the letter, and for how
//! long it keeps it is its own business.
//!
//! Every connection begins with a clean session: what was not acknowledged is handed over again, so that nothing hangs on what the broker
//! remembers. With `?availability=TOPIC` that topic has a retained `online` while there is a connection, and `offline` else, which the broker
//! says too when the program is gone.
//!
//! A broker of MQTT 5 says how large a packet may be; one of 3.1.1 ends the connection over one that is larger, which looks like any other
//! end.

mod v4;
mod v5;

use super::address::Address;
use super::connection::{self, Duplex};
use super::{Client, Failure, Letter, Target, Work, within};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Letters on their way at a time.
const BATCH: usize = 256;
/// Requests that wait in a client: a batch and a good-bye.
const REQUESTS: usize = BATCH + 2;
/// Seconds without a word after which the broker is asked whether it is there.
const KEEP_ALIVE: u16 = 15;

pub struct Mqtt {
    target: Target,
    address: Address,
    begin: fn(Setup) -> Result<Begun, String>,
    availability: Option<String>,
    /// Of nobody else: of two with the same name a broker keeps one.
    id: String,
    watch: Option<Watch>,
    session: Option<Session>,
}

/// As whom a session begins, over which connection, and what the broker is to say when it is lost.
struct Setup {
    id: String,
    user: Option<(String, String)>,
    availability: Option<String>,
    watch: Option<Watch>,
    stream: Box<dyn Duplex>,
    target: Target,
}

/// A topic on which somebody says this word, and how often that was, or a session began.
#[derive(Clone)]
struct Watch {
    topic: String,
    word: String,
    count: Arc<AtomicU64>,
}

impl Watch {
    fn heard(&self, topic: &[u8], said: &[u8]) {
        if (topic, said) == (self.topic.as_bytes(), self.word.as_bytes()) {
            self.began();
        }
    }

    fn began(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A client of one of the protocols, and the work that speaks for it.
struct Begun {
    client: Box<dyn Publisher>,
    /// When the broker has let the program in.
    is_in: oneshot::Receiver<()>,
    work: JoinHandle<Ended>,
}

struct Session {
    client: Box<dyn Publisher>,
    work: JoinHandle<Ended>,
}

trait Publisher: Send + Sync {
    /// Hands a letter over; what comes says how it went.
    fn publish(&self, letter: &Letter) -> Result<Work<'static, Result<(), Answer>>, Answer>;

    fn disconnect(&self);
}

/// Why a letter was not taken.
enum Answer {
    /// The session is over, and knows why.
    Ended,
    NotNow(String),
    Never(String),
}

/// Why a session is over.
enum Ended {
    /// User name and password are wrong, or there are none.
    NotLetIn,
    Because(String),
}

impl Drop for Session {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Setup {
    /// The connection, for a library that asks for it once.
    fn connector(stream: Box<dyn Duplex>) -> impl Fn() -> io::Result<Box<dyn Duplex>> + Send + Sync {
        let stream = Mutex::new(Some(stream));
        move || stream.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(io::ErrorKind::NotConnected.into())
    }
}

impl Mqtt {
    pub fn new(target: &Target) -> Result<Self, String> {
        let address = Address::parse(&target.url, &[("mqtt", 1883), ("mqtts", 8883)], &["availability", "version"])?;
        address.host()?;
        let begin = match address.choice("version", &["5", "3.1.1"])? {
            "5" => v5::begin,
            _ => v4::begin,
        };
        let availability = address.option("availability").map(str::to_owned);
        if availability.as_ref().is_some_and(|topic| topic.is_empty() || topic.contains(['+', '#', '\0'])) {
            return Err(format!("{address}: availability is no topic to publish to (expected one without + and #)"));
        }
        let id = format!("mostream-{:014x}", RandomState::new().hash_one(0) >> 8);
        Ok(Self { target: target.clone(), address, begin, availability, id, watch: None, session: None })
    }

    /// The same for who says how things are: with this topic as `availability`, if there is none. The number grows with each session, and
    /// each time that somebody says the word on the topic: whatever was retained may be gone, or unread.
    pub fn telling(mut self, availability: String, [topic, word]: [String; 2]) -> (Self, Arc<AtomicU64>) {
        let count = Arc::<AtomicU64>::default();
        self.availability.get_or_insert(availability);
        self.watch = Some(Watch { topic, word, count: count.clone() });
        (self, count)
    }

    async fn begin(&self, availability: Option<String>) -> Result<Session, Failure> {
        let user = self.target.user()?;
        let stream = connection::connect(&self.address, &self.target, self.address.scheme == "mqtts").await?;
        // Who only looks whether it is let in hears nothing.
        let watch = self.watch.clone().filter(|_| availability.is_some());
        let setup = Setup { id: self.id.clone(), user, availability, watch, stream, target: self.target.clone() };
        let Begun { client, is_in, work } = (self.begin)(setup).map_err(|error| self.address.away(error))?;
        let mut session = Session { client, work };
        match timeout(self.target.timeout, is_in).await {
            Ok(Ok(())) => Ok(session),
            Ok(Err(_)) => Err(self.ended(&mut session).await),
            Err(_) => Err(self.address.away(format!("it does not answer {}", within(self.target.timeout)))),
        }
    }

    /// Why a session that is over is.
    async fn ended(&self, session: &mut Session) -> Failure {
        match timeout(self.target.timeout, &mut session.work).await {
            Ok(Ok(Ended::Because(why))) => self.address.away(why),
            Ok(Ok(Ended::NotLetIn)) => self.address.away(self.target.not_let_in()),
            Ok(Err(_)) | Err(_) => self.address.away("its answers cannot be understood"),
        }
    }

    /// Waits for what became of a letter.
    async fn acknowledged(
        &self,
        session: &mut Session,
        letter: &Letter,
        sent: Result<Work<'static, Result<(), Answer>>, Answer>,
    ) -> Result<(), Failure> {
        let answer = match sent {
            Ok(answer) => timeout(self.target.timeout, answer).await,
            Err(answer) => Ok(Err(answer)),
        };
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Answer::Ended)) => Err(self.ended(session).await),
            Ok(Err(Answer::NotNow(why))) => {
                Err(self.address.away(format!("it does not take what goes to {:?}: {why}", letter.topic)))
            }
            Ok(Err(Answer::Never(why))) => Err(self.address.refused(letter, why)),
            Err(_) => Err(self.address.away(format!("it acknowledged nothing {}", within(self.target.timeout)))),
        }
    }

    /// The session that there is, or a new one.
    async fn session(&mut self) -> Result<Session, Failure> {
        match self.session.take() {
            Some(session) if !session.work.is_finished() => return Ok(session),
            _ => {}
        }
        let mut session = self.begin(self.availability.clone()).await?;
        self.tell(&mut session, "online").await?;
        Ok(session)
    }

    async fn tell(&self, session: &mut Session, word: &str) -> Result<(), Failure> {
        let Some(topic) = &self.availability else { return Ok(()) };
        let letter = Letter { topic: topic.clone(), retain: true, body: word.into(), ..Letter::default() };
        let sent = session.client.publish(&letter);
        // None of those that are handed over.
        self.acknowledged(session, &letter, sent).await.map_err(|failure| Failure::Away(failure.to_string()))
    }

    async fn hand_over(&mut self, letters: &[Letter], acknowledged: &mut usize) -> Result<(), Failure> {
        let mut session = self.session().await?;
        for batch in letters.chunks(BATCH) {
            // None is handed over after one that was not.
            let mut sent = Vec::with_capacity(batch.len());
            for letter in batch {
                sent.push(session.client.publish(letter));
                if sent.last().is_some_and(Result::is_err) {
                    break;
                }
            }
            for (letter, sent) in batch.iter().zip(sent) {
                match self.acknowledged(&mut session, letter, sent).await {
                    Ok(()) => *acknowledged += 1,
                    // It is the letter's fault, not the session's.
                    Err(Failure::Refused(why)) => {
                        self.session = Some(session);
                        return Err(Failure::Refused(why));
                    }
                    Err(away) => return Err(away),
                }
            }
        }
        self.session = Some(session);
        Ok(())
    }
}

impl Client for Mqtt {
    fn hand_over<'a>(
        &'a mut self,
        letters: &'a [Letter],
        acknowledged: &'a mut usize,
    ) -> Work<'a, Result<(), Failure>> {
        Box::pin(self.hand_over(letters, acknowledged))
    }

    fn check(&mut self) -> Work<'_, Result<(), Failure>> {
        Box::pin(async move {
            if self.session.as_ref().is_none_or(|session| session.work.is_finished()) {
                let session = self.begin(None).await?;
                self.part(session).await;
            }
            Ok(())
        })
    }

    fn close(&mut self) -> Work<'_, ()> {
        Box::pin(async move {
            if let Some(mut session) = self.session.take() {
                // Nobody can be told that it was not taken.
                let _ = self.tell(&mut session, "offline").await;
                self.part(session).await;
            }
        })
    }
}

impl Mqtt {
    async fn part(&self, mut session: Session) {
        session.client.disconnect();
        let _ = timeout(self.target.timeout, &mut session.work).await;
    }
}
