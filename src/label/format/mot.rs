//! MOT Challenge: `{train,val}/CLIP/img1/000001.jpg`, `gt/gt.txt` and `seqinfo.ini`; everything counts from 1. An identity is
//! that of the object's track; where objects are not followed each box has its own. Their scores are in `det/det.txt`, the names of the classes, the first
//! being class 1, a line each in `gt/labels.txt`.

use super::save;
use crate::label::{Picture, Split, journal};
use std::io;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

/// The folder of the picture's clip in that of the set.
pub fn clip_folder(picture: &Picture) -> PathBuf {
    Path::new(picture.split.name()).join(&picture.clip)
}

pub fn write(folder: &Path, categories: &[String]) -> io::Result<()> {
    for split in Split::BOTH {
        std::fs::create_dir_all(folder.join(split.name()))?;
    }
    // The pictures of a clip stand together in the journal.
    let mut pictures = journal::pictures(folder)?.peekable();
    while let Some(first) = pictures.peek() {
        match first {
            Ok(first) => {
                let first = first.clone();
                clip(&folder.join(clip_folder(&first)), &first, categories, &mut pictures)?;
            }
            Err(_) => drop(pictures.next().transpose()?),
        }
    }
    Ok(())
}

fn clip(
    folder: &Path,
    first: &Picture,
    categories: &[String],
    pictures: &mut Peekable<impl Iterator<Item = io::Result<Picture>>>,
) -> io::Result<()> {
    let (mut frames, mut boxes, mut end_ns) = (0, 0u64, first.pts_ns);
    save(&folder.join("gt").join("gt.txt"), |truth| {
        save(&folder.join("det").join("det.txt"), |found| {
            let is_of_clip = |next: &io::Result<Picture>| next.as_ref().is_ok_and(|next| next.clip == first.clip);
            while let Some(picture) = pictures.next_if(is_of_clip).transpose()? {
                (frames, end_ns) = (picture.number, picture.pts_ns);
                for object in &picture.objects {
                    boxes += 1;
                    let identity = object.track.unwrap_or(boxes);
                    let [x, y, width, height] = object.xywh();
                    let place = format!("{},{},{width},{height}", x + 1, y + 1);
                    // Frame, identity, box; then: it counts, its class, all of it is visible.
                    writeln!(truth, "{frames},{identity},{place},1,{},1", object.category + 1)?;
                    writeln!(found, "{frames},-1,{place},{},-1,-1,-1", object.score)?;
                }
            }
            Ok(())
        })
    })?;
    save(&folder.join("gt").join("labels.txt"), |out| categories.iter().try_for_each(|name| writeln!(out, "{name}")))?;
    let seconds = end_ns.saturating_sub(first.pts_ns) as f64 / 1e9;
    // Pictures per second, on average: key frames have no rate.
    let rate = if seconds > 0.0 { ((frames - 1) as f64 / seconds).round().max(1.0) } else { 1.0 };
    save(&folder.join("seqinfo.ini"), |out| {
        writeln!(out, "[Sequence]\nname={}\nimDir=img1\nframeRate={rate}\nseqLength={frames}", first.clip)?;
        writeln!(out, "imWidth={}\nimHeight={}\nimExt=.jpg", first.width, first.height)
    })
}
