//! The model that is used where none is named, and the one that is worth fetching.

use super::{Store, ZooError};
use crate::backbone::{Checkpoint, Hints};
use crate::bounded;
use crate::partial;
use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;

/// The smallest of DINO's own: what is published of finding objects with it is better than with most that are larger or newer
/// (docs/models.md).
pub const RECOMMENDED: &str = "dino-vits16";
/// What [`RECOMMENDED`] may be called in its place.
pub(super) const ALIAS: &str = "recommended";
/// Of the file that names the default.
const MAX_BYTES: u64 = 1 << 10;

/// The model's own name.
pub(super) fn meant(name: &str) -> &str {
    if name == ALIAS { RECOMMENDED } else { name }
}

/// The checkpoint that is used where none is named.
pub fn open_default() -> Result<Checkpoint, ZooError> {
    match Store::of_user() {
        Ok(store) => store.open_default(),
        // Who has no folder for models has chosen none.
        Err(_) => Ok(Checkpoint::bundled()?),
    }
}

impl Store {
    /// The name of the model that is used where none is named: the bundled one, unless another was chosen.
    pub fn default_name(&self) -> Result<String, ZooError> {
        let path = self.default_file();
        match bounded::read_file(&path, MAX_BYTES).and_then(bounded::text) {
            Ok(name) => match self.path(name.trim()) {
                Ok(_) => Ok(name.trim().to_owned()),
                Err(error) => {
                    Err(ZooError::List { path, reason: format!("{error}; mostream model default NAME writes it anew") })
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Checkpoint::BUNDLED_NAME.to_owned()),
            Err(source) => Err(ZooError::File { path, source }),
        }
    }

    /// Chooses the model that is used where none is named: an installed one, or the bundled one. Gives its own name.
    pub fn choose(&self, name: &str) -> Result<String, ZooError> {
        let name = meant(name);
        // What cannot be used is not chosen.
        self.open(name, Hints::default())?;
        let path = self.default_file();
        self.make()?;
        partial::write(&path, format!("{name}\n").as_bytes()).map_err(|source| ZooError::File { path, source })?;
        Ok(name.to_owned())
    }

    fn open_default(&self) -> Result<Checkpoint, ZooError> {
        let name = self.default_name()?;
        self.open(&name, Hints::default()).map_err(|error| match error {
            ZooError::Unknown { name, installed, .. } => {
                let hint = "it was chosen as the default: mostream model default NAME chooses another".to_owned();
                ZooError::Unknown { name, installed, hint }
            }
            error => error,
        })
    }

    /// What to do for a better model than the bundled one, where the user has none.
    pub fn advice(&self) -> Option<String> {
        let is_bundled = self.default_name().is_ok_and(|name| name == Checkpoint::BUNDLED_NAME);
        let has_none = self.installed().is_ok_and(|installed| installed.is_empty());
        let bytes =
            self.known().ok()?.into_iter().find(|known| known.name == RECOMMENDED).map(|known| known.about_bytes())?;
        (is_bundled && has_none).then(|| {
            format!(
                "the recommended model {RECOMMENDED} finds more and is not installed: mostream model pull {ALIAS} ({:.0} MB), then \
                 mostream model default {ALIAS}",
                bytes as f64 / 1e6
            )
        })
    }

    /// [`Self::advice`], the first time only.
    pub fn advice_once(&self) -> Option<String> {
        let advice = self.advice()?;
        self.make().ok()?;
        OpenOptions::new().write(true).create_new(true).open(self.folder.join("recommended.told")).ok()?;
        Some(advice)
    }

    pub(super) fn default_file(&self) -> PathBuf {
        self.folder.join("default")
    }
}
