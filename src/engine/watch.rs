//! One source through the engine, its records to the caller.

use super::adaptive::Adaptive;
use super::control::run;
use super::sessions::Models;
use super::status::Board;
use super::task::{EngineError, Input, Outcome, Seen, Task};
use crate::stream::feed::Feed;
use std::sync::atomic::AtomicBool;
use tracing::dispatcher::{Dispatch, with_default};

/// Which frames the model runs on: each `every`-th, of those, where it is adaptive, that ask for it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub every: u64,
    pub is_adaptive: bool,
}

/// Shows `take` every frame of a source, in order, and its record as a run would write it, until the source ends or `stop` is set. Nothing of
/// it is logged: whoever looks at a source reads it once more, and says so then.
pub fn watch(
    feed: Box<dyn Feed>,
    pace: Pace,
    task: &Task,
    models: &dyn Models,
    stop: &AtomicBool,
    take: impl FnMut(Seen) + Send + 'static,
) -> Result<Outcome, EngineError> {
    let board = Board::default();
    let adaptive = pace.is_adaptive.then(Adaptive::default);
    let witness = Some(Box::new(take) as _);
    let input = Input { every: pace.every, adaptive, witness, ..Input::new(board.enter("watched".into()), feed) };
    with_default(&Dispatch::none(), || run(task, vec![input], models, &board, stop))
}
