//! All of GStreamer: what the input is ([`preflight`]), its frames by reference ([`ingest`], [`frame`]), the annotated
//! video ([`output`], with the input's audio from [`audio`]) and the window ([`display`]). [`pictures`] reads a video picture
//! by picture, and [`source`] is where frames come from. [`decoder`] says which decoder runs, [`memory`] brings frames out of a
//! device's memory, and [`mod@describe`] puts a pipeline into words. [`camera`] is the [`feed`] of a live source.

pub mod audio;
pub mod camera;
pub mod canvas;
mod damage;
pub mod decoder;
mod demux;
pub mod describe;
pub mod devices;
pub mod display;
pub mod feed;
pub mod frame;
pub mod ingest;
pub mod jpeg;
pub mod launch;
pub mod mask;
pub mod memory;
pub mod output;
#[cfg(feature = "picture")]
pub mod pictures;
pub mod preflight;
pub mod source;
#[cfg(feature = "picture")]
pub mod stills;
mod whole;

use crate::fault::{Kind, OfKind};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use std::time::{Duration, Instant};
use tracing::warn;

/// Why video cannot be read, shown or written.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("{input}: {why}")]
    Input { input: String, why: String },
    #[error("{output}: {why}")]
    Output { output: String, why: String },
    #[error("the GStreamer element {element} is missing ({purpose}); install it: apt-get install {package}")]
    MissingElement { element: String, purpose: String, package: &'static str },
    /// Of the decoder asked for, or of what its frames need.
    #[error("{0}")]
    Decoder(String),
    #[error("GStreamer does not start: {0}; check the installation with `mostream doctor`")]
    Start(String),
}

impl OfKind for StreamError {
    fn kind(&self) -> Kind {
        match self {
            Self::Input { .. } => Kind::Input,
            Self::Output { .. } => Kind::Output,
            Self::MissingElement { .. } | Self::Decoder(_) | Self::Start(_) => Kind::Missing,
        }
    }
}

/// Starts GStreamer; again is free.
pub fn init() -> Result<(), StreamError> {
    gst::init().map_err(|error| StreamError::Start(error.to_string()))?;
    damage::listen();
    Ok(())
}

/// From now on what GLib and GStreamer find wrong in the program is logged, one line each; without this it goes to stderr.
pub fn log_complaints() {
    gst::glib::log_set_default_handler(|domain, level, message| {
        use gst::glib::LogLevel::{Critical, Error, Warning};
        if matches!(level, Error | Critical | Warning) {
            warn!("{}: {message}", domain.unwrap_or("GLib"));
        }
    });
}

/// The Debian package that brings an element.
pub fn package_of(element: &str) -> &'static str {
    match element {
        "x264enc" | "mpeg2dec" => "gstreamer1.0-plugins-ugly",
        "openh264enc" | "openh264dec" | "h264parse" | "h265parse" | "nvh264enc" | "nvh264dec" | "vah264enc"
        | "vah264dec" | "av1dec" | "avdtpsrc" | "fdkaacenc" | "voaacenc" => "gstreamer1.0-plugins-bad",
        "qtdemux" | "matroskademux" | "avidemux" | "mp4mux" | "qtmux" | "deinterlace" | "videoflip" | "jpegdec"
        | "jpegenc" | "pngdec" | "v4l2h264enc" | "v4l2h264dec" | "vp8dec" | "vp9dec" | "flacdec" | "wavparse" => {
            "gstreamer1.0-plugins-good"
        }
        "mpegtsmux" | "tsdemux" | "srtsrc" | "srtsink" | "hlsdemux" => "gstreamer1.0-plugins-bad",
        "v4l2src" | "rtspsrc" | "rtpptdemux" | "rtpjitterbuffer" | "rtph264depay" | "rtph265depay" | "rtph264pay"
        | "udpsrc" | "udpsink" | "souphttpsrc" | "multipartdemux" | "matroskamux" | "autovideosink" => {
            "gstreamer1.0-plugins-good"
        }
        "vaapih264enc" => "gstreamer1.0-vaapi",
        name if name.starts_with("avdec_") || name.starts_with("avenc_") => "gstreamer1.0-libav",
        _ => "gstreamer1.0-plugins-base",
    }
}

/// Makes an element, or says which package brings it.
pub(crate) fn make(element: &str, purpose: &str) -> Result<gst::Element, StreamError> {
    gst::ElementFactory::make(element).build().map_err(|_| StreamError::MissingElement {
        element: element.to_owned(),
        purpose: purpose.to_owned(),
        package: package_of(element),
    })
}

/// `text` without the user name and password of any URI in it, nor the values of what is named like a password, so that it can
/// be shown and logged.
pub fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme) = rest.find("://") {
        let (head, tail) = rest.split_at(scheme + 3);
        shown.push_str(head);
        rest = &tail[credentials_end(tail)..];
    }
    shown.push_str(rest);
    redact_values(&shown)
}

/// A URL's user name and password as they stand in it, and the URL without them.
pub(crate) fn split_credentials(url: &str) -> (Option<&str>, String) {
    let Some(scheme) = url.find("://") else { return (None, url.to_owned()) };
    let (head, tail) = url.split_at(scheme + 3);
    let end = credentials_end(tail);
    (end.checked_sub(1).map(|at| &tail[..at]), format!("{head}{}", &tail[end..]))
}

/// Where the host begins in what follows `://`, after the @ if there is one.
fn credentials_end(tail: &str) -> usize {
    let token = &tail[..tail.find(|c: char| " \t\n\"'".contains(c)).unwrap_or(tail.len())];
    let authority = &token[..token.find(['/', '?', '#']).unwrap_or(token.len())];
    // A password may itself hold an @: the last one ends it. It may hold a /, too: then what seems to be the host is a bare word, and a
    // host that cannot be mistaken comes later.
    if let Some(at) = authority.rfind('@') {
        let is_word = !is_plainly_a_host(&authority[at + 1..]);
        let mut later =
            token.match_indices('@').map(|(at, _)| at + 1).filter(|&start| is_word && start > authority.len());
        return later.find(|&start| is_plainly_a_host(&token[start..])).unwrap_or(at + 1);
    }
    // It may even hold what ends a host: then what looks like a port is no number.
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    let is_password = !authority.starts_with('[') && port.chars().any(|c| !c.is_ascii_digit());
    token.rfind('@').filter(|_| is_password).map_or(0, |at| at + 1)
}

/// Whether what comes first here is an address, a name with a dot, or anything with a port.
fn is_plainly_a_host(text: &str) -> bool {
    let host = &text[..text.find(['/', '?', '#']).unwrap_or(text.len())];
    if host.starts_with('[') {
        return true;
    }
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    is_name && (name.trim_matches('.').contains('.') && port.is_empty() || port.parse::<u16>().is_ok())
}

/// Names whose values are secret, in URLs and in launch lines.
const SECRETS: [&str; 11] =
    ["password", "passwd", "pwd", "pass", "passphrase", "user-pw", "proxy-pw", "token", "secret", "apikey", "api_key"];

fn redact_values(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(equals) = rest.find('=') {
        let (head, tail) = rest.split_at(equals + 1);
        shown.push_str(head);
        let name = head.trim_end_matches('=').trim_end().to_ascii_lowercase();
        rest = tail;
        if SECRETS.iter().any(|secret| name.ends_with(secret)) {
            let value = tail.trim_start();
            let quote = value.chars().next().filter(|c| "\"'".contains(*c));
            let end = match quote {
                Some(quote) => value[1..].find(quote).map(|end| end + 2),
                None => value.find(|c: char| "&;# \t\n\"'".contains(c)),
            };
            shown.push_str("***");
            rest = &value[end.unwrap_or(value.len())..];
        }
    }
    shown.push_str(rest);
    shown
}

/// Frames that wait before an encoder or a window.
const QUEUED_FRAMES: u64 = 2;

/// Pushes a buffer once fewer than [`QUEUED_FRAMES`] wait; the reason where the pipeline has failed, or takes none within `patience`.
///
/// `appsrc`'s own blocking push never returns when what comes after it has failed, so the wait is here, on the bus.
pub(crate) fn push_when_ready(
    pipeline: &gst::Pipeline,
    source: &gst_app::AppSrc,
    buffer: gst::Buffer,
    patience: Duration,
) -> Result<(), String> {
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    let since = Instant::now();
    let look = gst::ClockTime::from_mseconds(2);
    while source.current_level_buffers() >= QUEUED_FRAMES {
        if let Some(message) = bus.timed_pop_filtered(look, &[gst::MessageType::Error])
            && let gst::MessageView::Error(error) = message.view()
        {
            return Err(describe(error));
        }
        if since.elapsed() > patience {
            return Err(format!("nothing has been taken for {} s", patience.as_secs()));
        }
    }
    source.push_buffer(buffer).map(drop).map_err(|_| bus_error(pipeline).unwrap_or_else(|| "it stopped".into()))
}

/// The first error on a pipeline's bus, if there is one: in one line, without secrets.
pub(crate) fn bus_error(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    let gst::MessageView::Error(error) = message.view() else { return None };
    Some(describe(error))
}

/// What went wrong, with the system's own words ("No space left on device") where GStreamer hides them in the details.
pub(crate) fn describe(error: &gst::message::Error) -> String {
    let mut text = error.error().message().trim_end_matches('.').to_owned();
    let details = error.debug().unwrap_or_default();
    if let Some(system) = details.rsplit("system error: ").next().filter(|_| details.contains("system error: ")) {
        text = format!("{text} ({})", system.lines().next().unwrap_or_default());
    } else if error.error().matches(gst::ResourceError::NoSpaceLeft) {
        text = "No space left on device".into();
    }
    redact(&text.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(redact("rtsp://admin:p@ss@10.0.0.1:554/a?b=c@d"), "rtsp://10.0.0.1:554/a?b=c@d");
        assert_eq!(redact("file:///tmp/a@b.mp4"), "file:///tmp/a@b.mp4");
        assert_eq!(redact("rtsp://u:a/b?c@cam:554/x"), "rtsp://cam:554/x");
        assert_eq!(redact("rtsp://u:p@ss/w@rd@cam:554/x@y"), "rtsp://cam:554/x@y");
        assert_eq!(redact("rtsp://[fe80::1]/a@b"), "rtsp://[fe80::1]/a@b");
        assert_eq!(redact("srt://h:1?passphrase=se=cret&mode=caller"), "srt://h:1?passphrase=***&mode=caller");
        assert_eq!(redact("rtsp://h/user=a&Password=b@c&d"), "rtsp://h/user=a&Password=***&d");
        assert_eq!(redact("rtspsrc user-pw = \"a b\" ! x"), "rtspsrc user-pw =*** ! x");
        assert_eq!(redact("cannot open rtsp://u:p@cam/x and http://v@h"), "cannot open rtsp://cam/x and http://h");
    }
}
