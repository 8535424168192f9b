//! What reads foreign bytes, on the stored corpora of `fuzz/corpus` and on mutations of them: nothing panics, hangs or asks for more memory
//! than it may.
//!
//! A program of its own: it counts what is allocated.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use targets::{ONLINE, TARGETS, Target};

/// The system's memory; what a thread holds and held at most is counted.
struct Counted;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTED: Counted = Counted;

#[expect(unsafe_code, reason = "an allocator cannot be had otherwise")]
// SAFETY: it hands on to the system's allocator, with what it was given.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        hold(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        release(layout.size());
        hold(size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        release(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn hold(size: usize) {
    HELD.set(HELD.get().saturating_add(size));
    MOST.set(MOST.get().max(HELD.get()));
}

/// What another thread gave may be more than this one holds.
fn release(size: usize) {
    HELD.set(HELD.get().saturating_sub(size));
}

/// Random numbers, the same on every run (Marsaglia, Xorshift RNGs).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// What readers of numbers stumble over.
const ODD: [&[u8]; 12] = [
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"4294967295",
    b"18446744073709551616",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\"",
    b"[[[[[[[[",
    b"\n",
    b"\xf0\x9f\x98\x80",
];

/// A few of: a byte changed, a part left out, doubled, taken from the other or replaced by what is odd.
fn mutated(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(16)).min(bytes.len());
        match random.below(6) {
            0 => bytes.get_mut(at).into_iter().for_each(|byte| *byte = random.below(256) as u8),
            1 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << random.below(8)),
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            4 => {
                let from = random.below(other.len() + 1);
                let part = other[from..(from + random.below(64)).min(other.len())].to_vec();
                drop(bytes.splice(at..end, part));
            }
            _ => drop(bytes.splice(at..end, ODD[random.below(ODD.len())].to_vec())),
        }
    }
    bytes
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no corpus", target.name);
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Runs it, and says with which bytes where it panics or holds too much.
fn holds(target: &Target, bytes: &[u8]) {
    let before = HELD.get();
    MOST.set(before);
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let held = (MOST.get() - before) >> 20;
    let is_fine = outcome.is_ok() && held <= target.most_mib;
    if !is_fine {
        let path = std::env::temp_dir().join(format!("mostream-fuzzed-{}", target.name));
        std::fs::write(&path, bytes).unwrap();
        let why = outcome.err();
        assert!(why.is_some(), "{} holds {held} MiB with the bytes in {}", target.name, path.display());
        why.into_iter().for_each(|why| {
            std::fs::write(path.with_extension("panicked"), bytes).unwrap();
            resume_unwind(why)
        });
    }
}

fn check(name: &str) {
    let target = TARGETS.iter().chain(&ONLINE).find(|target| target.name == name).unwrap();
    let corpus = corpus(target);
    corpus.iter().for_each(|bytes| holds(target, bytes));
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for round in 0..target.rounds {
        let other = &corpus[random.below(corpus.len())];
        holds(target, &mutated(&corpus[round % corpus.len()], other, &mut random));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

targets! {
    pickle pth safetensors onnx installed models npy picture coco voc yolo yolo_names clips events mot davis groups scene record address config http sdp
}

#[test]
fn every_target_is_tried_here_and_by_the_fuzzer() {
    let fuzzer = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml")).unwrap();
    let names: Vec<&str> = TARGETS.iter().chain(&ONLINE).map(|target| target.name).collect();
    assert_eq!(names, NAMES);
    let of_fuzzer: Vec<&str> =
        fuzzer.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).skip(1).collect();
    assert_eq!(names, of_fuzzer);
}
