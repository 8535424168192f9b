//! Every case in `tests/golden/localize`: the numbers of the public reference implementations.

use mostream::geometry::{Grid, PatchLayout, PixelBox};
use mostream::localize::affinity::SignMatrix;
use mostream::localize::{Features, lost, most};
use serde_json::Value;

struct Case {
    name: String,
    features: Features,
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
        let values = ndarray_npy::read_npy(folder.join(format!("{name}.features.npy"))).unwrap();
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
