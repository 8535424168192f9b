//! A run as another spec has it, without an end: sources come, go and change, and the others do not notice.

use super::place::{Place, Wrong};
use super::spec::{RunSpec, SourceOptions, SourceSpec};
use super::{Core, Known, Run, RunError, publish};
use crate::fault::OfKind;
use crate::zones::Regions;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tracing::{error, warn};

/// What another spec has changed.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    /// Names of sources.
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Of which nothing else has changed but what their pictures are parted into.
    pub paused: Vec<String>,
    pub resumed: Vec<String>,
    /// Of which zones, lines, ignored areas or masks have changed, and nothing that needs a new connection.
    pub regions: Vec<String>,
    /// Names of those that records are sent to.
    pub publishes: Vec<String>,
    pub publishes_no_more: Vec<String>,
    /// Keys that say something else now and hold from the next start on.
    pub need_restart: Vec<String>,
}

impl Run {
    /// Ends the sources that `spec` has no more, and begins those that it has anew; a source with other options is both, but one that is to
    /// be paused, or not any more, or has other zones, lines, ignored areas or masks, goes on as it is. A guest stays ([`SourceOptions::is_guest`](super::SourceOptions::is_guest)). What is
    /// wrong with the spec, its sources or their outputs is an error before anything changes.
    pub fn reload(&self, spec: &RunSpec) -> Result<Changes, RunError> {
        Ok(self.core.reload(spec)?)
    }

    /// The same as this file says, which is logged.
    pub fn reload_file(&self, file: &Path) -> Result<Changes, RunError> {
        self.core.reload_file(file)
    }
}

impl Core {
    pub(super) fn reload_file(&self, file: &Path) -> Result<Changes, RunError> {
        let reload = |spec| self.reload(&spec).map_err(|wrong| wrong.told(Some(file)));
        let failed = |error: &RunError| error!(fault = error.kind().name(), "nothing has changed: {error}");
        let changes = RunSpec::read(file).and_then(reload).inspect_err(failed)?;
        let Changes { added, removed, paused, resumed, regions, publishes, publishes_no_more, need_restart } = &changes;
        let file = file.display();
        let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        warn!("{file} is read again: removed {}, added {}", names(removed), names(added));
        for (what, of) in [
            ("paused", paused),
            ("resumed", resumed),
            ("other zones, lines or masks for", regions),
            ("sends no more to", publishes_no_more),
            ("sends to", publishes),
        ] {
            if !of.is_empty() {
                warn!("{file}: {what} {}", names(of));
            }
        }
        if !need_restart.is_empty() {
            warn!("{file}: these hold from the next start on: {}", need_restart.join(", "));
        }
        Ok(changes)
    }

    fn reload(&self, spec: &RunSpec) -> Result<Changes, Wrong> {
        spec.check().map_err(RunError::from)?;
        let mut state = self.state();
        // With their numbers in the spec.
        let mut new = Vec::from_iter(spec.sources.iter().map(|source| source.over(&spec.each)).enumerate());
        let of_spec = state.known.iter().filter(|source| !source.spec.options.is_guest);
        let mut gone: BTreeMap<_, _> = of_spec.map(|source| (source.first, source.spec.clone())).collect();
        let mut same = BTreeMap::new();
        gone.retain(|first, source| {
            let at = new.iter().position(|(_, other)| other == source);
            let at = at.or_else(|| new.iter().position(|(_, other)| connected(other) == connected(source)));
            same.extend(at.map(|at| (*first, new.remove(at).1)));
            at.is_none()
        });
        let known = std::mem::take(&mut state.known);
        let (go, stay): (Vec<Known>, Vec<Known>) =
            known.into_iter().partition(|source| gone.contains_key(&source.first));
        state.known = stay;
        let (numbers, new): (Vec<usize>, Vec<SourceSpec>) = new.into_iter().unzip();
        // Beside those that stay, and before the others go.
        let ready = match self.plan(&new, &state.known) {
            Ok(ready) => ready,
            Err(Wrong { place, error }) => {
                state.known.extend(go);
                state.known.sort_by_key(|source| source.id);
                let source = place.source.and_then(|at| numbers.get(at).copied());
                return Err(Wrong { place: Place { source, ..place }, error });
            }
        };
        state.each = spec.each.clone();
        let mut need_restart = differing(&self.setup.shared, &spec.shared);
        need_restart.retain(|key| key != "publish");
        let mut changes = Changes { need_restart, ..Changes::default() };
        if let Some(publisher) = &self.setup.publisher {
            (changes.publishes_no_more, changes.publishes) = publish::change(publisher, &spec.shared)?;
        }
        for source in &mut state.known {
            let Some(now) = same.get(&source.first).filter(|now| **now != source.spec) else { continue };
            let (before, options) = (&source.spec.options, &now.options);
            let is_paused = options.paused == Some(true);
            if options.paused != before.paused {
                self.pause(source.id, is_paused);
                if is_paused { &mut changes.paused } else { &mut changes.resumed }.push(source.name.clone());
            }
            let regions = options.regions();
            if regions != before.regions()
                && let Some(status) = self.board().get(source.id)
            {
                status.set_regions(regions);
                changes.regions.push(source.name.clone());
            }
            source.spec = now.clone();
        }
        for source in go {
            self.engine.remove(source.id);
            changes.removed.push(source.name);
        }
        changes.added.extend(ready.iter().map(|ready| ready.source.name.clone()));
        self.begin(&new, ready, &mut state.known)?;
        Ok(changes)
    }
}

/// What needs a new connection where it changes.
pub(super) fn connected(source: &SourceSpec) -> SourceSpec {
    let options = source.options.clone();
    SourceSpec {
        options: SourceOptions { paused: None, ..options.with_regions(&Regions::default()) },
        ..source.clone()
    }
}

/// The keys whose values differ.
fn differing<T: Serialize>(one: &T, other: &T) -> Vec<String> {
    let table = |of: &T| serde_json::to_value(of).unwrap_or_default();
    let (Value::Object(one), Value::Object(other)) = (table(one), table(other)) else { return Vec::new() };
    one.into_iter().filter(|(key, value)| other.get(key) != Some(value)).map(|(key, _)| key).collect()
}
