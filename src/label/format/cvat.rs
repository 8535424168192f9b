//! CVAT for images 1.1: `annotations.xml` beside `images/`. Each object is a box and the polygons of its mask, in one group, each with
//! its score as an attribute.

use super::{class, save};
use crate::label::{Picture, Split, journal};
use crate::markup::escaped;
use std::io::{self, Write};
use std::path::Path;

pub fn write(folder: &Path, categories: &[String]) -> io::Result<()> {
    for split in Split::BOTH {
        std::fs::create_dir_all(folder.join("images").join(split.name()))?;
    }
    let mut size = 0;
    for picture in journal::pictures(folder)? {
        picture?;
        size += 1;
    }
    save(&folder.join("annotations.xml"), |out| {
        writeln!(out, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n  <version>1.1</version>")?;
        writeln!(out, "  <meta>\n    <task>\n      <name>mostream</name>\n      <size>{size}</size>")?;
        writeln!(out, "      <mode>annotation</mode>\n      <overlap>0</overlap>\n      <labels>")?;
        for name in categories {
            writeln!(out, "        <label>\n          <name>{}</name>\n          <attributes>", escaped(name))?;
            writeln!(out, "            <attribute><name>score</name><mutable>False</mutable>")?;
            writeln!(
                out,
                "              <input_type>text</input_type><default_value></default_value><values></values>"
            )?;
            writeln!(out, "            </attribute>\n          </attributes>\n        </label>")?;
        }
        writeln!(out, "      </labels>\n    </task>\n  </meta>")?;
        for (picture, id) in journal::pictures(folder)?.zip(0u64..) {
            image_element(&picture?, id, categories, out)?;
        }
        writeln!(out, "</annotations>")
    })
}

fn image_element(picture: &Picture, id: u64, categories: &[String], out: &mut dyn Write) -> io::Result<()> {
    let Picture { name, width, height, .. } = picture;
    let split = picture.split.name();
    write!(out, "  <image id=\"{id}\" name=\"{split}/{name}.jpg\" subset=\"{split}\"")?;
    writeln!(out, " width=\"{width}\" height=\"{height}\">")?;
    for (object, group) in picture.objects.iter().zip(1u64..) {
        let [xmin, ymin, xmax, ymax] = object.bbox;
        let label = escaped(class(categories, object.category));
        let common = format!("label=\"{label}\" source=\"auto\" occluded=\"0\" z_order=\"0\" group_id=\"{group}\"");
        let score = format!("<attribute name=\"score\">{}</attribute>", object.score);
        let corners = format!("xtl=\"{xmin}.00\" ytl=\"{ymin}.00\" xbr=\"{xmax}.00\" ybr=\"{ymax}.00\"");
        writeln!(out, "    <box {common} {corners}>{score}</box>")?;
        for ring in picture.mask(object).polygons() {
            let points: Vec<String> = ring.iter().map(|[x, y]| format!("{x}.00,{y}.00")).collect();
            writeln!(out, "    <polygon {common} points=\"{}\">{score}</polygon>", points.join(";"))?;
        }
    }
    writeln!(out, "  </image>")
}
