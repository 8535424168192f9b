//! DAVIS: sequences of pictures, with a mask of the objects for each.

use super::mask::{self, Mask};
use super::{DatasetError, FrameTruth, Item, Media, Report, TruthBox, fault, files};
use crate::picture;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MAX_LIST_BYTES: u64 = 16 << 20;
/// The foreground where no objects are told apart; among others, what belongs to none.
const FOREGROUND: u8 = 255;

pub fn is_at(root: &Path) -> bool {
    // Of VOC, which has the same two folders, they hold files.
    ["JPEGImages", "Annotations"].iter().all(|name| files::has(&root.join(name), Path::is_dir))
}

pub fn read(root: &Path, split: Option<&str>, report: &mut Report) -> Result<Vec<Item>, DatasetError> {
    let resolution = resolution(root)?;
    let (pictures, masks) = (root.join("JPEGImages").join(&resolution), root.join("Annotations").join(&resolution));
    let names = match split {
        Some(split) => listed(root, split)?,
        None => {
            let folders = files::list(&pictures)?.into_iter().filter(|path| path.is_dir());
            folders.filter_map(|path| report.keep(files::stem(&path).map(str::to_owned))).collect()
        }
    };
    let items = names.into_iter().filter_map(|name| {
        let folders = files::inside(&pictures, &name).and_then(|folder| Ok((folder, files::inside(&masks, &name)?)));
        let (pictures, masks) = report.keep(folders)?;
        let item = sequence(name, &pictures, &masks, report);
        report.keep(item)
    });
    Ok(items.collect())
}

/// The folder of one resolution: the smaller of DAVIS's own two, or the only one.
fn resolution(root: &Path) -> Result<PathBuf, DatasetError> {
    let folder = root.join("JPEGImages");
    let found: Vec<PathBuf> = files::list(&folder)?.into_iter().filter(|path| path.is_dir()).collect();
    let chosen = match &found[..] {
        [only] => Some(only),
        _ => found.iter().find(|path| path.ends_with("480p")),
    };
    let name = chosen.and_then(|path| path.file_name()).map(PathBuf::from);
    name.ok_or_else(|| fault(&folder, "there is no folder of one resolution (expected 480p)"))
}

/// The sequences of a split: one name a line (2017), or a picture and its mask a line (2016).
fn listed(root: &Path, split: &str) -> Result<BTreeSet<String>, DatasetError> {
    let folder = root.join("ImageSets");
    let lists = ["2017", "2016", "480p", "."].map(|year| files::inside(&folder.join(year), &format!("{split}.txt")));
    let lists = lists.into_iter().collect::<Result<Vec<PathBuf>, _>>()?;
    let path = lists.iter().find(|path| path.is_file());
    let path =
        path.ok_or_else(|| fault(&folder, format!("there is no split {split:?} (expected 2017/{split}.txt)")))?;
    let text = files::read_text(path, MAX_LIST_BYTES)?;
    let words = text.lines().filter_map(|line| line.split_whitespace().next());
    let name = |word: &str| match word.trim_start_matches('/').strip_prefix("JPEGImages/") {
        Some(picture) => picture.rsplit('/').nth(1).unwrap_or(word).to_owned(),
        None => word.to_owned(),
    };
    Ok(words.map(name).collect())
}

fn sequence(name: String, pictures: &Path, masks: &Path, report: &mut Report) -> Result<Item, DatasetError> {
    let (pictures, failures) = files::pictures(pictures)?;
    failures.into_iter().for_each(|failure| report.add(failure));
    let first = pictures.values().next().ok_or_else(|| fault(masks, "there are no pictures of this sequence"))?;
    let size = picture::dimensions(first).map_err(|error| fault(first, error.why))?;
    let mut found: Vec<Option<Mask>> = Vec::with_capacity(pictures.len());
    let mut missing = 0;
    for stem in pictures.keys() {
        let path = masks.join(format!("{stem}.png"));
        if !path.exists() {
            missing += 1;
            found.push(None);
            continue;
        }
        let mask = mask::read(&path).and_then(|mask| match mask.size == size {
            true => Ok(mask),
            false => {
                let ((width, height), (right_width, right_height)) = (mask.size, size);
                Err(fault(&path, format!("it has {width}x{height} pixels (expected {right_width}x{right_height})")))
            }
        });
        found.push(report.keep(mask));
    }
    if missing > 0 {
        report.add(fault(masks, format!("{missing} of {} pictures have no mask", pictures.len())));
    }
    if found.iter().all(Option::is_none) {
        return Err(fault(masks, "there is no mask that can be used"));
    }
    let has_objects = found.iter().flatten().flat_map(|mask| &mask.objects).any(|&(number, _)| number != FOREGROUND);
    let frames = found.into_iter().map(|mask| FrameTruth {
        is_annotated: mask.is_some(),
        boxes: mask
            .into_iter()
            .flat_map(|mask| mask.objects)
            .filter_map(|(number, bbox)| {
                let is_object = number != FOREGROUND || !has_objects;
                let found = TruthBox::within(bbox.map(f64::from), size).ok().filter(|_| is_object)?;
                Some(TruthBox { track: Some(number.into()), ..found })
            })
            .collect(),
    });
    Ok(Item {
        id: name,
        frames: frames.collect(),
        media: Media::Sequence(pictures.into_values().collect()),
        is_exhaustive: true,
        story: None,
    })
}
