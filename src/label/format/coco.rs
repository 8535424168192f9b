//! COCO: `images/{train,val}/NAME.jpg`, `annotations/instances_{train,val}.json`. An annotation has a `score` of its own; an image
//! says where it comes from.

use super::{Masks, save};
use crate::label::{Object, Picture, Split, journal};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;

pub fn write(folder: &Path, masks: Masks, categories: &[String]) -> io::Result<()> {
    for split in Split::BOTH {
        std::fs::create_dir_all(folder.join("images").join(split.name()))?;
        let path = folder.join("annotations").join(format!("instances_{}.json", split.name()));
        save(&path, |out| annotations(folder, split, masks, categories, out))?;
    }
    Ok(())
}

fn annotations(
    folder: &Path,
    split: Split,
    masks: Masks,
    categories: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    // The journal is read twice, so that no list of pictures is in memory.
    let pictures = || -> io::Result<_> {
        let of_split = journal::pictures(folder)?.filter(move |p| p.as_ref().map_or(true, |p| p.split == split));
        Ok(of_split.zip(1u64..))
    };
    let info = json!({"description": "Proposals, made by mostream label", "version": "1.0"});
    write!(out, "{{\"info\":{info},\"licenses\":[],\"images\":[")?;
    for (picture, id) in pictures()? {
        let picture = picture?;
        let described = json!({
            "id": id,
            "file_name": format!("{}.jpg", picture.name),
            "width": picture.width,
            "height": picture.height,
            "source": picture.source,
            "frame": picture.frame,
            "pts_ns": picture.pts_ns,
        });
        write!(out, "{}{described}", comma(id))?;
    }
    write!(out, "],\"annotations\":[")?;
    let mut id = 0;
    for (picture, image_id) in pictures()? {
        let picture = picture?;
        for object in &picture.objects {
            id += 1;
            let mask = picture.mask(object);
            let described = json!({
                "id": id,
                "image_id": image_id,
                "category_id": object.category + 1,
                "bbox": object.xywh(),
                "area": mask.area(),
                "segmentation": segmentation(&picture, object, masks),
                "iscrowd": 0,
                "score": object.score,
            });
            write!(out, "{}{described}", comma(id))?;
        }
    }
    let categories = categories.iter().zip(1u64..);
    let categories: Value =
        categories.map(|(name, id)| json!({"id": id, "name": name, "supercategory": "object"})).collect();
    writeln!(out, "],\"categories\":{categories}}}")
}

fn segmentation(picture: &Picture, object: &Object, masks: Masks) -> Value {
    let mask = picture.mask(object);
    match masks {
        Masks::Polygons => {
            mask.polygons().iter().map(|ring| ring.iter().flatten().copied().collect::<Value>()).collect()
        }
        Masks::Rle => json!({"size": [picture.height, picture.width], "counts": mask.run_lengths()}),
    }
}

fn comma(id: u64) -> &'static str {
    if id == 1 { "\n" } else { ",\n" }
}
