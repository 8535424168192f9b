//! Web hooks: letters are posted to a page. Acknowledged means that the answer's status is between 200 and 299.
//!
//! Letters whose bodies are JSON go together, as an array, or one to a line with `#format=ndjson`; others, and all with `#batch=1`, go alone,
//! with their own headers. A repeat has the `Idempotency-Key` of what it repeats. With a secret, requests are signed as Standard Webhooks
//! has it: `webhook-signature` is the HMAC-SHA256 of `webhook-id`, `webhook-timestamp` and the body.
//!
//! No answer leads anywhere else, so that credentials go to this page alone, whose address, after the host, is told nobody.

use super::address::Address;
use super::connection::{self, why};
use super::{Client, Failure, Letter, Target, Work, read_text, together, within};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use ring::{digest, hmac};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, timeout};

/// Bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;
/// However long a server asks to be left alone.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

pub struct Webhook {
    target: Target,
    address: Address,
    /// Letters of a request.
    most: usize,
    by_line: bool,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// The server wants to be asked nothing until then.
    not_before: Option<Instant>,
}

/// What a server made of a request.
enum Answer {
    Taken,
    /// It never will take this.
    Never(StatusCode),
}

impl Webhook {
    pub fn new(target: &Target) -> Result<Self, String> {
        let address = Address::parse(&target.url, &[("http", 80), ("https", 443)], &["batch", "format"])?;
        address.host()?;
        address.path.parse::<Uri>().map_err(|_| format!("{address}: what follows the host is no path"))?;
        let most = address.number("batch")?.unwrap_or(100);
        let by_line = address.choice("format", &["json", "ndjson"])? == "ndjson";
        Ok(Self { target: target.clone(), address, most, by_line, sender: None, not_before: None })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = connection::connect(&self.address, &self.target, self.address.scheme == "https").await?;
        let shaken = http1::Builder::new().max_buf_size(MAX_ANSWER).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| self.address.away(why(&error, &self.target)))?;
        // What ends it, the request is told.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    /// How many of the first go together.
    fn group(&self, letters: &[Letter], most: usize) -> usize {
        let json = letters.iter().take_while(|letter| letter.content_type.ends_with("json")).count();
        together(&letters[..json.max(1)], most)
    }

    fn request(&self, letters: &[Letter]) -> Result<Request<Full<Bytes>>, Failure> {
        let mut headers = HeaderMap::new();
        let ids: Vec<&str> = letters.iter().map(|letter| letter.id.as_str()).collect();
        let (id, body, content_type) = match letters {
            [letter] if self.most == 1 || !letter.content_type.ends_with("json") => {
                for (name, value) in &letter.headers {
                    let wrong = |_| Failure::Refused(format!("{}: its header {name:?} is none", self.address));
                    let name = name.parse::<HeaderName>().map_err(|error| wrong(error.to_string()))?;
                    let value = HeaderValue::from_str(value).map_err(|error| wrong(error.to_string()))?;
                    headers.insert(name, value);
                }
                (letter.id.clone(), letter.body.clone(), letter.content_type.as_str())
            }
            _ => {
                let all = digest::digest(&digest::SHA256, ids.join("\n").as_bytes());
                let id = all.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                let (body, content_type) = match self.by_line {
                    true => (lines(letters), "application/x-ndjson"),
                    false => (array(letters), "application/json"),
                };
                (id, body, content_type)
            }
        };
        let named = |error: InvalidHeaderValue| Failure::Refused(format!("{}: {error}", self.address));
        headers.insert("idempotency-key", HeaderValue::from_str(&id).map_err(named)?);
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).map_err(named)?);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("mostream/", env!("CARGO_PKG_VERSION"))));
        let host = self.address.hosts().collect::<String>();
        headers.insert(HOST, HeaderValue::from_str(&host).map_err(named)?);
        if let Some(path) = &self.target.credentials {
            let text = read_text(path)?;
            let said = match text.contains(':') {
                true => format!("Basic {}", BASE64_STANDARD.encode(text)),
                false => format!("Bearer {text}"),
            };
            let wrong = |_| Failure::Away(format!("{}: expected USER:PASSWORD or a token in it", path.display()));
            let mut value = HeaderValue::from_str(&said).map_err(wrong)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(path) = &self.target.secret {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
            let signature = signature(&read_text(path)?, &id, &now, &body);
            let signature =
                signature.ok_or_else(|| Failure::Away(format!("{}: expected base64 after whsec_", path.display())))?;
            for (name, value) in [("webhook-id", &id), ("webhook-timestamp", &now), ("webhook-signature", &signature)] {
                headers.insert(name, HeaderValue::from_str(value).map_err(named)?);
            }
        }
        let request = Request::builder().method(Method::POST).uri(&self.address.path).body(Full::new(body.into()));
        let mut request = request.map_err(|error| self.address.away(error))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Sends it, and reads the answer's status and headers.
    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, HeaderMap), Failure> {
        loop {
            let kept = self.sender.take().filter(|sender| !sender.is_closed());
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            let asked = async {
                sender.ready().await?;
                let (head, body) = sender.send_request(request.clone()).await?.into_parts();
                Ok::<_, hyper::Error>((head, Limited::new(body, MAX_ANSWER).collect().await.is_ok()))
            };
            match timeout(self.target.timeout, asked).await {
                Ok(Ok((head, is_read))) => {
                    self.sender = is_read.then_some(sender);
                    return Ok((head.status, head.headers));
                }
                // A server ends a connection on which nothing was asked for a while.
                Ok(Err(_)) if is_kept => {}
                Ok(Err(error)) => return Err(self.address.away(why(&error, &self.target))),
                Err(_) => return Err(self.address.away(format!("it does not answer {}", within(self.target.timeout)))),
            }
        }
    }

    async fn post(&mut self, letters: &[Letter]) -> Result<Answer, Failure> {
        let request = self.request(letters)?;
        let (status, headers) = self.exchange(request).await?;
        let file =
            self.target.credentials.as_ref().map_or("none are named".to_owned(), |path| path.display().to_string());
        let why = match status.as_u16() {
            200..=299 => return Ok(Answer::Taken),
            400 | 413 | 422 => return Ok(Answer::Never(status)),
            401 | 403 => format!("it does not let the program in: are the credentials ({file}) and the secret right?"),
            404 | 410 => "there is no such page: is the path right?".to_owned(),
            405 => "nothing can be posted to this page: is the path right?".to_owned(),
            300..=399 => "it names another address, which is not asked: name that one".to_owned(),
            _ => match wait(&headers) {
                Some(time) => {
                    self.not_before = Some(Instant::now() + time);
                    format!("it asks to wait for {}s", time.as_secs())
                }
                None => "it does not take them now".to_owned(),
            },
        };
        Err(self.address.away(format!("it answers {status}: {why}")))
    }

    async fn hand_over(&mut self, letters: &[Letter], acknowledged: &mut usize) -> Result<(), Failure> {
        if let Some(time) =
            self.not_before.map(|time| time.saturating_duration_since(Instant::now())).filter(|time| !time.is_zero())
        {
            return Err(self.address.away(format!("it asked to wait for another {}s", time.as_secs() + 1)));
        }
        self.not_before = None;
        let mut most = self.most;
        while let Some(rest) = letters.get(*acknowledged..).filter(|rest| !rest.is_empty()) {
            let group = self.group(rest, most);
            match self.post(&rest[..group]).await? {
                Answer::Taken => {
                    *acknowledged += group;
                    most = self.most.min(most * 2);
                }
                Answer::Never(status) if group == 1 => {
                    return Err(Failure::Refused(format!("{}: it answers {status} to one letter alone", self.address)));
                }
                // Which of them it is about, a smaller group shows.
                Answer::Never(_) => most = group / 2,
            }
        }
        Ok(())
    }
}

impl Client for Webhook {
    fn hand_over<'a>(
        &'a mut self,
        letters: &'a [Letter],
        acknowledged: &'a mut usize,
    ) -> Work<'a, Result<(), Failure>> {
        Box::pin(self.hand_over(letters, acknowledged))
    }

    /// Whether it lets the program in, only a letter would show.
    fn check(&mut self) -> Work<'_, Result<(), Failure>> {
        Box::pin(async move {
            self.request(&[])?;
            self.connect().await.map(drop)
        })
    }

    fn close(&mut self) -> Work<'_, ()> {
        self.sender = None;
        Box::pin(std::future::ready(()))
    }
}

/// The bodies, each JSON, as an array.
fn array(letters: &[Letter]) -> Vec<u8> {
    let bodies: Vec<&[u8]> = letters.iter().map(|letter| letter.body.as_slice()).collect();
    [b"[".as_slice(), &bodies.join(&b','), b"]"].concat()
}

/// The bodies, each JSON, which has line ends only where it may have spaces.
fn lines(letters: &[Letter]) -> Vec<u8> {
    let line = |letter: &Letter| {
        let spaces = letter.body.iter().map(|byte| if [b'\n', b'\r'].contains(byte) { b' ' } else { *byte });
        spaces.chain([b'\n']).collect::<Vec<u8>>()
    };
    letters.iter().flat_map(line).collect()
}

/// As Standard Webhooks has it; none where the secret is none.
fn signature(secret: &str, id: &str, time: &str, body: &[u8]) -> Option<String> {
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => BASE64_STANDARD.decode(encoded).ok()?,
        None => secret.as_bytes().to_vec(),
    };
    let signed = [id.as_bytes(), time.as_bytes(), body].join(&b'.');
    let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
    Some(format!("v1,{}", BASE64_STANDARD.encode(code)))
}

/// How long a server asks to be left alone: seconds, or a date.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = said.parse().ok().or_else(|| {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(said).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        Some(u64::try_from(date.as_second()).ok()?.saturating_sub(now))
    })?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}
