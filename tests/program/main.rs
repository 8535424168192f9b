//! Each command as its users meet it: the program is started with files and flags, and what it says, writes and leaves is judged.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as it should be")]

#[path = "../../examples/results/page.rs"]
mod results;
#[path = "../support/mod.rs"]
mod support;

mod bench_cli;
mod choice;
mod config;
mod cue;
mod damaged_files;
mod demo;
mod discover;
mod docs;
mod doctor;
mod empty_scenes;
mod eval;
mod features_cli;
mod inspect;
mod label;
mod localize_cli;
mod model_cli;
mod odd_videos;
mod one_way;
mod providers;
mod pull;
mod run;
mod stills;
mod whole_files;
