//! Frames as JPEG files, one at a time, on the caller's thread.

use super::frame::{Converter, Frame};
use super::{StreamError, init, make};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use std::sync::{Arc, Mutex, PoisonError};

/// 0 to 100, as libjpeg counts.
const QUALITY: i32 = 80;
/// What the encoder gets: GStreamer converts 4:2:0 to it faster than to packed RGB.
const FORMAT: gst_video::VideoFormat = gst_video::VideoFormat::Bgrx;

/// Makes JPEG files of the frames of one video.
#[derive(Default)]
pub struct JpegEncoder {
    current: Option<Current>,
    /// Pixels of the longer side of a file; of larger frames smaller pictures are made.
    most: Option<u32>,
}

/// For frames of one layout.
struct Current {
    info: gst_video::VideoInfo,
    converter: Converter,
    encoder: gst::Element,
    /// Linked to the encoder's: it is called without a pipeline and its threads.
    entry: gst::Pad,
    exit: gst::Pad,
    file: Arc<Mutex<Option<Vec<u8>>>>,
}

impl JpegEncoder {
    /// Says which package is missing, where one is.
    pub fn check() -> Result<(), StreamError> {
        init()?;
        make("jpegenc", "to show pictures").map(drop)
    }

    /// Of files whose longer side is at most so many pixels.
    pub fn within(most: u32) -> Self {
        Self { current: None, most: Some(most) }
    }

    /// A JPEG file of the frame in its displayed size, or within the bound.
    pub fn encode(&mut self, frame: &Frame) -> Result<Vec<u8>, StreamError> {
        if self.current.as_ref().is_none_or(|current| current.info != frame.info) {
            let (width, height) = frame.display_size();
            let longer = u64::from(width.max(height));
            let most = self.most.map_or(longer, |most| longer.min(most.into()));
            let within = |side: u32| ((u64::from(side) * most / longer.max(1)) as u32).max(1);
            self.current = Some(Current::new(frame, (within(width), within(height)))?);
        }
        let result = self.current.as_mut().map_or(Ok(None), |current| current.encode(frame));
        if let Ok(Some(file)) = result {
            return Ok(file);
        }
        self.current = None;
        let why = result.err().unwrap_or_else(|| "the encoder gave nothing".into());
        Err(fault(frame, &why))
    }
}

impl Current {
    fn new(frame: &Frame, (width, height): (u32, u32)) -> Result<Self, StreamError> {
        init()?;
        // JPEG has its own range and matrix: through RGB the colours stay right.
        let converter = Converter::new(FORMAT, (width, height), (width, height));
        let encoder = make("jpegenc", "to show pictures")?;
        encoder.set_property("quality", QUALITY);
        let file = Arc::new(Mutex::new(None));
        let kept = file.clone();
        let entry = gst::Pad::new(gst::PadDirection::Src);
        let exit = gst::Pad::builder(gst::PadDirection::Sink)
            .chain_function(move |_, _, buffer| {
                let bytes = buffer.map_readable().map_err(|_| gst::FlowError::Error)?.to_vec();
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
                Ok(gst::FlowSuccess::Ok)
            })
            .event_function(|_, _, _| true)
            .build();
        // From here on the drop of `made` undoes what is begun.
        let made = Self { info: frame.info.clone(), converter, encoder, entry, exit, file };
        made.begin(width, height).ok_or_else(|| fault(frame, "the encoder does not start"))?;
        Ok(made)
    }

    fn begin(&self, width: u32, height: u32) -> Option<()> {
        self.entry.link(&self.encoder.static_pad("sink")?).ok()?;
        self.encoder.static_pad("src")?.link(&self.exit).ok()?;
        self.exit.set_active(true).ok()?;
        self.encoder.set_state(gst::State::Playing).ok()?;
        self.entry.set_active(true).ok()?;
        let caps = gst_video::VideoInfo::builder(FORMAT, width, height)
            .fps(gst::Fraction::new(0, 1))
            .build()
            .and_then(|info| info.to_caps())
            .ok()?;
        let time = gst::FormattedSegment::<gst::ClockTime>::new();
        let events =
            [gst::event::StreamStart::new("jpeg"), gst::event::Caps::new(&caps), gst::event::Segment::new(&time)];
        events.into_iter().all(|event| self.entry.push_event(event)).then_some(())
    }

    fn encode(&mut self, frame: &Frame) -> Result<Option<Vec<u8>>, String> {
        let (buffer, _) = self.converter.convert(frame).map_err(|error| error.to_string())?;
        self.entry.push(buffer).map_err(|error| format!("the encoder failed: {error}"))?;
        Ok(self.file.lock().unwrap_or_else(PoisonError::into_inner).take())
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        self.entry.set_active(false).ok();
        self.encoder.set_state(gst::State::Null).ok();
        self.exit.set_active(false).ok();
    }
}

fn fault(frame: &Frame, why: &str) -> StreamError {
    StreamError::Output { output: format!("the JPEG of frame {}", frame.index), why: why.to_owned() }
}
