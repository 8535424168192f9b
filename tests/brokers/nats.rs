//! NATS, with JetStream and without.

use super::{Sender, at, bodies, file, lets_nobody_else_in, letters, says};
use crate::support::brokers::{Broker, certificates, free_port, nats};
use crate::support::proxy::{Network, Proxy};
use async_nats::jetstream;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mostream::broker::{Failure, Letter, Target};
use nkeys::KeyPair;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use tempfile::tempdir;

/// A user's public key, and its seed.
const KEY: &str = "UALAK7J3M7NS3U4RCCBDIW4NDS2ZHDNFTWGWOL2YANH7KI7KBPCGARDZ";
const SEED: &str = "SUAOVW2G6RPFMBXPRUM3G6AT655C6WQPUELUDPOUZICHLRYINZFJUBJ57U\n";

fn on_subject(numbers: std::ops::Range<usize>) -> Vec<Letter> {
    letters(numbers).into_iter().map(|letter| Letter { topic: "site.door".into(), ..letter }).collect()
}

/// Another client, which does one thing.
fn with<T, F: Future<Output = T>>(
    broker: &Broker,
    options: async_nats::ConnectOptions,
    work: impl FnOnce(async_nats::Client) -> F,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("nats://127.0.0.1:{}", broker.port);
    runtime.block_on(async { work(options.connect(url).await.unwrap()).await })
}

/// A stream of all subjects below `site`.
fn stream(broker: &Broker, options: async_nats::ConnectOptions, largest: i32) {
    with(broker, options, |client| async {
        let config = jetstream::stream::Config {
            name: "SITE".into(),
            subjects: vec!["site.>".into()],
            max_message_size: largest,
            ..Default::default()
        };
        jetstream::new(client).create_stream(config).await.unwrap();
    });
}

/// What the stream holds, in order: ids, kinds and bodies.
fn stored(broker: &Broker, options: async_nats::ConnectOptions) -> Vec<(String, String, String)> {
    with(broker, options, |client| async {
        let stream = jetstream::new(client).get_stream("SITE").await.unwrap();
        let count = stream.cached_info().state.last_sequence;
        let mut found = Vec::new();
        for sequence in 1..=count {
            let message = stream.get_raw_message(sequence).await.unwrap();
            let header = |name: &str| message.headers.get(name).map(|value| value.to_string()).unwrap_or_default();
            found.push((
                header("Nats-Msg-Id"),
                header("Content-Type"),
                String::from_utf8(message.payload.to_vec()).unwrap(),
            ));
        }
        found
    })
}

fn expected(letters: &[Letter]) -> Vec<(String, String, String)> {
    let ids = letters.iter().map(|letter| (letter.id.clone(), letter.content_type.clone()));
    ids.zip(bodies(letters)).map(|((id, kind), body)| (id, kind, body)).collect()
}

fn nobody() -> async_nats::ConnectOptions {
    async_nats::ConnectOptions::new()
}

#[test]
fn letters_are_stored_in_order_and_whole_and_repeats_once() {
    let broker = nats(tempdir().unwrap(), "");
    let mut sender = Sender::new(&at(&format!("nats://127.0.0.1:{}", broker.port)));
    sender.check().unwrap();
    let letters = on_subject(0..600);
    says(
        &sender.is_away_with(&letters[..3]),
        &["no stream takes \"site.door\"", "nats stream add", "?jetstream=false"],
    );
    stream(&broker, nobody(), -1);
    sender.deliver_all(&letters);
    sender.deliver_all(&letters[500..]);
    assert_eq!(stored(&broker, nobody()), expected(&letters));
    sender.close();
}

#[test]
fn a_server_that_dies_in_the_middle_loses_nothing_that_it_did_not_acknowledge() {
    let mut broker = nats(tempdir().unwrap(), "");
    stream(&broker, nobody(), -1);
    let proxy = Proxy::before(broker.port);
    let mut sender = Sender::new(&at(&format!("nats://127.0.0.1:{}", proxy.port)));
    let letters = on_subject(0..200);
    sender.deliver_all(&letters[..1]);
    proxy.becomes_after(10_000, Network::Mute);
    let delivered = sender.deliver(&letters);
    says(&delivered.failure.unwrap().to_string(), &["it acknowledged nothing within 2s"]);
    assert!((1..200).contains(&delivered.acknowledged), "{}", delivered.acknowledged);
    broker.kill();
    proxy.becomes(Network::Passes);
    says(&sender.is_away_with(&letters[delivered.acknowledged..]), &["nats://127.0.0.1:"]);
    broker.start();
    sender.deliver_all(&letters[delivered.acknowledged..]);
    assert_eq!(stored(&broker, nobody()), expected(&letters));
}

#[test]
fn who_listens_and_says_nothing_is_away_and_a_cut_is_noticed() {
    let broker = nats(tempdir().unwrap(), "");
    stream(&broker, nobody(), -1);
    let proxy = Proxy::before(broker.port);
    proxy.becomes(Network::Silent);
    let letters = on_subject(0..300);
    let mut sender = Sender::new(&at(&format!("nats://127.0.0.1:{}", proxy.port)));
    says(&sender.is_away_with(&letters), &["it does not answer within 2s"]);
    proxy.becomes(Network::Passes);
    sender.deliver_all(&letters[..3]);
    proxy.becomes(Network::Silent);
    says(&sender.is_away_with(&letters[3..]), &["it acknowledged nothing within 2s"]);
    proxy.becomes(Network::Passes);
    sender.deliver_all(&letters[3..100]);
    proxy.becomes_after(4000, Network::Cut);
    let cut = sender.deliver(&letters[100..]);
    says(&cut.failure.unwrap().to_string(), &["it ended the connection"]);
    proxy.becomes(Network::Passes);
    sender.deliver_all(&letters[100 + cut.acknowledged..]);
    assert_eq!(stored(&broker, nobody()), expected(&letters));
}

#[test]
fn without_jetstream_letters_go_to_whoever_listens() {
    let broker = nats(tempdir().unwrap(), "");
    let letters = on_subject(0..50);
    let mut listener = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
    let mut lines = BufReader::new(listener.try_clone().unwrap()).lines().map(Result::unwrap);
    listener.write_all(b"CONNECT {\"verbose\":false}\r\nSUB site.> 1\r\nPING\r\n").unwrap();
    assert!(lines.any(|line| line == "PONG"));
    let mut sender = Sender::new(&at(&format!("nats://127.0.0.1:{}?jetstream=false", broker.port)));
    sender.check().unwrap();
    sender.deliver_all(&letters);
    let bodies_heard = lines.filter(|line| !line.starts_with("MSG ") && line != "PING");
    let heard: Vec<String> = bodies_heard.take(50).collect();
    assert_eq!(heard, bodies(&letters));
}

#[test]
fn who_is_not_let_in_is_told_why_and_no_secret() {
    let own = tempdir().unwrap();
    let folder = tempdir().unwrap();
    certificates(folder.path());
    let secured = nats(
        folder,
        &format!(
            "tls {{ cert_file: \"{{folder}}/server.pem\", key_file: \"{{folder}}/server.key\", ca_file: \"{{folder}}/ca.pem\", verify: true }}\n\
             authorization {{ users: [ {{ user: camera, password: hunter2, permissions: {{ publish: [\"site.>\", \"$JS.>\", \"_INBOX.>\"] }} }}, \
             {{ nkey: {KEY} }} ] }}"
        ),
    );
    let whole = Target {
        credentials: file(own.path(), "user", "camera:hunter2\n"),
        ca: Some(secured.path("ca.pem")),
        cert: Some(secured.path("client.pem")),
        key: Some(secured.path("client.key")),
        ..at(&format!("tls://127.0.0.1:{}?jetstream=false", secured.port))
    };
    let letters = on_subject(0..3);
    Sender::new(&whole).deliver_all(&letters);
    Sender::new(&Target { credentials: file(own.path(), "seed", SEED), ..whole.clone() }).deliver_all(&letters);
    lets_nobody_else_in(&whole, &letters);
    let elsewhere: Vec<Letter> =
        letters.iter().cloned().map(|letter| Letter { topic: "house".into(), ..letter }).collect();
    says(&Sender::new(&whole).is_away_with(&elsewhere), &["Permissions Violation", "house"]);

    let token = nats(tempdir().unwrap(), "authorization { token: hunter2 }");
    let target = Target {
        credentials: file(own.path(), "token", "hunter2"),
        ..at(&format!("nats://127.0.0.1:{}?jetstream=false", token.port))
    };
    Sender::new(&target).deliver_all(&letters);
    let nobody = at(&format!("nats://127.0.0.1:{}", free_port()));
    says(&Sender::new(&nobody).is_away_with(&letters), &["Connection refused"]);
}

/// What this one says of somebody, signed: a JWT as NATS has it.
fn says_of(signer: &KeyPair, who: &str, name: &str, about: Value) -> String {
    let claims = json!({ "jti": name, "iat": 1_700_000_000, "iss": signer.public_key(), "name": name, "sub": who, "nats": about });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = signer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A user's file of credentials.
fn credentials(user: &KeyPair, jwt: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.seed().unwrap()
    )
}

#[test]
fn credentials_let_in_whom_an_account_vouches_for_and_nobody_else() {
    let [operator, system] = [KeyPair::new_operator(), KeyPair::new_account()];
    let [account, other] = [KeyPair::new_account(), KeyPair::new_account()];
    let (user, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let own = tempdir().unwrap();
    let itself = says_of(&operator, &operator.public_key(), "op", json!({ "type": "operator", "version": 2 }));
    let most = ["subs", "conn", "leaf", "imports", "exports", "data", "payload"];
    // The system's account may have none of JetStream, which another must have.
    let of_jetstream = ["mem_storage", "disk_storage", "streams", "consumer"];
    let vouched = |account: &KeyPair, name: &str, unlimited: &[&str]| {
        let mut limits: serde_json::Map<_, _> =
            unlimited.iter().map(|limit| ((*limit).to_owned(), json!(-1))).collect();
        limits.insert("wildcards".into(), json!(true));
        let permissions = json!({ "pub": {}, "sub": {} });
        let about = json!({ "type": "account", "version": 2, "limits": limits, "default_permissions": permissions });
        format!("{}: {}", account.public_key(), says_of(&operator, &account.public_key(), name, about))
    };
    let accounts = [vouched(&account, "site", &[&most[..], &of_jetstream].concat()), vouched(&system, "system", &most)];
    let accounts = accounts.join("\n");
    let of_user = json!({ "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1 });
    let broker = nats(
        tempdir().unwrap(),
        &format!(
            "operator: {itself}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{accounts}\n}}",
            system.public_key()
        ),
    );
    let as_whom = |account: &KeyPair, user: &KeyPair, jwt_of: &KeyPair| Target {
        credentials: file(
            own.path(),
            "creds",
            &credentials(user, &says_of(account, &jwt_of.public_key(), "camera", of_user.clone())),
        ),
        ..at(&format!("nats://127.0.0.1:{}?jetstream=false", broker.port))
    };
    let letters = on_subject(0..3);
    Sender::new(&as_whom(&account, &user, &user)).deliver_all(&letters);
    // Another's account, and another's seed beside what is said of this one.
    for (account, user, jwt_of) in [(&other, &user, &user), (&account, &stranger, &user)] {
        let target = as_whom(account, user, jwt_of);
        says(&Sender::new(&target).is_away_with(&letters), &["does not let in", "creds"]);
    }
}

#[test]
fn what_is_larger_than_the_server_takes_is_refused_and_the_rest_goes_on() {
    let broker = nats(tempdir().unwrap(), "max_payload: 5000");
    stream(&broker, nobody(), 2000);
    let mut sender = Sender::new(&at(&format!("nats://127.0.0.1:{}", broker.port)));
    for bytes in [3000, 6000] {
        let mut letters = on_subject(bytes..bytes + 5);
        letters[2].body = vec![b'x'; bytes];
        let delivered = sender.deliver(&letters);
        assert_eq!(delivered.acknowledged, 2, "{delivered:?}");
        assert!(matches!(delivered.failure, Some(Failure::Refused(_))), "{delivered:?}");
        assert_eq!(sender.deliver(&letters[3..]).acknowledged, 2);
    }
    let mut wrong = on_subject(0..1);
    wrong[0].topic = "site. door".into();
    assert!(matches!(sender.deliver(&wrong).failure, Some(Failure::Refused(_))));
    assert_eq!(stored(&broker, nobody()).len(), 8);
}
