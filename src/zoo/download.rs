//! One file over HTTP, into a `.part` file that grows until it is whole: a download that was cut, stalled or killed goes on
//! where it was, if the server shows that it still has the same file.

use super::ZooError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, Response, StatusCode, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

const MAX_BYTES: u64 = 8 << 30;
const MAX_REDIRECTS: usize = 5;
const MAX_STATE_BYTES: u64 = 64 << 10;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How to fetch.
#[derive(Clone, Debug)]
pub struct Options {
    /// What replaces the scheme and the host of every address.
    pub mirror: Option<String>,
    /// For a connection to be made, and for the next bytes to come.
    pub timeout: Duration,
    /// After how many failures in a row that brought less than a hundredth of the file to give up.
    pub retries: u32,
}

/// What there is to say meanwhile.
#[derive(Debug)]
pub enum Event {
    /// This many bytes are there, of so many where that is known.
    At(u64, Option<u64>),
    /// One line.
    Say(String),
}

/// Where a file is, and who asks for it.
#[derive(Clone, Debug)]
pub struct Address {
    uri: Uri,
    /// Without user name and password.
    shown: String,
    authorization: Option<String>,
}

impl Address {
    /// As it may be shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    fn parse(text: &str) -> Result<Self, ZooError> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let shown = format!("{scheme}://{host}{path}");
        let uri = shown.parse().ok().filter(|uri: &Uri| uri.host().is_some() && ["http", "https"].contains(&scheme));
        let uri = uri.ok_or_else(|| ZooError::Usage(format!("{shown:?} is no http or https address")))?;
        let authorization = user.map(|user| format!("Basic {}", BASE64_STANDARD.encode(percent_decoded(user))));
        Ok(Self { uri, shown, authorization })
    }
}

/// `%40` → `@`: a password in an address is written so.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().iter();
    let mut decoded = Vec::new();
    while let Some(&byte) = bytes.next() {
        let code = (byte == b'%').then(|| bytes.as_slice().first_chunk::<2>()).flatten();
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        decoded.push(code.unwrap_or(byte));
        if code.is_some() {
            bytes.nth(1);
        }
    }
    decoded
}

impl Options {
    /// Where the file of `address` is to be fetched.
    pub(super) fn address(&self, address: &str) -> Result<Address, ZooError> {
        let Some(mirror) = &self.mirror else { return Address::parse(address) };
        let path = Address::parse(address)?.uri.path().to_owned();
        Address::parse(&format!("{}{path}", mirror.trim_end_matches('/')))
    }
}

/// What the `.part` file is the part of.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct State {
    address: String,
    /// A strong ETag, or the time of the last change.
    validator: Option<String>,
    total: Option<u64>,
}

impl State {
    fn path(part: &Path) -> PathBuf {
        part.with_added_extension("json")
    }

    fn read(part: &Path) -> Self {
        let mut text = Vec::new();
        let read = File::open(Self::path(part)).and_then(|file| file.take(MAX_STATE_BYTES).read_to_end(&mut text));
        read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    fn write(&self, part: &Path) -> io::Result<()> {
        crate::partial::write(&Self::path(part), &serde_json::to_vec(self)?)
    }
}

/// Removes what a download left. What cannot be removed is written over by the next.
pub(super) fn forget(part: &Path) {
    let _ = std::fs::remove_file(State::path(part));
    let _ = std::fs::remove_file(part);
}

/// How an attempt failed.
enum Failure {
    /// Another may do better.
    Again(String),
    Final(ZooError),
}

impl From<ZooError> for Failure {
    fn from(error: ZooError) -> Self {
        Self::Final(error)
    }
}

/// Fetches a file of `expected` bytes, where they are known, into `part`. Nobody else writes to it while the result is held.
pub(super) fn fetch(
    address: &Address,
    expected: Option<u64>,
    part: &Path,
    options: &Options,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Event),
) -> Result<File, ZooError> {
    let failed = |source| ZooError::File { path: part.to_owned(), source };
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(part).map_err(failed)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => failed(io::Error::other("another mostream is fetching it")),
        TryLockError::Error(error) => failed(error),
    })?;
    let mut download = Download { address, expected, part, file, timeout: options.timeout, stop, tell };
    let (mut left, mut wait) = (options.retries, FIRST_WAIT.min(options.timeout));
    // The most that was ever there: a server that begins anew each time brings nothing new.
    let mut most = download.length()?;
    loop {
        let reason = match download.attempt() {
            Ok(()) => return Ok(download.file),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Again(reason)) => reason,
        };
        let have = download.length()?;
        let total = expected.or(State::read(part).total).unwrap_or(u64::MAX);
        if have.saturating_sub(most).saturating_mul(100) >= total {
            (left, wait) = (options.retries, FIRST_WAIT.min(options.timeout));
        }
        most = most.max(have);
        let Some(rest) = left.checked_sub(1) else {
            let reason = format!("{reason}; given up. What is here is kept: the same command goes on where it was");
            return Err(ZooError::Fetch { address: address.shown.clone(), reason });
        };
        left = rest;
        (download.tell)(Event::Say(format!("{reason}; trying again in {:.0} s", wait.as_secs_f64().ceil())));
        let start = Instant::now();
        while start.elapsed() < wait {
            if stop.load(Ordering::Relaxed) {
                return Err(ZooError::Stopped);
            }
            std::thread::sleep(Duration::from_millis(50).min(wait));
        }
        wait = (2 * wait).min(LONGEST_WAIT).min(options.timeout);
    }
}

struct Download<'a> {
    address: &'a Address,
    expected: Option<u64>,
    part: &'a Path,
    file: File,
    timeout: Duration,
    stop: &'a AtomicBool,
    tell: &'a mut dyn FnMut(Event),
}

impl Download<'_> {
    fn length(&self) -> Result<u64, ZooError> {
        Ok(self.file.metadata().map_err(|source| self.failed(source))?.len())
    }

    fn failed(&self, source: io::Error) -> ZooError {
        ZooError::File { path: self.part.to_owned(), source }
    }

    fn refused(&self, reason: String) -> Failure {
        Failure::Final(ZooError::Fetch { address: self.address.shown.clone(), reason })
    }

    /// Throws away what is there.
    fn restart(&mut self) -> Result<(), ZooError> {
        self.file.set_len(0).map_err(|source| self.failed(source))
    }

    /// One request, and what comes of it.
    fn attempt(&mut self) -> Result<(), Failure> {
        let state = State::read(self.part);
        let is_same = state.address == self.address.shown && state.validator.is_some();
        if !is_same {
            self.restart()?;
        }
        let have = self.length()?;
        let response = self.ask((have > 0).then_some((have, state.validator.as_deref().unwrap_or_default())))?;
        let headers = response.headers();
        let told = State {
            address: self.address.shown.clone(),
            validator: validator(headers),
            total: total(response.status(), headers),
        };
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if have > 0 => {
                if range_start(headers) != Some(have) || told.validator.is_some() && told.validator != state.validator {
                    self.restart()?;
                    return Err(Failure::Again("the server goes on with another file or elsewhere".to_owned()));
                }
                have
            }
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                if self.expected.or(told.total).or(state.total) == Some(have) {
                    return Ok(());
                }
                self.restart()?;
                return Err(Failure::Again(format!("the server has nothing after byte {have}")));
            }
            status if status.is_server_error() || [408, 425, 429].contains(&status.as_u16()) => {
                return Err(Failure::Again(format!("the server answers {status}")));
            }
            status => {
                let hint = "is the address right, or is a mirror (--mirror) missing the file? A file that is here already is \
                            taken by --from FILE";
                return Err(self.refused(format!("the server answers {status}: {hint}")));
            }
        };
        if let (Some(expected), Some(got)) = (self.expected, told.total)
            && expected != got
        {
            self.restart()?;
            return Err(self.refused(format!("the file there has {got} bytes (expected {expected})")));
        }
        let limit = self.expected.or(told.total).unwrap_or(MAX_BYTES);
        if limit > MAX_BYTES {
            return Err(self.refused(format!("the file there has {limit} bytes (expected at most {MAX_BYTES})")));
        }
        let known_total = self.expected.or(told.total);
        if start == 0 {
            self.restart()?;
            told.write(self.part).map_err(|source| self.failed(source))?;
        }
        self.receive(response, start, known_total, limit)
    }

    /// The body, appended to the file.
    fn receive(&mut self, response: Response<Body>, start: u64, total: Option<u64>, limit: u64) -> Result<(), Failure> {
        let mut body = response.into_body().into_reader();
        let mut have = start;
        self.file.seek(SeekFrom::Start(start)).map_err(|source| self.failed(source))?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(ZooError::Stopped.into());
            }
            (self.tell)(Event::At(have, total));
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let at = total.map_or(format!("byte {have}"), |total| format!("byte {have} of {total}"));
                    return Err(Failure::Again(format!("at {at}: {}", self.reason(ureq::Error::from(error)))));
                }
            };
            if have + read as u64 > limit {
                self.restart()?;
                return Err(self.refused(format!("the server sends more than the {limit} bytes of the file")));
            }
            self.file.write_all(&buffer[..read]).map_err(|source| self.failed(source))?;
            have += read as u64;
        }
        match total {
            Some(total) if have < total => {
                Err(Failure::Again(format!("the connection ended at byte {have} of {total}")))
            }
            _ => Ok(()),
        }
    }

    /// Asks for the file, or for what comes after so many bytes if it is still the one with this validator; follows redirects.
    fn ask(&self, after: Option<(u64, &str)>) -> Result<Response<Body>, Failure> {
        let mut uri = self.address.uri.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent(&uri)?.get(&uri);
            if let Some((have, validator)) = after {
                request = request.header(header::RANGE, format!("bytes={have}-")).header(header::IF_RANGE, validator);
            }
            if let Some(authorization) = &self.address.authorization
                && uri.authority() == self.address.uri.authority()
                && uri.scheme() == self.address.uri.scheme()
            {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let response = request.call().map_err(|error| match error {
                ureq::Error::BadUri(_) | ureq::Error::InvalidProxyUrl => self.refused(self.reason(error)),
                // What TLS finds wrong, which is no better the next time.
                ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => self.refused(format!(
                    "{error}: where the network or the mirror has a certificate authority of its own, SSL_CERT_FILE=FILE.pem \
                     names its certificates"
                )),
                error => Failure::Again(self.reason(error)),
            })?;
            if ![301, 302, 303, 307, 308].contains(&response.status().as_u16()) {
                return Ok(response);
            }
            let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            uri = to.and_then(|to| joined(&uri, to)).ok_or_else(|| {
                self.refused("the server redirects to no http or https address, or from https to http".to_owned())
            })?;
        }
        Err(self.refused(format!("the server redirects more than {MAX_REDIRECTS} times")))
    }

    fn agent(&self, uri: &Uri) -> Result<Agent, Failure> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let proxy = proxy(uri, variable).map_err(|reason| self.refused(reason))?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(self.address.uri.scheme_str() == Some("https"))
            .max_redirects(0)
            .max_idle_connections(0)
            .timeout_resolve(Some(self.timeout))
            .timeout_connect(Some(self.timeout))
            .timeout_send_request(Some(self.timeout))
            .timeout_recv_response(Some(self.timeout))
            .timeout_per_read(Some(self.timeout))
            .user_agent(concat!("mostream/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(TRUSTED.clone()).build())
            .proxy(proxy);
        Ok(config.build().new_agent())
    }

    fn reason(&self, error: ureq::Error) -> String {
        match error {
            ureq::Error::Timeout(_) => format!("nothing came for {} s", self.timeout.as_secs_f64()),
            ureq::Error::HostNotFound => {
                "the host is not found: is the network up, or is a proxy (https_proxy) needed?".to_owned()
            }
            ureq::Error::Io(error) => error.to_string(),
            error => error.to_string(),
        }
    }
}

/// The certificate authorities of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`; Mozilla's where it has none. Read
/// once, not for each request.
static TRUSTED: LazyLock<RootCerts> = LazyLock::new(|| {
    let certificates = rustls_native_certs::load_native_certs().certs;
    match certificates.is_empty() {
        true => RootCerts::WebPki,
        false => certificates.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).into(),
    }
});

/// The proxy for an address, as curl and most others read it from the environment.
fn proxy(uri: &Uri, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>, String> {
    let either = |name: &str| variable(name).or_else(|| variable(&name.to_uppercase()));
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let is_exempt = |entry: &str| {
        let entry = entry.trim().trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
        host.strip_suffix(&entry).is_some_and(|rest| !entry.is_empty() && (rest.is_empty() || rest.ends_with('.')))
    };
    if either("no_proxy").is_some_and(|list| list.split(',').any(|entry| entry.trim() == "*" || is_exempt(entry))) {
        return Ok(None);
    }
    let name = if uri.scheme_str() == Some("https") { "https_proxy" } else { "http_proxy" };
    let Some(value) = either(name).or_else(|| either("all_proxy")) else { return Ok(None) };
    Proxy::new(&value).map(Some).map_err(|_| format!("the environment's {name} (or all_proxy) is no proxy's address"))
}

/// A redirect's target: http or https, and never from https to http.
fn joined(base: &Uri, to: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let whole = if to.contains("://") {
        to.to_owned()
    } else if to.starts_with("//") {
        format!("{scheme}:{to}")
    } else if to.starts_with('/') {
        format!("{scheme}://{authority}{to}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{to}")
    };
    let whole: Uri = whole.split('#').next()?.parse().ok()?;
    let is_allowed = match whole.scheme_str() {
        Some("https") => true,
        Some("http") => scheme == "http",
        _ => false,
    };
    (is_allowed && whole.host().is_some()).then_some(whole)
}

/// What shows that a file is still the same byte for byte: a weak ETag does not.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(header::ETAG).filter(|tag| tag.starts_with('"')).or_else(|| text(header::LAST_MODIFIED))
}

/// The length of the whole file.
fn total(status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match status {
        StatusCode::OK => text(header::CONTENT_LENGTH)?.trim().parse().ok(),
        _ => text(header::CONTENT_RANGE)?.rsplit_once('/')?.1.trim().parse().ok(),
    }
}

/// `bytes 100-199/1000` → 100.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_the_web_and_never_leave_https() {
        let base: Uri = "https://a.example/x/y.pth".parse().unwrap();
        let to = |to: &str| joined(&base, to).map(|uri| uri.to_string());
        assert_eq!(to("https://b.example/z"), Some("https://b.example/z".to_owned()));
        assert_eq!(to("/z?q#f"), Some("https://a.example/z?q".to_owned()));
        assert_eq!(to("z"), Some("https://a.example/x/z".to_owned()));
        assert_eq!(to("//c.example/z"), Some("https://c.example/z".to_owned()));
        for bad in ["http://a.example/x/y.pth", "file:///etc/passwd", "ftp://a.example/", "https://", "http:///x"] {
            assert_eq!(to(bad), None, "{bad}");
        }
        let plain: Uri = "http://a.example/".parse().unwrap();
        assert!(joined(&plain, "https://a.example/").is_some() && joined(&plain, "http://b.example/").is_some());
    }

    #[test]
    fn the_proxy_is_the_schemes_and_exempt_hosts_have_none() {
        let port = |uri: &str, set: &[(&str, &str)]| {
            let variable = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            proxy(&uri.parse().unwrap(), variable).unwrap().map(|proxy| proxy.port())
        };
        let both = [("https_proxy", "http://p:1"), ("HTTP_PROXY", "http://p:2")];
        assert_eq!(port("https://a.example/", &both), Some(1));
        assert_eq!(port("http://a.example/", &both), Some(2));
        assert_eq!(port("https://a.example/", &[("http_proxy", "http://p:2")]), None);
        assert_eq!(port("https://a.example/", &[("ALL_PROXY", "p:3")]), Some(3));
        for (list, is_exempt) in [
            ("a.example", true),
            (".example", true),
            ("b, *.example", true),
            ("*", true),
            ("le", false),
            ("", false),
            ("b.example", false),
        ] {
            let set = [("https_proxy", "http://p:1"), ("no_proxy", list)];
            assert_eq!(port("https://a.example/", &set).is_none(), is_exempt, "{list}");
        }
    }

    #[test]
    fn names_and_passwords_are_sent_and_never_shown() {
        let options =
            |mirror: &str| Options { mirror: Some(mirror.to_owned()), timeout: Duration::from_secs(1), retries: 0 };
        let address = options("http://me:p%40ss@m.example:81/files/").address("https://a.example/x/y.pth").unwrap();
        assert_eq!(address.shown(), "http://m.example:81/files/x/y.pth");
        assert_eq!(address.authorization, Some(format!("Basic {}", BASE64_STANDARD.encode("me:p@ss"))));
        for bad in ["", "m.example", "ftp://m.example", "http://", "me:secret@m.example"] {
            let error = options(bad).address("https://a.example/x").unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
