//! The annotated video in a window, at its own speed.

use super::{StreamError, bus_error};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

/// A window.
pub struct Display {
    pipeline: gst::Pipeline,
    video: gst_app::AppSrc,
}

impl Display {
    /// Opens a window for frames of this layout.
    pub fn open(info: &gst_video::VideoInfo) -> Result<Self, StreamError> {
        let fail = |why: String| StreamError::Output { output: "--display".into(), why };
        if ["DISPLAY", "WAYLAND_DISPLAY"].iter().all(|name| std::env::var_os(name).is_none()) {
            return Err(fail("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); use -o FILE.mp4".into()));
        }
        let description = "appsrc name=video format=time block=true max-buffers=2 max-bytes=0 ! videoconvert ! autovideosink";
        let pipeline = gst::parse::launch(description).map_err(|error| fail(error.message().to_owned()))?;
        let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| fail("no pipeline".into()))?;
        let video = pipeline.by_name("video").and_then(|element| element.downcast::<gst_app::AppSrc>().ok());
        let video = video.ok_or_else(|| fail("no appsrc".into()))?;
        video.set_caps(Some(&info.to_caps().map_err(|error| fail(error.message.to_string()))?));
        let display = Self { pipeline, video };
        display.pipeline.set_state(gst::State::Playing).map_err(|_| display.failure())?;
        Ok(display)
    }

    /// Shows a frame when its time has come.
    pub fn push(&self, mut buffer: gst::Buffer, pts_ns: u64) -> Result<(), StreamError> {
        buffer.make_mut().set_pts(gst::ClockTime::from_nseconds(pts_ns));
        self.video.push_buffer(buffer).map(drop).map_err(|_| self.failure())
    }

    fn failure(&self) -> StreamError {
        let why = bus_error(&self.pipeline).unwrap_or_else(|| "the window was closed".into());
        StreamError::Output { output: "--display".into(), why }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}
