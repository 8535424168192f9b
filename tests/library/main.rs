//! The library alone, room by room, against golden numbers, published methods and other people's readers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as it should be")]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "backbone")]
mod backbone;
#[cfg(feature = "evaluate")]
mod datasets;
#[cfg(feature = "dialect")]
mod dialects;
#[cfg(feature = "evaluate")]
mod event_measures;
mod events;
#[cfg(feature = "evaluate")]
mod films;
mod golden;
#[cfg(feature = "evaluate")]
mod measures;
mod oracle;
mod plays;
mod record;
#[cfg(feature = "broker")]
mod spool;
mod time;
#[cfg(feature = "evaluate")]
mod tracking;
#[cfg(feature = "evaluate")]
mod tracks;
