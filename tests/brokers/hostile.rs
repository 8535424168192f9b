//! Brokers that are none: whatever they say, a client comes back and says that the broker is away.

use super::{Sender, at};
use crate::support::camera::serve;
use proptest::prelude::{ProptestConfig, any, proptest};
use std::io::{Read, Write};

/// Says one thing after the other, each when it was sent something, and then nothing until the client goes.
fn saying(turns: Vec<Vec<u8>>) -> u16 {
    serve(move |mut stream| {
        let mut heard = [0; 65536];
        for turn in &turns {
            if !stream.read(&mut heard).is_ok_and(|read| read > 0) || stream.write_all(turn).is_err() {
                return;
            }
        }
        while stream.read(&mut heard).is_ok_and(|read| read > 0) {}
    })
}

fn is_away(scheme: &str, options: &str, turns: &[&[u8]]) {
    let port = saying(turns.iter().map(|turn| turn.to_vec()).collect());
    let mut target = at(&format!("{scheme}://127.0.0.1:{port}{options}"));
    target.timeout = std::time::Duration::from_millis(300);
    Sender::new(&target).is_away();
}

const MQTT_5: &[u8] = &[0x20, 3, 0, 0, 0];
const MQTT_3: &[u8] = &[0x20, 2, 0, 0];

#[test]
fn mqtt() {
    for (options, welcome) in [("", MQTT_5), ("?version=3.1.1", MQTT_3)] {
        let said: [&[&[u8]]; 11] = [
            &[b"HTTP/1.1 400 Bad Request\r\n\r\n"],
            &[&[0xff; 4096]],
            &[&[0x20, 0xff, 0xff, 0xff, 0x7f]],
            // A session that nobody asked for.
            &[&[0x20, 3, 1, 0, 0]],
            &[&[0x20, 2, 1, 0]],
            // Acknowledged is what was never sent; then the same thing again; then what no client is told.
            &[welcome, &[0x40, 2, 0x03, 0xe7]],
            &[welcome, &[0x40, 2, 0, 0]],
            &[welcome, &[0x50, 2, 0, 1, 0x62, 2, 0, 1]],
            &[welcome, &[0x90, 3, 0, 1, 0]],
            &[welcome, welcome],
            &[welcome, &[0x30, 3, 0, 9, 0]],
        ];
        said.iter().for_each(|turns| is_away("mqtt", options, turns));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn mqtt_of_any_bytes(bytes: Vec<u8>, welcomed in any::<bool>(), old in any::<bool>()) {
        let (options, welcome) = if old { ("?version=3.1.1", MQTT_3) } else { ("", MQTT_5) };
        // Three acknowledgements by chance are as good as others.
        let lucky = bytes.windows(2).any(|pair| pair == [0x40, 2]);
        match welcomed {
            true if !lucky => is_away("mqtt", options, &[welcome, &bytes]),
            _ => is_away("mqtt", options, &[&bytes]),
        }
    }
}
