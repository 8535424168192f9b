//! ZeroMQ, whose other side is libzmq.

use super::{Sender, at, bodies, letters, says};
use crate::support::brokers::{Reader, debian, free_port};
use crate::support::program::until;

/// Says `ready`, then each message that it got; a router and a replier answer each.
const PEER: &str = r#"
import sys, zmq
kind, port = sys.argv[1], sys.argv[2]
socket = zmq.Context().socket({"dealer": zmq.ROUTER, "req": zmq.REP, "pub": zmq.SUB}[kind])
if kind == "pub":
    socket.connect("tcp://127.0.0.1:" + port)
    socket.subscribe(b"site/")
else:
    socket.bind("tcp://127.0.0.1:" + port)
print("ready", flush=True)
while True:
    parts = socket.recv_multipart()
    print(parts[-2].decode(), parts[-1].decode(), flush=True)
    if kind == "dealer":
        socket.send_multipart([parts[0], b"ok"])
    if kind == "req":
        socket.send(b"ok")
"#;

fn peer(kind: &str, port: u16) -> Reader {
    let reader = Reader::start(debian("python3").args(["-c", PEER, kind, &port.to_string()]));
    until("the other side is ready", || !reader.lines().is_empty());
    reader
}

#[test]
fn letters_arrive_in_order_and_are_answered() {
    let letters = letters(0..300);
    let expected: Vec<String> = bodies(&letters).iter().map(|body| format!("site/door {body}")).collect();
    for kind in ["dealer", "req"] {
        let port = free_port();
        let target = at(&format!("zmq://127.0.0.1:{port}?socket={kind}"));
        let mut sender = Sender::new(&target);
        says(&sender.is_away(), &["zmq://127.0.0.1:"]);
        let reader = peer(kind, port);
        sender.deliver_all(&letters);
        until("all is read", || reader.lines().len() > 300);
        assert_eq!(reader.lines()[1..], expected);
        // Who is gone answers nothing; who comes back gets what nobody answered.
        drop(reader);
        assert!(sender.deliver(&letters[..10]).failure.is_some());
        let again = peer(kind, port);
        sender.deliver_all(&letters[..10]);
        until("it is read", || again.lines().last() == Some(&expected[9]));
        sender.close();
    }
}

#[test]
fn who_subscribes_gets_what_comes_from_then_on() {
    let port = free_port();
    let mut sender = Sender::new(&at(&format!("zmq://127.0.0.1:{port}?socket=pub")));
    sender.check().unwrap();
    let reader = peer("pub", port);
    // When it has subscribed is known when something came.
    until("it has subscribed", || {
        sender.deliver_all(&letters(0..1));
        sender.rests();
        reader.lines().len() > 1
    });
    let letters = letters(1..300);
    sender.deliver_all(&letters);
    sender.rests();
    let expected: Vec<String> = bodies(&letters).iter().map(|body| format!("site/door {body}")).collect();
    until("all is read", || reader.lines().ends_with(&expected));
    let taken = at(&format!("zmq://127.0.0.1:{port}?socket=pub"));
    says(&Sender::new(&taken).is_away(), &["in use"]);
}
