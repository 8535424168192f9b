//! A source that says nothing.

use mostream::stream::feed::{Event, Feed};
use std::time::Duration;

/// A camera that never says a word.
pub struct Silent;

impl Feed for Silent {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Event> {
        while !stop() {
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    fn is_live(&self) -> bool {
        true
    }
}
