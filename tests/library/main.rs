//! The library alone, room by room, against golden numbers, published methods and other people's readers.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "backbone")]
mod backbone;
#[cfg(feature = "evaluate")]
mod datasets;
mod golden;
#[cfg(feature = "evaluate")]
mod measures;
mod oracle;
mod record;
mod time;
