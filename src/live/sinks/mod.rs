//! The sinks: annotated video in files ([`file`]), over RTSP ([`rtsp`]), pushed to an address ([`push`]), in a window
//! ([`window`]), and the records ([`records`]).

pub mod file;
pub mod push;
pub mod records;
pub mod rtsp;
pub mod window;

mod encoding;

use super::sink::{Message, Picture};

/// The picture of a message that has one.
fn picture_of(message: &Message) -> Option<&Picture> {
    match message {
        Message::Frame { picture, .. } => picture.as_ref(),
        Message::State(_) => None,
    }
}
