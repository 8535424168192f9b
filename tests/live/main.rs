//! What goes on for days: cameras that fail, the engine between sources and sinks, live outputs, the page, the program as a service.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as it should be")]

#[path = "../support/mod.rs"]
mod support;

mod broken_frames;
mod camera;
mod control;
mod dashboards;
mod drawing;
mod engine;
mod event_pictures;
mod events;
mod lanes;
mod live;
mod live_outputs;
mod lost_outputs;
mod run_api;
mod service;
mod web;
mod zones;
