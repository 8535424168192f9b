//! What waits on disk, against a plain list of what was put in: every letter has arrived, waits, or is in a gap, whatever happens.

use mostream::broker::Letter;
use mostream::spool::{Bounds, Cause, Gap, Mark, Spool, SpoolError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const NEVER: Bounds = Bounds { bytes: 1 << 40, age_ns: None };

fn letter(source: usize, number: u64, bytes: usize) -> Letter {
    Letter {
        topic: format!("t/{source}"),
        source: format!("s{source}"),
        id: format!("s{source}/{number}"),
        content_type: "text/plain".into(),
        retain: false,
        headers: vec![("a".into(), "ü\"\n".into())],
        body: vec![number as u8; bytes],
    }
}

fn mark(frame: u64) -> Mark {
    Mark::Record { run: "run".into(), frame: Some(frame) }
}

fn open(folder: &Path, bounds: Bounds) -> Spool {
    let tell = |gap: &Gap| Letter {
        topic: "gap".into(),
        source: gap.source.clone(),
        id: serde_json::to_string(gap).unwrap(),
        content_type: "application/json".into(),
        retain: false,
        headers: Vec::new(),
        body: serde_json::to_vec(gap).unwrap(),
    };
    Spool::open(folder, bounds, Box::new(tell)).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Numbers by chance, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// What a receiver makes of what it got: the numbers of each source, and how many are in gaps.
#[derive(Default)]
struct Got {
    numbers: BTreeMap<usize, BTreeSet<u64>>,
    last: BTreeMap<usize, u64>,
    gaps: BTreeMap<String, Gap>,
}

impl Got {
    fn take(&mut self, letter: &Letter) {
        if letter.topic == "gap" {
            self.gaps.insert(letter.id.clone(), serde_json::from_slice(&letter.body).unwrap());
            return;
        }
        let (source, number) = letter.id.strip_prefix('s').unwrap().split_once('/').unwrap();
        let (source, number) = (source.parse().unwrap(), number.parse().unwrap());
        assert_eq!(letter, &self::letter(source, number, letter.body.len()), "it is as it was put in");
        let is_new = self.numbers.entry(source).or_default().insert(number);
        let last = self.last.entry(source).or_insert(0);
        assert!(!is_new || number > *last, "source {source}: {number} comes first after {last}");
        *last = (*last).max(number);
    }

    fn lost(&self) -> u64 {
        self.gaps.values().map(|gap| gap.lost).sum()
    }
}

fn drain(spool: &mut Spool, got: &mut Got) {
    loop {
        let letters = spool.next(64, 1 << 16).unwrap();
        if letters.is_empty() {
            return;
        }
        letters.iter().for_each(|letter| got.take(letter));
        spool.acknowledge(letters.len()).unwrap();
    }
}

#[test]
fn every_letter_arrives_or_is_in_a_gap_through_kills_torn_files_and_bounds() {
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let root = tempfile::tempdir().unwrap();
        let mut folder = root.path().join("0");
        // Some never overflow: then no gap is allowed.
        let bounds = if seed % 3 == 0 { NEVER } else { Bounds { bytes: 1 << 20, age_ns: None } };
        let mut spool = open(&folder, bounds);
        let (mut got, mut put, mut refused) = (Got::default(), BTreeMap::<usize, u64>::new(), 0);
        for step in 0..300_u64 {
            match dice.below(20) {
                0..14 => {
                    for _ in 0..dice.below(12) {
                        let source = dice.below(3) as usize;
                        let number = put.entry(source).or_insert(0);
                        *number += 1;
                        let letter = letter(source, *number, dice.below(4000) as usize);
                        spool.append(&letter, &mark(*number), step + 1).unwrap();
                    }
                }
                14..17 => {
                    let letters = spool.next(1 + dice.below(40) as usize, 1 << 15).unwrap();
                    // What arrives is not always acknowledged.
                    let arrived = dice.below(letters.len() as u64 + 1) as usize;
                    letters[..arrived].iter().for_each(|letter| got.take(letter));
                    spool.acknowledge(dice.below(arrived as u64 + 1) as usize).unwrap();
                }
                17 => {
                    let letters = spool.next(1, 1).unwrap();
                    match letters.first() {
                        Some(gap) if gap.topic == "gap" => {
                            got.take(gap);
                            spool.acknowledge(1).unwrap();
                        }
                        first => {
                            refused += first.into_iter().count();
                            spool.refuse().unwrap();
                        }
                    }
                }
                // A kill: what is on disk at this moment, in another process.
                18 => {
                    let next = root.path().join(format!("killed at {step}"));
                    copy(&folder, &next);
                    spool = open(&next, bounds);
                    folder = next;
                }
                _ => {
                    drop(spool);
                    spool = open(&folder, bounds);
                }
            }
        }
        drain(&mut spool, &mut got);
        assert_eq!(spool.depth().letters, 0);
        let all: u64 = put.values().sum();
        let arrived: u64 = got.numbers.values().map(|numbers| numbers.len() as u64).sum();
        assert!(arrived + got.lost() >= all, "seed {seed}: {arrived} arrived, {} lost, of {all}", got.lost());
        // Exactly those that did not arrive are within a gap of their source.
        for (source, number) in &put {
            for number in 1..=*number {
                let has = got.numbers.get(source).is_some_and(|numbers| numbers.contains(&number));
                let is_told = got.gaps.values().any(|gap| {
                    gap.source == format!("s{source}") && (gap.first_frame..=gap.last_frame).contains(&Some(number))
                });
                assert!(has || is_told, "seed {seed}: source {source}: {number} is lost without a word");
            }
        }
        if bounds == NEVER {
            assert_eq!(got.lost(), refused as u64, "nothing is lost but what was refused");
        } else {
            assert!(got.gaps.values().any(|gap| gap.cause == Cause::Bound), "the bound was passed");
        }
    }
}

#[test]
fn a_letter_that_broke_off_ends_the_log_and_a_damaged_one_is_told() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("spool");
    let mut spool = open(&folder, NEVER);
    for number in 1..=10 {
        spool.append(&letter(0, number, 100), &mark(number), number).unwrap();
    }
    drop(spool);
    let file = folder.join(format!("{:020}", 1));
    let whole = fs::read(&file).unwrap();
    for broken in [1, 50, 200] {
        fs::write(&file, &whole[..whole.len() - broken]).unwrap();
        let mut got = Got::default();
        let mut spool = open(&folder, NEVER);
        drain(&mut spool, &mut got);
        drop(spool);
        assert_eq!(got.numbers[&0].len(), 10 - broken.div_ceil(whole.len() / 10), "{broken} bytes are missing");
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
    }
    // In the middle of a file that others follow.
    let mut spool = open(&folder, NEVER);
    for number in 1..=4000 {
        spool.append(&letter(0, number, 3000), &mark(number), number).unwrap();
    }
    drop(spool);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let mut got = Got::default();
    let mut spool = open(&folder, NEVER);
    drain(&mut spool, &mut got);
    let missing = 4000 - got.numbers[&0].len() as u64;
    assert!((100..2000).contains(&missing));
    assert_eq!(got.lost(), missing);
    assert!(got.gaps.values().all(|gap| gap.cause == Cause::Damaged));
    assert!(fs::read_dir(&folder).unwrap().count() < 5, "what has arrived takes no room");
}

#[test]
fn what_is_too_old_goes_and_only_one_process_sends() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("spool");
    let bounds = Bounds { bytes: 1 << 20, age_ns: Some(1000) };
    let mut spool = open(&folder, bounds);
    for number in 1..=5 {
        spool.append(&letter(0, number, 10), &mark(number), number).unwrap();
    }
    let second = Spool::open(&folder, bounds, Box::new(|_| letter(0, 0, 0)));
    assert!(matches!(second, Err(SpoolError::Taken(_))));
    assert_eq!(spool.depth().oldest_ns, Some(1));
    spool.trim(1005);
    assert_eq!(spool.depth().letters, 5, "none is older than a thousand");
    spool.trim(1006);
    let letters = spool.next(10, 1 << 20).unwrap();
    let gap: Gap = serde_json::from_slice(&letters[0].body).unwrap();
    assert_eq!((letters.len(), gap.lost, gap.cause), (1, 5, Cause::Age));
    assert_eq!((gap.first_frame, gap.last_frame, &*gap.run, &*gap.source), (Some(1), Some(5), "run", "s0"));
    // Nor does it go round for ever.
    spool.refuse().unwrap();
    assert_eq!(spool.depth().letters, 0);
}

#[test]
fn what_a_full_disk_does_not_take_is_told_when_it_takes_something_again() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("spool");
    let mut spool = open(&folder, NEVER);
    let file = folder.join(format!("{:020}", 1));
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    for number in 1..=3 {
        let error = spool.append(&letter(0, number, 10), &mark(number), number).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
    assert_eq!((spool.depth().letters, spool.depth().lost.of(Cause::Disk)), (0, 3));
    drop(spool);
    fs::remove_file(&file).unwrap();
    let mut spool = open(&folder, NEVER);
    spool.append(&letter(0, 4, 10), &mark(4), 4).unwrap();
    let mut got = Got::default();
    drain(&mut spool, &mut got);
    let gap = got.gaps.values().next().unwrap();
    assert_eq!(
        (got.gaps.len(), gap.lost, gap.cause, gap.first_frame, gap.last_frame),
        (1, 3, Cause::Disk, Some(1), Some(3))
    );
    assert_eq!(got.numbers[&0], BTreeSet::from([4]));
}
