//! Frames in a device's memory: which elements scale them there and bring them to the CPU. The one table of it.

use super::StreamError;
use super::decoder::Decoding;
use super::frame::displayed;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use std::sync::{Arc, Mutex, PoisonError};

/// What the memory of the CPU is called here.
pub const SYSTEM: &str = "system";

/// How frames leave a kind of memory.
struct Recipe {
    /// The feature of the decoder's caps.
    feature: &'static str,
    /// Elements that scale, convert and bring to the CPU, as a launch line: the first whose elements are installed and take the memory.
    by: &'static [&'static str],
    /// Formats of the small picture, without halved colours where the device can; of the whole one, to be drawn on, it is NV12.
    small: &'static str,
}

/// `nvvidconv`'s own default is the nearest pixel, which makes small pictures of large frames jagged; 2 is its filter of 5 taps, and
/// 1 of `nvvideoconvert` (DeepStream) is bilinear.
const RECIPES: [Recipe; 4] = [
    Recipe {
        feature: "memory:NVMM",
        by: &["nvvidconv interpolation-method=2", "nvvideoconvert interpolation-method=1"],
        small: "RGBA",
    },
    Recipe {
        feature: "memory:CUDAMemory",
        by: &[
            "cudaconvertscale add-borders=false ! cudadownload",
            "cudaconvert ! cudascale add-borders=false ! cudadownload",
        ],
        small: "RGBA",
    },
    Recipe { feature: "memory:VAMemory", by: &["vapostproc"], small: "{ RGBA, BGRA, RGBx, BGRx, NV12 }" },
    Recipe { feature: "memory:DMABuf", by: &["vapostproc", "v4l2convert"], small: "{ RGBA, BGRx, RGB, NV12, I420 }" },
];

/// Names in front of the kind of memory in GStreamer's features.
const PREFIX: &str = "memory:";

impl Recipe {
    /// The elements that are here and take this memory.
    fn installed(&self) -> Option<&'static str> {
        let wanted = gst::Caps::builder("video/x-raw").features([self.feature]).build();
        self.by.iter().copied().find(|line| {
            let mut factories = line.split(" ! ").map(|part| gst::ElementFactory::find(part.split(' ').next()?));
            let takes = |factory: &gst::ElementFactory| factory.can_sink_any_caps(&wanted);
            factories.next().flatten().as_ref().is_some_and(takes) && factories.all(|factory| factory.is_some())
        })
    }
}

/// The kinds of memory in a pad's caps: other than the CPU's, and whether that is among them.
fn kinds(caps: &gst::CapsRef) -> (Vec<String>, bool) {
    let (mut devices, mut has_system) = (Vec::new(), false);
    for (structure, features) in caps.iter_with_features() {
        if !structure.name().starts_with("video/x-raw") {
            continue;
        }
        match features.iter().find(|feature| feature.starts_with(PREFIX) && *feature != "memory:SystemMemory") {
            Some(feature) if !features.is_any() => devices.push(feature.to_string()),
            _ => has_system = true,
        }
    }
    (devices, has_system)
}

/// The memory that a decoder's frames are taken in: a device's where it gives them there and its scaler is here.
pub fn of(factory: &gst::ElementFactory) -> String {
    let (devices, has_system) = factory
        .static_pad_templates()
        .iter()
        .filter(|t| t.direction() == gst::PadDirection::Src)
        .fold((Vec::new(), false), |(mut devices, has_system), template| {
            let (more, system) = kinds(&template.caps());
            devices.extend(more);
            (devices, has_system || system)
        });
    let known = devices.iter().find(|device| recipe(device).is_some());
    let device = known.or(devices.first().filter(|_| !has_system));
    device.map_or(SYSTEM.into(), |device| device.trim_start_matches(PREFIX).to_owned())
}

/// The memory of these caps, as it is shown.
pub(super) fn shown(caps: &gst::CapsRef) -> String {
    kinds(caps).0.first().map_or(SYSTEM.into(), |device| device.trim_start_matches(PREFIX).to_owned())
}

fn recipe(device: &str) -> Option<(&'static Recipe, &'static str)> {
    let recipe = RECIPES.iter().find(|recipe| recipe.feature == device)?;
    Some((recipe, recipe.installed()?))
}

/// The elements that bring frames of this memory to the CPU, as a launch line, for those who want to know.
pub fn elements_for(memory: &str) -> Option<&'static str> {
    recipe(&format!("{PREFIX}{memory}")).map(|(_, line)| line)
}

/// Links decoded frames to what takes them in the CPU's memory, `entry`, through the device's scaler where they are in a device's.
///
/// The size of the frames is known when they come; `sink` is then told the one they had, see [`native_size`].
pub(super) fn link(
    pipeline: &gst::Pipeline,
    decoded: &gst::Pad,
    entry: &gst::Element,
    sink: &gst_app::AppSink,
    decoding: &Decoding,
) -> Result<(), StreamError> {
    let start = |error: &dyn std::fmt::Display| StreamError::Start(format!("frames of the decoder: {error}"));
    let into = entry.static_pad("sink").ok_or_else(|| start(&"nothing takes them"))?;
    let (devices, has_system) = kinds(&decoded.query_caps(None));
    // A decoder that can give whole frames to the CPU itself needs no help with it.
    let is_wanted = !has_system || decoding.model_size.is_some();
    let Some((recipe, line)) = devices.iter().filter(|_| is_wanted).find_map(|device| recipe(device)) else {
        if let (Some(device), false) = (devices.first(), has_system) {
            let known = RECIPES.iter().find(|recipe| recipe.feature == device).and_then(|recipe| recipe.by.first());
            let element = known.map_or("for it", |line| line.split(' ').next().unwrap_or(line));
            return Err(StreamError::Decoder(format!(
                "the decoder gives frames in {device} only, and the element that brings them to the CPU ({element}) is missing: \
                 install it, or choose another decoder with --decoder"
            )));
        }
        return decoded.link(&into).map(drop).map_err(|error| start(&error));
    };
    let line = format!("capsfilter caps=video/x-raw({}) ! {line} ! capsfilter name=picture", recipe.feature);
    let scaler = gst::parse::bin_from_description(&line, true).map_err(|error| start(&error.message()))?;
    let (from, filter) = (scaler.static_pad("sink"), scaler.by_name("picture"));
    let (Some(from), Some(filter)) = (from, filter) else { return Err(start(&"no scaler")) };

    let native = Arc::new(Mutex::new(None));
    let (seen, model_size, small) = (native.clone(), decoding.model_size.clone(), recipe.small);
    from.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::EventView::Caps(event)) = info.event().map(|event| event.view())
            && let Some(target) = Target::of(event.caps(), model_size.as_deref(), small)
        {
            filter.set_property("caps", target.caps);
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = target.native;
        }
        gst::PadProbeReturn::Ok
    });
    if let Some(pad) = sink.static_pad("sink") {
        // Nothing waits between the scaler and the sink: the last size seen is that of the frames to come.
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            let native = *native.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(event), Some(native)) = (info.event_mut(), native)
                && let gst::EventView::Caps(caps) = event.view()
            {
                *event = gst::event::Caps::builder(&marked(caps.caps(), native)).seqnum(event.seqnum()).build();
            }
            gst::PadProbeReturn::Ok
        });
    }
    pipeline.add(&scaler).map_err(|error| start(&error))?;
    let element: gst::Element = scaler.upcast();
    element.link(entry).map_err(|error| start(&error))?;
    element.sync_state_with_parent().map_err(|error| start(&error))?;
    decoded.link(&from).map(drop).map_err(|error| start(&error))
}

/// Links the first video that comes out of a `decodebin`, like [`link`]; later ones stay unlinked, and their decoders stop. What
/// does not fit is an error of the pipeline.
pub(super) fn link_first(
    pipeline: &gst::Pipeline,
    decode: &gst::Element,
    entry: &gst::Element,
    sink: &gst_app::AppSink,
    decoding: Decoding,
) {
    let (pipeline, entry, sink) = (pipeline.downgrade(), entry.downgrade(), sink.downgrade());
    decode.connect_pad_added(move |decode, pad| {
        let (Some(pipeline), Some(entry), Some(sink)) = (pipeline.upgrade(), entry.upgrade(), sink.upgrade()) else {
            return;
        };
        let is_video = pad.query_caps(None).structure(0).is_some_and(|format| format.name().starts_with("video/"));
        let is_free = entry.static_pad("sink").is_some_and(|pad| !pad.is_linked());
        if is_video
            && is_free
            && let Err(error) = link(&pipeline, pad, &entry, &sink, &decoding)
        {
            gst::element_error!(decode, gst::CoreError::Negotiation, ("{error}"));
        }
    });
}

/// What leaves the device.
struct Target {
    caps: gst::Caps,
    /// The frame as displayed, where a smaller picture leaves.
    native: Option<(u32, u32)>,
}

impl Target {
    fn of(
        caps: &gst::CapsRef,
        model_size: Option<&(dyn Fn(u32, u32) -> (u32, u32) + Send + Sync)>,
        small: &str,
    ) -> Option<Self> {
        let format = caps.structure(0)?;
        let side = |name: &str| format.get::<i32>(name).ok().and_then(|side| u32::try_from(side).ok());
        let (width, height) = (side("width")?, side("height")?);
        let pixel = format.get::<gst::Fraction>("pixel-aspect-ratio").unwrap_or_else(|_| gst::Fraction::new(1, 1));
        let native = displayed(width, height, pixel);
        // Lines of two moments must not be mixed.
        let is_progressive = format.get::<&str>("interlace-mode").is_ok_and(|mode| mode == "progressive")
            || !format.has_field("interlace-mode");
        let size = model_size.filter(|_| is_progressive).map(|size| size(native.0, native.1));
        let size = size.filter(|(w, h)| u64::from(*w) * u64::from(*h) < u64::from(width) * u64::from(height));
        let caps = match size {
            Some((width, height)) => format!("video/x-raw,format={small},width={width},height={height}"),
            None => {
                let (n, d) = (pixel.numer(), pixel.denom());
                format!("video/x-raw,format=NV12,width={width},height={height},pixel-aspect-ratio={n}/{d}")
            }
        };
        Some(Self { caps: caps.parse().ok()?, native: size.map(|_| native) })
    }
}

fn marked(caps: &gst::CapsRef, (width, height): (u32, u32)) -> gst::Caps {
    let mut caps = caps.to_owned();
    let all = caps.make_mut();
    all.set("native-width", width);
    all.set("native-height", height);
    caps
}

/// The displayed size of the frame that a picture from a device's scaler was made of; none of other pictures.
pub(super) fn native_size(caps: &gst::CapsRef) -> Option<(u32, u32)> {
    let format = caps.structure(0)?;
    Some((format.get("native-width").ok()?, format.get("native-height").ok()?))
}
