//! What happened, kept for the page and for the next start.

use super::open::Setup;
use super::{RunError, scene};
use crate::engine::Cue;
use crate::publish::event_store::{EventReader, EventStore};
use crate::web;
use std::path::PathBuf;
use std::sync::Arc;

fn usual() -> Option<PathBuf> {
    Some(scene::state_folder()?.join("events.redb"))
}

/// None where nothing is told, or nobody would ask for it.
pub(super) fn keep(setup: &Setup, is_live: bool) -> Result<Option<EventStore>, RunError> {
    let asked = setup.shared.event_store.clone();
    let file = asked.or_else(|| usual().filter(|_| is_live));
    if setup.shared.cue() == Cue::Appearance || (file.is_none() && setup.web.is_none()) {
        return Ok(None);
    }
    let store = EventStore::open(file.as_deref())?;
    setup.web.iter().for_each(|server| server.tell(Arc::new(store.reader())));
    Ok(Some(store))
}

impl web::Events for EventReader {
    fn after(&self, seq: u64, see: &mut dyn FnMut(u64, &str) -> bool) -> Result<(), String> {
        Self::after(self, seq, see).map_err(|error| error.to_string())
    }

    fn before(&self, seq: u64, see: &mut dyn FnMut(u64, &str) -> bool) -> Result<(), String> {
        Self::before(self, seq, see).map_err(|error| error.to_string())
    }

    fn picture(&self, number: u64) -> Result<Option<Vec<u8>>, String> {
        Self::picture(self, number).map_err(|error| error.to_string())
    }

    fn listen(&self, listener: Box<dyn Fn() + Send + Sync>) {
        Self::listen(self, listener);
    }
}
