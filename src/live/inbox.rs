//! Where frames wait for the model: the one place where live frames are passed over, and counted.

use super::status::SourceStatus;
use crate::stream::frame::Frame;
use crossbeam_channel::{Receiver, Select, SendTimeoutError, Sender, TryRecvError, TrySendError, bounded};
use std::sync::Arc;
use std::time::Duration;

/// Frames of one live source that wait: the newest.
const LIVE_FRAMES: usize = 1;
/// Frames of a source that can wait: one ready while another is in the model.
const PATIENT_FRAMES: usize = 2;
/// How often a frame that waits for room asks whether to go on.
const LOOK: Duration = Duration::from_millis(100);

/// A frame on its way to the model. To drop it says that there will be no answer.
pub struct Waiting<T> {
    pub frame: Frame,
    pub ticket: Sender<T>,
}

/// One source's way in.
pub struct Entrance<T> {
    to_inbox: Sender<Waiting<T>>,
    /// To take out what a newer frame replaces.
    waiting: Receiver<Waiting<T>>,
    is_live: bool,
    status: Arc<SourceStatus>,
}

/// The model's end: the sources take turns.
pub struct Inbox<T> {
    lanes: Vec<Lane<T>>,
    is_open: Vec<bool>,
    next: usize,
}

struct Lane<T> {
    waiting: Receiver<Waiting<T>>,
    is_live: bool,
    status: Arc<SourceStatus>,
}

/// An inbox, and an entrance for each source: its status, and whether it is live.
pub fn new<T>(sources: impl IntoIterator<Item = (Arc<SourceStatus>, bool)>) -> (Vec<Entrance<T>>, Inbox<T>) {
    let lane = |(status, is_live): (Arc<SourceStatus>, bool)| {
        let (to_inbox, waiting) = bounded(if is_live { LIVE_FRAMES } else { PATIENT_FRAMES });
        let lane = Lane { waiting: waiting.clone(), is_live, status: status.clone() };
        (Entrance { to_inbox, waiting, is_live, status }, lane)
    };
    let (entrances, lanes): (Vec<_>, Vec<_>) = sources.into_iter().map(lane).unzip();
    let is_open = vec![true; lanes.len()];
    (entrances, Inbox { lanes, is_open, next: 0 })
}

impl<T> Entrance<T> {
    /// Puts a frame in. A live one replaces what waits; others wait for room, until `is_over`.
    pub fn put(&self, mut item: Waiting<T>, is_over: &dyn Fn() -> bool) {
        if !self.is_live {
            while let Err(SendTimeoutError::Timeout(back)) = self.to_inbox.send_timeout(item, LOOK) {
                if is_over() {
                    return;
                }
                item = back;
            }
            return;
        }
        while let Err(TrySendError::Full(back)) = self.to_inbox.try_send(item) {
            if self.waiting.try_recv().is_ok() {
                self.status.passed_over();
            }
            item = back;
        }
    }
}

impl<T> Inbox<T> {
    /// Waits for a frame; gives it with the number of its source. None once all sources have ended.
    pub fn take(&mut self) -> Option<(usize, Waiting<T>)> {
        loop {
            if let Some(item) = self.take_waiting() {
                return Some(item);
            }
            let mut select = Select::new();
            let open = self.lanes.iter().zip(&self.is_open).filter(|(_, is_open)| **is_open);
            if open.map(|(lane, _)| select.recv(&lane.waiting)).count() == 0 {
                return None;
            }
            select.ready();
        }
    }

    /// What has come from a live source since `item` was taken, in its place.
    pub fn newest(&self, lane: usize, item: Waiting<T>) -> Waiting<T> {
        let Lane { waiting, is_live, status } = &self.lanes[lane];
        match is_live.then(|| waiting.try_recv()) {
            Some(Ok(newer)) => {
                status.passed_over();
                newer
            }
            _ => item,
        }
    }

    /// The same without waiting: none where no frame is there.
    pub fn take_waiting(&mut self) -> Option<(usize, Waiting<T>)> {
        for lane in (0..self.lanes.len()).map(|step| (self.next + step) % self.lanes.len()) {
            match self.lanes[lane].waiting.try_recv() {
                Ok(item) => {
                    self.next = lane + 1;
                    return Some((lane, item));
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.is_open[lane] = false,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::status::Board;
    use gstreamer as gst;
    use gstreamer_video as gst_video;

    fn frame(index: u64) -> Frame {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, 4, 4).build().unwrap();
        Frame {
            index,
            pts_ns: 0,
            duration_ns: 0,
            buffer: gst::Buffer::new(),
            info,
            file: None,
            native: None,
            capture: None,
        }
    }

    fn put(entrance: &Entrance<u64>, index: u64) -> Receiver<u64> {
        let (ticket, answer) = bounded(1);
        entrance.put(Waiting { frame: frame(index), ticket }, &|| false);
        answer
    }

    #[test]
    fn a_newer_live_frame_replaces_the_one_that_waits_and_is_counted() {
        let board = Board::new(["a".to_owned()]);
        let (entrances, mut inbox) = new(board.sources.iter().map(|status| (status.clone(), true)));
        let old: Vec<_> = (0..3).map(|index| put(&entrances[0], index)).collect();
        let newest = put(&entrances[0], 3);
        let (_, taken) = inbox.take().unwrap();
        assert_eq!(taken.frame.index, 3);
        assert!(old.iter().all(|answer| answer.recv().is_err()), "no answer comes for frames passed over");
        taken.ticket.send(7).unwrap();
        assert_eq!(newest.recv(), Ok(7));
        assert_eq!(board.sources[0].snapshot().passed_over, 3);
        drop(entrances);
        assert!(inbox.take().is_none());
    }

    #[test]
    fn a_frame_that_waited_for_the_model_gives_way_to_a_newer_one_of_a_live_source_alone() {
        let board = Board::new(["live", "file"].map(str::to_owned));
        let (entrances, mut inbox) = new(board.sources.iter().cloned().zip([true, false]));
        for (source, newest) in [(0, 1), (1, 0)] {
            let _answers = [put(&entrances[source], 0)];
            let (lane, taken) = inbox.take().unwrap();
            let _later = put(&entrances[source], 1);
            assert_eq!(inbox.newest(lane, taken).frame.index, newest);
            assert_eq!(board.sources[source].snapshot().passed_over, newest);
        }
    }

    #[test]
    fn sources_take_turns_and_one_that_ended_or_is_silent_costs_no_turn() {
        let board = Board::new(["a", "b", "c", "d"].map(str::to_owned));
        let (mut entrances, mut inbox) = new(board.sources.iter().map(|status| (status.clone(), true)));
        drop(entrances.pop());
        let mut order = Vec::new();
        for index in 0..6 {
            // The second source is silent.
            let _answers = [put(&entrances[0], index), put(&entrances[2], index)];
            order.push(inbox.take().unwrap().0);
            order.push(inbox.take().unwrap().0);
        }
        assert_eq!(order, [0, 2].repeat(6));
    }

    #[test]
    fn a_patient_frame_waits_for_room_and_none_is_lost() {
        let board = Board::new(["file".to_owned()]);
        let (mut entrances, mut inbox) = new(board.sources.iter().map(|status| (status.clone(), false)));
        let entrance = entrances.remove(0);
        std::thread::scope(|scope| {
            scope.spawn(move || (0..50).for_each(|index| drop(put(&entrance, index))));
            let taken: Vec<u64> = std::iter::from_fn(|| inbox.take().map(|(_, item)| item.frame.index)).collect();
            assert_eq!(taken, Vec::from_iter(0..50));
        });
        assert_eq!(board.sources[0].snapshot().passed_over, 0);
    }
}
