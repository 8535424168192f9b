//! The files that training tools read, each format exactly as its tools have it, all made from the journal.

mod coco;
mod cvat;
mod mot;
mod voc;
mod yolo;

use super::{Format, Picture};
use crate::partial::PartialFile;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// How COCO has masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Masks {
    #[default]
    Polygons,
    /// Uncompressed run lengths.
    Rle,
}

/// Where a picture is, in the folder of its set.
pub fn picture_path(format: Format, picture: &Picture) -> PathBuf {
    let file = format!("{}.jpg", picture.name);
    match format {
        Format::Coco | Format::Yolo | Format::Cvat => Path::new("images").join(picture.split.name()).join(file),
        Format::Voc => Path::new("JPEGImages").join(file),
        Format::Mot => mot::clip_folder(picture).join("img1").join(format!("{:06}.jpg", picture.number)),
    }
}

/// Writes every file but the pictures.
pub fn write(folder: &Path, format: Format, masks: Masks, categories: &[String]) -> io::Result<()> {
    match format {
        Format::Coco => coco::write(folder, masks, categories),
        Format::Yolo => yolo::write(folder, categories),
        Format::Voc => voc::write(folder, categories),
        Format::Cvat => cvat::write(folder, categories),
        Format::Mot => mot::write(folder),
    }
}

/// Writes a file whose name appears when all of it is there, and its folder where it lacks.
pub fn save(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let (partial, file) = PartialFile::create(path)?;
    let mut out = BufWriter::new(file);
    fill(&mut out)?;
    out.flush()?;
    partial.commit()
}

/// The text for XML and HTML; characters that neither may hold become spaces.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// The category's name.
fn class(categories: &[String], category: usize) -> &str {
    categories.get(category).map_or("object", String::as_str)
}
