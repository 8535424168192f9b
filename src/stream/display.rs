//! The annotated video in a window.

use super::{StreamError, bus_error, launch};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

const WINDOW: &str = include_str!("../../pipelines/window.launch");

/// A window.
pub struct Display {
    pipeline: gst::Pipeline,
    video: gst_app::AppSrc,
}

impl Display {
    /// Opens a window for frames of this layout. They are shown when their time has come, or, where not `paced`, as they come.
    pub fn open(info: &gst_video::VideoInfo, paced: bool) -> Result<Self, StreamError> {
        require()?;
        let pipeline = launch::pipeline(WINDOW, "to show the annotated video")?;
        if let Some(out) = pipeline.by_name("out") {
            out.set_property("sync", paced);
        }
        let video = pipeline.by_name("pictures").and_then(|element| element.downcast::<gst_app::AppSrc>().ok());
        let video = video.ok_or_else(|| fault("no appsrc".into()))?;
        video.set_caps(Some(&info.to_caps().map_err(|error| fault(error.message.to_string()))?));
        let display = Self { pipeline, video };
        display
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| fault(bus_error(&display.pipeline).unwrap_or_else(|| "no window can be opened".into())))?;
        Ok(display)
    }

    /// Shows a frame.
    pub fn push(&self, mut buffer: gst::Buffer, pts_ns: u64) -> Result<(), StreamError> {
        buffer.make_mut().set_pts(gst::ClockTime::from_nseconds(pts_ns));
        super::push_when_ready(&self.pipeline, &self.video, buffer).map_err(fault)
    }
}

/// An error where there is no display to open a window on.
pub fn require() -> Result<(), StreamError> {
    if ["DISPLAY", "WAYLAND_DISPLAY"].iter().all(|name| std::env::var_os(name).is_none()) {
        return Err(fault("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); use -o FILE.mp4".into()));
    }
    Ok(())
}

fn fault(why: String) -> StreamError {
    StreamError::Output { output: "--display".into(), why }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}
