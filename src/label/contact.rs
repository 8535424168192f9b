//! Contact sheets: pages of thumbnails with their boxes, each a file that needs no other, to look a set over.

use super::format::{class, save};
use super::{Picture, journal};
use crate::markup::escaped;
use crate::picture::{self, RgbImage};
use base64::Engine;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Pictures per page: about 2 MB.
const PER_PAGE: u64 = 200;
/// The longer side of a thumbnail, in pixels.
const SIDE: u32 = 240;
const QUALITY: u8 = 70;
const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:16px;background:#16181c;color:#ddd}a{color:#8cf}\
main{display:flex;flex-wrap:wrap;gap:12px}figure{margin:0;width:240px}svg{display:block;width:240px;background:#000}\
rect{fill:none;stroke:#ffd84a;stroke-width:2;vector-effect:non-scaling-stroke}\
text{fill:#ffd84a;stroke:#000;stroke-width:3;paint-order:stroke;vector-effect:non-scaling-stroke}\
figcaption{font-size:11px;overflow-wrap:anywhere;color:#aaa}.val{color:#f9a}";

/// Keeps a small copy of the picture of this name for its page.
pub fn keep_thumbnail(folder: &Path, name: &str, full: &RgbImage) -> io::Result<()> {
    let (width, height) = full.dimensions();
    let longer = width.max(height).max(1);
    let side = |side: u32| (u64::from(side) * u64::from(SIDE.min(longer)) / u64::from(longer)).max(1) as u32;
    let path = thumbnail_path(folder, name);
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    picture::write_jpeg(&path, &picture::scaled(full, side(width), side(height)), QUALITY)
}

/// Writes `contact/page-001.html` and so on; the number of pages.
pub fn write(folder: &Path, categories: &[String]) -> io::Result<u64> {
    let mut total = 0u64;
    for picture in journal::pictures(folder)? {
        picture?;
        total += 1;
    }
    let pages = total.div_ceil(PER_PAGE).max(1);
    let mut pictures = journal::pictures(folder)?;
    for page in 1..=pages {
        let path = folder.join("contact").join(file_name(page));
        save(&path, |out| {
            writeln!(out, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">")?;
            writeln!(out, "<meta name=\"viewport\" content=\"width=device-width\"><title>Page {page}</title>")?;
            writeln!(out, "<style>{STYLE}</style><p>{total} pictures, page {page} of {pages}")?;
            for (to, text) in [(page - 1, "previous"), (page + 1, "next")] {
                if (1..=pages).contains(&to) {
                    writeln!(out, "<a href=\"{}\">{text}</a>", file_name(to))?;
                }
            }
            writeln!(out, "</p><main>")?;
            for picture in pictures.by_ref().take(PER_PAGE as usize) {
                figure(folder, &picture?, categories, out)?;
            }
            writeln!(out, "</main></html>")
        })?;
    }
    Ok(pages)
}

fn figure(folder: &Path, picture: &Picture, categories: &[String], out: &mut dyn Write) -> io::Result<()> {
    let Picture { name, width, height, .. } = picture;
    // A thumbnail that somebody removed is a blank behind its boxes.
    let jpeg = std::fs::read(thumbnail_path(folder, name)).unwrap_or_default();
    let data = base64::engine::general_purpose::STANDARD.encode(jpeg);
    // Names are as large on every page: a thumbnail is 240 pixels wide.
    let text = f64::from(*width) / 20.0;
    write!(out, "<figure><svg viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"xMidYMid meet\" ")?;
    writeln!(out, "font-size=\"{text:.1}\">")?;
    write!(out, "<image width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" ")?;
    writeln!(out, "href=\"data:image/jpeg;base64,{data}\"/>")?;
    for object in &picture.objects {
        let [x, y, w, h] = object.xywh();
        let (name, score) = (escaped(class(categories, object.category)), object.score);
        write!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"><title>{name} {score:.2}</title></rect>")?;
        // The first category is what nobody named.
        if object.category > 0 {
            write!(out, "<text x=\"{x}\" y=\"{y}\" dy=\"1em\">{name}</text>")?;
        }
        writeln!(out)?;
    }
    let (split, source) = (picture.split.name(), escaped(&picture.source));
    let time = match picture.pts_ns {
        0 => String::new(),
        ns => format!(" at {:.1} s", ns as f64 / 1e9),
    };
    let boxes = match picture.objects.len() {
        1 => "1 box".to_owned(),
        boxes => format!("{boxes} boxes"),
    };
    write!(out, "</svg><figcaption title=\"{name}\"><span class=\"{split}\">{split}</span> ")?;
    writeln!(out, "{source}{time}, {boxes}</figcaption></figure>")
}

fn file_name(page: u64) -> String {
    format!("page-{page:03}.html")
}

fn thumbnail_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(journal::STATE).join("thumbnails").join(format!("{name}.jpg"))
}
