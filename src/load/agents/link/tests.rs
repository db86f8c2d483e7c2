//! Tests of the handshake over loopback.

use super::super::protocol::{AgentMessage, CoordinatorMessage};
use super::*;
use std::io::Write as _;
use std::net::TcpListener;

fn secret(text: &str) -> SharedSecret {
    SharedSecret::from_file_content(text.as_bytes()).unwrap()
}

fn known() -> SharedSecret {
    secret("a secret for these tests")
}

/// A connection over loopback: the coordinator's end and the agent's.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (socket, listener.accept().unwrap().0)
}

type Handshakes = (Result<ControlLink, LinkError>, Result<ControlLink, LinkError>);

/// The results of the handshake at the coordinator and at the agent.
fn shake_hands(of_coordinator: SharedSecret, of_agent: SharedSecret, busy: bool) -> Handshakes {
    let (coordinator, agent) = connection();
    let busy = AtomicBool::new(busy);
    std::thread::scope(|scope| {
        let admitted = scope.spawn(|| admit_coordinator(agent, &of_agent, &busy));
        let joined = join_agent(coordinator, &of_coordinator);
        (joined, admitted.join().unwrap())
    })
}

#[test]
fn messages_pass_in_both_directions_after_the_handshake() {
    let (joined, admitted) = shake_hands(known(), known(), false);
    let (mut coordinator, mut agent) = (joined.unwrap(), admitted.unwrap());
    coordinator.sender.send(&CoordinatorMessage::Alive).unwrap();
    coordinator.sender.send(&CoordinatorMessage::Stop).unwrap();
    agent.sender.send(&AgentMessage::Alive).unwrap();
    assert!(matches!(agent.receiver.receive(), Ok(CoordinatorMessage::Alive)));
    assert!(matches!(agent.receiver.receive(), Ok(CoordinatorMessage::Stop)));
    assert!(matches!(coordinator.receiver.receive(), Ok(AgentMessage::Alive)));
    coordinator.sender.close();
    let end = agent.receiver.receive::<CoordinatorMessage>().unwrap_err();
    assert_eq!(end.to_string(), "has disconnected");
}

#[test]
fn another_secret_is_refused_on_both_sides() {
    let (joined, admitted) = shake_hands(secret("some other secret of mine"), known(), false);
    assert!(matches!(joined, Err(LinkError::WrongSecret)));
    assert!(matches!(admitted, Err(LinkError::WrongSecret)));
}

#[test]
fn an_agent_that_serves_a_coordinator_refuses_another() {
    let (joined, admitted) = shake_hands(known(), known(), true);
    assert!(matches!(joined, Err(LinkError::Busy)) && matches!(admitted, Err(LinkError::Busy)));
}

/// An agent that knows no secret cannot make the coordinator give it work.
#[test]
fn an_agent_that_does_not_prove_the_secret_is_refused() {
    let (coordinator, mut agent) = connection();
    let greet = move || {
        let mut say = |greeting: &Greeting| {
            write_frame(&mut agent, &serde_json::to_vec(greeting).unwrap()).unwrap();
        };
        let challenge = encode(&[7; 32]);
        say(&Greeting::Hello { protocol: PROTOCOL, version: VERSION.to_owned(), challenge });
        say(&Greeting::Welcome { proof: encode(&[8; 32]) });
        // Open until the coordinator has read both.
        let _ = agent.read(&mut [0; 4096]);
    };
    let agent = std::thread::spawn(greet);
    assert!(matches!(join_agent(coordinator, &known()), Err(LinkError::WrongSecret)));
    agent.join().unwrap();
}

#[test]
fn another_version_is_named_by_both_sides() {
    let (coordinator, mut agent) = connection();
    let hello = Greeting::Hello {
        protocol: PROTOCOL + 1,
        version: "9.9.9".to_owned(),
        challenge: encode(&[7; 32]),
    };
    write_frame(&mut agent, &serde_json::to_vec(&hello).unwrap()).unwrap();
    let error = join_agent(coordinator, &known()).err().unwrap().to_string();
    assert!(error.contains("9.9.9 (protocol 2), and this is"), "{error}");

    let (mut coordinator, agent) = connection();
    let proof = Greeting::Proof {
        protocol: PROTOCOL,
        version: "9.9.9".to_owned(),
        challenge: encode(&[7; 32]),
        proof: encode(&[8; 32]),
    };
    write_frame(&mut coordinator, &serde_json::to_vec(&proof).unwrap()).unwrap();
    let error = admit_coordinator(agent, &known(), &AtomicBool::new(false)).err().unwrap();
    assert!(matches!(error, LinkError::OtherVersion(_)), "{error}");
}

/// Even if the other program says much, or speaks another protocol.
#[test]
fn what_is_no_coordinator_is_refused() {
    for text in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\0\0\0\u{2}{}"] {
        let (mut coordinator, agent) = connection();
        coordinator.write_all(text.as_bytes()).unwrap();
        let error = admit_coordinator(agent, &known(), &AtomicBool::new(false)).err().unwrap();
        assert!(matches!(error, LinkError::Malformed(_)), "{error}");
    }
}

#[test]
fn a_message_with_a_wrong_tag_ends_the_connection() {
    let (joined, admitted) = shake_hands(known(), known(), false);
    let (mut coordinator, agent) = (joined.unwrap(), admitted.unwrap());
    let mut socket = agent.receiver.socket;
    let text = serde_json::to_vec(&AgentMessage::Alive).unwrap();
    write_frame(&mut socket, &[&[0; 32][..], &text].concat()).unwrap();
    let error = coordinator.receiver.receive::<AgentMessage>().unwrap_err().to_string();
    assert!(error.contains("wrong tag"), "{error}");
}
