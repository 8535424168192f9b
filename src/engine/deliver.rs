//! From frames and answers to records and pictures, in order, and on to the sinks.

use super::TRACE;
use super::absence::Absence;
use super::crew::spawn;
use super::drain::{Drain, Faults};
use super::eyes::{self, KeptScene};
use super::follow::{Drift, Follow};
use super::held::Held;
use super::lanes::{Again, Answer, Reply, Shared, microseconds};
use super::load::Load;
use super::outbox::{Outbox, Room, Share};
use super::sink::{Ending, Message, Picture, Sink};
use super::status::SourceStatus;
use super::task::{Fault, Seen, Witness};
use crate::discover::groups::Named;
use crate::events::{Events, Glance};
use crate::fault::Kind;
use crate::geometry::{PatchLayout, PixelBox};
use crate::motion::Evidence;
use crate::overlay::Overlay;
use crate::record::{
    EndRecord, EventRecord, Every, FrameMeta, FrameRecord, LiveRecord, ObjectRecord, Shortfall, SourceState,
    StateRecord, TimingsRecord, VERSION,
};
use crate::scene::Scene;
use crate::stream::canvas::Canvas;
use crate::stream::feed::StateChange;
use crate::stream::frame::{Capture, Frame};
use crossbeam_channel::{Receiver, TryRecvError, select};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::{error, trace, trace_span, warn};

/// How often one who waits for the end of the model looks for it.
const LOOK: Duration = Duration::from_millis(5);
/// A scene is kept this often, so that a killed program has lost little of it.
const SAVE_AFTER: Duration = Duration::from_secs(600);

/// What happened at a source, in order.
pub(super) enum Order {
    State(StateChange),
    /// Nothing comes for a while: somebody has paused it.
    Pause,
    Frame(Box<FrameOrder>),
}

/// A frame that is to have a record.
pub(super) struct FrameOrder {
    index: u64,
    pts_ns: u64,
    captured_unix_ns: Option<u64>,
    size: (u32, u32),
    /// How the model would see it.
    layout: PatchLayout,
    /// What the frame says of time, where that is asked.
    evidence: Option<Evidence>,
    /// Microseconds that took.
    looked: u64,
    capture: Option<Capture>,
    file: Option<Arc<str>>,
    shortfall: Option<Arc<Shortfall>>,
    picture: Option<(Frame, Share)>,
    /// Which sinks want it.
    wanted: Vec<bool>,
    /// None where the model is not asked.
    answer: Option<Receiver<Reply>>,
    again: Option<Again>,
    arrived: Instant,
}

impl Order {
    pub fn frame(
        frame: &Frame,
        (layout, evidence, looked): (PatchLayout, Option<Evidence>, u64),
        picture: Option<(Frame, Share)>,
        wanted: Vec<bool>,
        (answer, again): (Option<Receiver<Reply>>, Option<Again>),
        arrived: Instant,
    ) -> Self {
        let Frame { index, pts_ns, captured_unix_ns, capture, .. } = *frame;
        Self::Frame(Box::new(FrameOrder {
            index,
            pts_ns,
            captured_unix_ns,
            size: frame.display_size(),
            layout,
            evidence,
            looked,
            capture,
            file: frame.file.clone(),
            shortfall: frame.shortfall.clone(),
            picture,
            wanted,
            answer,
            again,
            arrived,
        }))
    }
}

impl FrameOrder {
    /// Of its picture.
    fn bytes(&self) -> usize {
        self.picture.as_ref().map_or(0, |(frame, _)| frame.buffer.size())
    }
}

/// One source's thread of records and pictures.
pub(super) struct Delivery<'a> {
    pub status: Arc<SourceStatus>,
    pub is_live: bool,
    pub every: Every,
    /// How long frames wait for those after them.
    pub wait: Duration,
    pub orders: Receiver<Order>,
    /// Tells a live source's delivery that there is no room for one more order, or for its picture.
    pub crowded: Receiver<()>,
    /// Of the pictures in the orders.
    pub room: Arc<Room>,
    pub load: Arc<Load>,
    /// This source is to go no further.
    pub is_broken: Arc<AtomicBool>,
    pub shared: &'a Shared<'a>,
}

/// A source's scene, which is kept when it ends, and now and then before.
pub(super) struct Past {
    scene: Scene,
    kept: Option<KeptScene>,
    saved: Instant,
    witness: Option<Witness>,
}

impl Past {
    pub fn new(scene: Scene, kept: Option<KeptScene>, witness: Option<Witness>) -> Self {
        Self { scene, kept, saved: Instant::now(), witness }
    }

    fn save_in_time(&mut self) {
        if self.saved.elapsed() >= SAVE_AFTER {
            self.save();
        }
    }

    fn save(&mut self) {
        self.saved = Instant::now();
        let Some(KeptScene { by, keep, .. }) = &mut self.kept else { return };
        if let Some(bytes) = self.scene.save(by) {
            keep(&bytes);
        }
    }

    /// What a frame is known by at once.
    fn see(&mut self, record: &FrameRecord, evidence: Option<&Evidence>) {
        if let Some(witness) = &mut self.witness {
            witness(Seen::Frame { record, evidence, scene: &self.scene });
        }
    }

    fn tell(&mut self, record: &FrameRecord) {
        if let Some(witness) = &mut self.witness {
            witness(Seen::Record(record));
        }
    }
}

impl Drop for Past {
    fn drop(&mut self) {
        self.save();
    }
}

/// What becomes of a frame whose record waits.
struct Kept {
    /// Drawable; of a live source with its part of the room.
    picture: Option<(Picture, Option<Share>)>,
    /// Which sinks want it.
    wanted: Vec<bool>,
    arrived: Instant,
    /// Where the past is asked.
    glance: Option<Glance>,
}

/// Where records and pictures go.
struct Out<'a, 'b> {
    outbox: &'a mut Outbox<'b>,
    past: Past,
    end: &'a mut End,
    events: Events,
    drawing: Option<(Canvas, Overlay)>,
}

/// How a source came to its end.
#[derive(Default)]
struct End {
    /// Frames that have a record.
    frames: u64,
    /// What its feed said last; none where the run was stopped.
    change: Option<StateChange>,
    last: Option<Arc<FrameRecord>>,
}

impl<'a> Delivery<'a> {
    /// Until the source ends; gives what went wrong.
    pub fn run<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        sinks: Vec<Box<dyn Sink>>,
        past: Past,
        events: Events,
    ) -> Vec<Fault>
    where
        'a: 'scope,
    {
        let (faults, ending) = (Arc::new(Faults::default()), Arc::new(Mutex::new(Ending::Failed)));
        let (mut outbox, mut threads) = (Outbox::new(self.is_live, &self.status), Vec::new());
        for sink in sinks {
            let sink = Drain {
                parcels: outbox.exit(),
                faults: faults.clone(),
                ending: ending.clone(),
                // Of a live source every other sink goes on, and this one is tried again.
                breaks: (!self.is_live).then(|| self.is_broken.clone()),
                source: self.status.clone(),
                sink,
            };
            let name = sink.sink.name();
            match spawn(scope, "sink", move || sink.run()) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    let source = &self.status.name;
                    error!(source, fault = Kind::Internal.name(), "{name}: no thread can be started for it: {error}");
                }
            }
        }
        let mut end = End::default();
        self.deliver(&mut outbox, past, events, &mut end);
        if self.is_live {
            outbox.send_change(&Message::End(Arc::new(self.end_record(end))));
        }
        let is_whole = !self.is_broken.load(Ordering::Relaxed) && !self.shared.has_panicked.load(Ordering::Relaxed);
        if is_whole {
            *ending.lock().unwrap_or_else(PoisonError::into_inner) = Ending::Whole;
        }
        outbox.close();
        let panicked = threads.into_iter().filter_map(|thread| thread.join().err()).map(|_| Fault::Panic("sink"));
        let panicked: Vec<_> = panicked.collect();
        let mut faults = std::mem::take(&mut *faults.lock().unwrap_or_else(PoisonError::into_inner));
        faults.extend(panicked);
        faults
    }

    fn deliver(&self, outbox: &mut Outbox, past: Past, events: Events, end: &mut End) {
        let mut out = Out { outbox, past, end, events, drawing: None };
        let mut follow = Follow::new(self.wait.as_nanos() as u64);
        self.receive(&mut follow, &mut out);
        self.send_all(&mut follow, &mut out);
        self.end_events(&mut out);
    }

    /// Those that wait, without what would have come after them.
    fn send_all(&self, follow: &mut Follow<Kept>, out: &mut Out) {
        while !self.is_broken.load(Ordering::Relaxed) && self.pass(true, follow, out) {}
    }

    /// Sends the oldest of those that wait, where it has waited long enough, or is not to wait (`is_end`); whether there was one.
    fn pass(&self, is_end: bool, follow: &mut Follow<Kept>, out: &mut Out) -> bool {
        let oldest = follow.pop(is_end, self.shared.task);
        oldest.map(|(record, drift, kept)| self.send(record, drift, kept, out)).is_some()
    }

    fn receive(&self, follow: &mut Follow<Kept>, out: &mut Out) {
        let (mut held, mut absence) = (Held::default(), Absence::default());
        for order in &self.orders {
            let order = match order {
                Order::State(change) => {
                    self.say(&change, &mut absence);
                    // They are from before it.
                    self.send_all(follow, out);
                    match change.state {
                        SourceState::Ended => out.end.change = Some(change),
                        _ if self.is_live => {
                            out.outbox.send_change(&Message::State(Arc::new(self.state_record(change))));
                        }
                        _ => {}
                    }
                    continue;
                }
                Order::Pause => {
                    self.send_all(follow, out);
                    continue;
                }
                Order::Frame(order) => order,
            };
            if self.is_broken.load(Ordering::Relaxed) {
                return;
            }
            if order.capture.is_some_and(|capture| capture.gap_ns.is_some()) {
                held.forget();
            }
            held.begin(order.evidence.as_ref()).into_iter().for_each(|objects| self.status.inferred(objects));
            let mut is_inferred = false;
            if let Some(answer) = &order.answer {
                match self.wait(answer, order.bytes()) {
                    Ok(Some(answer)) => {
                        held.answered(answer);
                        is_inferred = true;
                    }
                    Err(TryRecvError::Empty) => held.comes_later(answer),
                    // No frame of a file is passed over: the model is no more, or the run ends.
                    Err(TryRecvError::Disconnected) if !self.is_live => return self.wait_for_end(),
                    Ok(None) | Err(TryRecvError::Disconnected) => {}
                }
            }
            // Of a part that nobody has looked at, nothing is known.
            let again = match &order.again {
                Some((part, answer)) => match self.wait(answer, order.bytes()) {
                    Err(TryRecvError::Disconnected) if !self.is_live => return self.wait_for_end(),
                    answer => answer.ok().flatten().map(|answer| (*part, answer)),
                },
                None => None,
            };
            let start = Instant::now();
            let (record, keys) = self.record(&order, &held, is_inferred, again.as_ref(), &mut out.past.scene);
            out.past.save_in_time();
            let FrameOrder { evidence, picture, wanted, arrived, .. } = *order;
            out.past.see(&record, evidence.as_ref());
            if evidence.is_some() {
                let own = follow.bytes() + held.bytes() + out.events.bytes();
                self.status.knows_by(out.past.scene.bytes() + own);
            }
            let picture = picture.and_then(|(frame, share)| {
                // A file's next picture waits for room that this one would hold.
                let share = Some(share).filter(|_| self.is_live);
                Some((self.canvas(frame, &mut out.drawing)?, share))
            });
            let bytes = picture.as_ref().map_or(0, |(picture, _)| picture.buffer.size());
            let glance = evidence.as_ref().map(|evidence| Glance::new(evidence, out.past.scene.holes()));
            follow.push(record, keys, evidence.as_ref(), Kept { picture, wanted, arrived, glance });
            while self.pass(false, follow, out) {}
            // Rather a shorter wait than a picture that is missed.
            while self.is_live && !self.room.has_room(bytes) && self.pass(true, follow, out) {}
            self.load.worked(start.elapsed());
        }
    }

    fn send(&self, mut record: FrameRecord, drift: Option<Drift>, kept: Kept, out: &mut Out) {
        let Kept { picture, wanted, arrived, glance } = kept;
        if let Some(live) = &mut record.live {
            live.latency_us = microseconds(arrived);
        }
        let (source, frame) = (&self.status.name, record.frame);
        trace!(target: TRACE, source, frame, latency_us = microseconds(arrived));
        let _span = trace_span!(target: TRACE, "send", source, frame).entered();
        out.end.frames += 1;
        out.past.tell(&record);
        self.status.finished(&record, arrived.elapsed());
        if let Some((_, overlay)) = &mut out.drawing {
            overlay.follow(&record, drift.map(|drift| move |at| drift.ahead(at)));
        }
        let picture = picture.and_then(|(picture, _share)| draw(&mut out.drawing, picture, &record));
        let events =
            glance.map(|glance| out.events.follow(&record, &glance, &self.status.regions())).unwrap_or_default();
        let record = Arc::new(record);
        out.end.last = Some(record.clone());
        out.outbox.send_frame(record, picture, &wanted);
        self.tell(events, out);
    }

    fn tell(&self, events: Vec<EventRecord>, out: &mut Out) {
        for event in events {
            self.status.happened(&event);
            out.outbox.send_change(&Message::Event(Arc::new(event)));
        }
    }

    /// What goes on when the source ends.
    fn end_events(&self, out: &mut Out) {
        let events = out.end.last.take().map(|last| out.events.end(&last)).unwrap_or_default();
        self.tell(events, out);
    }

    /// The answer. It is not waited for any longer (`Empty`) where the orders that wait behind leave no room for more, or their
    /// pictures for one of `bytes`.
    fn wait(&self, answer: &Receiver<Reply>, bytes: usize) -> Result<Reply, TryRecvError> {
        let gone = |_| TryRecvError::Disconnected;
        let start = Instant::now();
        self.load.waits();
        let answer = loop {
            // No polling: eight sources that look every few milliseconds take the cores from the model.
            select! {
                recv(answer) -> answer => break answer.map_err(gone),
                recv(self.crowded) -> told => match told {
                    Ok(()) if self.orders.is_full() || !self.room.has_room(bytes) => break Err(TryRecvError::Empty),
                    Ok(()) => {}
                    // The source has ended: there will be no more orders.
                    Err(_) => break answer.recv().map_err(gone),
                }
            }
        };
        self.load.has_waited(start.elapsed());
        answer
    }

    /// The model is no more, or the run ends: it is soon known why.
    fn wait_for_end(&self) {
        while !self.shared.is_over() && !self.is_broken.load(Ordering::Relaxed) && !self.status.is_stopped() {
            std::thread::sleep(LOOK);
        }
    }

    /// What is known of a frame at once, and the mean keys of its objects.
    fn record(
        &self,
        order: &FrameOrder,
        held: &Held,
        is_inferred: bool,
        again: Option<&(PixelBox, Answer)>,
        scene: &mut Scene,
    ) -> (FrameRecord, Vec<Vec<f32>>) {
        let (task, answer) = (self.shared.task, held.answer());
        let _span = trace_span!(target: TRACE, "know", source = self.status.name, frame = order.index).entered();
        let start = Instant::now();
        let (mut objects, mut keys) = match &order.evidence {
            Some(evidence) => {
                eyes::objects(scene, evidence, (held, is_inferred, again), &order.layout, order.size, task)
            }
            None => {
                let found = answer.iter().flat_map(|answer| answer.objects.iter().map(|found| (found, &answer.layout)));
                let object = |((object, name), layout): (&Named, &PatchLayout)| {
                    ObjectRecord::new(object, name.as_deref(), layout, order.size, task.with_masks)
                };
                (found.map(object).collect(), Vec::new())
            }
        };
        let regions = self.status.regions();
        if !regions.ignored.is_empty() {
            let counts = Vec::from_iter(objects.iter().map(|object| !regions.ignores(object.bbox, order.size)));
            let (mut of_objects, mut of_keys) = (counts.iter(), counts.iter());
            objects.retain(|_| of_objects.next() == Some(&true));
            // None where the model did not see the frame.
            keys.retain(|_| of_keys.next() == Some(&true));
        }
        let known = microseconds(start);
        let live = order.capture.map(|capture| LiveRecord {
            captured_unix_ns: capture.unix_ns,
            clock: capture.clock,
            // Known when it is sent.
            latency_us: 0,
            gap_ns: capture.gap_ns,
        });
        let mut timings = answer.filter(|_| is_inferred).map(|answer| answer.timings).unwrap_or_default();
        if let Some((_, answer)) = again {
            timings.convert += answer.timings.convert;
            timings.inference += answer.timings.inference;
            timings.localize += answer.timings.localize;
        }
        let timings = match order.evidence {
            Some(_) => TimingsRecord { motion: order.looked, scene: known, ..timings },
            None => timings,
        };
        let record = FrameRecord::assemble(
            FrameMeta {
                run: &self.shared.board.run,
                source: order.file.as_deref().unwrap_or(&self.status.name),
                frame: order.index,
                pts_ns: order.pts_ns,
                captured_unix_ns: order.captured_unix_ns,
                size: order.size,
                layout: answer.map_or(&order.layout, |answer| &answer.layout),
                method: task.localizer.method,
                model: &task.model,
                ran: self.shared.board.ran(),
                is_inferred,
                every: self.every,
                camera: order.evidence.as_ref().map(|evidence| evidence.camera),
                timings: task.with_timings.then_some(timings),
                live,
                shortfall: order.shortfall.as_deref(),
            },
            objects,
        );
        (record, keys)
    }

    /// Every picture gets the layout of the first. None where a frame cannot be drawn on.
    fn canvas(&self, frame: Frame, drawing: &mut Option<(Canvas, Overlay)>) -> Option<Picture> {
        if drawing.is_none() {
            *drawing = Some((Canvas::new(&frame).ok()?, Overlay::default()));
        }
        let (canvas, _) = drawing.as_mut()?;
        let (pts_ns, duration_ns) = (frame.pts_ns, frame.duration_ns);
        let buffer = canvas.make_drawable(frame, !self.wait.is_zero()).ok()?;
        self.status.drawn(canvas.count);
        Some(Picture { buffer, info: canvas.info().clone(), pts_ns, duration_ns })
    }

    /// Tells the log: of a live source, as much as [`Absence`] lets be told; of a file, what is wrong with it.
    fn say(&self, change: &StateChange, absence: &mut Absence) {
        let (source, now) = (&self.status.name, change.state.name());
        if self.is_live {
            let told = absence.told(change);
            told.into_iter().for_each(|words| warn!(source, state = now, "{source}: {words}"));
        } else if let (SourceState::Lost, Some(why)) = (change.state, &change.why) {
            warn!(source, "{why}");
        }
    }

    fn state_record(&self, change: StateChange) -> StateRecord {
        StateRecord {
            version: VERSION,
            run: self.shared.board.run.clone(),
            source: self.status.name.clone(),
            state: change.state,
            at_unix_ns: unix_ns(change.at),
            why: change.why,
        }
    }

    fn end_record(&self, end: End) -> EndRecord {
        EndRecord {
            version: VERSION,
            run: self.shared.board.run.clone(),
            source: self.status.name.clone(),
            state: SourceState::Ended,
            at_unix_ns: unix_ns(end.change.as_ref().map_or_else(SystemTime::now, |change| change.at)),
            frames: end.frames,
            why: end.change.and_then(|change| change.why),
        }
    }
}

/// None where it cannot be drawn on.
fn draw(drawing: &mut Option<(Canvas, Overlay)>, mut picture: Picture, record: &FrameRecord) -> Option<Picture> {
    let (_, overlay) = drawing.as_mut()?;
    overlay.draw(picture.buffer.make_mut(), &picture.info, record).ok()?;
    Some(picture)
}

fn unix_ns(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
