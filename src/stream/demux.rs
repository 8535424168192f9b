//! What containers say of time: mended where demuxers hand on what is none, and watched for how far the streams reach.

use gst::prelude::*;
use gstreamer as gst;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Demuxers of containers that do not say how long they are: what they tell is measured or guessed.
const MEASURED: [&str; 3] = ["tsdemux", "mpegpsdemux", "oggdemux"];

/// Makes the demuxers of a pipeline, now or later in it, give times that decoders can be right with.
///
/// `matroskademux` lets time 0 be the first packet it meets of any track, until its second segment, so that the first frame
/// would show at 0 and earlier packets of other tracks would be cut off. Its time stamps are stream times as they are.
///
/// AVI knows only the order of decoding; `avidemux` gives key frames that time as the one to show them at, which pushes those before them
/// into one another. Without it decoders give times by the order in which frames are shown. So they do for program streams of MPEG, where
/// one packet may hold several frames and says when the first of them is shown: the others are guessed wrongly, but when each is decoded is
/// known, and how long before the first is shown.
pub(crate) fn mend_times(pipeline: &gst::Pipeline) {
    let is_program = AtomicBool::default();
    pipeline.connect_deep_element_added(move |_, _, element| {
        match element.factory().map(|factory| factory.name()).as_deref() {
            Some("mpegpsdemux") => is_program.store(true, Ordering::Relaxed),
            Some("mpegvideoparse") if is_program.load(Ordering::Relaxed) => {
                element.static_pad("src").iter().for_each(show_in_order)
            }
            _ => {}
        }
    });
    on_pads_of(pipeline, |demuxer, pad| match demuxer {
        "matroskademux" => {
            pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
                if let Some(event) = info.event_mut()
                    && let gst::EventView::Segment(segment) = event.view()
                    && let Some(segment) = segment.segment().downcast_ref::<gst::ClockTime>()
                    && segment.time() == Some(gst::ClockTime::ZERO)
                    && segment.start() > Some(gst::ClockTime::ZERO)
                {
                    let mut whole = segment.clone();
                    whole.set_start(gst::ClockTime::ZERO);
                    *event = gst::event::Segment::builder(&whole).seqnum(event.seqnum()).build();
                }
                gst::PadProbeReturn::Ok
            });
        }
        "avidemux" if pad.name().starts_with("video") => {
            let has_begun = AtomicBool::new(false);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                // From the first on, the decoder counts by the demuxer's own times, empty places of the index included.
                let is_first = !has_begun.swap(true, Ordering::Relaxed);
                if let Some(buffer) = info.buffer_mut().filter(|buffer| !is_first && buffer.dts().is_some()) {
                    buffer.make_mut().set_pts(gst::ClockTime::NONE);
                }
                gst::PadProbeReturn::Ok
            });
        }
        _ => {}
    });
}

/// Leaves of each frame's times the one at which it is decoded, later by as much as the first frame waits to be shown.
fn show_in_order(pad: &gst::Pad) {
    let delay = OnceLock::new();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer_mut()
            && let Some(decoded) = buffer.dts()
            && let Some(delay) = delay
                .get()
                .copied()
                .or_else(|| buffer.pts()?.checked_sub(decoded).map(|now| *delay.get_or_init(|| now)))
        {
            let buffer = buffer.make_mut();
            buffer.set_dts(decoded + delay);
            buffer.set_pts(gst::ClockTime::NONE);
        }
        gst::PadProbeReturn::Ok
    });
}

/// How far the streams of a container reach that says how long it is.
#[derive(Clone, Default)]
pub(super) struct Reach(Arc<Reached>);

#[derive(Default)]
struct Reached {
    /// Where the stream that goes on for longest ends, in nanoseconds from the start of the source.
    end_ns: AtomicU64,
    /// Streams that go on.
    open: AtomicUsize,
}

impl Reach {
    pub(super) fn of(pipeline: &gst::Pipeline) -> Self {
        let reach = Self::default();
        let reached = reach.0.clone();
        on_pads_of(pipeline, move |demuxer, pad| {
            if MEASURED.contains(&demuxer) {
                return;
            }
            reached.open.fetch_add(1, Ordering::Relaxed);
            let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
            let (reached, has_ended) = (reached.clone(), AtomicBool::default());
            pad.add_probe(kinds, move |pad, info| {
                if let Some(end) = info.buffer().and_then(|buffer| end_of(pad, buffer)) {
                    reached.end_ns.fetch_max(end.nseconds(), Ordering::Relaxed);
                }
                match info.event().map(|event| event.type_()) {
                    Some(gst::EventType::Eos) if !has_ended.swap(true, Ordering::Relaxed) => {
                        reached.open.fetch_sub(1, Ordering::Relaxed);
                    }
                    // It goes on somewhere else.
                    Some(gst::EventType::Segment) if has_ended.swap(false, Ordering::Relaxed) => {
                        reached.open.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => {}
                }
                gst::PadProbeReturn::Ok
            });
        });
        reach
    }

    /// Whether all streams have ended.
    pub(super) fn is_over(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) == 0
    }

    /// In nanoseconds from the start of the source; 0 where no container says how long it is.
    pub(super) fn end_ns(&self) -> u64 {
        self.0.end_ns.load(Ordering::Relaxed)
    }
}

fn end_of(pad: &gst::Pad, buffer: &gst::Buffer) -> Option<gst::ClockTime> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
    let end = buffer.dts_or_pts()? + buffer.duration().unwrap_or_default();
    // What is not shown is there all the same.
    Some(end.saturating_sub(segment.start().unwrap_or_default()) + segment.time().unwrap_or_default())
}

/// Does this with each pad on which a demuxer of the pipeline gives a stream; the demuxer is called by its factory.
fn on_pads_of(pipeline: &gst::Pipeline, work: impl Fn(&str, &gst::Pad) + Send + Sync + Clone + 'static) {
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(factory) = element.factory().filter(|factory| factory.has_type(gst::ElementFactoryType::DEMUXER))
        else {
            return;
        };
        let (work, name) = (work.clone(), factory.name());
        element.connect_pad_added(move |_, pad| work(&name, pad));
    });
}
