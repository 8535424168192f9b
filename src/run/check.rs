//! A run up to its first frame: whether a spec is one that runs.

use super::place::{Faults, Place};
use super::spec::RunSpec;
use super::{Options, Prepared, Run, RunError, home_assistant, publish};
use crate::backbone::BackboneError;
use crate::engine::Models;
use crate::record::SourceState;
use crate::stream::feed::{Event, Feed};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use tracing::warn;

/// A picture's size where none was seen.
const USUAL_SIZE: (u32, u32) = (1280, 720);

impl Run {
    /// All that keeps a run of this spec from its first frame, each fault with its line where the options name a file; none where it runs.
    /// What [`Run::start`] opens is opened, files are read up to their first frames, and the model is opened. Nothing is written, and with
    /// `connects` alone cameras are asked for a frame each.
    pub fn check(spec: RunSpec, options: &Options, connects: bool) -> Vec<RunError> {
        let mut faults = Faults::default();
        match Prepared::new(spec, options, &mut faults) {
            Ok(prepared) => prepared.try_out(options, connects, &mut faults),
            Err(wrong) => faults.0.push(wrong),
        }
        faults.0.sort_by_key(|wrong| wrong.place.source);
        faults.0.into_iter().map(|wrong| wrong.told(options.config.as_deref())).collect()
    }
}

impl Prepared {
    fn try_out(mut self, options: &Options, connects: bool, faults: &mut Faults) {
        // The run that is to have this file, mostly.
        let is_in_use = |address: &mut SocketAddr| {
            let is = TcpListener::bind(*address).is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
            if is {
                warn!("{address} is in use: a run needs it to be free, or is the one that uses it");
            }
            is
        };
        self.page.take_if(is_in_use);
        self.setup.shared.rtsp_out.take_if(is_in_use);
        faults.0.extend(self.serve().err());
        (self.setup.web, self.setup.rtsp) = (None, None);

        if connects {
            publish::connect(&self.setup.shared, faults);
            home_assistant::connect(&self.setup.shared, faults);
        }
        let mut size = None;
        for ready in &mut self.ready {
            if ready.source.is_live() && !connects {
                continue;
            }
            let first = first_frame(&mut *ready.feed, &ready.source.name, options);
            size = size.or(faults.note(Place::of(ready.source.given, "input"), first).flatten());
        }
        let (width, height) = size.unwrap_or(USUAL_SIZE);
        let opened = self.models.layout(width, height).and_then(|layout| self.models.open(&layout, None));
        if let Err(error) = opened {
            let place = match error {
                BackboneError::Precision(_) => Place::of_all("precision"),
                BackboneError::Device { .. } => Place::of_all("device"),
                BackboneError::Size(_) => Place::of_all("size"),
                _ => Place::of_all("model"),
            };
            faults.0.push(place.wrong(error));
        }
    }
}

/// The displayed size of the first frame; none where the program ends before it.
fn first_frame(feed: &mut dyn Feed, name: &str, options: &Options) -> Result<Option<(u32, u32)>, RunError> {
    let is_over = || options.stop.load(std::sync::atomic::Ordering::Relaxed);
    let mut last = None;
    while let Some(event) = feed.next(&is_over) {
        match event {
            Event::Frame(frame) => return Ok(Some(frame.native.unwrap_or((frame.info.width(), frame.info.height())))),
            // A camera is tried once.
            Event::State(change) if matches!(change.state, SourceState::Lost | SourceState::Stalled) => {
                return Err(RunError::Input(format!(
                    "{name}: {}",
                    change.why.unwrap_or_else(|| change.state.name().into())
                )));
            }
            Event::State(change) => last = change.why,
        }
    }
    match feed.fault() {
        Some(fault) => Err(fault.into()),
        None if is_over() => Ok(None),
        None => Err(RunError::Input(format!("{name}: {}", last.unwrap_or_else(|| "there is no frame in it".into())))),
    }
}
