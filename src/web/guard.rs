//! Who is answered.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderValue, ORIGIN};
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

/// Knows the token, and the names of the host.
pub struct Guard {
    /// None where nothing can be changed, and whoever comes may read.
    keys: OnceLock<Keys>,
    /// Whoever comes may read.
    is_open: bool,
    /// Then a request must be to a loopback name: a page of another site whose name was made to lead here is not answered.
    is_loopback: bool,
    /// Cookies are shared between the ports of a host.
    cookie: String,
}

/// Hashes, which blake3 compares in constant time.
struct Keys {
    token: blake3::Hash,
    cookie: blake3::Hash,
}

impl Keys {
    fn is_token(&self, given: &str) -> bool {
        blake3::hash(given.as_bytes()) == self.token
    }
}

impl Guard {
    pub fn new(addr: SocketAddr, token: Option<&str>) -> Self {
        let (is_loopback, cookie) = (addr.ip().is_loopback(), format!("mostream_{}", addr.port()));
        let guard = Self { keys: OnceLock::new(), is_open: token.is_none(), is_loopback, cookie };
        token.into_iter().for_each(|token| guard.learn(token));
        guard
    }

    /// Whoever knows this token may change something; another that is known already stays.
    pub fn learn(&self, token: &str) {
        self.keys.get_or_init(|| Keys {
            token: blake3::hash(token.as_bytes()),
            cookie: blake3::derive_key("mostream 2026 cookie of the live page", token.as_bytes()).into(),
        });
    }

    /// Whether the request is meant for this host.
    pub fn is_for_us(&self, headers: &HeaderMap) -> bool {
        if !self.is_loopback {
            return true;
        }
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
            return false;
        };
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let name = name.to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether the request may see what there is. A token `asked` with in its address must be right, even where none is needed.
    pub fn may_read(&self, headers: &HeaderMap, asked: Option<&str>) -> bool {
        let is_right = |given: &str| self.keys.get().map_or(self.is_open, |keys| keys.is_token(given));
        asked.map_or(self.is_open || self.may_change(headers), is_right)
    }

    /// Whether the request knows the token by its headers.
    pub fn may_change(&self, headers: &HeaderMap) -> bool {
        let Some(keys) = self.keys.get() else { return false };
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let bearer = headers.get(AUTHORIZATION).map(text).unwrap_or_default();
        let is_cookie = |given: &str| {
            let (name, value) = given.trim().split_once('=').unwrap_or_default();
            name == self.cookie && blake3::Hash::from_hex(value).is_ok_and(|value| value == keys.cookie)
        };
        let cookies: Vec<String> = headers.get_all(COOKIE).iter().map(text).collect();
        bearer.split_once(' ').is_some_and(|(how, given)| how.eq_ignore_ascii_case("bearer") && keys.is_token(given))
            || cookies.iter().flat_map(|cookies| cookies.split(';')).any(is_cookie)
    }

    /// The header by which a browser says that the request is from another page than ours.
    pub fn foreign(&self, headers: &HeaderMap) -> Option<&'static str> {
        let host = headers.get(HOST).map_or(&[][..], HeaderValue::as_bytes);
        let is_ours = |origin: &HeaderValue| {
            let origin = origin.as_bytes();
            let name = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
            name.is_some_and(|name| !name.is_empty() && name.eq_ignore_ascii_case(host))
        };
        let is_within = |site: &HeaderValue| [&b"same-origin"[..], b"none"].contains(&site.as_bytes());
        let all = |name: &str, is_so: &dyn Fn(&HeaderValue) -> bool| headers.get_all(name).iter().all(is_so);
        let from_another = (!all(ORIGIN.as_str(), &is_ours)).then_some("Origin");
        from_another.or((!all("sec-fetch-site", &is_within)).then_some("Sec-Fetch-Site"))
    }

    /// The cookie by which a browser knows the token from now on, without holding it.
    pub fn cookie(&self) -> Option<String> {
        let keys = self.keys.get()?;
        Some(format!("{}={}; HttpOnly; SameSite=Lax; Path=/", self.cookie, keys.cookie.to_hex()))
    }
}
