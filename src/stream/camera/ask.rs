//! What GStreamer does not say: why a host cannot be reached, and what login a camera asks for. Asked in a connection of its own.

use super::address::Address;
use std::io::{BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Addresses of a host that are tried.
const MAX_ADDRESSES: usize = 2;
/// Bytes of an answer's headers.
const MAX_ANSWER: u64 = 16 * 1024;

/// Why there is no connection to the host; none where there is one.
pub(super) fn why_unreached(address: &Address) -> Option<String> {
    connect(address).err()
}

/// What login the camera asks for that GStreamer has not; none where it has one of them, or the camera does not say.
pub(super) fn why_refused(address: &Address) -> Option<String> {
    // Within TLS it is not asked.
    let is_secret = address.target.to_ascii_lowercase().starts_with("rtsps:");
    if is_secret || address.target.contains(char::is_control) {
        return None;
    }
    let mut stream = connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let url = &address.target;
    write!(stream, "DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n").ok()?;
    unknown_login(&headers(stream))
}

/// What comes up to the empty line, or until nothing comes.
fn headers(stream: TcpStream) -> String {
    let start = Instant::now();
    let mut answer = Vec::new();
    for byte in BufReader::new(stream.take(MAX_ANSWER)).bytes().map_while(Result::ok) {
        answer.push(byte);
        if answer.ends_with(b"\r\n\r\n") || start.elapsed() > PATIENCE {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The login that these headers ask for, where none of them is Basic, or Digest with MD5, which GStreamer's are.
fn unknown_login(headers: &str) -> Option<String> {
    let lower = headers.to_ascii_lowercase();
    let challenges = lower.lines().filter_map(|line| line.strip_prefix("www-authenticate:")).map(str::trim);
    let mut algorithms = Vec::new();
    for challenge in challenges {
        let algorithm = challenge
            .split_once("algorithm=")
            .map_or("md5", |(_, rest)| rest.trim_start_matches('"').split(['"', ',', ' ']).next().unwrap_or_default());
        if !challenge.starts_with("digest") || algorithm == "md5" {
            return None;
        }
        algorithms.push(algorithm.to_ascii_uppercase());
    }
    let asked = Some(algorithms.join(" or ")).filter(|asked| !asked.is_empty())?;
    // A camera's words.
    let asked: String = asked.chars().filter(|c| !c.is_control()).take(40).collect();
    Some(format!(
        "the camera asks for a login by Digest with {asked}, which GStreamer cannot make: let the camera take MD5, too, or come without a login"
    ))
}

/// A connection, or why there is none.
fn connect(address: &Address) -> Result<TcpStream, String> {
    let (host, port) = address.host_and_port().ok_or("it has no port")?;
    let addresses = (host, port).to_socket_addrs().map_err(|_| format!("no address is known of {host}"))?;
    let mut why = format!("no address is known of {host}");
    for address in addresses.take(MAX_ADDRESSES) {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = error.kind().to_string(),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::unknown_login;

    #[test]
    fn a_login_that_gstreamer_has_not_is_told() {
        let digest = |rest: &str| format!("WWW-Authenticate: Digest realm=\"a\", nonce=\"b\"{rest}\r\n");
        let told = |headers: &str| unknown_login(&format!("RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n{headers}\r\n"));
        for (algorithm, name) in [("\"SHA-256\"", "SHA-256"), ("SHA-512-256, qop=auth", "SHA-512-256")] {
            let why = told(&digest(&format!(", algorithm={algorithm}"))).unwrap();
            assert!(why.contains(name), "{why}");
        }
        let sha = digest(", algorithm=SHA-256");
        for known in ["", "WWW-Authenticate: Basic realm=\"a\"\r\n", &digest(""), &digest(", algorithm=\"MD5\"")] {
            assert_eq!(told(known), None, "{known}");
            if !known.is_empty() {
                assert_eq!(told(&(sha.clone() + known)), None, "{known}");
            }
        }
    }
}
