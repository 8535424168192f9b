//! The way from one source to its sinks, and how much may wait on it.

use super::sink::{Message, Missed, Picture};
use super::status::SourceStatus;
use crate::record::FrameRecord;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Frames that wait for one sink: those that waited for an answer come all at once.
const FRAMES: usize = 64;
/// Changes of state and events that wait besides, and those that wait for these; of more, the last.
const STATES: usize = 64;
const LATE: usize = 1024;
/// Bytes of pictures that wait in one place, and pictures that may whatever their size.
const PICTURE_BYTES: usize = 32 << 20;
const FEW_PICTURES: usize = 3;
/// How often one who waits for room looks for it.
const LOOK: Duration = Duration::from_millis(5);

/// Room for the pictures that wait in one place.
pub struct Room {
    bytes: AtomicUsize,
    pictures: AtomicUsize,
    /// Bytes of more pictures than a few.
    most_bytes: usize,
    /// Pictures that may wait whatever their size.
    few: Arc<AtomicUsize>,
}

/// A picture's part of a room, given back when dropped.
pub struct Share {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    /// For a live source: as many as it takes to lose none over a pause of some seconds.
    pub fn live() -> Arc<Self> {
        Self::new(PICTURE_BYTES, Arc::new(FEW_PICTURES.into()))
    }

    /// For a patient one: no more than keep the others busy, since decoders run out of memory for frames.
    pub fn patient(few: Arc<AtomicUsize>) -> Arc<Self> {
        Self::new(0, few)
    }

    fn new(most_bytes: usize, few: Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self { bytes: 0.into(), pictures: 0.into(), most_bytes, few })
    }

    pub fn has_room(&self, bytes: usize) -> bool {
        let taken = self.bytes.load(Ordering::Relaxed);
        self.pictures.load(Ordering::Relaxed) < self.few.load(Ordering::Relaxed)
            || taken.saturating_add(bytes) <= self.most_bytes
    }

    /// For one taker alone; none where it is full.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        self.has_room(bytes).then(|| {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.pictures.fetch_add(1, Ordering::Relaxed);
            Share { room: self.clone(), bytes }
        })
    }

    /// Waits until there is room; none where `is_over` before.
    pub fn wait(self: &Arc<Self>, bytes: usize, is_over: &dyn Fn() -> bool) -> Option<Share> {
        loop {
            match self.take(bytes) {
                Some(share) => return Some(share),
                None if is_over() => return None,
                None => std::thread::sleep(LOOK),
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.room.pictures.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The exits of one source. A live one does not wait for a sink that is slow: what finds no room there is missed, and counted.
pub struct Outbox<'a> {
    exits: Vec<Exit>,
    is_live: bool,
    status: &'a SourceStatus,
}

/// A message on its way.
pub struct Parcel {
    pub message: Message,
    /// What found no room before it.
    pub missed: Option<Missed>,
    _share: Option<Share>,
}

struct Exit {
    /// None once the sink is closed.
    to_sink: Option<Sender<Parcel>>,
    room: Arc<Room>,
    /// Changes and events that there was no room for: they are late, not lost.
    late: VecDeque<Message>,
    /// Frames that there was no room for since the last message.
    missed: Option<Missed>,
}

impl<'a> Outbox<'a> {
    pub fn new(is_live: bool, status: &'a SourceStatus) -> Self {
        Self { exits: Vec::new(), is_live, status }
    }

    /// The way to one more sink.
    pub fn exit(&mut self) -> Receiver<Parcel> {
        let (to_sink, parcels) = bounded(FRAMES + STATES);
        let room = if self.is_live { Room::live() } else { Room::patient(Arc::new(FEW_PICTURES.into())) };
        self.exits.push(Exit { to_sink: Some(to_sink), room, late: VecDeque::new(), missed: None });
        parcels
    }

    /// A change at a source, or what happened there: every exit gets it.
    pub fn send_change(&mut self, change: &Message) {
        for exit in &mut self.exits {
            if self.is_live { exit.offer_change(change.clone()) } else { exit.hand_over(change.clone()) }
        }
    }

    /// The picture goes to the exits that want it, in the order in which they were made.
    pub fn send_frame(&mut self, record: Arc<FrameRecord>, picture: Option<Picture>, wanted: &[bool]) {
        for (exit, &is_wanted) in self.exits.iter_mut().zip(wanted) {
            let message = Message::Frame { record: record.clone(), picture: picture.clone().filter(|_| is_wanted) };
            if !self.is_live {
                exit.hand_over(message);
            } else if !exit.offer_frame(message) {
                exit.miss(record.frame);
                self.status.missed_by_sink();
            }
        }
    }

    /// After the last message.
    pub fn close(self) {
        for mut exit in self.exits {
            std::mem::take(&mut exit.late).into_iter().for_each(|late| exit.hand_over(late));
        }
    }
}

impl Exit {
    /// Where even changes fill the way, they wait here for the next message.
    fn offer_change(&mut self, change: Message) {
        self.late.push_back(change);
        self.put_late();
        if self.late.len() > LATE {
            self.late.pop_front();
        }
    }

    fn put_late(&mut self) {
        while let Some(late) = self.late.pop_front() {
            if let Some(late) = self.put(late, None) {
                return self.late.push_front(late);
            }
        }
    }

    /// False where there is no room.
    fn offer_frame(&mut self, frame: Message) -> bool {
        self.put_late();
        let is_full = self.to_sink.as_ref().is_some_and(|to_sink| to_sink.len() >= FRAMES);
        let share = bytes_of(&frame).map(|bytes| self.room.take(bytes));
        if is_full || matches!(share, Some(None)) {
            return false;
        }
        self.put(frame, share.flatten());
        true
    }

    fn miss(&mut self, frame: u64) {
        let missed = self.missed.get_or_insert(Missed { frames: 0, first: frame, last: frame });
        (missed.frames, missed.last) = (missed.frames + 1, frame);
    }

    /// What there is no room for: a change, since frames leave them room of their own.
    fn put(&mut self, message: Message, share: Option<Share>) -> Option<Message> {
        let missed = self.missed.take();
        match self.to_sink.as_ref()?.try_send(Parcel { message, missed, _share: share }) {
            Ok(()) => {}
            Err(TrySendError::Full(parcel)) => {
                self.missed = parcel.missed;
                return Some(parcel.message);
            }
            Err(TrySendError::Disconnected(_)) => self.to_sink = None,
        }
        None
    }

    /// Waits for room.
    fn hand_over(&mut self, message: Message) {
        let Some(to_sink) = &self.to_sink else { return };
        let share = bytes_of(&message).and_then(|bytes| self.room.wait(bytes, &|| false));
        if to_sink.send(Parcel { message, missed: self.missed.take(), _share: share }).is_err() {
            self.to_sink = None;
        }
    }
}

/// Of the picture in it.
fn bytes_of(message: &Message) -> Option<usize> {
    match message {
        Message::Frame { picture, .. } => picture.as_ref().map(|picture| picture.buffer.size()),
        Message::Event(_) | Message::State(_) | Message::End(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::status::Board;
    use crate::record::{SourceState, StateRecord, VERSION};

    #[test]
    fn of_more_changes_of_state_than_may_wait_the_last_come_in_the_end() {
        let status = Board::default().enter("a".into());
        let mut outbox = Outbox::new(true, &status);
        let parcels = outbox.exit();
        for at_unix_ns in 0..5000 {
            let (run, source, state) = (String::new(), "a".into(), SourceState::Lost);
            let record = StateRecord { version: VERSION, run, source, state, at_unix_ns, why: None };
            outbox.send_change(&Message::State(Arc::new(record)));
        }
        let number = |parcel: Parcel| match parcel.message {
            Message::State(record) => record.at_unix_ns,
            Message::Frame { .. } | Message::Event(_) | Message::End(_) => u64::MAX,
        };
        let waited: Vec<u64> = parcels.try_iter().map(number).collect();
        assert!(waited.len() >= STATES && waited.iter().copied().eq(0..waited.len() as u64));
        std::thread::scope(|scope| {
            scope.spawn(|| outbox.close());
            assert!(parcels.iter().map(number).eq(5000 - LATE as u64..5000));
        });
    }
}
