//! The pipelines of the folder `pipelines/`. Values that vary are set as properties, never written into a description.

use super::{StreamError, make, package_of};
use gst::prelude::*;
use gstreamer as gst;

/// H.264 encoders for files that are finished, and for what is watched as it comes; in the order they are tried.
pub const ENCODERS: &str = include_str!("../../pipelines/encoders.launch");
pub const LIVE_ENCODERS: &str = include_str!("../../pipelines/encoders-live.launch");

/// The lines of a file that are no comments.
pub fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// The names of the encoders in a list, in order.
pub fn encoder_names(encoders: &'static str) -> impl Iterator<Item = &'static str> {
    lines(encoders).map(|line| line.split(' ').next().unwrap_or(line))
}

/// The first encoder of a list that is installed and finds its hardware, to be made with [`encoder`].
pub fn choose_encoder(encoders: &'static str) -> Result<&'static str, StreamError> {
    let usable = |description: &&'static str| {
        encoder(description).is_ok_and(|bin| {
            let is_ready = bin.set_state(gst::State::Ready).is_ok();
            bin.set_state(gst::State::Null).ok();
            is_ready
        })
    };
    lines(encoders).find(usable).ok_or_else(|| StreamError::MissingElement {
        element: encoder_names(encoders).collect::<Vec<_>>().join(" or "),
        purpose: "to encode the annotated video".into(),
        package: package_of("x264enc"),
    })
}

/// An encoder, with the conversion to what it takes.
pub fn encoder(description: &str) -> Result<gst::Bin, StreamError> {
    let bin = gst::parse::bin_from_description(&format!("videoconvert ! {description}"), true);
    bin.map_err(|error| StreamError::Start(error.message().to_owned()))
}

/// The pipeline of a file; a missing element is named with its package.
pub fn pipeline(file: &'static str, purpose: &str) -> Result<gst::Pipeline, StreamError> {
    let description = lines(file).collect::<Vec<_>>().join(" ");
    let mut context = gst::ParseContext::new();
    let parsed = gst::parse::launch_full(&description, Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
    if let Some(element) = context.missing_elements().first() {
        make(element, purpose)?;
    }
    let element = parsed.map_err(|error| StreamError::Start(error.message().to_owned()))?;
    element.downcast().map_err(|_| StreamError::Start(format!("no pipeline: {description}")))
}
