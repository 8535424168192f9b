//! What a run reads: arguments and folders become sources, each with a name of its own.

use super::RunError;
use super::inputs::{self, Input};
use super::place::{Faults, Place, Wrong};
use super::spec::{SourceOptions, SourceSpec};
use crate::stream::camera::{self, Camera};
use crate::stream::decoder::ModelSize;
use crate::stream::feed::Files;
use crate::stream::preflight::Source;
use crate::stream::{StreamError, redact};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use tracing::warn;

/// One source of a run.
pub struct Planned {
    /// The number of what was given that it is of.
    pub given: usize,
    /// In records, in the log and on the page; no two have the same.
    pub name: String,
    /// Somebody gave it its name.
    pub is_named: bool,
    /// What its files are called, before their extension; given, or from the input.
    pub stem: OsString,
    pub what: What,
    /// Whole: nothing holds besides.
    pub options: SourceOptions,
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

impl SourceSpec {
    /// `NAME=INPUT`, where no file is called so, or the input alone. What stands before a stream's address is a name, right or wrong.
    pub fn of_argument(argument: &OsStr) -> Self {
        let parts = argument.to_str().filter(|text| !Path::new(text).exists()).and_then(|text| text.split_once('='));
        // An address and a pipeline have equals signs of their own.
        let is_whole = camera::is_live(argument);
        let is_named = |name: &str, input: &str| match is_whole {
            true => is_name(name) && !name.contains(char::is_whitespace),
            false => is_name(name) || camera::is_url(OsStr::new(input)),
        };
        match parts {
            Some((name, input)) if is_named(name, input) && !input.is_empty() => Self::new(input).named(name),
            _ => Self::new(argument),
        }
    }
}

/// Whether a source may be called so: its files are, too.
fn is_name(text: &str) -> bool {
    // Or it turns what comes after it round.
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let fits = (1..=64).contains(&text.chars().count()) && text.len() <= 128;
    fits && text.trim() == text
        && !text.starts_with('.')
        && !text.contains(|c: char| "/\\".contains(c) || c.is_control() || turns(c))
}

/// What others of the run are called already: names, and stems in lower case.
#[derive(Default)]
pub struct Taken {
    pub names: Vec<String>,
    pub stems: Vec<String>,
}

/// The sources of a run, in order: each camera, each video file, also of folders, and the pictures of each folder together. What cannot be
/// one is left out.
pub fn plan(given: &[SourceSpec], taken: &Taken, faults: &mut Faults) -> Vec<Planned> {
    let mut planned = Vec::new();
    // Where each one's stem is from.
    let mut paths: Vec<Option<PathBuf>> = Vec::new();
    for (given, SourceSpec { input, name, options }) in given.iter().enumerate() {
        if let Some(name) = name.as_deref().filter(|name| !is_name(name)) {
            let why = format!(
                "the source name {name:?} is none: give 1 to 64 characters (128 bytes) without / and \\, no dot in front and no space at either end"
            );
            faults.0.push(Place::of(given, "name").wrong(RunError::Usage(why)));
            continue;
        }
        // Nobody has a file read over HTTP.
        if camera::is_live(input) && (options.is_guest || !camera::is_file(input)) {
            let shown = name.clone().unwrap_or_else(|| redact(&input.to_string_lossy()));
            let (is_named, stem, what) = (name.is_some(), shown.clone().into(), What::Live(input.clone()));
            planned.push(Planned { given, stem, name: shown, is_named, what, options: options.clone() });
            paths.push(None);
            continue;
        }
        let Some(sources) = faults.note(Place::of(given, "input"), of_files(input)) else { continue };
        let is_one = sources.len() == 1;
        for (files, path, shown) in sources {
            let own_stem = || path.file_stem().unwrap_or(path.as_os_str()).to_owned();
            // A name for several is the beginning of each one's.
            let named = name
                .as_ref()
                .map(|name| if is_one { name.clone() } else { format!("{name}-{}", own_stem().to_string_lossy()) });
            paths.push(named.is_none().then(|| path.clone()));
            planned.push(Planned {
                given,
                stem: named.clone().map_or_else(own_stem, OsString::from),
                is_named: named.is_some(),
                name: named.unwrap_or(shown),
                what: What::Files(files),
                options: options.clone(),
            });
        }
    }
    for at in 0..planned.len() {
        let before = planned[..at].iter().map(|other| &other.name).chain(&taken.names);
        let is_taken = |name: &String| before.clone().any(|other| other == name);
        let base = planned[at].name.clone();
        if is_taken(&base) && planned[at].is_named {
            let why = format!("the source name {base:?} is there twice");
            faults.0.push(Place::of(planned[at].given, "name").wrong(RunError::Usage(why)));
        }
        let fresh = |number: usize| if number == 1 { base.clone() } else { format!("{base} ({number})") };
        let name = (1..).map(fresh).find(|name| !is_taken(name)).unwrap_or(base);
        planned[at].name = name;
    }
    part_stems(&mut planned, &paths, taken);
    planned
}

/// Files, where their stem is from, and how they are shown.
type OfFiles = (Vec<Source>, PathBuf, String);

fn of_files(input: &OsString) -> Result<Vec<OfFiles>, RunError> {
    let arguments = std::slice::from_ref(input);
    let inputs::Expanded { inputs: found, failures, passed_over } = inputs::expand(arguments, None).some(arguments)?;
    if let Some(failure) = failures.into_iter().next() {
        return Err(failure);
    }
    inputs::summary(&passed_over).iter().for_each(|told| warn!("{told}"));
    let folder = Path::new(input);
    let (mut sources, mut pictures) = (Vec::new(), Vec::new());
    for input in found {
        match input {
            Input::Still(path) => pictures.push(Source::new(path)?),
            Input::Video(source) => {
                let plain = source.name.split(['?', '#']).next().unwrap_or_default().to_owned();
                let path = source.file.clone().unwrap_or_else(|| plain.into());
                let name = source.name.clone();
                sources.push((vec![source], path, name));
            }
        }
    }
    if !pictures.is_empty() {
        // In front: they are decoded in no time.
        sources.insert(0, (pictures, folder.to_owned(), redact(&folder.to_string_lossy())));
    }
    Ok(sources)
}

/// Gives files of equal stems the names of their folders in front, as many as it takes, and a number where that does not help. Case
/// makes no difference: on some disks it does not.
fn part_stems(planned: &mut [Planned], paths: &[Option<PathBuf>], taken: &Taken) {
    let with_folders = |path: &Path, folders: usize| {
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let above = full.ancestors().skip(1).filter_map(Path::file_name).take(folders);
        let mut parts: Vec<&OsStr> = above.collect();
        parts.reverse();
        parts.push(stem);
        parts.join(OsStr::new("-"))
    };
    for folders in 1..8 {
        let stems: Vec<String> = planned.iter().map(|source| lower(&source.stem)).collect();
        let is_double = |at: usize| stems.iter().chain(&taken.stems).filter(|stem| **stem == stems[at]).count() > 1;
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
        let is_taken = |stem: &OsString| {
            planned[..at].iter().any(|other| lower(&other.stem) == lower(stem)) || taken.stems.contains(&lower(stem))
        };
        planned[at].stem = (1..).map(fresh).find(|stem| !is_taken(stem)).unwrap_or(base);
    }
}

/// In which stems are compared: on some disks case makes no difference.
pub fn lower(stem: &OsString) -> String {
    stem.to_string_lossy().to_lowercase()
}

/// The files of a source, decoded as asked for.
pub fn files(source: &Planned, model_size: Option<ModelSize>) -> Result<Files, RunError> {
    let Planned { options, .. } = source;
    Ok(Files::new(source.files().to_vec(), options.span()).decoded(options.decoding(model_size))?)
}

pub fn camera(input: &OsStr, source: &Planned, model_size: Option<ModelSize>) -> Result<Camera, Wrong> {
    let at = |key| Place::of(source.given, key);
    let options = source.options.camera(model_size).map_err(|error| at("credentials").wrong(error))?;
    Camera::open(input, source.name.clone(), options).map_err(|error| match error {
        StreamError::Decoder(_) => at("decoder").wrong(error),
        _ => at("input").wrong(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_what_people_write() {
        let of = |argument: &str| {
            let spec = SourceSpec::of_argument(OsStr::new(argument));
            (spec.name, spec.input.into_string().unwrap())
        };
        let all = |argument: &str| (None, argument.to_owned());
        for name in ["door", "front.door", "front door", "Haustür", "庭", "a'b", "v1.2-x_y", &"x".repeat(64)] {
            for input in ["rtsp://cam/s?a=b", "a b.mp4", "cam", "-", "/dev/video0"] {
                assert_eq!(of(&format!("{name}={input}")), (Some(name.to_owned()), input.to_owned()));
                assert!(is_name(name), "{name}");
            }
        }
        // Before a stream's address there is nothing else than a name, and the plan says what is wrong with it.
        for wrong in ["", "a/b", "..", ".a", "a ", "a\u{7}", "a\u{202e}b", &"x".repeat(65), &"庭".repeat(50)] {
            let argument = format!("{wrong}=rtsp://cam/s");
            assert_eq!(of(&argument), (Some(wrong.to_owned()), "rtsp://cam/s".to_owned()));
            let mut faults = Faults::default();
            plan(&[SourceSpec::of_argument(OsStr::new(&argument))], &Taken::default(), &mut faults);
            assert!(!is_name(wrong) && faults.0.len() == 1, "{wrong}");
        }
        // These are no names.
        for whole in [
            "rtsp://cam/s?a=b",
            "http://cam/x?to=rtsp://y",
            "videotestsrc pattern=ball ! appsink name=frames",
            "dir/a=b.mp4",
            "door=",
        ] {
            assert_eq!(of(whole), all(whole));
        }
        let pipeline = "videotestsrc pattern=ball ! appsink name=frames";
        assert_eq!(of(&format!("door={pipeline}")), (Some("door".to_owned()), pipeline.to_owned()));
    }

    #[test]
    fn equal_stems_get_the_names_of_their_folders() {
        let paths =
            ["a/x.mp4", "b/X.mkv", "c/d/y.mp4", "e/d/y.mp4", "e/z.mp4", "q/v.mp4", "q/v.mkv"].map(PathBuf::from);
        let plan = |path: &PathBuf| Planned {
            given: 0,
            name: path.display().to_string(),
            is_named: false,
            stem: path.file_stem().unwrap().to_owned(),
            what: What::Files(Vec::new()),
            options: SourceOptions::default(),
        };
        let mut planned: Vec<_> = paths.iter().map(plan).collect();
        part_stems(&mut planned, &paths.map(Some), &Taken::default());
        let stems: Vec<_> = planned.iter().map(|source| source.stem.to_str().unwrap()).collect();
        assert_eq!(stems[..5], ["a-x", "b-X", "c-d-y", "e-d-y", "z"]);
        assert!(stems[5].ends_with("q-v") && stems[6].ends_with("q-v-2"), "{stems:?}");
    }
}
