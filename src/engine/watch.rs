//! One source through the engine, its records to the caller.

use super::lanes::{EngineError, Input, Outcome, Task, run};
use super::sessions::Models;
use super::sink::{Message, Sink, SinkError, Wish};
use super::status::Board;
use crate::record::FrameRecord;
use crate::stream::feed::Feed;
use std::sync::atomic::AtomicBool;

/// Gives `take` the record of every frame of a source, in order, as a run would write it, until the source ends or `stop` is set. The
/// model runs on each `every`-th frame.
pub fn watch(
    feed: Box<dyn Feed>,
    every: u64,
    task: &Task,
    models: &dyn Models,
    stop: &AtomicBool,
    take: impl FnMut(&FrameRecord) + Send + 'static,
) -> Result<Outcome, EngineError> {
    let board = Board::new(["watched".to_owned()]);
    let input = Input { feed, sinks: vec![Box::new(Take(take))], every, adaptive: None, scene: None };
    run(task, vec![input], models, &board, stop, &|_| {})
}

struct Take<F>(F);

impl<F: FnMut(&FrameRecord) + Send> Sink for Take<F> {
    fn name(&self) -> String {
        "the caller".to_owned()
    }

    fn wish(&self) -> Wish {
        Box::new(|| false)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        if let Message::Frame { record, .. } = message {
            (self.0)(record);
        }
        Ok(())
    }
}
