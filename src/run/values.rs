//! How values are written in a spec.

use super::spec::WEB;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

/// `(width, height)` in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u32, pub u32);

impl std::fmt::Display for Size {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}x{}", self.0, self.1)
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once('x').ok_or("expected WIDTHxHEIGHT, such as 320x240")?;
        let side = |text: &str| match text.parse() {
            Ok(side @ 1..=65_536) => Ok(side),
            _ => Err(format!("{text:?} is no side of an image (expected 1 to 65536)")),
        };
        Ok(Self(side(width)?, side(height)?))
    }
}

/// `12.5`, `1:30` or `1:00:02.25`: seconds, or `[H:]M:S`.
pub fn parse_clock(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected seconds or [H:]M:S, such as 12.5 or 1:30, not {text:?}");
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(wrong());
    }
    let mut seconds = 0.0;
    for part in parts {
        let value: f64 = part.parse().map_err(|_| wrong())?;
        if !(0.0..1e9).contains(&value) {
            return Err(wrong());
        }
        seconds = seconds * 60.0 + value;
    }
    Ok(Duration::from_nanos((seconds * 1e9).round() as u64))
}

/// `90`, `90s`, `10m` or `1h`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let span = seconds.or_else(|| humantime::parse_duration(text).ok());
    let span = span.filter(|span| *span >= Duration::from_millis(1) && span.as_secs() < 1_000_000_000);
    span.ok_or_else(|| format!("expected a time such as 30s, 10m or 1h, not {text:?}"))
}

/// `true`, or an address.
pub fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    match Option::<Value>::deserialize(from)? {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::Bool(true)) => Ok(Some(WEB)),
        Some(Value::String(text)) => text
            .parse()
            .map(Some)
            .map_err(|_| D::Error::custom(format!("expected true, or an address such as {WEB}, not {text:?}"))),
        Some(other) => Err(D::Error::custom(format!("expected true, or an address such as {WEB}, not {other}"))),
    }
}

pub fn as_text<S: serde::Serializer>(text: &OsString, to: S) -> Result<S::Ok, S::Error> {
    let none = || serde::ser::Error::custom(format!("{} is not UTF-8", text.display()));
    to.serialize_str(text.to_str().ok_or_else(none)?)
}

/// What is written as it is shown.
pub mod text {
    use super::{Deserialize, Deserializer, Serialize};
    use serde::de::Error;
    use std::fmt::Display;
    use std::str::FromStr;

    pub fn serialize<T: Display, S: serde::Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(T::to_string).serialize(to)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

pub mod span {
    use super::{Deserialize, Deserializer, Duration, Serialize, parse_span};
    use serde::de::Error;

    pub fn serialize<S: serde::Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        span.map(|span| humantime::format_duration(span).to_string()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| parse_span(&text).map_err(D::Error::custom)).transpose()
    }
}

/// `512MiB` or `1GB`, or a number of bytes.
pub mod bytes {
    use super::{Deserialize, Deserializer, Serialize, Value};
    use serde::de::Error;

    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];

    pub fn serialize<S: serde::Serializer>(bytes: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        let written = |bytes: u64| {
            let unit = UNITS.iter().rev().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
            unit.map_or_else(|| bytes.to_string(), |(name, size)| format!("{}{name}", bytes / size))
        };
        bytes.map(written).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        let read = |text: &str| {
            let (number, size) =
                UNITS.iter().find_map(|(name, size)| Some((text.strip_suffix(name)?, *size))).unwrap_or((text, 1));
            number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(size))
        };
        match Option::<Value>::deserialize(from)? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if read(&text).is_some() => Ok(read(&text)),
            Some(Value::Number(number)) if number.is_u64() => Ok(number.as_u64()),
            Some(other) => Err(D::Error::custom(format!("expected a size such as 512MiB or 1GiB, not {other}"))),
        }
    }
}

pub mod clock {
    use super::{Deserialize, Deserializer, Duration, Serialize, parse_clock};
    use serde::de::Error;

    pub fn serialize<S: serde::Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64().to_string()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| parse_clock(&text).map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_clock_like() {
        let ns = |text: &str| parse_clock(text).map(|time| time.as_nanos());
        assert_eq!(ns("12.5"), Ok(12_500_000_000));
        assert_eq!(ns("1:30"), Ok(90_000_000_000));
        assert_eq!(ns("1:00:02.25"), Ok(3_602_250_000_000));
        for wrong in ["", "-1", "nan", "1:2:3:4", "1h"] {
            assert!(parse_clock(wrong).is_err(), "{wrong}");
        }
    }
}
