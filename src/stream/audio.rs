//! The input's first audio track, as it is where MP4 can hold it, else as AAC.

use super::demux::mend_times;
use super::ingest::Span;
use super::preflight::{MediaInfo, Source};
use super::{bus_error, make};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

/// What MP4 holds without a new encoding; anything else is decoded.
const PASSED_THROUGH: &str =
    "audio/mpeg,mpegversion=4,framed=true; audio/mpeg,mpegversion=1,layer=3,parsed=true; audio/x-opus; audio/x-raw";
/// AAC as MP4 holds it.
const RAW_AAC: &str = "aacparse ! capsfilter caps=audio/mpeg,mpegversion=4,stream-format=raw";
/// AAC encoders, best first.
const ENCODERS: [&str; 4] = ["fdkaacenc", "avenc_aac", "voaacenc", "faac"];
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);
const QUEUED_BUFFERS: u32 = 64;

/// Encoded audio, in order.
pub struct AudioReader {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    start_ns: u64,
    /// Read, but later than asked for.
    waiting: Option<gst::Buffer>,
}

impl AudioReader {
    /// Opens the track; on failure the reason, in one line.
    pub fn open(source: &Source, media: &MediaInfo, span: Span) -> Result<Self, String> {
        let pipeline = gst::Pipeline::new();
        mend_times(&pipeline);
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(QUEUED_BUFFERS).build();
        let text = |error: super::StreamError| error.to_string();
        let decode = make("uridecodebin", "to open the input").map_err(text)?;
        decode.set_property("uri", &source.uri);
        decode.set_property_from_str("caps", PASSED_THROUGH);
        decode.set_property("expose-all-streams", false);
        pipeline.add_many([&decode, sink.upcast_ref()]).map_err(|error| error.to_string())?;
        let (weak, target) = (pipeline.downgrade(), sink.clone());
        decode.connect_pad_added(move |_, pad| {
            let is_free = target.static_pad("sink").is_some_and(|sink| !sink.is_linked());
            if let Some(pipeline) = weak.upgrade().filter(|_| is_free)
                && let Err(why) = connect(&pipeline, pad, &target)
            {
                gst::element_error!(target, gst::CoreError::MissingPlugin, ("{why}"));
            }
        });
        let reader = Self { pipeline, sink, start_ns: span.start_ns, waiting: None };
        reader.start(span.start_ns > 0 && media.is_seekable)?;
        Ok(reader)
    }

    /// What cannot be sought is read from its beginning.
    fn start(&self, is_sought: bool) -> Result<(), String> {
        let why = || bus_error(&self.pipeline).unwrap_or_else(|| "it cannot be decoded".into());
        self.pipeline.set_state(gst::State::Paused).map_err(|_| why())?;
        if !matches!(self.pipeline.state(PATIENCE), (Ok(_), gst::State::Paused, _)) {
            return Err(why());
        }
        if is_sought {
            let start = gst::ClockTime::from_nseconds(self.start_ns);
            let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
            self.pipeline.seek_simple(flags, start).map_err(|_| "it cannot be sought in".to_owned())?;
            if !matches!(self.pipeline.state(PATIENCE), (Ok(_), gst::State::Paused, _)) {
                return Err(why());
            }
        }
        self.pipeline.set_state(gst::State::Playing).map(drop).map_err(|_| why())
    }

    /// The caps of the track.
    pub fn caps(&self) -> Option<gst::Caps> {
        self.sink.static_pad("sink")?.current_caps()
    }

    /// The next buffer that starts at or before `until_ns` after the span's start, its time stamps counted from there.
    /// Ends with the first later one, which is kept, and with the track.
    pub fn next_until(&mut self, until_ns: u64) -> Option<gst::Buffer> {
        let buffer = self.waiting.take().or_else(|| self.read())?;
        if buffer.pts().is_some_and(|pts| pts.nseconds() > until_ns) {
            self.waiting = Some(buffer);
            return None;
        }
        Some(buffer)
    }

    /// Whether the track has no more.
    pub fn is_over(&self) -> bool {
        self.waiting.is_none() && self.sink.is_eos()
    }

    fn read(&mut self) -> Option<gst::Buffer> {
        loop {
            let Some(sample) = self.sink.try_pull_sample(gst::ClockTime::from_mseconds(100)) else {
                if self.sink.is_eos() || bus_error(&self.pipeline).is_some() {
                    return None;
                }
                continue;
            };
            let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>()).cloned();
            let Some(mut buffer) = sample.buffer_owned() else { continue };
            let time = buffer.pts().and_then(|pts| segment?.to_stream_time(pts));
            // What starts before the video does is left out.
            let Some(time) = time.and_then(|time| time.nseconds().checked_sub(self.start_ns)) else { continue };
            let writable = buffer.make_mut();
            writable.set_pts(gst::ClockTime::from_nseconds(time));
            writable.set_dts(gst::ClockTime::NONE);
            return Some(buffer);
        }
    }
}

impl Drop for AudioReader {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

/// Puts a parser or an encoder between the exposed track and the sink, as its format asks for.
fn connect(pipeline: &gst::Pipeline, pad: &gst::Pad, sink: &gst_app::AppSink) -> Result<(), String> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let format = caps.structure(0).ok_or("the audio has no format")?;
    let description = match format.name().as_str() {
        "audio/x-raw" => {
            let encoder = ENCODERS.iter().find(|name| gst::ElementFactory::find(name).is_some());
            let encoder = encoder.ok_or("no AAC encoder is installed: apt-get install gstreamer1.0-libav")?;
            format!("audioconvert ! audioresample ! {encoder} ! {RAW_AAC}")
        }
        "audio/mpeg" if format.get::<i32>("mpegversion") == Ok(4) => RAW_AAC.to_owned(),
        _ => "identity".to_owned(),
    };
    let wired = || -> Result<(), Box<dyn std::error::Error>> {
        let bin = gst::parse::bin_from_description(&description, true)?;
        pipeline.add(&bin)?;
        bin.link(sink)?;
        bin.sync_state_with_parent()?;
        pad.link(&bin.static_pad("sink").ok_or("no sink pad")?)?;
        Ok(())
    };
    wired().map_err(|error| error.to_string())
}
