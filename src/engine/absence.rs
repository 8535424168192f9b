//! A live source that is away, in the log: told once, then summed up, however often it is tried again.

use crate::record::SourceState;
use crate::stream::feed::StateChange;
use std::time::{Duration, SystemTime};

/// The first sum comes after this time, each further one after twice the time of the last, at most [`LONGEST`] later.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);

/// What has been told of a source since it was last well.
#[derive(Default)]
pub struct Absence {
    /// Since its last frame.
    away: Option<Away>,
    /// Frames come that are not as they should be: when that was told last, and how long after that it is told again.
    ails: Option<(SystemTime, Duration)>,
}

struct Away {
    since: SystemTime,
    /// Failed tries.
    tries: u64,
    /// States that have been told.
    told: Vec<SourceState>,
    /// When the sum was told last, and how long after that it is told again.
    summed: SystemTime,
    pause: Duration,
}

impl Absence {
    /// The words for this change; none where enough has been told.
    pub fn told(&mut self, change: &StateChange) -> Option<String> {
        let name = change.state.name();
        let plain = change.why.as_ref().map_or_else(|| name.to_owned(), |why| format!("{name}: {why}"));
        if self.away.is_none() && change.state == SourceState::Live && change.why.is_some() {
            let pause = match self.ails {
                Some((told, pause)) if change.at < told + pause => return None,
                Some((_, pause)) => (pause * 2).min(LONGEST),
                None => SHORTEST,
            };
            self.ails = Some((change.at, pause));
            return Some(plain);
        }
        if matches!(change.state, SourceState::Live | SourceState::Ended) {
            self.ails = None;
            let away = self.away.take().filter(|away| away.tries > 1);
            return Some(away.map_or_else(|| plain.clone(), |away| format!("{plain}, after {}", away.sum(change.at))));
        }
        let fresh = || Away { since: change.at, tries: 0, told: Vec::new(), summed: change.at, pause: SHORTEST };
        let away = self.away.get_or_insert_with(fresh);
        let has_failed = change.state == SourceState::Lost;
        away.tries += u64::from(has_failed);
        if !away.told.contains(&change.state) {
            away.told.push(change.state);
            // That it is tried again goes without saying.
            let is_again = change.state == SourceState::Connecting && away.told.len() > 1 && change.why.is_none();
            return (!is_again).then_some(plain);
        }
        if !has_failed || change.at < away.summed + away.pause {
            return None;
        }
        (away.summed, away.pause) = (change.at, (away.pause * 2).min(LONGEST));
        let why = change.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        Some(format!("still lost after {}{why}", away.sum(change.at)))
    }
}

impl Away {
    /// `2 h, 240 tries`.
    fn sum(&self, now: SystemTime) -> String {
        let tries = if self.tries == 1 { "1 try".to_owned() } else { format!("{} tries", self.tries) };
        format!("{}, {tries}", rough(now.duration_since(self.since).unwrap_or_default()))
    }
}

/// How long something lasts, in words, in whole seconds or more.
pub fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use SourceState::{Connecting, Live, Lost, Stalled};

    /// What is told of changes at these seconds.
    fn told(absence: &mut Absence, changes: impl IntoIterator<Item = (u64, SourceState)>) -> Vec<String> {
        let of = |(second, state)| StateChange {
            state,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
            why: (state == Lost).then(|| "10.0.0.7:554: connection refused".into()),
        };
        changes.into_iter().filter_map(|change| absence.told(&of(change))).collect()
    }

    /// A try that fails, each half minute.
    fn tries(from: u64, to: u64) -> impl Iterator<Item = (u64, SourceState)> {
        (from..to).step_by(30).flat_map(|second| [(second, Connecting), (second, Lost)])
    }

    #[test]
    fn a_camera_that_stays_away_is_told_once_then_summed_up() {
        let mut absence = Absence::default();
        let lost = "lost: 10.0.0.7:554: connection refused";
        assert_eq!(told(&mut absence, tries(0, 60)), ["connecting", lost]);
        let hours = told(&mut absence, tries(60, 7230));
        assert_eq!(hours[0], "still lost after 60 s, 3 tries: 10.0.0.7:554: connection refused");
        assert_eq!(hours[1], "still lost after 3 min, 7 tries: 10.0.0.7:554: connection refused");
        assert!((4..9).contains(&hours.len()), "{hours:?}");
        let days = told(&mut absence, tries(7230, 7230 + 2 * 86_400));
        assert!((46..50).contains(&days.len()), "{}", days.len());
        assert!(days[0].starts_with("still lost after 2 h, 2"), "{}", days[0]);
        let back = told(&mut absence, [(200_000, Connecting), (200_001, Live)]);
        assert_eq!(back, ["live, after 2 days, 6001 tries"]);
    }

    #[test]
    fn broken_frames_are_told_of_now_and_then_however_often_they_come() {
        let mut absence = Absence::default();
        let broken = |second| StateChange {
            state: Live,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
            why: Some("no key frame within 4.0 s".into()),
        };
        assert_eq!(told(&mut absence, [(0, Connecting), (1, Live)]), ["connecting", "live"]);
        let told_at = |absence: &mut Absence, seconds: std::ops::Range<u64>| {
            Vec::from_iter(seconds.step_by(4).filter(|second| absence.told(&broken(*second)).is_some()))
        };
        assert_eq!(told_at(&mut absence, 4..400), [4, 64, 184]);
        let day = told_at(&mut absence, 400..86_400).len();
        assert!((23..30).contains(&day), "{day}");
        assert_eq!(told(&mut absence, [(86_400, Stalled), (86_401, Live)]), ["stalled", "live"]);
        assert_eq!(told_at(&mut absence, 86_402..86_450), [86_402]);
    }

    #[test]
    fn one_that_comes_and_goes_is_told_of_each_time() {
        let mut absence = Absence::default();
        let changes =
            [(0, Connecting), (1, Live), (4, Lost), (5, Connecting), (5, Live), (9, Stalled), (9, Connecting)];
        let lost = "lost: 10.0.0.7:554: connection refused";
        assert_eq!(told(&mut absence, changes), ["connecting", "live", lost, "live", "stalled"]);
        assert_eq!(
            told(&mut absence, [(14, Lost), (15, Connecting), (16, Lost), (17, Live)]),
            [lost, "live, after 8 s, 2 tries"]
        );
    }
}
