//! A letter as it lies in a file: how long the rest is and the rest's CRC-32, both of four bytes, little-endian; then its number and when it
//! was put in, of eight bytes, how long what is known of it is, of four; that as JSON, and its body.

use super::gap::{Cause, Gap};
use crate::broker::Letter;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(super) const HEADER: usize = 8;
/// Number, time, and the length of what is known.
const FIXED: usize = 20;
/// No letter is larger: what a broker takes is far smaller.
pub(super) const MOST_OF_LETTER: usize = 16 << 20;

/// What a letter is of: what is told where it is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// A record of this run; of a frame, which.
    Record { run: String, frame: Option<u64> },
    /// What was lost before.
    Gap(Gap),
}

/// What is known of a letter, in its file.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    topic: Cow<'a, str>,
    source: Cow<'a, str>,
    id: Cow<'a, str>,
    content_type: Cow<'a, str>,
    headers: Cow<'a, [(String, String)]>,
    mark: Cow<'a, Mark>,
}

/// A letter in a file.
pub(super) struct Entry {
    pub seq: u64,
    /// When it was put in, in nanoseconds since 1970.
    pub at_ns: u64,
    pub mark: Mark,
    pub letter: Letter,
    /// In the file.
    pub bytes: usize,
}

impl Mark {
    /// Tells that a letter of this kind is lost, which was put in at this time.
    pub(super) fn gap(&self, source: &str, at_ns: u64, cause: Cause) -> Gap {
        match self {
            Self::Gap(gap) => gap.clone(),
            Self::Record { run, frame } => Gap {
                run: run.clone(),
                source: source.to_owned(),
                cause,
                lost: 1,
                first_frame: *frame,
                last_frame: *frame,
                first_unix_ns: at_ns,
                last_unix_ns: at_ns,
            },
        }
    }
}

/// The bytes of a letter.
pub(super) fn write(seq: u64, at_ns: u64, letter: &Letter, mark: &Mark) -> io::Result<Vec<u8>> {
    let head = Head {
        topic: (&*letter.topic).into(),
        source: (&*letter.source).into(),
        id: (&*letter.id).into(),
        content_type: (&*letter.content_type).into(),
        headers: (&*letter.headers).into(),
        mark: Cow::Borrowed(mark),
    };
    let mut bytes = Vec::with_capacity(HEADER + FIXED + 256 + letter.body.len());
    bytes.resize(HEADER + FIXED, 0);
    serde_json::to_writer(&mut bytes, &head)?;
    let known = bytes.len() - HEADER - FIXED;
    bytes.extend_from_slice(&letter.body);
    let length = bytes.len() - HEADER;
    if length > MOST_OF_LETTER {
        let why = format!("a message of {length} bytes (at most {MOST_OF_LETTER} are kept)");
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    bytes[HEADER..][..8].copy_from_slice(&seq.to_le_bytes());
    bytes[HEADER + 8..][..8].copy_from_slice(&at_ns.to_le_bytes());
    bytes[HEADER + 16..][..4].copy_from_slice(&(known as u32).to_le_bytes());
    seal(&mut bytes);
    Ok(bytes)
}

/// Puts the length and the checksum of what follows into the header at the beginning.
pub(super) fn seal(bytes: &mut [u8]) {
    let (length, sum) = ((bytes.len() - HEADER) as u32, crc32fast::hash(&bytes[HEADER..]));
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..HEADER].copy_from_slice(&sum.to_le_bytes());
}

/// What was sealed, of what begins with it; none where it is not whole.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (length, sum) = (number::<4>(bytes)?, number::<4>(bytes.get(4..)?)?);
    let sealed = bytes.get(HEADER..)?.get(..length as usize)?;
    (u64::from(crc32fast::hash(sealed)) == sum).then_some(sealed)
}

/// The letters at the beginning of `bytes`, the first of which has the number `seq`; they end where something else follows.
pub(super) fn entries(bytes: &[u8], seq: u64) -> impl Iterator<Item = Entry> + '_ {
    let mut rest = bytes;
    (seq..).map_while(move |seq| {
        let entry = read(rest).filter(|entry| entry.seq == seq)?;
        rest = &rest[entry.bytes..];
        Some(entry)
    })
}

fn read(bytes: &[u8]) -> Option<Entry> {
    let rest = unseal(bytes).filter(|rest| rest.len() <= MOST_OF_LETTER)?;
    let (seq, at_ns, known) = (number::<8>(rest)?, number::<8>(rest.get(8..)?)?, number::<4>(rest.get(16..)?)?);
    let length = rest.len();
    let rest = rest.get(FIXED..)?;
    let head: Head<'_> = serde_json::from_slice(rest.get(..known as usize)?).ok()?;
    let letter = Letter {
        topic: head.topic.into_owned(),
        source: head.source.into_owned(),
        id: head.id.into_owned(),
        content_type: head.content_type.into_owned(),
        retain: false,
        headers: head.headers.into_owned(),
        body: rest[known as usize..].to_vec(),
    };
    Some(Entry { seq, at_ns, mark: head.mark.into_owned(), letter, bytes: HEADER + length })
}

/// Of what follows the header at the beginning of `bytes`.
fn length_of(bytes: &[u8]) -> Option<usize> {
    number::<4>(bytes).map(|length| length as usize).filter(|length| (FIXED..=MOST_OF_LETTER).contains(length))
}

/// Of so many bytes.
fn number<const BYTES: usize>(bytes: &[u8]) -> Option<u64> {
    let mut whole = [0; 8];
    whole[..BYTES].copy_from_slice(bytes.get(..BYTES)?);
    Some(u64::from_le_bytes(whole))
}

/// Letters of a file from byte `at` to `end`: about so many bytes, but one letter at least.
pub(super) fn read_block(file: &File, at: u64, end: u64, about: usize) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, at)?;
    let one = HEADER + length_of(&header).unwrap_or_default();
    let mut block = vec![0; (end.saturating_sub(at)).min(about.max(one) as u64) as usize];
    file.read_exact_at(&mut block, at)?;
    Ok(block)
}

/// What a file holds.
pub(super) struct Scan {
    /// Letters, their bytes, and the bytes of the file.
    pub letters: u64,
    pub bytes: u64,
    pub length: u64,
    /// When the last was put in.
    pub newest_ns: u64,
    /// Where the letter with the number that was asked for begins.
    pub offset: u64,
}

/// Reads a file that begins with the letter `first`, and looks for `seq` in it.
pub(super) fn scan(path: &Path, first: u64, seq: u64) -> io::Result<Scan> {
    let bytes = std::fs::read(path)?;
    let mut scan = Scan { letters: 0, bytes: 0, length: bytes.len() as u64, newest_ns: 0, offset: 0 };
    for entry in entries(&bytes, first) {
        scan.letters += 1;
        scan.bytes += entry.bytes as u64;
        scan.newest_ns = entry.at_ns;
        if entry.seq < seq {
            scan.offset = scan.bytes;
        }
    }
    Ok(scan)
}

/// A file from this byte on.
pub(super) fn rest(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = std::fs::read(path)?;
    bytes.drain(..(offset as usize).min(bytes.len()));
    Ok(bytes)
}
