//! Whether what a web server gives is a file or goes on without end: by the head of its answer.

use gst::prelude::*;
use gstreamer as gst;

/// How long a server may take to answer.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(5);
/// Kinds of bodies that are followed however long they are: parts one after the other, and lists of what else to read.
const FOLLOWED: [&str; 3] = ["multipart/", "mpegurl", "dash+xml"];

/// Asks the server at an address; false where it does not answer.
pub(super) fn has_length_at(url: &str) -> bool {
    let ask = || {
        let source = gst::Element::make_from_uri(gst::URIType::Src, url, None).ok()?;
        let sink = gst::ElementFactory::make("fakesink").build().ok()?;
        if source.find_property("timeout").is_some() {
            source.set_property("timeout", PATIENCE.seconds() as u32);
            source.set_property("retries", 0);
        }
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&source, &sink]).and_then(|()| source.link(&sink)).ok()?;
        // It is up once the first bytes are there.
        let is_up = pipeline.set_state(gst::State::Paused).is_ok() && pipeline.state(PATIENCE).0.is_ok();
        let has_length = is_up && has_length(&source);
        pipeline.set_state(gst::State::Null).ok();
        Some(has_length)
    };
    ask().unwrap_or(false)
}

/// Whether what an element reads from a web server has a length.
pub(super) fn has_length(source: &gst::Element) -> bool {
    let Some(pad) = source.static_pad("src") else { return false };
    let mut has_length = false;
    pad.sticky_events_foreach(|event| {
        let head = event.structure().filter(|structure| structure.name() == "http-headers");
        if let Some(answer) = head.and_then(|head| head.get::<gst::Structure>("response-headers").ok()) {
            let field = |name: &str| {
                let value = answer.iter().find(|(field, _)| field.eq_ignore_ascii_case(name))?.1;
                value.get::<String>().ok()
            };
            let kind = field("content-type").unwrap_or_default().to_ascii_lowercase();
            let is_followed = FOLLOWED.iter().any(|followed| kind.contains(followed));
            has_length = field("content-length").is_some() && !is_followed;
        }
        std::ops::ControlFlow::Continue(gst::EventForeachAction::Keep)
    });
    has_length
}
