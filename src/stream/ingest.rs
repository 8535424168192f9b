//! A source's frames, decoded, upright and progressive, every one in order, in the decoder's own buffers.

use super::decoder::{self, Decoder, Decoding, Misfit};
use super::frame::Frame;
use super::memory;
use super::preflight::{MediaInfo, Source};
use super::source::FrameSource;
use super::{StreamError, bus_error, describe, keep_matroska_times, make};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

/// Decoded frames that wait between the decoder and `next`.
const DECODED_FRAMES: u32 = 2;
/// How often a waiting `next` looks at the bus and asks whether to go on.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// How long a frame is shown that does not say, such as a still image.
pub(super) const UNKNOWN_DURATION_NS: u64 = 40_000_000;
/// How long a source may be silent: demuxers exist that never end (GIF, by libav's).
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// How long seeking to the start may take.
const PREROLL: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// The part of the source that is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// From the start of the source, in nanoseconds.
    pub start_ns: u64,
    pub duration_ns: Option<u64>,
}

impl Span {
    fn is_all(&self) -> bool {
        self.start_ns == 0 && self.duration_ns.is_none()
    }
}

/// A running decoder.
pub struct Ingest {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    misfit: Misfit,
    name: String,
    frames: u64,
    next_pts_ns: u64,
    /// When time 0 was, in nanoseconds since 1970.
    created_unix_ns: Option<u64>,
    warning: Option<String>,
}

impl Ingest {
    /// Starts decoding.
    pub fn open(source: &Source, media: &MediaInfo, span: Span, decoding: &Decoding) -> Result<Self, StreamError> {
        decoding.check()?;
        let pipeline = gst::Pipeline::new();
        keep_matroska_times(&pipeline);
        let misfit = decoding.guide(&pipeline);
        let decode = make("uridecodebin", "to open the input")?;
        decode.set_property("uri", &source.uri);
        // Audio is left as it is. (`expose-all-streams=false` would do the same, but finds no decoder for VP9 with alpha.)
        decode.connect("autoplug-continue", false, |values| {
            let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
            let is_audio = caps.is_some_and(|caps| caps.structure(0).is_some_and(|s| s.name().starts_with("audio/")));
            Some((!is_audio).to_value())
        });

        let sink = gst_app::AppSink::builder()
            .caps(&gst::Caps::new_empty_simple("video/x-raw"))
            .sync(false)
            .max_buffers(DECODED_FRAMES)
            .build();
        // It would hold each frame until the next one comes.
        sink.set_property("enable-last-sample", false);
        accept_native_strides(&sink);

        let mut chain = Vec::new();
        if media.is_interlaced {
            let deinterlace = make("deinterlace", "for interlaced video")?;
            // One frame per frame, not per field.
            deinterlace.set_property_from_str("fields", "top");
            chain.extend([make("videoconvert", "for interlaced video")?, deinterlace]);
        }
        if media.is_rotated {
            let flip = make("videoflip", "for rotated video")?;
            flip.set_property_from_str("video-direction", "auto");
            chain.extend([make("videoconvert", "for rotated video")?, flip]);
        }
        chain.push(sink.clone().upcast());

        let fail = |why: String| StreamError::Input { input: source.name.clone(), why };
        let wired = (|| {
            pipeline.add(&decode)?;
            pipeline.add_many(&chain)?;
            gst::Element::link_many(&chain)
        })();
        wired.map_err(|error| fail(error.message.to_string()))?;
        let mut decoding = decoding.clone();
        if media.is_interlaced || media.is_rotated {
            // These are made progressive and upright from whole frames.
            decoding.model_size = None;
        }
        if let Some(first) = chain.first() {
            memory::link_first(&pipeline, &decode, first, &sink, decoding);
        }

        let ingest = Self {
            pipeline,
            sink,
            misfit,
            name: source.name.clone(),
            frames: 0,
            next_pts_ns: span.start_ns,
            created_unix_ns: media.created_unix_ns,
            warning: None,
        };
        ingest.start(media, span)?;
        Ok(ingest)
    }

    fn start(&self, media: &MediaInfo, span: Span) -> Result<(), StreamError> {
        if !span.is_all() {
            if !media.is_seekable {
                return Err(self.fail(
                    "cannot be sought in: leave out the time (@TIME of inspect, --start and --duration of run)".into(),
                ));
            }
            if media.duration_ns.is_some_and(|duration| span.start_ns >= duration) {
                let seconds = |ns: u64| ns as f64 / 1e9;
                let total = media.duration_ns.map_or(0.0, seconds);
                return Err(self.fail(format!(
                    "ends at {total:.3} s, before the start asked for, {:.3} s",
                    seconds(span.start_ns)
                )));
            }
            self.set_state(gst::State::Paused)?;
            if self.pipeline.state(PREROLL).0.is_err() {
                return Err(self.fail(self.why().unwrap_or_else(|| "cannot be decoded".into())));
            }
            let start = gst::ClockTime::from_nseconds(span.start_ns);
            let stop = span.duration_ns.map(|ns| start + gst::ClockTime::from_nseconds(ns));
            let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
            self.pipeline.seek(1.0, flags, gst::SeekType::Set, start, gst::SeekType::Set, stop).map_err(|_| {
                self.fail(
                    "cannot be sought in: leave out the time (@TIME of inspect, --start and --duration of run)".into(),
                )
            })?;
        }
        self.set_state(gst::State::Playing)
    }

    fn set_state(&self, state: gst::State) -> Result<(), StreamError> {
        match self.pipeline.set_state(state) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.fail(self.why().unwrap_or_else(|| "cannot be opened".into()))),
        }
    }

    /// What went wrong: a decoder that does not fit, before what follows from it.
    fn why(&self) -> Option<String> {
        let error = bus_error(&self.pipeline);
        self.misfit.why().filter(|_| error.is_some()).or(error)
    }

    fn fail(&self, why: String) -> StreamError {
        StreamError::Input { input: self.name.clone(), why }
    }

    fn frame(&mut self, sample: &gst::Sample) -> Result<Frame, StreamError> {
        let broken =
            |what: &str| StreamError::Input { input: self.name.clone(), why: format!("a frame without {what}") };
        let buffer = sample.buffer_owned().ok_or_else(|| broken("data"))?;
        let caps = sample.caps().ok_or_else(|| broken("caps"))?;
        let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| broken("a known format"))?;
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let stream_time = buffer.pts().and_then(|pts| segment?.to_stream_time(pts));
        let pts_ns = stream_time.map_or(self.next_pts_ns, |time| time.nseconds());
        let by_rate = || {
            let fps = info.fps();
            (fps.numer() > 0).then(|| 1_000_000_000 * fps.denom() as u64 / fps.numer() as u64)
        };
        let duration_ns = buffer.duration().map(|time| time.nseconds()).filter(|&ns| ns > 0).or_else(by_rate);
        let duration_ns = duration_ns.unwrap_or(UNKNOWN_DURATION_NS);
        let native = memory::native_size(caps);
        let captured_unix_ns = self.created_unix_ns.map(|created| created.saturating_add(pts_ns));
        let frame = Frame::new(self.frames, pts_ns, duration_ns, buffer, info);
        let frame = Frame { native, captured_unix_ns, ..frame };
        self.frames += 1;
        self.next_pts_ns = pts_ns.saturating_add(duration_ns);
        Ok(frame)
    }
}

impl FrameSource for Ingest {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Frame>, StreamError> {
        let start = std::time::Instant::now();
        loop {
            if stop() {
                return Ok(None);
            }
            if let Some(sample) = self.sink.try_pull_sample(LOOK) {
                return self.frame(&sample).map(Some);
            }
            let silent = || (start.elapsed() > PATIENCE).then(|| format!("nothing came for {} s", PATIENCE.as_secs()));
            match self.why().or_else(silent) {
                Some(why) if self.frames == 0 => return Err(self.fail(why)),
                Some(why) => {
                    self.warning = Some(format!("{}: ends early, after frame {}: {why}", self.name, self.frames - 1));
                    return Ok(None);
                }
                None if self.sink.is_eos() && self.frames == 0 => {
                    return Err(self.fail("no frame could be decoded".into()));
                }
                None if self.sink.is_eos() => return Ok(None),
                None => {}
            }
        }
    }

    fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    fn decoder(&self) -> Option<Decoder> {
        decoder::running(&self.pipeline)
    }

    fn pipeline(&self) -> Option<String> {
        Some(describe::line_to(self.sink.upcast_ref()))
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // Going down cannot be helped if it fails.
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

/// Answers the decoder's allocation query: buffers with strides and offsets of its own are welcome, so it need not copy
/// them into packed ones.
pub(super) fn accept_native_strides(sink: &gst_app::AppSink) {
    let Some(pad) = sink.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let Some(query) = info.query_mut() else { return gst::PadProbeReturn::Ok };
        match query.view_mut() {
            gst::QueryViewMut::Allocation(allocation) => {
                allocation.add_allocation_meta::<gst_video::VideoMeta>(None);
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}
