//! mostream finds the objects in any video, with no labels and no training.
//!
//! Patch features of a self-supervised vision transformer go in, boxes come out. Reading order:
//! [`geometry`] (patch grid and frame pixels), then [`localize`] (MOST, LOST, TokenCut).
//!
//! `geometry` and `localize` know arrays and numbers only: no I/O, clock, logging, video or inference library.

#[cfg(feature = "backbone")]
pub mod backbone;
pub mod geometry;
pub mod localize;
#[cfg(feature = "overlay")]
pub mod overlay;
pub mod partial;
#[cfg(feature = "cli")]
pub mod publish;
pub mod record;
#[cfg(feature = "cli")]
pub mod runtime;
#[cfg(feature = "stream")]
pub mod stream;
#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeExamples;
