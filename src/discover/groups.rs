//! The file of groups: what belongs together, what it is called, and how near something must be to be called so.

use super::appearance::{appearance, centre, distance};
use super::clustering::{Clusters, nearest};
use crate::bounded;
use crate::fault::{Kind, OfKind};
use crate::localize::{Detection, PatchOutput};
use crate::partial::PartialFile;
use serde::{Deserialize, Serialize};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The version of the format: raised when a field changes its meaning or goes away.
pub const VERSION: u32 = 1;
/// The longest name, in characters.
pub const MAX_NAME: usize = 64;
const MAX_BYTES: u64 = 256 << 20;
const MAX_GROUPS: usize = 4096;
/// Of a group's own members, this share is within its limit, before what is added for [`FEW`].
const WITHIN: f64 = 0.95;
/// Few members show little of how much their kind varies: with this many, the limit is twice as far; with more, less.
const FEW: f32 = 10.0;

/// An object and what it is called.
pub type Named = (Detection, Option<String>);

/// Why a file of groups cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub struct GroupsError {
    pub path: String,
    pub why: String,
}

impl OfKind for GroupsError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
}

/// All groups, the largest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Groups {
    pub version: u32,
    /// Name and content hash of the backbone.
    pub model: String,
    /// The backbone's output that was compared: `k`, `q` or `v`.
    pub feature: String,
    /// How clearly apart the groups are, −1 to 1; none for fewer than two.
    pub silhouette: Option<f64>,
    pub groups: Vec<Group>,
    /// Where the file was read from, for messages.
    #[serde(skip)]
    path: String,
}

/// Objects that look alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Unique in the file.
    pub id: u32,
    /// Given by a person.
    pub name: Option<String>,
    /// Number of members.
    pub size: usize,
    /// Of unit length, `[D]`; all zeros for what looks like nothing.
    pub centre: Vec<f32>,
    /// What is farther from the centre than this (one minus the cosine) is none of the group.
    pub limit: f32,
    /// The nearest to the centre first.
    pub members: Vec<Member>,
}

/// One object, where it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The path or URI, without user name and password.
    pub source: String,
    /// Counts the frames of the source, from 0.
    pub frame: u64,
    pub pts_ns: u64,
    /// `[xmin, ymin, xmax, ymax]`, half-open, in pixels of the frame as displayed.
    pub bbox: [u32; 4],
    pub score: f32,
    /// From the group's centre: one minus the cosine.
    pub distance: f32,
    /// A picture of it, relative to the file of groups; only some members keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<String>,
}

impl Groups {
    /// Sorts `members`, which look like `vectors`, into the groups of `clusters`. The three are in the same order.
    pub fn new(model: &str, feature: &str, members: Vec<Member>, vectors: &[Vec<f32>], clusters: Clusters) -> Self {
        let Clusters { groups: assigned, centres, silhouette } = clusters;
        let limits: Vec<Option<f32>> = (0..centres.len()).map(|group| limit(vectors, &assigned, group)).collect();
        // One member says nothing of how much its kind varies: the tightest of the other groups speaks for it.
        let tightest = limits.iter().flatten().copied().reduce(f32::min).unwrap_or(0.0);
        let group = |(centre, limit): (Vec<f32>, Option<f32>)| Group {
            id: 0,
            name: None,
            size: 0,
            centre,
            limit: limit.unwrap_or(tightest),
            members: Vec::new(),
        };
        let mut groups: Vec<Group> = centres.into_iter().zip(limits).map(group).collect();
        for ((mut member, vector), &at) in members.into_iter().zip(vectors).zip(&assigned) {
            member.distance = distance(vector, &groups[at].centre);
            groups[at].members.push(member);
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.members.len()));
        for (group, id) in groups.iter_mut().zip(1..) {
            group.id = id;
            group.size = group.members.len();
            group.members.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        }
        let (model, feature) = (model.to_owned(), feature.to_owned());
        Self { version: VERSION, model, feature, silhouette, groups, path: String::new() }
    }

    /// Reads and checks the file.
    pub fn load(path: &Path) -> Result<Self, GroupsError> {
        let shown = path.display().to_string();
        let fault = |why: String| GroupsError { path: shown.clone(), why };
        let text = bounded::read_file(path, MAX_BYTES).map_err(|error| fault(error.to_string()))?;
        let is_not =
            |error| fault(format!("is no groups.json of mostream discover: {error}; make one with that command"));
        let mut groups: Self = serde_json::from_slice(&text).map_err(|error| is_not(error.to_string()))?;
        groups.path = shown.clone();
        groups.check().map_err(is_not)?;
        Ok(groups)
    }

    /// The groups, where they were made with this backbone (its name and hash) and this of its outputs.
    pub fn expect_model(self, model: &str, feature: &str) -> Result<Self, GroupsError> {
        if (self.model.as_str(), self.feature.as_str()) == (model, feature) {
            return Ok(self);
        }
        let why = format!(
            "made with model {} and feature {}, but these are {model} and {feature}: give the same --model and --feature, or run \
             mostream discover again",
            self.model, self.feature
        );
        Err(GroupsError { path: self.path, why })
    }

    /// What the object in `patches` is called: the name of the nearest group, where it has one and the object is within its
    /// limit. Features of another width have no name, and neither has attention.
    pub fn name_of(&self, output: &PatchOutput, patches: &[usize]) -> Option<&str> {
        let PatchOutput::Features(features) = output else { return None };
        if self.groups.first()?.centre.len() != features.values().ncols() {
            return None;
        }
        let look = appearance(features, patches);
        let (at, distance) = nearest(&look, self.groups.iter().map(|group| group.centre.as_slice()))?;
        let group = &self.groups[at];
        group.name.as_deref().filter(|_| distance <= group.limit)
    }

    /// The names that groups have, in the groups' order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().filter_map(|group| group.name.as_deref())
    }

    /// A hash of all that the names of objects depend on, in hexadecimal digits.
    pub fn digest(&self) -> String {
        let mut hash = blake3::Hasher::new();
        let mut add = |part: &[u8]| {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part);
        };
        for group in &self.groups {
            // A name is never empty.
            add(group.name.as_deref().unwrap_or_default().as_bytes());
            let numbers = group.centre.iter().chain([&group.limit]);
            add(&numbers.flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>());
        }
        hash.finalize().to_hex()[..16].to_owned()
    }

    /// Names a group, or takes its name away where `name` is empty.
    pub fn set_name(&mut self, id: u32, name: &str) -> Result<(), String> {
        let last = self.groups.len();
        let group = self.groups.iter_mut().find(|group| group.id == id);
        let group = group.ok_or_else(|| format!("there is no group {id} (expected 1 to {last})"))?;
        let name = name.trim();
        if !name.is_empty() {
            check_name(name)?;
        }
        group.name = (!name.is_empty()).then(|| name.to_owned());
        Ok(())
    }

    /// Writes the file, and beside it the same as a script that the gallery reads: a page opened from disk may read no other
    /// file.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string(self).map_err(io::Error::other)?;
        for (path, head, tail) in [(path.to_owned(), "", "\n"), (path.with_extension("js"), "const DATA = ", ";\n")] {
            let (partial, file) = PartialFile::create(&path)?;
            let mut out = BufWriter::new(file);
            [head, &text, tail].iter().try_for_each(|part| out.write_all(part.as_bytes()))?;
            out.flush()?;
            partial.commit()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("version {} (expected {VERSION})", self.version));
        }
        if self.groups.len() > MAX_GROUPS {
            return Err(format!("{} groups (expected at most {MAX_GROUPS})", self.groups.len()));
        }
        let mut ids = std::collections::HashSet::new();
        let width = self.groups.first().map_or(0, |group| group.centre.len());
        for group in &self.groups {
            let id = group.id;
            if !ids.insert(id) {
                return Err(format!("two groups have the id {id}"));
            }
            if group.centre.len() != width || width == 0 {
                return Err(format!(
                    "the centre of group {id} has {} numbers (expected {})",
                    group.centre.len(),
                    width.max(1)
                ));
            }
            let norm = group.centre.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            if !(norm == 0.0 || (norm - 1.0).abs() < 1e-3) {
                return Err(format!("the centre of group {id} has length {norm} (expected 1)"));
            }
            if !(0.0..=4.0).contains(&group.limit) {
                return Err(format!("the limit of group {id} is {} (expected 0 to 4)", group.limit));
            }
            if group.size != group.members.len() {
                return Err(format!("group {id} has {} members (expected {})", group.members.len(), group.size));
            }
            group.name.as_deref().map_or(Ok(()), check_name).map_err(|why| format!("group {id}: {why}"))?;
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let length = name.chars().count();
    let is_barred = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    let is_plain = !name.chars().any(is_barred) && name.trim() == name;
    match is_plain && (1..=MAX_NAME).contains(&length) {
        true => Ok(()),
        false => Err(format!(
            "{name:?} is no name (expected 1 to {MAX_NAME} characters, no control characters, no space at the ends)"
        )),
    }
}

/// Each object with its name ([`Groups::name_of`]); where there are no groups, none has one.
pub fn named(groups: Option<&Groups>, output: &PatchOutput, found: Vec<Detection>) -> Vec<Named> {
    let with_name = |object: Detection| {
        let name = groups.and_then(|groups| groups.name_of(output, &object.patches)).map(str::to_owned);
        (object, name)
    };
    found.into_iter().map(with_name).collect()
}

/// How far a group's members are from the centre of the others: the distance that [`WITHIN`] of them keep, and more
/// for [`FEW`]. None for fewer than two.
fn limit(vectors: &[Vec<f32>], assigned: &[usize], group: usize) -> Option<f32> {
    let members: Vec<&[f32]> =
        vectors.iter().zip(assigned).filter(|(_, at)| **at == group).map(|(v, _)| v.as_slice()).collect();
    if members.len() < 2 {
        return None;
    }
    let mut sum = vec![0f32; members[0].len()];
    members.iter().for_each(|member| sum.iter_mut().zip(*member).for_each(|(s, v)| *s += v));
    let from_the_others = |member: &&[f32]| {
        let others: Vec<f32> = sum.iter().zip(*member).map(|(s, v)| s - v).collect();
        distance(member, &centre(std::iter::once(others.as_slice()), others.len()))
    };
    let mut distances: Vec<f32> = members.iter().map(from_the_others).collect();
    distances.sort_by(f32::total_cmp);
    let at = ((distances.len() as f64 * WITHIN).ceil() as usize).clamp(1, distances.len()) - 1;
    Some(distances[at] * (1.0 + FEW / members.len() as f32))
}
