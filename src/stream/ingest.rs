//! A source's frames, decoded, upright and progressive, every one in order, in the decoder's own buffers.

use super::damage::Damage;
use super::decoder::{self, Decoder, Decoding, Misfit};
use super::demux::{Reach, mend_times};
use super::frame::Frame;
use super::memory;
use super::preflight::{MediaInfo, Source};
use super::source::FrameSource;
use super::{StreamError, bus_error, describe, make};
use crate::record::Shortfall;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use tracing::info;

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
/// How far a frame may seem to be from the time asked for: containers count in milliseconds, too.
const ROUNDING_NS: u64 = 1_000_000;
/// What is left of a frame at the start of a span, where it is no longer than this, is left out: the next frame is as near.
const SLIVER_NS: u64 = 20_000_000;
/// How far before the start of a span is sought: what begins there is not cut by the decoder.
const LEAD_NS: u64 = 100_000_000;
/// What is kept in memory of a file that comes over a network, so that demuxers can read in it as in one that is here, in bytes.
const KEPT_BYTES: u64 = 64 << 20;
/// A file may say that it is longer than it is by so many frames: containers round, and some count the last frame twice.
const ROUNDED_FRAMES: u64 = 2;

/// The part of the source that is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// From the start of the source, in nanoseconds.
    pub start_ns: u64,
    pub duration_ns: Option<u64>,
}

/// A running decoder.
pub struct Ingest {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    misfit: Misfit,
    reach: Reach,
    damage: Damage,
    /// What is read, and how.
    source: Source,
    media: MediaInfo,
    decoding: Decoding,
    span: Span,
    /// Where the span ends: after its duration from its first frame, which MPEG-TS has not at 0.
    stop_ns: u64,
    frames: u64,
    /// When the frame after the last one begins, in nanoseconds from the start of the source.
    next_pts_ns: u64,
    /// How long the last frame is shown, in nanoseconds.
    frame_ns: u64,
    shortfall: Option<Shortfall>,
}

impl Ingest {
    /// Starts decoding, at the start of the span; where that cannot be sought, with all that is before it.
    pub fn open(source: &Source, media: &MediaInfo, span: Span, decoding: &Decoding) -> Result<Self, StreamError> {
        decoding.check()?;
        let (ingest, is_sought) = Self::begin(source, media, span, decoding, true)?;
        // What ends before is told by what follows.
        if !is_sought && media.duration_ns.is_none_or(|end_ns| span.start_ns < end_ns) {
            info!(
                "{}: frames cannot be sought exactly in it: it is read from its beginning up to {:.3} s",
                source.name,
                span.start_ns as f64 / 1e9
            );
        }
        Ok(ingest)
    }

    /// The same without a word; whether the start is where it begins. `is_parallel` where libav may decode on several threads.
    fn begin(
        source: &Source,
        media: &MediaInfo,
        span: Span,
        decoding: &Decoding,
        is_parallel: bool,
    ) -> Result<(Self, bool), StreamError> {
        let mut ingest = Self::build(source, media, span, decoding, is_parallel)?;
        let is_sought = span.start_ns == 0 || ingest.seek(media)?;
        if !is_sought {
            ingest = Self::build(source, media, span, decoding, is_parallel)?;
        }
        ingest.set_state(gst::State::Playing)?;
        Ok((ingest, is_sought))
    }

    fn build(
        source: &Source,
        media: &MediaInfo,
        span: Span,
        decoding: &Decoding,
        is_parallel: bool,
    ) -> Result<Self, StreamError> {
        let pipeline = gst::Pipeline::new();
        let damage = Damage::of(&pipeline, span.start_ns, is_parallel);
        mend_times(&pipeline);
        let reach = Reach::of(&pipeline);
        let misfit = decoding.guide(&pipeline);
        let decode = make("uridecodebin", "to open the input")?;
        decode.set_property("uri", &source.uri);
        if source.is_http() {
            decode.set_property("ring-buffer-max-size", KEPT_BYTES);
        }
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
        let mut scaling = decoding.clone();
        if media.is_interlaced || media.is_rotated {
            // These are made progressive and upright from whole frames.
            scaling.model_size = None;
        }
        if let Some(first) = chain.first() {
            memory::link_first(&pipeline, &decode, first, &sink, scaling);
        }

        read_audio(&pipeline, &decode);
        Ok(Self {
            pipeline,
            sink,
            misfit,
            reach,
            damage,
            source: source.clone(),
            media: media.clone(),
            decoding: decoding.clone(),
            span,
            stop_ns: u64::MAX,
            frames: 0,
            next_pts_ns: 0,
            frame_ns: UNKNOWN_DURATION_NS,
            shortfall: None,
        })
    }

    /// Goes to the first frame of the span; false where it is not sure to be there.
    fn seek(&mut self, media: &MediaInfo) -> Result<bool, StreamError> {
        if !media.is_seekable {
            return Ok(false);
        }
        self.set_state(gst::State::Paused)?;
        if self.pipeline.state(PREROLL).0.is_err() {
            return Err(self.fail(self.why().unwrap_or_else(|| "cannot be decoded".into())));
        }
        let start_ns = self.span.start_ns.saturating_sub(LEAD_NS);
        let Some((first_ns, end_ns)) = self.first() else { return Ok(false) };
        if start_ns < end_ns {
            return Ok(true);
        }
        // Of a file in fragments, seeking shifts the frames by what the first one is late.
        if media.is_mp4 && first_ns > 0 {
            return Ok(false);
        }
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        let start = gst::ClockTime::from_nseconds(start_ns);
        let sought = self.pipeline.seek_simple(flags, start).is_ok() && self.pipeline.state(PREROLL).0.is_ok();
        self.next_pts_ns = start_ns;
        Ok(sought && self.first().is_some_and(|(pts_ns, _)| pts_ns <= start_ns + ROUNDING_NS))
    }

    /// When the frame that waits is shown, from and to in nanoseconds.
    fn first(&self) -> Option<(u64, u64)> {
        let frame = self.frame(&self.sink.try_pull_preroll(LOOK)?).ok()?;
        Some((frame.pts_ns, frame.pts_ns.saturating_add(frame.duration_ns)))
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
        StreamError::Input { input: self.source.name.clone(), why }
    }

    fn frame(&self, sample: &gst::Sample) -> Result<Frame, StreamError> {
        let broken =
            |what: &str| StreamError::Input { input: self.source.name.clone(), why: format!("a frame without {what}") };
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
        let captured_unix_ns = self.media.created_unix_ns.map(|created| created.saturating_add(pts_ns));
        let frame = Frame::new(self.frames, pts_ns, duration_ns, buffer, info);
        Ok(Frame { native, captured_unix_ns, ..frame })
    }

    /// As much of a frame as is in the span.
    fn take(&mut self, mut frame: Frame) -> Option<Frame> {
        let end_ns = frame.pts_ns.saturating_add(frame.duration_ns);
        (self.next_pts_ns, self.frame_ns) = (end_ns, frame.duration_ns);
        let (from_ns, to_ns) = (frame.pts_ns.max(self.span.start_ns), end_ns.min(self.stop_ns));
        let is_sliver = frame.pts_ns < from_ns && end_ns - from_ns.min(end_ns) <= SLIVER_NS;
        if from_ns >= to_ns || is_sliver {
            return None;
        }
        if frame.buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            self.damage.tell(frame.pts_ns);
        }
        (frame.index, frame.pts_ns, frame.duration_ns) = (self.frames, from_ns, to_ns - from_ns);
        if let Some(length_ns) = self.span.duration_ns.filter(|_| self.frames == 0) {
            self.stop_ns = from_ns.saturating_add(length_ns);
            self.damage.stop_at(self.stop_ns);
        }
        self.frames += 1;
        Some(frame)
    }

    /// Why there is no frame.
    fn nothing(&self) -> String {
        let seconds = |ns: u64| ns as f64 / 1e9;
        match self.next_pts_ns {
            0 => "no frame could be decoded".into(),
            end => format!(
                "ends at {:.3} s, before the start asked for, {:.3} s",
                seconds(end),
                seconds(self.span.start_ns)
            ),
        }
    }

    fn ends_early(&self, why: &str, declared_ns: Option<u64>) -> Shortfall {
        let last = self.frames.saturating_sub(1);
        Shortfall {
            why: format!("{}: ends early, after frame {last}: {why}", self.source.name),
            found_ns: self.next_pts_ns,
            declared_ns,
        }
    }

    /// Whether less is there at its end than the container says.
    fn missing(&self) -> Option<Shortfall> {
        let found_ns = self.reach.end_ns().max(self.next_pts_ns);
        let reached_ns = found_ns.saturating_add(ROUNDED_FRAMES * self.frame_ns);
        let seconds = |ns: u64| ns as f64 / 1e9;
        let is_known = self.reach.end_ns() > 0 && self.reach.is_over();
        if let Some(declared_ns) = self.media.duration_ns.filter(|&ns| is_known && reached_ns < ns) {
            let why = format!("{:.3} s of the {:.3} s that it says are there", seconds(found_ns), seconds(declared_ns));
            return Some(self.ends_early(&why, Some(declared_ns)));
        }
        self.media.cut.map(|cut| self.ends_early(&cut.to_string(), None))
    }

    /// What cannot be decoded whole. Where complaints may be of this video or of another one, it is decoded again, by one thread that is
    /// known.
    fn damage(&self, stop: &dyn Fn() -> bool) -> Option<Shortfall> {
        let again = || {
            let (mut again, _) = Self::begin(&self.source, &self.media, self.span, &self.decoding, false).ok()?;
            while again.next(stop).ok()?.is_some() {}
            Some(again.damage.clone())
        };
        let known = if self.damage.is_unclear() { again() } else { None };
        let frames = known.as_ref().unwrap_or(&self.damage).frames()?;
        let (name, count, first) = (&self.source.name, frames.count, frames.first_ns as f64 / 1e9);
        let why = format!("{name}: {count} of its frames are damaged or missing, the first at {first:.3} s");
        Some(Shortfall { why, found_ns: self.next_pts_ns, declared_ns: None })
    }
}

impl FrameSource for Ingest {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Frame>, StreamError> {
        let mut heard = std::time::Instant::now();
        loop {
            if stop() {
                return Ok(None);
            }
            if let Some(sample) = self.sink.try_pull_sample(LOOK) {
                heard = std::time::Instant::now();
                let frame = self.frame(&sample)?;
                if frame.pts_ns >= self.stop_ns {
                    self.shortfall = self.damage(stop);
                    return Ok(None);
                }
                match self.take(frame) {
                    Some(frame) => return Ok(Some(frame)),
                    None => continue,
                }
            }
            let (is_eos, is_late) = (self.sink.is_eos(), heard.elapsed() > PATIENCE);
            // The audio may go on for longer.
            let is_over = is_eos && (is_late || self.reach.is_over());
            let silent = || (is_late && !is_eos).then(|| format!("nothing came for {} s", PATIENCE.as_secs()));
            match self.why().or_else(silent) {
                Some(why) if self.frames == 0 => return Err(self.fail(why)),
                Some(why) => {
                    self.shortfall = Some(self.ends_early(&why, self.media.duration_ns));
                    return Ok(None);
                }
                None if is_over && self.frames == 0 => return Err(self.fail(self.nothing())),
                None if is_over => {
                    self.shortfall = self.missing().or_else(|| self.damage(stop));
                    return Ok(None);
                }
                None => {}
            }
        }
    }

    fn shortfall(&self) -> Option<&Shortfall> {
        self.shortfall.as_ref()
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

/// Reads the audio, too, and lets it go: how far a file reaches is known once all of it was read.
fn read_audio(pipeline: &gst::Pipeline, decode: &gst::Element) {
    let pipeline = pipeline.downgrade();
    decode.connect_pad_added(move |_, pad| {
        let is_audio = pad.query_caps(None).structure(0).is_some_and(|format| format.name().starts_with("audio/"));
        let read = || {
            let sink = gst::ElementFactory::make("fakesink").property("async", false).build().ok()?;
            pipeline.upgrade()?.add(&sink).ok()?;
            sink.sync_state_with_parent().ok()?;
            pad.link(&sink.static_pad("sink")?).ok()
        };
        // Without it, the video is all that is known.
        if is_audio {
            read();
        }
    });
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
