//! All threads of a run: many sources, live or patient, through one model, into every kind of sink.
//!
//! ```text
//! lane: source ─┬─► inbox ─► feeders ─► model ─► finders ─┐
//!               └─► the lane's frames, in order, each with a ticket ◄─ answer ─► deliver: draw ─► sinks, each on its own thread
//! ```
//!
//! A lane is one source ([`lanes`]), added and removed through the [`Engine`] while others run: its frames go in order from the feed to its
//! sinks, each with a ticket; the model's answer for exactly this frame comes through it, or word that there will be none, and then the
//! last boxes hold. A file is a patient lane: all of its
//! frames wait their turn, and files follow one another. A live frame that finds no room in the [`inbox`] is not inferred: that is
//! the one place where frames are passed over, and it counts them. Around the model, shared by all lanes: [`sessions`] for every
//! shape of picture, [`feeders`] that make its pictures, [`desk`] (who writes which picture, who has what came out) and [`crew`] (the
//! model's threads, finders).

mod absence;
pub mod adaptive;
mod backbones;
mod control;
pub mod crew;
mod crops;
mod deliver;
mod desk;
pub mod destinations;
mod drain;
mod eyes;
mod feeders;
mod follow;
mod held;
pub mod histogram;
mod inbox;
mod lanes;
mod load;
mod outbox;
pub mod outputs;
mod pace;
pub mod retry;
mod sessions;
pub mod sink;
mod source;
pub mod status;
mod task;
mod watch;

/// The target of spans that tell which thread was at what, of which source and frame, and of an event for each frame's whole way
/// (`latency_us`, from its arrival).
pub const TRACE: &str = "mostream::trace";

pub use backbones::Backbones;
pub use control::{Engine, run};
pub use eyes::{Keep, KeptScene};
pub use sessions::Models;
pub use task::{Cue, Ended, EngineError, Fault, Input, Outcome, Seen, Task, Witness};
pub use watch::{Sparing, watch};
