//! `mostream doctor`: what is installed, and whether `mostream run` will work.

use super::exit::{self, Exit, Failure, Outcome};
use super::model::DeviceArgs;
use gst::prelude::*;
use gstreamer as gst;
use mostream::backbone::{
    self, Backbone, Checkpoint, Choice, Device, Feature, Placement, Precision, Question, SessionOptions, user_cache,
};
use mostream::geometry::PixelBox;
use mostream::localize::{Features, Localizer, PatchOutput};
use mostream::stream::{self, decoder, launch, memory, package_of};
use mostream::zoo::Store;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

/// Of the drawn picture, in pixels.
const SIZE: (u32, u32) = (320, 240);
/// Without any of these `run` does not work.
const NEEDED: [&str; 10] = [
    "uridecodebin",
    "appsrc",
    "appsink",
    "videoconvert",
    "deinterlace",
    "videoflip",
    "qtdemux",
    "matroskademux",
    "h264parse",
    "mp4mux",
];
/// Cameras need some of these, and live outputs others.
const LIVE: [&str; 20] = [
    "rtspsrc",
    "rtpjitterbuffer",
    "rtpptdemux",
    "rtph264depay",
    "rtph265depay",
    "h265parse",
    "v4l2src",
    "udpsrc",
    "srtsrc",
    "tsdemux",
    "souphttpsrc",
    "hlsdemux",
    "multipartdemux",
    "rawvideoparse",
    "matroskamux",
    "rtph264pay",
    "mpegtsmux",
    "udpsink",
    "srtsink",
    "jpegenc",
];
const DECODERS: [&str; 11] = [
    "nvh264dec",
    "v4l2h264dec",
    "vah264dec",
    "avdec_h264",
    "openh264dec",
    "avdec_h265",
    "vp8dec",
    "vp9dec",
    "av1dec",
    "avdec_mpeg2video",
    "jpegdec",
];

#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    /// Whether `run` will work.
    works: bool,
    /// Why not, and what to do: one line each.
    problems: Vec<String>,
    gstreamer: Option<GStreamer>,
    needed: Vec<Element>,
    /// In the order in which they are tried; found means that it starts, hardware included.
    encoders: Vec<Element>,
    decoders: Vec<Element>,
    /// What decodes each format.
    codecs: Vec<Codec>,
    /// For cameras and live outputs; files need none of them.
    live: Vec<Element>,
    onnx_runtime: Option<OnnxRuntime>,
    model: Option<Model>,
    /// Which model would be better than the bundled one.
    advice: Option<String>,
    cache: Option<Cache>,
    self_test: Option<SelfTest>,
    measured: Option<Measured>,
}

#[derive(Serialize)]
struct GStreamer {
    version: String,
    /// The folder of its plug-ins.
    plugins: Option<PathBuf>,
}

#[derive(Serialize)]
struct Element {
    name: &'static str,
    found: bool,
    /// The file of the plug-in that brings it, where found.
    plugin: Option<PathBuf>,
    /// The Debian package to install, where not found.
    package: Option<&'static str>,
}

/// The decoders of one format that start.
#[derive(Serialize)]
struct Codec {
    codec: &'static str,
    /// The one that `--decoder auto` takes.
    decoder: Option<String>,
    /// Where its frames are: `system`, or a device's memory.
    memory: Option<String>,
    /// What scales them there and brings them to the CPU.
    scaled_by: Option<&'static str>,
    /// In the order in which they are tried if it fails.
    others: Vec<String>,
}

#[derive(Serialize)]
struct OnnxRuntime {
    version: String,
    library: PathBuf,
    providers: Vec<String>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    /// Side of a patch in pixels.
    patch: u32,
}

#[derive(Serialize)]
struct Cache {
    folder: PathBuf,
    writable: bool,
}

/// What `--device auto` and `--precision auto` come to for the bundled model at its usual size.
#[derive(Serialize)]
struct Measured {
    /// None where it was not measured yet, or is asked for.
    choice: Option<Choice>,
    /// What would be measured.
    candidates: Vec<(Device, Precision)>,
}

/// A drawn picture through the backbone and the localizer.
#[derive(Serialize)]
struct SelfTest {
    /// Of the drawn object's box and the found one.
    iou: f64,
    patches: usize,
    /// What ran the model, and in which precision.
    device: String,
    precision: String,
    /// Nodes of the model that the device left to the CPU, and all.
    nodes_on_cpu: Option<(usize, usize)>,
    /// Why devices that would have been better do not work.
    passed_over: Vec<String>,
    open_ms: f64,
    inference_ms: f64,
    localize_ms: f64,
}

pub fn run(args: Args) -> Outcome {
    args.device.check_single()?;
    let report = Report::new(args.device);
    let json = args.json.then(|| serde_json::to_string_pretty(&report)).transpose().map_err(Failure::internal)?;
    exit::to_stdout(|out| match &json {
        Some(json) => writeln!(out, "{json}"),
        None => report.write(out),
    })?;
    Ok(if report.works { Exit::Done } else { Exit::Missing })
}

impl Report {
    fn new(device: DeviceArgs) -> Self {
        let mut problems = Vec::new();
        let started = stream::init().map_err(|error| problems.push(error.to_string())).is_ok();
        let all = |names: &[&'static str], is_usable: &dyn Fn(&gst::Element) -> bool| -> Vec<Element> {
            names.iter().map(|name| Element::find(name, started, is_usable)).collect()
        };
        let starts = |element: &gst::Element| {
            let is_ready = element.set_state(gst::State::Ready).is_ok();
            element.set_state(gst::State::Null).ok();
            is_ready
        };
        let needed = all(&NEEDED, &|_| true);
        let encoders = all(&launch::encoder_names(launch::ENCODERS).collect::<Vec<_>>(), &starts);
        let decoders = all(&DECODERS, &starts);
        let codecs = if started { Codec::all(&starts) } else { Vec::new() };
        let live = all(&LIVE, &|_| true);
        if started {
            let install =
                |what: &str, package: &str| format!("{what} is missing; install it: apt-get install {package}");
            problems.extend(needed.iter().filter_map(|element| Some(install(element.name, element.package?))));
            if encoders.iter().all(|element| !element.found) {
                problems.push(install("an H.264 encoder", package_of("x264enc")));
            }
            if decoders.iter().all(|element| !element.found || !element.name.contains("264")) {
                problems.push(install("an H.264 decoder", package_of("avdec_h264")));
            }
        }

        let gstreamer = started.then(|| {
            let (major, minor, micro, _) = gst::version();
            let plugin = needed.iter().find_map(|element| element.plugin.as_deref());
            GStreamer {
                version: format!("{major}.{minor}.{micro}"),
                plugins: plugin.and_then(|file| Some(file.parent()?.to_owned())),
            }
        });

        let mut told = |error: &dyn std::fmt::Display| problems.push(error.to_string());
        let checkpoint = Checkpoint::bundled().map_err(|error| told(&error)).ok();
        let options = device.options();
        let options = match &checkpoint {
            Some(checkpoint) => options.chosen(checkpoint, SIZE, None),
            None => options,
        };
        let onnx_runtime = OnnxRuntime::find(&options).map_err(|error| told(&error)).ok();
        let self_test = match (&onnx_runtime, &checkpoint) {
            (Some(_), Some(checkpoint)) => {
                SelfTest::run(checkpoint, &options).map_err(|failure| told(&failure.message)).ok()
            }
            _ => None,
        };
        let measured = checkpoint.as_ref().map(|checkpoint| Measured::of(checkpoint, &options));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            works: problems.is_empty(),
            problems,
            gstreamer,
            needed,
            encoders,
            decoders,
            codecs,
            live,
            onnx_runtime,
            model: checkpoint.map(|checkpoint| Model { id: checkpoint.id().to_owned(), patch: checkpoint.patch() }),
            advice: Store::of_user().ok().and_then(|store| store.advice()),
            cache: user_cache().map(Cache::at),
            self_test,
            measured,
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "mostream      {}", self.version)?;
        match &self.gstreamer {
            Some(GStreamer { version, plugins: Some(folder) }) => {
                writeln!(out, "GStreamer     {version} in {}", folder.display())?
            }
            Some(GStreamer { version, .. }) => writeln!(out, "GStreamer     {version}")?,
            None => writeln!(out, "GStreamer     none")?,
        }
        let roles = [
            ("needed", &self.needed),
            ("encoders", &self.encoders),
            ("decoders", &self.decoders),
            ("live", &self.live),
        ];
        for (role, elements) in roles {
            let found: Vec<_> = elements.iter().filter(|element| element.found).map(|element| element.name).collect();
            let absent: Vec<_> = elements.iter().filter_map(Element::how_to_get).collect();
            writeln!(out, "  {role:<11} {}", if found.is_empty() { "none".into() } else { found.join(" ") })?;
            if !absent.is_empty() {
                writeln!(out, "  {:<11} not here: {}", "", absent.join(", "))?;
            }
        }
        for Codec { codec, decoder, memory, scaled_by, others } in &self.codecs {
            let (Some(decoder), Some(memory)) = (decoder, memory) else { continue };
            let by = scaled_by.map_or(String::new(), |line| format!(" by way of {line}"));
            let others = if others.is_empty() { String::new() } else { format!("; also {}", others.join(" ")) };
            writeln!(out, "  {codec:<11} {decoder}, frames in {memory} memory{by}{others}")?;
        }
        match &self.onnx_runtime {
            Some(runtime) => {
                writeln!(out, "ONNX Runtime  {} in {}", runtime.version, runtime.library.display())?;
                writeln!(out, "  providers   {}", runtime.providers.join(" "))?;
            }
            None => writeln!(out, "ONNX Runtime  none")?,
        }
        match &self.model {
            Some(Model { id, patch }) => writeln!(out, "model         {id}, patches of {patch} pixels")?,
            None => writeln!(out, "model         none")?,
        }
        match &self.cache {
            Some(Cache { folder, writable: true }) => writeln!(out, "cache         {}", folder.display())?,
            Some(Cache { folder, .. }) => {
                writeln!(out, "cache         {} cannot be written: each start is slower", folder.display())?
            }
            None => writeln!(out, "cache         none: each start is slower")?,
        }
        if let Some(test) = &self.self_test {
            writeln!(
                out,
                "self-test     a drawn object is boxed with an IoU of {:.2}; {} patches",
                test.iou, test.patches
            )?;
            let left = match test.nodes_on_cpu {
                Some((left @ 1.., all)) => format!(", {left} of {all} nodes on the CPU"),
                _ => String::new(),
            };
            writeln!(out, "  device      {} in {}{left}", test.device, test.precision)?;
            for why in &test.passed_over {
                writeln!(out, "  {:<11} {why}", "")?;
            }
            writeln!(
                out,
                "  time        {:.0} ms to open the model, {:.0} ms per inference, {:.1} ms to find boxes",
                test.open_ms, test.inference_ms, test.localize_ms
            )?;
        }
        self.measured.iter().try_for_each(|measured| measured.write(out))?;
        writeln!(out)?;
        for (name, package) in self.live.iter().filter_map(|element| Some((element.name, element.package?))) {
            writeln!(out, "note: for cameras and live outputs {name} is missing: apt-get install {package}")?;
        }
        if let Some(advice) = &self.advice {
            writeln!(out, "note: {advice}")?;
        }
        for problem in &self.problems {
            writeln!(out, "problem: {problem}")?;
        }
        writeln!(out, "{}", if self.works { "mostream run will work" } else { "mostream run will not work" })
    }
}

impl Element {
    fn find(name: &'static str, started: bool, is_usable: &dyn Fn(&gst::Element) -> bool) -> Self {
        let factory = started.then(|| gst::ElementFactory::find(name)).flatten();
        let usable = factory.filter(|factory| factory.create().build().is_ok_and(|element| is_usable(&element)));
        let plugin = usable.as_ref().and_then(|factory| factory.plugin()?.filename());
        let found = usable.is_some();
        Self { name, found, plugin, package: (!found).then(|| package_of(name)) }
    }

    fn how_to_get(&self) -> Option<String> {
        let (name, package) = (self.name, self.package?);
        let is_hardware = ["nv", "v4l2", "va"].iter().any(|kind| name.starts_with(kind));
        Some(format!("{name} ({}{package})", if is_hardware { "its hardware and " } else { "" }))
    }
}

impl Codec {
    fn all(starts: &dyn Fn(&gst::Element) -> bool) -> Vec<Self> {
        let of = |&(codec, caps): &(&'static str, &str)| {
            let mut usable = decoder::decoders(&decoder::codec_caps(caps));
            usable.retain(|factory| factory.create().build().is_ok_and(|element| starts(&element)));
            let first = usable.first();
            let memory = first.map(memory::of);
            Self {
                codec,
                decoder: first.map(|factory| factory.name().to_string()),
                scaled_by: memory.as_deref().and_then(memory::elements_for),
                memory,
                others: usable.iter().skip(1).map(|factory| factory.name().to_string()).collect(),
            }
        };
        decoder::CODECS.iter().map(of).collect()
    }
}

impl OnnxRuntime {
    fn find(options: &SessionOptions) -> Result<Self, backbone::BackboneError> {
        let library = backbone::find_library(None, options.first_device())?;
        let info = backbone::runtime_info(&library)?;
        Ok(Self { version: info.version, library, providers: info.providers })
    }
}

impl Measured {
    fn of(checkpoint: &Checkpoint, options: &SessionOptions) -> Self {
        let question = Question { checkpoint, size: SIZE, options };
        Self { choice: question.known(), candidates: question.candidates(false) }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(choice) = &self.choice else {
            return match &self.candidates[..] {
                [_, _, ..] => writeln!(
                    out,
                    "fastest       not measured yet: the first run does it, or mostream warmup --size 320x240"
                ),
                _ => Ok(()),
            };
        };
        match choice.best {
            Some((device, precision)) => writeln!(out, "fastest       {device} in {precision}")?,
            None => writeln!(out, "fastest       unknown: nothing was seen to find the boxes of fp32")?,
        }
        for tried in &choice.tried {
            let what = format!("{} in {}", tried.device, tried.precision);
            writeln!(out, "  {what:<22} {}", tried.outcome())?;
        }
        Ok(())
    }
}

impl Cache {
    fn at(folder: PathBuf) -> Self {
        let probe = folder.join(format!(".doctor.{}", std::process::id()));
        let writable = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&probe, "")).is_ok();
        std::fs::remove_file(&probe).ok();
        Self { folder, writable }
    }
}

impl SelfTest {
    /// Fails where a stage fails, and where the drawn object is not boxed.
    fn run(checkpoint: &Checkpoint, options: &SessionOptions) -> Result<Self, Failure> {
        let ms = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
        let (width, height) = SIZE;
        let (rgb, drawn) = picture(width, height);

        let start = Instant::now();
        let backbone = Backbone::open(checkpoint, Feature::Keys, width, height, options)?;
        let open_ms = ms(start);
        // The first run also makes room.
        backbone.features(&rgb)?;
        let start = Instant::now();
        let values = backbone.features(&rgb)?;
        let inference_ms = ms(start);

        let layout = backbone.layout();
        let start = Instant::now();
        let output = PatchOutput::Features(Features::new(layout.grid, values)?);
        let found = Localizer::default().localize(&output, &layout)?;
        let localize_ms = ms(start);
        let iou = found.iter().map(|object| object.bbox.iou(&drawn)).fold(0.0, f64::max);
        if iou < 0.5 {
            let boxes = found.len();
            let why = format!("the self-test failed: {boxes} boxes, the best with an IoU of {iou:.2} (expected 0.5)");
            return Err(Failure::internal(why));
        }
        let Placement { device, precision, nodes_on_cpu, passed_over } = backbone.placement().clone();
        Ok(Self {
            iou,
            patches: layout.grid.patches(),
            device: device.to_string(),
            precision: precision.to_string(),
            nodes_on_cpu,
            passed_over,
            open_ms,
            inference_ms,
            localize_ms,
        })
    }
}

/// A dotted disc on grainy ground, `[height, width, 3]`, and the disc's box.
fn picture(width: u32, height: u32) -> (Vec<u8>, PixelBox) {
    let (x0, y0, radius) = (width * 2 / 5, height / 2, height / 4);
    let pixel = |x: u32, y: u32| {
        let grain = (x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77)).wrapping_mul(0x2C1B_3C6D) >> 27;
        let (dx, dy) = (x.abs_diff(x0), y.abs_diff(y0));
        match dx * dx + dy * dy < radius * radius {
            true if x / 6 % 2 == y / 6 % 2 => [240, 200, 60],
            true => [160, 40, 30],
            false => [80, 100, 64].map(|ground| ground + grain as u8),
        }
    };
    let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect();
    (rgb, PixelBox { xmin: x0 - radius, ymin: y0 - radius, xmax: x0 + radius, ymax: y0 + radius })
}
