//! What arguments stand for: files, folders and URIs, in a stable order.

use super::{RunError, outputs};
use crate::picture::{self, Content};
use crate::stream::preflight::{Source, kind_of_file};
use crate::stream::redact;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// File name extensions of videos: a file in a folder that has one is to be read, whatever its first bytes say.
const VIDEO_EXTENSIONS: [&str; 18] = [
    "mp4", "mov", "m4v", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "ogv", "flv", "wmv", "3gp", "asf",
    "mxf", "vob",
];

/// One input.
pub enum Input {
    /// One picture.
    Still(PathBuf),
    /// A video, an animation, a file of several pages.
    Video(Source),
}

impl Input {
    /// What is shown and recorded.
    pub fn name(&self) -> String {
        match self {
            Self::Still(path) => path.display().to_string(),
            Self::Video(source) => source.name.clone(),
        }
    }
}

/// What arguments stand for.
#[derive(Default)]
pub struct Expanded {
    pub inputs: Vec<Input>,
    /// What cannot be read.
    pub failures: Vec<RunError>,
    pub passed_over: Vec<PassedOver>,
}

/// A file or a folder within a folder that is no input.
pub struct PassedOver {
    pub path: PathBuf,
    /// Such as `hidden`.
    pub why: String,
}

/// What a file is to be taken for.
enum Kind {
    Still,
    Video,
    /// Nothing that is read, and why.
    Other(String),
}

/// The inputs that `arguments` stand for, folders read to their depths, each folder's entries sorted by name; the folder `except` is left
/// out where it is within one. What a file is, its first bytes say; what they do not tell, its name. A file given by name
/// that is neither picture nor video is taken as a video, whose reader says what is wrong with it.
pub fn expand(arguments: &[OsString], except: Option<&Path>) -> Expanded {
    let except = except.and_then(|folder| folder.canonicalize().ok());
    let mut expanded = Expanded::default();
    for argument in arguments {
        let path = Path::new(argument);
        match argument.to_string_lossy().contains("://") {
            false if path.is_dir() => {
                if let Err(error) = expanded.walk(path, except.as_deref()) {
                    expanded.failures.push(RunError::Input(format!("{}: {error}", path.display())));
                }
            }
            false if is_still(path) => expanded.inputs.push(Input::Still(path.to_owned())),
            _ => expanded.add_video(argument),
        }
    }
    expanded
}

/// Whether a file of this name is one picture.
pub fn is_still(path: &Path) -> bool {
    path.exists() && matches!(kind_of(path), Kind::Still)
}

/// How many files were passed over for which reason, on one line; none where there is none.
pub fn summary(passed_over: &[PassedOver]) -> Option<String> {
    let mut reasons = BTreeMap::<&str, (u64, &Path)>::new();
    for PassedOver { path, why } in passed_over {
        reasons.entry(why).or_insert((0, path)).0 += 1;
    }
    let told = reasons.into_iter().map(|(why, (count, first))| {
        let first = first.display();
        if count == 1 { format!("{first} ({why})") } else { format!("{first} and {} more ({why})", count - 1) }
    });
    let told = told.collect::<Vec<_>>().join(", ");
    (!told.is_empty()).then(|| format!("passed over: {told}"))
}

fn kind_of(path: &Path) -> Kind {
    match picture::content(path) {
        Some(Content::Still) => return Kind::Still,
        Some(Content::Several) => return Kind::Video,
        None => {}
    }
    let kind = kind_of_file(path);
    let has_extension = || {
        let extension = path.extension();
        extension.is_some_and(|extension| VIDEO_EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
    };
    match kind {
        Some(kind) if kind.is_video => Kind::Video,
        _ if picture::is_named_so(path) => Kind::Still,
        _ if has_extension() => Kind::Video,
        Some(kind) => Kind::Other(format!("{} is not read", kind.media_type)),
        None if !path.is_file() => Kind::Other("is no file".into()),
        None => Kind::Other("is no known picture or video".into()),
    }
}

impl Expanded {
    /// These, where there is any input among them; else why there is none.
    pub fn some(mut self, arguments: &[OsString]) -> Result<Self, RunError> {
        if self.inputs.is_empty() {
            let names: Vec<String> = arguments.iter().map(|name| redact(&name.to_string_lossy())).collect();
            let none = || RunError::Input(format!("{}: it holds no picture and no video", names.join(", ")));
            self.failures.truncate(1);
            return Err(self.failures.pop().unwrap_or_else(none));
        }
        Ok(self)
    }

    fn add_video(&mut self, name: &OsStr) {
        match Source::new(name) {
            Ok(source) => self.inputs.push(Input::Video(source)),
            Err(error) => self.failures.push(error.into()),
        }
    }

    /// An error where the folder itself cannot be read; one within it costs only itself.
    fn walk(&mut self, folder: &Path, except: Option<&Path>) -> std::io::Result<()> {
        if except.is_some() && folder.canonicalize().ok().as_deref() == except {
            return Ok(());
        }
        let entries = std::fs::read_dir(folder)?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            let kind = match path.is_dir() {
                _ if name.starts_with(b".") => Kind::Other("hidden".into()),
                // It may lead back up.
                true if path.is_symlink() => Kind::Other("a link to a folder".into()),
                true => match self.walk(&path, except) {
                    Ok(()) => continue,
                    Err(error) => Kind::Other(error.to_string()),
                },
                false if name.ends_with(outputs::VIDEO.as_bytes()) || name.ends_with(outputs::RECORDS.as_bytes()) => {
                    Kind::Other("a result of `mostream run`".into())
                }
                false => kind_of(&path),
            };
            match kind {
                Kind::Still => self.inputs.push(Input::Still(path)),
                Kind::Video => self.add_video(path.as_os_str()),
                Kind::Other(why) => self.passed_over.push(PassedOver { path, why }),
            }
        }
        Ok(())
    }
}
