//! Where the results of a run go.

use super::guard::refused;
use super::place::{Faults, Place};
use super::scene;
use super::sources::Planned;
use super::spec::Shared;
use super::{Known, Observe, RunError};
use crate::engine::Cue;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Endings of the names that outputs have by themselves.
pub const VIDEO: &str = ".boxes.mp4";
pub const RECORDS: &str = ".boxes.jsonl";

/// The files that one source writes alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Own {
    pub video: Option<PathBuf>,
    pub records: Option<PathBuf>,
    /// What its camera has seen.
    pub scene: Option<PathBuf>,
}

/// The outputs of each source, beside those that are `known`. A fault where one would destroy what is read or another output, or an older
/// file that nobody named and that may not be overwritten.
pub fn plan(
    sources: &[Planned],
    shared: &Shared,
    observe: Observe,
    known: &[Known],
    also_read: &[PathBuf],
    faults: &mut Faults,
) -> Vec<Own> {
    let outputs = plan_names(sources, shared, observe, known.len(), faults);
    let files = sources.iter().flat_map(Planned::files).filter_map(|source| source.file.as_deref());
    let credentials = sources.iter().filter_map(|source| source.options.credentials.as_deref());
    let of_known = known.iter().flat_map(|source| &source.read).map(PathBuf::as_path);
    let read = files.chain(credentials).chain(of_known).chain(also_read.iter().map(PathBuf::as_path));
    let of_known = known.iter().map(|source| (None, &source.own));
    let own = of_known.chain(sources.iter().map(|source| Some(source.given)).zip(&outputs));
    let files = own.flat_map(|(source, own)| {
        [(&own.video, "-o", "output"), (&own.records, "records", "input"), (&own.scene, "--scene", "scene")]
            .map(|(path, flag, key)| Some(((path.as_deref()?, flag), Place { source, key: Some(key), table: None })))
    });
    let of_all = [
        (&shared.records, "--records", "records"),
        (&shared.events, "--events", "events"),
        (&shared.event_store, "--event-store", "event-store"),
        (&shared.trace, "--trace", "trace"),
    ];
    let of_all =
        of_all.into_iter().filter_map(|(path, flag, key)| Some(((path.as_deref()?, flag), Place::of_all(key))));
    let (all, places): (Vec<_>, Vec<_>) = files.flatten().chain(of_all).unzip();
    faults.0.extend(refused(&all, &read.collect::<Vec<_>>()).map(|(at, error)| places[at].wrong(error)));
    if !shared.force {
        spare(sources, &outputs, faults);
    }
    outputs
}

/// The outputs of each source, of which there are `others` besides. Files whose results nobody asks for get outputs of the usual names.
pub fn plan_names(
    sources: &[Planned],
    shared: &Shared,
    observe: Observe,
    others: usize,
    faults: &mut Faults,
) -> Vec<Own> {
    let is_many = sources.len() + others > 1;
    let is_usual = !shared.has_lines() && !shared.display && observe == Observe::Nothing;
    let mut own = |source: &Planned| {
        let mut file = |path: &Path, key| faults.note(Place::of(source.given, key), path_for(path, source, is_many));
        let mut own = Own::default();
        if let Some(path) = &source.options.output {
            own.video = file(path, "output");
        } else if is_usual && !source.is_live() {
            let named = |ending: &str| PathBuf::from([source.stem.as_os_str(), ending.as_ref()].join(OsStr::new("")));
            (own.video, own.records) = (Some(named(VIDEO)), Some(named(RECORDS)));
        }
        own.scene = match &source.options.scene {
            _ if source.options.no_scene == Some(true) || shared.cue() == Cue::Appearance => None,
            Some(path) => file(path, "scene"),
            None if source.is_live() && source.is_named => scene::usual_file(&source.name),
            None => None,
        };
        own
    };
    sources.iter().map(&mut own).collect()
}

/// Refuses to overwrite older files that nobody named.
fn spare(sources: &[Planned], outputs: &[Own], faults: &mut Faults) {
    let unnamed = sources.iter().zip(outputs).filter(|(source, _)| source.options.output.is_none());
    let files = unnamed.flat_map(|(source, own)| [(source, &own.video), (source, &own.records)]);
    let there =
        Vec::from_iter(files.filter_map(|(source, path)| Some((source, path.as_ref().filter(|path| path.exists())?))));
    let Some((source, first)) = there.first() else { return };
    let others = if there.len() > 1 { format!(" and {} more", there.len() - 1) } else { String::new() };
    let why = format!("{}{others} would be overwritten: --force does so, -o gives another name", first.display());
    faults.0.push(Place::of(source.given, "input").wrong(RunError::Usage(why)));
}

/// The file for a source: `{name}` stands for its name, as far as a file name may have it.
fn path_for(path: &Path, source: &Planned, many: bool) -> Result<PathBuf, RunError> {
    let Some(text) = path.to_str().filter(|text| text.contains("{name}")) else {
        return match many {
            true => {
                let path = path.display();
                Err(RunError::Usage(format!("{path}: several sources need {{name}} in it, such as boxes-{{name}}.mp4")))
            }
            false => Ok(path.to_owned()),
        };
    };
    let stem = source.stem.to_string_lossy();
    let safe: String = stem.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    Ok(OsString::from(text.replace("{name}", safe.trim_start_matches('.'))).into())
}
