//! Where frames wait for the model: the one place where live frames are passed over, and counted.

use super::sessions::Purpose;
use super::status::{LaneId, SourceStatus};
use crate::geometry::PixelBox;
use crate::stream::frame::Frame;
use crossbeam_channel::Sender;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Frames of one live source that wait: the newest.
const LIVE_FRAMES: usize = 1;
/// Frames of a patient source that can wait: one ready while another is in the model.
const PATIENT_FRAMES: usize = 2;
/// How often a frame that waits for room asks whether to go on.
const LOOK: Duration = Duration::from_millis(100);

/// A frame on its way to the model. To drop it says that there will be no answer.
pub struct Waiting<T> {
    pub frame: Frame,
    /// What sees it.
    pub purpose: Purpose,
    pub wants: Wants,
    pub ticket: Sender<T>,
    /// A part of the frame that is seen again, after it.
    pub crop: Option<Crop<T>>,
}

/// A part of a frame on its way to the model. To drop it says that there will be no answer.
pub struct Crop<T> {
    /// In the frame's displayed pixels.
    pub part: PixelBox,
    pub purpose: Purpose,
    pub ticket: Sender<T>,
    /// It is seen whatever else waits: a file's, whose records are the same in every run.
    pub is_due: bool,
}

/// What is asked for besides the features.
#[derive(Clone, Copy)]
pub struct Wants {
    /// The middle block's keys.
    pub keys: bool,
    /// The objects of the single picture.
    pub appearance: bool,
}

/// The frames of all lanes that wait for the model, which takes them in turn.
pub struct Inbox<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    lanes: Vec<Lane<T>>,
    /// Whose turn it is: the first lane after this one, or the first of all.
    last: Option<LaneId>,
    /// No more lanes come.
    is_closed: bool,
    /// Nobody takes anything any more.
    has_ended: bool,
}

struct Lane<T> {
    waiting: VecDeque<Waiting<T>>,
    is_live: bool,
    is_open: bool,
    status: Arc<SourceStatus>,
}

/// One lane's way in; it is closed when dropped.
pub struct Entrance<T> {
    inbox: Arc<Inbox<T>>,
    id: LaneId,
}

impl<T> Inbox<T> {
    pub fn new() -> Arc<Self> {
        let state = State { lanes: Vec::new(), last: None, is_closed: false, has_ended: false };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more lane.
    pub fn enter(self: &Arc<Self>, status: Arc<SourceStatus>, is_live: bool) -> Entrance<T> {
        let id = status.id;
        let lane = Lane { waiting: VecDeque::new(), is_live, is_open: true, status };
        let mut state = self.state();
        let at = state.lanes.partition_point(|other| other.status.id < id);
        state.lanes.insert(at, lane);
        Entrance { inbox: self.clone(), id }
    }

    /// No more lanes come.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Those who wait look again: a session is there.
    pub fn wake(&self) {
        // Whoever has just looked and is about to wait holds the lock.
        drop(self.state());
        self.changed.notify_all();
    }

    /// Waits for the first frame of any lane, which stays; none once all lanes have ended.
    pub fn first(&self) -> Option<Purpose> {
        let mut state = self.state();
        loop {
            if let Some(item) = state.lanes.iter().find_map(|lane| lane.waiting.front()) {
                return Some(item.purpose);
            }
            if state.is_closed && state.lanes.iter().all(|lane| !lane.is_open) {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nobody takes frames any more: there will be no answers.
    pub fn end(&self) {
        let mut state = self.state();
        state.has_ended = true;
        state.lanes.iter_mut().for_each(|lane| lane.waiting.clear());
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for a frame that `is_ready`; gives it with its source. None once all lanes have ended.
    pub fn take(&self, is_ready: impl Fn(&Waiting<T>) -> bool) -> Option<(Arc<SourceStatus>, Waiting<T>)> {
        let mut state = self.state();
        loop {
            state.lanes.retain(|lane| lane.is_open || !lane.waiting.is_empty());
            let turn = state.lanes.partition_point(|lane| Some(lane.status.id) <= state.last);
            let count = state.lanes.len();
            let mut turns = (0..count).map(|step| (turn + step) % count);
            let ready = turns.find(|&lane| state.lanes[lane].waiting.front().is_some_and(&is_ready));
            if let Some(lane) = ready
                && let Some(item) = state.lanes[lane].waiting.pop_front()
            {
                let status = state.lanes[lane].status.clone();
                state.last = Some(status.id);
                self.changed.notify_all();
                return Some((status, item));
            }
            if state.is_closed && state.lanes.is_empty() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether frames wait.
    pub fn is_waited_for(&self) -> bool {
        self.state().lanes.iter().any(|lane| !lane.waiting.is_empty())
    }

    /// What has come from a live source since `item` was taken, in its place; only where the same session sees it.
    pub fn newest(&self, source: &SourceStatus, item: Waiting<T>) -> Waiting<T> {
        let mut state = self.state();
        let lane = state.lanes.iter_mut().find(|lane| lane.status.id == source.id && lane.is_live);
        let Some(lane) = lane.filter(|lane| lane.waiting.front().is_some_and(|newer| newer.purpose == item.purpose))
        else {
            return item;
        };
        lane.status.passed_over();
        lane.waiting.pop_front().unwrap_or(item)
    }
}

impl<T> Entrance<T> {
    /// Puts a frame in. A live one replaces what waits; others wait for room, until `is_over`.
    pub fn put(&self, item: Waiting<T>, is_over: &dyn Fn() -> bool) {
        let mut state = self.inbox.state();
        while !state.has_ended {
            let Some(lane) = state.lanes.iter_mut().find(|lane| lane.status.id == self.id) else { return };
            let most = if lane.is_live { LIVE_FRAMES } else { PATIENT_FRAMES };
            if lane.is_live {
                while lane.waiting.len() >= most {
                    lane.waiting.pop_front();
                    lane.status.passed_over();
                }
            }
            if lane.waiting.len() < most {
                lane.waiting.push_back(item);
                self.inbox.changed.notify_all();
                return;
            }
            if is_over() {
                return;
            }
            let waited = self.inbox.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<T> Drop for Entrance<T> {
    fn drop(&mut self) {
        let mut state = self.inbox.state();
        if let Some(lane) = state.lanes.iter_mut().find(|lane| lane.status.id == self.id) {
            lane.is_open = false;
        }
        drop(state);
        self.inbox.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::status::Board;
    use crate::geometry::{Grid, PatchLayout};
    use crossbeam_channel::{Receiver, bounded};
    use gstreamer as gst;
    use gstreamer_video as gst_video;

    fn purpose(cols: usize) -> Purpose {
        let layout =
            PatchLayout { grid: Grid { rows: 1, cols }, patch: 8, image_width: cols as u32 * 8, image_height: 8 };
        Purpose { layout, need: None }
    }

    fn frame(index: u64) -> Frame {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, 4, 4).build().unwrap();
        Frame::new(index, 0, 0, gst::Buffer::new(), info)
    }

    fn put_as(entrance: &Entrance<u64>, index: u64, purpose: Purpose) -> Receiver<u64> {
        let (ticket, answer) = bounded(1);
        let wants = Wants { keys: false, appearance: true };
        entrance.put(Waiting { frame: frame(index), purpose, wants, ticket, crop: None }, &|| false);
        answer
    }

    fn put(entrance: &Entrance<u64>, index: u64) -> Receiver<u64> {
        put_as(entrance, index, purpose(1))
    }

    type Entered = (Vec<Entrance<u64>>, Vec<Arc<SourceStatus>>);

    /// An inbox, and for each of these lanes an entrance and its status.
    fn inbox(is_live: &[bool]) -> (Arc<Inbox<u64>>, Entered) {
        let (inbox, board) = (Inbox::new(), Board::default());
        let sources = Vec::from_iter(is_live.iter().map(|_| board.enter("a".into())));
        let lanes = sources.iter().zip(is_live);
        let entrances = lanes.map(|(status, &is_live)| inbox.enter(status.clone(), is_live)).collect();
        inbox.close();
        (inbox, (entrances, sources))
    }

    #[test]
    fn a_newer_live_frame_replaces_the_one_that_waits_and_is_counted() {
        let (inbox, (entrances, sources)) = inbox(&[true]);
        let old: Vec<_> = (0..3).map(|index| put(&entrances[0], index)).collect();
        let newest = put(&entrances[0], 3);
        let (_, taken) = inbox.take(|_| true).unwrap();
        assert_eq!(taken.frame.index, 3);
        assert!(old.iter().all(|answer| answer.recv().is_err()), "no answer comes for frames passed over");
        taken.ticket.send(7).unwrap();
        assert_eq!(newest.recv(), Ok(7));
        assert_eq!(sources[0].snapshot().passed_over, 3);
        drop(entrances);
        assert!(inbox.take(|_| true).is_none());
    }

    #[test]
    fn a_frame_that_waited_for_the_model_gives_way_to_a_newer_one_of_a_live_source_alone() {
        let (inbox, (entrances, sources)) = inbox(&[true, false]);
        for (source, newest) in [(0, 1), (1, 0)] {
            let _answers = [put(&entrances[source], 0)];
            let (status, taken) = inbox.take(|_| true).unwrap();
            let _later = put(&entrances[source], 1);
            assert!(inbox.is_waited_for());
            assert_eq!(inbox.newest(&status, taken).frame.index, newest);
            assert_eq!(inbox.is_waited_for(), newest == 0, "the model has the newest there is");
            assert_eq!(sources[source].snapshot().passed_over, newest);
        }
        let _first = put(&entrances[0], 2);
        let (status, taken) = inbox.take(|_| true).unwrap();
        let _turned = put_as(&entrances[0], 3, purpose(2));
        assert_eq!(inbox.newest(&status, taken).frame.index, 2, "the place is for another shape");
    }

    #[test]
    fn sources_take_turns_and_one_that_ended_is_silent_or_not_ready_costs_no_turn() {
        let (inbox, (mut entrances, sources)) = inbox(&[true; 5]);
        drop(entrances.pop());
        // The session of the fourth is not there yet; the second is silent.
        let _not_ready = put_as(&entrances[3], 0, purpose(9));
        let mut order = Vec::new();
        for index in 0..6 {
            let _answers = [put(&entrances[0], index), put(&entrances[2], index)];
            order.push(inbox.take(|item| item.purpose == purpose(1)).unwrap().0.id);
            order.push(inbox.take(|item| item.purpose == purpose(1)).unwrap().0.id);
        }
        assert_eq!(order, [sources[0].id, sources[2].id].repeat(6));
        assert_eq!(inbox.take(|_| true).unwrap().0.id, sources[3].id);
    }

    #[test]
    fn a_patient_frame_waits_for_room_and_none_is_lost() {
        let (inbox, (mut entrances, sources)) = inbox(&[false]);
        let entrance = entrances.remove(0);
        std::thread::scope(|scope| {
            scope.spawn(move || (0..50).for_each(|index| drop(put(&entrance, index))));
            let taken: Vec<u64> =
                std::iter::from_fn(|| inbox.take(|_| true).map(|(_, item)| item.frame.index)).collect();
            assert_eq!(taken, Vec::from_iter(0..50));
        });
        assert_eq!(sources[0].snapshot().passed_over, 0);
    }
}
