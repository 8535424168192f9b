//! Brokers that are none: whatever they say, a client comes back and says that the broker is away.

use super::{Sender, at, letters};
use crate::support::camera::serve;
use mostream::broker::Letter;
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
    let letters: Vec<Letter> =
        letters(0..3).into_iter().map(|letter| Letter { topic: "site.door".into(), ..letter }).collect();
    Sender::new(&target).is_away_with(&letters);
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

#[test]
fn nats() {
    let info = b"INFO {\"server_id\":\"a\",\"max_payload\":1000000,\"headers\":true,\"proto\":1}\r\n";
    let speaks = |turns: Vec<Vec<u8>>| {
        let port = serve(move |mut stream| {
            let mut heard = [0; 65536];
            let mut turns = turns.iter();
            while turns.next().is_some_and(|turn| stream.write_all(turn).is_ok()) {
                if !stream.read(&mut heard).is_ok_and(|read| read > 0) {
                    return;
                }
            }
            while stream.read(&mut heard).is_ok_and(|read| read > 0) {}
        });
        let mut target = at(&format!("nats://127.0.0.1:{port}"));
        target.timeout = std::time::Duration::from_millis(300);
        Sender::new(&target).is_away();
    };
    let after = |said: &[u8]| speaks(vec![info.to_vec(), b"PONG\r\n".to_vec(), said.to_vec()]);
    speaks(vec![b"INFO {\r\n".to_vec()]);
    speaks(vec![vec![0xff; 4096]]);
    speaks(vec![b"INFO {\"max_payload\":-1,\"connect_urls\":[\"::\"]}\r\n".to_vec(), b"PONG\r\n".to_vec()]);
    speaks(vec![info.to_vec(), b"-ERR 'Authorization Violation'\r\n".to_vec()]);
    for said in [
        &b"MSG _INBOX.a 1 18446744073709551615\r\n"[..],
        b"MSG a 99 5\r\nhello\r\n",
        b"HMSG a 1 5 3\r\nNATS/1.0\r\n\r\n",
        b"HMSG a 1 18446744073709551615 18446744073709551615\r\n",
        b"-ERR \r\n",
        b"PONG\r\nPONG\r\nPING\r\n+OK\r\nINFO {}\r\n",
        b"\r\n\r\n\0",
    ] {
        after(said);
    }
}

#[test]
fn redis() {
    for said in [
        &b"+OK\r\n"[..],
        b"-ERR unknown\r\n",
        b"$-5\r\n",
        b"$99999999999999999999\r\n",
        b"$9223372036854775807\r\n",
        b"*1000000000\r\n",
        b"*-9\r\n",
        b"%1000000\r\n~3\r\n>2\r\n+a\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &b"*1\r\n".repeat(10_000),
        &[0xff; 4096],
    ] {
        is_away("redis", "", &[said]);
        is_away("redis", "", &[b"+OK\r\n", said]);
        // To the greeting, the question and the transaction.
        is_away("redis", "", &[b"+OK\r\n+OK\r\n", b"+PONG\r\n", b"*0\r\n", said]);
    }
    let short = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*0\r\n";
    is_away("redis", "", &[b"+OK\r\n+OK\r\n", b"+PONG\r\n", b"*0\r\n", short]);
}

#[test]
fn web_hooks() {
    let long = [&b"HTTP/1.1 200 OK\r\nA: "[..], &[b'a'; 200_000]].concat();
    for said in [
        &b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 18446744073709551615\r\n\r\n",
        b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &long,
        &[0xff; 4096],
    ] {
        is_away("http", "/", &[said]);
    }
}

#[test]
fn kafka() {
    for said in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0xff; 4096], &[0; 4096], &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1]]
    {
        is_away("kafka", "", &[said, said]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

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

    #[test]
    fn redis_of_any_bytes(bytes: Vec<u8>) {
        is_away("redis", "", &[&bytes]);
        is_away("redis", "", &[b"+OK\r\n+OK\r\n", b"+PONG\r\n", b"*0\r\n", &bytes]);
    }

    #[test]
    fn web_hooks_of_any_bytes(bytes: Vec<u8>) {
        is_away("http", "/", &[&bytes]);
    }
}
