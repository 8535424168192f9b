//! Annotated video in a window, as it comes.

use super::picture_of;
use crate::live::sink::{Message, Sink, Wish};
use crate::stream::display::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shows one source. Closing its window ends the run.
pub struct WindowSink {
    display: Option<Display>,
    stop: Arc<AtomicBool>,
}

impl WindowSink {
    /// An error where there is no display; the window opens with the first picture, and closing it sets `stop`.
    pub fn new(stop: Arc<AtomicBool>) -> Result<Self, String> {
        display::require().map_err(|error| error.to_string())?;
        Ok(Self { display: None, stop })
    }
}

impl Sink for WindowSink {
    fn name(&self) -> String {
        "--display".into()
    }

    fn wish(&self) -> Wish {
        Box::new(|| true)
    }

    fn take(&mut self, message: &Message) -> Result<(), String> {
        let Some(picture) = picture_of(message) else { return Ok(()) };
        let display = match self.display.take() {
            Some(display) => display,
            None => Display::open(&picture.info, false).map_err(|error| error.to_string())?,
        };
        let is_open = display.push(picture.buffer.clone(), picture.pts_ns).map_err(|error| error.to_string())?;
        self.stop.fetch_or(!is_open, Ordering::Relaxed);
        self.display = Some(display);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), String> {
        Ok(())
    }
}
