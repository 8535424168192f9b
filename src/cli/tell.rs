//! Words to the person who runs the program.

use std::io::Write;

/// A line on stderr, as `eprintln!` writes it; that nobody reads it any more is no reason to end.
macro_rules! tell {
    ($($word:tt)*) => { $crate::cli::tell::line(format_args!($($word)*)) };
}
pub(crate) use tell;

/// See [`tell!`].
pub fn line(words: std::fmt::Arguments) {
    // In one piece, so that lines of threads do not mix.
    let _ = std::io::stderr().lock().write_all(format!("{words}\n").as_bytes());
}
