//! The door of the engine: a run that sources are added to and taken from.

use super::lanes::{Command, work};
use super::sessions::Models;
use super::status::{Board, LaneId};
use super::task::{Ended, EngineError, Input, Outcome, Task};
use crossbeam_channel::{Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use tracing::dispatcher::{get_default, with_default};

/// Commands that wait while a lane is begun or ends.
const COMMANDS: usize = 16;

/// A run on threads of its own. To drop it ends it.
pub struct Engine {
    board: Arc<Board>,
    stop: Arc<AtomicBool>,
    /// None once no more can come.
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<Result<Outcome, EngineError>>>,
}

impl Engine {
    /// A run without a source, until `stop` is set.
    ///
    /// When a device fails in mid-run, what was written is finished: it may have run for hours.
    pub fn start(
        task: Task,
        models: Arc<dyn Models>,
        board: Arc<Board>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, EngineError> {
        let (to_lanes, commands) = bounded(COMMANDS);
        let (of_lanes, ends) = (board.clone(), stop.clone());
        let log = get_default(Clone::clone);
        let run = move || with_default(&log, || work(&task, &*models, &of_lanes, &ends, commands));
        let thread = Builder::new().name("lanes".into()).spawn(run).map_err(EngineError::Thread)?;
        Ok(Self { board, stop, commands: Some(to_lanes), thread: Some(thread) })
    }

    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Adds a source that has entered the board; the others do not notice. A live one begins at once, a file after those before it.
    pub fn add(&self, input: Input) -> Result<LaneId, EngineError> {
        let id = input.status.id;
        let sent = self.commands.as_ref().is_some_and(|commands| commands.send(Command::Add(Box::new(input))).is_ok());
        if !sent {
            self.board.leave(id);
            return Err(EngineError::Over);
        }
        Ok(id)
    }

    /// Ends a source, waits until its sinks have finished, and takes it off the board. None where it is not there, or the run has ended.
    pub fn remove(&self, id: LaneId) -> Option<Ended> {
        let (remover, ended) = bounded(1);
        self.commands.as_ref()?.send(Command::Remove(id, remover)).ok()?;
        ended.recv().ok()
    }

    /// Whether every source so far has ended, or the run has.
    pub fn is_idle(&self) -> bool {
        let has_ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        has_ended || self.board.sources().iter().all(|source| source.is_over())
    }

    /// Waits until every source has ended, or `stop` is set and all is finished.
    pub fn join(mut self) -> Result<Outcome, EngineError> {
        self.commands = None;
        let thread = self.thread.take().ok_or(EngineError::Panic)?;
        thread.join().map_err(|_| EngineError::Panic)?
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            self.stop.store(true, Ordering::Relaxed);
            thread.join().ok();
        }
    }
}

/// Runs these sources on the caller's thread until all have ended or `stop` is set; see [`Engine`].
pub fn run(
    task: &Task,
    inputs: Vec<Input>,
    models: &dyn Models,
    board: &Board,
    stop: &AtomicBool,
) -> Result<Outcome, EngineError> {
    let (to_lanes, commands) = bounded(inputs.len());
    // There is room for all.
    inputs.into_iter().for_each(|input| drop(to_lanes.try_send(Command::Add(Box::new(input)))));
    drop(to_lanes);
    work(task, models, board, stop, commands)
}
