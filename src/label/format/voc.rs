//! Pascal VOC: `JPEGImages/NAME.jpg`, `Annotations/NAME.xml` (pixels count from 1, the last one is part of the box),
//! `ImageSets/Main/{train,val}.txt`. An object has a `confidence` of its own. `dataset_meta.json` has the classes, without which Datumaro knows
//! those of Pascal VOC alone.

use super::{class, save};
use crate::label::{Picture, Split, journal};
use crate::markup::escaped;
use std::io::{self, Write};
use std::path::Path;

pub fn write(folder: &Path, categories: &[String]) -> io::Result<()> {
    std::fs::create_dir_all(folder.join("JPEGImages"))?;
    std::fs::create_dir_all(folder.join("Annotations"))?;
    for picture in journal::pictures(folder)? {
        let picture = picture?;
        let path = folder.join("Annotations").join(format!("{}.xml", picture.name));
        save(&path, |out| annotation(&picture, categories, out))?;
    }
    save(&folder.join("dataset_meta.json"), |out| writeln!(out, "{}", serde_json::json!({"labels": categories})))?;
    for split in Split::BOTH {
        let path = folder.join("ImageSets").join("Main").join(format!("{}.txt", split.name()));
        save(&path, |out| {
            for picture in journal::pictures(folder)? {
                let picture = picture?;
                if picture.split == split {
                    writeln!(out, "{}", picture.name)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn annotation(picture: &Picture, categories: &[String], out: &mut dyn Write) -> io::Result<()> {
    let Picture { name, width, height, source, .. } = picture;
    writeln!(out, "<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{name}.jpg</filename>")?;
    writeln!(out, "  <source><database>mostream</database><image>{}</image></source>", escaped(source))?;
    writeln!(out, "  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>")?;
    writeln!(out, "  <segmented>0</segmented>")?;
    for object in &picture.objects {
        let [xmin, ymin, xmax, ymax] = object.bbox;
        let touches = xmin == 0 || ymin == 0 || xmax == *width || ymax == *height;
        writeln!(out, "  <object>\n    <name>{}</name>", escaped(class(categories, object.category)))?;
        writeln!(out, "    <pose>Unspecified</pose>\n    <truncated>{}</truncated>", u8::from(touches))?;
        writeln!(out, "    <difficult>0</difficult>\n    <confidence>{}</confidence>", object.score)?;
        let (xmin, ymin) = (xmin + 1, ymin + 1);
        write!(out, "    <bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin>")?;
        writeln!(out, "<xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>\n  </object>")?;
    }
    writeln!(out, "</annotation>")
}
