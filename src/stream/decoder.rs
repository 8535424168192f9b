//! Which decoder runs: chosen by name or by rank, listed for `doctor`, and seen in the pipeline that runs.

use super::StreamError;
use super::memory;
use gst::prelude::*;
use gstreamer as gst;
use std::sync::{Arc, Mutex, PoisonError};

/// Width and height of the model's image, for those of a frame as displayed.
pub type ModelSize = Arc<dyn Fn(u32, u32) -> (u32, u32) + Send + Sync>;

/// What cameras and files hold mostly, and how GStreamer calls it.
pub const CODECS: [(&str, &str); 7] = [
    ("H.264", "video/x-h264"),
    ("H.265", "video/x-h265"),
    ("AV1", "video/x-av1"),
    ("VP8", "video/x-vp8,codec-alpha=false"),
    ("VP9", "video/x-vp9,codec-alpha=false"),
    ("MPEG-2", "video/mpeg,mpegversion=2,systemstream=false"),
    ("JPEG", "image/jpeg"),
];

/// The format that such a text means; any, where it means none.
pub fn codec_caps(text: &str) -> gst::Caps {
    text.parse().unwrap_or_else(|_| gst::Caps::new_any())
}

/// How a source is to be decoded.
#[derive(Clone, Default)]
pub struct Decoding {
    /// The decoder's element; none leaves it to the elements' ranks.
    pub decoder: Option<String>,
    /// Where nobody draws on the frames: those in a device's memory are scaled there, and only the small picture leaves it.
    pub model_size: Option<ModelSize>,
}

/// The decoder that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoder {
    pub name: String,
    /// Where its frames are: `system`, or as GStreamer calls it (`NVMM`, `CUDAMemory`).
    pub memory: String,
}

impl std::fmt::Display for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.memory == memory::SYSTEM {
            true => f.write_str(&self.name),
            false => write!(f, "{} (frames in {})", self.name, self.memory),
        }
    }
}

impl Decoding {
    /// Whether the decoder asked for is one, and is installed.
    pub fn check(&self) -> Result<(), StreamError> {
        let Some(name) = &self.decoder else { return Ok(()) };
        if gst::ElementFactory::find(name).is_some_and(|factory| is_decoder(&factory)) {
            return Ok(());
        }
        let listed = CODECS.iter().map(|(codec, caps)| (codec, decoders(&codec_caps(caps))));
        let listed = listed.filter(|(_, found)| !found.is_empty());
        let installed = listed.map(|(codec, found)| format!("for {codec} {}", names(&found))).collect::<Vec<_>>();
        let installed = installed.join("; ");
        Err(StreamError::Decoder(format!("there is no video decoder {name} here; installed: {installed}")))
    }

    /// Makes every `decodebin` and `uridecodebin` of the pipeline, now or later in it, take the decoder asked for.
    pub(super) fn guide(&self, pipeline: &gst::Pipeline) -> Misfit {
        let misfit = Misfit::default();
        let choose = {
            let (wanted, misfit) = (self.decoder.clone(), misfit.clone());
            move |element: &gst::Element| choose_in(element, wanted.clone(), misfit.clone())
        };
        pipeline.iterate_recurse().into_iter().flatten().for_each(|element| choose(&element));
        pipeline.connect_deep_element_added(move |_, _, element| choose(element));
        misfit
    }
}

/// Why the decoder asked for could not be taken, once that is known.
#[derive(Clone, Default)]
pub(super) struct Misfit(Arc<Mutex<Option<String>>>);

impl Misfit {
    pub(super) fn why(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn choose_in(element: &gst::Element, wanted: Option<String>, misfit: Misfit) {
    if element.factory().is_none_or(|factory| !["decodebin", "uridecodebin"].contains(&factory.name().as_str())) {
        return;
    }
    element.connect("autoplug-factories", false, move |values| {
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok())?;
        let (chosen, why) = candidates(&caps, wanted.as_deref());
        if why.is_some() {
            *misfit.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
        }
        Some(gst::glib::ValueArray::new(chosen).to_value())
    });
}

/// What may come next in the pipeline after this format, in the order in which it is tried: parsers, then by rank, hardware first
/// among equals. Of the video decoders only the one that is wanted, whatever its rank; why not even that, where it does not fit.
fn candidates(caps: &gst::Caps, wanted: Option<&str>) -> (Vec<gst::ElementFactory>, Option<String>) {
    let fits = |factory: &gst::ElementFactory| match caps.is_fixed() {
        true => factory.can_sink_all_caps(caps),
        false => factory.can_sink_any_caps(caps),
    };
    let kinds = gst::ElementFactoryType::DECODABLE;
    let mut found: Vec<_> =
        gst::ElementFactory::factories_with_type(kinds, gst::Rank::MARGINAL).into_iter().filter(fits).collect();
    let mut why = None;
    if let Some(wanted) = wanted {
        let count = found.len();
        found.retain(|factory| !is_decoder(factory) || factory.name() == wanted);
        let is_video = found.len() < count;
        match gst::ElementFactory::find(wanted) {
            Some(factory) if fits(&factory) && !found.contains(&factory) => found.push(factory),
            Some(factory) if is_video && !factory.can_sink_any_caps(&codec_of(caps)) => {
                let codec = caps.structure(0).map_or_else(String::new, |format| format.name().to_string());
                let installed = names(&decoders(&codec_of(caps)));
                why = Some(format!("the decoder {wanted} does not decode {codec}; installed for it: {installed}"));
            }
            _ => {}
        }
    }
    sort(&mut found);
    (found, why)
}

fn sort(factories: &mut [gst::ElementFactory]) {
    let is_parser = |factory: &gst::ElementFactory| factory.has_type(gst::ElementFactoryType::PARSER);
    factories.sort_by_key(|factory| {
        let rank = std::cmp::Reverse(i32::from(factory.rank()));
        (!is_parser(factory), rank, !is_hardware(factory), factory.name().to_string())
    });
}

/// A format without what only a parser settles, such as how the stream is cut up.
fn codec_of(caps: &gst::Caps) -> gst::Caps {
    let Some(format) = caps.structure(0) else { return caps.clone() };
    let mut codec = gst::Structure::new_empty(format.name());
    for field in ["mpegversion", "systemstream"] {
        if let Ok(value) = format.value(field) {
            codec.set_value(field, value.to_send_value());
        }
    }
    gst::Caps::builder_full().structure(codec).build()
}

/// Whether an element decodes video or pictures.
pub fn is_decoder(factory: &gst::ElementFactory) -> bool {
    factory.metadata("klass").is_some_and(is_decoder_class)
}

fn is_decoder_class(class: &str) -> bool {
    class.contains("Decoder") && (class.contains("Video") || class.contains("Image"))
}

fn is_hardware(factory: &gst::ElementFactory) -> bool {
    factory.metadata("klass").is_some_and(|class| class.contains("Hardware")) || memory::of(factory) != memory::SYSTEM
}

fn all(rank: gst::Rank) -> Vec<gst::ElementFactory> {
    let kinds = gst::ElementFactoryType::DECODER;
    gst::ElementFactory::factories_with_type(kinds, rank).into_iter().filter(is_decoder).collect()
}

/// The decoders for a format that are installed, in the order in which they are tried.
pub fn decoders(codec: &gst::Caps) -> Vec<gst::ElementFactory> {
    let mut found = all(gst::Rank::MARGINAL);
    found.retain(|factory| factory.can_sink_any_caps(codec));
    sort(&mut found);
    found
}

fn names(factories: &[gst::ElementFactory]) -> String {
    let names: Vec<_> = factories.iter().map(|factory| factory.name().to_string()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The video decoder at work in a pipeline; none where frames come undecoded, or before the first one.
pub(super) fn running(pipeline: &gst::Pipeline) -> Option<Decoder> {
    let is_decoder = |element: &gst::Element| element.metadata("klass").is_some_and(is_decoder_class);
    // Some decoders are made of others.
    let is_inner = |element: &gst::Element| {
        let parents = std::iter::successors(element.parent(), |parent| parent.parent());
        parents.filter_map(|parent| parent.downcast::<gst::Element>().ok()).any(|parent| is_decoder(&parent))
    };
    let elements = pipeline.iterate_recurse().into_iter().flatten();
    elements.filter(|element| is_decoder(element) && !is_inner(element)).find_map(|element| {
        let caps = element.static_pad("src")?.current_caps()?;
        let name = element.factory()?.name().to_string();
        Some(Decoder { name, memory: memory::shown(&caps) })
    })
}
