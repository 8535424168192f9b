//! The same thing from frame to frame: boxes become tracks, each with an identity that stays.
//!
//! [`Tracks::update`] takes the boxes of one frame, in order, and says whose each one is: predicted with velocity and the camera's own
//! movement, joined by overlap (two stages, as ByteTrack, Zhang et al., ECCV 2022, section 3), then by appearance. It knows
//! numbers alone, and no time but the frames' time stamps; the same frames give the same identities.

mod appearance;
mod predict;
mod steady;

use crate::assign::assign;
use crate::geometry::overlap;
use appearance::{Apart, Look};
use predict::Path;
use serde::{Deserialize, Serialize};
pub use steady::{AROUND_NS, Between, Owned, Steadied, Steady};

/// A track is believed after so many sightings ...
const HITS: u32 = 3;
/// ... and one that is not yet believed is given up when it was not seen for so long.
const TENTATIVE_S: f32 = 0.5;
/// A track that is not seen is looked for where it should be for so long, and among what appears anywhere for so much longer.
const LOST_S: f32 = 4.0;
const GONE_S: f32 = 60.0;
/// Tracks that are looked for at most; the oldest go first. What a frame may cost is bounded by it.
const MOST: usize = 1024;
/// Boxes of one frame that are followed; those of the lowest scores are not.
const MOST_SIGHTINGS: usize = 1024;
/// Groups of more than so many pairings are taken in the order of likeness: a crowd of a thousand must not stop the source.
const PAIRINGS: usize = 64 * 64;
/// Boxes are made larger by this share of their sides before they are compared: small things move by more than they are large
/// (Yang et al., WACV 2023, section 3.2) ...
const WIDER: f32 = 0.3;
/// ... and in the second stage, where a thing may have been hidden.
const WIDEST: f32 = 0.8;
/// Less overlap of these is none.
const LEAST_OVERLAP: f32 = 0.1;
/// Boxes that overlap by more than this are pieces of one.
const LEAST_PART: f32 = 0.15;
/// How much a likeness of looks counts beside the overlap.
const LOOKS: f32 = 0.5;
/// Slower than this share of its size per second, for so long, a thing stands.
const STANDING: f32 = 0.08;
const STANDING_S: f32 = 2.0;

/// A box of one frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sighting {
    /// `[xmin, ymin, xmax, ymax]` in pixels of the frame.
    pub bbox: [f32; 4],
    pub score: f32,
    /// The mean key of its patches, of any length; empty where the backbone did not see this frame.
    pub key: Vec<f32>,
}

/// What is known of a track's being.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not seen often enough to be believed.
    #[default]
    Tentative,
    Active,
    /// It stays where it is.
    Stationary,
    /// It was there and is not seen now.
    Lost,
}

/// Whose a box is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Identity {
    /// Of this source, counted from 1 and never given twice.
    pub id: u64,
    pub state: State,
    /// Frames it was seen in.
    pub hits: u32,
    /// Time stamps of the first of them and of the last, in nanoseconds.
    pub first_seen_ns: u64,
    pub last_seen_ns: u64,
    /// In pixels of the frame per second, the camera's own movement taken away.
    pub velocity: [f32; 2],
    /// The box's; [`Steady`] makes it the mean over the frames around.
    pub score: f32,
}

struct Track {
    identity: Identity,
    path: Path,
    look: Look,
    /// Since when it stands.
    still_ns: Option<u64>,
    /// The track whose box it went into: the two are one box until they part.
    within: Option<u64>,
    /// Where it would be by itself, while its box is that of several.
    alone: Option<Path>,
}

/// The tracks of one source.
#[derive(Default)]
pub struct Tracks {
    /// By age, the oldest first.
    tracks: Vec<Track>,
    given: u64,
    last_ns: Option<u64>,
    apart: Apart,
}

impl Tracks {
    /// Whose each of the next frame's boxes is, in their order; `ahead` says where a place of the last frame is in this one, by the camera's
    /// movement alone. None for those that are too many.
    pub fn update(
        &mut self,
        pts_ns: u64,
        ahead: impl Fn([f32; 2]) -> [f32; 2],
        found: &[Sighting],
    ) -> Vec<Option<Identity>> {
        let last_ns = self.last_ns.replace(pts_ns).unwrap_or(pts_ns);
        let seconds = pts_ns.saturating_sub(last_ns) as f32 / 1e9;
        for track in &mut self.tracks {
            let is_seen = track.identity.last_seen_ns == last_ns || track.within.is_some();
            track.path.advance(seconds, &ahead, is_seen);
            track.alone.iter_mut().for_each(|alone| alone.advance(seconds, &ahead, true));
        }
        self.keep_within();
        let mut open: Vec<usize> = (0..found.len()).collect();
        if open.len() > MOST_SIGHTINGS {
            open.sort_by(|&a, &b| found[b].score.total_cmp(&found[a].score).then(a.cmp(&b)));
            open.truncate(MOST_SIGHTINGS);
            open.sort_unstable();
        }
        let looks: Vec<Look> = found.iter().map(|sighting| Look::of(&sighting.key)).collect();
        self.apart.learn(&open, found, &looks);
        let mut owners: Vec<Option<usize>> = vec![None; found.len()];
        self.part(&mut open, &mut owners, found, &looks);
        // Those that were just seen come first: who comes back takes nobody's box.
        let (known, new) = (HITS..=u32::MAX, 0..=HITS - 1);
        let stages = [
            (&known, TENTATIVE_S, WIDER),
            (&known, LOST_S, WIDEST),
            (&new, TENTATIVE_S, WIDER),
            (&new, TENTATIVE_S, WIDEST),
        ];
        for (hits, seconds, wider) in stages {
            let is_in = |at: &usize| {
                let Identity { hits: seen, last_seen_ns, .. } = self.tracks[*at].identity;
                let age = pts_ns.saturating_sub(last_seen_ns) as f32 / 1e9;
                hits.contains(&seen) && age <= seconds && !owners.contains(&Some(*at))
            };
            let tracks: Vec<usize> = (0..self.tracks.len()).filter(is_in).collect();
            let likeness = |track: usize, sighting: usize| {
                let track = &self.tracks[tracks[track]];
                let overlap = overlap(&track.path.bbox(), &found[open[sighting]].bbox, wider);
                let alike = || self.apart.alike(&track.look, &looks[open[sighting]]);
                (overlap >= LEAST_OVERLAP).then(|| f64::from(overlap + LOOKS * alike()))
            };
            for (track, sighting) in assign(tracks.len(), open.len(), PAIRINGS, likeness) {
                owners[open[sighting]] = Some(tracks[track]);
            }
            open.retain(|&sighting| owners[sighting].is_none());
        }
        self.find_again(&mut open, &mut owners, found, &looks, pts_ns);
        for (sighting, owner) in owners.iter().enumerate() {
            if let Some(track) = *owner {
                self.tracks[track].see(pts_ns, &found[sighting], &looks[sighting]);
            }
        }
        self.span(found, &owners);
        for &sighting in &open {
            owners[sighting] = Some(self.tracks.len());
            self.given += 1;
            self.tracks.push(Track::new(self.given, pts_ns, &found[sighting], looks[sighting].clone()));
        }
        let identities = owners.iter().map(|owner| owner.map(|track| self.tracks[track].identity)).collect();
        self.lose(pts_ns);
        identities
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.tracks.iter().map(|track| size_of::<Track>() + track.look.bytes()).sum()
    }

    /// Who went into another's box is somewhere in there, and goes on as before as far as that lets it.
    fn keep_within(&mut self) {
        for at in 0..self.tracks.len() {
            let Some(id) = self.tracks[at].within else { continue };
            match self.tracks.iter().position(|track| track.identity.id == id) {
                Some(carrier) => {
                    let bbox = self.tracks[carrier].path.bbox();
                    self.tracks[at].path.keep_in(&bbox);
                    let Track { path, alone, .. } = &mut self.tracks[carrier];
                    alone.get_or_insert_with(|| path.clone()).keep_in(&bbox);
                }
                None => self.tracks[at].within = None,
            }
        }
    }

    /// Those who share a box reach from edge to edge of it: who turns back in there does not come out on the other side.
    fn span(&mut self, found: &[Sighting], owners: &[Option<usize>]) {
        for (sighting, owner) in found.iter().zip(owners) {
            let Some(carrier) = owner.filter(|&owner| self.tracks[owner].alone.is_some()) else { continue };
            let id = self.tracks[carrier].identity.id;
            let mut all: Vec<&mut Path> = (self.tracks.iter_mut())
                .filter_map(|track| match track.within {
                    Some(within) if within == id => Some(&mut track.path),
                    _ if track.identity.id == id => track.alone.as_mut(),
                    _ => None,
                })
                .collect();
            for (edge, is_low) in [(0, true), (1, true), (2, false), (3, false)] {
                let reach = |path: &Path| if is_low { -path.bbox()[edge] } else { path.bbox()[edge] };
                let outer = all.iter_mut().max_by(|a, b| reach(a).total_cmp(&reach(b)));
                outer.into_iter().for_each(|path| path.correct_edge(edge % 2, sighting.bbox[edge], is_low));
            }
        }
    }

    /// Boxes that have become several again: whose each is, by where everybody would be alone, and by looks.
    fn part(&mut self, open: &mut Vec<usize>, owners: &mut [Option<usize>], found: &[Sighting], looks: &[Look]) {
        for carrier in 0..self.tracks.len() {
            let Track { identity, path, alone: Some(alone), .. } = &self.tracks[carrier] else { continue };
            let inside = |sighting: &&usize| overlap(&path.bbox(), &found[**sighting].bbox, 0.0) > LEAST_PART;
            let pieces: Vec<usize> = open.iter().filter(inside).copied().collect();
            let riders = (0..self.tracks.len()).filter(|&at| self.tracks[at].within == Some(identity.id));
            let all: Vec<usize> = std::iter::once(carrier).chain(riders).collect();
            if pieces.len() < 2 || all.len() < 2 {
                continue;
            }
            let likeness = |track: usize, piece: usize| {
                let own = if track == 0 { alone } else { &self.tracks[all[track]].path };
                let overlap = overlap(&own.bbox(), &found[pieces[piece]].bbox, WIDEST);
                let alike = self.apart.alike(&self.tracks[all[track]].look, &looks[pieces[piece]]);
                Some(f64::from(1e-3 + overlap + 2.0 * LOOKS * alike))
            };
            for (track, piece) in assign(all.len(), pieces.len(), PAIRINGS, likeness) {
                owners[pieces[piece]] = Some(all[track]);
                let bbox = &found[pieces[piece]].bbox;
                self.tracks[all[track]].path.jump(bbox);
            }
            self.tracks[carrier].alone = None;
            open.retain(|&sighting| owners[sighting].is_none());
        }
    }

    /// Those that were lost long ago, or far away, by their looks.
    fn find_again(
        &self,
        open: &mut Vec<usize>,
        owners: &mut [Option<usize>],
        found: &[Sighting],
        looks: &[Look],
        pts_ns: u64,
    ) {
        let free = |at: &usize| !owners.contains(&Some(*at)) && self.tracks[*at].identity.hits >= HITS;
        let lost: Vec<usize> = (0..self.tracks.len()).filter(free).collect();
        let likeness = |track: usize, sighting: usize| {
            let (track, sighting) = (&self.tracks[lost[track]], open[sighting]);
            let seconds = pts_ns.saturating_sub(track.identity.last_seen_ns) as f32 / 1e9;
            let alike = || self.apart.alike(&track.look, &looks[sighting]);
            let alike = track.path.reaches(&found[sighting].bbox, seconds).then(alike).filter(|alike| *alike > 0.0);
            alike.map(f64::from)
        };
        let again = assign(lost.len(), open.len(), PAIRINGS, likeness);
        for (track, sighting) in again {
            owners[open[sighting]] = Some(lost[track]);
        }
        open.retain(|&sighting| owners[sighting].is_none());
    }

    /// Those that this frame did not show.
    fn lose(&mut self, pts_ns: u64) {
        let boxes: Vec<(u64, [f32; 4])> = (self.tracks.iter())
            .filter(|track| track.identity.last_seen_ns == pts_ns)
            .map(|track| (track.identity.id, track.path.bbox()))
            .collect();
        for track in self.tracks.iter_mut().filter(|track| track.identity.last_seen_ns != pts_ns) {
            let was_seen = track.identity.state != State::Lost;
            if track.identity.hits >= HITS {
                track.identity.state = State::Lost;
            }
            if was_seen {
                let middle = track.path.middle();
                let covers = |bbox: &[f32; 4]| (0..2).all(|k| (bbox[k]..bbox[k + 2]).contains(&middle[k]));
                track.within = boxes.iter().find(|(_, bbox)| covers(bbox)).map(|(id, _)| *id);
                if track.within.is_none() {
                    track.path.hide();
                }
            }
        }
        let carriers: Vec<u64> = self.tracks.iter().filter_map(|track| track.within).collect();
        self.tracks
            .iter_mut()
            .filter(|track| !carriers.contains(&track.identity.id))
            .for_each(|track| track.alone = None);
        self.tracks.retain(|track| {
            let seconds = pts_ns.saturating_sub(track.identity.last_seen_ns) as f32 / 1e9;
            seconds <= if track.identity.hits >= HITS { GONE_S } else { TENTATIVE_S }
        });
        // Those that were not seen for longest go first.
        while self.tracks.len() > MOST {
            let oldest = (0..self.tracks.len()).min_by_key(|&at| self.tracks[at].identity.last_seen_ns);
            oldest.map(|at| self.tracks.remove(at));
        }
    }
}

impl Track {
    fn new(id: u64, pts_ns: u64, sighting: &Sighting, look: Look) -> Self {
        let identity = Identity {
            id,
            hits: 1,
            first_seen_ns: pts_ns,
            last_seen_ns: pts_ns,
            score: sighting.score,
            ..Identity::default()
        };
        Self { identity, path: Path::new(&sighting.bbox), look, still_ns: None, within: None, alone: None }
    }

    fn see(&mut self, pts_ns: u64, sighting: &Sighting, look: &Look) {
        self.path.correct(&sighting.bbox);
        // The box of several looks like neither.
        if self.alone.is_none() {
            self.look.follow(look);
        }
        self.within = None;
        let Identity { hits, score, last_seen_ns, velocity, .. } = &mut self.identity;
        *hits = hits.saturating_add(1);
        *last_seen_ns = pts_ns;
        *velocity = self.path.velocity();
        *score = sighting.score;
        let is_slow = self.path.speed() < STANDING;
        self.still_ns = self.still_ns.filter(|_| is_slow).or(is_slow.then_some(pts_ns));
        let stands = self.still_ns.is_some_and(|since| pts_ns.saturating_sub(since) as f32 >= 1e9 * STANDING_S);
        self.identity.state = match (*hits >= HITS, stands) {
            (false, _) => State::Tentative,
            (true, false) => State::Active,
            (true, true) => State::Stationary,
        };
    }
}
