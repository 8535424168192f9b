//! MOT Challenge: `{train,val}/CLIP/img1/000001.jpg`, `gt/gt.txt` and `seqinfo.ini`; everything counts from 1. An identity is
//! that of the object's track; where objects are not followed each box has its own. Their scores are in `det/det.txt`, the names of the classes, the first
//! being class 1, a line each in `gt/labels.txt`.

use super::{clip_folder, each_clip, save};
use crate::label::{Picture, Split};
use std::io;
use std::path::Path;

pub fn write(folder: &Path, categories: &[String]) -> io::Result<()> {
    for split in Split::BOTH {
        std::fs::create_dir_all(folder.join(split.name()))?;
    }
    each_clip(folder, |first, pictures| clip(&folder.join(clip_folder(first)), first, categories, pictures))
}

fn clip(
    folder: &Path,
    first: &Picture,
    categories: &[String],
    pictures: &mut dyn Iterator<Item = io::Result<Picture>>,
) -> io::Result<()> {
    let (mut frames, mut boxes, mut end_ns) = (0, 0u64, first.pts_ns);
    save(&folder.join("gt").join("gt.txt"), |truth| {
        save(&folder.join("det").join("det.txt"), |found| {
            for picture in pictures {
                let picture = picture?;
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
