//! ZeroMQ, for who receives without a broker. A message has two parts, the topic and the body.
//!
//! With `?socket=dealer` (what it is if not said) and `?socket=req` acknowledged means that the other side, which listens there, has answered
//! once for each message. With `?socket=pub` the program itself listens at the address, and acknowledged means that the socket has the
//! message: who has not subscribed by then, or is too slow, never gets it.

use super::address::Address;
use super::{Client, Failure, Letter, Target, Work, within, words};
use tokio::time::timeout;
use zeromq::{DealerSocket, PubSocket, ReqSocket, Socket, SocketRecv, SocketSend, ZmqMessage, ZmqResult};

/// Letters on their way at a time, where they need not go one by one.
const BATCH: usize = 256;

pub struct ZeroMq {
    target: Target,
    address: Address,
    kind: &'static str,
    session: Option<Session>,
}

enum Session {
    Dealer(DealerSocket),
    Req(ReqSocket),
    Pub(PubSocket),
}

impl ZeroMq {
    pub fn new(target: &Target) -> Result<Self, String> {
        let address = Address::parse(&target.url, &[("zmq", 5555)], &["socket"])?;
        address.host()?;
        let kind = address.choice("socket", &["dealer", "req", "pub"])?;
        Ok(Self { target: target.clone(), address, kind, session: None })
    }

    async fn in_time<T>(&self, work: impl Future<Output = ZmqResult<T>>) -> Result<T, Failure> {
        let done = timeout(self.target.timeout, work).await;
        let done =
            done.map_err(|_| self.address.away(format!("it acknowledged nothing {}", within(self.target.timeout))))?;
        done.map_err(|error| self.address.away(words(error)))
    }

    async fn begin(&self) -> Result<Session, Failure> {
        let endpoint = self.address.to_string().replacen("zmq", "tcp", 1);
        Ok(match self.kind {
            "req" => {
                let mut socket = ReqSocket::new();
                self.in_time(socket.connect(&endpoint)).await?;
                Session::Req(socket)
            }
            "pub" => {
                let mut socket = PubSocket::new();
                self.in_time(socket.bind(&endpoint)).await?;
                Session::Pub(socket)
            }
            _ => {
                let mut socket = DealerSocket::new();
                self.in_time(socket.connect(&endpoint)).await?;
                Session::Dealer(socket)
            }
        })
    }

    async fn hand_over(&mut self, letters: &[Letter], acknowledged: &mut usize) -> Result<(), Failure> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.begin().await?,
        };
        match &mut session {
            Session::Req(socket) => {
                for letter in letters {
                    self.in_time(socket.send(message(letter))).await?;
                    self.in_time(socket.recv()).await?;
                    *acknowledged += 1;
                }
            }
            Session::Dealer(socket) => {
                for batch in letters.chunks(BATCH) {
                    for letter in batch {
                        self.in_time(socket.send(message(letter))).await?;
                    }
                    for _ in batch {
                        self.in_time(socket.recv()).await?;
                        *acknowledged += 1;
                    }
                }
            }
            Session::Pub(socket) => {
                for letter in letters {
                    self.in_time(socket.send(message(letter))).await?;
                    *acknowledged += 1;
                }
            }
        }
        self.session = Some(session);
        Ok(())
    }
}

fn message(letter: &Letter) -> ZmqMessage {
    let mut message = ZmqMessage::from(letter.topic.as_str());
    message.push_back(letter.body.clone().into());
    message
}

impl Client for ZeroMq {
    fn hand_over<'a>(
        &'a mut self,
        letters: &'a [Letter],
        acknowledged: &'a mut usize,
    ) -> Work<'a, Result<(), Failure>> {
        Box::pin(self.hand_over(letters, acknowledged))
    }

    fn check(&mut self) -> Work<'_, Result<(), Failure>> {
        Box::pin(async move {
            if self.session.is_none() {
                self.session = Some(self.begin().await?);
            }
            Ok(())
        })
    }

    fn close(&mut self) -> Work<'_, ()> {
        self.session = None;
        Box::pin(std::future::ready(()))
    }
}
