//! When live frames were taken: time stamps that go on over reconnects, and the camera's own clock.

use gst::prelude::*;
use gstreamer as gst;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How far the time stamps of one connection may leave the time of arrival before they are counted anew from it: cameras set
/// their clocks, encoders restart.
const MAX_DRIFT_NS: i128 = 3_000_000_000;
/// A camera whose clock is further off was never set.
const MAX_CLOCK_ERROR_NS: i128 = 24 * 3_600_000_000_000;
/// From 1900 to 1970.
const NTP_TO_UNIX_SECONDS: i64 = 2_208_988_800;
/// RTP sessions that are searched for the sender.
const MAX_SESSIONS: u32 = 8;

/// Time stamps from the first frame of the source, across connections.
#[derive(Default)]
pub(super) struct Timeline {
    first: Option<Instant>,
    last: Option<(Instant, u64)>,
    /// Running time and time stamp from which this connection counts.
    origin: Option<(u64, u64)>,
}

impl Timeline {
    /// The next frame is the first of another connection.
    pub(super) fn reconnected(&mut self) {
        self.origin = None;
    }

    /// When the last frame was taken.
    pub(super) fn last(&self) -> Option<Instant> {
        self.last.map(|(instant, _)| instant)
    }

    /// The time stamp, greater than any before, of a frame taken at `instant`; `running_ns` is its time in this connection, if
    /// it has one, and counts by the machine's clock where `is_clocked`.
    pub(super) fn place(&mut self, instant: Instant, running_ns: Option<u64>, is_clocked: bool) -> u64 {
        let first = *self.first.get_or_insert(instant);
        let by_arrival = instant.saturating_duration_since(first).as_nanos() as u64;
        let least = self.last.map_or(0, |(_, pts)| pts.saturating_add(1));
        let placed = self
            .origin
            .zip(running_ns)
            .map(|((from, origin), running)| i128::from(origin) + i128::from(running) - i128::from(from));
        let is_near = |pts: &i128| !is_clocked || (pts - i128::from(by_arrival)).abs() <= MAX_DRIFT_NS;
        let pts_ns = match placed.filter(is_near) {
            Some(pts) => u64::try_from(pts).unwrap_or(0).max(least),
            None => by_arrival.max(least),
        };
        if placed.is_none_or(|pts| !is_near(&pts)) {
            self.origin = running_ns.map(|running| (running, pts_ns));
        }
        self.last = Some((instant, pts_ns));
        pts_ns
    }
}

/// The camera's wall clock: sender reports say which RTP time is which wall-clock time, and packets which RTP time is which
/// time stamp here.
#[derive(Clone, Default)]
pub(super) struct SenderClock(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// RTP manager of the connection.
    manager: Mutex<Option<gst::glib::WeakRef<gst::Element>>>,
    /// Nanoseconds since 1970 less the time stamp; 0 where none is known.
    offset_ns: AtomicI64,
}

impl SenderClock {
    /// Listens to an `rtspsrc`.
    pub(super) fn watch(&self, source: &gst::Element) {
        let shared = Arc::downgrade(&self.0);
        source.connect("new-manager", false, move |values| {
            let manager = values.get(1)?.get::<gst::Element>().ok()?;
            *shared.upgrade()?.manager.lock().unwrap_or_else(PoisonError::into_inner) = Some(manager.downgrade());
            None
        });
        let shared = Arc::downgrade(&self.0);
        source.connect_pad_added(move |_, pad| {
            let shared = shared.clone();
            let mut last = None;
            let seen = Mutex::new(move |pad: &gst::Pad, buffer: &gst::BufferRef| {
                let (shared, pts) = (shared.upgrade()?, buffer.pts()?);
                // Packets of one frame share their time stamp.
                if last.replace(pts) != Some(pts) {
                    let offset = shared.unix_ns(pad, buffer)? - i64::try_from(pts.nseconds()).ok()?;
                    shared.offset_ns.store(offset, Ordering::Relaxed);
                }
                Some(())
            });
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                if let Some(buffer) = info.buffer() {
                    (seen.lock().unwrap_or_else(PoisonError::into_inner))(pad, buffer);
                }
                gst::PadProbeReturn::Ok
            });
        });
    }

    /// Nanoseconds since 1970 of the frame with this time stamp, which arrived at `arrival_unix_ns`; none where the camera has not
    /// said, or where its clock is not set.
    pub(super) fn unix_ns(&self, pts: Option<gst::ClockTime>, arrival_unix_ns: u64) -> Option<u64> {
        let offset = Some(self.0.offset_ns.load(Ordering::Relaxed)).filter(|&offset| offset != 0)?;
        let unix_ns = i128::from(pts?.nseconds()) + i128::from(offset);
        let error = unix_ns - i128::from(arrival_unix_ns);
        (error.abs() <= MAX_CLOCK_ERROR_NS).then_some(unix_ns)?.try_into().ok()
    }
}

impl Shared {
    /// Wall-clock time of a packet, by the last report of its sender.
    fn unix_ns(&self, pad: &gst::Pad, packet: &gst::BufferRef) -> Option<i64> {
        let mut header = [0; 12];
        packet.copy_to_slice(0, &mut header).ok()?;
        let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (rtp_time, ssrc) = (word(4), word(8));
        let rate = pad.current_caps()?.structure(0)?.get::<i32>("clock-rate").ok().filter(|&rate| rate > 0)?;

        let manager = self.manager.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()?;
        let report = |session: u32| {
            let session = manager.emit_by_name::<Option<gst::glib::Object>>("get-internal-session", &[&session])?;
            let source = session.emit_by_name::<Option<gst::glib::Object>>("get-source-by-ssrc", &[&ssrc])?;
            let stats = source.property::<gst::Structure>("stats");
            let has_report = stats.get::<bool>("have-sr").unwrap_or(false);
            has_report.then_some((stats.get::<u64>("sr-ntptime").ok()?, stats.get::<u32>("sr-rtptime").ok()?))
        };
        let (ntp, report_rtp_time) = (0..MAX_SESSIONS).find_map(report)?;
        let seconds = i64::try_from(ntp >> 32).ok()? - NTP_TO_UNIX_SECONDS;
        let fraction = ((ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
        // RTP time wraps around.
        let since = i64::from(rtp_time.wrapping_sub(report_rtp_time) as i32) * 1_000_000_000 / i64::from(rate);
        Some(seconds * 1_000_000_000 + fraction as i64 + since)
    }
}

#[cfg(test)]
mod tests {
    use super::Timeline;
    use std::time::{Duration, Instant};

    #[test]
    fn time_stamps_go_on_over_reconnects_and_set_clocks() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let ms = |ms: u64| Some(ms * 1_000_000);
        let mut timeline = Timeline::default();
        let mut placed = |at_ms, running| timeline.place(at(at_ms), running, true) / 1_000_000;
        // Jitter of the arrival does not show.
        assert_eq!([placed(0, ms(500)), placed(45, ms(540)), placed(79, ms(580))], [0, 40, 80]);
        // The encoder starts its clock anew: counted from the arrival.
        assert_eq!([placed(120, ms(90_000)), placed(160, ms(90_040))], [120, 160]);
        assert_eq!([placed(200, ms(7)), placed(240, None)], [200, 240]);
        timeline.reconnected();
        let mut placed = |at_ms, running| timeline.place(at(at_ms), running, true);
        assert_eq!([placed(5240, ms(3)), placed(5280, ms(43))], [5_240_000_000, 5_280_000_000]);
        // Never twice the same.
        assert_eq!(placed(5281, ms(43)), 5_280_000_001);
    }
}
