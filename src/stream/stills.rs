//! The frames of a picture file: a still picture is a video of one frame.

use super::StreamError;
use super::frame::Frame;
use super::ingest::{Span, UNKNOWN_DURATION_NS};
use super::preflight::MediaInfo;
use super::source::FrameSource;
use crate::picture::{self, PictureError, RgbImage};
use crate::record::Shortfall;
use gstreamer as gst;
use gstreamer_video as gst_video;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How often a waiting `next` asks whether to go on.
const LOOK: Duration = Duration::from_millis(100);
/// How long a frame of an animation is shown that is to be shown for no time: as long as browsers do.
const NO_TIME_NS: u64 = 100_000_000;

/// A picture, and for how long an animation shows it, in nanoseconds.
type Decoded = Result<(RgbImage, Option<u64>), PictureError>;

/// A decoder at work on a thread of its own, one picture ahead.
pub struct Stills {
    decoded: Receiver<Decoded>,
    decoder: Option<JoinHandle<()>>,
    name: String,
    span: Span,
    frames: u64,
    /// Of the first picture: what the encoder takes the last one's duration from.
    rate: gst::Fraction,
    /// When the next picture begins, in nanoseconds from the start of the file.
    next_ns: u64,
    shortfall: Option<Shortfall>,
}

impl Stills {
    /// Starts decoding.
    pub fn open(file: &Path, name: &str, span: Span) -> Result<(MediaInfo, Self), StreamError> {
        let fail = |why: String| StreamError::Input { input: name.to_owned(), why };
        let (width, height) = picture::dimensions(file).map_err(|error| fail(error.why))?;
        let media = MediaInfo {
            width,
            height,
            duration_ns: None,
            fps: None,
            is_interlaced: false,
            is_rotated: false,
            has_audio: false,
            is_seekable: true,
            is_picture: true,
            is_mp4: false,
            cut: None,
            created_unix_ns: None,
        };
        let (to_reader, decoded) = sync_channel(1);
        let file = file.to_owned();
        let decode = move || {
            // A send fails when nobody reads any more.
            let outcome =
                picture::each_frame(&file, |picture, shown_ns| to_reader.send(Ok((picture, shown_ns))).is_ok());
            if let Err(error) = outcome {
                to_reader.send(Err(error)).ok();
            }
        };
        let decoder = Builder::new().name("pictures".into()).spawn(decode).map_err(|error| fail(error.to_string()))?;
        let name = name.to_owned();
        Ok((
            media,
            Self {
                decoded,
                decoder: Some(decoder),
                name,
                span,
                frames: 0,
                rate: gst::Fraction::new(0, 1),
                next_ns: 0,
                shortfall: None,
            },
        ))
    }

    fn fail(&self, why: String) -> StreamError {
        StreamError::Input { input: self.name.clone(), why }
    }

    /// A picture that begins at `start_ns` as a frame of the span; none where it is over by then.
    fn frame(&mut self, picture: RgbImage, start_ns: u64, end_ns: u64) -> Result<Option<Frame>, StreamError> {
        let stop_ns = self.span.duration_ns.map_or(u64::MAX, |length| self.span.start_ns.saturating_add(length));
        let (pts_ns, end_ns) = (start_ns.max(self.span.start_ns), end_ns.min(stop_ns));
        if pts_ns >= end_ns {
            return Ok(None);
        }
        let (width, height) = picture.dimensions();
        let (strides, offsets) = ([(width * 3) as i32], [0]);
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, width, height);
        if self.frames == 0
            && let Ok(microseconds) = i32::try_from((end_ns - pts_ns) / 1000)
        {
            self.rate = gst::Fraction::new(1_000_000, microseconds.max(1));
        }
        let info = info.fps(self.rate).stride(&strides).offset(&offsets).size(picture.as_raw().len()).build();
        let info = info.map_err(|_| self.fail(format!("frames of {width}x{height} are too large")))?;
        let buffer = gst::Buffer::from_mut_slice(picture.into_raw());
        let index = self.frames;
        self.frames += 1;
        Ok(Some(Frame::new(index, pts_ns, end_ns - pts_ns, buffer, info)))
    }

    /// What to make of a decoder that has gone.
    fn end(&mut self) -> Result<(), String> {
        if self.decoder.take().is_some_and(|decoder| decoder.join().is_err()) {
            return Err("its decoder stopped unexpectedly".into());
        }
        if self.frames == 0 && self.next_ns == 0 {
            return Err("holds no picture".into());
        }
        if self.frames == 0 {
            let seconds = |ns: u64| ns as f64 / 1e9;
            let (end, start) = (seconds(self.next_ns), seconds(self.span.start_ns));
            return Err(format!("ends at {end:.3} s, before the start asked for, {start:.3} s"));
        }
        Ok(())
    }
}

impl FrameSource for Stills {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Frame>, StreamError> {
        let why = loop {
            if stop() {
                return Ok(None);
            }
            match self.decoded.recv_timeout(LOOK) {
                Ok(Ok((picture, shown_ns))) => {
                    let shown_ns = match shown_ns {
                        Some(0) => NO_TIME_NS,
                        Some(ns) => ns,
                        None => UNKNOWN_DURATION_NS,
                    };
                    let start_ns = self.next_ns;
                    self.next_ns = start_ns.saturating_add(shown_ns);
                    if self.next_ns > self.span.start_ns {
                        return self.frame(picture, start_ns, self.next_ns);
                    }
                }
                Ok(Err(error)) => break error.why,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => match self.end() {
                    Ok(()) => return Ok(None),
                    Err(why) => break why,
                },
            }
        };
        if self.frames == 0 {
            return Err(self.fail(why));
        }
        let why = format!("{}: ends early, after frame {}: {why}", self.name, self.frames - 1);
        self.shortfall = Some(Shortfall { why, found_ns: self.next_ns, declared_ns: None });
        Ok(None)
    }

    fn shortfall(&self) -> Option<&Shortfall> {
        self.shortfall.as_ref()
    }
}
