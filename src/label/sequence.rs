//! Stills that are the frames of one clip, so that they stay on one side of a set: their names differ in the last number alone, they
//! are of one size, and each has about the colours of the next. What a camera numbers is named alike, too, but changes its colours
//! from picture to picture.

use crate::picture::{self, RgbImage};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Neighbours that are compared, of all that are named alike.
const PAIRS: usize = 12;
/// The pixels that colours are counted in, and levels of each of red, green and blue.
const SAMPLE: (u32, u32) = (64, 48);
const LEVELS: usize = 4;
/// Neighbours in a clip share more of their colours, by the median of the pairs: frames a second apart of hand-held clips share 0.77
/// and more, photos that have nothing to do with each other 0.64 and less (0.42 on average).
const ALIKE: f64 = 0.7;

/// Stills by what their names have in common.
#[derive(Debug, Default)]
pub struct Sequences {
    series: HashMap<Vec<u8>, Series>,
}

/// Stills that are named alike.
#[derive(Debug, Default)]
struct Series {
    stills: Vec<PathBuf>,
    /// Known once it was asked for.
    is_clip: Option<bool>,
}

impl Sequences {
    /// Of these stills; nothing is read yet.
    pub fn new<'a>(stills: impl Iterator<Item = &'a Path>) -> Self {
        let mut series: HashMap<Vec<u8>, Series> = HashMap::new();
        for path in stills {
            if let Some((common, _)) = parts(path) {
                series.entry(common).or_default().stills.push(path.to_owned());
            }
        }
        Self { series }
    }

    /// The bytes that the still's source goes by: what the frames of its clip are named, or its own path.
    pub fn source_of(&mut self, still: &Path) -> Vec<u8> {
        let own = || still.as_os_str().as_encoded_bytes().to_vec();
        let Some((common, _)) = parts(still) else { return own() };
        let is_clip = self.series.get_mut(&common).is_some_and(Series::is_clip);
        if is_clip { common } else { own() }
    }
}

impl Series {
    fn is_clip(&mut self) -> bool {
        if let Some(known) = self.is_clip {
            return known;
        }
        self.stills.sort_by_cached_key(|path| parts(path).map(|(_, number)| number));
        self.stills.dedup();
        let gaps = self.stills.len().saturating_sub(1);
        let pairs = (0..PAIRS.min(gaps)).map(|nth| nth * gaps / PAIRS.min(gaps));
        let mut shares: Vec<f64> = pairs.filter_map(|at| shared(&self.stills[at], &self.stills[at + 1])).collect();
        shares.sort_by(f64::total_cmp);
        let is_clip = shares.get(shares.len() / 2).is_some_and(|&median| median > ALIKE);
        self.is_clip = Some(is_clip);
        is_clip
    }
}

/// The path without the last number of the file's name, and that number: its length and its digits, which sort by value.
fn parts(path: &Path) -> Option<(Vec<u8>, (usize, String))> {
    let stem = path.file_stem()?.to_str()?;
    let end = stem.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = stem[..end].trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let digits = stem[start..end].trim_start_matches('0').to_owned();
    // No path holds the mark.
    let name = format!("{}\0{}", &stem[..start], &stem[end..]);
    let mut common = path.with_file_name("").into_os_string().into_encoded_bytes();
    common.extend(name.into_bytes());
    common.extend(path.extension().into_iter().flat_map(|extension| [b".", extension.as_encoded_bytes()].concat()));
    Some((common, (digits.len(), digits)))
}

/// The share of their colours that both have, 0 to 1; 0 where they differ in size, none where one cannot be read.
fn shared(one: &Path, other: &Path) -> Option<f64> {
    let (one, other) = (picture::decode(one).ok()?, picture::decode(other).ok()?);
    if one.dimensions() != other.dimensions() {
        return Some(0.0);
    }
    let both: usize = colours(&one).iter().zip(colours(&other)).map(|(&a, b)| a.min(b)).sum();
    Some(both as f64 / f64::from(SAMPLE.0 * SAMPLE.1))
}

/// How many pixels of the sample have each colour.
fn colours(picture: &RgbImage) -> [usize; LEVELS * LEVELS * LEVELS] {
    let mut counts = [0; LEVELS * LEVELS * LEVELS];
    for pixel in picture::scaled(picture, SAMPLE.0, SAMPLE.1).pixels() {
        let colour = pixel.0.iter().fold(0, |colour, &value| colour * LEVELS + usize::from(value) * LEVELS / 256);
        counts[colour] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parted_at_their_last_number() {
        let common = |path: &str| {
            parts(Path::new(path)).map(|(common, (_, digits))| (String::from_utf8(common).unwrap(), digits))
        };
        assert_eq!(common("a/frame_007.png"), Some(("a/frame_\0.png".into(), "7".into())));
        assert_eq!(common("12.jpg"), Some(("\0.jpg".into(), "12".into())));
        assert_eq!(common("x/2 straße 10é.JPG"), Some(("x/2 straße \0é.JPG".into(), "10".into())));
        assert_eq!(common("x/é000"), Some(("x/é\0".into(), String::new())));
        for none in ["a1/photo.png", "", "..", "/"] {
            assert_eq!(common(none), None, "{none}");
        }
        let number = |path: &str| parts(Path::new(path)).unwrap().1;
        assert!(number("f9.png") < number("f10.png") && number("f0010.png") < number("f011.png"));
    }
}
