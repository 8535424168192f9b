//! What happened, as whoever keeps it has it: listed, and followed from any of its numbers on, so that nothing is lost between the two and
//! nothing comes twice.

use super::answer::{Answer, JSON, Site, TEXT, answer};
use super::room::Guest;
use crate::record::{EventName, EventRecord};
use crate::stream::redact;
use hyper::StatusCode;
use hyper::body::Bytes;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::time::Instant;

/// Lines of one answer, and where nobody says how many.
const MOST_LISTED: usize = 1000;
const LISTED: usize = 100;
/// Stored lines that are looked through at a time for who follows.
const AT_ONCE: usize = 500;

/// Keeps events: a line of JSON each, under numbers that grow and never come again. It may block.
pub trait Events: Send + Sync {
    /// Hands over the lines after this number, the oldest first, for as long as `see` asks for more.
    fn after(&self, seq: u64, see: &mut dyn FnMut(u64, &str) -> bool) -> Result<(), String>;

    /// Hands over the lines before this number, the newest first, for as long as `see` asks for more.
    fn before(&self, seq: u64, see: &mut dyn FnMut(u64, &str) -> bool) -> Result<(), String>;

    /// The picture of the event of this line or number, a JPEG; none where none is kept.
    fn picture(&self, number: u64) -> Result<Option<Vec<u8>>, String>;

    /// Calls `listener` whenever there are more.
    fn listen(&self, listener: Box<dyn Fn() + Send + Sync>);
}

/// Where a site has its events from.
pub struct Kept {
    events: Arc<dyn Events>,
    /// Changes whenever there are more.
    more: watch::Receiver<()>,
}

/// Which events are asked for.
#[derive(Clone, Debug, Default)]
struct Asked {
    source: Option<String>,
    zone: Option<String>,
    event: Option<EventName>,
    /// Nanoseconds since 1970: from the first on, before the second.
    from: Option<u64>,
    to: Option<u64>,
}

impl Asked {
    /// An error says which word is not understood.
    fn new<'a>(asked: &impl Fn(&str) -> Option<&'a str>) -> Result<Self, String> {
        let event = |name: &str| {
            let known = EventName::ALL.into_iter().find(|event| event.name() == name);
            known.ok_or_else(|| {
                let names = EventName::ALL.map(EventName::name).join(", ");
                format!("event: there is none called {} (known: {names})", shown(name))
            })
        };
        let time = |key: &str| asked(key).map(|text| moment(key, text)).transpose();
        Ok(Self {
            source: asked("source").map(str::to_owned),
            zone: asked("zone").map(str::to_owned),
            event: asked("event").map(event).transpose()?,
            from: time("from")?,
            to: time("to")?,
        })
    }

    fn wants(&self, line: &str) -> bool {
        let Ok(line) = serde_json::from_str::<EventRecord>(line) else { return false };
        let at = line.at_unix_ns;
        self.source.as_ref().is_none_or(|source| *source == line.source)
            && self.zone.as_ref().is_none_or(|zone| Some(zone) == line.zone.as_ref())
            && self.event.is_none_or(|event| event == line.event)
            && self.from.is_none_or(|from| at.is_some_and(|at| at >= from))
            && self.to.is_none_or(|to| at.is_some_and(|at| at < to))
    }
}

/// Nanoseconds since 1970, as a number or as RFC 3339 writes a time.
fn moment(key: &str, text: &str) -> Result<u64, String> {
    let wrong = || {
        let text = shown(text);
        format!("{key}: expected nanoseconds since 1970 or a time such as 2026-05-01T18:30:00Z, not {text}")
    };
    if let Ok(ns) = text.parse() {
        return Ok(ns);
    }
    let (text, ahead) = without_offset(text);
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| wrong())?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| wrong())?.as_nanos() as i128;
    u64::try_from(since - i128::from(ahead) * 60_000_000_000).map_err(|_| wrong())
}

/// A time without its `+02:00`, and how many minutes that is; in an address `+` may have become a blank.
fn without_offset(text: &str) -> (&str, i32) {
    let parted = text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)).and_then(|(time, offset)| {
        let (hours, minutes) = offset.get(1..)?.split_once(':')?;
        let minutes = 60 * hours.parse::<u8>().ok()? as i32 + minutes.parse::<u8>().ok()? as i32;
        match offset.as_bytes()[0] {
            b'+' | b' ' => Some((time, minutes)),
            b'-' if time.contains('T') => Some((time, -minutes)),
            _ => None,
        }
    });
    parted.unwrap_or((text, 0))
}

fn number<T: std::str::FromStr>(key: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{key}: expected a whole number, not {}", shown(text)))
}

/// As much of what was asked as an answer repeats.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(64).collect::<String>())
}

impl Kept {
    pub fn new(events: Arc<dyn Events>) -> Self {
        let (tell, more) = watch::channel(());
        events.listen(Box::new(move || {
            tell.send_replace(());
        }));
        Self { events, more }
    }
}

impl Site {
    /// Those that are kept, the newest first.
    pub async fn events_listed<'a>(&self, asked: &impl Fn(&str) -> Option<&'a str>) -> Answer {
        let Some(events) = self.kept.get().map(|kept| kept.events.clone()) else { return none_kept() };
        let given = || {
            let before = asked("before").map_or(Ok(u64::MAX), |text| number("before", text))?;
            let limit = asked("limit").map_or(Ok(LISTED), |text| number("limit", text))?;
            match (1..=MOST_LISTED).contains(&limit) {
                true => Ok((Asked::new(asked)?, before, limit)),
                false => Err(format!("limit: expected 1 to {MOST_LISTED}, not {limit}")),
            }
        };
        let (wanted, before, limit) = match given() {
            Ok(given) => given,
            Err(why) => return answer(StatusCode::BAD_REQUEST, TEXT, why + "\n"),
        };
        let read = move || {
            let (mut newest, mut has_more, mut lines) = (0, false, Vec::new());
            events.before(before, &mut |seq, line| {
                newest = seq.max(newest);
                if wanted.wants(line) {
                    has_more = lines.len() == limit;
                    if !has_more {
                        lines.push(line.to_owned());
                    }
                }
                !has_more
            })?;
            Ok((newest, has_more, lines))
        };
        match blocking(read).await {
            Ok((newest, has_more, lines)) => {
                let lines = lines.join(",");
                let text = format!("{{\"newest\":{newest},\"has_more\":{has_more},\"events\":[{lines}]}}");
                answer(StatusCode::OK, JSON, text)
            }
            Err(why) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, redact(&why)),
        }
    }

    /// The picture of the event that `number` is of.
    pub async fn event_picture(&self, text: &str) -> Answer {
        let number = match number::<u64>("event", text) {
            Ok(number) => number,
            Err(why) => return answer(StatusCode::BAD_REQUEST, TEXT, why + "\n"),
        };
        let events = self.kept.get().map(|kept| kept.events.clone());
        match blocking(move || events.map_or(Ok(None), |events| events.picture(number))).await {
            Ok(Some(jpeg)) => answer(StatusCode::OK, "image/jpeg", jpeg),
            Ok(None) => {
                let why = "There is no picture of this event, or no longer: lines in /events.json say by picture where there is.\n";
                answer(StatusCode::NOT_FOUND, TEXT, why)
            }
            Err(why) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, redact(&why)),
        }
    }

    /// Those after the number of `last`, or of `after` in the address, or else from now on.
    pub async fn events_followed<'a>(
        self: &Arc<Self>,
        guest: &Arc<Guest>,
        last: Option<&str>,
        asked: &impl Fn(&str) -> Option<&'a str>,
    ) -> Answer {
        let kept = self.kept.get().map(|kept| (kept.events.clone(), kept.more.clone()));
        let Some((events, mut more)) = kept else { return none_kept() };
        let after = last.map(|text| ("Last-Event-ID", text)).or(asked("after").map(|text| ("after", text)));
        let after = after.map(|(key, text)| number::<u64>(key, text)).transpose();
        let (wanted, after) = match Asked::new(asked).and_then(|wanted| Ok((wanted, after?))) {
            Ok(given) => given,
            Err(why) => return answer(StatusCode::BAD_REQUEST, TEXT, why + "\n"),
        };
        let now = events.clone();
        let newest = move || {
            let mut newest = 0;
            now.before(u64::MAX, &mut |seq, _| {
                newest = seq;
                false
            })?;
            Ok(newest)
        };
        let mut last = match after {
            Some(after) => after,
            None => match blocking(newest).await {
                Ok(newest) => newest,
                Err(why) => return answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, redact(&why)),
            },
        };
        let wanted = Arc::new(wanted);
        let silence = self.options.silence;
        let make = async move |parts: Sender<Bytes>| {
            let mut part = String::from(": events follow\n\n");
            let mut until = Instant::now();
            loop {
                if !part.is_empty() {
                    if parts.send(part.into()).await.is_err() {
                        return;
                    }
                    // Of what was sent: what is not asked for is none of it.
                    until = Instant::now() + silence;
                }
                // What is written while it is read is told of after that.
                more.mark_unchanged();
                let (events, wanted) = (events.clone(), wanted.clone());
                let read = move || {
                    let (mut text, mut count, mut read) = (String::new(), 0, last);
                    events.after(last, &mut |seq, line| {
                        (read, count) = (seq, count + 1);
                        if wanted.wants(line) {
                            text.push_str(&format!("id: {seq}\ndata: {line}\n\n"));
                        }
                        count < AT_ONCE
                    })?;
                    Ok((text, read, count))
                };
                let count;
                (part, last, count) = match blocking(read).await {
                    Ok(read) => read,
                    Err(_) => return,
                };
                if count == 0 {
                    part = match tokio::time::timeout_at(until, more.changed()).await {
                        Ok(Ok(())) => String::new(),
                        Ok(Err(_)) => return,
                        Err(_) => ": still here\n\n".into(),
                    };
                }
            }
        };
        self.live(guest, "text/event-stream", make)
    }
}

/// To who follows it says that he need not come again.
fn none_kept() -> Answer {
    answer(StatusCode::NO_CONTENT, TEXT, "")
}

/// Reads where it may block.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(error.to_string()))
}
