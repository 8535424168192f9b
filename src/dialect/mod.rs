//! stub
use crate::record::{EndRecord, EventRecord, FrameRecord, StateRecord};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy)]
pub enum Record<'a> {
    Frame(&'a FrameRecord),
    Event(&'a EventRecord),
    State(&'a StateRecord),
    End(&'a EndRecord),
}

pub struct Encoded {
    pub body: Vec<u8>,
    pub content_type: &'static str,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    #[default]
    Mostream,
}

impl Dialect {
    pub fn encode(self, record: Record<'_>) -> Vec<Encoded> {
        let body = match record {
            Record::Frame(record) => serde_json::to_vec(record),
            Record::Event(record) => serde_json::to_vec(record),
            Record::State(record) => serde_json::to_vec(record),
            Record::End(record) => serde_json::to_vec(record),
        };
        body.into_iter().map(|body| Encoded { body, content_type: "application/json" }).collect()
    }
}

pub fn id(record: Record<'_>) -> String {
    match record {
        Record::Frame(record) => format!("{}/{}/frame/{}", record.run, record.source, record.frame),
        Record::Event(record) => format!("{}/{}/event/{}/{:?}", record.run, record.source, record.id, record.phase),
        Record::State(record) => format!("{}/{}/state/{}", record.run, record.source, record.at_unix_ns),
        Record::End(record) => format!("{}/{}/end", record.run, record.source),
    }
}
