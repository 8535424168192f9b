//! Who is answered.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderValue};
use std::net::{IpAddr, SocketAddr};

/// Knows the token, and the names of the host.
pub struct Guard {
    keys: Option<Keys>,
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

impl Guard {
    pub fn new(addr: SocketAddr, token: Option<&str>) -> Self {
        let keys = token.map(|token| Keys {
            token: blake3::hash(token.as_bytes()),
            cookie: blake3::derive_key("mostream 2026 cookie of the live page", token.as_bytes()).into(),
        });
        Self { keys, is_loopback: addr.ip().is_loopback(), cookie: format!("mostream_{}", addr.port()) }
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

    /// Whether the request knows the token: in its headers, or as `asked` in its address.
    pub fn knows(&self, headers: &HeaderMap, asked: Option<&str>) -> bool {
        let Some(keys) = &self.keys else { return true };
        let is_token = |given: &str| blake3::hash(given.as_bytes()) == keys.token;
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let bearer = headers.get(AUTHORIZATION).map(text).unwrap_or_default();
        let is_cookie = |given: &str| {
            let (name, value) = given.trim().split_once('=').unwrap_or_default();
            name == self.cookie && blake3::Hash::from_hex(value).is_ok_and(|value| value == keys.cookie)
        };
        let cookies: Vec<String> = headers.get_all(COOKIE).iter().map(text).collect();
        asked.is_some_and(is_token)
            || bearer.split_once(' ').is_some_and(|(how, given)| how.eq_ignore_ascii_case("bearer") && is_token(given))
            || cookies.iter().flat_map(|cookies| cookies.split(';')).any(is_cookie)
    }

    /// The cookie by which a browser knows the token from now on, without holding it.
    pub fn cookie(&self) -> Option<String> {
        let keys = self.keys.as_ref()?;
        Some(format!("{}={}; HttpOnly; SameSite=Lax; Path=/", self.cookie, keys.cookie.to_hex()))
    }
}
