//! Pascal VOC: one XML file per picture.

use super::{DatasetError, Item, Report, TruthBox, fault, files};
use crate::picture;
use roxmltree::{Document, Node};
use std::collections::BTreeSet;
use std::path::Path;

/// The XML library looks for equal attributes pair by pair: in this many bytes that takes a second or two.
const MAX_XML_BYTES: u64 = 256 << 10;
const MAX_LIST_BYTES: u64 = 64 << 20;

pub fn is_at(root: &Path) -> bool {
    let is_listed = root.join("ImageSets/Main").is_dir();
    root.join("JPEGImages").is_dir()
        && (is_listed || files::has(&root.join("Annotations"), |path| files::has_extension(path, "xml")))
}

pub fn read(root: &Path, split: Option<&str>, report: &mut Report) -> Result<Vec<Item>, DatasetError> {
    let annotations = root.join("Annotations");
    let (pictures, failures) = files::pictures(&root.join("JPEGImages"))?;
    failures.into_iter().for_each(|failure| report.add(failure));
    let names = match split {
        Some(split) => listed(&files::inside(&root.join("ImageSets/Main"), &format!("{split}.txt"))?, report)?,
        None => {
            let mut names: BTreeSet<String> = pictures.keys().cloned().collect();
            for path in files::list(&annotations)?.iter().filter(|path| files::has_extension(path, "xml")) {
                names.extend(report.keep(files::stem(path).map(str::to_owned)));
            }
            names
        }
    };
    let mut items = Vec::new();
    for name in names {
        let Some(path) = report.keep(files::inside(&annotations, &format!("{name}.xml"))) else { continue };
        let Some(picture) = pictures.get(&name) else {
            report.add(fault(&path, format!("there is no picture {name} in JPEGImages")));
            continue;
        };
        if let Some(boxes) = report.keep(files::read_text(&path, MAX_XML_BYTES)).and_then(|text| {
            let boxes = boxes(&text, &path, picture, report);
            report.keep(boxes)
        }) {
            items.push(Item::still(name, picture.clone(), boxes));
        }
    }
    Ok(items)
}

/// The first word of each line.
fn listed(path: &Path, report: &mut Report) -> Result<BTreeSet<String>, DatasetError> {
    let mut names = BTreeSet::new();
    for name in files::read_text(path, MAX_LIST_BYTES)?.lines().filter_map(|line| line.split_whitespace().next()) {
        if !names.insert(name.to_owned()) {
            report.add(fault(path, format!("{name} is listed twice")));
        }
    }
    Ok(names)
}

fn boxes(text: &str, path: &Path, picture: &Path, report: &mut Report) -> Result<Vec<TruthBox>, DatasetError> {
    // Document types, and with them entities, are refused.
    let document = Document::parse(text).map_err(|error| fault(path, error))?;
    let root = document.root_element();
    if !root.has_tag_name("annotation") {
        return Err(fault(path, format!("it holds <{}> (expected <annotation>)", root.tag_name().name())));
    }
    let side =
        |name| child(root, "size").and_then(|size| word(size, name)?.parse::<u32>().ok()).filter(|&side| side > 0);
    let size = match side("width").zip(side("height")) {
        Some(size) => size,
        None => picture::dimensions(picture).map_err(|error| fault(picture, error.why))?,
    };
    let objects = root.children().filter(|node| node.has_tag_name("object")).enumerate();
    let boxes = objects.filter_map(|(index, node)| {
        let object = object(node, size).map_err(|why| fault(path, format!("object {}: {why}", index + 1)));
        report.keep(object)
    });
    Ok(boxes.collect())
}

fn object(node: Node, size: (u32, u32)) -> Result<TruthBox, String> {
    let bounds = child(node, "bndbox").ok_or("there is no <bndbox>")?;
    let side = |name: &str| {
        let text = word(bounds, name).ok_or(format!("there is no <{name}>"))?;
        text.parse::<f64>().map_err(|_| format!("{name} is {text:?} (expected a number)"))
    };
    // From pixels counted from 1, of which the last belongs to the object.
    let corners = [side("xmin")? - 1.0, side("ymin")? - 1.0, side("xmax")?, side("ymax")?];
    Ok(TruthBox {
        class: word(node, "name").map(str::to_owned),
        is_difficult: word(node, "difficult") == Some("1"),
        is_truncated: word(node, "truncated") == Some("1"),
        ..TruthBox::within(corners, size)?
    })
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn word<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name)?.text().map(str::trim).filter(|text| !text.is_empty())
}
