//! The files that training tools read, each format exactly as its tools have it, all made from the journal.

mod coco;
mod cvat;
mod mot;
mod voc;
mod yolo;

use super::{Format, NAMELESS, Picture, journal};
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
        Format::Cvat if picture.is_followed => cvat::frame_path(picture),
        Format::Coco | Format::Yolo | Format::Cvat => Path::new("images").join(picture.split.name()).join(file),
        Format::Voc => Path::new("JPEGImages").join(file),
        Format::Mot => clip_folder(picture).join("img1").join(format!("{:06}.jpg", picture.number)),
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

/// The folder of the picture's clip in that of a set that has such folders.
fn clip_folder(picture: &Picture) -> PathBuf {
    Path::new(picture.split.name()).join(&picture.clip)
}

/// Gives the first picture of each clip, and all of that clip: in the journal they stand together. What is on the other side of the set is
/// another clip.
fn each_clip(
    folder: &Path,
    mut take: impl FnMut(&Picture, &mut dyn Iterator<Item = io::Result<Picture>>) -> io::Result<()>,
) -> io::Result<()> {
    let mut pictures = journal::pictures(folder)?.peekable();
    while let Some(first) = pictures.next().transpose()? {
        let is_of_clip = |next: &io::Result<Picture>| {
            next.as_ref().is_ok_and(|next| (&next.clip, next.split) == (&first.clip, first.split))
        };
        let others = std::iter::from_fn(|| pictures.next_if(is_of_clip));
        let mut of_clip = std::iter::once(Ok(first.clone())).chain(others);
        take(&first, &mut of_clip)?;
        of_clip.try_for_each(|picture| picture.map(drop))?;
    }
    Ok(())
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
