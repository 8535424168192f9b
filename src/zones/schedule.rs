//! Days and times at which a zone or line is watched.

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use serde::{Deserialize, Serialize};

/// As they are written, from Monday on.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Minutes.
const HOUR: u16 = 60;
const DAY: u16 = 24 * HOUR;
/// Names that are suggested for one that is not known.
const SUGGESTED: usize = 3;

/// Days of the week and times of day in a named time zone, as the clocks on its walls show them: `mon-fri 22:00-06:00; sat,sun 00:00-24:00
/// Europe/Berlin`. Without days it is every day; what goes over midnight belongs to the day on which it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    text: String,
    windows: Vec<Window>,
    zone: TimeZone,
}

/// Minutes of a day, the last one not among them; before the first one, they are those of the day after.
#[derive(Clone, Debug, PartialEq)]
struct Window {
    /// From Monday on.
    days: [bool; 7],
    from: u16,
    to: u16,
}

impl TryFrom<String> for Schedule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let of = |why: String| format!("the schedule {text:?}: {why}");
        let all = text.trim_end();
        let last = all.split([' ', ';']).next_back().unwrap_or_default();
        if last.is_empty() || last.contains(':') {
            return Err(of("it ends with the name of its time zone, such as 22:00-06:00 Europe/Berlin".into()));
        }
        let zone = TimeZone::get(last).map_err(|_| of(unknown(last)))?;
        let windows = all[..all.len() - last.len()].split(';').map(Window::read);
        let windows = windows.collect::<Result<_, _>>().map_err(of)?;
        Ok(Self { windows, zone, text })
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.text
    }
}

/// With the names that begin and end most like it.
fn unknown(name: &str) -> String {
    let lower = name.to_lowercase();
    let alike = |other: &str| {
        let other = other.to_lowercase();
        let same = |pairs: &mut dyn Iterator<Item = (char, char)>| pairs.take_while(|(a, b)| a == b).count();
        same(&mut lower.chars().zip(other.chars())) + same(&mut lower.chars().rev().zip(other.chars().rev()))
    };
    let all = tz::db().available().map(|other| (alike(other.as_str()), other.as_str().to_owned()));
    let mut near = Vec::from_iter(all.filter(|(alike, _)| 3 * alike > 2 * name.len()));
    near.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let near = Vec::from_iter(near.into_iter().take(SUGGESTED).map(|(_, other)| other));
    let such =
        if near.is_empty() { "such as Europe/Berlin or UTC".into() } else { format!("near it: {}", near.join(", ")) };
    format!("there is no time zone {name:?} ({such})")
}

impl Window {
    fn read(text: &str) -> Result<Self, String> {
        let (days, times) = match Vec::from_iter(text.split_whitespace())[..] {
            [times] => ([true; 7], times),
            [days, times] => (days_of(days)?, times),
            _ => return Err(format!("{:?} is no [DAYS] FROM-TO, such as mon-fri 22:00-06:00", text.trim())),
        };
        let (from, to) =
            times.split_once('-').ok_or_else(|| format!("{times:?} is no FROM-TO, such as 22:00-06:00"))?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        match from {
            _ if from == to => Err(format!("{times} never holds (00:00-24:00 is the whole day)")),
            DAY => Err(format!("{times} begins when the day is over: write 00:00, of the day after")),
            _ => Ok(Self { days, from, to }),
        }
    }

    /// Whether it holds at a minute of this day, from Monday on.
    fn holds(&self, day: usize, minute: u16) -> bool {
        if self.from < self.to {
            return self.days[day] && (self.from..self.to).contains(&minute);
        }
        self.days[day] && minute >= self.from || self.days[(day + 6) % 7] && minute < self.to
    }
}

/// `mon,wed,sat` or `fri-mon`.
fn days_of(text: &str) -> Result<[bool; 7], String> {
    let day = |name: &str| {
        let at = DAYS.iter().position(|day| name.eq_ignore_ascii_case(day));
        at.ok_or_else(|| format!("{name:?} is no day (known: {})", DAYS.join(", ")))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        (0..=(last + 7 - first) % 7).for_each(|after| days[(first + after) % 7] = true);
    }
    Ok(days)
}

/// Of a day.
fn minutes(text: &str) -> Result<u16, String> {
    let parts = text.split_once(':').and_then(|(hour, minute)| {
        let is_number = |text: &str| text.len() <= 2 && text.chars().all(|c| c.is_ascii_digit());
        let both = is_number(hour) && is_number(minute) && minute.len() == 2;
        both.then(|| Some((hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?)))?
    });
    let known = parts.filter(|(hour, minute)| *minute < HOUR && hour * HOUR + minute <= DAY);
    known.map(|(hour, minute)| hour * HOUR + minute).ok_or_else(|| format!("{text:?} is no time, from 00:00 to 24:00"))
}

impl Schedule {
    /// Whether it holds at a time, in nanoseconds since 1970, UTC.
    pub fn holds(&self, unix_ns: u64) -> bool {
        // Every such number is one of its times.
        let Ok(at) = Timestamp::from_nanosecond(i128::from(unix_ns)) else { return true };
        let local = self.zone.to_datetime(at);
        let day = usize::from(local.weekday().to_monday_zero_offset().unsigned_abs());
        let minute = u16::from(local.hour().unsigned_abs()) * HOUR + u16::from(local.minute().unsigned_abs());
        self.windows.iter().any(|window| window.holds(day, minute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(text: &str) -> Result<Schedule, String> {
        text.to_owned().try_into()
    }

    /// Seconds since 1970, as `date -u -d TIME +%s` has them.
    fn holds(text: &str, seconds: u64) -> bool {
        schedule(text).unwrap().holds(seconds * 1_000_000_000)
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let nights = "mon-fri 22:00-06:00 Europe/Berlin";
        // 2026-11-27 is a Friday; Berlin is one hour ahead.
        let friday_noon = 1_795_777_200;
        let hours = |hours: u64| friday_noon + hours * 3600;
        assert!(!holds(nights, friday_noon));
        assert!(holds(nights, hours(10)) && !holds(nights, hours(10) - 1), "22:00 on Friday");
        assert!(holds(nights, hours(18) - 1) && !holds(nights, hours(18)), "to 06:00 on Saturday");
        assert!(!holds(nights, hours(35)), "23:00 on Saturday");
        assert!(!holds(nights, hours(24 * 2 + 13)) && holds(nights, hours(24 * 3 + 11)), "01:00 and 23:00 on Monday");
        assert!(holds(&nights.replace("mon-fri", "sat-mon"), hours(24 * 2 + 13)), "01:00 on Monday, from Sunday");
    }

    #[test]
    fn several_windows_and_days_hold_together() {
        let shop = "mon,wed,sat 9:00-12:30; sat 14:00-16:00 UTC";
        // 2026-11-28 is a Saturday.
        let saturday = 1_795_824_000;
        let at = |day: u64, hour: u64, minute: u64| holds(shop, saturday + day * 86_400 + hour * 3600 + minute * 60);
        assert!(at(0, 9, 0) && at(0, 12, 29) && !at(0, 12, 30) && at(0, 15, 59) && !at(0, 16, 0));
        assert!(!at(1, 10, 0) && at(2, 10, 0) && !at(2, 15, 0) && !at(3, 10, 0) && at(4, 10, 0));
        assert!(holds("00:00-24:00 Asia/Tokyo", saturday) && holds("00:00-24:00 Asia/Tokyo", saturday + 86_399));
    }

    #[test]
    fn clocks_that_are_put_forward_and_back_are_followed() {
        // 2026-03-29 01:00 UTC: from 02:00 to 03:00 in Berlin. 2026-10-25 01:00 UTC: from 03:00 back to 02:00.
        let (forward, back) = (1_774_746_000, 1_792_890_000);
        let early = "02:30-03:30 Europe/Berlin";
        assert!(!holds(early, forward - 1) && holds(early, forward) && !holds(early, forward + 30 * 60));
        assert!(holds(early, back - 30 * 60) && holds(early, back - 1), "02:30 to 03:00, the first time");
        assert!(!holds(early, back) && holds(early, back + 30 * 60) && holds(early, back + 90 * 60 - 1), "the second");
        assert!(!holds(early, back + 90 * 60));
        // New York's are put back a week later, at 06:00 UTC on 2026-11-01, from 02:00 to 01:00.
        let ended = 1_793_512_800;
        let late = "sun 01:00-02:00 America/New_York";
        assert!(holds(late, ended - 1) && holds(late, ended + 3599) && !holds(late, ended + 3600));
    }

    #[test]
    fn what_is_no_schedule_says_why() {
        for (text, why) in [
            ("", "ends with the name of its time zone"),
            ("mon-fri 22:00-06:00", "ends with the name of its time zone"),
            ("22:00-06:00 Europe/Berln", "no time zone \"Europe/Berln\" (near it: Europe/Berlin"),
            ("22:00-06:00 Berlin", "near it: Europe/Berlin)"),
            ("22:00-06:00 Middle/Earth", "no time zone \"Middle/Earth\" (such as"),
            ("UTC", "\"\" is no [DAYS] FROM-TO"),
            ("8:00-8:00 UTC", "8:00-8:00 never holds"),
            (", 8:00-9:00 UTC", "\"\" is no day"),
            ("mon-fry 8:00-9:00 UTC", "\"fry\" is no day (known: mon,"),
            ("8:00-24:01 UTC", "\"24:01\" is no time"),
            ("8:60-9:00 UTC", "\"8:60\" is no time"),
            ("+8:00-9:00 UTC", "\"+8:00\" is no time"),
            ("8-9 UTC", "\"8\" is no time"),
            ("24:00-06:00 UTC", "begins when the day is over"),
            ("8:00 UTC", "\"8:00\" is no FROM-TO"),
            ("8:00-9:00; UTC", "\"\" is no [DAYS] FROM-TO"),
        ] {
            let told = schedule(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
