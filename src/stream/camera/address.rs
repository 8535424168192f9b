//! What an input names: the kind of source, its launch line, and its address apart from its secrets.

use crate::stream::{StreamError, redact, split_credentials};
use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// The kinds of live sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Device,
    Rtsp,
    Rtp,
    Udp,
    Srt,
    Http,
    Hls,
    Stdin,
    /// A pipeline of the user's own.
    Custom,
}

/// A live source, as its input names it.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub kind: Kind,
    /// The URL without user name and password, the device's path, or the user's own pipeline.
    pub target: String,
    pub user: Option<String>,
    pub password: Option<String>,
}

/// Size, rate and format of the frames of a device or of raw frames: `640x480@30:NV12`, `1280x720@30000/1001:mjpeg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    pub width: i32,
    pub height: i32,
    /// Frames per second, as a fraction.
    pub fps: (i32, i32),
    /// A GStreamer video format in capitals, or `MJPEG`.
    pub format: String,
}

/// As it is read.
impl Display for Mode {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let Self { width, height, fps: (n, d), format } = self;
        write!(out, "{width}x{height}@{n}/{d}:{format}")
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (size, rest) = text.split_once('@')?;
            let (width, height) = size.split_once('x')?;
            let (rate, format) = rest.split_once(':').unwrap_or((rest, "I420"));
            let (n, d) = rate.split_once('/').unwrap_or((rate, "1"));
            let side = |text: &str| text.parse().ok().filter(|side| (1..=16384).contains(side));
            let positive = |text: &str| text.parse().ok().filter(|&number: &i32| number > 0);
            let fps = (positive(n)?, positive(d)?);
            Some(Self { width: side(width)?, height: side(height)?, fps, format: format.to_ascii_uppercase() })
        };
        parse().ok_or_else(|| format!("{text:?} is no mode; give WIDTHxHEIGHT@FPS:FORMAT, such as 640x480@30:NV12"))
    }
}

/// Extensions of files behind `http://`, which are played, not followed.
const FILES: [&str; 8] = ["mp4", "m4v", "mov", "mkv", "webm", "avi", "ogv", "wmv"];

/// The kind of source that an input names; none for a file.
pub(super) fn kind_of(input: &OsStr) -> Option<Kind> {
    let input = input.to_str()?;
    if is_custom(input) {
        return Some(Kind::Custom);
    }
    let Some((scheme, rest)) = input.split_once("://") else {
        let is_device = input.strip_prefix("/dev/video").is_some_and(|number| number.parse::<u32>().is_ok());
        return match input {
            "-" => Some(Kind::Stdin),
            "cam" => Some(Kind::Device),
            _ => is_device.then_some(Kind::Device),
        };
    };
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let extension =
        path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension);
    match scheme.to_ascii_lowercase().as_str() {
        "rtsp" | "rtsps" | "rtspt" | "rtspu" => Some(Kind::Rtsp),
        "rtp" => Some(Kind::Rtp),
        "udp" => Some(Kind::Udp),
        "srt" => Some(Kind::Srt),
        "http" | "https" if extension.eq_ignore_ascii_case("m3u8") => Some(Kind::Hls),
        "http" | "https" if FILES.iter().any(|file| extension.eq_ignore_ascii_case(file)) => None,
        "http" | "https" => Some(Kind::Http),
        _ => None,
    }
}

/// Whether the input is a pipeline that ends in the sink frames are taken from.
fn is_custom(input: &str) -> bool {
    input.contains('!') && input.contains("appsink") && input.contains("name=frames")
}

impl Kind {
    pub(super) fn is_url(self) -> bool {
        !matches!(self, Self::Device | Self::Stdin | Self::Custom)
    }
}

impl Address {
    pub(super) fn new(input: &OsStr) -> Result<Self, StreamError> {
        let shown = redact(&input.to_string_lossy());
        let fail = |why: &str| StreamError::Input { input: shown.clone(), why: why.to_owned() };
        let (Some(kind), Some(text)) = (kind_of(input), input.to_str()) else {
            return Err(fail(
                "names no live source; give cam, /dev/videoN, -, a URL, or a pipeline with appsink name=frames",
            ));
        };
        if !kind.is_url() {
            return Ok(Self { kind, target: text.to_owned(), user: None, password: None });
        }
        let (credentials, target) = split_credentials(text);
        let port = port_of(&target);
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(fail("its port is no number from 0 to 65535; percent-encode what is special in a password"));
        }
        if port.is_none() && matches!(kind, Kind::Rtp | Kind::Udp | Kind::Srt) {
            return Err(fail("has no port; add one, such as :5000"));
        }
        let (user, password) = match credentials {
            Some(credentials) => match credentials.split_once(':') {
                Some((user, password)) => (Some(decode(user)), Some(decode(password))),
                None => (Some(decode(credentials)).filter(|user| !user.is_empty()), None),
            },
            None => (None, None),
        };
        Ok(Self { kind, target, user, password })
    }

    /// The value of a parameter after the `?`.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Where it is in a network; no port where neither the URL nor its scheme says one. None of what is not there.
    pub(super) fn host_and_port(&self) -> Option<(&str, u16)> {
        let (scheme, rest) = self.target.split_once("://").filter(|_| self.kind.is_url())?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let usual = match scheme.to_ascii_lowercase().as_str() {
            "rtsps" => 322,
            "http" => 80,
            "https" => 443,
            _ => 554,
        };
        let port = port_of(&self.target);
        let host = port.map_or(authority, |port| &authority[..authority.len() - port.len() - 1]);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host, port.map_or(Some(usual), |port| port.parse().ok())?))
    }

    /// What is wrong, with where it is: `10.0.0.7:554: connection refused`.
    pub(super) fn place(&self, why: String) -> String {
        match self.host_and_port() {
            Some((host, port)) if host.contains(':') => format!("[{host}]:{port}: {why}"),
            Some((host, port)) => format!("{host}:{port}: {why}"),
            None => why,
        }
    }

    /// The URL without its parameters.
    pub(super) fn without_parameters(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// The port of a URL without credentials, as it stands there.
fn port_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    // An IPv6 address holds colons of its own.
    let after = host.rfind(']').map_or(host, |end| &host[end + 1..]);
    after.rsplit_once(':').map(|(_, port)| port)
}

/// Percent-decoded, where it is percent-encoded throughout.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
        match (bytes[at], hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(input: &str) -> (String, Option<String>, Option<String>) {
        let address = Address::new(OsStr::new(input)).unwrap();
        (address.target, address.user, address.password)
    }

    #[test]
    fn credentials_are_taken_out_of_a_url_however_they_are_written() {
        let some = |text: &str| Some(text.to_owned());
        for (url, password) in [
            ("rtsp://me:p%40ss%3A1@cam:554/a?b=c", "p@ss:1"),
            ("rtsp://me:p@ss:1@cam:554/a?b=c", "p@ss:1"),
            ("rtsp://me:100%@cam:554/a?b=c", "100%"),
            ("rtsp://me:a/b?c@cam:554/a?b=c", "a/b?c"),
            ("rtsp://me:@cam:554/a?b=c", ""),
            ("rtsp://me:p@ss/w@rd@cam:554/a?b=c", "p@ss/w@rd"),
            ("rtsp://me:p%40ss%2Fw@cam:554/a?b=c", "p@ss/w"),
        ] {
            assert_eq!(parts(url), ("rtsp://cam:554/a?b=c".to_owned(), some("me"), some(password)), "{url}");
        }
        let both = |host: &str| (format!("rtsp://{host}"), some("me"), some("p@s/s"));
        for host in ["10.0.0.7/x", "cam.lan/x@y", "[fe80::1]/x", "cam:554"] {
            assert_eq!(parts(&format!("rtsp://me:p@s/s@{host}")), both(host));
        }
        // What a URL says by its own rules stays so where nothing speaks against it.
        assert_eq!(parts("rtsp://me:p@cam/x@y"), ("rtsp://cam/x@y".to_owned(), some("me"), some("p")));
        assert_eq!(
            parts("rtsp://me:p@10.0.0.7/x@cam:554/"),
            ("rtsp://10.0.0.7/x@cam:554/".to_owned(), some("me"), some("p"))
        );
        assert_eq!(parts("rtsp://[::1]:8554/x@y"), ("rtsp://[::1]:8554/x@y".to_owned(), None, None));
        assert_eq!(parts("rtsp://cam/x@y"), ("rtsp://cam/x@y".to_owned(), None, None));
        assert_eq!(parts("udp://@:5000"), ("udp://:5000".to_owned(), None, None));
        for wrong in ["rtsp://cam:port/", "udp://239.0.0.1", "rtsp://cam:70000/"] {
            assert!(Address::new(OsStr::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn where_a_source_is_is_told_without_secrets() {
        let told = |input: &str| Address::new(OsStr::new(input)).unwrap().place("why".into());
        for (input, place) in [
            ("rtsp://me:p@10.0.0.7/x", "10.0.0.7:554: why"),
            ("RTSPS://cam.lan:8322/x?a=b:1", "cam.lan:8322: why"),
            ("rtsps://cam.lan", "cam.lan:322: why"),
            ("rtsp://[fe80::1]/x", "[fe80::1]:554: why"),
            ("rtsp://[fe80::1]:8554/x", "[fe80::1]:8554: why"),
            ("https://h/a.m3u8", "h:443: why"),
            ("udp://@:5000", ":5000: why"),
            ("/dev/video0", "why"),
            ("-", "why"),
        ] {
            assert_eq!(told(input), place, "{input}");
        }
    }

    #[test]
    fn live_sources_are_told_from_files() {
        for live in [
            "cam",
            "/dev/video12",
            "-",
            "RTSP://x",
            "http://x/mjpg.cgi",
            "http://x/a.m3u8?b",
            "srt://x:1",
            "videotestsrc ! appsink name=frames",
        ] {
            assert!(kind_of(OsStr::new(live)).is_some(), "{live}");
        }
        for file in ["a.mp4", "./cam", "/dev/videos/a", "http://x/a.MP4?b", "file:///a", "what!.mp4"] {
            assert!(kind_of(OsStr::new(file)).is_none(), "{file}");
        }
    }

    #[test]
    fn modes_are_read() {
        let mode = "640x480@30000/1001:nv12".parse::<Mode>().unwrap();
        assert_eq!((mode.width, mode.height, mode.fps, &*mode.format), (640, 480, (30000, 1001), "NV12"));
        for wrong in ["", "640x480", "640x@30", "0x1@1", "640x480@0", "99999x1@1:I420"] {
            assert!(wrong.parse::<Mode>().is_err(), "{wrong}");
        }
    }
}
