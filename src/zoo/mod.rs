//! Models by name: those that can be fetched, and those that are installed.
//!
//! The store is a folder with one `.safetensors` file per model, which says in its metadata where it came from and with what
//! hash: that hash is the pin that a later download is held to. Beside them may lie `NAME.part` (a download that goes on),
//! `NAME.part.json` (what it is the part of), `models.json` (known models of one's own, in the layout of `models/models.json`),
//! `default` (the name of the model that is used where none is named) and `recommended.told` (the user knows of it).

mod chosen;
mod download;

use crate::backbone::{BackboneError, Checkpoint, Hints, Metadata, Shape};
use crate::bounded;
use crate::fault::{Kind, OfKind};
use crate::markup;
use crate::partial::PartialFile;
use chosen::{ALIAS, meant};
pub use chosen::{RECOMMENDED, open_default};
pub use download::{Event, Options};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const KNOWN: &str = include_str!("../../models/models.json");
const MAX_LIST_BYTES: u64 = 1 << 20;
/// Of a `.safetensors` file: names, shapes, metadata.
const MAX_HEADER_BYTES: u64 = 16 << 20;
const MAX_NAME: usize = 64;
/// Of a shape that is filled by chance: such a model takes some gigabytes.
const MOST_BLOCKS: usize = 48;
const MOST_WIDTH: usize = 1536;
const MOST_PATCH: usize = 32;

/// Why a model cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ZooError {
    #[error(
        "{0:?} is no name for a model (expected up to {MAX_NAME} letters, digits, '.', '_' and '-', the first a letter or digit)"
    )]
    Name(String),
    #[error("no model is called {name:?} (installed: {}); {hint}", .installed.join(", "))]
    Unknown { name: String, installed: Vec<String>, hint: String },
    #[error("the model {0} is installed already; remove it first (mostream model remove {0}) or take another name")]
    Taken(String),
    #[error("the model {0} comes with the program and cannot be removed or replaced")]
    Bundled(String),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    List { path: PathBuf, reason: String },
    #[error("{0}")]
    Usage(String),
    #[error("{address}: {reason}")]
    Fetch { address: String, reason: String },
    /// The bytes are not those they should be; nothing was installed.
    #[error("{from}: {reason}")]
    Bytes { from: String, reason: String },
    /// Stopped as asked; what is there is kept.
    #[error("stopped; the same command goes on where it was")]
    Stopped,
    #[error(transparent)]
    Backbone(#[from] BackboneError),
}

impl OfKind for ZooError {
    fn kind(&self) -> Kind {
        match self {
            Self::Name(_) | Self::List { .. } | Self::Usage(_) => Kind::Usage,
            Self::Unknown { .. } | Self::Fetch { .. } | Self::Bytes { .. } => Kind::Model,
            Self::Taken(_) | Self::Bundled(_) | Self::File { .. } => Kind::Output,
            Self::Stopped => Kind::Stopped,
            Self::Backbone(error) => error.kind(),
        }
    }
}

/// A model that can be fetched.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    pub name: String,
    pub family: String,
    pub license: String,
    pub address: String,
    /// Of the file at the address.
    pub bytes: Option<u64>,
    /// Of the file at the address. Those of the program's list are what several public projects record for these addresses;
    /// where there is none, nobody could be asked, and the first pull pins it.
    pub sha256: Option<String>,
    pub patch: usize,
    pub width: usize,
    pub depth: usize,
    pub heads: usize,
    pub parameters: u64,
}

impl Known {
    /// Of the file at the address; estimated where unknown.
    pub fn about_bytes(&self) -> u64 {
        self.bytes.unwrap_or(4 * self.parameters)
    }
}

/// A model in the store.
#[derive(Clone, Debug)]
pub struct Installed {
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    /// None where the file is broken.
    pub metadata: Option<Metadata>,
}

/// The folder of installed models.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// The checkpoint in a file, or the installed or bundled one of this name.
pub fn open(model: &Path, hints: Hints) -> Result<Checkpoint, ZooError> {
    let is_path = || model.components().count() > 1 || model.extension().is_some() || model.is_absolute();
    if model.is_file() {
        return Ok(Checkpoint::read_with(model, hints)?);
    }
    match (Store::of_user()?.open(&model.to_string_lossy(), hints), is_path()) {
        (Err(ZooError::Name(_) | ZooError::Unknown { .. }), true) => Ok(Checkpoint::read_with(model, hints)?),
        (opened, _) => opened,
    }
}

impl Store {
    /// The user's models: in `MOSTREAM_MODELS`, else in the user's data directory.
    pub fn of_user() -> Result<Self, ZooError> {
        let folder = match std::env::var_os("MOSTREAM_MODELS").filter(|folder| !folder.is_empty()) {
            Some(folder) => Some(PathBuf::from(folder)),
            None => directories::ProjectDirs::from("", "", "mostream").map(|folders| folders.data_dir().join("models")),
        };
        let none =
            || ZooError::Usage("this user has no home directory for models; set MOSTREAM_MODELS to a folder".into());
        folder.map(Self::new).ok_or_else(none)
    }

    /// The store in `folder`, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where a model of this name lies or would lie.
    pub fn path(&self, name: &str) -> Result<PathBuf, ZooError> {
        let is_name = (1..=MAX_NAME).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        match is_name {
            true => Ok(self.folder.join(format!("{name}.safetensors"))),
            false => Err(ZooError::Name(name.chars().take(MAX_NAME).collect())),
        }
    }

    /// The file of an installed model.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        self.path(name).ok().filter(|path| path.is_file())
    }

    /// The program's own list, then the store's, which may not name a model anew.
    pub fn known(&self) -> Result<Vec<Known>, ZooError> {
        let path = self.folder.join("models.json");
        let own = match bounded::read_text(&path, MAX_LIST_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.map_err(|source| ZooError::File { path: path.clone(), source })?),
        };
        let parse = |path: &Path, text: &str| {
            let parsed = serde_json::from_str::<Vec<Known>>(text);
            parsed.map_err(|error| ZooError::List { path: path.to_owned(), reason: markup::plain(&error.to_string()) })
        };
        let mut known = parse(Path::new("models/models.json"), KNOWN)?;
        for model in own.map_or(Ok(Vec::new()), |text| parse(&path, &text))? {
            self.path(&model.name)?;
            if known.iter().any(|other| other.name == model.name)
                || [Checkpoint::BUNDLED_NAME, ALIAS].contains(&&*model.name)
            {
                let reason = format!("it names {} again", model.name);
                return Err(ZooError::List { path, reason });
            }
            known.push(model);
        }
        Ok(known)
    }

    /// A model with the shape of a known one of this name, which need not be installed, and weights by chance: for what it costs.
    pub fn random(&self, name: &str) -> Result<Checkpoint, ZooError> {
        let known = self.known()?;
        let Some(model) = known.iter().find(|model| model.name == meant(name)) else {
            let hint = format!("known by shape: {}", Vec::from_iter(known.iter().map(|model| &*model.name)).join(", "));
            return Err(ZooError::Unknown { name: name.to_owned(), installed: Vec::new(), hint });
        };
        let Known { patch, width, depth, heads, .. } = *model;
        if [patch, width, depth, heads].contains(&0) || depth > MOST_BLOCKS || width > MOST_WIDTH || patch > MOST_PATCH
        {
            return Err(ZooError::Usage(format!(
                "{name}: no model is of width {width}, depth {depth} and patch {patch}"
            )));
        }
        let is_second = model.family.starts_with("DINOv2");
        let registers = if model.family.contains("registers") { 4 } else { 0 };
        let shape = Shape { patch, width, depth, heads, registers, layer_scale: is_second };
        Ok(Checkpoint::random(&format!("{}-random", model.name), shape)?)
    }

    /// Every installed model, by name.
    pub fn installed(&self) -> Result<Vec<Installed>, ZooError> {
        let failed = |source| ZooError::File { path: self.folder.clone(), source };
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut installed = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".safetensors"));
            let Some(name) = name.filter(|name| self.find(name).is_some()) else { continue };
            let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
            let metadata = header_metadata(&path).ok();
            installed.push(Installed { name: name.to_owned(), bytes, metadata, path });
        }
        installed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(installed)
    }

    /// Reads a model by its name: one in the store, or the one that comes with the program.
    pub fn open(&self, name: &str, hints: Hints) -> Result<Checkpoint, ZooError> {
        let name = meant(name);
        if let Some(path) = self.find(name) {
            return Ok(Checkpoint::read_with(&path, hints)?);
        }
        match name == Checkpoint::BUNDLED_NAME {
            true => Ok(Checkpoint::bundled()?),
            false => Err(self.unknown(name)?),
        }
    }

    fn unknown(&self, name: &str) -> Result<ZooError, ZooError> {
        let mut installed: Vec<String> = self.installed()?.into_iter().map(|model| model.name).collect();
        installed.push(Checkpoint::BUNDLED_NAME.to_owned());
        let hint = match self.known()?.iter().any(|known| known.name == name) {
            true => format!("fetch it with: mostream model pull {name}"),
            false => "mostream model list shows what can be fetched; a file is given by its path".to_owned(),
        };
        Ok(ZooError::Unknown { name: name.to_owned(), installed, hint })
    }

    /// Installs a checkpoint from a file that this program reads.
    pub fn import(&self, file: &Path, name: &str, heads: Option<usize>) -> Result<PathBuf, ZooError> {
        let path = self.path(name)?;
        if name == Checkpoint::BUNDLED_NAME {
            return Err(ZooError::Bundled(name.to_owned()));
        }
        if name == ALIAS {
            return Err(ZooError::Usage(format!("{ALIAS} is another name of {RECOMMENDED}; take a name of its own")));
        }
        if path.exists() {
            return Err(ZooError::Taken(name.to_owned()));
        }
        let checkpoint = Checkpoint::read_with(file, Hints { heads, patch: None })?;
        if checkpoint.is_onnx() {
            let file = file.display();
            return Err(ZooError::Usage(format!("{file} is an ONNX file, which is used where it is: --model {file}")));
        }
        self.install(&path, &checkpoint, file, Metadata::new())?;
        Ok(path)
    }

    /// Fetches a known model and installs it; `from` is a file to take in place of the download. What is installed already is
    /// fetched only where `again` says so, and must then be the same bytes. Gives the path, and whether anything was fetched.
    pub fn pull(
        &self,
        name: &str,
        from: Option<&Path>,
        again: bool,
        options: &Options,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(PathBuf, bool), ZooError> {
        let name = meant(name);
        let path = self.path(name)?;
        let all = self.known()?;
        let Some(known) = all.iter().find(|known| known.name == name) else {
            if name == Checkpoint::BUNDLED_NAME {
                return Err(ZooError::Bundled(name.to_owned()));
            }
            let names: Vec<&str> = all.iter().map(|known| known.name.as_str()).collect();
            return Err(ZooError::Usage(format!("no known model is called {name:?} (known: {})", names.join(", "))));
        };
        let pin = match path.exists() {
            true if !again && from.is_none() => return Ok((path, false)),
            true => header_metadata(&path).ok().and_then(|metadata| metadata.get("source_sha256").cloned()),
            false => None,
        };
        let mut words = Metadata::from([
            ("name".to_owned(), known.name.clone()),
            ("family".to_owned(), known.family.clone()),
            ("license".to_owned(), known.license.clone()),
            ("address".to_owned(), known.address.clone()),
        ]);
        match from {
            Some(file) => {
                words.remove("address");
                let checkpoint = checked(known, pin.as_deref(), file, &file.display().to_string())?;
                self.install(&path, &checkpoint, file, words)?;
            }
            None => {
                let part = self.part(name);
                self.make()?;
                let address = options.address(&known.address)?;
                let _lock = download::fetch(&address, known.bytes, &part, options, stop, tell)?;
                let checkpoint = checked(known, pin.as_deref(), &part, address.shown());
                if checkpoint.is_err() {
                    download::forget(&part);
                }
                words.insert("address".to_owned(), address.shown().to_owned());
                let source = known.address.rsplit('/').next().unwrap_or_default();
                self.install(&path, &checkpoint?, Path::new(source), words)?;
                download::forget(&part);
            }
        }
        Ok((path, true))
    }

    /// Removes an installed model, and what an unfinished download of it left. Where it was the default, the bundled one is again.
    pub fn remove(&self, name: &str) -> Result<PathBuf, ZooError> {
        let name = meant(name);
        let path = self.path(name)?;
        if name != Checkpoint::BUNDLED_NAME && path.exists() && self.default_name().is_ok_and(|default| default == name)
        {
            self.choose(Checkpoint::BUNDLED_NAME)?;
        }
        let part = self.part(name);
        if part.exists() {
            download::forget(&part);
            if !path.exists() {
                return Ok(part);
            }
        }
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match name == Checkpoint::BUNDLED_NAME {
                true => Err(ZooError::Bundled(name.to_owned())),
                false => Err(self.unknown(name)?),
            },
            Err(source) => Err(ZooError::File { path, source }),
        }
    }

    fn part(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.part"))
    }

    fn make(&self) -> Result<(), ZooError> {
        std::fs::create_dir_all(&self.folder).map_err(|source| ZooError::File { path: self.folder.clone(), source })
    }

    fn install(&self, path: &Path, checkpoint: &Checkpoint, source: &Path, words: Metadata) -> Result<(), ZooError> {
        let about = checkpoint.description();
        let mut metadata = Metadata::from([
            ("family".to_owned(), about.family),
            ("patch".to_owned(), about.patch.to_string()),
            ("width".to_owned(), about.width.to_string()),
            ("depth".to_owned(), about.depth.to_string()),
            ("parameters".to_owned(), about.parameters.to_string()),
            ("source".to_owned(), source.file_name().unwrap_or_default().to_string_lossy().into_owned()),
            ("source_bytes".to_owned(), checkpoint.bytes().len().to_string()),
            ("source_sha256".to_owned(), sha256(checkpoint.bytes())),
        ]);
        metadata.extend(words);
        self.make()?;
        let write = || {
            let (partial, file) = PartialFile::create(path)?;
            let mut out = BufWriter::with_capacity(1 << 20, file);
            checkpoint.write_safetensors(&mut out, &metadata)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            partial.commit()
        };
        write().map_err(|source| ZooError::File { path: path.to_owned(), source })
    }
}

/// SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The checkpoint in `file`, which `from` gave, if it is what the list and the pin say.
fn checked(known: &Known, pin: Option<&str>, file: &Path, from: &str) -> Result<Checkpoint, ZooError> {
    let wrong = |reason: String| ZooError::Bytes { from: from.to_owned(), reason };
    let failed = |source| ZooError::File { path: file.to_owned(), source };
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if let Some(expected) = known.bytes.filter(|&expected| expected != length) {
        return Err(wrong(format!("it has {length} bytes (expected {expected})")));
    }
    let mut hasher = Sha256::new();
    let mut reader = File::open(file).map_err(failed)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer).map_err(failed)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let hash = hex(hasher.finalize().as_slice());
    if let Some(expected) = known.sha256.as_deref().filter(|expected| !hash.eq_ignore_ascii_case(expected)) {
        return Err(wrong(format!(
            "its SHA-256 is {hash} (expected {expected}); nothing was installed. If you trust this file, get it yourself and \
             run: mostream model import FILE"
        )));
    }
    if let Some(pinned) = pin.filter(|pinned| *pinned != hash) {
        let name = &known.name;
        return Err(wrong(format!(
            "its SHA-256 is {hash}, but that of the installed {name} was {pinned}: the file was changed since; the installed \
             one stays. To accept the new one: mostream model remove {name}, then pull it again"
        )));
    }
    let checkpoint =
        Checkpoint::read_with(file, Hints { heads: Some(known.heads), patch: None }).map_err(|error| match error {
            BackboneError::Checkpoint { reason, .. } => wrong(format!("what came is no model: {reason}")),
            other => other.into(),
        })?;
    if sha256(checkpoint.bytes()) != hash {
        return Err(wrong("the file changes while it is read".to_owned()));
    }
    let about = checkpoint.description();
    let (got, expected) =
        ([about.patch, about.width, about.depth, about.heads], [known.patch, known.width, known.depth, known.heads]);
    if got != expected {
        return Err(wrong(format!("it has patch, width, depth and heads {got:?} (expected {expected:?})")));
    }
    Ok(checkpoint)
}

/// The metadata of a `.safetensors` file, read without its tensors.
fn header_metadata(path: &Path) -> io::Result<Metadata> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__", default)]
        metadata: Metadata,
    }
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return Err(io::Error::other(format!("a header of {length} bytes")));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header)?;
    Ok(serde_json::from_slice::<Header>(&header)?.metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_store() {
        let store = Store::new("/store".into());
        assert_eq!(store.path("my-model_1.0").unwrap(), Path::new("/store/my-model_1.0.safetensors"));
        let long = "a".repeat(65);
        for name in ["", ".", "..", "../a", "a/b", "a\\b", "/etc/passwd", ".hidden", "-flag", "a\0b", "ä", "a b", &long]
        {
            assert!(matches!(store.path(name), Err(ZooError::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn the_list_is_whole() {
        let store = Store::new("/nonexistent".into());
        let known = store.known().unwrap();
        assert_eq!(known.len(), 8);
        for model in known {
            assert!(store.path(&model.name).is_ok());
            assert!(model.address.starts_with("https://") && model.address.ends_with(".pth"));
            assert!(model.sha256.is_none_or(|hash| hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit())));
            assert!(model.bytes.is_none_or(|bytes| (4 * model.parameters..5 * model.parameters).contains(&bytes)));
            assert_eq!(model.width, 64 * model.heads);
        }
    }

    #[test]
    fn a_model_of_random_weights_has_as_many_as_the_one_of_its_name() {
        let store = Store::new("/nonexistent".into());
        for name in ["dino-vits16", "dino-vits8", "dinov2-vits14", "dinov2-vits14-reg"] {
            let model = store.known().unwrap().into_iter().find(|model| model.name == name).unwrap();
            let made = store.random(name).unwrap().description();
            // The last norm is of no use to the backbone, DINOv2's mask token neither.
            let others = model.width * if name.starts_with("dinov2") { 3 } else { 2 };
            assert_eq!(made.parameters + others as u64, model.parameters, "{name}");
            assert_eq!((made.patch, made.width, made.depth, made.heads), (model.patch, model.width, 12, 6));
        }
        let error = store.random("nothing").unwrap_err().to_string();
        assert!(error.contains("nothing") && error.contains("dinov2-vitb14-reg"), "{error}");
    }
}
