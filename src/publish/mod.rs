//! Where records go: one file per sink.

pub mod jsonl;
