//! NATS with JetStream. Acknowledged means that a stream has stored the letter; the server knows its id for a while (two minutes, where the
//! stream says nothing else) and stores a repeat only once.
//!
//! With `?jetstream=false` it is core NATS, which keeps nothing: acknowledged means that the server has read the letter, and whoever
//! listened then may have it.

use super::address::Address;
use super::connection::{self, why};
use super::{Client, Failure, Letter, Target, Work, read_text, within, words};
use async_nats::header::{HeaderName, HeaderValue};
use async_nats::jetstream::context::{Context, ContextBuilder, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::{ConnectErrorKind, ConnectOptions, Event, HeaderMap, RequestErrorKind, jetstream};
use tokio::sync::watch;
use tokio::time::timeout;

/// Letters on their way at a time.
const BATCH: usize = 256;

pub struct Nats {
    target: Target,
    address: Address,
    keeps: bool,
    session: Option<Session>,
}

struct Session {
    client: async_nats::Client,
    context: Context,
    /// What went wrong on the connection, once something has.
    wrong: watch::Receiver<Option<String>>,
}

impl Nats {
    pub fn new(target: &Target) -> Result<Self, String> {
        let address = Address::parse(&target.url, &[("nats", 4222), ("tls", 4222)], &["jetstream"])?;
        let keeps = address.choice("jetstream", &["true", "false"])? == "true";
        Ok(Self { target: target.clone(), address, keeps, session: None })
    }

    /// Takes the program's place at the server, as whoever the file of credentials says.
    fn options(&self) -> Result<ConnectOptions, Failure> {
        let options = ConnectOptions::new();
        let options = match &self.target.credentials {
            None => options,
            Some(path) => {
                let text = read_text(path)?;
                let is_seed =
                    text.starts_with("SU") && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
                match text.split_once(':') {
                    // The library looks for the end of the last line.
                    _ if text.contains("BEGIN NATS USER JWT") => options
                        .credentials(&(text + "\n"))
                        .map_err(|_| Failure::Away(format!("{}: it holds no credentials of NATS", path.display())))?,
                    _ if is_seed => options.nkey(text),
                    Some((user, password)) => options.user_and_password(user.to_owned(), password.to_owned()),
                    None => options.token(text),
                }
            }
        };
        let with_tls = self.address.scheme == "tls";
        Ok(match with_tls || self.target.ca.is_some() || self.target.cert.is_some() {
            true => options.require_tls(with_tls).tls_client_config(connection::tls(&self.target)?),
            false => options,
        })
    }

    async fn begin(&self) -> Result<Session, Failure> {
        let (tell, wrong) = watch::channel(None);
        let options = self.options()?.name("mostream").connection_timeout(self.target.timeout);
        // A connection that is lost is made again here, and not by the library, which would send what was on its way without being asked.
        let options =
            options.max_reconnects(self.address.hosts.len()).ignore_discovered_servers().event_callback(move |event| {
                let said = match event {
                    Event::Connected | Event::SlowConsumer(_) | Event::LameDuckMode | Event::Draining => None,
                    Event::Disconnected | Event::Closed => Some("it ended the connection".to_owned()),
                    Event::ServerError(error) => Some(format!("it says: {}", words(error))),
                    Event::ClientError(error) => Some(words(error)),
                };
                // What came first is why the rest came.
                if said.is_some() {
                    tell.send_if_modified(|known| {
                        known.is_none() && {
                            *known = said;
                            true
                        }
                    });
                }
                std::future::ready(())
            });
        let servers = Vec::from_iter(self.address.hosts().map(|host| format!("nats://{host}")));
        let silent = || self.address.away(format!("it does not answer {}", within(self.target.timeout)));
        let connected = timeout(self.target.timeout, options.connect(servers)).await.map_err(|_| silent())?;
        let client = connected.map_err(|error| match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                self.address.away(self.target.not_let_in())
            }
            ConnectErrorKind::TimedOut => silent(),
            _ => self.address.away(why(&error, &self.target)),
        })?;
        let context =
            ContextBuilder::new().timeout(self.target.timeout).ack_timeout(self.target.timeout).build(client.clone());
        Ok(Session { client, context, wrong })
    }

    /// Waits for an answer, or for the end of the connection.
    async fn answer<T>(&self, session: &mut Session, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let ended = async {
            let why = session.wrong.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
            self.address.away(why.unwrap_or_else(|| "it ended the connection".to_owned()))
        };
        tokio::select! {
            biased;
            answer = timeout(self.target.timeout, answer) => {
                answer.map_err(|_| self.address.away(format!("it acknowledged nothing {}", within(self.target.timeout))))
            }
            why = ended => Err(why),
        }
    }

    fn failed(&self, letter: &Letter, error: &PublishError) -> Failure {
        let said = std::error::Error::source(error).and_then(|source| source.downcast_ref::<jetstream::Error>());
        let subject = &letter.topic;
        match (error.kind(), said) {
            (PublishErrorKind::StreamNotFound, _) => self.address.away(format!(
                "no stream takes {subject:?}: make one that has this subject (nats stream add), or name ?jetstream=false where nobody need keep it"
            )),
            _ if is_wrong_subject(error) => self.address.refused(letter, "it is no subject (expected words with dots between, without spaces)"),
            (PublishErrorKind::MaxPayloadExceeded, _) => self.address.refused(letter, words(error)),
            (_, Some(said)) if said.error_code() == jetstream::ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => self.address.refused(letter, words(said)),
            (PublishErrorKind::TimedOut, _) => self.address.away(format!("it acknowledged nothing {}", within(self.target.timeout))),
            (_, Some(said)) => self.address.away(format!("it does not take what goes to {subject:?}: {}", words(said))),
            _ => self.address.away(why(error, &self.target)),
        }
    }

    fn headers(&self, letter: &Letter) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        let own = [("Nats-Msg-Id", &letter.id), ("Content-Type", &letter.content_type)];
        let all = own.into_iter().chain(letter.headers.iter().map(|(name, value)| (name.as_str(), value)));
        for (name, value) in all.filter(|(_, value)| !value.is_empty()) {
            let wrong = || self.address.refused(letter, format!("its header {name:?} is none"));
            let name = name.parse::<HeaderName>().map_err(|_| wrong())?;
            headers.insert(name, value.parse::<HeaderValue>().map_err(|_| wrong())?);
        }
        Ok(headers)
    }

    /// Into a stream, which says of each that it has it.
    async fn store(&self, session: &mut Session, batch: &[Letter], acknowledged: &mut usize) -> Result<(), Failure> {
        let mut sent = Vec::with_capacity(batch.len());
        let mut outcome = Ok(());
        for letter in batch {
            let publish = match self.headers(letter) {
                Ok(headers) => PublishMessage::build().payload(letter.body.clone().into()).headers(headers),
                Err(failure) => {
                    outcome = Err(failure);
                    break;
                }
            };
            match session.context.send_publish(letter.topic.clone(), publish).await {
                Ok(acknowledgement) => sent.push(acknowledgement),
                Err(error) => {
                    outcome = Err(self.failed(letter, &error));
                    break;
                }
            }
        }
        for (letter, acknowledgement) in batch.iter().zip(sent) {
            self.answer(session, acknowledgement.into_future()).await?.map_err(|error| self.failed(letter, &error))?;
            *acknowledged += 1;
        }
        outcome
    }

    /// To whoever listens.
    async fn tell(&self, session: &mut Session, batch: &[Letter], acknowledged: &mut usize) -> Result<(), Failure> {
        let mut outcome = Ok(());
        let mut sent = 0;
        for letter in batch {
            let said = match self.headers(letter) {
                Ok(headers) => {
                    session.client.publish_with_headers(letter.topic.clone(), headers, letter.body.clone().into()).await
                }
                Err(failure) => {
                    outcome = Err(failure);
                    break;
                }
            };
            if let Err(error) = said {
                use async_nats::client::PublishErrorKind::Send;
                outcome = Err(if error.kind() == Send {
                    self.address.away(words(error))
                } else {
                    self.address.refused(letter, words(error))
                });
                break;
            }
            sent += 1;
        }
        self.has_read(session).await?;
        *acknowledged += sent;
        outcome
    }

    /// Asks what nobody answers: that the server says so, it says after all that it was sent before.
    async fn has_read(&self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client.clone();
        let asked = client.request(client.new_inbox(), "".into());
        let answer = self.answer(session, asked).await?;
        // What it said before comes by another task.
        tokio::task::yield_now().await;
        match (session.wrong.borrow().as_ref(), answer) {
            (Some(why), _) => Err(self.address.away(why)),
            (_, Err(error)) if error.kind() != RequestErrorKind::NoResponders => Err(self.address.away(words(error))),
            _ => Ok(()),
        }
    }

    async fn hand_over(&mut self, letters: &[Letter], acknowledged: &mut usize) -> Result<(), Failure> {
        let mut session = match self.session.take() {
            Some(session) if session.wrong.borrow().is_none() => session,
            _ => self.begin().await?,
        };
        for batch in letters.chunks(BATCH) {
            match self.keeps {
                true => self.store(&mut session, batch, acknowledged).await?,
                false => self.tell(&mut session, batch, acknowledged).await?,
            }
        }
        self.session = Some(session);
        Ok(())
    }
}

fn is_wrong_subject(error: &PublishError) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<async_nats::subject::SubjectError>())
}

impl Client for Nats {
    fn hand_over<'a>(
        &'a mut self,
        letters: &'a [Letter],
        acknowledged: &'a mut usize,
    ) -> Work<'a, Result<(), Failure>> {
        Box::pin(self.hand_over(letters, acknowledged))
    }

    fn check(&mut self) -> Work<'_, Result<(), Failure>> {
        Box::pin(async move {
            let mut session = self.begin().await?;
            self.has_read(&mut session).await
        })
    }

    /// All was acknowledged: there is nothing left to wait for.
    fn close(&mut self) -> Work<'_, ()> {
        self.session = None;
        Box::pin(std::future::ready(()))
    }
}
