//! Annotated video in a window, as it comes.

use super::picture_of;
use crate::live::sink::{Message, Sink};
use crate::stream::display::{self, Display};

/// Shows one source.
pub struct WindowSink {
    display: Option<Display>,
}

impl WindowSink {
    /// An error where there is no display; the window opens with the first picture.
    pub fn new() -> Result<Self, String> {
        display::require().map_err(|error| error.to_string())?;
        Ok(Self { display: None })
    }
}

impl Sink for WindowSink {
    fn name(&self) -> String {
        "--display".into()
    }

    fn wants_pictures(&self) -> bool {
        true
    }

    fn take(&mut self, message: &Message) -> Result<(), String> {
        let Some(picture) = picture_of(message) else { return Ok(()) };
        let display = match self.display.take() {
            Some(display) => display,
            None => Display::open(&picture.info, false).map_err(|error| error.to_string())?,
        };
        display.push(picture.buffer.clone(), picture.pts_ns).map_err(|error| error.to_string())?;
        self.display = Some(display);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), String> {
        Ok(())
    }
}
