//! What happens: things appear, stop, move on and leave, are at zones and lines, are left behind and taken away; the picture itself changes.
//!
//! [`Events::update`] takes one frame's tracks after the other, and says what happened; where each event begins and ends, `docs/events.md`
//! says. It knows numbers alone, and no time but the frames' time stamps.

mod glance;
mod thing;
mod upset;

use crate::geometry::{grown, overlap};
use crate::record::{EventName, EventRecord, FrameRecord, Phase, VERSION};
use crate::track::State;
use crate::zones::{Counts, Regions, Side};
pub use glance::Glance;
use glance::Patch;
use std::collections::VecDeque;
use std::sync::Arc;
use thing::{AtZone, PIECE, Rest, Step, Way, area, foot, is_at_edge, share_in};
use upset::{Change, Upset};

/// A thing is told of when it was seen for so long, has gone so far (shares of the picture's width, or of its own size) ...
const AGE_NS: u64 = 400_000_000;
const GONE: f32 = 0.025;
const GONE_OWN: f32 = 0.3;
/// ... and is whole in the picture, or was not for so long.
const WHOLE_NS: u64 = 2_000_000_000;
/// A new track that overlaps so much with who is not seen any more is that one's.
const SAME: f32 = 0.3;
/// What stands where it was first seen for so long, with nobody at it, was left there.
const ALONE_NS: u64 = 2_000_000_000;
/// Who is not seen for so long at the picture's edge has left; elsewhere it may be hidden for so long.
const OUT_NS: u64 = 700_000_000;
const RIM_NS: u64 = 1_500_000_000;
const HIDDEN_NS: u64 = 3_500_000_000;
/// What rests and is not seen is looked for after so long: it is there as long as its place looks like it.
const UNSEEN_NS: u64 = 1_500_000_000;
const LIKE: f32 = 0.6;
/// A hole is spoken of when it has been bare for so long.
const HOLE_NS: u64 = 1_000_000_000;
/// A picture is kept so often, and a hole's place compared with one that is older than this; what is so like it has not changed.
const STEP_NS: u64 = 2_000_000_000;
const PAST_NS: u64 = 5_000_000_000;
const AS_BEFORE: f32 = 0.75;
/// A smaller hole is none.
const LEAST_HOLE: f32 = 0.002;
/// A scene is known after so long.
const KNOWN_NS: u64 = 2_000_000_000;
/// Things at once; those not seen for longest go first.
const MOST: usize = 512;
/// Tracks of one thing that are remembered.
const TRACKS: usize = 16;
/// What is otherwise of a thing is told after so long at the soonest, or a quarter of the time for which its event has gone on, but at most so long.
const PAUSE_NS: u64 = 5_000_000_000;
const LONG_PAUSE_NS: u64 = 60_000_000_000;
/// Its box is another when it overlaps so little with the one that was told, for so long.
const AS_TOLD: f32 = 0.5;
const OTHER_NS: u64 = 1_000_000_000;

/// A track's box in one frame, in shares of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    pub track: u64,
    /// `[xmin, ymin, xmax, ymax]`.
    pub bbox: [f32; 4],
    pub score: f32,
}

/// One frame.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    pub pts_ns: u64,
    /// Nanoseconds since 1970, UTC.
    pub unix_ns: Option<u64>,
    /// The picture's width over its height.
    pub across: f32,
    pub sights: &'a [Sight],
    /// Where the past is asked.
    pub glance: Option<&'a Glance>,
}

/// Something that happened; see [`crate::record::EventRecord`].
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: u64,
    pub name: EventName,
    pub phase: Phase,
    pub pts_ns: u64,
    pub since_ns: u64,
    pub tracks: Vec<u64>,
    pub zone: Option<String>,
    pub side: Option<Side>,
    /// In shares of the picture.
    pub bbox: Option<[f32; 4]>,
    /// Whether the thing stands, and the zones in which it is.
    pub stationary: bool,
    pub zones: Vec<String>,
    pub interrupted: bool,
}

/// An event that goes on.
#[derive(Clone, Debug)]
struct Open {
    id: u64,
    name: EventName,
    since_ns: u64,
    /// The zone's number.
    zone: Option<usize>,
}

/// What was last told of a thing itself.
struct Said {
    ns: u64,
    event: Event,
    /// Since when its box is another.
    other_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Being {
    /// Not yet told of.
    New,
    Moving,
    /// It was left where it stands.
    Left,
}

struct Thing {
    /// The latest last.
    tracks: Vec<u64>,
    way: Way,
    seen_ns: u64,
    score: f32,
    being: Being,
    open: Vec<Open>,
    said: Option<Said>,
    zones: Vec<AtZone>,
    /// When another thing was last at it.
    touched_ns: Option<u64>,
}

/// Something that was there and is not.
struct Hole {
    /// When it was last seen to be one.
    ns: u64,
    bbox: [f32; 4],
    /// Who was last before it, having come from elsewhere, and until when.
    taken: Option<(u64, Vec<u64>)>,
}

/// What happens before one camera.
#[derive(Default)]
pub struct Events {
    regions: Arc<Regions>,
    things: Vec<Thing>,
    upset: Upset,
    whole: Option<Open>,
    holes: Vec<Hole>,
    /// Now and then, of the last while.
    past: VecDeque<(u64, Glance)>,
    given: u64,
    /// Boxes, in shares of the picture, of what stood here when the last run ended.
    standing: Vec<[f32; 4]>,
}

impl Events {
    /// What stood here when the last run ended, as boxes in shares of the picture: it is nothing new. Some of it may have gone meanwhile.
    pub fn expect(&mut self, standing: Vec<[f32; 4]>) {
        self.standing = standing;
    }

    /// Zones and lines from now on; what goes on at the old ones is over.
    pub fn watch(&mut self, regions: &Arc<Regions>, pts_ns: u64) -> Vec<Event> {
        let mut told = Vec::new();
        if !Arc::ptr_eq(&self.regions, regions) && self.regions != *regions {
            for thing in &mut self.things {
                thing.end(|open| open.zone.is_some(), pts_ns, &self.regions, true, &mut told);
                thing.zones.clear();
                thing.way.forget_lines();
            }
            self.regions = regions.clone();
        }
        told
    }

    /// What happened by the next frame, whose record this is, at these zones and lines.
    pub fn follow(&mut self, record: &FrameRecord, glance: &Glance, regions: &Arc<Regions>) -> Vec<EventRecord> {
        let size = [record.width, record.height].map(|side| side as f32);
        let share = |bbox: [u32; 4]| [0, 1, 2, 3].map(|edge| bbox[edge] as f32 / size[edge % 2]);
        let sights = record.objects.iter().filter_map(|object| {
            let track = object.track.filter(|track| track.state != State::Lost)?;
            Some(Sight { track: track.id, bbox: glance.laid_back(&share(object.bbox)), score: object.score })
        });
        let moment = Moment {
            pts_ns: record.pts_ns,
            unix_ns: taken_unix_ns(record),
            across: size[0] / size[1],
            sights: &sights.collect::<Vec<_>>(),
            glance: Some(glance),
        };
        let mut told = self.watch(regions, record.pts_ns);
        told.extend(self.update(&moment));
        told.into_iter().map(|event| event.record(record)).collect()
    }

    /// The source ends with this frame: what goes on does not end by itself.
    pub fn end(&mut self, last: &FrameRecord) -> Vec<EventRecord> {
        self.break_off(last.pts_ns).into_iter().map(|event| event.record(last)).collect()
    }

    /// What happened by this frame.
    pub fn update(&mut self, moment: &Moment) -> Vec<Event> {
        let (ns, mut told) = (moment.pts_ns, Vec::new());
        for bbox in std::mem::take(&mut self.standing) {
            let patch = moment.glance.map(|glance| (bbox, glance.patch(&bbox)));
            self.things.push(Thing::known(ns, bbox, patch));
        }
        let change = moment.glance.and_then(|glance| self.upset.update(ns, glance));
        change.into_iter().for_each(|change| self.of_whole(change, &mut told));
        self.see(moment, &mut told);
        let calm = self.upset.calm_since(ns).filter(|_| moment.glance.is_some());
        self.announce(moment, calm, &mut told);
        self.places(moment, &mut told);
        self.note_holes(moment, calm, &mut told);
        self.lose(moment, calm, &mut told);
        // While the whole picture is upset, boxes are not to be believed.
        if calm.is_some() {
            let seen = self.things.iter_mut().filter(|thing| thing.seen_ns == ns);
            told.extend(seen.filter_map(|thing| thing.renew(&self.regions)));
        }
        told.sort_by_key(|event| event.id);
        told
    }

    /// What goes on does not end by itself.
    pub fn break_off(&mut self, pts_ns: u64) -> Vec<Event> {
        let mut told = Vec::new();
        if let Some(open) = self.whole.take() {
            told.push(Event { interrupted: true, ..of_scene(&open, Phase::End, pts_ns) });
        }
        self.interrupt(pts_ns, &mut told);
        told.sort_by_key(|event| event.id);
        told
    }

    /// Nobody is there any more, or where he was.
    fn interrupt(&mut self, pts_ns: u64, told: &mut Vec<Event>) {
        for mut thing in std::mem::take(&mut self.things) {
            thing.end(|_| true, pts_ns, &self.regions, true, told);
        }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let things: usize = self.things.iter().map(|thing| size_of::<Thing>() + thing.way.bytes()).sum();
        things + self.past.iter().map(|(_, glance)| glance.bytes()).sum::<usize>()
    }

    fn of_whole(&mut self, change: Change, told: &mut Vec<Event>) {
        match change {
            Change::Starts(name, since_ns) => {
                let open = open(&mut self.given, name, since_ns, None);
                told.push(of_scene(&open, Phase::Start, since_ns));
                self.whole = Some(open);
                if name == EventName::CameraMoved {
                    self.interrupt(since_ns, told);
                }
            }
            Change::Ends(_, ns) => told.extend(self.whole.take().map(|open| of_scene(&open, Phase::End, ns))),
            Change::Is(name, ns) => {
                let open = open(&mut self.given, name, ns, None);
                told.push(of_scene(&open, Phase::End, ns));
            }
        }
    }

    /// Whose each box is.
    fn see(&mut self, moment: &Moment, told: &mut Vec<Event>) {
        let ns = moment.pts_ns;
        for sight in moment.sights {
            let known = self.things.iter().position(|thing| thing.tracks.contains(&sight.track));
            // A thing that was thought to be one may be two.
            let parted = known.filter(|&at| self.things[at].seen_ns == ns);
            parted.into_iter().for_each(|at| self.things[at].tracks.retain(|track| *track != sight.track));
            let at = known.filter(|_| parted.is_none()).or_else(|| self.unseen(moment, sight));
            let Some(at) = at else {
                self.things.push(Thing::new(ns, sight));
                continue;
            };
            let thing = &mut self.things[at];
            if !thing.tracks.contains(&sight.track) {
                thing.is_also(&[sight.track]);
            }
            (thing.seen_ns, thing.score) = (ns, sight.score);
            if let Some(moved_ns) = thing.way.go(ns, sight.bbox, moment.across) {
                let is_stop = |open: &Open| matches!(open.name, EventName::Stopped | EventName::LeftBehind);
                thing.end(is_stop, moved_ns, &self.regions, false, told);
                if thing.being == Being::Left {
                    // Somebody carries it, or it was no bag.
                    thing.being = Being::New;
                    thing.way.first = Step { ns: moved_ns, bbox: sight.bbox };
                    thing.way.farthest = 0.0;
                }
            }
        }
        self.inherit(ns, moment.across);
        let boxes: Vec<(usize, [f32; 4], bool)> = (self.things.iter().enumerate())
            .filter(|(_, thing)| thing.seen_ns == ns)
            .map(|(at, thing)| (at, thing.way.last().bbox, thing.way.rest.is_none()))
            .collect();
        for (at, thing) in self.things.iter_mut().enumerate() {
            let own = grown(&thing.way.last().bbox, 0.1);
            if boxes.iter().any(|(other, bbox, moves)| *other != at && *moves && share_in(&own, bbox) > 0.0) {
                thing.touched_ns = Some(ns);
            }
        }
    }

    /// The thing that was here and is not seen, whose track this is then.
    fn unseen(&self, moment: &Moment, sight: &Sight) -> Option<usize> {
        let is_same = |thing: &Thing| {
            let is_free = !moment.sights.iter().any(|other| thing.tracks.contains(&other.track));
            is_free && overlap(&thing.way.last().bbox, &sight.bbox, 0.0) > SAME
        };
        self.things.iter().position(is_same)
    }

    /// Things that are not seen any more go on as new ones: a box that grew from a part to the whole has another track, and so has who comes out
    /// from behind something.
    fn inherit(&mut self, ns: u64, across: f32) {
        let mut at = 0;
        while at < self.things.len() {
            let Thing { being, seen_ns, way, .. } = &self.things[at];
            let (first, bbox) = (way.first, way.last().bbox);
            let is_heir = *being == Being::New && *seen_ns == ns && ns.saturating_sub(first.ns) >= AGE_NS;
            let is_part =
                |own: &[f32; 4]| share_in(own, &grown(&bbox, 0.1)).max(share_in(&bbox, &grown(own, 0.1))) > PIECE;
            let went = |other: &Thing| {
                let was_hidden = other.seen_ns < first.ns && !is_at_edge(&other.way.last().bbox);
                let is_lost = other.being != Being::New && other.seen_ns != ns && other.seen_ns + AGE_NS >= first.ns;
                if was_hidden && other.being == Being::Moving && other.way.may_be(way, across) {
                    return Some(true);
                }
                (is_lost && is_part(&other.way.last().bbox)).then_some(false)
            };
            let left =
                self.things.iter().enumerate().find_map(|(left, other)| Some((left, went(other).filter(|_| is_heir)?)));
            let Some((left, was_hidden)) = left else {
                at += 1;
                continue;
            };
            let heir = self.things.remove(at);
            let left = &mut self.things[left - usize::from(left > at)];
            left.is_also(&heir.tracks);
            (left.seen_ns, left.score) = (ns, heir.score);
            if was_hidden {
                left.way.go(ns, bbox, across);
            } else {
                left.way.jump(ns, bbox);
            }
        }
    }

    /// Those that are told of from now on.
    fn announce(&mut self, moment: &Moment, calm: Option<u64>, told: &mut Vec<Event>) {
        let (ns, Some(calm_ns)) = (moment.pts_ns, calm) else { return };
        let known = self
            .things
            .iter()
            .filter(|thing| thing.being != Being::New && ns.saturating_sub(thing.seen_ns) < HIDDEN_NS);
        let known = Vec::from_iter(known);
        let is_new = |thing: &Thing| thing.being == Being::New && thing.seen_ns == ns;
        let is_piece = |thing: &Thing| known.iter().any(|known| thing.way.is_piece_of(&known.way, moment.across));
        let news = self.things.iter().map(|thing| is_new(thing) && !is_piece(thing));
        for (at, is_new) in news.collect::<Vec<_>>().into_iter().enumerate() {
            let thing = &mut self.things[at];
            let age = ns.saturating_sub(thing.way.first.ns);
            if !is_new || age < AGE_NS {
                continue;
            }
            let Step { bbox, .. } = *thing.way.last();
            let own = (bbox[2] - bbox[0]).min((bbox[3] - bbox[1]) / moment.across);
            let has_gone = thing.way.farthest > GONE.max(GONE_OWN * own);
            if has_gone && (!is_at_edge(&bbox) || age >= WHOLE_NS) {
                thing.being = Being::Moving;
                let since_ns = thing.way.half_seen(true);
                thing.start(EventName::Object, since_ns, None, &mut self.given, &self.regions, told);
                continue;
            }
            let stands = thing.way.rest.as_ref().filter(|_| !has_gone);
            let is_known = thing.way.first.ns.saturating_sub(calm_ns) >= KNOWN_NS;
            let alone_ns = thing.touched_ns.unwrap_or(thing.way.first.ns);
            if stands.is_some() && is_known && !is_at_edge(&bbox) && ns.saturating_sub(alone_ns) >= ALONE_NS {
                thing.being = Being::Left;
                thing.start(EventName::LeftBehind, alone_ns, None, &mut self.given, &self.regions, told);
            }
        }
    }

    /// What changed at rests, zones and lines.
    fn places(&mut self, moment: &Moment, told: &mut Vec<Event>) {
        let (ns, across, regions) = (moment.pts_ns, moment.across, self.regions.clone());
        for thing in self.things.iter_mut().filter(|thing| thing.seen_ns == ns) {
            let patch = |bbox: [f32; 4]| moment.glance.map(|glance| (bbox, glance.patch(&bbox)));
            let bbox = thing.way.last().bbox;
            if let Some(rest) = thing.way.rest.as_mut().filter(|rest| rest.patch.is_none()) {
                rest.patch = patch(bbox);
            }
            let is_new_rest = thing.being == Being::Moving && !thing.has(EventName::Stopped, None);
            if let Some(since_ns) = thing.way.rest.as_ref().filter(|_| is_new_rest).map(|rest| rest.since_ns) {
                thing.start(EventName::Stopped, since_ns, None, &mut self.given, &regions, told);
            }
            thing.zones.resize(regions.zones.len(), AtZone::default());
            let crossed = thing.way.over_lines(&regions.lines, across);
            let counts = |counts: Counts, thing: &Thing| {
                area(&bbox) >= counts.min_size
                    && ns.saturating_sub(thing.way.first.ns) as f32 >= 1e9 * counts.min_age
                    && thing.score >= counts.min_score
                    && counts.holds(moment.unix_ns)
            };
            for (number, zone) in regions.zones.iter().enumerate() {
                if let Some(left_ns) = thing.way.at_zone(zone, &mut thing.zones[number], across) {
                    thing.end(|open| open.zone == Some(number), left_ns, &regions, false, told);
                }
                let at = thing.zones[number];
                if !at.is_inside || thing.being == Being::New || !counts(zone.counts(), thing) {
                    continue;
                }
                if !thing.has(EventName::Zone, Some(number)) {
                    thing.start(EventName::Zone, at.since_ns, Some(number), &mut self.given, &regions, told);
                }
                let stay_ns = zone.stay.map(|stay| at.since_ns + (1e9 * stay) as u64).filter(|stay| *stay <= ns);
                if let Some(stay_ns) = stay_ns.filter(|_| !thing.has(EventName::Stay, Some(number))) {
                    thing.start(EventName::Stay, stay_ns, Some(number), &mut self.given, &regions, told);
                }
            }
            for (number, side, at_ns) in crossed {
                let line = &regions.lines[number];
                if thing.being == Being::New || !counts(line.counts(), thing) {
                    continue;
                }
                let open = open(&mut self.given, EventName::Line, at_ns, None);
                let event = thing.tell(&open, Phase::End, at_ns, &regions, false);
                told.push(Event { zone: Some(line.name.clone()), side: Some(side), ..event });
            }
        }
    }

    /// What was there and is not.
    fn note_holes(&mut self, moment: &Moment, calm: Option<u64>, told: &mut Vec<Event>) {
        let ns = moment.pts_ns;
        let Some(calm_ns) = calm else {
            self.past.clear();
            return self.holes.clear();
        };
        let is_known = ns.saturating_sub(calm_ns) >= KNOWN_NS;
        let found =
            moment.glance.iter().flat_map(|glance| &glance.holes).filter(|hole| is_known && area(hole) >= LEAST_HOLE);
        for bbox in found {
            match self.holes.iter_mut().find(|hole| share_in(bbox, &grown(&hole.bbox, 0.3)) > 0.0) {
                Some(hole) => {
                    let known = hole.bbox;
                    hole.ns = ns;
                    hole.bbox =
                        [0, 1, 2, 3].map(|at| if at < 2 { known[at].min(bbox[at]) } else { known[at].max(bbox[at]) });
                }
                None => self.holes.push(Hole { ns, bbox: *bbox, taken: None }),
            }
        }
        for hole in &mut self.holes {
            // Who came to it; who began there was it.
            let place = grown(&hole.bbox, 0.2);
            let came = |thing: &&Thing| thing.being == Being::Moving && share_in(&thing.way.first.bbox, &place) < 0.3;
            let took = self.things.iter().filter(came).filter_map(|thing| Some((thing.way.covered(&place)?, thing)));
            if let Some((at_ns, thing)) = took.max_by_key(|(at_ns, _)| *at_ns) {
                hole.taken = Some((at_ns, thing.tracks.clone()));
            }
        }
        // Who still stands before it may take more.
        let is_bare = |hole: &Hole| {
            let covered = hole.taken.as_ref().map_or(0, |(at_ns, _)| *at_ns);
            ns.saturating_sub(hole.ns.max(covered)) >= HOLE_NS
        };
        if let Some(glance) = moment.glance.filter(|_| self.past.back().is_none_or(|(last, _)| last + STEP_NS <= ns)) {
            self.past.push_back((ns, glance.clone()));
            while self.past.front().is_some_and(|(then, _)| then + 3 * PAST_NS < ns) {
                self.past.pop_front();
            }
        }
        for hole in self.holes.extract_if(.., |hole| is_bare(hole)) {
            // Where something was known to stand, that tells.
            let stood = |thing: &Thing| {
                let bbox = &thing.way.last().bbox;
                thing.being != Being::New && thing.way.rest.is_some() && share_in(&hole.bbox, &grown(bbox, 0.1)) > 0.5
            };
            if self.things.iter().any(stood) {
                continue;
            }
            // What looks as it did has lost nothing: who stood before it has a hole of his own.
            let before = self.past.iter().rev().find(|(then, _)| then + PAST_NS <= hole.ns).or(self.past.front());
            let now = moment.glance.map(|glance| glance.patch(&hole.bbox));
            let is_as_before =
                before.zip(now).is_some_and(|((_, then), now)| then.patch(&hole.bbox).alike(&now) > AS_BEFORE);
            if let Some((at_ns, tracks)) = hole.taken.filter(|_| !is_as_before) {
                let open = open(&mut self.given, EventName::TakenAway, at_ns, None);
                told.push(Event { tracks, bbox: Some(hole.bbox), ..of_scene(&open, Phase::End, at_ns) });
            }
        }
    }

    /// Those that this frame does not show.
    fn lose(&mut self, moment: &Moment, calm: Option<u64>, told: &mut Vec<Event>) {
        let ns = moment.pts_ns;
        // While the whole picture is upset nobody is gone.
        if calm.is_none() && moment.glance.is_some() {
            return;
        }
        let seen: Vec<[f32; 4]> =
            (self.things.iter()).filter(|thing| thing.seen_ns == ns).map(|thing| thing.way.last().bbox).collect();
        let regions = self.regions.clone();
        self.things.retain_mut(|thing| {
            let unseen = ns.saturating_sub(thing.seen_ns);
            let bbox = thing.way.last().bbox;
            let is_gone = match &thing.way.rest {
                Some(rest) if thing.being != Being::New => {
                    let is_hidden = seen.iter().any(|other| share_in(&bbox, other) > 0.2);
                    let is_there = || {
                        let (glance, (place, then)) = moment.glance.zip(rest.patch.as_ref())?;
                        Some(then.alike(&glance.patch(place)) > LIKE)
                    };
                    unseen >= UNSEEN_NS && !is_hidden && is_there() != Some(true)
                }
                _ if thing.being == Being::New => unseen >= RIM_NS,
                _ => unseen >= if is_at_edge(&bbox) { OUT_NS } else { HIDDEN_NS },
            };
            // Of who has gone, a rim may be seen for long.
            let is_rim = is_at_edge(&bbox) && ns.saturating_sub(thing.way.half_seen(false)) >= RIM_NS;
            let is_gone = is_gone || is_rim && thing.being != Being::New;
            if is_gone {
                let is_out = is_at_edge(&bbox);
                let at_ns = if is_out { thing.way.half_seen(false) } else { thing.seen_ns };
                thing.end(|_| true, at_ns, &regions, false, told);
            }
            !is_gone
        });
        while self.things.len() > MOST {
            let oldest = (0..self.things.len()).min_by_key(|&at| self.things[at].seen_ns);
            if let Some(mut thing) = oldest.map(|at| self.things.remove(at)) {
                thing.end(|_| true, thing.seen_ns, &regions, true, told);
            }
        }
    }
}

impl Event {
    /// As it is published, told by this frame.
    fn record(self, frame: &FrameRecord) -> EventRecord {
        let size = [frame.width, frame.height].map(|side| side as f32);
        let pixels =
            |bbox: [f32; 4]| [0, 1, 2, 3].map(|edge| (bbox[edge].clamp(0.0, 1.0) * size[edge % 2]).round() as u32);
        let ago_ns = frame.pts_ns.saturating_sub(self.pts_ns);
        EventRecord {
            version: VERSION,
            run: frame.run.clone(),
            source: frame.source.clone(),
            seq: None,
            id: self.id,
            event: self.name,
            phase: self.phase,
            pts_ns: self.pts_ns,
            at_unix_ns: taken_unix_ns(frame).map(|unix_ns| unix_ns.saturating_sub(ago_ns)),
            told_ns: frame.pts_ns,
            since_ns: self.since_ns,
            tracks: self.tracks,
            zone: self.zone,
            side: self.side,
            bbox: self.bbox.map(pixels),
            stationary: self.stationary,
            zones: self.zones,
            picture: None,
            width: frame.width,
            height: frame.height,
            interrupted: self.interrupted,
        }
    }
}

/// By the camera's clock, or by the file's.
fn taken_unix_ns(frame: &FrameRecord) -> Option<u64> {
    frame.live.map(|live| live.captured_unix_ns).or(frame.captured_unix_ns)
}

fn open(given: &mut u64, name: EventName, since_ns: u64, zone: Option<usize>) -> Open {
    *given += 1;
    Open { id: *given, name, since_ns, zone }
}

/// Of the whole picture.
fn of_scene(open: &Open, phase: Phase, pts_ns: u64) -> Event {
    let &Open { id, name, since_ns, .. } = open;
    Event {
        id,
        name,
        phase,
        pts_ns,
        since_ns,
        tracks: Vec::new(),
        zone: None,
        side: None,
        bbox: None,
        stationary: false,
        zones: Vec::new(),
        interrupted: false,
    }
}

/// Whether it is about a thing itself, and not about where it is.
fn is_of_thing(open: &Open) -> bool {
    matches!(open.name, EventName::Object | EventName::LeftBehind)
}

impl Thing {
    fn new(ns: u64, sight: &Sight) -> Self {
        Self {
            tracks: vec![sight.track],
            way: Way::new(ns, sight.bbox),
            seen_ns: ns,
            score: sight.score,
            being: Being::New,
            open: Vec::new(),
            said: None,
            zones: Vec::new(),
            touched_ns: None,
        }
    }

    /// It stood here before anybody looked.
    fn known(ns: u64, bbox: [f32; 4], patch: Option<([f32; 4], Patch)>) -> Self {
        let mut thing = Self::new(ns, &Sight { track: 0, bbox, score: 0.0 });
        thing.tracks.clear();
        thing.being = Being::Left;
        thing.way.rest = Some(Rest { at: foot(&bbox), since_ns: ns, patch });
        thing
    }

    /// These tracks are it, too; of very many the last are remembered.
    fn is_also(&mut self, tracks: &[u64]) {
        self.tracks.extend(tracks);
        self.tracks.drain(..self.tracks.len().saturating_sub(TRACKS));
    }

    fn has(&self, name: EventName, zone: Option<usize>) -> bool {
        self.open.iter().any(|open| open.name == name && open.zone == zone)
    }

    fn start(
        &mut self,
        name: EventName,
        since_ns: u64,
        zone: Option<usize>,
        given: &mut u64,
        regions: &Regions,
        told: &mut Vec<Event>,
    ) {
        let open = open(given, name, since_ns, zone);
        self.open.push(open.clone());
        let event = self.tell(&open, Phase::Start, since_ns, regions, false);
        if is_of_thing(&open) {
            self.said = Some(Said { ns: self.seen_ns, event: event.clone(), other_ns: None });
        }
        told.push(event);
    }

    /// Tells again of the thing, just seen, where something of it is known better or is otherwise, and was not told a short while ago.
    fn renew(&mut self, regions: &Regions) -> Option<Event> {
        let (ns, bbox) = (self.seen_ns, self.way.last().bbox);
        let open = self.open.iter().find(|open| is_of_thing(open))?.clone();
        let said = self.said.as_mut()?;
        let is_other = said.event.bbox.is_none_or(|told| overlap(&told, &bbox, 0.0) < AS_TOLD);
        said.other_ns = said.other_ns.filter(|_| is_other).or(is_other.then_some(ns));
        let is_elsewhere = said.other_ns.is_some_and(|since| ns.saturating_sub(since) >= OTHER_NS);
        let pause_ns = (said.ns.saturating_sub(open.since_ns) / 4).clamp(PAUSE_NS, LONG_PAUSE_NS);
        if ns.saturating_sub(said.ns) < pause_ns {
            return None;
        }
        let event = self.tell(&open, Phase::Update, ns, regions, false);
        let is_as_told = |told: &Event| {
            (&told.tracks, told.stationary, &told.zones) == (&event.tracks, event.stationary, &event.zones)
        };
        if !is_elsewhere && self.said.as_ref().is_some_and(|said| is_as_told(&said.event)) {
            return None;
        }
        self.said = Some(Said { ns, event: event.clone(), other_ns: None });
        Some(event)
    }

    /// What `is_over` of what goes on; nothing ends before it began.
    fn end(
        &mut self,
        is_over: impl Fn(&Open) -> bool,
        ns: u64,
        regions: &Regions,
        interrupted: bool,
        told: &mut Vec<Event>,
    ) {
        let over: Vec<Open> = self.open.extract_if(.., |open| is_over(open)).collect();
        let ends = over.iter().map(|open| self.tell(open, Phase::End, ns.max(open.since_ns), regions, interrupted));
        told.extend(ends);
    }

    fn tell(&self, open: &Open, phase: Phase, pts_ns: u64, regions: &Regions, interrupted: bool) -> Event {
        let zone = open.zone.and_then(|zone| Some(regions.zones.get(zone)?.name.clone()));
        let (tracks, bbox) = (self.tracks.clone(), Some(self.way.last().bbox));
        let is_in = self.open.iter().filter(|open| open.name == EventName::Zone).filter_map(|open| open.zone);
        let zones = is_in.filter_map(|zone| Some(regions.zones.get(zone)?.name.clone())).collect();
        let stationary = self.way.rest.is_some();
        Event { tracks, zone, bbox, stationary, zones, interrupted, ..of_scene(open, phase, pts_ns) }
    }
}
