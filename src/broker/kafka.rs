//! Kafka. Acknowledged means that all replicas that are in step have the letter (`acks=all`). The producer is idempotent: what it sends again
//! by itself is there once, and in order. A letter's key is its source's name, so that a source keeps to one partition, and its order.
//!
//! `kafka://` and `kafka+tls://`, with several hosts after commas; with credentials, `?sasl=SCRAM-SHA-256` or `SCRAM-SHA-512` where it is not
//! PLAIN.

use super::address::Address;
use super::{Client, Failure, Letter, Target, Work, read_text, within, words};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer, PurgeConfig};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Letters on their way at a time.
const BATCH: usize = 256;

pub struct Kafka {
    target: Target,
    address: Address,
    sasl: &'static str,
    session: Option<Session>,
}

/// What the library says of its connections, the latest of it.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Option<String>>>);

struct Session {
    producer: Option<FutureProducer<Said>>,
    said: Said,
}

impl ClientContext for Said {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        // Why each of them is, it said before.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            return;
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(words(reason));
    }
}

/// To end it, the library waits for its threads.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            producer.purge(PurgeConfig::default().queue().inflight());
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn_blocking(move || drop(producer));
            }
        }
    }
}

impl Kafka {
    pub fn new(target: &Target) -> Result<Self, String> {
        let address = Address::parse(&target.url, &[("kafka", 9092), ("kafka+tls", 9093)], &["sasl"])?;
        let sasl = address.choice("sasl", &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])?;
        Ok(Self { target: target.clone(), address, sasl, session: None })
    }

    fn begin(&self) -> Result<Session, Failure> {
        let hosts = Vec::from_iter(self.address.hosts()).join(",");
        let patience = self.target.timeout.as_millis().to_string();
        // Less than this it does not take.
        let to_connect = self.target.timeout.as_millis().max(1000).to_string();
        let mut config = ClientConfig::new();
        for (name, value) in [
            ("bootstrap.servers", hosts.as_str()),
            ("client.id", "mostream"),
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("linger.ms", "5"),
            ("message.timeout.ms", &patience),
            ("socket.connection.setup.timeout.ms", &to_connect),
            // How large a letter may be, the broker says.
            ("message.max.bytes", "1000000000"),
            ("reconnect.backoff.max.ms", "1000"),
        ] {
            config.set(name, value);
        }
        let with_tls = self.address.scheme == "kafka+tls";
        let user = self.target.user()?;
        let protocol = match (with_tls, user.is_some()) {
            (false, false) => "plaintext",
            (false, true) => "sasl_plaintext",
            (true, false) => "ssl",
            (true, true) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some((user, password)) = user {
            config.set("sasl.mechanisms", self.sasl).set("sasl.username", user).set("sasl.password", password);
        }
        if with_tls {
            let files = [
                ("ssl.ca.pem", &self.target.ca),
                ("ssl.certificate.pem", &self.target.cert),
                ("ssl.key.pem", &self.target.key),
            ];
            for (name, path) in files {
                if let Some(path) = path {
                    config.set(name, read_text(path)?);
                }
            }
        }
        let said = Said::default();
        // The error holds no value of the settings but those above.
        let producer = config.create_with_context(said.clone()).map_err(|error| {
            self.address.away(match error {
                KafkaError::ClientCreation(why) => words(why),
                _ => "the settings do not go together".to_owned(),
            })
        })?;
        Ok(Session { producer: Some(producer), said })
    }

    fn silent(&self, session: &Session) -> Failure {
        let said = session.said.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        self.address.away(format!("it acknowledged nothing {}{said}", within(self.target.timeout)))
    }

    fn failed(&self, session: &Session, letter: &Letter, error: &KafkaError) -> Failure {
        use RDKafkaErrorCode as Code;
        let topic = &letter.topic;
        match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => {
                self.address.refused(letter, format!("{} bytes are more than it takes", letter.body.len()))
            }
            Some(Code::InvalidRecord | Code::InvalidTopic) => self.address.refused(letter, words(error)),
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => {
                self.address.away(format!("there is no topic {topic:?}: make it (kafka-topics --create)"))
            }
            Some(Code::MessageTimedOut) | None => self.silent(session),
            Some(code) => self.address.away(format!("it does not take what goes to {topic:?}: {}", words(code))),
        }
    }

    async fn batch(&self, session: &Session, letters: &[Letter], acknowledged: &mut usize) -> Result<(), Failure> {
        let Some(producer) = &session.producer else { return Ok(()) };
        let mut sent = Vec::with_capacity(letters.len());
        let mut outcome = Ok(());
        for letter in letters {
            let own = [("id", &letter.id), ("content-type", &letter.content_type)];
            let all = own.into_iter().chain(letter.headers.iter().map(|(name, value)| (name.as_str(), value)));
            if !is_topic(&letter.topic) {
                outcome = Err(self
                    .address
                    .refused(letter, "it is no name of a topic (expected letters, digits, dots, _ and -)"));
                break;
            }
            if all.clone().any(|(name, _)| name.contains('\0')) {
                outcome = Err(self.address.refused(letter, "the name of a header has a zero byte in it"));
                break;
            }
            let headers = all
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
            let record = FutureRecord::to(&letter.topic).key(&letter.source).payload(&letter.body).headers(headers);
            match producer.send_result(record) {
                Ok(delivery) => sent.push(delivery),
                Err((error, _)) => {
                    outcome = Err(self.failed(session, letter, &error));
                    break;
                }
            }
        }
        for (letter, delivery) in letters.iter().zip(sent) {
            match timeout(self.target.timeout, delivery).await {
                Ok(Ok(Ok(_))) => *acknowledged += 1,
                Ok(Ok(Err((error, _)))) => return Err(self.failed(session, letter, &error)),
                Ok(Err(_)) | Err(_) => return Err(self.silent(session)),
            }
        }
        outcome
    }

    async fn hand_over(&mut self, letters: &[Letter], acknowledged: &mut usize) -> Result<(), Failure> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.begin()?,
        };
        for batch in letters.chunks(BATCH) {
            let before = *acknowledged;
            match self.batch(&session, batch, acknowledged).await {
                // Letters travel together, and are refused together: which of them is too large, it shows alone.
                Err(Failure::Refused(_)) if batch.len() > 1 => {
                    for letter in &batch[*acknowledged - before..] {
                        self.batch(&session, std::slice::from_ref(letter), acknowledged).await?;
                    }
                }
                outcome => outcome?,
            }
        }
        self.session = Some(session);
        Ok(())
    }
}

fn is_topic(name: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    (1..=249).contains(&name.len()) && name.chars().all(is_known) && ![".", ".."].contains(&name)
}

impl Client for Kafka {
    fn hand_over<'a>(
        &'a mut self,
        letters: &'a [Letter],
        acknowledged: &'a mut usize,
    ) -> Work<'a, Result<(), Failure>> {
        Box::pin(self.hand_over(letters, acknowledged))
    }

    fn check(&mut self) -> Work<'_, Result<(), Failure>> {
        Box::pin(async move {
            let session = self.begin()?;
            let Some(producer) = session.producer.clone() else { return Ok(()) };
            let patience = self.target.timeout;
            let asked = spawn_blocking(move || producer.client().fetch_metadata(None, patience).map(drop)).await;
            asked.map_err(|error| self.address.away(words(error)))?.map_err(|_| self.silent(&session))
        })
    }

    /// All was acknowledged: there is nothing left to wait for.
    fn close(&mut self) -> Work<'_, ()> {
        self.session = None;
        Box::pin(std::future::ready(()))
    }
}
