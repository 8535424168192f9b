//! Where records go: one file per sink.

pub mod jsonl;
pub mod live;
pub mod segments;
