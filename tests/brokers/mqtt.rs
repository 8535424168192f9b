//! Mosquitto, in both versions of the protocol.

use super::{Sender, at, bodies, file, letters, says};
use crate::support::brokers::{Broker, Reader, certificates, debian, mosquitto};
use crate::support::program::until;
use crate::support::proxy::{Network, Proxy};
use mostream::broker::{Failure, Target};
use std::process::Command;
use tempfile::tempdir;

const VERSIONS: [&str; 2] = ["5", "3.1.1"];

fn open_to_all() -> Broker {
    mosquitto(tempdir().unwrap(), "allow_anonymous true")
}

fn client(program: &str, broker: &Broker) -> Command {
    let mut command = debian(program);
    command.args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-V", "5"]);
    command
}

/// Who reads all that comes from now on.
fn reader(broker: &Broker, format: &str) -> Reader {
    let said = client("mosquitto_pub", broker).args(["-r", "-q", "1", "-t", "ready", "-m", "ready"]).status().unwrap();
    assert!(said.success());
    let reader = Reader::start(client("mosquitto_sub", broker).args(["-t", "ready", "-t", "site/#", "-F", format]));
    until("it reads", || !reader.lines().is_empty());
    reader
}

fn read(reader: &Reader) -> Vec<String> {
    reader.lines().split_off(1)
}

/// What a topic has kept.
fn retained(broker: &Broker, topic: &str) -> String {
    let said = client("mosquitto_sub", broker).args(["-C", "1", "-W", "2", "-t", topic]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

#[test]
fn letters_arrive_in_order_and_whole() {
    let broker = open_to_all();
    for version in VERSIONS {
        let reader = reader(&broker, "%t %C %P %p");
        let mut sender = Sender::new(&at(&format!("mqtt://127.0.0.1:{}?version={version}", broker.port)));
        sender.check().unwrap();
        let letters = letters(0..600);
        let delivered = sender.deliver(&letters);
        assert_eq!((delivered.acknowledged, delivered.failure), (600, None));
        let line = |(letter, body): (&mostream::broker::Letter, String)| match version {
            "5" => format!("site/door application/json ce-id:{} {body}", letter.id),
            _ => format!("site/door   {body}"),
        };
        let expected: Vec<String> = letters.iter().zip(bodies(&letters)).map(line).collect();
        until("all is read", || read(&reader).len() >= 600);
        assert_eq!(read(&reader), expected);
        sender.close();
    }
}

#[test]
fn a_broker_that_dies_in_the_middle_loses_nothing_that_it_did_not_acknowledge() {
    for version in VERSIONS {
        let mut broker = open_to_all();
        let proxy = Proxy::before(broker.port);
        let mut sender = Sender::new(&at(&format!("mqtt://127.0.0.1:{}?version={version}", proxy.port)));
        let letters = letters(0..400);
        let before = reader(&broker, "%p");
        assert_eq!(sender.deliver(&letters[..1]).acknowledged, 1);
        proxy.becomes_after(8000, Network::Mute);
        let delivered = sender.deliver(&letters);
        says(&delivered.failure.unwrap().to_string(), &["it acknowledged nothing within 2s"]);
        assert!((1..400).contains(&delivered.acknowledged), "{}", delivered.acknowledged);
        broker.kill();
        proxy.becomes(Network::Passes);
        says(&sender.is_away(), &[&format!("mqtt://127.0.0.1:{}: ", proxy.port)]);

        broker.start();
        let after = reader(&broker, "%p");
        sender.deliver_all(&letters[delivered.acknowledged..]);
        let rest = bodies(&letters[delivered.acknowledged..]);
        until("the rest is read", || read(&after).len() >= rest.len());
        assert_eq!(read(&after), rest);
        let first = bodies(&letters[..delivered.acknowledged]);
        let had = read(&before);
        assert!(first.iter().all(|body| had.contains(body)), "{had:?}");
    }
}

#[test]
fn a_cut_connection_is_made_again_and_the_network_may_be_slow() {
    let broker = open_to_all();
    let proxy = Proxy::before(broker.port);
    let mut sender = Sender::new(&at(&format!("mqtt://127.0.0.1:{}", proxy.port)));
    let reader = reader(&broker, "%p");
    let letters = letters(0..300);
    proxy.becomes_after(6000, Network::Cut);
    let delivered = sender.deliver(&letters);
    assert!(delivered.acknowledged < 300 && delivered.failure.is_some());
    proxy.becomes(Network::Passes);
    proxy.delays(std::time::Duration::from_millis(20));
    proxy.bytes_per_second(50_000);
    sender.deliver_all(&letters[delivered.acknowledged..]);
    let mut had = read(&reader);
    until("all is read", || {
        had = read(&reader);
        had.last() == bodies(&letters).last()
    });
    had.dedup();
    // What was on its way when it was cut is there twice.
    assert!(bodies(&letters).iter().all(|body| had.contains(body)));
    assert!(proxy.sent() > 300 * 30);
}

#[test]
fn who_listens_and_says_nothing_is_away() {
    let broker = open_to_all();
    for version in VERSIONS {
        let proxy = Proxy::before(broker.port);
        proxy.becomes(Network::Silent);
        let mut sender = Sender::new(&at(&format!("mqtt://127.0.0.1:{}?version={version}", proxy.port)));
        says(&sender.is_away(), &["it does not answer within 2s"]);
        sender.close();
        // Another way to it: what was said in silence reaches the broker when that ends.
        let proxy = Proxy::before(broker.port);
        let mut sender = Sender::new(&at(&format!("mqtt://127.0.0.1:{}?version={version}", proxy.port)));
        sender.deliver_all(&letters(0..3));
        proxy.becomes(Network::Silent);
        says(&sender.is_away(), &["it acknowledged nothing within 2s"]);
    }
}

#[test]
fn who_is_not_let_in_is_told_why_and_no_secret() {
    let folder = tempdir().unwrap();
    certificates(folder.path());
    std::fs::write(folder.path().join("users"), "camera:hunter2\n").unwrap();
    assert!(debian("mosquitto_passwd").args(["-U", "users"]).current_dir(folder.path()).status().unwrap().success());
    let tls =
        "cafile {folder}/ca.pem\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\nrequire_certificate true\n";
    let broker = mosquitto(folder, &format!("allow_anonymous false\npassword_file {{folder}}/users\n{tls}"));
    let own = tempdir().unwrap();
    for version in VERSIONS {
        let whole = Target {
            credentials: file(own.path(), "user", "camera:hunter2\n"),
            ca: Some(broker.path("ca.pem")),
            cert: Some(broker.path("client.pem")),
            key: Some(broker.path("client.key")),
            ..at(&format!("mqtts://127.0.0.1:{}?version={version}", broker.port))
        };
        Sender::new(&whole).deliver_all(&letters(0..10));
        let away = |target: Target| Sender::new(&target).is_away();
        let wrong = file(own.path(), "wrong", "camera:hunter22");
        says(
            &away(Target { credentials: wrong.clone(), ..whole.clone() }),
            &["does not let in whom", "/wrong", "mqtts://127.0.0.1:"],
        );
        says(&away(Target { credentials: None, ..whole.clone() }), &["without credentials"]);
        says(
            &away(Target { credentials: file(own.path(), "half", "camera"), ..whole.clone() }),
            &["/half", "USER:PASSWORD"],
        );
        says(
            &away(Target { ca: Some(broker.path("other.pem")), ..whole.clone() }),
            &["vouched for by nobody", "/other.pem"],
        );
        says(&away(Target { ca: None, ..whole.clone() }), &["vouched for by nobody", "the system's list"]);
        says(&away(Target { ca: Some(own.path().join("none.pem")), ..whole.clone() }), &["/none.pem", "No such file"]);
        says(&away(Target { ca: Some(broker.path("ca.key")), ..whole.clone() }), &["/ca.key", "no certificate"]);
        says(&away(Target { cert: None, key: None, ..whole.clone() }), &["the client's certificate (there is none)"]);
        let plain = Target { url: format!("mqtt://127.0.0.1:{}?version={version}", broker.port), ..whole.clone() };
        says(&away(plain), &["mqtt://127.0.0.1:"]);
        // A file is read at each connection.
        let mut sender = Sender::new(&Target { credentials: wrong.clone(), ..whole.clone() });
        sender.is_away();
        file(own.path(), "wrong", "camera:hunter2");
        sender.deliver_all(&letters(0..3));
    }
    let nobody = at(&format!("mqtt://127.0.0.1:{}", crate::support::brokers::free_port()));
    says(&Sender::new(&nobody).is_away(), &["Connection refused"]);
}

#[test]
fn what_is_larger_than_the_broker_takes_is_refused_and_the_rest_goes_on() {
    let broker = mosquitto(tempdir().unwrap(), "allow_anonymous true\nmax_packet_size 2000");
    let reader = reader(&broker, "%p");
    let mut sender = Sender::new(&at(&format!("mqtt://127.0.0.1:{}", broker.port)));
    let mut letters = letters(0..5);
    letters[2].body = vec![b'x'; 2500];
    letters[3].topic = "site/+".into();
    let delivered = sender.deliver(&letters);
    assert_eq!(delivered.acknowledged, 2);
    let Some(Failure::Refused(line)) = delivered.failure else { panic!("{delivered:?}") };
    says(&line, &["site/door", "expected at most 2000"]);
    let delivered = sender.deliver(&letters[3..]);
    assert!(matches!(delivered.failure, Some(Failure::Refused(_))) && delivered.acknowledged == 0);
    assert_eq!(sender.deliver(&letters[4..]).acknowledged, 1);
    until("the rest is read", || read(&reader).len() == 3);
    assert_eq!(read(&reader)[2], bodies(&letters[4..])[0]);
}

#[test]
fn whether_it_is_there_is_known_to_the_broker() {
    let broker = open_to_all();
    for version in VERSIONS {
        let proxy = Proxy::before(broker.port);
        let url = format!("mqtt://127.0.0.1:{}?version={version}&availability=cameras/{version}", proxy.port);
        let topic = format!("cameras/{version}");
        let mut sender = Sender::new(&at(&url));
        sender.check().unwrap();
        assert_eq!(retained(&broker, &topic), "");
        sender.deliver_all(&[]);
        assert_eq!(retained(&broker, &topic), "online");
        proxy.becomes(Network::Cut);
        until("its will is done", || retained(&broker, &topic) == "offline");
        proxy.becomes(Network::Passes);
        sender.rests();
        sender.deliver_all(&[]);
        assert_eq!(retained(&broker, &topic), "online");
        sender.close();
        assert_eq!(retained(&broker, &topic), "offline");

        let mut kept = letters(0..1);
        kept[0].retain = true;
        kept[0].topic = format!("kept/{version}");
        Sender::new(&at(&url)).deliver_all(&kept);
        assert_eq!(retained(&broker, &kept[0].topic), bodies(&kept)[0]);
    }
}
