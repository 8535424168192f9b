//! Many sources at once, live or not, through one session.
//!
//! ```text
//! feed ─┬─► inbox (newest frame of each source, in turn) ─► feeders ─► model ─► finders ─┐
//!       └─► the source's frames, in order, each with a ticket ◄─ answer ─────────────────┘─► draw ─► sinks, each on its own thread
//! ```
//!
//! Every frame goes in order from its [`feed`] to its sinks, and carries a ticket: the answer of the model for exactly this frame,
//! or word that there will be none, and then the last boxes hold. A frame that finds no room in the [`inbox`] is not inferred:
//! that is the one place where live frames are passed over, and it counts them.

pub mod adaptive;
mod deliver;
pub mod engine;
mod inbox;
mod outbox;
pub mod sink;
pub mod sinks;
pub mod status;

pub use crate::stream::feed;
