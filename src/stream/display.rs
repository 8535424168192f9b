//! The annotated video in a window.

use super::{StreamError, bus_error, launch};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

const WINDOW: &str = include_str!("../../pipelines/window.launch");
/// How long a window that shows frames as they come may take none.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to close.
const GOODBYE: Duration = Duration::from_secs(2);

/// A window.
pub struct Display {
    pipeline: gst::Pipeline,
    video: gst_app::AppSrc,
    is_closed: Arc<AtomicBool>,
    /// A paced frame waits for its time, however long that is.
    patience: Duration,
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
        let patience = if paced { Duration::MAX } else { PATIENCE };
        let display = Self { pipeline, video, is_closed: Arc::default(), patience };
        display
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| fault(bus_error(&display.pipeline).unwrap_or_else(|| "no window can be opened".into())))?;
        let is_closed = display.is_closed.clone();
        let bus = display.pipeline.bus().ok_or_else(|| fault("the pipeline has no bus".into()))?;
        bus.set_sync_handler(move |_, message| {
            // What X11's sinks say when somebody closes their window.
            if let gst::MessageView::Error(error) = message.view()
                && error.error().matches(gst::ResourceError::NotFound)
            {
                is_closed.store(true, Ordering::Relaxed);
            }
            gst::BusSyncReply::Pass
        });
        Ok(display)
    }

    /// Shows a frame; says whether the window is still open.
    pub fn push(&self, mut buffer: gst::Buffer, pts_ns: u64) -> Result<bool, StreamError> {
        buffer.make_mut().set_pts(gst::ClockTime::from_nseconds(pts_ns));
        match super::push_when_ready(&self.pipeline, &self.video, buffer, self.patience) {
            Ok(()) => Ok(true),
            Err(_) if self.is_closed.load(Ordering::Relaxed) => Ok(false),
            Err(why) => Err(fault(why)),
        }
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
        let (to_here, gone) = sync_channel(1);
        self.pipeline.call_async(move |pipeline| {
            pipeline.set_state(gst::State::Null).ok();
            to_here.send(()).ok();
        });
        // A screen that answers no more would keep it for ever.
        gone.recv_timeout(GOODBYE).ok();
    }
}
