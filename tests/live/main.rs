//! What goes on for days: cameras that fail, the engine between sources and sinks, live outputs, the page, the program as a service.

#[path = "../support/mod.rs"]
mod support;

mod broken_frames;
mod camera;
mod engine;
mod live;
mod live_outputs;
mod service;
mod web;
