//! The files that training tools read, each format exactly as its tools have it, all made from the journal.

mod coco;
mod cvat;
mod mot;
mod voc;
mod yolo;

use super::{Format, NAMELESS, Picture};
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
        Format::Mot => mot::write(folder, categories),
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

/// The category's name.
pub fn class(categories: &[String], category: usize) -> &str {
    categories.get(category).map_or(NAMELESS, String::as_str)
}
