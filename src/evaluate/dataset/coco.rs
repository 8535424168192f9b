//! COCO instances: one JSON file for all pictures.

use super::json::Entry;
use super::{DatasetError, Item, Report, TruthBox, fault, files};
use crate::picture;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The largest of COCO's own has 470 MB. Memory is a small multiple of the file's size at worst.
const MAX_JSON_BYTES: u64 = 1 << 30;

#[derive(serde::Deserialize)]
struct Instances {
    images: Vec<Entry<Image>>,
    annotations: Vec<Entry<Annotation>>,
    #[serde(default)]
    categories: Vec<Entry<Category>>,
}

#[derive(serde::Deserialize)]
struct Image {
    id: i64,
    file_name: String,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(serde::Deserialize)]
struct Annotation {
    id: Option<i64>,
    image_id: i64,
    category_id: Option<i64>,
    /// `[xmin, ymin, width, height]`, pixels.
    bbox: [f64; 4],
    #[serde(default, deserialize_with = "flag")]
    iscrowd: bool,
    #[serde(default, deserialize_with = "flag")]
    difficult: bool,
    #[serde(default, deserialize_with = "flag")]
    truncated: bool,
    /// What the object was before all categories were made one.
    original_category: Option<String>,
}

#[derive(serde::Deserialize)]
struct Category {
    id: i64,
    name: String,
}

pub fn is_at(root: &Path) -> bool {
    root.is_file() && files::has_extension(root, "json")
        || root.join("annotations.json").is_file()
        || files::has(&root.join("annotations"), |path| files::has_extension(path, "json"))
}

pub fn read(root: &Path, split: Option<&str>, report: &mut Report) -> Result<Vec<Item>, DatasetError> {
    let path = file(root, split)?;
    let Instances { images, annotations, categories } =
        serde_json::from_reader(files::open(&path, MAX_JSON_BYTES)?).map_err(|error| fault(&path, error))?;
    let mut names = HashMap::new();
    for category in entries(categories, "category", &path, report) {
        if names.insert(category.id, category.name).is_some() {
            report.add(fault(&path, format!("category {} is there twice", category.id)));
        }
    }
    let folders = picture_folders(&path);
    let mut items: Vec<(Item, (u32, u32))> = Vec::new();
    let mut known = HashSet::new();
    // By image; none where the image cannot be used, which was reported.
    let mut indices = HashMap::new();
    for image in entries(images, "image", &path, report) {
        if indices.contains_key(&image.id) || !known.insert(image.file_name.clone()) {
            report.add(fault(&path, format!("image {} ({}) is there twice", image.id, image.file_name)));
            continue;
        }
        let found = report.keep(find(&image, &folders));
        indices.insert(image.id, found.as_ref().map(|_| items.len()));
        items.extend(found.map(|(picture, size)| (Item::still(image.file_name, picture, Vec::new()), size)));
    }
    let mut seen = HashSet::new();
    for annotation in entries(annotations, "annotation", &path, report) {
        let said = |why: String| fault(&path, format!("an annotation of image {}: {why}", annotation.image_id));
        if annotation.id.is_some_and(|id| !seen.insert(id)) {
            report.add(said(format!("its id {} is there twice", annotation.id.unwrap_or_default())));
            continue;
        }
        let Some(index) = indices.get(&annotation.image_id) else {
            report.add(said("there is no such image".into()));
            continue;
        };
        let Some((item, size)) = index.map(|index| &mut items[index]) else { continue };
        let [x, y, width, height] = annotation.bbox;
        if let Some(found) = report.keep(TruthBox::within([x, y, x + width, y + height], *size).map_err(said)) {
            let category = annotation.category_id.map(|id| {
                names.entry(id).or_insert_with(|| {
                    report.add(fault(&path, format!("category {id} has no name: it goes by its number")));
                    id.to_string()
                })
            });
            item.frames[0].boxes.push(TruthBox {
                class: annotation.original_category.or(category.cloned()),
                is_difficult: annotation.difficult,
                is_truncated: annotation.truncated,
                is_crowd: annotation.iscrowd,
                ..found
            });
        }
    }
    Ok(items.into_iter().map(|(item, _)| item).collect())
}

/// The JSON file: the path itself, or that of the split.
fn file(root: &Path, split: Option<&str>) -> Result<PathBuf, DatasetError> {
    let alone = root.join("annotations.json");
    if root.is_file() || alone.is_file() {
        return match split {
            Some(split) => Err(fault(root, format!("one JSON file holds it all, not the split {split:?}"))),
            None => Ok(if root.is_file() { root.to_owned() } else { alone }),
        };
    }
    let folder = root.join("annotations");
    let mut found: Vec<(&str, PathBuf)> = Vec::new();
    let listed = files::list(&folder)?;
    for path in listed.iter().filter(|path| files::has_extension(path, "json")) {
        let stem = files::stem(path)?;
        if split.is_none_or(|split| stem.strip_suffix(split).is_some_and(|kind| kind.is_empty() || kind.ends_with('_')))
        {
            found.push((stem, path.clone()));
        }
    }
    // Captions and key points describe the same pictures.
    if found.iter().any(|(stem, _)| stem.starts_with("instances")) {
        found.retain(|(stem, _)| stem.starts_with("instances"));
    }
    match &found[..] {
        [(_, path)] => Ok(path.clone()),
        [] => Err(fault(&folder, format!("there is no JSON file of the split {:?}", split.unwrap_or_default()))),
        _ => {
            let names: Vec<&str> = found.iter().map(|(stem, _)| *stem).collect();
            Err(fault(&folder, format!("there are several: {} (choose a split)", names.join(", "))))
        }
    }
}

/// Where the pictures of a JSON file may be: `images/`, `images/val2017/`, `val2017/` for `instances_val2017.json`, and beside it.
fn picture_folders(json: &Path) -> Vec<PathBuf> {
    let beside = json.parent().unwrap_or(Path::new(""));
    let base = if beside.ends_with("annotations") { beside.join("..") } else { beside.to_owned() };
    let split = json.file_stem().and_then(|stem| stem.to_str()?.rsplit('_').next()).unwrap_or_default();
    vec![base.join("images"), base.join("images").join(split), base.join(split), base]
}

/// The picture and its width and height, as the file says or as it is.
fn find(image: &Image, folders: &[PathBuf]) -> Result<(PathBuf, (u32, u32)), DatasetError> {
    for folder in folders {
        let path = files::inside(folder, &image.file_name)?;
        if path.is_file() {
            let size = image.width.zip(image.height).filter(|&(width, height)| width > 0 && height > 0);
            let size = size.map_or_else(|| picture::dimensions(&path).map_err(|error| fault(&path, error.why)), Ok)?;
            return Ok((path, size));
        }
    }
    Err(fault(&folders[0], format!("there is no picture {}", image.file_name)))
}

/// The elements that can be used.
fn entries<'a, T>(list: Vec<Entry<T>>, what: &'a str, path: &'a Path, report: &mut Report) -> Vec<T> {
    let kept = list.into_iter().enumerate().filter_map(|(index, Entry(entry))| {
        report.keep(entry.map_err(|why| fault(path, format!("{what} {index} (counted from 0): {why}"))))
    });
    kept.collect()
}

/// 0 and 1, or false and true.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(flag),
        Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
        _ => Err(D::Error::custom("a flag is neither 0 nor 1")),
    }
}
