//! Elements named as NVIDIA's are on a Jetson, with the formats and memory that these have there, made of software: what they hand
//! each other is labelled as NVMM, which no other element takes. The formats are among those that a published listing of a Jetson's gst-inspect-1.0 shows.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use gstreamer_base::subclass::prelude::*;
use std::sync::LazyLock;

const NVMM: &str = "memory:NVMM";
const ANY_SIZE: &str = "width=[1,2147483647],height=[1,2147483647],framerate=[0/1,2147483647/1]";
/// What the converter takes and gives, of both kinds of memory.
const FORMATS: &str = "{ I420, UYVY, YUY2, YVYU, NV12, NV16, NV24, GRAY8, BGRx, RGBA, Y42B, Y444 }";
/// Of the real decoder: above every software decoder.
const RANK: i32 = 256 + 11;

fn templates(sink: &str, src: &str) -> Vec<gst::PadTemplate> {
    let template = |name, direction, caps: &str| {
        let caps: gst::Caps = caps.parse().unwrap();
        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).unwrap()
    };
    vec![template("sink", gst::PadDirection::Sink, sink), template("src", gst::PadDirection::Src, src)]
}

/// Labels pictures as NVMM, or takes the label off.
#[derive(Default)]
pub struct Label;

#[glib::object_subclass]
impl ObjectSubclass for Label {
    const NAME: &'static str = "TestNvmmLabel";
    type Type = LabelElement;
    type ParentType = gstreamer_base::BaseTransform;
}

glib::wrapper! {
    pub struct LabelElement(ObjectSubclass<Label>)
        @extends gstreamer_base::BaseTransform, gst::Element, gst::Object;
}

impl ObjectImpl for Label {}
impl GstObjectImpl for Label {}

impl ElementImpl for Label {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> =
            LazyLock::new(|| gst::subclass::ElementMetadata::new("Label", "Generic", "Labels memory", "tests"));
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let both = "video/x-raw; video/x-raw(memory:NVMM)";
            templates(both, both)
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for Label {
    const MODE: gstreamer_base::subclass::BaseTransformMode =
        gstreamer_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn transform_caps(&self, _: gst::PadDirection, caps: &gst::Caps, filter: Option<&gst::Caps>) -> Option<gst::Caps> {
        let mut other = gst::Caps::new_empty();
        for (structure, features) in caps.iter_with_features() {
            let is_device = features.contains(NVMM);
            let features = if is_device { gst::CapsFeatures::new_empty() } else { gst::CapsFeatures::new([NVMM]) };
            other.make_mut().append_structure_full(structure.to_owned(), Some(features));
        }
        Some(
            filter.map_or_else(
                || other.clone(),
                |filter| filter.intersect_with_mode(&other, gst::CapsIntersectMode::First),
            ),
        )
    }

    fn transform_ip(&self, _: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        Ok(gst::FlowSuccess::Ok)
    }
}

/// Fills a bin with elements, the pads of its templates at their ends.
fn fill(bin: &gst::Bin, parts: &[gst::Element]) {
    bin.add_many(parts).unwrap();
    gst::Element::link_many(parts).unwrap();
    for (name, part) in [("sink", &parts[0]), ("src", &parts[parts.len() - 1])] {
        let template = bin.pad_template(name).unwrap();
        let pad = gst::GhostPad::from_template_with_target(&template, &part.static_pad(name).unwrap()).unwrap();
        bin.add_pad(&pad).unwrap();
    }
}

fn element(line: &str) -> gst::Element {
    gst::parse::bin_from_description(line, true).unwrap().upcast()
}

/// H.264 as a byte stream in, NV12 in NVMM out, and nothing else.
#[derive(Default)]
pub struct Decoder;

#[glib::object_subclass]
impl ObjectSubclass for Decoder {
    const NAME: &'static str = "TestNvV4l2Decoder";
    type Type = DecoderElement;
    type ParentType = gst::Bin;
}

glib::wrapper! {
    pub struct DecoderElement(ObjectSubclass<Decoder>) @extends gst::Bin, gst::Element, gst::Object;
}

impl ObjectImpl for Decoder {
    fn constructed(&self) {
        self.parent_constructed();
        let label: gst::Element = glib::Object::new::<LabelElement>().upcast();
        let decode = element("avdec_h264 ! videoconvert ! capsfilter caps=video/x-raw,format=NV12");
        fill(self.obj().upcast_ref(), &[decode, label]);
    }
}
impl GstObjectImpl for Decoder {}
impl BinImpl for Decoder {}

impl ElementImpl for Decoder {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new("Decoder", "Codec/Decoder/Video", "Stands for nvv4l2decoder", "tests")
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let sink = "video/x-h264,stream-format=byte-stream,alignment=au";
            templates(sink, &format!("video/x-raw(memory:NVMM),{ANY_SIZE}"))
        });
        &TEMPLATES
    }
}

/// Scales and converts, from NVMM or the CPU's memory to the CPU's.
#[derive(Default)]
pub struct Converter;

#[glib::object_subclass]
impl ObjectSubclass for Converter {
    const NAME: &'static str = "TestNvVidConv";
    type Type = ConverterElement;
    type ParentType = gst::Bin;
}

glib::wrapper! {
    pub struct ConverterElement(ObjectSubclass<Converter>) @extends gst::Bin, gst::Element, gst::Object;
}

impl ObjectImpl for Converter {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> =
            LazyLock::new(|| vec![glib::ParamSpecInt::builder("interpolation-method").maximum(5).build()]);
        &PROPERTIES
    }

    fn property(&self, _: usize, _: &glib::ParamSpec) -> glib::Value {
        0i32.to_value()
    }

    fn set_property(&self, _: usize, _: &glib::Value, _: &glib::ParamSpec) {}

    fn constructed(&self) {
        self.parent_constructed();
        let label: gst::Element = glib::Object::new::<LabelElement>().upcast();
        fill(self.obj().upcast_ref(), &[label, element("videoconvert ! videoscale")]);
    }
}
impl GstObjectImpl for Converter {}
impl BinImpl for Converter {}

impl ElementImpl for Converter {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            let class = "Filter/Converter/Video/Scaler";
            gst::subclass::ElementMetadata::new("Converter", class, "Stands for nvvidconv", "tests")
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let both = format!(
                "video/x-raw(memory:NVMM),format={FORMATS},{ANY_SIZE}; video/x-raw,format={FORMATS},{ANY_SIZE}"
            );
            templates(&both, &both)
        });
        &TEMPLATES
    }
}

/// From now on this process has the decoder, and the converter too where it is wanted.
pub fn install() {
    gst::init().unwrap();
    let rank = gst::Rank::from(RANK);
    gst::Element::register(None, "nvv4l2decoder", rank, DecoderElement::static_type()).unwrap();
    gst::Element::register(None, "nvvidconv", gst::Rank::PRIMARY, ConverterElement::static_type()).unwrap();
}
