//! A source's thread: every frame goes to its delivery, those for the model to the inbox, too.

use super::TRACE;
use super::adaptive::Adaptive;
use super::crops::Allowance;
use super::deliver::Order;
use super::eyes::{CROP_PATCHES, Eyes};
use super::inbox::{Crop, Entrance, Waiting, Wants};
use super::lanes::{Again, Reply, Shared, microseconds};
use super::load::Load;
use super::outbox::{Room, Share};
use super::pace::Pace;
use super::sessions::{Models, Purpose};
use super::sink::Wish;
use super::status::SourceStatus;
use super::task::Fault;
use crate::backbone::BackboneError;
use crate::geometry::PatchLayout;
use crate::motion::{Camera, Evidence, Need};
use crate::stream::StreamError;
use crate::stream::canvas::CanvasCount;
use crate::stream::feed::{Event, Feed};
use crate::stream::frame::Frame;
use crate::stream::mask::Mask;
use crate::zones::Regions;
use crossbeam_channel::{Sender, TrySendError, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracing::{trace_span, warn};

/// How often a paused source looks whether to go on.
const LOOK: Duration = Duration::from_millis(20);

/// A source's thread.
pub(super) struct Source<'a> {
    pub shared: &'a Shared<'a>,
    pub feed: Box<dyn Feed>,
    pub entrance: Entrance<Reply>,
    pub to_deliver: Sender<Order>,
    /// Says that an order has no room: a live source's delivery then waits no longer for the answer before it.
    pub to_crowd: Sender<()>,
    pub pace: Pace,
    pub adaptive: Option<Adaptive>,
    pub eyes: Option<Eyes>,
    pub crops: Allowance,
    /// Over its last frames, and what it cost to lay it there.
    pub mask: (Option<Mask>, CanvasCount),
    /// Of the sinks.
    pub wishes: Vec<Wish>,
    /// For the pictures on their way to the delivery.
    pub room: Arc<Room>,
    pub load: Arc<Load>,
    pub is_live: bool,
    /// One of its sinks has failed, where that ends it.
    pub is_broken: Arc<AtomicBool>,
    pub status: Arc<SourceStatus>,
}

impl Source<'_> {
    /// Sends every frame to its delivery, and those for the model to the inbox, too; gives what went wrong at the source.
    pub fn run(mut self) -> Option<Fault> {
        let shared = self.shared;
        let (is_broken, status) = (self.is_broken.clone(), self.status.clone());
        let is_over = move || shared.is_over() || is_broken.load(Ordering::Relaxed) || status.is_stopped();
        // The last frame that was not let go, where the source is or was paused since.
        let (mut last, mut was_paused) = (None, false);
        // Before frames that were left out.
        let mut gap_ns: Option<u64> = None;
        let (mut broken, mut has_told) = (0, false);
        // How the model sees frames of the last one's size, and parts of them.
        let mut seen: Option<((u32, u32), [PatchLayout; 2])> = None;
        loop {
            if !self.is_live && self.status.is_paused() {
                self.pause();
                while self.status.is_paused() && !is_over() {
                    std::thread::sleep(LOOK);
                }
            }
            let Some(event) = self.feed.next(&is_over) else { break };
            let so_far = self.feed.broken();
            self.status.broken(so_far - std::mem::replace(&mut broken, so_far));
            let mut frame = match event {
                Event::State(change) => {
                    self.status.decoded_by(self.feed.decoder());
                    self.status.expects(self.feed.expected());
                    self.status.changed(&change);
                    if !self.order(Order::State(change)) {
                        break;
                    }
                    continue;
                }
                Event::Frame(frame) => frame,
            };
            if self.is_live {
                // The connection stays, so that it goes on at once.
                if self.status.is_paused() {
                    if !std::mem::replace(&mut was_paused, true) {
                        self.pause();
                    }
                    continue;
                }
                let instant = frame.capture.map(|capture| capture.instant);
                if std::mem::take(&mut was_paused)
                    && let (Some(capture), Some(last)) = (&mut frame.capture, last)
                {
                    let gap_ns = capture.instant.duration_since(last).as_nanos() as u64;
                    capture.gap_ns = capture.gap_ns.max(Some(gap_ns));
                }
                last = instant;
                gap_ns = gap_ns.max(frame.capture.and_then(|capture| capture.gap_ns));
                if self.load.is_late(self.to_deliver.len()) {
                    self.status.arrived(frame.display_size());
                    self.status.late();
                    continue;
                }
                if let Some(capture) = &mut frame.capture {
                    capture.gap_ns = gap_ns.take();
                }
            }
            let regions = self.status.regions();
            // Before anything looks at the frame.
            if let Err(error) = self.mask(&mut frame, &regions) {
                return Some(self.fail(Fault::Source(error)));
            }
            let has_clock = frame.capture.is_some() || frame.captured_unix_ns.is_some();
            if !has_told && !has_clock && regions.has_schedule() {
                let source = &self.status.name;
                warn!(source, "{source}: nobody knows when its frames were taken: schedules are taken to hold");
                has_told = true;
            }
            let size = frame.display_size();
            self.status.arrived(size);
            if frame.shortfall.is_some() {
                self.status.fell_short();
            }
            let layout = match seen.filter(|(known, _)| *known == size) {
                Some((_, layouts)) => Ok(layouts),
                None => layouts(shared.sessions.models, size),
            };
            let [layout, of_part] = match layout {
                Ok(layouts) => seen.insert((size, layouts)).1,
                Err(error) => return Some(self.fail(Fault::Model(error))),
            };
            let arrived = frame.capture.map_or_else(Instant::now, |capture| capture.instant);
            // Pictures one after the other have no past.
            let eyes = self.eyes.as_mut().filter(|_| !self.feed.is_pictures());
            let start = Instant::now();
            let evidence = eyes.and_then(|eyes| {
                let _span =
                    trace_span!(target: TRACE, "look", source = self.status.name, frame = frame.index).entered();
                let evidence = eyes.look(&frame, shared.task.cue.with_crops());
                self.status.moves_by(eyes.bytes());
                evidence
            });
            let looked = microseconds(start);
            let is_wanted = self.pace.asks(frame.index, frame.pts_ns, Instant::now())
                && self.has_changed(&frame, evidence.as_ref());
            let wants = Wants {
                keys: evidence.is_some(),
                appearance: evidence.as_ref().is_none_or(|evidence| evidence.camera == Camera::Moving),
            };
            // Names are given by the last block's features.
            let need = evidence.as_ref().map(|evidence| match evidence.camera {
                Camera::Still | Camera::Shaking if shared.task.groups.is_none() => Need::Half,
                Camera::Still | Camera::Shaking | Camera::Moving => Need::Whole,
            });
            let purpose = Purpose { layout, need };
            let (crop, again) = is_wanted.then(|| self.crop(&frame, &purpose, of_part)).flatten().unzip();
            let (ticket, answer) = match is_wanted.then(|| bounded(1)) {
                Some((ticket, answer)) => (Some(ticket), Some(answer)),
                None => (None, None),
            };
            let wanted: Vec<bool> = self.wishes.iter_mut().map(|wish| wish(frame.pts_ns)).collect();
            let picture = self.picture(&frame, &wanted, &is_over);
            let order = Order::frame(&frame, (layout, evidence, looked), picture, wanted, (answer, again), arrived);
            if !self.order(order) {
                break;
            }
            if let Some(ticket) = ticket {
                self.entrance.put(Waiting { frame, purpose, wants, ticket, crop }, &is_over);
            }
        }
        self.feed.fault().map(Fault::Source)
    }

    /// It goes no further.
    fn fail(&self, fault: Fault) -> Fault {
        fault.tell(&self.status.name);
        self.is_broken.store(true, Ordering::Relaxed);
        fault
    }

    fn mask(&mut self, frame: &mut Frame, regions: &Regions) -> Result<(), StreamError> {
        if regions.masks.is_empty() {
            return Ok(());
        }
        let (mask, count) = &mut self.mask;
        mask.take_if(|mask| !mask.is_for(&regions.masks, frame));
        mask.get_or_insert_with(|| Mask::new(&regions.masks, frame)).cover(frame, count)?;
        self.status.masked(*count);
        Ok(())
    }

    /// A part of the frame for the model to see again, and where its answer comes.
    fn crop(&mut self, frame: &Frame, whole: &Purpose, layout: PatchLayout) -> Option<(Crop<Reply>, Again)> {
        if !self.shared.task.cue.with_crops() {
            return None;
        }
        let purpose = Purpose { layout, need: None };
        let eyes = self.eyes.as_mut().filter(|_| self.crops.earn(whole, &purpose))?;
        let part = eyes.look_again(frame)?;
        self.crops.spend(&purpose);
        let (ticket, answer) = bounded(1);
        Some((Crop { part, purpose, ticket, is_due: !self.is_live }, (part, answer)))
    }

    /// Nothing waits for what comes after a pause.
    fn pause(&mut self) {
        self.pace.rest();
        self.order(Order::Pause);
    }

    /// Whether somebody takes it.
    fn order(&self, order: Order) -> bool {
        match self.to_deliver.try_send(order) {
            Err(TrySendError::Full(order)) => {
                self.crowd();
                self.to_deliver.send(order).is_ok()
            }
            sent => sent.is_ok(),
        }
    }

    /// A live source's delivery is not to wait any longer.
    fn crowd(&self) {
        if self.is_live {
            self.to_crowd.try_send(()).ok();
        }
    }

    /// The frame to draw on, where a sink wants it and there is room.
    fn picture(&self, frame: &Frame, wanted: &[bool], is_over: &dyn Fn() -> bool) -> Option<(Frame, Share)> {
        if !wanted.contains(&true) {
            return None;
        }
        let bytes = frame.buffer.size();
        let share = if self.is_live { self.room.take(bytes) } else { self.room.wait(bytes, is_over) };
        if share.is_none() {
            self.status.missed_by_sink();
        }
        if !self.room.has_room(bytes) {
            self.crowd();
        }
        Some((frame.clone(), share?))
    }

    fn has_changed(&mut self, frame: &Frame, evidence: Option<&Evidence>) -> bool {
        let has_changed = match (&mut self.adaptive, evidence) {
            (None, _) => true,
            (Some(_), Some(evidence)) => evidence.need.is_some(),
            (Some(adaptive), None) => adaptive.has_changed(frame),
        };
        if !has_changed {
            self.status.unchanged();
        }
        has_changed
    }
}

/// How the model sees a frame of this displayed size, and a part of it.
fn layouts(models: &dyn Models, (width, height): (u32, u32)) -> Result<[PatchLayout; 2], BackboneError> {
    let layout = models.layout(width, height)?;
    let side = CROP_PATCHES * layout.patch;
    Ok([layout, models.layout(side, side)?])
}
