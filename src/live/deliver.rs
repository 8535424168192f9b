//! From frames and answers to records and pictures, in order, and on to the sinks.

use super::engine::Task;
use super::feed::StateChange;
use super::outbox::{Outbox, Parcel, Room, Share};
use super::sink::{Picture, Sink};
use super::status::SourceStatus;
use crate::discover::groups::Named;
use crate::engine::crew::spawn;
use crate::engine::fit::part_of;
use crate::geometry::PatchLayout;
use crate::overlay::Overlay;
use crate::record::{FrameRecord, GridRecord, LiveRecord, ObjectRecord, StateRecord, TimingsRecord, VERSION};
use crate::stream::canvas::Canvas;
use crate::stream::frame::{Capture, Frame};
use crossbeam_channel::{Receiver, TryRecvError, select};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Scope;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// How often one who waits for the session looks whether to go on.
const LOOK: Duration = Duration::from_millis(5);

/// What was found in one frame.
#[derive(Clone)]
pub(super) struct Answer {
    pub objects: Arc<Vec<Named>>,
    /// Where in the session's image the frame was.
    pub part: PatchLayout,
    pub timings: TimingsRecord,
}

/// What happened at a source, in order.
pub(super) enum Order {
    State(StateChange),
    Frame(Box<FrameOrder>),
}

/// A frame that is to have a record.
pub(super) struct FrameOrder {
    index: u64,
    pts_ns: u64,
    size: (u32, u32),
    capture: Option<Capture>,
    file: Option<Arc<str>>,
    picture: Option<(Frame, Share)>,
    /// Which sinks want it.
    wanted: Vec<bool>,
    /// None where the model is not asked.
    answer: Option<Receiver<Answer>>,
    arrived: Instant,
}

impl Order {
    pub fn frame(
        frame: &Frame,
        picture: Option<(Frame, Share)>,
        wanted: Vec<bool>,
        answer: Option<Receiver<Answer>>,
        arrived: Instant,
    ) -> Self {
        let Frame { index, pts_ns, capture, .. } = *frame;
        Self::Frame(Box::new(FrameOrder {
            index,
            pts_ns,
            size: frame.display_size(),
            capture,
            file: frame.file.clone(),
            picture,
            wanted,
            answer,
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
    pub task: &'a Task,
    pub session: &'a OnceLock<PatchLayout>,
    pub status: &'a SourceStatus,
    pub is_live: bool,
    pub orders: Receiver<Order>,
    /// Tells a live source's delivery that there is no room for one more order, or for its picture.
    pub crowded: Receiver<()>,
    /// Of the pictures in the orders.
    pub room: Arc<Room>,
    pub is_over: &'a (dyn Fn() -> bool + Sync),
    pub tell: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Delivery<'a> {
    /// Until the source ends; gives the number of sinks that failed.
    pub fn run<'scope>(self, scope: &'scope Scope<'scope, '_>, sinks: Vec<Box<dyn Sink>>) -> usize
    where
        'a: 'scope,
    {
        let failed = Arc::new(AtomicUsize::new(0));
        let (mut outbox, mut threads) = (Outbox::new(self.is_live, self.status), Vec::new());
        for sink in sinks {
            let parcels = outbox.exit();
            let (failed, tell) = (failed.clone(), self.tell);
            let name = sink.name();
            match spawn(scope, "sink", move || drain(sink, parcels, &failed, tell)) {
                Ok(thread) => threads.push(thread),
                Err(error) => tell(&format!("{name}: no thread can be started for it: {error}")),
            }
        }
        self.deliver(&mut outbox);
        outbox.close();
        let panicked = threads.into_iter().filter_map(|thread| thread.join().err()).count();
        failed.load(Ordering::Relaxed) + panicked
    }

    fn deliver(&self, outbox: &mut Outbox) {
        let mut held: Option<Answer> = None;
        // Of frames that could not be waited for: as many as are in the inbox and beyond.
        let mut late: Vec<Receiver<Answer>> = Vec::new();
        let mut drawing = None;
        for order in &self.orders {
            let order = match order {
                Order::State(change) => {
                    outbox.send_state(Arc::new(self.state_record(change)));
                    continue;
                }
                Order::Frame(order) => order,
            };
            if order.capture.is_some_and(|capture| capture.gap_ns.is_some()) {
                // What was there before is not there now.
                held = None;
                late.clear();
            }
            // They hold for the frames after theirs.
            late.retain(|answer| match answer.try_recv() {
                Ok(answer) => {
                    self.status.inferred(answer.objects.len());
                    held = Some(answer);
                    false
                }
                Err(error) => error == TryRecvError::Empty,
            });
            let mut is_inferred = false;
            if let Some(answer) = &order.answer {
                match self.wait(answer, order.bytes()) {
                    Ok(answer) => (held, is_inferred) = (Some(answer), true),
                    Err(TryRecvError::Empty) => late.push(answer.clone()),
                    Err(TryRecvError::Disconnected) => {}
                }
            }
            let Some(record) = self.record(&order, held.as_ref(), is_inferred) else { return };
            self.status.finished(&record, order.arrived.elapsed());
            let picture = order.picture.and_then(|(frame, _share)| self.draw(&mut drawing, frame, &record));
            outbox.send_frame(Arc::new(record), picture, &order.wanted);
        }
    }

    /// The answer. It is not waited for any longer (`Empty`) where the orders that wait behind leave no room for more, or their
    /// pictures for one of `bytes`.
    fn wait(&self, answer: &Receiver<Answer>, bytes: usize) -> Result<Answer, TryRecvError> {
        let gone = |_| TryRecvError::Disconnected;
        loop {
            // No polling: eight sources that look every few milliseconds take the cores from the model.
            select! {
                recv(answer) -> answer => return answer.map_err(gone),
                recv(self.crowded) -> told => match told {
                    Ok(()) if self.orders.is_full() || !self.room.has_room(bytes) => return Err(TryRecvError::Empty),
                    Ok(()) => {}
                    // The source has ended: there will be no more orders.
                    Err(_) => return answer.recv().map_err(gone),
                }
            }
        }
    }

    /// None where the run ends before there is a session.
    fn record(&self, order: &FrameOrder, held: Option<&Answer>, is_inferred: bool) -> Option<FrameRecord> {
        let (width, height) = order.size;
        let part = match held {
            Some(answer) => answer.part,
            None => part_of(&self.session()?, order.size),
        };
        let object = |(object, name): &Named| {
            ObjectRecord::new(object, name.as_deref(), &part, (width, height), self.task.with_masks)
        };
        let live = order.capture.map(|capture| LiveRecord {
            captured_unix_ns: capture.unix_ns,
            clock: capture.clock,
            latency_us: order.arrived.elapsed().as_micros() as u64,
            gap_ns: capture.gap_ns,
        });
        let timings = held.filter(|_| is_inferred).map(|answer| answer.timings).unwrap_or_default();
        Some(FrameRecord {
            version: VERSION,
            source: order.file.as_deref().unwrap_or(&self.status.name).to_owned(),
            frame: order.index,
            pts_ns: order.pts_ns,
            width,
            height,
            grid: GridRecord::new(&part, width, height),
            method: self.task.localizer.method,
            model: self.task.model.clone(),
            inferred: is_inferred,
            objects: held.map_or(Vec::new(), |answer| answer.objects.iter().map(object).collect()),
            timings_us: self.task.with_timings.then_some(timings),
            live,
        })
    }

    /// Waits for the session, which is made when the first frame of any source is there.
    fn session(&self) -> Option<PatchLayout> {
        loop {
            match self.session.get() {
                Some(session) => return Some(*session),
                None if (self.is_over)() => return None,
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// Every picture gets the layout of the first. None where a frame cannot be drawn on.
    fn draw(&self, drawing: &mut Option<(Canvas, Overlay)>, frame: Frame, record: &FrameRecord) -> Option<Picture> {
        if drawing.is_none() {
            *drawing = Some((Canvas::new(&frame).ok()?, Overlay::default()));
        }
        let (canvas, overlay) = drawing.as_mut()?;
        let (pts_ns, duration_ns) = (frame.pts_ns, frame.duration_ns);
        let mut buffer = canvas.make_drawable(frame).ok()?;
        let size = (record.width, record.height);
        overlay.draw(buffer.make_mut(), canvas.info(), size, &record.objects).ok()?;
        Some(Picture { buffer, info: canvas.info().clone(), pts_ns, duration_ns })
    }

    fn state_record(&self, change: StateChange) -> StateRecord {
        let why = change.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        (self.tell)(&format!("{}: {}{why}", self.status.name, change.state.name()));
        StateRecord {
            version: VERSION,
            source: self.status.name.clone(),
            state: change.state,
            at_unix_ns: change.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64,
            why: change.why,
        }
    }
}

/// A sink's thread.
fn drain(mut sink: Box<dyn Sink>, parcels: Receiver<Parcel>, failed: &AtomicUsize, tell: &(dyn Fn(&str) + Sync)) {
    let name = sink.name();
    let taken = parcels.iter().try_for_each(|parcel| sink.take(&parcel.message));
    if let Err(why) = taken.and_then(|()| sink.finish()) {
        failed.fetch_add(1, Ordering::Relaxed);
        tell(&format!("{name}: {why}"));
    }
    // What comes for a sink that has failed takes up no room.
    parcels.iter().for_each(drop);
}
