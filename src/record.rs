//! The published record: lines of JSON, one of each frame, and of what happens to live sources. `docs/record.md` explains it and says what
//! may be added to it, `docs/record.schema.json` specifies it.

use crate::geometry::{PatchLayout, PixelBox};
use crate::localize::{Detection, Method};
use crate::motion::Camera;
use crate::scene::Cues;
use crate::track::{Identity, State};
use crate::zones::Side;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::str::FromStr;

/// The version of the format: raised when a field changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// What was found in one frame of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "frame")]
pub struct FrameRecord {
    pub version: u32,
    /// Which run of the program wrote it; empty in lines from before there were such names.
    #[serde(default)]
    pub run: String,
    /// The path or URI of the source, without user name and password.
    pub source: String,
    /// Counts the frames of the run, from 0.
    pub frame: u64,
    /// Presentation time stamp in the source, in nanoseconds.
    pub pts_ns: u64,
    /// When the frame was taken, in nanoseconds since 1970, UTC: of a file whose container says when it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured_unix_ns: Option<u64>,
    /// Size of the displayed frame: upright, with square pixels.
    pub width: u32,
    pub height: u32,
    pub grid: GridRecord,
    pub method: Method,
    /// Name and content hash of the backbone.
    pub model: String,
    /// What the backbone runs on; several GPUs with a comma between. None where it has not run yet, and in lines from before this was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What it computes in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// False where the objects are those of an earlier frame (`--every`).
    pub inferred: bool,
    /// Where the model is not asked about every frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Every>,
    /// Empty where nothing was found.
    pub objects: Vec<ObjectRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings_us: Option<TimingsRecord>,
    /// How the camera behaves, where the past was asked (`--cue time`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<Camera>,
    /// Of frames of a live source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveRecord>,
    /// Of the last frame of a file that lacks some of what it should hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortfall: Option<Shortfall>,
}

/// A file is cut off, damaged, or shorter than it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shortfall {
    /// One line, with the file's name.
    pub why: String,
    /// Where what was found ends, and where the file says that it does, if it says so: nanoseconds from its start.
    pub found_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_ns: Option<u64>,
}

/// Which frames the model is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Every {
    /// The first of so many.
    Frames(u64),
    /// As many as there is time for at the source's own speed.
    Auto,
}

/// As it stands in records and files: a number, or `auto`.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of frames, or auto")]
enum Written {
    Frames(u64),
    Word(Cow<'static, str>),
}

impl Default for Every {
    fn default() -> Self {
        Self::Frames(1)
    }
}

impl TryFrom<Written> for Every {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Frames(frames @ 1..) => Ok(Self::Frames(frames)),
            Written::Word(word) if word == "auto" => Ok(Self::Auto),
            Written::Frames(number) => Err(format!("expected 1 or more frames, or auto, not {number}")),
            Written::Word(word) => Err(format!("expected a number of frames, or auto, not {word:?}")),
        }
    }
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map_or_else(|_| Written::Word(text.to_owned().into()), Written::Frames).try_into()
    }
}

impl From<Every> for Written {
    fn from(every: Every) -> Self {
        match every {
            Every::Frames(frames) => Self::Frames(frames),
            Every::Auto => Self::Word("auto".into()),
        }
    }
}

/// When a live frame was taken, and when its record was made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveRecord {
    /// Nanoseconds since 1970, UTC.
    pub captured_unix_ns: u64,
    /// Whose clock told.
    pub clock: CaptureClock,
    /// From the frame's clock time to its record, in microseconds.
    pub latency_us: u64,
    /// On the first frame after the source was gone: for how long, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_ns: Option<u64>,
}

/// Where the wall-clock time of a frame is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureClock {
    /// The camera's, by RTCP sender reports or NTP.
    Rtcp,
    /// This machine's, when the frame arrived.
    Arrival,
}

/// A live source came to life or went away: a line of its own between those of frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "state")]
pub struct StateRecord {
    pub version: u32,
    /// As in [`FrameRecord`].
    #[serde(default)]
    pub run: String,
    pub source: String,
    pub state: SourceState,
    /// Nanoseconds since 1970, UTC.
    pub at_unix_ns: u64,
    /// One line, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The last line of a live source in a run. It reads as a state, too, for those who know no ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "end")]
pub struct EndRecord {
    pub version: u32,
    /// As in [`FrameRecord`].
    #[serde(default)]
    pub run: String,
    pub source: String,
    /// [`SourceState::Ended`].
    pub state: SourceState,
    /// Nanoseconds since 1970, UTC.
    pub at_unix_ns: u64,
    /// How many frames have a record; a sink that was late has fewer.
    pub frames: u64,
    /// One line, without secrets; none where the run was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Messages that will not arrive where they were to be sent. It is sent instead of them, and stands in no file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "gap")]
pub struct GapRecord {
    pub version: u32,
    /// Of which run and source they were, as in [`FrameRecord`]; empty where that is not known any more.
    pub run: String,
    pub source: String,
    /// Why: `bound`, `age`, `disk`, `busy`, `refused` or `damaged`.
    pub cause: Cow<'static, str>,
    /// How many messages.
    pub lost: u64,
    /// The first and the last frame of which some are missing, where they were of frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_frame: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_frame: Option<u64>,
    /// When the first and the last of them came, in nanoseconds since 1970, UTC; none where that is not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_unix_ns: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_unix_ns: Option<u64>,
}

/// Something happened: a line of its own, where events are asked for. What lasts has a line at its start and one at its end, and some of what
/// changes between, with one id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "event")]
pub struct EventRecord {
    pub version: u32,
    /// As in [`FrameRecord`].
    #[serde(default)]
    pub run: String,
    pub source: String,
    /// Its line in the store of events, and of no other: a later line has a higher one, also in later runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Of this source in this run, counted from 1.
    pub id: u64,
    pub event: EventName,
    pub phase: Phase,
    /// When that was, as a time stamp of the source.
    pub pts_ns: u64,
    /// The same in nanoseconds since 1970, UTC, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_unix_ns: Option<u64>,
    /// The frame after which it is told: who stands must have stood for a while.
    pub told_ns: u64,
    /// When it began.
    pub since_ns: u64,
    /// Whose it is about: none of what the whole scene does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracks: Vec<u64>,
    /// The zone's or line's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// To which side a line was crossed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// Where, `[xmin, ymin, xmax, ymax]`, half-open, in frame pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bbox: Option<[u32; 4]>,
    /// Of a thing: whether it stands, and the zones in which it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stationary: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// In the store alone: the number under which the picture of the event is kept, the same in all its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<u64>,
    /// Size of the frame, as in [`FrameRecord`].
    pub width: u32,
    pub height: u32,
    /// It did not end by itself: the program stopped, or the source went away.
    #[serde(default, skip_serializing_if = "is_false")]
    pub interrupted: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventName {
    /// A thing is there: it appeared, and left.
    Object,
    /// A thing that moved stands: it stopped, and moved on.
    Stopped,
    /// A thing is in a zone: it entered, and left it.
    Zone,
    /// A thing is in a zone for as long as that zone asks.
    Stay,
    /// A line was crossed.
    Line,
    /// Something stands in a known scene that was not there, and came by itself to nowhere: it was left behind.
    LeftBehind,
    /// Something that belonged to a known scene is missing.
    TakenAway,
    /// The camera looks elsewhere.
    CameraMoved,
    /// The camera sees nothing.
    Covered,
    /// The light of the whole scene changed at once.
    Light,
}

/// Of what lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Start,
    /// It goes on, and something of it is known better or is otherwise: its box, its tracks, whether it stands, its zones.
    Update,
    /// It is over; of what does not last the only line.
    End,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// How a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// Trying to reach it.
    Connecting,
    /// Frames come.
    Live,
    /// It is connected, and frames have stopped.
    Stalled,
    /// It is gone; the next try comes after a pause.
    Lost,
    /// It will not come back.
    Ended,
}

/// The patch grid over the frame; patches are numbered row by row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridRecord {
    pub rows: usize,
    pub cols: usize,
    /// Size of a patch in frame pixels; the last row and column may reach past the frame.
    pub patch_width: f64,
    pub patch_height: f64,
}

/// One object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// `[xmin, ymin, xmax, ymax]`, half-open, in frame pixels.
    pub bbox: [u32; 4],
    /// The patch the object was grown from; none for DINO-seg.
    pub seed: Option<usize>,
    /// 0 to 1; see `localize::score`, and `scene::score` where the past was asked.
    pub score: f32,
    /// Number of patches of the object.
    pub patches: usize,
    /// Whose it is (`--cue time`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<TrackRecord>,
    /// What speaks for it (`--cue time`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cues: Option<Cues>,
    /// The name of the group it looks like (`--groups`); none where it looks like no named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskRecord>,
}

/// The track that an object belongs to: the same thing in other frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackRecord {
    /// Of this source in this run, and never given twice.
    pub id: u64,
    pub state: State,
    /// Frames it was seen in, up to this one.
    pub hits: u32,
    /// Time stamp of the first of them.
    pub first_seen_ns: u64,
    /// In pixels of the frame per second, the camera's own movement taken away.
    pub velocity: [f32; 2],
}

impl TrackRecord {
    /// Whether it is seen in this frame, and not only before and after.
    pub fn is_seen(&self) -> bool {
        self.state != State::Lost
    }

    pub fn is_moving(&self) -> bool {
        self.state == State::Active
    }
}

impl From<&Identity> for TrackRecord {
    fn from(&Identity { id, state, hits, first_seen_ns, velocity, .. }: &Identity) -> Self {
        Self { id, state, hits, first_seen_ns, velocity }
    }
}

/// The object's patches as COCO's uncompressed run lengths: column by column, the first run is background.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Runs")]
pub struct MaskRecord {
    /// `[rows, cols]` of the patch grid.
    pub size: [usize; 2],
    /// As many patches as the grid has.
    pub counts: Vec<usize>,
}

/// A mask as anybody may write it.
#[derive(Deserialize)]
struct Runs {
    size: [usize; 2],
    counts: Vec<usize>,
}

/// The patches of 8 pixels in a picture of 16384 by 16384, the largest that the program takes.
const MOST_PATCHES: usize = 1 << 22;

impl TryFrom<Runs> for MaskRecord {
    type Error = String;

    fn try_from(Runs { size, counts }: Runs) -> Result<Self, String> {
        let patches = size[0].checked_mul(size[1]).filter(|&patches| patches <= MOST_PATCHES);
        let patches = patches.ok_or_else(|| format!("a mask of {size:?} patches (expected at most {MOST_PATCHES})"))?;
        match counts.iter().try_fold(0, |sum: usize, &count| sum.checked_add(count)) {
            Some(sum) if sum == patches => Ok(Self { size, counts }),
            _ => Err(format!("the runs of a mask of {size:?} patches do not add up to {patches}")),
        }
    }
}

/// Wall time of each stage for this frame, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimingsRecord {
    /// Making the model-sized RGB image.
    pub convert: u64,
    /// The backbone.
    pub inference: u64,
    /// Patch features to boxes.
    pub localize: u64,
    /// Of every frame whose past is asked: the small picture and what moves in it, before the model; and what is new in it, after.
    #[serde(default)]
    pub motion: u64,
    #[serde(default)]
    pub scene: u64,
}

/// What is known of a frame besides its objects.
#[derive(Clone, Debug)]
pub struct FrameMeta<'a> {
    pub run: &'a str,
    pub source: &'a str,
    pub frame: u64,
    pub pts_ns: u64,
    pub captured_unix_ns: Option<u64>,
    /// `(width, height)` of the displayed frame.
    pub size: (u32, u32),
    /// How the model saw it.
    pub layout: &'a PatchLayout,
    pub method: Method,
    pub model: &'a str,
    /// What it runs on, and what it computes in.
    pub ran: Option<(String, String)>,
    pub is_inferred: bool,
    pub every: Every,
    pub camera: Option<Camera>,
    pub timings: Option<TimingsRecord>,
    pub live: Option<LiveRecord>,
    pub shortfall: Option<&'a Shortfall>,
}

impl FrameRecord {
    /// The record of a frame in which these objects were found. It is made nowhere else.
    pub fn assemble(meta: FrameMeta<'_>, objects: Vec<ObjectRecord>) -> Self {
        let (width, height) = meta.size;
        let (device, precision) = meta.ran.unzip();
        Self {
            version: VERSION,
            run: meta.run.to_owned(),
            source: meta.source.to_owned(),
            frame: meta.frame,
            pts_ns: meta.pts_ns,
            captured_unix_ns: meta.captured_unix_ns,
            width,
            height,
            grid: GridRecord::new(meta.layout, width, height),
            method: meta.method,
            model: meta.model.to_owned(),
            device,
            precision,
            inferred: meta.is_inferred,
            every: Some(meta.every).filter(|every| *every != Every::default()),
            objects,
            camera: meta.camera,
            timings_us: meta.timings,
            live: meta.live,
            shortfall: meta.shortfall.cloned(),
        }
    }
}

impl GridRecord {
    /// The grid of `layout` laid over a frame of this size in pixels.
    pub fn new(layout: &PatchLayout, width: u32, height: u32) -> Self {
        let scale = |frame: u32, image: u32| f64::from(layout.patch) * f64::from(frame) / f64::from(image);
        Self {
            rows: layout.grid.rows,
            cols: layout.grid.cols,
            patch_width: scale(width, layout.image_width),
            patch_height: scale(height, layout.image_height),
        }
    }

    /// The patches whose middle is in a box of the frame, ascending; of a box smaller than one, that in which it is.
    pub fn patches_in(&self, bbox: [u32; 4]) -> Vec<usize> {
        let is_inside = |patch: &usize| {
            let (row, col) = (patch / self.cols, patch % self.cols);
            let (x, y) = ((col as f64 + 0.5) * self.patch_width, (row as f64 + 0.5) * self.patch_height);
            let within = |at: f64, low: u32, high: u32| (f64::from(low)..f64::from(high)).contains(&at);
            within(x, bbox[0], bbox[2]) && within(y, bbox[1], bbox[3])
        };
        let mut patches: Vec<usize> = (0..self.rows * self.cols).filter(is_inside).collect();
        if patches.is_empty() {
            let place = |low: u32, high: u32, side: f64, most: usize| {
                ((f64::from(low + high) / 2.0 / side) as usize).min(most.saturating_sub(1))
            };
            let row = place(bbox[1], bbox[3], self.patch_height, self.rows);
            patches.push(row * self.cols + place(bbox[0], bbox[2], self.patch_width, self.cols));
        }
        patches
    }
}

impl ObjectRecord {
    /// `detection` in the pixels of a frame of this size, `(width, height)`; with its mask on request.
    pub fn new(
        detection: &Detection,
        label: Option<&str>,
        layout: &PatchLayout,
        (width, height): (u32, u32),
        with_mask: bool,
    ) -> Self {
        let PixelBox { xmin, ymin, xmax, ymax } = layout.frame_from_image(&detection.bbox, width, height);
        Self {
            bbox: [xmin, ymin, xmax, ymax],
            seed: detection.seed,
            score: detection.score,
            patches: detection.patches.len(),
            track: None,
            cues: None,
            label: label.map(str::to_owned),
            mask: with_mask.then(|| MaskRecord::new(&detection.patches, layout.grid.rows, layout.grid.cols)),
        }
    }

    /// An object known by its place, in pixels of a frame of the grid's size, with its patches ([`GridRecord::patches_in`]).
    pub fn of_place(
        bbox: [u32; 4],
        score: f32,
        cues: Cues,
        patches: &[usize],
        label: Option<String>,
        layout: &PatchLayout,
        with_mask: bool,
    ) -> Self {
        Self {
            bbox,
            seed: None,
            score: score.clamp(0.0, 1.0),
            patches: patches.len(),
            track: None,
            cues: Some(cues),
            label,
            mask: with_mask.then(|| MaskRecord::new(patches, layout.grid.rows, layout.grid.cols)),
        }
    }

    /// The same thing in a frame in which it was not seen, where it is thought to be, in pixels of a frame with this grid.
    pub fn moved(&self, bbox: [u32; 4], identity: &Identity, grid: &GridRecord) -> Self {
        let patches = grid.patches_in(bbox);
        Self {
            bbox,
            seed: None,
            score: identity.score,
            patches: patches.len(),
            track: Some(TrackRecord::from(identity)),
            cues: None,
            label: self.label.clone(),
            mask: self.mask.is_some().then(|| MaskRecord::new(&patches, grid.rows, grid.cols)),
        }
    }
}

impl MaskRecord {
    /// The patches, ascending.
    pub fn patches(&self) -> Vec<usize> {
        let [rows, cols] = self.size;
        let runs = self.counts.iter().enumerate().flat_map(|(run, count)| std::iter::repeat_n(run % 2 == 1, *count));
        let inside = runs
            .enumerate()
            .filter(|(_, is_inside)| *is_inside)
            .map(|(at, _)| at % rows.max(1) * cols + at / rows.max(1));
        let mut patches: Vec<usize> = inside.collect();
        patches.sort_unstable();
        patches
    }

    /// Run lengths of ascending `patches` of a grid.
    pub fn new(patches: &[usize], rows: usize, cols: usize) -> Self {
        let mut mask = vec![false; rows * cols];
        patches.iter().for_each(|&patch| mask[patch] = true);
        let mut counts = vec![0];
        let mut on = false;
        for col in 0..cols {
            for row in 0..rows {
                if mask[row * cols + col] != on {
                    on = !on;
                    counts.push(0);
                }
                if let Some(last) = counts.last_mut() {
                    *last += 1;
                }
            }
        }
        Self { size: [rows, cols], counts }
    }
}

impl EventName {
    pub const ALL: [Self; 10] = [
        Self::Object,
        Self::Stopped,
        Self::Zone,
        Self::Stay,
        Self::Line,
        Self::LeftBehind,
        Self::TakenAway,
        Self::CameraMoved,
        Self::Covered,
        Self::Light,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Stopped => "stopped",
            Self::Zone => "zone",
            Self::Stay => "stay",
            Self::Line => "line",
            Self::LeftBehind => "left_behind",
            Self::TakenAway => "taken_away",
            Self::CameraMoved => "camera_moved",
            Self::Covered => "covered",
            Self::Light => "light",
        }
    }
}

impl SourceState {
    /// As in the records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Lost => "lost",
            Self::Ended => "ended",
        }
    }
}
