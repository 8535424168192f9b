//! Files that can be made again, kept by the hash of what they were made from.
//!
//! An entry is 32 bytes of BLAKE3 keyed with its name's hash, then the content. An entry that is not this user's own, that
//! others may write, or whose hash is not its content's is as good as none: it is made again.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const MAX_ENTRY_BYTES: u64 = 8 << 30;
/// What the folder may hold before the entries that were not used for longest go: some 40 of the bundled model's.
const MAX_FOLDER_BYTES: u64 = 1 << 30;

/// A folder of entries.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in `folder`, which is made where it is missing.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if !is_own(&fs::metadata(folder)?) {
            return Err(std::io::Error::other("it belongs to another user, or others may write to it"));
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The content kept under `key`, if it is whole and this user's own.
    pub fn read(&self, key: &blake3::Hash) -> Option<Vec<u8>> {
        let path = self.path(key);
        // The link itself is looked at, and then the very file that was opened.
        if !fs::symlink_metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut file = File::open(&path).ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || !is_own(&metadata) || metadata.len() > MAX_ENTRY_BYTES {
            return None;
        }
        let mut hash = [0; 32];
        // For `prune`; a read-only cache serves as well.
        let _ = file.set_modified(SystemTime::now());
        file.read_exact(&mut hash).ok()?;
        let mut content = Vec::new();
        file.take(metadata.len()).read_to_end(&mut content).ok()?;
        (blake3::keyed_hash(key.as_bytes(), &content) == blake3::Hash::from(hash)).then_some(content)
    }

    /// Keeps `content` under `key`; another process sees all of it or nothing.
    pub fn write(&self, key: &blake3::Hash, content: &[u8]) -> std::io::Result<()> {
        let scratch = self.scratch();
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&scratch)?;
            file.write_all(blake3::keyed_hash(key.as_bytes(), content).as_bytes())?;
            file.write_all(content)?;
            fs::rename(&scratch, self.path(key))
        })();
        if written.is_err() {
            let _ = fs::remove_file(&scratch);
        }
        self.prune(MAX_FOLDER_BYTES, &self.path(key));
        written
    }

    /// Removes what was not used for longest until at most `limit` bytes are left; never `kept`. What cannot be removed stays.
    fn prune(&self, limit: u64, kept: &Path) {
        let Ok(folder) = fs::read_dir(&self.folder) else { return };
        let used = |entry: fs::DirEntry| {
            let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file() && is_own(metadata))?;
            // Who holds a lock would hold nothing.
            if entry.path().extension().is_some_and(|extension| extension == "lock") {
                return None;
            }
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        };
        let mut entries: Vec<_> = folder.flatten().filter_map(used).collect();
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in entries.iter().filter(|(.., path)| path != kept) {
            if total <= limit {
                break;
            }
            if fs::remove_file(path).is_ok() {
                total -= length;
            }
        }
    }

    /// The folder `KIND-STEM-VERSION` for files that others make, which is made where it is missing. Those of the same kind and stem
    /// but another version go.
    pub fn folder_of(&self, kind: &str, stem: &str, version: &str) -> std::io::Result<PathBuf> {
        let (stem, name) = (format!("{kind}-{stem}-"), format!("{kind}-{stem}-{version}"));
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let other = entry.file_name();
            let other = other.to_string_lossy();
            if other.starts_with(&stem) && *other != *name {
                // What cannot be removed stays, unused.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let folder = self.folder.join(name);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let metadata = fs::symlink_metadata(&folder)?;
        match metadata.is_dir() && is_own(&metadata) {
            true => Ok(folder),
            false => Err(std::io::Error::other("it belongs to another user, or others may write to it")),
        }
    }

    /// A path in the cache that nobody else uses.
    pub fn scratch(&self) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        self.folder.join(format!("scratch-{}-{nanos}-{count}", std::process::id()))
    }

    fn path(&self, key: &blake3::Hash) -> PathBuf {
        self.folder.join(key.to_hex().as_str())
    }
}

/// Where graphs and optimised models are kept: `MOSTREAM_CACHE` (empty: nowhere), else the user's cache directory.
pub fn user_cache() -> Option<PathBuf> {
    match std::env::var_os("MOSTREAM_CACHE") {
        Some(folder) => (!folder.is_empty()).then(|| folder.into()),
        None => directories::ProjectDirs::from("", "", "mostream").map(|folders| folders.cache_dir().to_owned()),
    }
}

/// The name of an entry: the hash of all these.
pub fn key(parts: &[&[u8]]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.finalize()
}

/// Whether it is this user's, and nobody else (but root) may write it.
fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        let keys: Vec<_> = (0..4u8).map(|i| blake3::hash(&[i])).collect();
        for key in &keys {
            cache.write(key, &[7; 68]).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(cache.read(&keys[0]).is_some());
        cache.prune(250, &cache.path(&keys[3]));
        let left: Vec<bool> = keys.iter().map(|key| cache.read(key).is_some()).collect();
        assert_eq!(left, [true, false, false, true]);
    }
}
