//! Zones, lines, ignored areas and masks of a source that runs: drawn on the page, changed over HTTP, kept in the file.

use super::control::{DOOR, Running, write};
use crate::support::browser::{BACKSPACE, Browser, DELETE, DOWN, ENTER, ESCAPE, LEFT, RIGHT, SHIFT};
use crate::support::camera::free_port;
use crate::support::program::{self, until};
use crate::support::site::get;
use mostream::run::RunSpec;
use mostream::zones::Regions;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// All of it that a person may have put there.
fn file_text() -> String {
    format!(
        r#"# what nobody is to see, anywhere
[[mask]]
polygon = [[0.9, 0], [1, 0], [1, 0.1]]

# the door
[[source]]
name = "door"
input = "{DOOR}"   # drawn

# grass
[[source.zone]]
name = "lawn"
polygon = [[0.1, 0.5], [0.5, 0.9], [0.05, 0.9]] # by hand
stay = 30 # seconds
schedule = "mon-fri 22:00-06:00 Europe/Berlin"

# the gate
[[source.line]]
points = [[0.45, 0.92], [0.65, 0.92]]
name = "gate"

# the other one
[[source]]
name = "yard"
input = "{DOOR}"
# the end
"#
    )
}

/// Each number in as few digits as tell it, as over HTTP.
fn shown(regions: &Regions) -> Value {
    serde_json::from_str(&serde_json::to_string(regions).unwrap()).unwrap()
}

impl Running {
    fn file(&self) -> PathBuf {
        self.folder.path().join("c.toml")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    /// What the source of this number is parted into, by the file.
    fn said(&self, number: usize) -> Regions {
        let spec = RunSpec::from_toml(&self.text()).unwrap();
        spec.sources[number].options.over(&spec.each).regions()
    }

    fn regions(&self, number: usize) -> Value {
        let (status, told) = get(&format!("http://{}/sources/{number}/regions", self.page), &[]);
        assert_eq!(status, 200, "{told}");
        serde_json::from_str(&told).unwrap()
    }

    fn changes_nothing(&self) {
        let (_, told) = self.ask("POST", "/reload", Value::Null);
        let lists =
            ["added", "removed", "paused", "resumed", "regions", "publishes", "publishes_no_more", "need_restart"];
        assert!(lists.iter().all(|list| told[list] == json!([])), "{told}");
    }
}

#[test]
fn what_is_saved_is_in_the_file_beside_all_that_was_there() {
    let run = Running::start(&file_text());
    until("both", || run.source(1)["state"] == "live");
    std::fs::set_permissions(run.file(), PermissionsExt::from_mode(0o640)).unwrap();
    let mut all = run.regions(0);
    assert_eq!(all["zone"][0]["schedule"], "mon-fri 22:00-06:00 Europe/Berlin");
    assert_eq!((&all["mask"][0]["polygon"][2], &all["ignore"]), (&json!([1.0, 0.1]), &json!([])));

    // A corner moves, one comes, the mask of all is not to hold here.
    all["zone"][0]["polygon"][1] = json!([0.6, 0.8]);
    all["zone"].as_array_mut().unwrap().push(json!({ "name": "path", "polygon": [[0, 0], [0.25, 0], [0, 0.25]] }));
    all["mask"] = json!([]);
    let before = run.text();
    let (status, told) = run.ask("PUT", "/sources/0/regions", all.clone());
    assert_eq!((status, told), (200, json!({ "number": 0, "name": "door", "saved_to": "c.toml" })));
    let wanted =
        before.replace("   # drawn\n", "   # drawn\nmask = []\n").replace("[0.5, 0.9], ", "[0.6, 0.8], ").replace(
            "\n# the gate",
            "\n[[source.zone]]\nname = \"path\"\npolygon = [[0, 0], [0.25, 0], [0, 0.25]]\n\n# the gate",
        );
    assert_eq!(run.text(), wanted);
    assert_eq!(std::fs::metadata(run.file()).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(shown(&run.said(0)), run.regions(0));
    assert_eq!(run.regions(0)["zone"][1]["polygon"][1], json!([0.25, 0.0]));
    let check = program::mostream(run.folder.path(), &["config", "check", "c.toml"]).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    run.changes_nothing();
    assert_eq!((run.source(0)["connections"].clone(), run.regions(1)["mask"][0].is_object()), (json!(1), true));

    // As before, it is what all have.
    all["mask"] = run.regions(1)["mask"].clone();
    assert_eq!(run.ask("PUT", "/sources/0/regions", all).0, 200);
    assert_eq!(run.said(0).masks, run.said(1).masks);
    // Nothing is left of what is not wanted, and others keep theirs.
    assert_eq!(run.ask("PUT", "/sources/0/regions", json!({})).1["saved_to"], "c.toml");
    assert_eq!(run.said(0), Regions::default());
    assert!(run.text().contains("# the door\n") && run.text().contains("# the other one\n[[source]]\nname = \"yard\""));
    assert!(run.text().ends_with("# the end\n"), "{}", run.text());
    run.changes_nothing();
    assert!(run.log().contains("other zones, lines or masks over HTTP for \"door\""));
}

#[test]
fn what_cannot_be_is_refused_and_what_is_not_of_the_file_holds_until_the_end() {
    let run = Running::start(&file_text());
    until("both", || run.source(1)["state"] == "live");
    let (before, regions) = (run.text(), run.regions(0));
    let bow = json!([[0.2, 0.2], [0.8, 0.6], [0.8, 0.2], [0.2, 0.6]]);
    let square = json!([[0.2, 0.2], [0.8, 0.2], [0.8, 0.6], [0.2, 0.6]]);
    let zone = |name: &str, polygon: &Value| json!({ "name": name, "polygon": polygon });
    let refused = |body: Value, status: u16, place: &str, word: &str| {
        let (got, told) = run.ask("PUT", "/sources/0/regions", body);
        assert_eq!((got, &told["place"]), (status, &json!(place)), "{told}");
        assert!(told["error"].as_str().unwrap().contains(word), "{told}");
    };
    refused(json!({ "zone": [zone("a", &square), zone("b", &bow)] }), 400, "zone 2", "crosses itself");
    refused(json!({ "zone": [zone("a", &square), zone("a", &square)] }), 400, "zone 2", "\"a\" is there twice");
    refused(json!({ "zone": [zone("a b", &square)] }), 400, "zone 1", "a b");
    refused(json!({ "mask": [{ "polygon": [[0, 0], [2, 0], [1, 1]] }] }), 400, "mask 1", "outside");
    refused(json!({ "output": "/tmp/x" }), 400, "output", "known: ignore, line, mask, zone");
    refused(json!([]), 400, "body", "no JSON object");
    assert_eq!((run.text(), run.regions(0)), (before.clone(), regions.clone()));

    // A file that somebody is at is left alone.
    let good = json!({ "mask": [{ "polygon": square }] });
    write(&run.folder, run.page, "[[source]]\nname = \"door\"\n");
    let half = run.text();
    refused(good.clone(), 400, "config", "nothing has changed: c.toml:5: source 1: it has no input");
    assert_eq!((run.text(), run.regions(0)), (half, regions.clone()));
    std::fs::write(run.folder.path().join("elsewhere.toml"), &before).unwrap();
    std::fs::remove_file(run.file()).unwrap();
    std::os::unix::fs::symlink("elsewhere.toml", run.file()).unwrap();
    refused(good.clone(), 500, "config", "is a link");
    assert_eq!((run.text(), run.regions(0)), (before, regions));

    let guest = json!({ "input": format!("rtsp://127.0.0.1:{}/x", free_port()), "name": "guest" });
    assert_eq!(run.ask("POST", "/sources", guest).0, 201);
    let (status, told) = run.ask("PUT", "/sources/2/regions", good);
    assert_eq!((status, told), (200, json!({ "number": 2, "name": "guest", "saved_to": null })));
    assert_eq!(run.regions(2)["mask"][0]["polygon"][1], json!([0.8, 0.2]));
}

#[test]
fn zones_are_drawn_by_mouse_and_by_keys_and_the_page_tells_the_lines_of_the_file() {
    let run = Running::start(&file_text());
    let browser = Browser::open(1280, 900);
    browser.visit(&format!("http://{}/?token={}", run.page, run.token));
    until("a picture", || browser.run("return document.querySelector('.frame')?.innerText.length > 0") == true);
    browser.click(".edit");
    until("what is there", || browser.text(".shapes").contains("zone lawn"));
    assert_eq!(browser.run("return document.activeElement.name"), "kind");
    let toml = || browser.run("return document.querySelector('.editor textarea').value").as_str().unwrap().to_owned();
    let read = || {
        let spec = RunSpec::from_toml(&format!("[[source]]\ninput = \"a.mp4\"\n{}", toml())).unwrap();
        shown(&spec.sources[0].options.regions())
    };
    let near = |corners: &Value, wanted: &[[f64; 2]]| {
        let corners: Vec<[f64; 2]> = serde_json::from_value(corners.clone()).unwrap();
        let is_near = |(a, b): (&[f64; 2], &[f64; 2])| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-4);
        assert!(corners.len() == wanted.len() && corners.iter().zip(wanted).all(is_near), "{corners:?} {wanted:?}");
    };
    // What is not touched is told as it is.
    assert_eq!(read(), run.regions(0));

    // By mouse: three corners, the last one twice; then one is moved.
    browser.run("document.querySelector('.editor [name=name]').focus()");
    browser.write("sky");
    let [left, top, width, height] = browser.area(".plan");
    let pixel = |[x, y]: [f64; 2]| [(left + x * width).round(), (top + y * height).round()];
    let share = |[x, y]: [f64; 2]| [(x - left) / width, (y - top) / height];
    let pixels = [[0.7, 0.1], [0.9, 0.2], [0.75, 0.4]].map(pixel);
    for [x, y] in [pixels[0], pixels[1], pixels[2], pixels[2]] {
        browser.mouse(x, y, true);
    }
    until("it is closed", || browser.text(".shapes").contains("zone sky"));
    let zones = read()["zone"].clone();
    assert_eq!(zones[1]["name"], "sky");
    near(&zones[1]["polygon"], &pixels.map(share));
    let moved = pixel([0.8, 0.5]);
    browser.drag(pixels[2], moved);
    near(&read()["zone"][1]["polygon"], &[share(pixels[0]), share(pixels[1]), share(moved)]);
    // Over another corner it would cross itself, which is told, and nothing wrong is handed on.
    browser.drag(moved, pixels[0]);
    assert!(browser.text("p.wrong").starts_with("zone sky: "), "{}", browser.text("p.wrong"));
    assert_eq!(toml(), "");
    browser.drag(pixels[0], moved);

    // By keys alone, from the middle: a mask; one corner is taken back, and one shape too many.
    browser.keys(&[ESCAPE]);
    browser.run("document.querySelector('.editor [name=kind]').focus()");
    browser.write("p");
    assert_eq!(browser.run("return document.querySelector('.editor [name=kind]').value"), "mask");
    let at = browser.run("document.querySelector('.plan').focus(); return tiles[0].plan.cross");
    let [x, y]: [f64; 2] = serde_json::from_value(at).unwrap();
    browser.keys(&[" "]);
    browser.keys(&[SHIFT, LEFT]);
    browser.keys(&[SHIFT, LEFT]);
    browser.keys(&[" "]);
    browser.keys(&[DOWN]);
    browser.keys(&[" "]);
    browser.keys(&[BACKSPACE]);
    browser.keys(&[SHIFT, DOWN]);
    browser.keys(&[RIGHT]);
    browser.keys(&[" "]);
    assert!(browser.text("#said").contains("Corner 3"), "{}", browser.text("#said"));
    browser.keys(&[ENTER]);
    until("it is there", || browser.text(".shapes").contains("privacy mask 2"));
    near(&read()["mask"][1]["polygon"], &[[x, y], [x - 0.2, y], [x - 0.19, y + 0.11]]);
    // A corner is taken along.
    browser.keys(&[" "]);
    browser.keys(&[RIGHT]);
    browser.keys(&[" "]);
    near(&read()["mask"][1]["polygon"], &[[x + 0.01, y], [x - 0.2, y], [x - 0.19, y + 0.11]]);
    browser.click(".shapes li:first-child button");
    browser.run("document.querySelector('.plan').focus()");
    browser.keys(&[DELETE]);
    assert!(!browser.text(".shapes").contains("lawn"));

    let drawn = read();
    browser.click(".store");
    until("it is saved", || browser.text(".stored") == "Saved in c.toml, and it holds now.");
    assert_eq!((shown(&run.said(0)), run.regions(0)), (drawn.clone(), drawn));
    run.changes_nothing();
    browser.click(".leave");
    assert_eq!(
        browser.run("return [document.activeElement.className, document.querySelector('.editor').hidden]"),
        json!(["edit", true])
    );
}
