//! The annotated video: encoded by what this machine has, in an MP4 file that appears when it is complete.

use super::audio::AudioReader;
use super::{StreamError, describe, launch};
use crate::partial::{self, PartialFile};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use std::path::Path;
use std::time::Duration;

/// Time units of the video track: whole for the usual rates, fine enough for any other.
pub(crate) const TICKS_PER_SECOND: u32 = 90_000;
/// The smallest side of a frame that the encoders take, in pixels.
const MIN_SIDE: u32 = 16;
/// How long the encoder may take to finish the file.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(600);

/// The caps of frames for an encoder; an error says that they cannot be encoded.
pub(crate) fn encoder_caps(info: &gst_video::VideoInfo) -> Result<gst::Caps, String> {
    let (width, height) = (info.width(), info.height());
    if width.min(height) < MIN_SIDE {
        return Err(format!(
            "frames of {width}x{height} cannot be encoded (at least {MIN_SIDE}x{MIN_SIDE}); use --records alone"
        ));
    }
    let mut caps = info.to_caps().map_err(|error| error.message.to_string())?;
    if info.fps().numer() == 0 {
        // Without a rate encoders and parsers drop the last frame's duration: a still image would be shown for no time.
        caps.make_mut().set("framerate", gst::Fraction::new(25, 1));
    }
    Ok(caps)
}

/// A file that is being encoded.
pub struct Output {
    pipeline: gst::Pipeline,
    video: gst_app::AppSrc,
    audio: Option<(AudioReader, gst_app::AppSrc)>,
    file: PartialFile,
    name: String,
    /// The earliest time of the next frame, in nanoseconds.
    next_ns: u64,
}

impl Output {
    /// An error where no such file can be written at all.
    pub fn check(path: &Path) -> Result<(), StreamError> {
        let fail = |why: &str| Err(StreamError::Output { output: path.display().to_string(), why: why.into() });
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("mp4")) {
            return fail("is not an .mp4 file name: the annotated video is MP4");
        }
        partial::check(path).or_else(|error| fail(&error.to_string()))?;
        launch::choose_encoder(launch::ENCODERS).map(drop)
    }

    /// Starts a file at `path` for frames of this layout.
    pub fn open(path: &Path, info: &gst_video::VideoInfo, audio: Option<AudioReader>) -> Result<Self, StreamError> {
        let name = path.display().to_string();
        let fail = |why: String| StreamError::Output { output: name.clone(), why };
        let caps = encoder_caps(info).map_err(fail)?;
        let encoder = launch::encoder(launch::choose_encoder(launch::ENCODERS)?)?;
        let parse = super::make("h264parse", "to write MP4")?;
        let mux = super::make("mp4mux", "to write MP4")?;
        let sink = super::make("filesink", "to write a file")?;
        let (file, _) = PartialFile::create(path).map_err(|error| fail(error.to_string()))?;
        sink.set_property("location", file.path());

        let source = |caps: &gst::Caps| gst_app::AppSrc::builder().caps(caps).format(gst::Format::Time).build();
        let video = source(&caps);
        video.set_max_bytes(0);

        let pipeline = gst::Pipeline::new();
        let wire = || -> Result<_, Box<dyn std::error::Error>> {
            pipeline.add_many([video.upcast_ref(), encoder.upcast_ref(), &parse, &mux, &sink])?;
            gst::Element::link_many([video.upcast_ref(), encoder.upcast_ref(), &parse])?;
            mux.link(&sink)?;
            let pad = mux.request_pad_simple("video_%u").ok_or("mp4mux takes no video")?;
            pad.set_property("trak-timescale", TICKS_PER_SECOND);
            parse.static_pad("src").ok_or("h264parse has no output")?.link(&pad)?;
            let Some(reader) = audio else { return Ok(None) };
            let track = source(&reader.caps().ok_or("the audio has no format")?);
            // Filled only as far as the video: what waits here is bounded by the encoder's delay.
            track.set_max_bytes(0);
            pipeline.add(&track)?;
            let pad = mux.request_pad_simple("audio_%u").ok_or("mp4mux takes no audio")?;
            track.static_pad("src").ok_or("appsrc has no output")?.link(&pad)?;
            Ok(Some((reader, track)))
        };
        let audio = wire().map_err(|error| fail(error.to_string()))?;
        let output = Self { pipeline, video, audio, file, name: name.clone(), next_ns: 0 };
        output.pipeline.set_state(gst::State::Playing).map_err(|_| output.failure())?;
        Ok(output)
    }

    /// Adds a frame, and the audio up to it. Time stamps count from the start of the file; one that is not later than the one
    /// before, as broken files have them, is moved behind it: encoders drop such frames or their time.
    pub fn push(&mut self, mut buffer: gst::Buffer, pts_ns: u64, duration_ns: u64) -> Result<(), StreamError> {
        let pts_ns = pts_ns.max(self.next_ns);
        self.next_ns = pts_ns.saturating_add(1_000_000_000u64.div_ceil(u64::from(TICKS_PER_SECOND)));
        let writable = buffer.make_mut();
        writable.set_pts(gst::ClockTime::from_nseconds(pts_ns));
        writable.set_dts(gst::ClockTime::NONE);
        writable.set_duration(gst::ClockTime::from_nseconds(duration_ns));
        self.push_audio(pts_ns)?;
        super::push_when_ready(&self.pipeline, &self.video, buffer, Duration::MAX).map_err(|why| self.fault(why))
    }

    fn push_audio(&mut self, until_ns: u64) -> Result<(), StreamError> {
        let Some((reader, track)) = &mut self.audio else { return Ok(()) };
        while let Some(buffer) = reader.next_until(until_ns) {
            if track.push_buffer(buffer).is_err() {
                return Err(self.failure());
            }
        }
        if reader.is_over() {
            // The muxer need not wait for more of it; told again after each frame, it does not mind.
            track.end_of_stream().ok();
        }
        Ok(())
    }

    /// Writes what is left up to `end_ns`, closes the file and gives it its name.
    pub fn finish(mut self, end_ns: u64) -> Result<(), StreamError> {
        self.push_audio(end_ns)?;
        self.video.end_of_stream().map_err(|_| self.failure())?;
        if let Some((_, track)) = &self.audio {
            track.end_of_stream().map_err(|_| self.failure())?;
        }
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(PATIENCE, &wanted));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => {}
            Some(gst::MessageView::Error(error)) => return Err(self.fault(describe(error))),
            _ => return Err(self.fault(format!("the encoder did not finish within {} s", PATIENCE.seconds()))),
        }
        self.pipeline.set_state(gst::State::Null).map_err(|_| self.failure())?;
        self.file.commit().map_err(|error| self.fault(error.to_string()))
    }

    /// Why the pipeline does not go on.
    fn failure(&self) -> StreamError {
        let wait = gst::ClockTime::from_seconds(1);
        let message = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(wait, &[gst::MessageType::Error]));
        let why = message.as_ref().and_then(|message| match message.view() {
            gst::MessageView::Error(error) => Some(describe(error)),
            _ => None,
        });
        self.fault(why.unwrap_or_else(|| "the encoder stopped".into()))
    }

    fn fault(&self, why: String) -> StreamError {
        StreamError::Output { output: self.name.clone(), why }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}
