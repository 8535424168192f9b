//! Data that decoders could not make whole frames of. Most of them show something all the same and say so nowhere but in GStreamer's log, which
//! is listened to.

use super::decoder::is_decoder;
use gst::prelude::*;
use gstreamer as gst;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

/// More frames in a row are not counted as missing: times may be anything.
const MOST_MISSING: u64 = 100_000;

thread_local! {
    /// Whose data this thread decodes, and when it is shown.
    static DECODED: RefCell<Option<(Damage, u64)>> = const { RefCell::new(None) };
}

/// Complaints of threads that decode nobody knows whose data: libav's own.
static UNCLEAR: AtomicU64 = AtomicU64::new(0);

/// Of one pipeline's video, as far as it is read.
#[derive(Clone)]
pub(super) struct Damage(Arc<Told>);

struct Told {
    /// The part that is asked for, in nanoseconds from the start of the source.
    start_ns: u64,
    stop_ns: AtomicU64,
    /// When the first key frame is shown: what was decoded without one is not damaged.
    key_ns: OnceLock<u64>,
    /// When what the decoder got last is shown.
    now_ns: AtomicU64,
    frames: Mutex<Option<Frames>>,
    unclear_before: u64,
    /// Whether libav decodes on threads of its own.
    is_parallel: bool,
    /// Whether it comes in pages with checksums, of which Ogg's demuxer leaves out those that are wrong.
    is_paged: AtomicBool,
}

/// Frames that are damaged or missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frames {
    pub count: u64,
    /// When the first and the last of them are shown, in nanoseconds from the start of the source.
    pub first_ns: u64,
    last_ns: u64,
}

/// Listens, from now on. Whoever has asked for GStreamer's log gets it as before; to nobody else it is shown.
pub(super) fn listen() {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| {
        if std::env::var_os("GST_DEBUG").is_none() {
            gst::log::remove_default_log_function();
        }
        gst::log::set_active(true);
        gst::log::set_threshold_for_name("libav", gst::DebugLevel::Error);
        gst::log::set_threshold_for_name("videodecoder", gst::DebugLevel::Warning);
        gst::log::add_log_function(|category, level, _, function, _, _, message| {
            let is_complaint = match category.name() {
                // That a picture to forget is gone already harms nothing: so streams are that begin, or were joined, in their middle.
                "libav" => {
                    level == gst::DebugLevel::Error && !message.get().is_some_and(|text| text.starts_with("mmco:"))
                }
                "videodecoder" => function.as_str() == "_gst_video_decoder_error",
                _ => false,
            };
            if is_complaint {
                let tell = |decoded: &RefCell<Option<(Damage, u64)>>| match decoded.try_borrow().as_deref() {
                    Ok(Some((damage, time_ns))) => damage.tell(*time_ns),
                    _ => drop(UNCLEAR.fetch_add(1, Ordering::Relaxed)),
                };
                // A thread at its end decodes nothing.
                DECODED.try_with(tell).ok();
            }
        });
    });
}

impl Damage {
    /// What the decoders of a pipeline tell, now or later in it, of what is shown from `start_ns` on. With one thread each, it is sure whose
    /// frames libav tells of.
    pub(super) fn of(pipeline: &gst::Pipeline, start_ns: u64, is_parallel: bool) -> Self {
        let damage = Self(Arc::new(Told {
            start_ns,
            stop_ns: AtomicU64::new(u64::MAX),
            key_ns: OnceLock::new(),
            now_ns: AtomicU64::new(start_ns),
            frames: Mutex::default(),
            unclear_before: UNCLEAR.load(Ordering::Relaxed),
            is_parallel,
            is_paged: AtomicBool::new(false),
        }));
        let told = damage.clone();
        pipeline.connect_deep_element_added(move |_, _, element| {
            let Some(factory) = element.factory() else { return };
            told.0.is_paged.fetch_or(factory.name() == "oggdemux", Ordering::Relaxed);
            if !is_decoder(&factory) {
                return;
            }
            if !is_parallel && element.has_property("max-threads") {
                element.set_property_from_str("max-threads", "1");
            }
            let Some(pad) = element.static_pad("sink") else { return };
            let told = told.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                if let Some(buffer) = info.buffer() {
                    told.decodes(pad, buffer);
                }
                gst::PadProbeReturn::Ok
            });
        });
        let told = damage.clone();
        if let Some(bus) = pipeline.bus() {
            bus.set_sync_handler(move |_, message| {
                // Packets are missing.
                if let gst::MessageView::Warning(warning) = message.view()
                    && warning.error().matches(gst::StreamError::Demux)
                {
                    told.tell(told.0.now_ns.load(Ordering::Relaxed));
                }
                gst::BusSyncReply::Pass
            });
        }
        damage
    }

    /// Frames from there on are not asked for.
    pub(super) fn stop_at(&self, stop_ns: u64) {
        self.0.stop_ns.store(stop_ns, Ordering::Relaxed);
    }

    /// None where no frame is damaged.
    pub(super) fn frames(&self) -> Option<Frames> {
        *self.0.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there were complaints that may be of this video.
    pub(super) fn is_unclear(&self) -> bool {
        self.0.is_parallel && self.0.unclear_before != UNCLEAR.load(Ordering::Relaxed)
    }

    /// The frame that is shown then is damaged.
    pub(super) fn tell(&self, time_ns: u64) {
        let is_wanted = (self.0.start_ns..self.0.stop_ns.load(Ordering::Relaxed)).contains(&time_ns)
            && self.0.key_ns.get().is_some_and(|&key_ns| key_ns <= time_ns);
        let mut frames = self.0.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let known = frames.get_or_insert(Frames { count: 0, first_ns: time_ns, last_ns: u64::MAX });
        if is_wanted && known.last_ns != time_ns {
            let first_ns = known.first_ns.min(time_ns);
            *known = Frames { count: known.count + 1, first_ns, last_ns: time_ns };
        }
        frames.take_if(|frames| frames.count == 0);
    }

    /// What this thread decodes from now on.
    fn decodes(&self, pad: &gst::Pad, buffer: &gst::Buffer) {
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let shown = segment
            .as_ref()
            .and_then(|event| event.segment().downcast_ref::<gst::ClockTime>())
            .and_then(|segment| segment.to_stream_time(buffer.pts().or(buffer.dts())?));
        let before_ns = self.0.now_ns.load(Ordering::Relaxed);
        let time_ns = shown.map_or(before_ns, |time| time.nseconds());
        let frame_ns = buffer.duration().unwrap_or_default().nseconds();
        if self.0.is_paged.load(Ordering::Relaxed) && frame_ns > 0 {
            let missing = (time_ns.saturating_sub(before_ns) + frame_ns / 2) / frame_ns;
            (1..missing.min(MOST_MISSING)).for_each(|frame| self.tell(before_ns + frame * frame_ns));
        }
        self.0.now_ns.store(time_ns, Ordering::Relaxed);
        if !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
            self.0.key_ns.get_or_init(|| time_ns);
        }
        DECODED.with(|decoded| decoded.replace(Some((self.clone(), time_ns))));
        // GStreamer's decoder of JPEG pictures makes grey of what is missing. Only demuxers and parsers, which know how long it lasts, hand on a
        // whole picture at a time.
        #[cfg(feature = "picture")]
        if buffer.duration().is_some()
            && pad
                .current_caps()
                .is_some_and(|caps| caps.structure(0).is_some_and(|format| format.name() == "image/jpeg"))
            && let Ok(bytes) = buffer.map_readable()
            && crate::picture::is_damaged_jpeg(&bytes)
        {
            self.tell(time_ns);
        }
    }
}
