//! How near the boxes come to those that people drew: data sets ([`dataset`]) and measures of agreement, which know numbers only.
//!
//! Reading order: [`sample`] (what is measured), [`corloc`], [`average_precision`], [`auc`], [`video`], [`tracking`], [`events`],
//! [`bootstrap`] (their intervals), [`report`] (all of them together), [`tables`].

pub mod auc;
pub mod average_precision;
pub mod bootstrap;
pub mod corloc;
pub mod dataset;
pub mod events;
pub mod report;
pub mod sample;
pub mod tables;
pub mod tracking;
pub mod video;
