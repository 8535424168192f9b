//! What a run reads: arguments and folders become sources, each with a name of its own.

use crate::cli::config::OneSource;
use crate::cli::exit::{Exit, Failure};
use crate::cli::inputs::{self, Input};
use crate::cli::run::SourceArgs;
use mostream::stream::camera::{self, Camera, CameraOptions};
use mostream::stream::decoder::ModelSize;
use mostream::stream::feed::Files;
use mostream::stream::ingest::Span;
use mostream::stream::preflight::Source;
use mostream::stream::redact;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// One source of a run.
pub struct Planned {
    /// In records, in the log and on the page; no two have the same.
    pub name: String,
    /// Somebody gave it its name.
    pub is_named: bool,
    /// What its files are called, before their extension; given, or from the input.
    pub stem: OsString,
    pub what: What,
    pub args: SourceArgs,
}

/// What it reads.
pub enum What {
    /// Comes when it wants to: a camera, a stream.
    Live(OsString),
    /// Waits until it is wanted: a video, or pictures one after the other.
    Files(Vec<Source>),
}

impl Planned {
    pub fn is_live(&self) -> bool {
        matches!(self.what, What::Live(_))
    }

    pub fn files(&self) -> &[Source] {
        match &self.what {
            What::Files(files) => files,
            What::Live(_) => &[],
        }
    }
}

/// `NAME=INPUT`, where no file is called so; a name has letters, digits, - and _.
pub fn named(argument: &OsStr) -> (Option<String>, OsString) {
    let parts = argument.to_str().filter(|text| !Path::new(text).exists()).and_then(|text| text.split_once('='));
    match parts {
        Some((name, input)) if is_name(name) && !input.is_empty() => (Some(name.to_owned()), input.into()),
        _ => (None, argument.to_owned()),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// The sources of a run, in order: each camera, each video file, also of folders, and the pictures of each folder together.
pub fn plan(given: Vec<OneSource>) -> anyhow::Result<Vec<Planned>> {
    let mut planned = Vec::new();
    // Where each one's stem is from.
    let mut paths: Vec<Option<PathBuf>> = Vec::new();
    for OneSource { input, name, args } in given {
        if let Some(name) = name.as_deref().filter(|name| !is_name(name)) {
            let why = format!("the source name {name:?} is not 1 to 64 letters, digits, - and _");
            return Err(Failure::new(Exit::Usage, why).into());
        }
        if camera::is_live(&input) {
            let shown = name.clone().unwrap_or_else(|| redact(&input.to_string_lossy()));
            let is_named = name.is_some();
            planned.push(Planned { stem: shown.clone().into(), name: shown, is_named, what: What::Live(input), args });
            paths.push(None);
            continue;
        }
        let sources = of_files(&input)?;
        let is_one = sources.len() == 1;
        for (files, path, shown) in sources {
            let own_stem = || path.file_stem().unwrap_or(path.as_os_str()).to_owned();
            // A name for several is the beginning of each one's.
            let named = name
                .as_ref()
                .map(|name| if is_one { name.clone() } else { format!("{name}-{}", own_stem().to_string_lossy()) });
            paths.push(named.is_none().then(|| path.clone()));
            planned.push(Planned {
                stem: named.clone().map_or_else(own_stem, OsString::from),
                is_named: named.is_some(),
                name: named.unwrap_or(shown),
                what: What::Files(files),
                args: args.clone(),
            });
        }
    }
    for at in 0..planned.len() {
        let is_taken = |name: &String| planned[..at].iter().any(|other| other.name == *name);
        let base = planned[at].name.clone();
        if is_taken(&base) && paths[at].is_none() && !planned[at].is_live() {
            return Err(Failure::new(Exit::Usage, format!("the source name {base:?} is there twice")).into());
        }
        let fresh = |number: usize| if number == 1 { base.clone() } else { format!("{base} ({number})") };
        let name = (1..).map(fresh).find(|name| !is_taken(name)).unwrap_or(base);
        planned[at].name = name;
    }
    part_stems(&mut planned, &paths);
    Ok(planned)
}

/// Files, where their stem is from, and how they are shown.
type OfFiles = (Vec<Source>, PathBuf, String);

fn of_files(input: &OsString) -> anyhow::Result<Vec<OfFiles>> {
    let (found, failures) = inputs::expand(std::slice::from_ref(input));
    if let Some(failure) = failures.into_iter().next() {
        return Err(failure);
    }
    let folder = Path::new(input);
    let (mut sources, mut pictures) = (Vec::new(), Vec::new());
    for input in found {
        match input {
            Input::Still(path) => pictures.push(Source::new(path)?),
            Input::Video(source) => {
                let plain = source.name.split(['?', '#']).next().unwrap_or_default().to_owned();
                let path = source.file.clone().unwrap_or_else(|| plain.into());
                // Results of an earlier run are no videos to look for objects in.
                if folder.is_dir() && path.to_string_lossy().ends_with(super::outputs::VIDEO) {
                    continue;
                }
                let name = source.name.clone();
                sources.push((vec![source], path, name));
            }
        }
    }
    if !pictures.is_empty() {
        // In front: they are decoded in no time.
        sources.insert(0, (pictures, folder.to_owned(), redact(&folder.to_string_lossy())));
    }
    if sources.is_empty() {
        let name = redact(&input.to_string_lossy());
        return Err(Failure::new(Exit::Input, format!("{name}: it holds no picture and no video")).into());
    }
    Ok(sources)
}

/// Gives files of equal stems the names of their folders in front, as many as it takes, and a number where that does not help. Case
/// makes no difference: on some disks it does not.
fn part_stems(planned: &mut [Planned], paths: &[Option<PathBuf>]) {
    let with_folders = |path: &Path, folders: usize| {
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let above = full.ancestors().skip(1).filter_map(Path::file_name).take(folders);
        let mut parts: Vec<&OsStr> = above.collect();
        parts.reverse();
        parts.push(stem);
        parts.join(OsStr::new("-"))
    };
    let lower = |stem: &OsString| stem.to_string_lossy().to_lowercase();
    for folders in 1..8 {
        let stems: Vec<String> = planned.iter().map(|source| lower(&source.stem)).collect();
        let is_double = |at: usize| stems.iter().filter(|stem| **stem == stems[at]).count() > 1;
        let doubles: Vec<usize> = (0..planned.len()).filter(|&at| is_double(at)).collect();
        for &at in &doubles {
            if let Some(path) = &paths[at] {
                planned[at].stem = with_folders(path, folders);
            }
        }
        if doubles.is_empty() {
            return;
        }
    }
    for at in 0..planned.len() {
        let base = planned[at].stem.clone();
        let fresh = |number: usize| match number {
            1 => base.clone(),
            _ => [base.as_os_str(), format!("{number}").as_ref()].join(OsStr::new("-")),
        };
        let is_taken = |stem: &OsString| planned[..at].iter().any(|other| lower(&other.stem) == lower(stem));
        planned[at].stem = (1..).map(fresh).find(|stem| !is_taken(stem)).unwrap_or(base);
    }
}

/// The files of a source, decoded as asked for.
pub fn files(source: &Planned, span: Span, model_size: Option<ModelSize>) -> anyhow::Result<Files> {
    Ok(Files::new(source.files().to_vec(), span).decoded(source.args.decoding(model_size))?)
}

pub fn camera(input: &OsStr, source: &Planned, model_size: Option<ModelSize>) -> anyhow::Result<Camera> {
    let Planned { name, args, .. } = source;
    let mut options = CameraOptions {
        transport: args.transport,
        insecure_tls: args.insecure_tls,
        mode: args.mode.clone(),
        latency_ms: args.latency,
        stall_after: args.stall_after,
        retry_for: args.retry_for,
        decoding: args.decoding(model_size),
        ..CameraOptions::default()
    };
    options.read_credentials(args.credentials.as_deref())?;
    Ok(Camera::open(input, name.clone(), options)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::run::Shared;
    use clap::{Args as _, FromArgMatches};

    fn args() -> SourceArgs {
        let command = SourceArgs::augment_args(Shared::augment_args(clap::Command::new("run")));
        SourceArgs::from_arg_matches(&command.get_matches_from(["run"])).unwrap()
    }

    #[test]
    fn equal_stems_get_the_names_of_their_folders() {
        let paths =
            ["a/x.mp4", "b/X.mkv", "c/d/y.mp4", "e/d/y.mp4", "e/z.mp4", "q/v.mp4", "q/v.mkv"].map(PathBuf::from);
        let plan = |path: &PathBuf| Planned {
            name: path.display().to_string(),
            is_named: false,
            stem: path.file_stem().unwrap().to_owned(),
            what: What::Files(Vec::new()),
            args: args(),
        };
        let mut planned: Vec<_> = paths.iter().map(plan).collect();
        part_stems(&mut planned, &paths.map(Some));
        let stems: Vec<_> = planned.iter().map(|source| source.stem.to_str().unwrap()).collect();
        assert_eq!(stems[..5], ["a-x", "b-X", "c-d-y", "e-d-y", "z"]);
        assert!(stems[5].ends_with("q-v") && stems[6].ends_with("q-v-2"), "{stems:?}");
    }
}
