//! What the pictures of a source are called and which side of the set they are on: functions of the source's name alone.

use super::Split;

/// Characters of the source's own name that are kept.
const STEM: usize = 40;

/// A name that no other source has and that any file system and training tool takes: what is plain of the source's file name,
/// and a hash of all of it, so that files of one name in two folders stay apart.
pub fn name_of(source: &[u8]) -> String {
    let text = String::from_utf8_lossy(source);
    // Of a URI the path counts.
    let path = if text.contains("://") { text.split(['?', '#']).next().unwrap_or_default() } else { &text };
    let file = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(STEM).collect();
    let plain = plain.trim_matches(['_', '-']);
    let hash = &blake3::hash(source).to_hex()[..12];
    if plain.is_empty() { hash.to_owned() } else { format!("{plain}-{hash}") }
}

/// The side of the set that all pictures of the source are on; `val` is the share of sources held out, 0 to 1.
pub fn split_of(source: &[u8], val: f64) -> Split {
    let hash = blake3::keyed_hash(b"mostream label: train or val? 1 ", source);
    let number = u64::from_le_bytes(std::array::from_fn(|at| hash.as_bytes()[at]));
    if (number as f64 / u64::MAX as f64) < val { Split::Val } else { Split::Train }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_stable_and_unique() {
        assert_eq!(name_of(b"clips/street 1.mp4"), name_of(b"clips/street 1.mp4"));
        assert_ne!(name_of(b"a/x.mp4"), name_of(b"b/x.mp4"));
        assert_ne!(name_of(b"x.jpg"), name_of(b"x.png"));
        let hostile: [&[u8]; 8] = [
            b"..",
            b"/",
            b"",
            b"a/../..",
            b"-rf \"'`$(x)`.mp4",
            "\u{202e}straße/\n🙂.png".as_bytes(),
            b"\xff\xfe",
            &[b'x'; 999],
        ];
        for source in hostile {
            let name = name_of(source);
            let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            assert!(is_plain && (12..=53).contains(&name.len()) && !name.starts_with('-'), "{name}");
        }
        assert!(name_of(b"http://cam/walk.mp4?a=b/c").starts_with("walk-"));
    }

    #[test]
    fn the_share_held_out_is_as_asked() {
        let held = |val| (0..2000).filter(|n: &u32| split_of(&n.to_le_bytes(), val) == Split::Val).count();
        assert_eq!((held(0.0), held(1.0)), (0, 2000));
        assert!((330..470).contains(&held(0.2)), "{}", held(0.2));
    }
}
