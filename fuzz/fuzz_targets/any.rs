//! The target that this program is named after.

#![no_main]

#[path = "../targets.rs"]
mod targets;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let mut all = targets::TARGETS.iter().chain(&targets::ONLINE);
    all.find(|target| target.name == env!("CARGO_BIN_NAME")).unwrap().run
});

fuzz_target!(|bytes: &[u8]| RUN(bytes));
