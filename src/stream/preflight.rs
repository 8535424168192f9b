//! What the input is, before anything is started: a clear error beats a pipeline that does not roll.

use super::ingest::Span;
use super::whole::{self, Cut};
use super::{StreamError, init, redact};
use gst_pbutils::prelude::*;
use gstreamer as gst;
use gstreamer_pbutils as gst_pbutils;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How long a source may take to say what it holds.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Bytes of a file that its kind is known by.
const HEAD: u64 = 64 << 10;
/// Containers that may hold a video, beside those whose media type says so.
const CONTAINERS: [&str; 3] = ["application/mxf", "application/ogg", "application/vnd.rn-realmedia"];

/// What a file is by its first bytes.
pub struct FileKind {
    /// As in `video/quicktime`.
    pub media_type: String,
    /// Whether it is worth opening as a video: a kind of picture is where something decodes it.
    pub is_video: bool,
}

/// None where the first bytes say nothing clear, or cannot be read.
pub fn kind_of_file(path: &Path) -> Option<FileKind> {
    init().ok()?;
    let mut head = Vec::new();
    // Opening a pipe would wait for its other end.
    path.is_file().then(|| File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head)))?.ok()?;
    let (probability, caps) = gst::SliceTypeFind::type_find(head);
    let caps = caps.filter(|_| probability >= gst::TypeFindProbability::Likely)?;
    let media_type = caps.structure(0)?.name().to_string();
    let is_decoded = || {
        let factories =
            gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DECODABLE, gst::Rank::MARGINAL);
        factories.iter().any(|factory| factory.can_sink_any_caps(&caps))
    };
    let is_video = media_type.starts_with("video/")
        || CONTAINERS.contains(&media_type.as_str())
        || media_type.starts_with("image/") && is_decoded();
    Some(FileKind { media_type, is_video })
}
/// MP4 and its kin.
const MP4: [&str; 3] = ["video/quicktime", "audio/x-m4a", "application/x-3gp"];
/// Containers in which GStreamer finds the frame of a time; in others it guesses from sizes, or shifts the times of what follows.
const SOUGHT: [&str; 9] = [
    "video/quicktime",
    "audio/x-m4a",
    "application/x-3gp",
    "video/x-matroska",
    "video/webm",
    "video/x-ms-asf",
    "application/ogg",
    "video/ogg",
    "video/mpegts",
];

/// An input that exists.
#[derive(Clone)]
pub struct Source {
    /// What GStreamer opens; may hold a password.
    pub(super) uri: String,
    /// What is shown and recorded.
    pub name: String,
    /// The file on this machine, where it is one.
    pub file: Option<std::path::PathBuf>,
}

/// What the input holds.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is said of a file whatever the others are")]
pub struct MediaInfo {
    /// Coded width and height in pixels.
    pub width: u32,
    pub height: u32,
    pub duration_ns: Option<u64>,
    /// Frames per second; none where it varies or is not said.
    pub fps: Option<(u32, u32)>,
    pub is_interlaced: bool,
    /// The `image-orientation` tag, where the picture has to be turned to be upright.
    pub is_rotated: bool,
    pub has_audio: bool,
    /// Whether frames are found by their times.
    pub is_seekable: bool,
    /// Whether it is a still picture or an animation.
    pub is_picture: bool,
    pub is_mp4: bool,
    /// Where the file's bytes end early.
    pub(super) cut: Option<Cut>,
    /// When the container says that it was begun, in nanoseconds since 1970, UTC.
    pub created_unix_ns: Option<u64>,
}

impl MediaInfo {
    /// About how many frames the span holds.
    pub fn frames_in(&self, span: Span) -> Option<u64> {
        let rest = self.duration_ns.map(|total| total.saturating_sub(span.start_ns));
        let length = match (rest, span.duration_ns) {
            (Some(rest), Some(wanted)) => rest.min(wanted),
            (length, None) | (None, length) => length?,
        };
        let (numerator, denominator) = self.fps.filter(|(_, denominator)| *denominator > 0)?;
        Some((u128::from(length) * u128::from(numerator) / u128::from(denominator) / 1_000_000_000) as u64)
    }
}

impl Source {
    /// A path, or anything with `://` in it.
    pub fn new(input: impl AsRef<OsStr>) -> Result<Self, StreamError> {
        init()?;
        let input = input.as_ref();
        let text = input.to_string_lossy();
        let name = redact(&text);
        let fail = |why: String| StreamError::Input { input: name.clone(), why };
        if let Some((scheme, _)) = text.split_once("://") {
            is_read(scheme, &text).map_err(fail)?;
            let file = text.starts_with("file://").then(|| gst::glib::filename_from_uri(&text).ok()).flatten();
            return Ok(Self { file: file.map(|(path, _)| path), uri: text.into_owned(), name });
        }
        let path = Path::new(input);
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => fail("there is no such file; check the path".into()),
            _ => fail(error.to_string()),
        })?;
        if metadata.is_dir() {
            return Err(fail("is a directory; give one video file".into()));
        }
        if !metadata.is_file() {
            // It is read more than once, and merely opening a pipe may wait for ever.
            return Err(fail("is a pipe or a device; save the video to a file first".into()));
        }
        let absolute = std::path::absolute(path).map_err(|error| fail(error.to_string()))?;
        let uri = gst::glib::filename_to_uri(&absolute, None).map_err(|error| fail(error.to_string()))?;
        Ok(Self { uri: uri.into(), name, file: Some(absolute) })
    }

    /// What keeps its file from being read: found when it is its turn, since it costs no other.
    pub(super) fn check(&self) -> Result<(), StreamError> {
        let Some(path) = &self.file else { return Ok(()) };
        let fail = |why: String| StreamError::Input { input: self.name.clone(), why };
        match File::open(path).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.len() == 0 => Err(fail("is empty".into())),
            Ok(_) => Ok(()),
            Err(error) => Err(fail(format!("cannot be read: {error}"))),
        }
    }

    /// Whether it comes from a web server.
    pub(super) fn is_http(&self) -> bool {
        let scheme = self.uri.split("://").next().unwrap_or_default();
        ["http", "https"].iter().any(|http| scheme.eq_ignore_ascii_case(http))
    }

    /// Looks into the source: reads its head and decodes a first frame.
    pub(super) fn probe(&self) -> Result<MediaInfo, StreamError> {
        let cut = self.file.as_deref().and_then(whole::cut);
        let fail = |why: String| StreamError::Input { input: self.name.clone(), why };
        if let Some(cut) = cut.filter(|cut| !cut.has_index) {
            return Err(fail(format!(
                "is cut off before what tells where its frames are: {cut}; copy it again from where it is whole"
            )));
        }
        // Without it the discoverer does not start, and does not say what to install.
        super::make("uridecodebin", "to open the input")?;
        let discoverer =
            gst_pbutils::Discoverer::new(PATIENCE).map_err(|error| StreamError::Start(error.to_string()))?;
        let info = discoverer.discover_uri(&self.uri).map_err(|error| {
            if error.kind::<gst::CoreError>() == Some(gst::CoreError::MissingPlugin)
                && let Some(missing) = self.missing_element()
            {
                return missing;
            }
            match error.kind::<gst::StreamError>() {
                Some(gst::StreamError::TypeNotFound | gst::StreamError::WrongType) => {
                    fail("is not a video (its type is not known)".to_owned())
                }
                _ => fail(redact(error.message()).trim_end_matches('.').to_owned()),
            }
        })?;
        let videos = info.video_streams();
        let Some(video) = videos.first() else {
            return Err(match info.result() {
                gst_pbutils::DiscovererResult::Timeout => fail(format!("said nothing for {} s", PATIENCE.seconds())),
                _ if is_mp4(&info) => fail(
                    "holds no video that GStreamer plays: of MP4 and MOV it leaves out tracks that are shorter than a fifth of \
                     the file (if there is one, `ffmpeg -i INPUT -map 0:v -c copy VIDEO.mp4` takes it out)"
                        .into(),
                ),
                _ => fail("holds no video".into()),
            });
        };
        if video.width() == 0 || video.height() == 0 {
            return Err(self.missing_element().unwrap_or_else(|| fail("its video cannot be decoded".into())));
        }
        let upright = |tags: gst::TagList| {
            tags.index::<gst::tags::ImageOrientation>(0).is_none_or(|orientation| orientation.get() == "rotate-0")
        };
        let is_upright = [video.tags(), info.stream_info().and_then(|container| container.tags())]
            .into_iter()
            .flatten()
            .all(upright);
        let container = info.stream_info().and_downcast::<gst_pbutils::DiscovererContainerInfo>();
        let of_container = container.and_then(|container| container.tags());
        let fps = video.framerate();
        Ok(MediaInfo {
            width: video.width(),
            height: video.height(),
            duration_ns: info.duration().map(|time| time.nseconds()).filter(|&ns| ns > 0),
            fps: (fps.numer() > 0).then(|| (fps.numer() as u32, fps.denom() as u32)),
            is_interlaced: video.is_interlaced(),
            is_rotated: !is_upright,
            has_audio: !info.audio_streams().is_empty(),
            is_seekable: info.is_seekable() && container_of(&info).is_some_and(|name| SOUGHT.contains(&name.as_str())),
            is_picture: false,
            is_mp4: is_mp4(&info),
            cut,
            created_unix_ns: of_container.and_then(|tags| created_unix_ns(&tags)),
        })
    }

    /// What decoding the source lacks, as GStreamer tells it while it tries.
    fn missing_element(&self) -> Option<StreamError> {
        let pipeline = gst::Pipeline::new();
        let decode = super::make("uridecodebin", "to open the input").ok()?;
        decode.set_property("uri", &self.uri);
        pipeline.add(&decode).ok()?;
        // A failure to start is told on the bus.
        pipeline.set_state(gst::State::Paused).ok();
        let wanted = [gst::MessageType::Element, gst::MessageType::Error, gst::MessageType::AsyncDone];
        let mut missing = None;
        while let Some(message) = pipeline.bus()?.timed_pop_filtered(PATIENCE, &wanted) {
            let gst::MessageView::Element(element) = message.view() else { break };
            let Some(wants) = element.structure().filter(|structure| structure.name() == "missing-plugin") else {
                continue;
            };
            let element = wants.get::<String>("name").or_else(|_| wants.get::<String>("type")).unwrap_or_default();
            // Of a scheme, its name.
            let scheme = wants.get::<String>("detail").ok();
            let caps = wants.get::<gst::Caps>("detail").ok();
            let format = caps.as_ref().and_then(|caps| caps.structure(0)).map(|format| format.name().to_string());
            let package = match (&scheme, &format) {
                (Some(scheme), _) => source_of(scheme).map(super::package_of),
                (None, Some(format)) => package_for(format),
                (None, None) => None,
            };
            missing = Some(match package {
                Some(package) => {
                    StreamError::MissingElement { element, purpose: format!("{} needs it", self.name), package }
                }
                None => StreamError::Input {
                    input: self.name.clone(),
                    why: format!(
                        "is not read: no package is known to have what it needs ({element}); save it in another format"
                    ),
                },
            });
            break;
        }
        pipeline.set_state(gst::State::Null).ok();
        missing
    }
}

/// When a file was begun by its tags, in nanoseconds since 1970, UTC. A mere day or minute does not tell one frame from another.
fn created_unix_ns(tags: &gst::TagList) -> Option<u64> {
    let tag = tags.index::<gst::tags::DateTime>(0)?;
    let utc = tag.get();
    if !utc.has_second() {
        return None;
    }
    let utc = utc.to_g_date_time().ok()?;
    let microseconds = i128::from(utc.to_unix()) * 1_000_000 + i128::from(utc.microsecond());
    u64::try_from(microseconds * 1000).ok()
}

/// Schemes of inputs.
const SCHEMES: [&str; 10] = ["file", "http", "https", "rtsp", "rtsps", "rtspt", "rtspu", "rtp", "udp", "srt"];

/// Whether something reads what this scheme names; why not, and what may be meant.
fn is_read(scheme: &str, uri: &str) -> Result<(), String> {
    let lower = scheme.to_ascii_lowercase();
    if SCHEMES.contains(&lower.as_str()) || gst::Element::make_from_uri(gst::URIType::Src, uri, None).is_ok() {
        return Ok(());
    }
    let near = SCHEMES.iter().filter(|known| is_near(known, &lower)).map(|known| format!("{known}://"));
    Err(match near.collect::<Vec<_>>().join(" or ") {
        near if near.is_empty() => {
            let known = SCHEMES.map(|known| format!("{known}://")).join(", ");
            format!("{scheme}:// is no scheme that is read: save the video to a file, or give one of {known}")
        }
        near => format!("{scheme}:// is no scheme that is read; did you mean {near}?"),
    })
}

/// Whether one letter more, less, exchanged (but not the first) or in its neighbour's place makes one word of the other.
fn is_near(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let head = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let tail = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let tail = tail.min(a.len().min(b.len()) - head);
    match (&a[head..a.len() - tail], &b[head..b.len() - tail]) {
        ([_], [_]) => head > 0,
        ([_] | [], [_] | []) => true,
        ([a, b], [c, d]) => (a, b) == (d, c),
        _ => false,
    }
}

/// The element that reads what this scheme names.
fn source_of(scheme: &str) -> Option<&'static str> {
    Some(match scheme {
        "http" | "https" => "souphttpsrc",
        "rtsp" | "rtsps" | "rtspt" | "rtspu" => "rtspsrc",
        "rtp" | "udp" => "udpsrc",
        "srt" => "srtsrc",
        _ => return None,
    })
}

/// The Debian package that reads a format, by the name of its caps; none where no package does.
fn package_for(format: &str) -> Option<&'static str> {
    Some(match format {
        "video/x-h264"
        | "video/x-h265"
        | "video/mpeg"
        | "video/x-divx"
        | "video/x-xvid"
        | "video/x-msmpeg"
        | "video/x-wmv"
        | "video/x-h263"
        | "video/x-flash-video"
        | "video/x-flash-screen"
        | "video/x-vp6"
        | "video/x-vp6-flash"
        | "video/x-svq"
        | "video/x-prores"
        | "video/x-dnxhd"
        | "video/x-cinepak"
        | "video/x-indeo"
        | "video/x-huffyuv"
        | "video/x-ffv"
        | "video/x-rle"
        | "video/x-msvideocodec"
        | "video/x-pn-realvideo" => "gstreamer1.0-libav",
        "video/quicktime"
        | "audio/x-m4a"
        | "application/x-3gp"
        | "video/x-matroska"
        | "video/webm"
        | "video/x-msvideo"
        | "video/x-flv"
        | "video/x-dv"
        | "video/x-vp8"
        | "video/x-vp9"
        | "image/jpeg"
        | "image/png"
        | "multipart/x-mixed-replace" => "gstreamer1.0-plugins-good",
        "video/mpegts" | "application/mxf" | "video/x-av1" | "application/x-hls" | "application/dash+xml" => {
            "gstreamer1.0-plugins-bad"
        }
        "video/x-ms-asf" | "application/vnd.rn-realmedia" => "gstreamer1.0-plugins-ugly",
        "application/ogg" | "video/ogg" | "video/x-theora" => "gstreamer1.0-plugins-base",
        _ => return None,
    })
}

/// What GStreamer calls the container.
fn container_of(info: &gst_pbutils::DiscovererInfo) -> Option<String> {
    Some(info.stream_info()?.caps()?.structure(0)?.name().to_string())
}

/// Whether the file is MP4 or MOV, whatever is in it.
fn is_mp4(info: &gst_pbutils::DiscovererInfo) -> bool {
    container_of(info).is_some_and(|name| MP4.contains(&name.as_str()))
}
