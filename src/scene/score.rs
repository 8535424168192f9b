//! How sure an object is: the share of such objects that are right.
//!
//! Logistic regressions over what the cues say, fitted to clips whose objects people have drawn (an object is right where its box has an
//! IoU of at least 0.5 with one that is not taken yet), every clip with the root of its objects as weight. Few numbers, so that scenes
//! left out of the fit are served by it, too. `docs/time.md` has its reliability.

use super::Cues;

/// A box of more than this share of the picture is less sure with each further one, down to half.
const LARGE: f32 = 0.4;
const LEAST_OF_LARGE: f32 = 0.5;
/// Shares of the picture below this count as this.
const SMALLEST: f32 = 1e-5;

/// Before a still camera; `pixels` and `bbox` are shares of the picture.
pub fn still(cues: &Cues, pixels: f32, bbox: f32) -> f32 {
    let evidence = 6.47 - 6.9 * cues.familiar - 7.89 * cues.unrest + 0.0027 * cues.contour
        - 0.0222 * cues.scene_contour
        + 0.696 * pixels.max(SMALLEST).ln();
    share(evidence) * of_size(bbox)
}

/// Before a moving camera, from its rank among the objects of the frame, 0 to 1.
pub fn moving(rank: f32, bbox: f32) -> f32 {
    share(1.19 * (rank + 0.01).ln() - 0.2) * of_size(bbox)
}

fn share(evidence: f32) -> f32 {
    1.0 / (1.0 + (-evidence).exp())
}

/// Nothing that fills the picture is the surest.
fn of_size(bbox: f32) -> f32 {
    1.0 - (bbox - LARGE).clamp(0.0, LEAST_OF_LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_for_an_object_raises_its_score_and_what_fills_the_picture_is_not_the_surest() {
        let cues = Cues { novelty: 1.0, contour: 40.0, ..Cues::default() };
        let usual = still(&cues, 0.01, 0.012);
        assert!((0.5..1.0).contains(&usual), "{usual}");
        let leaves = Cues { familiar: 0.6, unrest: 0.1, ..cues };
        assert!(still(&leaves, 0.01, 0.012) < 0.3);
        assert!(still(&Cues { contour: 90.0, ..cues }, 0.01, 0.012) > usual);
        assert!(still(&cues, 0.9, 0.95) < still(&cues, 0.2, 0.25));
        assert!(moving(0.9, 0.1) > moving(0.3, 0.1) && moving(0.9, 0.8) < moving(0.9, 0.4));
        assert_eq!(of_size(5.0), 0.5);
    }
}
