//! Annotated video in a window, as it comes.

use super::picture_of;
use crate::engine::sink::{Message, Sink, SinkError, Wish};
use crate::stream::StreamError;
use crate::stream::display::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shows one source. Closing its window ends the run.
pub struct WindowSink {
    display: Option<Display>,
    is_paced: bool,
    first_ns: Option<u64>,
    stop: Arc<AtomicBool>,
}

impl WindowSink {
    /// An error where there is no display; the window opens with the first picture, and closing it sets `stop`. Pictures are shown when
    /// their time has come (`is_paced`), or as they come.
    pub fn new(stop: Arc<AtomicBool>, is_paced: bool) -> Result<Self, StreamError> {
        display::require()?;
        Ok(Self { display: None, is_paced, first_ns: None, stop })
    }
}

impl Sink for WindowSink {
    fn name(&self) -> String {
        "--display".into()
    }

    fn wish(&self) -> Wish {
        Box::new(|_| true)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        let Some(picture) = picture_of(message) else { return Ok(()) };
        let display = match self.display.take() {
            Some(display) => display,
            None => Display::open(&picture.info, self.is_paced)?,
        };
        let first_ns = *self.first_ns.get_or_insert(picture.pts_ns);
        let pts_ns = picture.pts_ns.saturating_sub(first_ns);
        let is_open = display.push(picture.buffer.clone(), pts_ns)?;
        self.stop.fetch_or(!is_open, Ordering::Relaxed);
        self.display = Some(display);
        Ok(())
    }
}
