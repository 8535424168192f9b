//! What comes of a run for the program around it: a bounded stream of records, and of pictures where it wants them.

use crate::engine::sink::{Message, Sink, SinkError, Wish};
use crate::engine::status::SourceStatus;
use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Messages that wait for the reader: with pictures as many as a decoder can spare.
const RECORDS: usize = 256;
const PICTURES: usize = 4;
/// How often who waits looks whether to go on.
const LOOK: Duration = Duration::from_millis(50);

/// What the program around a run gets to see of it. Where it sees something, nothing is written but what the spec names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Observe {
    #[default]
    Nothing,
    /// Of frames, and of live sources' changes of state and ends.
    Records,
    /// The same, and the annotated pictures.
    Pictures,
}

/// Where it is read.
pub struct Window(Receiver<Message>);

/// Makes a sink for each source.
pub struct Watcher {
    to: Sender<Message>,
    pub with_pictures: bool,
    stop: Arc<AtomicBool>,
}

/// Of one source.
struct Watch {
    to: Sender<Message>,
    with_pictures: bool,
    stop: Arc<AtomicBool>,
    status: Arc<SourceStatus>,
}

/// None where nothing is observed.
pub fn open(observe: Observe, stop: &Arc<AtomicBool>) -> Option<(Window, Watcher)> {
    let (with_pictures, most) = match observe {
        Observe::Nothing => return None,
        Observe::Records => (false, RECORDS),
        Observe::Pictures => (true, PICTURES),
    };
    let (to, messages) = bounded(most);
    Some((Window(messages), Watcher { to, with_pictures, stop: stop.clone() }))
}

impl Window {
    /// Waits for the next message; none where `is_idle`, and none waits.
    pub fn next(&self, is_idle: impl Fn() -> bool) -> Option<Message> {
        loop {
            // Asked first: what is sent before the end is seen.
            let was_idle = is_idle();
            match self.0.recv_timeout(if was_idle { Duration::ZERO } else { LOOK }) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) if !was_idle => {}
                Err(_) => return None,
            }
        }
    }
}

impl Watcher {
    pub fn sink(&self, status: Arc<SourceStatus>) -> Box<dyn Sink> {
        Box::new(Watch { to: self.to.clone(), with_pictures: self.with_pictures, stop: self.stop.clone(), status })
    }
}

impl Sink for Watch {
    fn name(&self) -> String {
        "the program".into()
    }

    fn wish(&self) -> Wish {
        let with_pictures = self.with_pictures;
        Box::new(move |_| with_pictures)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        let mut message = message.clone();
        loop {
            // Who ends the run, or removes the source, may be the one who reads.
            let is_over = self.stop.load(Ordering::Relaxed) || self.status.is_stopped();
            match self.to.send_timeout(message, if is_over { Duration::ZERO } else { LOOK }) {
                Err(SendTimeoutError::Timeout(back)) if !is_over => message = back,
                // Nobody reads any more: that is no fault.
                _ => return Ok(()),
            }
        }
    }
}
