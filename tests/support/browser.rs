//! A headless Chromium, driven through chromedriver by the WebDriver protocol.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The key codes of the WebDriver protocol.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
pub const SHIFT: &str = "\u{e008}";
pub const LEFT: &str = "\u{e012}";
pub const RIGHT: &str = "\u{e014}";
pub const BACKSPACE: &str = "\u{e003}";
pub const DELETE: &str = "\u{e017}";
pub const DOWN: &str = "\u{e015}";

/// The member of an element's JSON that names it, by the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    /// Of the session.
    url: String,
    profile: tempfile::TempDir,
}

/// Chromedriver, and the port that it found for itself. It needs the same port of IPv4 and of IPv6, and ends where the second one is taken.
fn start() -> Option<(Child, u16)> {
    let mut driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map(Result::unwrap);
    let Some(said) = lines.find(|line| line.contains("started successfully on port")) else {
        driver.wait().unwrap();
        return None;
    };
    Some((driver, said.rsplit(' ').next().unwrap().trim_end_matches('.').parse().unwrap()))
}

impl Browser {
    /// Opens a window of this size; a narrow one is a phone's, with touch.
    pub fn open(width: u32, height: u32) -> Self {
        let (driver, port) = (0..100).find_map(|_| start()).unwrap();
        let profile = tempfile::tempdir().unwrap();
        let mut arguments: Vec<String> = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
            --disable-background-networking --disable-component-update --disable-sync"
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        arguments.push(format!("--window-size={width},{height}"));
        let downloads = json!({ "download.default_directory": profile.path().join("downloads") });
        let mut options = json!({ "args": arguments, "prefs": downloads });
        if width < 500 {
            options["mobileEmulation"] =
                json!({ "deviceMetrics": { "width": width, "height": height, "pixelRatio": 2.0, "touch": true } });
        }
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut browser = Self { driver, agent, url: format!("http://127.0.0.1:{port}"), profile };
        let session = browser.post("/session", json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.url = format!("{}/session/{}", browser.url, session["sessionId"].as_str().unwrap());
        browser
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let mut answer = self.agent.post(format!("{}{path}", self.url)).send_json(&body).unwrap();
        let is_done = answer.status() == 200;
        let value = answer.body_mut().read_json::<Value>().unwrap()["value"].take();
        assert!(is_done, "{path}: {value}");
        value
    }

    pub fn load(&self, page: &Path) {
        let path = page.to_str().unwrap().replace('%', "%25").replace('#', "%23").replace('?', "%3f");
        self.visit(&format!("file://{path}"));
    }

    pub fn visit(&self, url: &str) {
        self.post("/url", json!({ "url": url }));
    }

    /// What the function body returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// What a person reads in the first element that the selector names.
    pub fn text(&self, selector: &str) -> String {
        let text = self.run(&format!("return document.querySelector('{selector}').innerText"));
        text.as_str().unwrap().to_owned()
    }

    /// The element's `[left, top, width, height]` in the window.
    pub fn area(&self, selector: &str) -> [f64; 4] {
        let script = format!(
            "const r = document.querySelector('{selector}').getBoundingClientRect(); return [r.x, r.y, r.width, r.height]"
        );
        serde_json::from_value(self.run(&script)).unwrap()
    }

    pub fn click(&self, selector: &str) {
        let element = self.post("/element", json!({ "using": "css selector", "value": selector }));
        self.post(&format!("/element/{}/click", element[ELEMENT].as_str().unwrap()), json!({}));
    }

    /// Moves the mouse to a place in the window, and presses its button where asked to.
    pub fn mouse(&self, x: f64, y: f64, presses: bool) {
        let mut steps = vec![json!({ "type": "pointerMove", "duration": 0, "x": x as i64, "y": y as i64 })];
        if presses {
            steps.extend(["pointerDown", "pointerUp"].map(|kind| json!({ "type": kind, "button": 0 })));
        }
        let mouse =
            json!({ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": steps });
        self.post("/actions", json!({ "actions": [mouse] }));
    }

    /// Presses the mouse's button at a place in the window, and lets it go at another.
    pub fn drag(&self, from: [f64; 2], to: [f64; 2]) {
        let to_place = |[x, y]: [f64; 2]| json!({ "type": "pointerMove", "duration": 0, "x": x as i64, "y": y as i64 });
        let button = |kind: &str| json!({ "type": kind, "button": 0 });
        let steps = [to_place(from), button("pointerDown"), to_place(to), button("pointerUp")];
        let mouse =
            json!({ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": steps });
        self.post("/actions", json!({ "actions": [mouse] }));
    }

    /// Presses the keys together, in this order.
    pub fn keys(&self, keys: &[&str]) {
        let down = keys.iter().map(|key| json!({ "type": "keyDown", "value": key }));
        let up = keys.iter().rev().map(|key| json!({ "type": "keyUp", "value": key }));
        let steps: Vec<Value> = down.chain(up).collect();
        self.post("/actions", json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": steps }] }));
    }

    /// Types a text, key by key.
    pub fn write(&self, text: &str) {
        text.chars().for_each(|key| self.keys(&[&key.to_string()]));
    }

    /// The content of the file of this name that the page gave to download; waits until all of it is there.
    pub fn downloaded(&self, name: &str) -> Vec<u8> {
        let path = self.profile.path().join("downloads").join(name);
        for _ in 0..200 {
            // Under its name when it is complete.
            match std::fs::read(&path) {
                Ok(content) if !content.is_empty() => return content,
                _ => std::thread::sleep(std::time::Duration::from_millis(50)),
            }
        }
        panic!("{} was not downloaded", path.display());
    }

    /// What the page wrote to the console, errors included.
    pub fn console(&self) -> Value {
        self.post("/se/log", json!({ "type": "browser" }))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closes Chromium too; the driver alone would leave it running.
        self.agent.delete(&self.url).call().ok();
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
