//! CloudEvents 1.0 around any message: in one JSON document with it (structured), or as headers beside it (binary).

use super::{Encoded, JSON, Record, captured, utc};
use crate::markup::plain;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;

const SPEC: &str = "1.0";
/// What no path of a URI may hold.
const NOT_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=');
/// What no value of a header may hold, by the HTTP binding.
const NOT_IN_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// What a message is, to who does not read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributes<'a> {
    /// Of this message, and of no other of its source: the record's ([`super::id`]), with more where it has several messages.
    pub id: &'a str,
    /// A URI reference: `/mostream/` and the source.
    pub source: String,
    /// The type: `mostream.frame`, `.event`, `.state` or `.end`.
    pub kind: &'static str,
    /// The source as it is called.
    pub subject: Option<String>,
    /// When it was, in nanoseconds since 1970, UTC, where that is known.
    pub time_unix_ns: Option<u64>,
}

impl<'a> Attributes<'a> {
    /// Those of a message made of `record`.
    pub fn new(record: Record<'_>, id: &'a str) -> Self {
        let (kind, source, time_unix_ns) = match record {
            Record::Frame(frame) => ("mostream.frame", &frame.source, captured(frame)),
            Record::Event(event) => ("mostream.event", &event.source, event.at_unix_ns),
            Record::State(state) => ("mostream.state", &state.source, Some(state.at_unix_ns)),
            Record::End(end) => ("mostream.end", &end.source, Some(end.at_unix_ns)),
        };
        let subject = (!source.is_empty()).then(|| plain(source));
        Self {
            id,
            source: format!("/mostream/{}", utf8_percent_encode(source, NOT_IN_PATH)),
            kind,
            subject,
            time_unix_ns,
        }
    }

    fn time(&self) -> Option<Timestamp> {
        self.time_unix_ns.and_then(utc)
    }
}

#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    datacontenttype: &'a str,
    #[serde(flatten)]
    data: Data<'a>,
}

#[derive(Serialize)]
enum Data<'a> {
    #[serde(rename = "data")]
    Json(&'a RawValue),
    #[serde(rename = "data")]
    Text(&'a str),
    #[serde(rename = "data_base64")]
    Bytes(String),
}

/// One JSON document: JSON and text as they are, anything else in base64.
pub fn structured(attributes: &Attributes<'_>, message: &Encoded) -> Encoded {
    let body = message.body.as_slice();
    let raw = serde_json::from_slice(body).ok().filter(|_| message.content_type == JSON).map(Data::Json);
    let is_text = message.content_type.starts_with("text/") || message.content_type.ends_with("/xml");
    let text = || std::str::from_utf8(body).ok().filter(|_| is_text).map(Data::Text);
    let event = Event {
        specversion: SPEC,
        id: attributes.id,
        source: &attributes.source,
        kind: attributes.kind,
        subject: attributes.subject.as_deref(),
        time: attributes.time(),
        datacontenttype: message.content_type,
        data: raw.or_else(text).unwrap_or_else(|| Data::Bytes(BASE64_STANDARD.encode(body))),
    };
    Encoded { body: serde_json::to_vec(&event).unwrap_or_default(), content_type: "application/cloudevents+json" }
}

/// What is sent beside a message that stays as it is: headers of HTTP or NATS. Kafka's are the same with `_` in place of the first `-`.
pub fn headers(attributes: &Attributes<'_>, message: &Encoded) -> Vec<(&'static str, String)> {
    let encoded = |text: &str| utf8_percent_encode(text, NOT_IN_HEADER).to_string();
    let mut headers = vec![
        ("content-type", message.content_type.to_owned()),
        ("ce-specversion", SPEC.to_owned()),
        ("ce-id", encoded(attributes.id)),
        ("ce-source", encoded(&attributes.source)),
        ("ce-type", encoded(attributes.kind)),
    ];
    headers.extend(attributes.subject.as_deref().map(|subject| ("ce-subject", encoded(subject))));
    headers.extend(attributes.time().map(|time| ("ce-time", time.to_string())));
    headers
}
