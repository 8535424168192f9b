//! Objects as they come, one picture after the other: in memory their looks and where they were seen, on disk a thumbnail each,
//! until they are grouped and the gallery is made.

use super::appearance::appearance;
use super::clustering::cluster;
use super::groups::{Groups, Member};
use crate::localize::{Detection, Features};
use crate::partial::PartialFile;
use crate::picture::{RgbImage, thumbnail, write_jpeg};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Objects that are kept at most; with features of 384 numbers they take 150 MB.
pub const MAX_OBJECTS: usize = 100_000;
/// Members of a group that keep their thumbnail: those nearest to its centre, and those farthest from it.
const TYPICAL: usize = 24;
const ODD: usize = 6;
const THUMBNAIL_SIDE: u32 = 160;
const THUMBNAIL_QUALITY: u8 = 80;
const THUMBNAILS: &str = "thumbs";
const GALLERY: &str = include_str!("gallery.html");

/// The objects found so far.
pub struct Collection {
    folder: PathBuf,
    members: Vec<Member>,
    /// What each member looks like, `[D]`.
    vectors: Vec<Vec<f32>>,
}

/// A picture and where it is from.
pub struct Seen<'a> {
    pub picture: &'a RgbImage,
    pub source: &'a str,
    /// Counts the frames of the source, from 0.
    pub frame: u64,
    pub pts_ns: u64,
}

impl Collection {
    /// Makes the folder, and takes away the thumbnails of an earlier gallery in it.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let thumbnails = folder.join(THUMBNAILS);
        fs::create_dir_all(&thumbnails)?;
        for entry in fs::read_dir(&thumbnails)? {
            let name = entry?.file_name();
            let is_ours = name.to_str().and_then(|name| name.strip_suffix(".jpg")).is_some_and(is_number);
            if is_ours {
                fs::remove_file(thumbnails.join(name))?;
            }
        }
        Ok(Self { folder: folder.to_owned(), members: Vec::new(), vectors: Vec::new() })
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether there is room for no more: further objects are passed over.
    pub fn is_full(&self) -> bool {
        self.members.len() >= MAX_OBJECTS
    }

    /// Takes in the objects of one picture, their boxes in its pixels; how many were taken.
    pub fn add(&mut self, seen: &Seen, features: &Features, detections: &[Detection]) -> io::Result<usize> {
        let before = self.members.len();
        for detection in &detections[..detections.len().min(MAX_OBJECTS - before)] {
            let b = detection.bbox;
            let bbox = [b.xmin, b.ymin, b.xmax, b.ymax];
            let name = format!("{THUMBNAILS}/{:06}.jpg", self.members.len());
            let picture = thumbnail(seen.picture, bbox, THUMBNAIL_SIDE);
            write_jpeg(&self.folder.join(&name), &picture, THUMBNAIL_QUALITY)?;
            self.vectors.push(appearance(features, &detection.patches));
            self.members.push(Member {
                source: seen.source.to_owned(),
                frame: seen.frame,
                pts_ns: seen.pts_ns,
                bbox,
                score: detection.score,
                distance: 0.0,
                thumbnail: Some(name),
            });
        }
        Ok(self.members.len() - before)
    }

    /// Groups the objects, into `wanted` groups where it says so, and writes `groups.json` and the gallery, `index.html`; also
    /// the number of each object's group, in the order they came, by which groups are told apart but not named.
    pub fn finish(self, model: &str, feature: &str, wanted: Option<usize>) -> io::Result<(Groups, Vec<usize>)> {
        let clusters = cluster(&self.vectors, wanted);
        let assigned = clusters.groups.clone();
        let mut groups = Groups::new(model, feature, self.members, &self.vectors, clusters);
        for group in &mut groups.groups {
            let odd = group.size.saturating_sub(ODD).max(TYPICAL);
            for member in group.members.iter_mut().take(odd).skip(TYPICAL) {
                if let Some(name) = member.thumbnail.take() {
                    fs::remove_file(self.folder.join(name))?;
                }
            }
        }
        groups.write(&self.folder.join("groups.json"))?;
        let (partial, mut file) = PartialFile::create(&self.folder.join("index.html"))?;
        file.write_all(GALLERY.as_bytes())?;
        partial.commit()?;
        Ok((groups, assigned))
    }
}

fn is_number(name: &str) -> bool {
    name.len() == 6 && name.bytes().all(|byte| byte.is_ascii_digit())
}
