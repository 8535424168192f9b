//! Changes that are asked for over HTTP, as far as they may go: whoever asks has the token, and need not be who wrote the spec.

use super::place::Wrong;
use super::spec::{SourceSpec, SpecError, is_one_word, keys_of, shown};
use super::token::{self, Made};
use super::{Core, RunError, SourceOptions};
use crate::engine::status::LaneId;
use crate::fault::OfKind;
use crate::stream::{camera, redact};
use crate::web::{self, Control, Refusal};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use tracing::{info, warn};

/// What may be said of a source. The other keys name files, programs or receivers of this machine's pictures.
const KEYS: [&str; 15] = [
    "input",
    "name",
    "every",
    "adaptive",
    "paused",
    "no-scene",
    "transport",
    "insecure-tls",
    "latency",
    "stall-after",
    "retry-for",
    "zone",
    "line",
    "ignore",
    "mask",
];

/// Sources at a time that were added over HTTP, those that have ended included.
const MOST_GUESTS: usize = 64;

/// A run that does not live for its page's sake.
struct Door {
    core: Weak<Core>,
    config: Option<PathBuf>,
}

/// Says where the page is, and lets who knows its token change the run. Where it has none, one is made, which goes with the run.
pub(super) fn open(server: &web::Server, core: &Arc<Core>, config: Option<PathBuf>) -> Option<Made> {
    info!("the live page is at http://{}/", server.addr());
    let door = Box::new(Door { core: Arc::downgrade(core), config });
    if core.setup.shared.web_token.is_some() {
        server.obey(door, None);
        return None;
    }
    match token::make(server.addr().port()) {
        Ok(made) => {
            server.obey(door, Some(&made.token));
            info!("the token to change sources over HTTP is in {}", made.file.display());
            Some(made)
        }
        Err(error) => {
            warn!("no token for the page can be kept: {error}; sources cannot be changed over HTTP (web-token)");
            None
        }
    }
}

impl Door {
    fn core(&self) -> Result<Arc<Core>, Refusal> {
        self.core.upgrade().ok_or_else(|| Refusal::new("run", None, "it ends"))
    }
}

impl Control for Door {
    fn add(&self, source: Map<String, Value>) -> Result<Value, Refusal> {
        let core = self.core()?;
        let source = guest(source)?;
        if core.state().known.iter().filter(|source| source.spec.options.is_guest).count() >= MOST_GUESTS {
            let why = format!(
                "{MOST_GUESTS} sources that were added over HTTP are there, and no more may be: remove one first"
            );
            return Err(Refusal::new("source", None, why));
        }
        let ids = core.add(&source).map_err(|Wrong { place, error }| match *error {
            RunError::Spec(error) => wrong(error),
            other => Refusal::new(place.key.unwrap_or("body"), None, other.to_string()).of(other.kind()),
        })?;
        let added = ids.iter().filter_map(|id| core.board().get(*id));
        let added = Vec::from_iter(added.map(|source| json!({ "number": source.id, "name": source.name })));
        for source in &added {
            warn!("added over HTTP: {}", source["name"]);
        }
        Ok(json!({ "added": added }))
    }

    fn remove(&self, id: LaneId) -> Option<Value> {
        let core = self.core.upgrade()?;
        let ended = core.remove(id)?;
        warn!("removed over HTTP: {:?}", ended.name);
        let faults = Vec::from_iter(ended.faults.iter().map(|fault| redact(&fault.to_string())));
        Some(json!({ "number": id, "name": ended.name, "frames": ended.frames, "faults": faults }))
    }

    fn pause(&self, id: LaneId, is_paused: bool) -> Option<Value> {
        let core = self.core.upgrade()?;
        let source = core.pause(id, is_paused)?;
        let what = if is_paused { "paused" } else { "resumed" };
        warn!("{what} over HTTP: {:?}", source.name);
        Some(json!({ "number": id, "name": source.name, "paused": is_paused }))
    }

    fn set_regions(&self, id: LaneId, regions: Map<String, Value>) -> Result<Option<Value>, Refusal> {
        let regions = SourceOptions::of_regions(regions).map_err(wrong)?.regions();
        let core = self.core()?;
        let Some(source) = core.board().get(id) else { return Ok(None) };
        let Some(is_saved) = core.save_regions(id, &regions, self.config.as_deref()).map_err(unchanged)? else {
            return Ok(None);
        };
        warn!("other zones, lines or masks over HTTP for {:?}", source.name);
        let file = self.config.as_deref().filter(|_| is_saved).map(|file| file.to_string_lossy());
        Ok(Some(json!({ "number": id, "name": source.name, "saved_to": file })))
    }

    fn reload(&self) -> Result<Value, Refusal> {
        let none = || Refusal::new("config", None, "the run is from no file: start it with --config");
        let file = self.config.as_deref().ok_or_else(none)?;
        self.core()?.reload_file(file).map(|changes| json!(changes)).map_err(unchanged)
    }
}

/// What is wrong with the file of the run.
fn unchanged(error: RunError) -> Refusal {
    Refusal::new("config", None, format!("nothing has changed: {error}")).of(error.kind())
}

fn wrong(SpecError { key, table, why, .. }: SpecError) -> Refusal {
    Refusal::new(shown(key.as_deref(), table).unwrap_or("body".into()), None, why)
}

/// A camera by its address, and how it is read.
fn guest(table: Map<String, Value>) -> Result<SourceSpec, Refusal> {
    let known = keys_of::<SourceOptions>();
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let why = match known.contains(key) {
            true => "it is a key of the config file only: write it there, and reload".to_owned(),
            false => format!("there is no such key (known: {})", KEYS.join(", ")),
        };
        return Err(Refusal::new(key.chars().take(64).collect::<String>(), None, why));
    }
    let source = SourceSpec::from_table(table).map_err(wrong)?;
    let input = source.input.to_string_lossy();
    let is_word = is_one_word(&input);
    if !is_word || !camera::is_url(&source.input) {
        let why = "it is no camera's address: give rtsp://, http://, srt://, udp:// or rtp://, what is special in it percent-encoded \
                   (pipelines, devices and files are for the config file only)";
        return Err(Refusal::new("input", is_word.then_some(&*input), why));
    }
    let options = SourceOptions { is_guest: true, ..source.options };
    Ok(SourceSpec { options, ..source })
}
