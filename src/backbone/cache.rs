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
        written
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

/// Whether it is this user's, and nobody else (but root) may write it.
fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}
