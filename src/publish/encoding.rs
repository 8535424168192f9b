//! A pipeline that pictures are pushed into.

use crate::engine::sink::Picture;
use crate::stream::{StreamError, bus_error, describe, launch, output};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use std::time::{Duration, Instant};

/// Pictures that wait for the encoder.
const QUEUED_PICTURES: u64 = 2;
/// How long an encoder, a disk or a network may take nothing.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How far time stamps may be from the clock, in nanoseconds: what inference takes varies, a source that was gone is farther away.
const SLACK_NS: i128 = 1_000_000_000;

/// An encoder at work: the pictures of one segment, or of one connection.
pub struct Encoding {
    pipeline: gst::Pipeline,
    pictures: gst_app::AppSrc,
}

impl Encoding {
    /// Starts the pipeline of a file in `pipelines/` for pictures like this one. `encoder` goes from its `pictures` to its `encoded`;
    /// `set` sets the properties of its `out`.
    pub fn start(
        file: &'static str,
        encoder: &'static str,
        picture: &Picture,
        set: impl FnOnce(&gst::Element),
    ) -> Result<Self, String> {
        let caps = output::encoder_caps(&picture.info)?;
        let text = |error: StreamError| error.to_string();
        let pipeline = launch::pipeline(file, "to write the annotated video").map_err(text)?;
        let pictures = insert_encoder(pipeline.upcast_ref(), encoder)?;
        pictures.set_caps(Some(&caps));
        set(&pipeline.by_name("out").ok_or("the pipeline has no out")?);
        // Time stamps of live pictures are not whole numbers of some frame rate.
        let track = pipeline.by_name("mux").and_then(|mux| mux.sink_pads().into_iter().next());
        if let Some(track) = track.filter(|track| track.has_property("trak-timescale")) {
            track.set_property("trak-timescale", output::TICKS_PER_SECOND);
        }
        let encoding = Self { pipeline, pictures };
        encoding.pipeline.set_state(gst::State::Playing).map_err(|_| encoding.why())?;
        Ok(encoding)
    }

    /// Encodes a picture, shown at `pts_ns` in this pipeline, once there is room.
    pub fn push(&self, picture: &Picture, pts_ns: u64) -> Result<(), String> {
        let mut buffer = picture.buffer.clone();
        let timed = buffer.make_mut();
        let time = |ns: u64| gst::ClockTime::from_nseconds(ns.min(u64::MAX - 1));
        timed.set_pts(time(pts_ns));
        timed.set_dts(gst::ClockTime::NONE);
        timed.set_duration(time(picture.duration_ns));
        let bus = self.pipeline.bus().ok_or("the pipeline has no bus")?;
        let since = Instant::now();
        let mut look = gst::ClockTime::ZERO;
        loop {
            if let Some(message) = bus.timed_pop_filtered(look, &[gst::MessageType::Error])
                && let gst::MessageView::Error(error) = message.view()
            {
                return Err(describe(error));
            }
            if self.pictures.current_level_buffers() < QUEUED_PICTURES {
                return self.pictures.push_buffer(buffer).map(drop).map_err(|_| self.why());
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("nothing has been taken for {} s", PATIENCE.as_secs()));
            }
            look = gst::ClockTime::from_mseconds(2);
        }
    }

    /// The time of the pipeline's clock since it started, in nanoseconds.
    pub fn running_ns(&self) -> u64 {
        running_ns(&self.pipeline)
    }

    /// Writes what is left, for as long as this.
    pub fn finish(self, patience: Duration) -> Result<(), String> {
        self.pictures.end_of_stream().map_err(|_| self.why())?;
        let wait = gst::ClockTime::try_from(patience).unwrap_or(gst::ClockTime::MAX);
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(wait, &wanted));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => Ok(()),
            Some(gst::MessageView::Error(error)) => Err(describe(error)),
            _ => Err(format!("the end was not taken within {} s", patience.as_secs())),
        }
    }

    fn why(&self) -> String {
        bus_error(&self.pipeline).unwrap_or_else(|| "the encoder stopped".into())
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).ok();
    }
}

/// The time since an element's pipeline began to play, by its clock, in nanoseconds; 0 before. A pipeline that is about to play has a clock
/// already and no time of beginning: its running time would be the clock's own, years ahead.
pub(super) fn running_ns(element: &impl IsA<gst::Element>) -> u64 {
    let has_begun = element.base_time().is_some_and(|base| !base.is_zero());
    let running = element.current_running_time().filter(|_| has_begun);
    running.map_or(0, gst::ClockTime::nseconds)
}

/// Puts the time stamps of a source on a clock. Their distances stay, until they are too far from the clock; none is ahead of it, where a picture
/// would wait for its time while others overtake it.
#[derive(Default)]
pub struct Timeline {
    offset_ns: Option<i128>,
    last_ns: u64,
}

impl Timeline {
    /// Where `pts_ns` is on the clock that now shows `now_ns`, in nanoseconds; never before an earlier one.
    pub fn place(&mut self, pts_ns: u64, now_ns: u64) -> u64 {
        let (pts, now) = (i128::from(pts_ns), i128::from(now_ns));
        let near = self.offset_ns.filter(|offset| (pts + offset - now).abs() <= SLACK_NS);
        let offset = near.unwrap_or(now - pts).min(now - pts);
        self.offset_ns = Some(offset);
        self.last_ns = u64::try_from(pts + offset).unwrap_or(0).max(self.last_ns);
        self.last_ns
    }

    /// Where a picture is that is shown again now, whenever it was; distances count from the next one on.
    pub fn again(&mut self, now_ns: u64) -> u64 {
        self.offset_ns = None;
        self.last_ns = now_ns.max(self.last_ns);
        self.last_ns
    }
}

/// Puts the encoder between the bin's `pictures` and `encoded`; gives the first.
pub fn insert_encoder(bin: &gst::Bin, encoder: &str) -> Result<gst_app::AppSrc, String> {
    let named = |name: &str| bin.by_name(name).ok_or_else(|| format!("the pipeline has no {name}"));
    let (pictures, encoded) = (named("pictures")?, named("encoded")?);
    let encoder = launch::encoder(encoder).map_err(|error| error.to_string())?;
    let link = || {
        bin.add(&encoder)?;
        gst::Element::link_many([&pictures, encoder.upcast_ref(), &encoded])
    };
    link().map_err(|error| error.to_string())?;
    pictures.downcast().map_err(|_| "pictures is no appsrc".into())
}

#[cfg(test)]
mod tests {
    use super::Timeline;

    #[test]
    fn distances_stay_until_the_clock_is_far_away() {
        let mut timeline = Timeline::default();
        let ms = |ms: u64| ms * 1_000_000;
        assert_eq!(timeline.place(ms(500), ms(2000)), ms(2000));
        assert_eq!(timeline.place(ms(540), ms(2300)), ms(2040)); // late
        assert_eq!(timeline.place(ms(9540), ms(2500)), ms(2500)); // the source was gone
        assert_eq!(timeline.place(ms(9580), ms(2510)), ms(2510)); // the one before was late
        assert_eq!(timeline.place(ms(9620), ms(2560)), ms(2550));
        assert_eq!(timeline.place(0, ms(2570)), ms(2570)); // its clock began anew
        assert_eq!(timeline.place(ms(40), ms(2650)), ms(2610));
    }

    #[test]
    fn what_is_shown_again_is_no_measure_for_what_comes() {
        let mut timeline = Timeline::default();
        let ms = |ms: u64| ms * 1_000_000;
        assert_eq!(timeline.again(0), 0);
        // The picture before it was half a second old.
        assert_eq!(timeline.place(ms(900), ms(20)), ms(20));
        assert_eq!(timeline.place(ms(940), ms(70)), ms(60));
        assert_eq!(timeline.again(ms(80)), ms(80));
        assert_eq!(timeline.place(ms(980), ms(100)), ms(100));
    }
}
