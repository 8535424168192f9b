//! Whether a file has as many bytes as its outermost parts say: boxes of MP4, chunks of AVI, packets of MPEG-TS, pages of Ogg.

use std::fs::File;
use std::io::{BufReader, Read, Result, Seek, SeekFrom};
use std::path::Path;

/// Parts that are looked at, at most: of a recording of days there are fewer.
const PARTS: usize = 1 << 20;
/// An Ogg page is not longer, in bytes.
const PAGE: usize = 65_307;

/// A file whose last part is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Where the last part ends by its own word, in bytes from the start of the file.
    pub declared: u64,
    /// Bytes of the file.
    pub found: u64,
    /// Whether what says where everything is was found before.
    pub has_index: bool,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} bytes of the {} that it says are there", self.found, self.declared)
    }
}

/// None where the file is whole, or does not say.
pub(super) fn cut(path: &Path) -> Option<Cut> {
    let open = || -> Result<Option<Cut>> {
        let file = File::open(path)?;
        let found = file.metadata()?.len();
        let mut file = BufReader::new(file);
        let mut head = Vec::new();
        (&mut file).take(200).read_to_end(&mut head)?;
        let at = |range: std::ops::Range<usize>| head.get(range).unwrap_or_default();
        let is_packed = |first: usize, packet: usize| {
            at(first..first + 1) == b"G" && at(first + packet..first + packet + 1) == b"G"
        };
        let whole = |declared: u64, has_index| (declared > found).then_some(Cut { declared, found, has_index });
        Ok(match at(4..8) {
            _ if at(0..4) == b"RIFF" => whole(end_of_chunks(&mut file, found)?, true),
            b"ftyp" | b"moov" | b"mdat" | b"free" | b"skip" | b"wide" | b"pnot" | b"styp" => {
                let (end, has_index) = end_of_boxes(&mut file, found)?;
                whole(end, has_index)
            }
            _ if at(0..4) == b"OggS" => whole(end_of_page(&mut file, found)?, true),
            _ if is_packed(0, 188) => whole(found.next_multiple_of(188), true),
            _ if is_packed(4, 192) => whole(found.next_multiple_of(192), true),
            _ => None,
        })
    };
    // What cannot be read is told by whoever reads it.
    open().ok().flatten()
}

fn end_of_chunks(file: &mut BufReader<File>, found: u64) -> Result<u64> {
    let mut end = 0u64;
    for _ in 0..PARTS {
        let mut head = [0; 8];
        if end >= found {
            break;
        }
        file.seek(SeekFrom::Start(end))?;
        if file.read_exact(&mut head).is_err() || &head[..4] != b"RIFF" {
            break;
        }
        match u32::from_le_bytes([head[4], head[5], head[6], head[7]]) {
            // It was never finished.
            0 | u32::MAX => return Ok(0),
            size => end += 8 + u64::from(size),
        }
    }
    Ok(end)
}

fn end_of_boxes(file: &mut BufReader<File>, found: u64) -> Result<(u64, bool)> {
    let (mut end, mut has_index) = (0u64, false);
    for _ in 0..PARTS {
        let mut head = [0; 16];
        if end >= found {
            break;
        }
        file.seek(SeekFrom::Start(end))?;
        if file.read_exact(&mut head[..8]).is_err() || !head[4..8].iter().all(u8::is_ascii_graphic) {
            break;
        }
        let size = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
            // To the end of the file.
            0 => return Ok((0, true)),
            1 if file.read_exact(&mut head[8..]).is_ok() => {
                u64::from_be_bytes([head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15]])
            }
            size => u64::from(size),
        };
        if size < 8 {
            break;
        }
        end = end.saturating_add(size);
        has_index |= &head[4..8] == b"moov" && end <= found;
    }
    Ok((end, has_index))
}

fn end_of_page(file: &mut BufReader<File>, found: u64) -> Result<u64> {
    let start = found.saturating_sub(PAGE as u64);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(PAGE as u64).read_to_end(&mut tail)?;
    let Some(last) = tail.windows(4).rposition(|four| four == b"OggS") else { return Ok(0) };
    let page = &tail[last..];
    let segments = page.get(26).map_or(0, |&count| usize::from(count));
    let sizes = page.iter().skip(27).take(segments);
    let (known, body) = sizes.fold((0, 0), |(known, body), &size| (known + 1, body + usize::from(size)));
    // Where not even the sizes are whole, at least one byte is missing.
    let missing = usize::from(known < segments || page.len() < 27);
    Ok(start + (last + 27 + segments + body + missing) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_of(bytes: &[u8]) -> Option<(u64, bool)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        cut(file.path()).map(|cut| (cut.declared, cut.has_index))
    }

    #[test]
    fn a_part_that_is_longer_than_the_file_is_found_and_no_other() {
        let of = |kind: &[u8; 4], size: u32, bytes: usize| [&size.to_be_bytes()[..], kind, &vec![7; bytes]].concat();
        let (head, moov) = (of(b"ftyp", 16, 8), of(b"moov", 20, 12));
        let mp4 = |parts: &[&[u8]]| cut_of(&parts.concat());
        assert_eq!(mp4(&[&head, &moov, &of(b"mdat", 108, 100)]), None);
        assert_eq!(mp4(&[&head, &moov, &of(b"mdat", 108, 99)]), Some((144, true)));
        assert_eq!(mp4(&[&head, &of(b"mdat", 108, 99)]), Some((124, false)));
        assert_eq!(mp4(&[&head, &moov, &of(b"mdat", 0, 5)]), None, "to the end");
        assert_eq!(mp4(&[&head, &moov, b"\0\0\0\0\0\0\0\0\0\0"]), None, "padding");
        let huge = [&1u32.to_be_bytes()[..], b"mdat", &u64::MAX.to_be_bytes()].concat();
        assert_eq!(mp4(&[&head, &huge, &moov]), Some((u64::MAX, false)));
        let avi = |size: u32, bytes: usize| cut_of(&[b"RIFF", &size.to_le_bytes()[..], &vec![7; bytes]].concat());
        assert_eq!((avi(50, 50), avi(50, 49), avi(0, 40), avi(u32::MAX, 40)), (None, Some((58, true)), None, None));
        let packet = [&b"G"[..], &[7; 187]].concat().repeat(3);
        assert_eq!((cut_of(&packet), cut_of(&packet[..500])), (None, Some((564, true))));
        let page = [&b"OggS"[..], &[0; 22], &[2, 5, 6], &[7; 11]].concat();
        assert_eq!(cut_of(&page.repeat(2)), None);
        for length in 1..page.len() {
            let is_known = length >= 4;
            assert_eq!(cut_of(&[&page[..], &page[..length]].concat()).is_some(), is_known, "{length}");
        }
        assert_eq!((cut_of(b""), cut_of(b"text")), (None, None));
    }
}
