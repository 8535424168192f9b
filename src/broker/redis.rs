//! Redis streams. Acknowledged means that the server has run the XADD; whether that is on its disk is for its `appendfsync` to say.
//!
//! A batch is one transaction: all of it is in the streams, in order, or nothing. An entry has the fields `id`, `source`, `content-type`,
//! `body`, and one for each header. With `?maxlen=N` a stream is kept near its newest N entries.

use super::address::Address;
use super::connection::{self, why};
use super::{Client, Failure, Letter, Target, Work, together, within, words};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, Pipeline, RedisConnectionInfo, RedisError, RedisResult, cmd};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Letters of a transaction.
const BATCH: usize = 256;
/// Bytes of a value that any server takes.
const LARGEST: usize = 512 << 20;

pub struct Redis {
    target: Target,
    address: Address,
    longest: Option<usize>,
    session: Option<Session>,
}

struct Session {
    connection: MultiplexedConnection,
    /// Bytes of a value: over a larger one the server ends the connection.
    largest: usize,
    work: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Redis {
    pub fn new(target: &Target) -> Result<Self, String> {
        let address = Address::parse(&target.url, &[("redis", 6379), ("rediss", 6379)], &["maxlen"])?;
        address.host()?;
        let longest = address.number("maxlen")?;
        Ok(Self { target: target.clone(), address, longest, session: None })
    }

    fn failed(&self, error: &RedisError) -> Failure {
        match error.kind() {
            ErrorKind::AuthenticationFailed => self.address.away(self.target.not_let_in()),
            _ if error.code() == Some("NOAUTH") => self.address.away(self.target.not_let_in()),
            _ => self.address.away(why(error, &self.target)),
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = RedisResult<T>>) -> Result<T, Failure> {
        let done = timeout(self.target.timeout, work).await;
        let done =
            done.map_err(|_| self.address.away(format!("it acknowledged nothing {}", within(self.target.timeout))))?;
        done.map_err(|error| self.failed(&error))
    }

    async fn begin(&self) -> Result<Session, Failure> {
        // One password alone is the default user's.
        let mut whom = RedisConnectionInfo::default();
        if let Some((user, password)) = self.target.user()? {
            if !user.is_empty() {
                whom = whom.set_username(user);
            }
            whom = whom.set_password(password);
        }
        let stream = connection::connect(&self.address, &self.target, self.address.scheme == "rediss").await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let begun = timeout(self.target.timeout, MultiplexedConnection::new_with_config(&whom, stream, config)).await;
        let silent = |_| self.address.away(format!("it does not answer {}", within(self.target.timeout)));
        let (connection, work) = begun.map_err(silent)?.map_err(|error| self.failed(&error))?;
        let mut session = Session { connection, largest: LARGEST, work: tokio::spawn(work) };
        self.in_time(cmd("PING").query_async::<()>(&mut session.connection)).await?;
        // Who may not ask for it has what it is where nobody has changed it.
        let asked = cmd("CONFIG")
            .arg("GET")
            .arg("proto-max-bulk-len")
            .query_async::<Vec<String>>(&mut session.connection)
            .await;
        if let Some(most) = asked.ok().and_then(|said| said.get(1)?.parse().ok()) {
            session.largest = most;
        }
        Ok(session)
    }

    fn transaction(&self, letters: &[Letter]) -> Pipeline {
        let mut pipeline = redis::pipe();
        pipeline.atomic().ignore_errors();
        for letter in letters {
            let add = pipeline.cmd("XADD").arg(&letter.topic);
            if let Some(longest) = self.longest {
                add.arg("MAXLEN").arg("~").arg(longest);
            }
            add.arg("*").arg("id").arg(&letter.id).arg("source").arg(&letter.source);
            add.arg("content-type").arg(&letter.content_type).arg("body").arg(&letter.body);
            for (name, value) in &letter.headers {
                add.arg(name).arg(value);
            }
        }
        pipeline
    }

    async fn hand_over(&mut self, letters: &[Letter], acknowledged: &mut usize) -> Result<(), Failure> {
        let mut session = match self.session.take() {
            Some(session) if !session.work.is_finished() => session,
            _ => self.begin().await?,
        };
        while let Some(rest) = letters.get(*acknowledged..).filter(|rest| !rest.is_empty()) {
            let fitting = rest.iter().take_while(|letter| letter.body.len() <= session.largest).count();
            if fitting == 0 {
                let most = session.largest;
                let bytes = rest[0].body.len();
                return Err(Failure::Refused(format!(
                    "{}: a letter has {bytes} bytes (expected at most {most})",
                    self.address
                )));
            }
            let group = together(&rest[..fitting], BATCH);
            let pipeline = self.transaction(&rest[..group]);
            let added = self.in_time(pipeline.query_async::<Vec<RedisResult<String>>>(&mut session.connection)).await?;
            if added.len() != group {
                return Err(self.address.away("its answers cannot be understood"));
            }
            for (letter, added) in rest.iter().zip(added) {
                added.map_err(|error| {
                    self.address.away(format!("it does not add to {:?}: {}", letter.topic, words(error)))
                })?;
                *acknowledged += 1;
            }
        }
        self.session = Some(session);
        Ok(())
    }
}

impl Client for Redis {
    fn hand_over<'a>(
        &'a mut self,
        letters: &'a [Letter],
        acknowledged: &'a mut usize,
    ) -> Work<'a, Result<(), Failure>> {
        Box::pin(self.hand_over(letters, acknowledged))
    }

    fn check(&mut self) -> Work<'_, Result<(), Failure>> {
        Box::pin(async move { self.begin().await.map(drop) })
    }

    /// All was acknowledged: there is nothing left to wait for.
    fn close(&mut self) -> Work<'_, ()> {
        self.session = None;
        Box::pin(std::future::ready(()))
    }
}
