//! Where finished frames go, each a plug of the engine: annotated video in one file ([`mp4`]) or in files as long as the source lives
//! ([`mod@file`]), over RTSP ([`rtsp`]), pushed to an address ([`push`]), in a window ([`window`]), the records ([`records`]), and what
//! happened, with a picture of each ([`event_store`]); as devices of Home Assistant ([`home_assistant`]).

pub mod broker;
pub mod event_store;
pub mod file;
#[cfg(feature = "mqtt")]
pub mod home_assistant;
pub mod jsonl;
pub mod mp4;
pub mod push;
pub mod records;
pub mod rtsp;
pub mod segments;
pub mod window;

mod encoding;
mod event_pictures;

use crate::engine::sink::{Message, Picture};

/// The picture of a message that has one.
fn picture_of(message: &Message) -> Option<&Picture> {
    match message {
        Message::Frame { picture, .. } => picture.as_ref(),
        Message::Event(_) | Message::State(_) | Message::End(_) => None,
    }
}
