//! mostream finds the objects in any video, with no labels and no training.
//!
//! ```text
//! source ─► stream ────────► fit ────────────► backbone ─► localize ─► record ─► publish (JSON Lines, MP4, RTSP, window)
//!           native frames   model-sized RGB   patch       boxes        └──────► overlay ─► stream::output
//!                                             features                                     web
//! ```
//!
//! Reading order: [`geometry`] (patch grid, frame pixels), [`localize`] (MOST, LOST, TokenCut, DINO-seg), [`motion`] and [`scene`]
//! (what moves and what is new, from the past), [`track`] (whose each box is), [`record`] (what is published), [`zones`] and [`events`] (what happens, and where), then, each behind a feature, `fit` (a picture of any format → the model's), `backbone` (checkpoint → ONNX graph → session),
//! `stream` (all of GStreamer), `overlay`, `engine` (all threads of a run: files and cameras go the same way) and its plugs, `publish` and
//! `web`; `run` is the door: a spec in, a run out; `picture` and `analyzer` take the same steps with one picture at a time, and on them stand `evaluate` (annotated data sets),
//! `inspect` (why a box was drawn), `label` (training sets) and `discover` (groups by appearance). The program is `main.rs` and `cli`.
//!
//! `geometry`, `record`, `localize`, `motion`, `scene`, `track`, `zones` and `events` know arrays and numbers only: no I/O, clock, logging, video or inference library.
//! `tests/structure.rs` holds the rooms to what they may import.

#[cfg(all(feature = "backbone", feature = "fit"))]
pub mod analyzer;
mod assign;
#[cfg(feature = "backbone")]
pub mod backbone;
pub mod bounded;
#[cfg(feature = "broker")]
pub mod broker;
#[cfg(feature = "discover")]
pub mod discover;
#[cfg(feature = "engine")]
pub mod engine;
#[cfg(feature = "evaluate")]
pub mod evaluate;
pub mod events;
pub mod fault;
#[cfg(feature = "fit")]
pub mod fit;
pub mod geometry;
#[cfg(feature = "inspect")]
pub mod inspect;
#[cfg(feature = "label")]
pub mod label;
pub mod localize;
#[cfg(any(feature = "backbone", feature = "broker", feature = "npy"))]
mod markup;
pub mod motion;
#[cfg(feature = "npy")]
pub mod npy;
#[cfg(feature = "overlay")]
pub mod overlay;
pub mod partial;
#[cfg(feature = "picture")]
pub mod picture;
#[cfg(feature = "publish")]
pub mod publish;
pub mod record;
#[cfg(feature = "run")]
pub mod run;
pub mod scene;
#[cfg(feature = "stream")]
pub mod stream;
pub mod track;
#[cfg(feature = "web")]
pub mod web;
pub mod zones;
#[cfg(feature = "zoo")]
pub mod zoo;
#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeExamples;
