//! A run as another spec has it, without an end: sources come, go and change, and the others do not notice.

use super::spec::RunSpec;
use super::{Known, Run, RunError};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// What another spec has changed.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    /// Names of sources.
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Why a source that is new or has changed could not be begun.
    pub failed: Vec<String>,
    /// Keys that say something else now and hold from the next start on.
    pub need_restart: Vec<String>,
}

impl Run {
    /// Ends the sources that `spec` has no more, and begins those that it has anew; a source with other options is both. What is wrong
    /// with the spec, or with where its sources and outputs are, is an error before anything changes.
    pub fn reload(&self, spec: &RunSpec) -> Result<Changes, RunError> {
        spec.check()?;
        let mut state = self.state();
        let mut new = Vec::from_iter(spec.sources.iter().map(|source| source.over(&spec.each)));
        let mut gone = BTreeSet::new();
        for source in state.known.iter().filter(|source| source.id == source.first) {
            match new.iter().position(|other| *other == source.spec) {
                Some(at) => drop(new.remove(at)),
                None => _ = gone.insert(source.first),
            }
        }
        let known = std::mem::take(&mut state.known);
        let (go, stay): (Vec<Known>, Vec<Known>) = known.into_iter().partition(|source| gone.contains(&source.first));
        state.known = stay;
        // Their names and outputs, beside those that stay.
        if let Err(error) = self.plan(&new, &state.known) {
            state.known.extend(go);
            state.known.sort_by_key(|source| source.id);
            return Err(error);
        }
        state.each = spec.each.clone();
        let need_restart = differing(&self.setup.shared, &spec.shared);
        let mut changes = Changes { need_restart, ..Changes::default() };
        for source in go {
            self.engine.remove(source.id);
            changes.removed.push(source.name);
        }
        for source in new {
            match self.plan_and_begin(&[source], &mut state.known) {
                Ok(ids) => changes.added.extend(ids.iter().filter_map(|id| Some(self.board().get(*id)?.name.clone()))),
                Err(error) => changes.failed.push(error.to_string()),
            }
        }
        Ok(changes)
    }
}

/// The keys whose values differ.
fn differing<T: Serialize>(one: &T, other: &T) -> Vec<String> {
    let table = |of: &T| serde_json::to_value(of).unwrap_or_default();
    let (Value::Object(one), Value::Object(other)) = (table(one), table(other)) else { return Vec::new() };
    one.into_iter().filter(|(key, value)| other.get(key) != Some(value)).map(|(key, _)| key).collect()
}
