//! Keeps from the decoders what would not become whole pictures: frames before the first key frame, and those between lost packets
//! and the next key frame that came whole.

use gst::prelude::*;
use gstreamer as gst;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The gates before the decoders of one connection.
pub(super) struct Gate {
    /// Counts what is kept back.
    broken: Arc<AtomicU64>,
    /// When a frame was last kept back.
    kept: Mutex<Option<Instant>>,
    /// Key frames have been waited for in vain: all is let through until one comes.
    is_lenient: AtomicBool,
    /// Frames are put together from RTP packets: a gap is told of the frame that is handed on next. Within a key frame that is the key frame
    /// itself; where the last packet of the frame before it was lost as well, it is that frame, and how far the gap went is not known.
    is_rtp: AtomicBool,
    /// A packet was lost by now. The first frame of all is told as one with a gap before it, whether it is whole or not.
    has_lost: AtomicBool,
}

/// What one decoder has been given.
#[derive(Default)]
struct Given {
    is_open: AtomicBool,
    /// The first frame of all has a gap before it by nature.
    has_begun: AtomicBool,
    /// The frame before had a gap.
    had_gap: AtomicBool,
}

impl Gate {
    pub(super) fn new(broken: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            broken,
            kept: Mutex::default(),
            is_lenient: AtomicBool::default(),
            is_rtp: AtomicBool::default(),
            has_lost: AtomicBool::default(),
        })
    }

    /// Sets up what `decodebin` chooses, now and later.
    pub(super) fn guard(self: &Arc<Self>, pipeline: &gst::Pipeline) {
        for element in pipeline.iterate_recurse().into_iter().flatten() {
            self.guard_decoder(&element);
        }
        let gate = self.clone();
        pipeline.connect_deep_element_added(move |_, _, element| gate.guard_decoder(element));
    }

    fn guard_decoder(self: &Arc<Self>, element: &gst::Element) {
        // Pictures in a row are one stream: no other is waited for.
        if element.factory().is_some_and(|factory| factory.name() == "multipartdemux") {
            element.set_property("single-stream", true);
        }
        let is_a = |kind: &str| element.metadata("klass").is_some_and(|class| class.contains(kind));
        if is_a("Depayloader") {
            self.is_rtp.store(true, Ordering::Relaxed);
            self.watch_for_losses(element);
        }
        let Some(pad) = element.static_pad("sink").filter(|_| is_a("Decoder/Video")) else { return };
        let (gate, given) = (self.clone(), Given::default());
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| match info.buffer() {
            Some(buffer) if !gate.lets_through(buffer.flags(), &given) => {
                // Not `Drop`: the binding has taken the buffer away by then, and GStreamer complains of it.
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        });
    }

    /// Until the first packet of video is lost.
    fn watch_for_losses(self: &Arc<Self>, depayloader: &gst::Element) {
        let Some(pad) = depayloader.static_pad("sink") else { return };
        let (gate, last) = (self.clone(), Mutex::new(None::<u16>));
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let Some(packet) = info.buffer().and_then(|packet| packet.map_readable().ok()) else {
                return gst::PadProbeReturn::Ok;
            };
            // RFC 3550, section 5.1: the sequence number.
            let Some([_, _, high, low]) = packet.first_chunk() else { return gst::PadProbeReturn::Ok };
            let number = u16::from_be_bytes([*high, *low]);
            let last = last.lock().unwrap_or_else(PoisonError::into_inner).replace(number);
            // Not what carries packets in a stream of bytes, nor sound.
            let is_video = || {
                let caps = pad.current_caps();
                caps.is_some_and(|caps| {
                    caps.iter().any(|kind| kind.name() == "application/x-rtp" && kind.get("media") == Ok("video"))
                })
            };
            if last.is_none_or(|last| last.wrapping_add(1) == number) || !is_video() {
                return gst::PadProbeReturn::Ok;
            }
            gate.has_lost.store(true, Ordering::Relaxed);
            gst::PadProbeReturn::Remove
        });
    }

    fn lets_through(&self, flags: gst::BufferFlags, given: &Given) -> bool {
        let is_first = !given.has_begun.swap(true, Ordering::Relaxed);
        let has_gap = flags.contains(gst::BufferFlags::DISCONT) && (!is_first || self.has_lost.load(Ordering::Relaxed));
        let is_key = !flags.contains(gst::BufferFlags::DELTA_UNIT);
        let may_lack = has_gap | given.had_gap.swap(has_gap, Ordering::Relaxed);
        if is_key && !(may_lack && self.is_rtp.load(Ordering::Relaxed)) {
            given.is_open.store(true, Ordering::Relaxed);
            self.is_lenient.store(false, Ordering::Relaxed);
        } else if has_gap {
            given.is_open.store(false, Ordering::Relaxed);
        }
        if given.is_open.load(Ordering::Relaxed) || self.is_lenient() {
            return true;
        }
        self.keep_back();
        false
    }

    /// Counts a frame that is kept back.
    pub(super) fn keep_back(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether broken frames are better than none.
    pub(super) fn is_lenient(&self) -> bool {
        self.is_lenient.load(Ordering::Relaxed)
    }

    /// Lets everything through until the next key frame, where frames have been kept back within this time: a stream without
    /// key frames must not stand still for ever. Says whether it does so.
    pub(super) fn give_in(&self, within: Duration) -> bool {
        let kept = *self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_holding = kept.is_some_and(|kept| kept.elapsed() < within);
        is_holding && !self.is_lenient.swap(true, Ordering::Relaxed)
    }
}
