//! The record as it is, in JSON or MessagePack.

use super::{Encoded, Record};

pub fn json(record: Record<'_>) -> Option<Encoded> {
    super::json(&record)
}

/// With names, and what is optional left out as in JSON, so that later fields can be passed over here, too.
pub fn message_pack(record: Record<'_>) -> Option<Encoded> {
    Some(Encoded { body: rmp_serde::to_vec_named(&record).ok()?, content_type: "application/vnd.msgpack" })
}
