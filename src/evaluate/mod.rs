//! How near the boxes come to those that people drew: data sets ([`dataset`]) and measures of agreement.

pub mod dataset;
