//! Kafka, as its C library's mock cluster has it: it stores in memory, and knows no passwords.

use super::{Sender, at, bodies, file, letters, says};
use crate::support::brokers::{certificates, debian, free_port};
use crate::support::camera::serve;
use crate::support::program::until;
use crate::support::proxy::{Network, Proxy};
use mostream::broker::{Failure, Letter, Target};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;
use tempfile::tempdir;

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("site.door", 1, 1).unwrap();
    cluster
}

fn target(cluster: &MockCluster<'_, DefaultProducerContext>) -> Target {
    at(&format!("kafka://{}", cluster.bootstrap_servers()))
}

fn on_topic(numbers: std::ops::Range<usize>) -> Vec<Letter> {
    letters(numbers).into_iter().map(|letter| Letter { topic: "site.door".into(), ..letter }).collect()
}

/// What another client reads of the topic.
fn stored(cluster: &MockCluster<'_, DefaultProducerContext>, format: &str) -> Vec<String> {
    let servers = cluster.bootstrap_servers();
    let read =
        debian("kcat").args(["-C", "-q", "-e", "-b", &servers, "-t", "site.door", "-f", format]).output().unwrap();
    String::from_utf8(read.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn letters_are_stored_in_order_and_whole() {
    let cluster = cluster();
    let mut sender = Sender::new(&target(&cluster));
    sender.check().unwrap();
    let letters = on_topic(0..600);
    sender.deliver_all(&letters);
    let line = |(letter, body): (&Letter, String)| {
        format!("door id={0},content-type=application/json,ce-id={0} {body}", letter.id)
    };
    let expected: Vec<String> = letters.iter().zip(bodies(&letters)).map(line).collect();
    assert_eq!(stored(&cluster, "%k %h %s\\n"), expected);
    sender.close();
}

#[test]
fn a_broker_that_is_down_for_a_while_loses_nothing() {
    let cluster = cluster();
    let mut sender = Sender::new(&target(&cluster));
    let letters = on_topic(0..300);
    sender.deliver_all(&letters[..100]);
    cluster.broker_down(1).unwrap();
    says(
        &sender.is_away_with(&letters[100..]),
        &["kafka://127.0.0.1:", "it acknowledged nothing within 2s", "Connection refused"],
    );
    cluster.broker_up(1).unwrap();
    sender.deliver_all(&letters[100..]);
    let mut had = stored(&cluster, "%s\\n");
    had.dedup();
    assert_eq!(had, bodies(&letters));
}

#[test]
fn a_slow_and_a_busy_broker_get_everything_once() {
    let cluster = cluster();
    cluster.broker_round_trip_time(1, Duration::from_millis(50)).unwrap();
    let busy = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
    ];
    cluster.request_errors(RDKafkaApiKey::Produce, &busy);
    let letters = on_topic(0..300);
    Sender::new(&Target { timeout: Duration::from_secs(10), ..target(&cluster) }).deliver_all(&letters);
    assert_eq!(stored(&cluster, "%s\\n"), bodies(&letters));
}

#[test]
fn who_does_not_let_it_in_is_away_and_no_secret_told() {
    let own = tempdir().unwrap();
    let cluster = cluster();
    let port: u16 = cluster.bootstrap_servers().rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = Proxy::before(port);
    proxy.becomes(Network::Silent);
    says(
        &Sender::new(&at(&format!("kafka://127.0.0.1:{}", proxy.port))).is_away_with(&on_topic(0..3)),
        &["it acknowledged nothing within 2s"],
    );
    says(
        &Sender::new(&at(&format!("kafka://127.0.0.1:{}", free_port()))).is_away_with(&on_topic(0..3)),
        &["Connection refused"],
    );
    let with_password = Target { credentials: file(own.path(), "user", "camera:hunter2"), ..target(&cluster) };
    says(&Sender::new(&with_password).is_away_with(&on_topic(0..3)), &["it acknowledged nothing within 2s"]);
    assert!(Sender::new(&with_password).check().is_err());

    certificates(own.path());
    let port = free_port();
    let mut server = debian("openssl");
    server.args([
        "s_server",
        "-accept",
        &format!("127.0.0.1:{port}"),
        "-cert",
        "server.pem",
        "-key",
        "server.key",
        "-quiet",
    ]);
    let mut server = server
        .current_dir(own.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let with_tls = Target { ca: Some(own.path().join("other.pem")), ..at(&format!("kafka+tls://127.0.0.1:{port}")) };
    says(
        &Sender::new(&with_tls).is_away_with(&on_topic(0..3)),
        &["kafka+tls://127.0.0.1:", "certificate verify failed"],
    );
    says(
        &Sender::new(&Target { ca: Some(own.path().join("none.pem")), ..with_tls.clone() })
            .is_away_with(&on_topic(0..3)),
        &["/none.pem"],
    );
    server.kill().unwrap();
    server.wait().unwrap();
}

/// The door of a broker that asks for user and password, and nothing behind it: tells what it heard, and lets in who says the right thing.
fn door(expected: &'static [u8]) -> (u16, std::sync::mpsc::Receiver<Vec<u8>>) {
    let (heard, hears) = std::sync::mpsc::sync_channel(64);
    let door = serve(move |mut stream| {
        loop {
            let mut length = [0; 4];
            if stream.read_exact(&mut length).is_err() {
                return;
            }
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request).unwrap();
            let (kind, version) = (request[1], request[3]);
            let name = u16::from_be_bytes([request[8], request[9]]) as usize;
            let body = &request[10 + name..];
            let answer: Vec<u8> = match kind {
                // What it knows: this question, of the first version only, the handshake, and what is said then.
                18 => {
                    let error = if version == 0 { 0 } else { 35 };
                    [&[0, error, 0, 0, 0, 3][..], &[0, 18, 0, 0, 0, 0], &[0, 17, 0, 0, 0, 1], &[0, 36, 0, 0, 0, 0]]
                        .concat()
                }
                17 => [&[0, 0, 0, 0, 0, 1, 0, 5][..], b"PLAIN"].concat(),
                36 => {
                    heard.try_send(body[4..].to_vec()).ok();
                    let error = if &body[4..] == expected { 0 } else { 58 };
                    vec![0, error, 0xff, 0xff, 0, 0, 0, 0]
                }
                // It has nothing else to say.
                _ => continue,
            };
            let answer = [&request[4..8], &answer].concat();
            stream.write_all(&[&(answer.len() as u32).to_be_bytes()[..], &answer].concat()).unwrap();
        }
    });
    (door, hears)
}

#[test]
fn a_door_is_told_user_and_password() {
    let own = tempdir().unwrap();
    let (port, heard) = door(b"\0camera\0hunter2");
    let with = |password: &str| Target {
        credentials: file(own.path(), "user", &format!("camera:{password}")),
        ..at(&format!("kafka://127.0.0.1:{port}"))
    };
    // Behind the door nobody takes anything.
    Sender::new(&with("hunter2")).is_away_with(&on_topic(0..3));
    assert_eq!(heard.recv().unwrap(), b"\0camera\0hunter2");
    let said = Sender::new(&with("wrong")).is_away_with(&on_topic(0..3));
    says(&said, &["SASL authentication error"]);
    assert!(!said.contains("wrong"), "{said}");
    assert_eq!(heard.try_iter().last().unwrap(), b"\0camera\0wrong");
}

#[test]
fn what_is_larger_than_the_broker_takes_is_found_and_the_rest_goes_on() {
    let cluster = cluster();
    let mut sender = Sender::new(&target(&cluster));
    let letters = on_topic(0..5);
    // All together, then one after the other, of which the third is too large.
    let (no, large) =
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    cluster.request_errors(RDKafkaApiKey::Produce, &[large, no, no, large]);
    let delivered = sender.deliver(&letters);
    assert_eq!(delivered.acknowledged, 2, "{delivered:?}");
    assert!(
        matches!(&delivered.failure, Some(Failure::Refused(line)) if line.contains("bytes are more than it takes")),
        "{delivered:?}"
    );
    sender.deliver_all(&letters[3..]);
    let kept = [&letters[..2], &letters[3..]].concat();
    assert_eq!(stored(&cluster, "%s\\n"), bodies(&kept));

    let mut wrong = on_topic(0..2);
    wrong[1].topic = "site/door".into();
    let delivered = sender.deliver(&wrong);
    assert!(delivered.acknowledged == 1 && matches!(delivered.failure, Some(Failure::Refused(_))), "{delivered:?}");
}
