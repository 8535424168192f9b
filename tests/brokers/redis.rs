//! Redis streams.

use super::{Sender, at, bodies, file, lets_nobody_else_in, letters, says};
use crate::support::brokers::{Broker, certificates, debian, free_port, redis};
use crate::support::proxy::{Network, Proxy};
use mostream::broker::{Failure, Letter, Target};
use serde_json::Value;
use tempfile::tempdir;

fn ask(broker: &Broker, words: &[&str]) -> Value {
    let port = broker.port.to_string();
    let said = debian("redis-cli").args(["-p", &port, "--json"]).args(words).output().unwrap();
    serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"))
}

/// The fields of the entries of a stream, in order.
fn entries(broker: &Broker) -> Vec<Vec<String>> {
    let found = ask(broker, &["XRANGE", "site/door", "-", "+"]);
    let fields =
        |entry: &Value| entry[1].as_array().unwrap().iter().map(|field| field.as_str().unwrap().to_owned()).collect();
    found.as_array().unwrap().iter().map(fields).collect()
}

fn expected(letters: &[Letter]) -> Vec<Vec<String>> {
    let entry = |(letter, body): (&Letter, String)| {
        let id = letter.id.as_str();
        ["id", id, "source", "door", "content-type", "application/json", "body", &body, "ce-id", id]
            .map(str::to_owned)
            .to_vec()
    };
    letters.iter().zip(bodies(letters)).map(entry).collect()
}

#[test]
fn letters_are_added_in_order_and_whole() {
    let broker = redis(tempdir().unwrap(), "");
    let mut sender = Sender::new(&at(&format!("redis://127.0.0.1:{}", broker.port)));
    sender.check().unwrap();
    let letters = letters(0..600);
    sender.deliver_all(&letters);
    assert_eq!(entries(&broker), expected(&letters));
    let mut short = Sender::new(&at(&format!("redis://127.0.0.1:{}?maxlen=100", broker.port)));
    short.deliver_all(&letters);
    let kept = entries(&broker);
    assert!((100..400).contains(&kept.len()) && kept.last() == expected(&letters).last(), "{}", kept.len());
}

#[test]
fn a_server_that_dies_in_the_middle_loses_nothing_that_it_did_not_acknowledge() {
    let mut broker = redis(tempdir().unwrap(), "");
    let proxy = Proxy::before(broker.port);
    let mut sender = Sender::new(&at(&format!("redis://127.0.0.1:{}", proxy.port)));
    let letters = letters(0..600);
    sender.deliver_all(&letters[..1]);
    // In the second transaction of 256.
    proxy.becomes_after(80_000, Network::Mute);
    let delivered = sender.deliver(&letters[1..]);
    says(&delivered.failure.unwrap().to_string(), &["it acknowledged nothing within 2s"]);
    assert_eq!(delivered.acknowledged, 256);
    assert_eq!(entries(&broker), expected(&letters[..257]));
    broker.kill();
    proxy.becomes(Network::Passes);
    says(&sender.is_away(), &["redis://127.0.0.1:"]);
    broker.start();
    assert_eq!(entries(&broker), expected(&letters[..257]));
    sender.deliver_all(&letters[257..]);
    assert_eq!(entries(&broker), expected(&letters));
}

#[test]
fn who_listens_and_says_nothing_is_away_and_a_cut_is_noticed() {
    let broker = redis(tempdir().unwrap(), "");
    let proxy = Proxy::before(broker.port);
    proxy.becomes(Network::Silent);
    let mut sender = Sender::new(&at(&format!("redis://127.0.0.1:{}", proxy.port)));
    says(&sender.is_away(), &["it does not answer within 2s"]);
    proxy.becomes(Network::Passes);
    let letters = letters(0..300);
    sender.deliver_all(&letters[..100]);
    proxy.becomes_after(4000, Network::Cut);
    let cut = sender.deliver(&letters[100..]);
    assert!(cut.acknowledged == 0 && matches!(cut.failure, Some(Failure::Away(_))), "{cut:?}");
    proxy.becomes(Network::Passes);
    sender.deliver_all(&letters[100..]);
    assert_eq!(entries(&broker), expected(&letters));
}

#[test]
fn who_is_not_let_in_is_told_why_and_no_secret() {
    let own = tempdir().unwrap();
    let folder = tempdir().unwrap();
    certificates(folder.path());
    let users = "user camera on >hunter2 ~site/* +xadd +ping +multi +exec +client\nuser default off";
    let tls = "port 0\ntls-port {port}\ntls-cert-file {folder}/server.pem\ntls-key-file {folder}/server.key\ntls-ca-cert-file {folder}/ca.pem";
    let secured = redis(folder, &format!("{users}\n{tls}"));
    let whole = Target {
        credentials: file(own.path(), "user", "camera:hunter2\n"),
        ca: Some(secured.path("ca.pem")),
        cert: Some(secured.path("client.pem")),
        key: Some(secured.path("client.key")),
        ..at(&format!("rediss://127.0.0.1:{}", secured.port))
    };
    Sender::new(&whole).deliver_all(&letters(0..3));
    let away = |target: Target| Sender::new(&target).is_away();
    lets_nobody_else_in(&whole, &letters(0..3));
    let mut elsewhere = letters(0..3);
    elsewhere[0].topic = "house".into();
    says(&Sender::new(&whole).is_away_with(&elsewhere), &["no permissions"]);
    says(&away(at(&format!("redis://127.0.0.1:{}", free_port()))), &["Connection refused"]);
}

#[test]
fn what_is_larger_than_the_server_takes_is_refused_and_the_rest_goes_on() {
    let broker = redis(tempdir().unwrap(), "proto-max-bulk-len 1mb");
    let mut sender = Sender::new(&at(&format!("redis://127.0.0.1:{}", broker.port)));
    let mut letters = letters(0..20);
    letters[12].body = vec![b'x'; (1 << 20) + 1];
    let delivered = sender.deliver(&letters);
    assert_eq!(delivered.acknowledged, 12, "{delivered:?}");
    assert!(
        matches!(&delivered.failure, Some(Failure::Refused(line)) if line.contains("expected at most 1048576")),
        "{delivered:?}"
    );
    sender.deliver_all(&letters[13..]);
    letters.remove(12);
    assert_eq!(entries(&broker), expected(&letters));

    // A name that is no stream's takes none, and what comes before it is there.
    ask(&broker, &["SET", "taken", "1"]);
    letters[3].topic = "taken".into();
    let delivered = sender.deliver(&letters[..5]);
    assert_eq!(delivered.acknowledged, 3);
    says(&delivered.failure.unwrap().to_string(), &["taken", "WRONGTYPE"]);
}
