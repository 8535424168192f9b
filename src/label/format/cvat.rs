//! CVAT's own XML. What stands alone is CVAT for images 1.1: `annotations.xml` beside `images/`; each object is a box and the polygons of
//! its mask, in one group, each with its score as an attribute. A video whose objects are followed is CVAT for video 1.1, a task of its own:
//! `{train,val}/CLIP/annotations.xml` beside `images/frame_000000.jpg`, whose objects are tracks of boxes; CVAT would interpolate polygons
//! corner by corner, so masks are left out.

use super::{class, clip_folder, each_clip, save};
use crate::label::{Picture, Split, journal};
use crate::markup::escaped;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Between key frames CVAT's boxes are within so many pixels of what was found.
const OFF: f64 = 1.0;

pub fn write(folder: &Path, categories: &[String]) -> io::Result<()> {
    each_clip(folder, |first, pictures| match first.is_followed {
        true => video(&folder.join(clip_folder(first)), first, categories, pictures),
        false => Ok(()),
    })?;
    images(folder, categories)
}

/// Where a frame of a followed video is, in the folder of its set: CVAT counts frames from 0.
pub fn frame_path(picture: &Picture) -> PathBuf {
    clip_folder(picture).join("images").join(format!("frame_{:06}.jpg", frame_of(picture)))
}

fn frame_of(picture: &Picture) -> u64 {
    picture.number.saturating_sub(1)
}

/// Writes all that is not followed, where there is anything.
fn images(folder: &Path, categories: &[String]) -> io::Result<()> {
    let stills =
        || Ok::<_, io::Error>(journal::pictures(folder)?.filter(|next| !next.as_ref().is_ok_and(|p| p.is_followed)));
    let mut size = 0;
    for picture in stills()? {
        picture?;
        size += 1;
    }
    if size == 0 {
        return Ok(());
    }
    for split in Split::BOTH {
        std::fs::create_dir_all(folder.join("images").join(split.name()))?;
    }
    save(&folder.join("annotations.xml"), |out| {
        head(out)?;
        writeln!(out, "      <name>mostream</name>\n      <size>{size}</size>\n      <mode>annotation</mode>")?;
        labels(categories, false, out)?;
        for (picture, id) in stills()?.zip(0u64..) {
            image_element(&picture?, id, categories, out)?;
        }
        writeln!(out, "</annotations>")
    })
}

fn head(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>"
    )
}

/// The labels of a task, which end what is said of it; a label's score may change along a track.
fn labels(categories: &[String], may_change: bool, out: &mut dyn Write) -> io::Result<()> {
    let mutable = if may_change { "True" } else { "False" };
    writeln!(out, "      <overlap>0</overlap>\n      <labels>")?;
    for name in categories {
        writeln!(out, "        <label>\n          <name>{}</name>\n          <attributes>", escaped(name))?;
        writeln!(out, "            <attribute><name>score</name><mutable>{mutable}</mutable>")?;
        writeln!(out, "              <input_type>text</input_type><default_value></default_value><values></values>")?;
        writeln!(out, "            </attribute>\n          </attributes>\n        </label>")?;
    }
    writeln!(out, "      </labels>\n    </task>\n  </meta>")
}

fn image_element(picture: &Picture, id: u64, categories: &[String], out: &mut dyn Write) -> io::Result<()> {
    let Picture { name, width, height, .. } = picture;
    let split = picture.split.name();
    // Its side is in its name: with `subset`, Datumaro takes it only from a file of that name.
    write!(out, "  <image id=\"{id}\" name=\"{split}/{name}.jpg\"")?;
    writeln!(out, " width=\"{width}\" height=\"{height}\">")?;
    for (object, group) in picture.objects.iter().zip(1u64..) {
        let label = escaped(class(categories, object.category));
        let common = format!("label=\"{label}\" source=\"auto\" occluded=\"0\" z_order=\"0\" group_id=\"{group}\"");
        let score = score(object.score);
        writeln!(out, "    <box {common} {}>{score}</box>", corners(object.bbox))?;
        for ring in picture.mask(object).polygons() {
            let points: Vec<String> = ring.iter().map(|[x, y]| format!("{x}.00,{y}.00")).collect();
            writeln!(out, "    <polygon {common} points=\"{}\">{score}</polygon>", points.join(";"))?;
        }
    }
    writeln!(out, "  </image>")
}

fn corners([xmin, ymin, xmax, ymax]: [u32; 4]) -> String {
    format!("xtl=\"{xmin}.00\" ytl=\"{ymin}.00\" xbr=\"{xmax}.00\" ybr=\"{ymax}.00\"")
}

fn score(score: f32) -> String {
    format!("<attribute name=\"score\">{score}</attribute>")
}

/// An object's box in one frame.
struct Sighting {
    frame: u64,
    bbox: [u32; 4],
    score: f32,
    category: usize,
}

/// Writes a clip's tracks, whose boxes are in memory until then.
fn video(
    folder: &Path,
    first: &Picture,
    categories: &[String],
    pictures: &mut dyn Iterator<Item = io::Result<Picture>>,
) -> io::Result<()> {
    let mut tracks = BTreeMap::<u64, Vec<Sighting>>::new();
    let (mut alone, mut last) = (Vec::new(), 0);
    for picture in pictures {
        let picture = picture?;
        last = frame_of(&picture);
        for object in picture.objects {
            let sighting = Sighting { frame: last, bbox: object.bbox, score: object.score, category: object.category };
            match object.track {
                Some(id) => tracks.entry(id).or_default().push(sighting),
                None => alone.push(sighting),
            }
        }
    }
    let free = tracks.last_key_value().map_or(0, |(id, _)| id + 1);
    tracks.extend((free..).zip(alone.into_iter().map(|sighting| vec![sighting])));
    let Picture { clip, split, width, height, .. } = first;
    save(&folder.join("annotations.xml"), |out| {
        head(out)?;
        writeln!(out, "      <name>{clip}</name>\n      <size>{}</size>", last + 1)?;
        writeln!(out, "      <mode>interpolation</mode>\n      <subset>{}</subset>", split.name())?;
        writeln!(out, "      <start_frame>0</start_frame>\n      <stop_frame>{last}</stop_frame>")?;
        writeln!(out, "      <original_size><width>{width}</width><height>{height}</height></original_size>")?;
        labels(categories, true, out)?;
        tracks.iter().try_for_each(|(id, sightings)| track_element(*id, sightings, last, categories, out))?;
        writeln!(out, "</annotations>")
    })
}

/// A track of a task whose last frame is `last`: it has one label, the one that most of its boxes have.
fn track_element(
    id: u64,
    sightings: &[Sighting],
    last: u64,
    categories: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    let count = |category: &usize| sightings.iter().filter(|sighting| sighting.category == *category).count();
    // Of those that are as frequent, the first.
    let category = (0..categories.len()).rev().max_by_key(count).unwrap_or(0);
    let label = escaped(class(categories, category));
    writeln!(out, "  <track id=\"{id}\" label=\"{label}\" source=\"auto\">")?;
    for seen in sightings.chunk_by(|one, next| next.frame == one.frame + 1) {
        let mut element = |frame: u64, is_gone: bool, is_key: bool, sighting: &Sighting| {
            let flags = format!("outside=\"{}\" occluded=\"0\" keyframe=\"{}\"", u8::from(is_gone), u8::from(is_key));
            let (corners, score) = (corners(sighting.bbox), score(sighting.score));
            writeln!(out, "    <box frame=\"{frame}\" {flags} {corners} z_order=\"0\">{score}</box>")
        };
        for (sighting, is_key) in seen.iter().zip(keys(seen)) {
            element(sighting.frame, false, is_key, sighting)?;
        }
        if let Some(gone) = seen.last().filter(|sighting| sighting.frame < last) {
            element(gone.frame + 1, true, true, gone)?;
        }
    }
    writeln!(out, "  </track>")
}

/// Which boxes of successive frames are key frames: the first, the last, and as few others as a greedy choice needs for those between
/// two of them to be within [`OFF`] of a line. From a key frame on, each box leaves a range of slopes that pass it closely enough (the swing
/// filter of Elmeleegy et al., VLDB 2009).
fn keys(seen: &[Sighting]) -> Vec<bool> {
    const FREE: [(f64, f64); 4] = [(f64::NEG_INFINITY, f64::INFINITY); 4];
    // How much an edge moves a frame from one box to another.
    let slope = |from: usize, to: usize, edge: usize, off: f64| {
        let change = f64::from(seen[to].bbox[edge]) - f64::from(seen[from].bbox[edge]);
        (change + off) / (seen[to].frame - seen[from].frame) as f64
    };
    let mut keys: Vec<bool> = (0..seen.len()).map(|at| at == 0 || at + 1 == seen.len()).collect();
    let (mut from, mut slopes) = (0, FREE);
    for to in 1..seen.len() {
        let fits = |edge: usize| (slopes[edge].0..=slopes[edge].1).contains(&slope(from, to, edge, 0.0));
        if !(0..4).all(fits) {
            (from, slopes) = (to - 1, FREE);
            keys[from] = true;
        }
        slopes = std::array::from_fn(|edge| {
            let (least, most) = slopes[edge];
            (least.max(slope(from, to, edge, -OFF)), most.min(slope(from, to, edge, OFF)))
        });
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_are_few_and_all_others_within_a_pixel_of_the_line_between_them() {
        // Steady, with the jitter of whole pixels, then turned back, then wild.
        let edge = |frame: u64| match frame {
            0..=40 => 100 + frame * 7 / 3,
            41..=80 => 193 - (frame - 40) * 5 / 2,
            _ => 93 + frame * frame % 37,
        };
        let sighting = |frame: u64| {
            let (left, top) = (edge(frame) as u32, 50 + frame as u32 % 2);
            Sighting { frame, bbox: [left, top, left + 40, 90], score: 0.5, category: 0 }
        };
        let seen: Vec<Sighting> = (3..100).map(sighting).collect();
        let keys = keys(&seen);
        let at: Vec<usize> = (0..seen.len()).filter(|&at| keys[at]).collect();
        assert!(at[0] == 0 && at[at.len() - 1] == seen.len() - 1);
        assert!(at.iter().filter(|&&at| seen[at].frame <= 80).count() <= 6, "{at:?}");
        for pair in at.windows(2) {
            let (from, to) = (&seen[pair[0]], &seen[pair[1]]);
            for sighting in &seen[pair[0]..pair[1]] {
                let share = (sighting.frame - from.frame) as f64 / (to.frame - from.frame) as f64;
                for edge in 0..4 {
                    let [a, b, is] = [from, to, sighting].map(|at| f64::from(at.bbox[edge]));
                    assert!((a + (b - a) * share - is).abs() <= OFF + 1e-9, "frame {}", sighting.frame);
                }
            }
        }
        for few in [&seen[..0], &seen[..1], &seen[..2]] {
            assert_eq!(super::keys(few), vec![true; few.len()]);
        }
    }
}
