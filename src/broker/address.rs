//! Addresses of brokers, in parts: `SCHEME://HOST[:PORT][,HOST[:PORT]…][?OPTION=VALUE&…]`. A page's has a path and a query of its own, so
//! that its options follow `#`, which is never sent.

use super::{Failure, Letter};

/// What an address says.
#[derive(Clone)]
pub struct Address {
    pub scheme: String,
    /// At least one. The brackets of a numeric address are taken away.
    pub hosts: Vec<(String, u16)>,
    /// Of a page, with its query; may be secret.
    pub path: String,
    options: Vec<(String, String)>,
}

/// Of an address only what everybody may see: its scheme and its hosts; of a file all.
pub fn shown(url: &str) -> String {
    if url.starts_with("file:") {
        return url.to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.split([':', '/', '?', '#', '@']).next().unwrap_or_default().to_owned();
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or_default())
}

impl Address {
    /// Reads an address whose scheme is one of these, each with the port that it has where none is named, and whose options are among those.
    pub fn parse(url: &str, schemes: &[(&str, u16)], options: &[&str]) -> Result<Self, String> {
        let wrong = |what: &str| format!("{}: {what}", shown(url));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("expected SCHEME://HOST"))?;
        let (_, port) =
            schemes.iter().find(|(name, _)| *name == scheme).ok_or_else(|| wrong("expected SCHEME://HOST"))?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong(
                "everybody sees what is in an address: write USER:PASSWORD to a file, and name it as credentials",
            ));
        }
        let hosts: Option<Vec<_>> = authority.split(',').map(|host| host_and_port(host, *port)).collect();
        let hosts = hosts.ok_or_else(|| wrong("expected HOST or HOST:PORT after ://"))?;
        let is_page = scheme.starts_with("http");
        let (path, asked) = path.split_once(if is_page { '#' } else { '?' }).unwrap_or((path, ""));
        if !is_page && !["", "/"].contains(&path) {
            return Err(wrong("nothing but options, after ?, may follow the host"));
        }
        let asked: Vec<(String, String)> = form_urlencoded::parse(asked.as_bytes()).into_owned().collect();
        if let Some((name, _)) = asked.iter().find(|(name, _)| !options.contains(&name.as_str())) {
            return Err(wrong(&format!("there is no option {name:?} (expected one of {})", options.join(", "))));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme: scheme.to_owned(), hosts, path, options: asked })
    }

    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The option as one of what it may be, the first where it is not given.
    pub fn choice<'a>(&self, name: &str, choices: &[&'a str]) -> Result<&'a str, String> {
        let Some(asked) = self.option(name) else { return Ok(choices.first().unwrap_or(&"")) };
        let known = choices.iter().find(|choice| **choice == asked);
        known.copied().ok_or_else(|| format!("{self}: {name} is {asked:?} (expected {})", choices.join(" or ")))
    }

    /// The option as a number above 0, where it is given.
    pub fn number(&self, name: &str) -> Result<Option<usize>, String> {
        let Some(asked) = self.option(name) else { return Ok(None) };
        let number = asked.parse().ok().filter(|number| *number > 0);
        number.map(Some).ok_or_else(|| format!("{self}: {name} is {asked:?} (expected a whole number above 0)"))
    }

    /// Each as `HOST:PORT`.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        self.hosts.iter().map(|(host, port)| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        })
    }

    pub fn away(&self, why: impl std::fmt::Display) -> Failure {
        Failure::Away(format!("{self}: {why}"))
    }

    pub fn refused(&self, letter: &Letter, why: impl std::fmt::Display) -> Failure {
        Failure::Refused(format!("{self}: it does not take what goes to {:?}: {why}", letter.topic))
    }

    /// The first host, where there is to be one alone.
    pub fn host(&self) -> Result<(&str, u16), String> {
        match self.hosts.as_slice() {
            [(host, port)] => Ok((host, *port)),
            _ => Err(format!("{self}: expected one host")),
        }
    }
}

/// Without path and query.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, Vec::from_iter(self.hosts()).join(","))
    }
}

fn host_and_port(text: &str, port: u16) -> Option<(String, u16)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(text) => text.split_once(']').filter(|(host, _)| host.parse::<std::net::Ipv6Addr>().is_ok())?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = if rest.is_empty() { port } else { rest.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)? };
    (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMES: [(&str, u16); 2] = [("mqtt", 1883), ("https", 443)];

    #[test]
    fn an_address_is_read_in_parts() {
        let read = |url| Address::parse(url, &SCHEMES, &["version"]).unwrap();
        for (url, shown, path) in [
            ("mqtt://a", "mqtt://a:1883", "/"),
            ("mqtt://a/", "mqtt://a:1883", "/"),
            ("mqtt://[::1]:18,b", "mqtt://[::1]:18,b:1883", "/"),
            ("https://a/x/y?token=1", "https://a:443", "/x/y?token=1"),
            ("https://a?z", "https://a:443", "/?z"),
        ] {
            assert_eq!((read(url).to_string(), read(url).path), (shown.to_owned(), path.to_owned()), "{url}");
        }
        assert_eq!(read("mqtt://a?version=a%2Fb").option("version"), Some("a/b"));
        assert_eq!(read("https://a/x?version=4#version=5").option("version"), Some("5"));
        assert_eq!(read("https://a/x?version=4").option("version"), None);
    }

    #[test]
    fn what_is_none_is_refused_and_no_secret_shown() {
        for url in [
            "mqtt://user:hunter2@a",
            "mqtt://user:hun/ter2@a",
            "mqtt:user:hunter2@a",
            "user:hunter2@a:12",
            "mqtt://",
            "mqtt://a:0",
            "mqtt://a:70000",
            "mqtt://[::1",
            "mqtt://[a]",
            "mqtt://a,",
            "mqtt://a/hunter2",
            "mqtt://a?color=blue",
            "mqtt://a#version=5",
            "other://a",
        ] {
            let error = Address::parse(url, &SCHEMES, &["version"]).err().unwrap();
            assert!(!error.contains("ter2"), "{url}: {error}");
        }
        assert_eq!(shown("https://user:hunter2@hooks.example:9/hunter2?hunter2#hunter2"), "https://hooks.example:9");
    }
}
