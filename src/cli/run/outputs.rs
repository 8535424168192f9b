//! Where the results of a run go.

use super::Shared;
use super::scene;
use super::sources::Planned;
use crate::cli::exit::{Exit, Failure};
use crate::cli::guard::guard;
use mostream::engine::Cue;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Endings of the names that outputs have by themselves.
pub const VIDEO: &str = ".boxes.mp4";
const RECORDS: &str = ".boxes.jsonl";

/// The files that one source writes alone.
#[derive(Debug, Default, PartialEq)]
pub struct Own {
    pub video: Option<PathBuf>,
    pub records: Option<PathBuf>,
    /// What its camera has seen.
    pub scene: Option<PathBuf>,
}

/// The outputs of each source. An error where one would destroy an input or another output.
pub fn plan(sources: &[Planned], shared: &Shared, also_read: &[&Path]) -> Result<Vec<Own>, Failure> {
    let mut outputs = Vec::new();
    for source in sources {
        let mut own = Own::default();
        if let Some(path) = &source.args.output {
            own.video = Some(path_for(path, source, sources.len() > 1)?);
        } else if shared.records.is_none() && !shared.display && !source.is_live() {
            let named = |ending: &str| PathBuf::from([source.stem.as_os_str(), ending.as_ref()].join(OsStr::new("")));
            (own.video, own.records) = (Some(named(VIDEO)), Some(named(RECORDS)));
        }
        own.scene = match &source.args.scene {
            _ if source.args.no_scene || shared.cue() == Cue::Appearance => None,
            Some(path) => Some(path_for(path, source, sources.len() > 1)?),
            None if source.is_live() && source.is_named => scene::usual_file(&source.name),
            None => None,
        };
        outputs.push(own);
    }
    let read = sources.iter().flat_map(Planned::files).filter_map(|source| source.file.as_deref());
    let read: Vec<&Path> = read.chain(also_read.iter().copied()).collect();
    let shared_records = shared.records.as_deref().map(|path| (path, "--records"));
    let own = outputs.iter().flat_map(|own| [(&own.video, "-o"), (&own.records, "records"), (&own.scene, "--scene")]);
    let all: Vec<(&Path, &str)> =
        own.filter_map(|(path, flag)| Some((path.as_deref()?, flag))).chain(shared_records).collect();
    guard(&all, &read)?;
    Ok(outputs)
}

/// Refuses to overwrite older files that nobody named.
pub fn spare(sources: &[Planned], outputs: &[Own]) -> Result<(), Failure> {
    let unnamed = sources.iter().zip(outputs).filter(|(source, _)| source.args.output.is_none());
    let there: Vec<&PathBuf> =
        unnamed.flat_map(|(_, own)| [&own.video, &own.records]).flatten().filter(|path| path.exists()).collect();
    let Some(first) = there.first() else { return Ok(()) };
    let others = if there.len() > 1 { format!(" and {} more", there.len() - 1) } else { String::new() };
    let why = format!("{}{others} would be overwritten: --force does so, -o gives another name", first.display());
    Err(Failure::new(Exit::Output, why))
}

/// The file for a source: `{name}` stands for its name, as far as a file name may have it.
fn path_for(path: &Path, source: &Planned, many: bool) -> Result<PathBuf, Failure> {
    let Some(text) = path.to_str().filter(|text| text.contains("{name}")) else {
        return match many {
            true => Err(Failure::new(
                Exit::Usage,
                format!("{}: several sources need {{name}} in it, such as boxes-{{name}}.mp4", path.display()),
            )),
            false => Ok(path.to_owned()),
        };
    };
    let stem = source.stem.to_string_lossy();
    let safe: String = stem.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    Ok(OsString::from(text.replace("{name}", safe.trim_start_matches('.'))).into())
}
