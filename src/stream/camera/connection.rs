//! One connection to a live source: its pipeline, from the launch line to decoded samples.

use super::address::{Address, Kind};
use super::clock::SenderClock;
use super::gate::Gate;
use super::{CameraOptions, web};
use crate::stream::decoder::{self, Decoder, Misfit};
use crate::stream::ingest::accept_native_strides;
use crate::stream::{StreamError, describe, devices, memory, package_of, redact};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_rtsp::rtsp_message::RTSPMessage;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Decoded frames that wait at most in a pipeline of the user's own that does not say.
const MAX_FRAMES: u32 = 8;
/// The longest pause between two looks at a sink that does not wait.
const IDLE: Duration = Duration::from_millis(5);

/// The pipeline runs until this is dropped, and is taken down on a thread of its own: that may take long.
pub(super) struct Connection {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    misfit: Misfit,
    pub clock: SenderClock,
    pub gate: Arc<Gate>,
    is_clocked: Option<bool>,
    why: Option<String>,
    is_described: Arc<AtomicBool>,
    is_over: bool,
    /// Dropped, it closes the connection.
    _close: SyncSender<()>,
}

/// What came within the time asked for.
pub(super) enum Heard {
    Nothing,
    Sample(gst::Sample),
    /// One line, without secrets.
    Failed(Cause, String),
    End,
}

/// What was wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nobody answers there.
    Unreached,
    /// The other side wants another user name or password.
    Login,
    Other,
}

/// The launch line of a kind of source.
fn launch_line(address: &Address) -> &str {
    match address.kind {
        Kind::Device => include_str!("../../../pipelines/v4l2.launch"),
        Kind::Rtsp => include_str!("../../../pipelines/rtsp.launch"),
        Kind::Rtp => include_str!("../../../pipelines/rtp.launch"),
        Kind::Udp => include_str!("../../../pipelines/udp.launch"),
        Kind::Srt => include_str!("../../../pipelines/srt.launch"),
        Kind::Http => include_str!("../../../pipelines/http.launch"),
        Kind::Hls => include_str!("../../../pipelines/hls.launch"),
        Kind::Stdin => include_str!("../../../pipelines/stdin.launch"),
        Kind::Custom => &address.target,
    }
}

/// The launch line and what it connects to, without secrets; `!` stands where the code links by itself.
pub(super) fn shown(address: &Address) -> String {
    let lines = launch_line(address).lines().filter(|line| !line.starts_with('#'));
    let line =
        lines.collect::<Vec<_>>().join(" ").replace(" videoconvert name=picture", " ! videoconvert name=picture");
    let target = match address.kind {
        Kind::Custom | Kind::Stdin => String::new(),
        _ => format!(" # source: {}", address.target),
    };
    redact(&format!("{line}{target}"))
}

/// The pipeline and its sink, not started. Values become properties, so that no address can add an element.
pub(super) fn build(
    address: &Address,
    options: &CameraOptions,
    clock: &SenderClock,
    over_udp: bool,
) -> Result<(gst::Pipeline, gst_app::AppSink, Misfit), StreamError> {
    let (pipeline, sink) = parse(address)?;
    let misfit = options.decoding.guide(&pipeline);
    pipeline.connect_deep_element_added(|_, _, element| wait_for_format(element));
    if address.kind != Kind::Custom {
        let fail = |why: String| StreamError::Input { input: redact(&address.target), why };
        set_properties(&pipeline, address, options, clock, over_udp).map_err(fail)?;
    }
    // HLS is decoded by the element that reads it. A pipeline of the user's own is linked in itself and left as it is.
    let decode = pipeline.by_name(if address.kind == Kind::Hls { "source" } else { "decode" });
    if let (Some(decode), Some(picture)) = (decode, pipeline.by_name("picture")) {
        memory::link_first(&pipeline, &decode, &picture, &sink, options.decoding.clone());
    }
    Ok((pipeline, sink, misfit))
}

/// Lets nothing leave a depayloader before its format is known: H.265 whose parameter sets come with the stream alone is known once all of them
/// have come, and what comes before them finds nobody, which would end the connection.
fn wait_for_format(element: &gst::Element) {
    if element.metadata("klass").is_none_or(|class| !class.contains("Depayloader")) {
        return;
    }
    let Some(pad) = element.static_pad("src") else { return };
    let buffers = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(buffers, |pad, _| match pad.has_current_caps() {
        true => gst::PadProbeReturn::Remove,
        false => gst::PadProbeReturn::Handled,
    });
}

/// What the launch line says; a missing element is named with its package.
pub(super) fn parse(address: &Address) -> Result<(gst::Pipeline, gst_app::AppSink), StreamError> {
    let name = redact(&address.target);
    let fail = |why: String| StreamError::Input { input: name.clone(), why };
    let lines = launch_line(address).lines().filter(|line| !line.starts_with('#'));
    let line = lines.collect::<Vec<_>>().join(" ");
    let mut context = gst::ParseContext::new();
    let parsed = gst::parse::launch_full(&line, Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
    if let Some(element) = context.missing_elements().first() {
        return Err(StreamError::MissingElement {
            element: element.to_string(),
            purpose: format!("{name} needs it"),
            package: package_of(element),
        });
    }
    let parsed = parsed.map_err(|error| fail(redact(error.message())))?;
    let pipeline =
        parsed.downcast::<gst::Pipeline>().map_err(|_| fail("is no pipeline; join elements with !".into()))?;
    let sink = pipeline.by_name("frames").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
    let sink = sink.ok_or_else(|| fail("has no sink for frames; end it with ! appsink name=frames".into()))?;
    if sink.max_buffers() == 0 {
        sink.set_max_buffers(MAX_FRAMES);
    }
    if sink.is_sync() {
        // A frame is handed on when it is due, not later: nothing has to be ready for a screen.
        sink.set_processing_deadline(gst::ClockTime::ZERO);
        // Who keeps the camera's time for frames would fall behind it where they wait for their turn.
        sink.set_drop(sink.is_drop() || address.kind == Kind::Custom);
    }
    sink.set_property("enable-last-sample", false);
    accept_native_strides(&sink);
    // Time stamps are on one clock that never goes back.
    pipeline.use_clock(Some(&gst::SystemClock::obtain()));
    Ok((pipeline, sink))
}

fn set_properties(
    pipeline: &gst::Pipeline,
    address: &Address,
    options: &CameraOptions,
    clock: &SenderClock,
    over_udp: bool,
) -> Result<(), String> {
    let named = |name: &str| pipeline.by_name(name).ok_or_else(|| format!("its launch line has no {name}"));
    let source = named("source")?;
    let user = address.user.clone().or_else(|| options.user.clone());
    let password = address.password.clone().or_else(|| options.password.clone());
    let allow_any_certificate = options.insecure_tls;
    let log_in = move |source: &gst::Element| {
        set_if_present(source, "user-id", user.as_ref());
        set_if_present(source, "user-pw", password.as_ref());
        set_if_present(source, "ssl-strict", allow_any_certificate.then_some(false));
    };
    let microseconds = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    match address.kind {
        Kind::Rtsp => {
            source.set_property("location", &address.target);
            source.set_property("latency", options.latency_ms);
            source.set_property_from_str("protocols", if over_udp { "udp+udp-mcast" } else { "tcp" });
            source.set_property("tcp-timeout", microseconds(options.first_frame_after));
            source.set_property("timeout", microseconds(options.stall_after));
            if options.insecure_tls {
                source.set_property_from_str("tls-validation-flags", "0");
            }
            log_in(&source);
            let chosen = std::sync::atomic::AtomicU32::new(u32::MAX);
            source.connect("select-stream", false, move |values| {
                let stream = values.get(1).and_then(|value| value.get::<u32>().ok())?;
                let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok())?;
                let is_video = caps.structure(0).and_then(|s| s.get::<&str>("media").ok()) == Some("video");
                let first = chosen.compare_exchange(u32::MAX, stream, Ordering::Relaxed, Ordering::Relaxed);
                let is_chosen = is_video && first.map_or_else(|chosen| chosen == stream, |_| true);
                if !is_video && first.is_ok() {
                    chosen.store(u32::MAX, Ordering::Relaxed);
                }
                Some(is_chosen.to_value())
            });
            clock.watch(&source);
        }
        Kind::Rtp | Kind::Udp => {
            let rest = address.without_parameters().split_once("://").map_or("", |(_, rest)| rest);
            let host = rest.split('/').next().unwrap_or_default();
            let (host, port) = host.rsplit_once(':').unwrap_or((host, ""));
            let host = host.trim_start_matches('[').trim_end_matches(']');
            source.set_property("address", if host.is_empty() { "0.0.0.0" } else { host });
            source.set_property("port", port.parse::<i32>().map_err(|_| "has no port")?);
            if address.kind == Kind::Rtp {
                named("jitter")?.set_property("latency", options.latency_ms);
                let dynamic = address.parameter("codec").unwrap_or("h264").to_ascii_uppercase();
                named("payload")?.connect("request-pt-map", false, move |values| {
                    let payload = values.get(1).and_then(|value| value.get::<u32>().ok())?;
                    let encoding = match payload {
                        26 => "JPEG",
                        32 => "MPV",
                        33 => "MP2T",
                        _ => &dynamic,
                    };
                    let caps = gst::Caps::builder("application/x-rtp")
                        .field("media", "video")
                        .field("payload", payload as i32)
                        .field("clock-rate", 90_000)
                        .field("encoding-name", encoding);
                    Some(caps.build().to_value())
                });
            }
        }
        Kind::Srt => {
            source.set_property("uri", &address.target);
            if address.parameter("latency").is_none() {
                source.set_property("latency", i32::try_from(options.latency_ms).unwrap_or(i32::MAX));
            }
            // Reconnecting is told and paced here.
            set_if_present(&source, "auto-reconnect", Some(false));
        }
        Kind::Http => {
            source.set_property("location", &address.target);
            log_in(&source);
        }
        Kind::Hls => {
            source.set_property("uri", &address.target);
            source.connect("source-setup", false, move |values| {
                log_in(&values.get(1)?.get::<gst::Element>().ok()?);
                None
            });
        }
        Kind::Device => {
            let device = match address.target.as_str() {
                "cam" => devices::first().map_err(|error| error.to_string())?,
                path => path.to_owned(),
            };
            source.set_property("device", device);
            if let Some(mode) = &options.mode {
                let fps = gst::Fraction::new(mode.fps.0, mode.fps.1);
                let caps = match mode.format.as_str() {
                    "MJPEG" => gst::Caps::builder("image/jpeg"),
                    format => gst::Caps::builder("video/x-raw").field("format", format),
                };
                let caps = caps.field("width", mode.width).field("height", mode.height).field("framerate", fps);
                named("mode")?.set_property("caps", caps.build());
            }
        }
        Kind::Stdin => {
            let mode =
                options.mode.as_ref().ok_or("raw frames need their size, rate and format: --mode 640x480@30:I420")?;
            let format = mode.format.parse::<gstreamer_video::VideoFormat>();
            let format =
                format.map_err(|_| format!("{} is no format of raw frames; I420 and NV12 are", mode.format))?;
            let parse = named("mode")?;
            parse.set_property("format", format);
            parse.set_property("width", mode.width);
            parse.set_property("height", mode.height);
            parse.set_property("framerate", gst::Fraction::new(mode.fps.0, mode.fps.1));
        }
        Kind::Custom => {}
    }
    Ok(())
}

/// Sets what later versions of GStreamer, or some sources only, have.
fn set_if_present(element: &gst::Element, name: &str, value: Option<impl Into<gst::glib::Value>>) {
    if let (Some(value), Some(_)) = (value, element.find_property(name)) {
        element.set_property(name, value.into());
    }
}

impl Connection {
    /// Starts a pipeline; `alive` is held until it has been taken down, and `broken` counts what is kept from the decoder.
    pub(super) fn open(
        address: &Address,
        options: &CameraOptions,
        over_udp: bool,
        broken: &Arc<AtomicU64>,
        alive: Arc<()>,
    ) -> Result<Self, StreamError> {
        let clock = SenderClock::default();
        let (pipeline, sink, misfit) = build(address, options, &clock, over_udp)?;
        let is_described = Arc::new(AtomicBool::default());
        if let (Kind::Rtsp, Some(source)) = (address.kind, pipeline.by_name("source")) {
            let known = is_described.clone();
            source.connect("on-sdp", false, move |_| {
                known.store(true, Ordering::Relaxed);
                None
            });
            let known = is_described.clone();
            source.connect("before-send", false, move |values| {
                let request = values.get(1)?.get::<RTSPMessage>().ok()?;
                Some((known.load(Ordering::Relaxed) || !has_login(&request)).to_value())
            });
        }
        let gate = Gate::new(broken.clone());
        gate.guard(&pipeline);
        let (close, closed) = sync_channel(0);
        let runs = pipeline.clone();
        let run = move || {
            let _alive = alive;
            if runs.set_state(gst::State::Playing).is_err() {
                // After the element's own word, if it has said one.
                gst::element_error!(runs, gst::CoreError::Failed, ("cannot be started"));
            }
            // It ends when the other side is dropped.
            closed.recv().unwrap_or(());
            // Going down cannot be helped if it fails.
            runs.set_state(gst::State::Null).ok();
        };
        let thread = std::thread::Builder::new().name("camera".into()).spawn(run);
        thread.map_err(|error| StreamError::Start(error.to_string()))?;
        Ok(Self {
            pipeline,
            sink,
            misfit,
            clock,
            gate,
            is_clocked: None,
            why: None,
            is_described,
            is_over: false,
            _close: close,
        })
    }

    /// Waits for what comes next.
    pub(super) fn listen(&mut self, patience: Duration) -> Heard {
        let start = Instant::now();
        if let Some(sample) = self.sink.try_pull_sample(gst::ClockTime::from_nseconds(patience.as_nanos() as u64)) {
            return Heard::Sample(sample);
        }
        if self.is_over {
            return Heard::End;
        }
        // A sink that has not started, or has ended, does not wait.
        std::thread::sleep(patience.saturating_sub(start.elapsed()).min(IDLE));
        let Some(bus) = self.pipeline.bus() else { return Heard::Nothing };
        while let Some(message) = bus.pop() {
            match message.view() {
                gst::MessageView::Error(error) if error.error().matches(gst::ResourceError::NotAuthorized) => {
                    return Heard::Failed(
                        Cause::Login,
                        format!("the user name or the password is not accepted: {}", reason(error)),
                    );
                }
                gst::MessageView::Error(error) => {
                    let why = self.misfit.why().or(self.why.take());
                    let is_unreached = error.error().matches(gst::ResourceError::OpenReadWrite);
                    let cause = if is_unreached { Cause::Unreached } else { Cause::Other };
                    let is_refused = error.error().matches(gst::StreamError::CodecNotFound) && is_rtspsrc(error);
                    let why =
                        why.or(is_refused.then(|| "the camera has no video that it sends by this transport".into()));
                    let is_nowhere = error.error().matches(gst::ResourceError::NotFound) && is_rtspsrc(error);
                    let why = why.or(is_nowhere.then(|| "the camera has no stream at the path of this address".into()));
                    return Heard::Failed(cause, why.unwrap_or_else(|| reason(error)));
                }
                gst::MessageView::Element(element) => {
                    let missing = element.structure().filter(|structure| structure.name() == "missing-plugin");
                    let name = missing.and_then(|structure| structure.get::<String>("name").ok());
                    // Said before the error that follows from it.
                    self.why = self.why.take().or(name.map(|name| format!("it needs {name}: see `mostream doctor`")));
                }
                // Its last frames may have come since.
                gst::MessageView::Eos(_) => self.is_over = true,
                _ => {}
            }
        }
        Heard::Nothing
    }

    /// Whether the camera has told of its streams: before, nothing depends on the transport.
    pub(super) fn is_described(&self) -> bool {
        self.is_described.load(Ordering::Relaxed)
    }

    /// Whether what comes from a web server has a length.
    pub(super) fn has_length(&self) -> bool {
        self.pipeline.by_name("source").is_some_and(|source| web::has_length(&source))
    }

    /// The decoder at work.
    pub(super) fn decoder(&self) -> Option<Decoder> {
        decoder::running(&self.pipeline)
    }

    /// Whether time stamps count by the machine's clock.
    pub(super) fn is_clocked(&mut self) -> bool {
        *self.is_clocked.get_or_insert_with(|| {
            let mut latency = gst::query::Latency::new();
            // The sink itself is not live: it does not wait for the clock.
            let has_answer = self.sink.static_pad("sink").is_some_and(|pad| pad.peer_query(&mut latency));
            has_answer && latency.result().0
        })
    }

    /// Running time of a buffer in nanoseconds, and how long ago that was, if by the machine's clock.
    pub(super) fn time_of(&mut self, sample: &gst::Sample) -> (Option<u64>, Option<u64>) {
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let running = sample.buffer().and_then(|buffer| segment?.to_running_time(buffer.pts()?));
        let age = || {
            let now = self.pipeline.clock()?.time().checked_sub(self.pipeline.base_time()?)?;
            Some(now.saturating_sub(running?).nseconds())
        };
        let age = age().filter(|_| self.is_clocked == Some(true));
        (running.map(|time| time.nseconds()), age)
    }
}

/// Whether a request was sent before, with a login, which was refused: the element would send it eight times, and cameras lock out who does.
fn has_login(request: &RTSPMessage) -> bool {
    !request.parse_auth_credentials().is_empty()
}

/// Whether it is the element that talks to the camera.
fn is_rtspsrc(error: &gst::message::Error) -> bool {
    error
        .src()
        .and_then(|element| element.downcast_ref::<gst::Element>()?.factory())
        .is_some_and(|made| made.name() == "rtspsrc")
}

/// What went wrong, with the element's details where it gives some; in one line, without secrets.
fn reason(error: &gst::message::Error) -> String {
    let told = describe(error);
    let debug = error.debug().unwrap_or_default();
    // The place in the source code comes first.
    let details = debug.split_once('\n').map_or("", |(_, details)| details.trim()).lines().next().unwrap_or_default();
    // The address is told already.
    let details = details.split(", URL: ").next().unwrap_or_default();
    match details.trim_end_matches('.') {
        "" => told,
        // Told already.
        details if details.contains("system error: ") => told,
        details if details.starts_with(&told) => redact(details),
        details => format!("{told}: {}", redact(details)),
    }
}
