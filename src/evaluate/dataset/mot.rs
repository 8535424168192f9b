//! MOT Challenge: sequences of pictures, with the boxes of all in one text file.

use super::{DatasetError, FrameTruth, Item, Media, Report, TruthBox, fault, files};
use crate::picture;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

const MAX_TEXT_BYTES: u64 = 64 << 20;
/// MOT16, MOT17 and MOT20, counted from 1.
const CLASSES: [&str; 13] = [
    "pedestrian",
    "person on vehicle",
    "car",
    "bicycle",
    "motorbike",
    "non motorized vehicle",
    "static person",
    "distractor",
    "occluder",
    "occluder on the ground",
    "occluder full",
    "reflection",
    "crowd",
];

pub fn is_at(root: &Path) -> bool {
    is_sequence(root) || files::has(root, |path| is_sequence(path) || files::has(path, is_sequence))
}

fn is_sequence(folder: &Path) -> bool {
    folder.join("gt/gt.txt").is_file()
}

pub fn read(root: &Path, split: Option<&str>, report: &mut Report) -> Result<Vec<Item>, DatasetError> {
    let root = split.map_or_else(|| Ok(root.to_owned()), |split| files::inside(root, split))?;
    let folders = match is_sequence(&root) {
        true => vec![root],
        false => {
            let found: Vec<PathBuf> = files::list(&root)?.into_iter().filter(|path| path.is_dir()).collect();
            if split.is_none() && !found.iter().any(|path| is_sequence(path)) {
                return Err(fault(&root, "there is no NAME/gt/gt.txt (choose a split that has them)"));
            }
            found
        }
    };
    let items = folders.iter().filter_map(|folder| {
        let item = sequence(folder, report);
        report.keep(item)
    });
    Ok(items.collect())
}

fn sequence(folder: &Path, report: &mut Report) -> Result<Item, DatasetError> {
    let gt = folder.join("gt/gt.txt");
    let text = files::read_text(&gt, MAX_TEXT_BYTES)?;
    let pictures_folder = pictures_folder(folder)?;
    let (pictures, failures) = files::pictures(&pictures_folder)?;
    failures.into_iter().for_each(|failure| report.add(failure));
    let mut numbered = BTreeMap::new();
    for (stem, path) in pictures {
        match stem.parse::<u64>() {
            Ok(number) => _ = numbered.insert(number, path),
            Err(_) => report.add(fault(&path, "its name is not a frame's number")),
        }
    }
    let first = numbered.values().next().ok_or_else(|| fault(&pictures_folder, "there are no pictures"))?;
    let size = picture::dimensions(first).map_err(|error| fault(first, error.why))?;
    let indices: BTreeMap<u64, usize> = numbered.keys().copied().zip(0..).collect();
    let last = indices.keys().next_back().copied().unwrap_or_default();
    if last != indices.len() as u64 {
        report
            .add(fault(&pictures_folder, format!("it has {} frames of {last} (expected 1 to {last})", indices.len())));
    }
    let mut frames = vec![FrameTruth { is_annotated: true, boxes: Vec::new() }; indices.len()];
    let mut seen = HashSet::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let said = |why| fault(&gt, format!("line {}: {why}", index + 1));
        let object = object(line, size).and_then(|(number, found)| {
            let index = indices.get(&number).ok_or(format!("there is no picture of frame {number}"))?;
            match found.track.is_some_and(|track| !seen.insert((number, track))) {
                true => Err(format!("object {} is in frame {number} twice", found.track.unwrap_or_default())),
                false => Ok((*index, found)),
            }
        });
        if let Some((index, found)) = report.keep(object.map_err(said)) {
            frames[index].boxes.push(found);
        }
    }
    let media = Media::Sequence(numbered.into_values().collect());
    // A name such as `.` has none of its own.
    let name = std::path::absolute(folder).map_err(|error| fault(folder, error))?;
    let id = name.file_name().and_then(|name| name.to_str()).ok_or_else(|| fault(folder, "its name is not UTF-8"))?;
    Ok(Item { id: id.to_owned(), media, frames, is_exhaustive: true, story: None })
}

/// `img1`, or what `imDir` of `seqinfo.ini` says.
fn pictures_folder(folder: &Path) -> Result<PathBuf, DatasetError> {
    let info = folder.join("seqinfo.ini");
    let text = if info.exists() { files::read_text(&info, MAX_TEXT_BYTES)? } else { String::new() };
    let named = text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "imDir");
    files::inside(folder, named.map_or("img1", |(_, value)| value.trim()))
}

/// `frame,track,left,top,width,height,counts,class,visibility`; without a class where the columns are those of MOT15
/// (`…,counts,x,y,z`). Frames and pixels are counted from 1.
pub fn object(line: &str, size: (u32, u32)) -> Result<(u64, TruthBox), String> {
    let words: Vec<&str> = line.split(',').map(str::trim).collect();
    let number = |index: usize| {
        let word = words.get(index).ok_or(format!("{} columns (expected at least 7)", words.len()))?;
        word.parse::<f64>().map_err(|_| format!("column {} is {word:?} (expected a number)", index + 1))
    };
    let count = |index: usize| {
        let value = number(index)?;
        // Some write 1.0.
        let is_count = value >= 0.0 && value.fract() == 0.0 && value < 1e15;
        if is_count { Ok(value as u64) } else { Err(format!("column {} is {value} (expected a count)", index + 1)) }
    };
    let (frame, track) = (count(0)?, count(1)?);
    let (left, top, width, height) = (number(2)? - 1.0, number(3)? - 1.0, number(4)?, number(5)?);
    let counts = number(6)? != 0.0;
    let class = match words.len() {
        8 | 9 => {
            let class = count(7)?;
            let name = usize::try_from(class).ok().and_then(|class| CLASSES.get(class.checked_sub(1)?));
            Some(name.map_or_else(|| class.to_string(), |&name| name.to_owned()))
        }
        _ => None,
    };
    let found = TruthBox::within([left, top, left + width, top + height], size)?;
    Ok((frame, TruthBox { class, is_crowd: !counts, track: Some(track), ..found }))
}
