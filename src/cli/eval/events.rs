//! Clips of which it is known what happens: each through the engine, with its zones and lines, and what is told of it.

use super::super::past::{self, Ask};
use super::work::Plan;
use crate::cli::exit::Failure;
use mostream::analyzer::feature_for;
use mostream::engine::{Cue, Seen};
use mostream::evaluate::dataset::Media;
use mostream::evaluate::events::{self, Clip, Measured};
use mostream::events::{Events, Glance};
use mostream::fault::Kind;
use mostream::record::{EventRecord, FrameRecord};
use mostream::run::spec::localizer;
use mostream::stream::feed::Files;
use mostream::stream::ingest::Span;
use mostream::stream::preflight::Source;
use mostream::zones::Regions;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// What is told of one clip.
#[derive(Default)]
struct Told {
    events: Events,
    /// Of frames whose records are still to come.
    glances: VecDeque<Glance>,
    records: Vec<EventRecord>,
    last: Option<FrameRecord>,
}

/// What was measured, and what could not be read; `on_clip` hears how many clips are done, and how many events were told. None where the plan's
/// `stop` was set before the end.
pub fn run(plan: &Plan, mut on_clip: impl FnMut(u64, u64)) -> Result<Option<(Measured, Vec<String>)>, Failure> {
    let cue @ Cue::Time { .. } = plan.cue(0, 0) else {
        return Err(Failure::new(
            Kind::Usage,
            "what happens is known by the past: give neither --cue appearance nor --paper",
        ));
    };
    if plan.settings() > 1 {
        return Err(Failure::new(Kind::Usage, "events are measured with one --method at one size (--patches)"));
    }
    let ask = Ask {
        args: &plan.models.args[0],
        checkpoint: plan.models.checkpoint,
        feature: feature_for(plan.method(0), plan.feature),
        localizer: localizer(plan.method(0), plan.paper, plan.min_score),
        cue,
    };
    let (mut clips, mut failures, mut count) = (Vec::new(), Vec::new(), 0);
    for item in plan.items {
        let (Media::Video(path), Some(story)) = (&item.media, &item.story) else { continue };
        let regions = Regions { zones: story.zones.clone(), lines: story.lines.clone(), ..Regions::default() };
        let told = watch(plan, path, &ask, regions);
        if plan.models.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let (records, length_ns, faults) = told?;
        failures.extend(faults);
        let told = events::told(&records);
        count += told.len() as u64;
        clips.push(Clip { id: &item.id, story, told, length_ns });
        on_clip(clips.len() as u64, count);
    }
    Ok(Some((events::measure(&clips), failures)))
}

/// The events of a video, its last time stamp, and what went wrong.
fn watch(
    plan: &Plan,
    path: &Path,
    ask: &Ask,
    regions: Regions,
) -> Result<(Vec<EventRecord>, u64, Vec<String>), Failure> {
    let source = match Source::new(path) {
        Ok(source) => source,
        Err(error) => return Ok((Vec::new(), 0, vec![error.to_string()])),
    };
    let told = Arc::new(Mutex::new(Told::default()));
    let telling = told.clone();
    let regions = Arc::new(regions);
    let take = move |seen: Seen| {
        let told = &mut *telling.lock().unwrap_or_else(PoisonError::into_inner);
        match seen {
            Seen::Frame { evidence, scene, .. } => {
                told.glances.extend(evidence.map(|evidence| Glance::new(evidence, scene.holes())));
            }
            Seen::Record(record) => {
                let events = told.glances.pop_front().map(|glance| told.events.follow(record, &glance, &regions));
                told.records.extend(events.into_iter().flatten());
                told.last = Some(record.clone());
            }
        }
    };
    let outcome = past::watch(Files::new(vec![source], Span::default()), plan.sparing, ask, plan.models.stop, take)?;
    let told = &mut *told.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(last) = &told.last {
        told.records.extend(told.events.end(last));
    }
    let length_ns = told.last.as_ref().map_or(0, |last| last.pts_ns);
    Ok((std::mem::take(&mut told.records), length_ns, outcome.faults().map(|fault| fault.to_string()).collect()))
}
