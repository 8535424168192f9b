//! From frames to objects on as many threads as pay: what a file alone and many sources have in common.
//!
//! Feeders make the model's pictures, each in the place of the run's memory that is kept for it ([`desk`], [`fit`]); a thread for
//! each run under way does nothing but run the model; finders turn what it lends them into objects and give it back ([`crew`]).

pub mod crew;
pub mod desk;
pub mod fit;
