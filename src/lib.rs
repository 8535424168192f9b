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
pub mod record;
#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeExamples;
