//! A pipeline in words, for people to read: its elements in order, and the formats between them. Nothing secret: no property is shown.

use gst::prelude::*;
use gstreamer as gst;

/// What is worth knowing of a format.
const FIELDS: [&str; 7] =
    ["format", "width", "height", "framerate", "pixel-aspect-ratio", "stream-format", "interlace-mode"];
/// No path through a pipeline is longer.
const LONGEST: usize = 100;

/// The way of the frames to a sink, from where they are read: elements joined by `!`, with formats where they change.
pub(super) fn line_to(sink: &gst::Element) -> String {
    let mut parts = vec![name_of(sink)];
    let mut next = sink.static_pad("sink");
    let mut last = None;
    while let Some(pad) = next.filter(|_| parts.len() < LONGEST) {
        let Some(from) = peer_of(&pad) else { break };
        let format = from.current_caps().as_deref().and_then(format_of);
        if format.is_some() && format != last {
            // On the way up: what was noted below was first seen at the top.
            parts.extend(format.clone());
        }
        last = format;
        let Some(element) = from.parent_element() else { break };
        if name_of(&element) != "capsfilter" {
            parts.push(name_of(&element));
        }
        next = match from.is::<gst::GhostPad>() {
            true => element.static_pad("sink"),
            false => from.iterate_internal_links().into_iter().flatten().next(),
        };
    }
    parts.reverse();
    parts.join(" ! ")
}

fn name_of(element: &gst::Element) -> String {
    // Elements made without a factory are named after it, with a number.
    let name = || element.name().trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    element.factory().map_or_else(name, |factory| factory.name().to_string())
}

/// The pad on the other side, whatever bins lie between that only hold others; one that is an element of its own kind is not
/// looked into.
fn peer_of(pad: &gst::Pad) -> Option<gst::Pad> {
    let mut peer = pad.peer()?;
    for _ in 0..LONGEST {
        peer = match peer.downcast::<gst::GhostPad>() {
            Ok(ghost) if !is_plain_bin(ghost.upcast_ref()) => return Some(ghost.upcast()),
            // The way out of a bin leads into it,
            Ok(ghost) => ghost.target()?,
            // and the inner side of a way into one leads out.
            Err(other) => match other.downcast::<gst::ProxyPad>() {
                Ok(proxy) => proxy.internal()?.upcast::<gst::Pad>().peer()?,
                Err(pad) => return Some(pad),
            },
        };
    }
    None
}

fn is_plain_bin(pad: &gst::Pad) -> bool {
    let class = pad.parent_element().and_then(|bin| bin.metadata("klass").map(str::to_owned));
    class.is_none_or(|class| class.starts_with("Generic/Bin"))
}

fn format_of(caps: &gst::CapsRef) -> Option<String> {
    let (format, features) = (caps.structure(0)?, caps.features(0)?);
    let memory = if features.is_any() || features.is_equal(gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY.as_ref()) {
        String::new()
    } else {
        format!("({features})")
    };
    let fields = FIELDS.iter().filter_map(|field| {
        let value = format.value(*field).ok()?.serialize().ok()?;
        Some(format!(",{field}={value}"))
    });
    Some(format!("{}{memory}{}", format.name(), fields.collect::<String>()))
}
