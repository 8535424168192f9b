//! A run as another spec has it, without an end: sources come, go and change, and the others do not notice.

use super::spec::RunSpec;
use super::{Core, Known, Run, RunError};
use crate::fault::OfKind;
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
    /// Keys that say something else now and hold from the next start on.
    pub need_restart: Vec<String>,
}

impl Run {
    /// Ends the sources that `spec` has no more, and begins those that it has anew; a source with other options is both, and a guest stays
    /// ([`SourceOptions::is_guest`](super::SourceOptions::is_guest)). What is wrong
    /// with the spec, its sources or their outputs is an error before anything changes.
    pub fn reload(&self, spec: &RunSpec) -> Result<Changes, RunError> {
        self.core.reload(spec)
    }

    /// The same as this file says, which is logged.
    pub fn reload_file(&self, file: &Path) -> Result<Changes, RunError> {
        self.core.reload_file(file)
    }
}

impl Core {
    pub(super) fn reload_file(&self, file: &Path) -> Result<Changes, RunError> {
        let changes = RunSpec::read(file).and_then(|spec| self.reload(&spec));
        let failed = |error: &RunError| error!(fault = error.kind().name(), "nothing has changed: {error}");
        let changes = changes.inspect_err(failed)?;
        let Changes { added, removed, need_restart } = &changes;
        let file = file.display();
        let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        warn!("{file} is read again: removed {}, added {}", names(removed), names(added));
        if !need_restart.is_empty() {
            warn!("{file}: these hold from the next start on: {}", need_restart.join(", "));
        }
        Ok(changes)
    }

    fn reload(&self, spec: &RunSpec) -> Result<Changes, RunError> {
        spec.check()?;
        let mut state = self.state();
        let mut new = Vec::from_iter(spec.sources.iter().map(|source| source.over(&spec.each)));
        let of_spec = state.known.iter().filter(|source| !source.spec.options.is_guest);
        let mut gone: BTreeMap<_, _> = of_spec.map(|source| (source.first, source.spec.clone())).collect();
        gone.retain(|_, source| match new.iter().position(|other| other == source) {
            Some(at) => {
                new.remove(at);
                false
            }
            None => true,
        });
        let known = std::mem::take(&mut state.known);
        let (go, stay): (Vec<Known>, Vec<Known>) =
            known.into_iter().partition(|source| gone.contains_key(&source.first));
        state.known = stay;
        // Beside those that stay, and before the others go.
        let planned = self.plan(&new, &state.known);
        let opened = planned.and_then(|(planned, own)| Ok((self.setup.open_all(&planned, &own)?, planned, own)));
        let (opened, planned, own) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                state.known.extend(go);
                state.known.sort_by_key(|source| source.id);
                return Err(error);
            }
        };
        state.each = spec.each.clone();
        let need_restart = differing(&self.setup.shared, &spec.shared);
        let mut changes = Changes { need_restart, ..Changes::default() };
        for source in go {
            self.engine.remove(source.id);
            changes.removed.push(source.name);
        }
        changes.added.extend(planned.iter().map(|source| source.name.clone()));
        self.begin(&new, planned, own, opened, &mut state.known)?;
        Ok(changes)
    }
}

/// The keys whose values differ.
fn differing<T: Serialize>(one: &T, other: &T) -> Vec<String> {
    let table = |of: &T| serde_json::to_value(of).unwrap_or_default();
    let (Value::Object(one), Value::Object(other)) = (table(one), table(other)) else { return Vec::new() };
    one.into_iter().filter(|(key, value)| other.get(key) != Some(value)).map(|(key, _)| key).collect()
}
