//! Annotated video pushed to an address as MPEG-TS, whether somebody is there or not.

use super::encoding::{Encoding, Timeline};
use super::picture_of;
use crate::engine::sink::{Ending, Message, Picture, Sink, SinkError, Wish};
use crate::stream::{StreamError, launch, redact};
use gstreamer::prelude::*;
use std::time::Duration;

const UDP: &str = include_str!("../../pipelines/push-udp.launch");
const SRT: &str = include_str!("../../pipelines/push-srt.launch");
/// For the last pictures.
const GOODBYE: Duration = Duration::from_secs(1);

/// Where to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Udp {
        host: String,
        port: u16,
    },
    /// With the options that SRT has, such as `?passphrase=…` or `?mode=listener`.
    Srt {
        uri: String,
    },
}

impl Target {
    /// Reads `udp://HOST:PORT` or `srt://HOST:PORT`.
    pub fn parse(uri: &str) -> Result<Self, String> {
        let usage = || format!("{}: is neither udp://HOST:PORT nor srt://HOST:PORT", shown(uri));
        let (scheme, rest) = uri.split_once("://").ok_or_else(usage)?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let (host, port) = authority.rsplit_once(':').ok_or_else(usage)?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(usage)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        match scheme {
            "udp" if rest == authority && !host.is_empty() => Ok(Self::Udp { host, port }),
            "srt" => Ok(Self::Srt { uri: uri.to_owned() }),
            _ => Err(usage()),
        }
    }
}

/// Pushes the annotated video of one source.
pub struct PushSink {
    target: Target,
    encoder: &'static str,
    /// While somebody takes it.
    now: Option<(Encoding, Timeline)>,
}

impl PushSink {
    /// Finds the encoder and the elements; connects with the first picture.
    pub fn new(target: Target) -> Result<Self, StreamError> {
        let encoder = launch::choose_encoder(launch::LIVE_ENCODERS)?;
        let sink = Self { target, encoder, now: None };
        launch::pipeline(sink.pipeline(), "to push the annotated video")?;
        Ok(sink)
    }

    fn pipeline(&self) -> &'static str {
        match self.target {
            Target::Udp { .. } => UDP,
            Target::Srt { .. } => SRT,
        }
    }
}

impl Sink for PushSink {
    fn name(&self) -> String {
        match &self.target {
            Target::Udp { host, port } if host.contains(':') => format!("udp://[{host}]:{port}"),
            Target::Udp { host, port } => format!("udp://{host}:{port}"),
            Target::Srt { uri } => shown(uri),
        }
    }

    fn wish(&self) -> Wish {
        Box::new(|_| true)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        let Some(picture) = picture_of(message) else { return Ok(()) };
        self.push(picture).map_err(|why| self.fault(&why))
    }

    fn finish(mut self: Box<Self>, _ending: Ending) -> Result<(), SinkError> {
        let ended = self.now.take().map_or(Ok(()), |(encoding, _)| encoding.finish(GOODBYE));
        ended.map_err(|why| self.fault(&why))
    }
}

impl PushSink {
    fn fault(&self, why: &str) -> SinkError {
        SinkError::Other(format!("{}: {why}", self.name()))
    }

    /// Connects where it is not.
    fn push(&mut self, picture: &Picture) -> Result<(), String> {
        let (encoding, mut timeline) = match self.now.take() {
            Some(now) => now,
            None => (self.connect(picture)?, Timeline::default()),
        };
        let pts_ns = timeline.place(picture.pts_ns, encoding.running_ns());
        encoding.push(picture, pts_ns)?;
        self.now = Some((encoding, timeline));
        Ok(())
    }

    fn connect(&self, picture: &Picture) -> Result<Encoding, String> {
        let set = |out: &gstreamer::Element| match &self.target {
            Target::Udp { host, port } => {
                out.set_property("host", host);
                out.set_property("port", i32::from(*port));
            }
            Target::Srt { uri } => out.set_property("uri", uri),
        };
        Encoding::start(self.pipeline(), self.encoder, picture, set)
    }
}

/// The address without what may be secret.
fn shown(uri: &str) -> String {
    redact(uri.split('?').next().unwrap_or(uri))
}

#[cfg(test)]
mod tests {
    use super::{Target, shown};

    #[test]
    fn addresses_are_read_and_secrets_not_shown() {
        let udp = |host: &str, port| Ok(Target::Udp { host: host.into(), port });
        assert_eq!(Target::parse("udp://239.0.0.1:5000"), udp("239.0.0.1", 5000));
        assert_eq!(Target::parse("udp://[::1]:5000"), udp("::1", 5000));
        let srt = "srt://host:9000?passphrase=0123456789";
        assert_eq!(Target::parse(srt), Ok(Target::Srt { uri: srt.into() }));
        assert_eq!(shown(srt), "srt://host:9000");
        for wrong in
            ["", "udp://", "udp://host", "udp://host:0", "udp://host:70000", "udp://:1", "udp://h:1?x", "tcp://h:1"]
        {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }
}
