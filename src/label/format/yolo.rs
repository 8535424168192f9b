//! YOLO: `images/{train,val}/NAME.jpg`, `labels/{train,val}/NAME.txt` (class, centre, size, as shares of the picture's size), `data.yaml`.
//! A label has no place for a score: `confidence/{train,val}/NAME.txt` has one per line of the label.

use super::save;
use crate::label::{Split, journal};
use std::io;
use std::path::Path;

pub fn write(folder: &Path, categories: &[String]) -> io::Result<()> {
    for split in Split::BOTH {
        for kind in ["images", "labels", "confidence"] {
            std::fs::create_dir_all(folder.join(kind).join(split.name()))?;
        }
    }
    for picture in journal::pictures(folder)? {
        let picture = picture?;
        let file = |kind: &str| folder.join(kind).join(picture.split.name()).join(format!("{}.txt", picture.name));
        let (width, height) = (f64::from(picture.width), f64::from(picture.height));
        save(&file("labels"), |out| {
            for object in &picture.objects {
                let [xmin, ymin, xmax, ymax] = object.bbox.map(f64::from);
                let (x, y) = ((xmin + xmax) / 2.0 / width, (ymin + ymax) / 2.0 / height);
                let (w, h) = ((xmax - xmin) / width, (ymax - ymin) / height);
                writeln!(out, "{} {x:.8} {y:.8} {w:.8} {h:.8}", object.category)?;
            }
            Ok(())
        })?;
        save(&file("confidence"), |out| {
            picture.objects.iter().try_for_each(|object| writeln!(out, "{}", object.score))
        })?;
    }
    save(&folder.join("data.yaml"), |out| {
        // Without `path`, the folders are those beside this file. JSON's strings are YAML's.
        writeln!(out, "train: images/train\nval: images/val\nnc: {}\nnames:", categories.len())?;
        categories.iter().zip(0..).try_for_each(|(name, id)| writeln!(out, "  {id}: {}", serde_json::to_string(name)?))
    })
}
