//! YOLO: one text file per picture, in fractions of its size.

use super::{DatasetError, Item, Report, TruthBox, fault, files};
use crate::picture;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

const MAX_LABEL_BYTES: u64 = 16 << 20;
const MAX_NAMES_BYTES: u64 = 1 << 20;

#[derive(serde::Deserialize)]
struct Data {
    names: Names,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Names {
    List(Vec<String>),
    Numbered(HashMap<u64, String>),
}

pub fn is_at(root: &Path) -> bool {
    is_pair(root) || files::has(root, is_pair)
}

fn is_pair(folder: &Path) -> bool {
    folder.join("images").is_dir() && folder.join("labels").is_dir()
}

pub fn read(root: &Path, split: Option<&str>, report: &mut Report) -> Result<Vec<Item>, DatasetError> {
    let (images, labels) = folders(root, split)?;
    let mut names = names(root, &labels, report);
    let mut items = Vec::new();
    let mut expected = BTreeSet::new();
    for picture in walk(&images, report)?.into_iter().filter(|path| picture::is_picture(path)) {
        let relative = picture.strip_prefix(&images).unwrap_or(&picture);
        let Some(id) = relative.to_str() else {
            report.add(fault(&picture, "its name is not UTF-8"));
            continue;
        };
        let label = labels.join(relative).with_extension("txt");
        if !expected.insert(label.clone()) {
            report.add(fault(&picture, "another picture has this name"));
            continue;
        }
        let boxes = boxes(&label, &picture, &mut names, report);
        items.extend(report.keep(boxes).map(|boxes| Item::still(id.to_owned(), picture.clone(), boxes)));
    }
    let is_label = |path: &PathBuf| files::has_extension(path, "txt") && !path.ends_with("classes.txt");
    let found: Vec<PathBuf> = walk(&labels, report)?.into_iter().filter(is_label).collect();
    if found.is_empty() {
        return Err(fault(&labels, "there is no label file (*.txt) here"));
    }
    for label in found.iter().filter(|label| !expected.contains(*label)) {
        report.add(fault(label, format!("there is no picture of this name in {}", images.display())));
    }
    Ok(items)
}

/// The folders of pictures and of labels: `images/SPLIT` or `SPLIT/images`.
fn folders(root: &Path, split: Option<&str>) -> Result<(PathBuf, PathBuf), DatasetError> {
    let Some(split) = split else {
        return match is_pair(root) {
            true => Ok((root.join("images"), root.join("labels"))),
            false => Err(fault(root, "there are no folders images and labels (choose a split that has them)")),
        };
    };
    let below = files::inside(root, split)?;
    if is_pair(&below) {
        return Ok((below.join("images"), below.join("labels")));
    }
    let (images, labels) = (root.join("images").join(split), root.join("labels").join(split));
    match images.is_dir() && labels.is_dir() {
        true => Ok((images, labels)),
        false => Err(fault(root, format!("there is no split {split:?} (expected images/{split} and labels/{split})"))),
    }
}

/// The files of a folder, to its depths; a link to a folder may lead back up, and is not followed.
fn walk(folder: &Path, report: &mut Report) -> Result<Vec<PathBuf>, DatasetError> {
    let mut found = Vec::new();
    let mut folders = vec![files::list(folder)?];
    while let Some(entries) = folders.pop() {
        for path in entries {
            match path.is_dir() {
                true if path.is_symlink() => {}
                true => folders.extend(report.keep(files::list(&path))),
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The classes' names by number: of `data.yaml`, or line by line of `classes.txt`.
fn names(root: &Path, labels: &Path, report: &mut Report) -> BTreeMap<u64, String> {
    let data = root.join("data.yaml");
    if data.exists() {
        let names = files::read_text(&data, MAX_NAMES_BYTES).and_then(|text| {
            // The default options bound aliases, depth and size.
            serde_saphyr::from_str(&text).map_err(|error| fault(&data, error)).map(|Data { names }| names)
        });
        return match report.keep(names) {
            Some(Names::List(names)) => (0..).zip(names).collect(),
            Some(Names::Numbered(names)) => names.into_iter().collect(),
            None => BTreeMap::new(),
        };
    }
    let lists = [root.join("classes.txt"), labels.join("classes.txt")];
    let Some(path) = lists.iter().find(|path| path.exists()) else { return BTreeMap::new() };
    let text = report.keep(files::read_text(path, MAX_NAMES_BYTES)).unwrap_or_default();
    (0..).zip(text.lines().map(|line| line.trim().to_owned())).collect()
}

/// The objects of a picture. Where it has no label file it has none: that is the format's rule.
fn boxes(
    label: &Path,
    picture: &Path,
    names: &mut BTreeMap<u64, String>,
    report: &mut Report,
) -> Result<Vec<TruthBox>, DatasetError> {
    let size = picture::dimensions(picture).map_err(|error| fault(picture, error.why))?;
    if !label.exists() {
        return Ok(Vec::new());
    }
    let is_named = !names.is_empty();
    let mut boxes = Vec::new();
    for (index, line) in files::read_text(label, MAX_LABEL_BYTES)?.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let said = |why| fault(label, format!("line {}: {why}", index + 1));
        let Some((class, object)) = report.keep(object(line, size).map_err(said)) else { continue };
        let class = match names.get(&class) {
            Some(name) => name.clone(),
            None => {
                if is_named {
                    report.add(said(format!("class {class} has no name: it goes by its number")));
                }
                class.to_string()
            }
        };
        boxes.push(TruthBox { class: Some(class), ..object });
    }
    Ok(boxes)
}

/// `class cx cy width height`, or `class x y x y x y …` around the object.
fn object(line: &str, size: (u32, u32)) -> Result<(u64, TruthBox), String> {
    let mut words = line.split_whitespace();
    let class = words.next().unwrap_or_default();
    let class = class.parse().map_err(|_| format!("class {class:?} (expected a number from 0)"))?;
    let number = |word: &str| {
        let value = word.parse::<f64>().ok().filter(|value| value.is_finite());
        value.ok_or_else(|| format!("{word:?} (expected a number)"))
    };
    let values = words.map(number).collect::<Result<Vec<f64>, String>>()?;
    let corners = match values[..] {
        [cx, cy, width, height] => [cx - width / 2.0, cy - height / 2.0, cx + width / 2.0, cy + height / 2.0],
        _ if values.len() >= 6 && values.len() % 2 == 0 => {
            let least = |from| values[from..].iter().step_by(2).copied().fold(f64::INFINITY, f64::min);
            let most = |from| values[from..].iter().step_by(2).copied().fold(f64::NEG_INFINITY, f64::max);
            [least(0), least(1), most(0), most(1)]
        }
        _ => return Err(format!("{} numbers after the class (expected cx cy width height)", values.len())),
    };
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let [xmin, ymin, xmax, ymax] = corners;
    Ok((class, TruthBox::within([xmin * width, ymin * height, xmax * width, ymax * height], size)?))
}
