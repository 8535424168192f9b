//! Videos, each with what happens in it, and its zones and lines as in a config file, in a JSON file beside it.

use super::json::Entry;
use super::{DatasetError, Item, Media, Report, clips, fault, files};
use crate::evaluate::events::{Event, Story};
use crate::zones::{Line, Zone};
use std::path::Path;

const MAX_BYTES: u64 = 16 << 20;
/// More is no clip's.
const MAX_EVENTS: usize = 10_000;
const ENDING: &str = ".events.json";

#[derive(serde::Deserialize)]
struct Happens {
    /// The video's file name; that of the JSON file with `.mp4` where it is left out.
    clip: Option<String>,
    situation: Option<String>,
    disturbance: Option<String>,
    #[serde(default)]
    zone: Vec<Zone>,
    #[serde(default)]
    line: Vec<Line>,
    events: Vec<Entry<Event>>,
}

pub fn is_at(root: &Path) -> bool {
    files::has(root, |path| name(path).is_some())
}

pub fn read(root: &Path, split: Option<&str>, report: &mut Report) -> Result<Vec<Item>, DatasetError> {
    if let Some(split) = split {
        return Err(fault(root, format!("clips have no splits (got {split:?})")));
    }
    let mut items = Vec::new();
    for path in files::list(root)? {
        let Some(name) = name(&path) else { continue };
        let item = item(root, &path, name, report);
        items.extend(report.keep(item));
    }
    Ok(items)
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.strip_suffix(ENDING)
}

fn item(root: &Path, path: &Path, name: &str, report: &mut Report) -> Result<Item, DatasetError> {
    let Happens { clip, situation, disturbance, zone, line, events } =
        serde_json::from_reader(files::open(path, MAX_BYTES)?).map_err(|error| fault(path, error))?;
    let video = clips::video(root, path, clip, name)?;
    if events.len() > MAX_EVENTS {
        return Err(fault(path, format!("{} events (expected at most {MAX_EVENTS})", events.len())));
    }
    let places = || zone.iter().map(|zone| &zone.name).chain(line.iter().map(|line| &line.name));
    let known = events.into_iter().enumerate().filter_map(|(index, Entry(event))| {
        let event = event.and_then(|event| match &event.zone {
            Some(name) if !places().any(|known| known == name) => Err(format!("there is no zone or line {name:?}")),
            _ => Ok(event),
        });
        report.keep(event.map_err(|why| fault(path, format!("event {index} (counted from 0): {why}"))))
    });
    let events = known.collect();
    Ok(Item {
        id: name.to_owned(),
        media: Media::Video(video),
        frames: Vec::new(),
        is_exhaustive: true,
        story: Some(Story { zones: zone, lines: line, events, situation, disturbance }),
    })
}
