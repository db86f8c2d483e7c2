//! Handshakes with a client of rustls, and what is not a handshake.

use super::super::{
    EstablishedTls, HandshakeFailure, HandshakeStep, NegotiatedProtocol, OpenEnd, RecordKey,
    TlsHandshake,
};
use super::peer::{
    HandshakeEnd, UNKNOWN_NAME, client, client_config, handshake, opened_by, sealed_by, sent_by,
    server_config,
};
use crate::limits::{TLS_HANDSHAKE_BYTES, TLS_HANDSHAKE_RECORDS};
use crate::wire::tls::CipherSuite;
use rustls::crypto::aws_lc_rs::{Ticketer, kx_group};
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error};
use std::sync::Arc;

const AES_128: u16 = 0x1301;

fn established(end: HandshakeEnd) -> (Box<EstablishedTls>, Vec<u8>, Vec<u8>) {
    match end.step {
        HandshakeStep::Established { tls, .. } => (tls, end.rest, end.last_sent),
        step @ (HandshakeStep::Pending { .. } | HandshakeStep::Failed(_)) => panic!("{step:?}"),
    }
}

fn failure(end: &HandshakeEnd) -> HandshakeFailure {
    match &end.step {
        HandshakeStep::Failed(failure) => *failure,
        step @ (HandshakeStep::Pending { .. } | HandshakeStep::Established { .. }) => {
            panic!("{step:?}")
        }
    }
}

/// A handshake that fails, and what the client reads of the answer.
fn refused(config: ClientConfig, name: &str) -> (HandshakeFailure, Error) {
    let mut client = client(config, name);
    let end = handshake(&server_config(None), &mut client, usize::MAX, |_| Vec::new());
    (failure(&end), opened_by(&mut client, &end.last_sent).unwrap_err())
}

/// Feeds bytes to a handshake that has not begun.
fn fed(mut bytes: Vec<u8>) -> (HandshakeStep, Vec<u8>) {
    let mut out = Vec::new();
    let step = TlsHandshake::new(&server_config(None)).unwrap().advance(&mut bytes, &mut out);
    (step, out)
}

#[test]
fn a_handshake_ends_with_the_state_of_every_suite() {
    for suite in CipherSuite::ALL {
        let mut client = client(client_config(suite.code()), "LocalHost");
        let end = handshake(&server_config(None), &mut client, usize::MAX, |_| Vec::new());
        let (tls, rest, _) = established(end);
        assert_eq!(tls.state.suite(), suite);
        assert_eq!(tls.protocol, NegotiatedProtocol::Http11);
        assert_eq!(tls.server_name.as_deref(), Some("localhost"));
        assert!(rest.is_empty() && !tls.is_resumed);
        assert_eq!(client.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
}

/// The record layer continues with the bytes that follow the client's Finished in the same read.
#[test]
fn bytes_glued_to_the_finished_are_left_however_the_input_is_cut() {
    for piece_bytes in (1..80).chain([usize::MAX]) {
        let mut client = client(client_config(AES_128), "localhost");
        let end = handshake(&server_config(None), &mut client, piece_bytes, |client| {
            [sealed_by(client, b"GET / "), sealed_by(client, b"HTTP/1.1")].concat()
        });
        let (mut tls, mut rest, _) = established(end);
        let mut key = RecordKey::new(tls.state.suite(), tls.state.read_direction());
        let opened = tls.state.open(&mut key, &mut rest);
        assert_eq!(&rest[opened.plaintext], b"GET / HTTP/1.1", "pieces of {piece_bytes}");
        assert_eq!(opened.end, OpenEnd::Open);
    }
}

/// RFC 8446 §4.6.1: the ticket is the first record under the server's traffic key.
#[test]
fn a_ticket_resumes_the_session_and_counts_as_a_record() {
    let server = server_config(Some(Ticketer::new().unwrap()));
    let config = Arc::new(client_config(AES_128));
    for round in 0..3 {
        let mut client =
            ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
        let end = handshake(&server, &mut client, usize::MAX, |_| Vec::new());
        let (mut tls, _, ticket) = established(end);
        assert_eq!(tls.is_resumed, round > 0);
        assert_eq!(tls.state.write.sequence, 1, "one ticket");
        let mut key = RecordKey::new(tls.state.suite(), tls.state.write_direction());
        let mut sent = ticket;
        tls.state.seal(&mut key, b"data", &mut sent).unwrap();
        assert_eq!(opened_by(&mut client, &sent).unwrap(), b"data");
    }
}

/// RFC 8446 §4.1.4: a client that guessed the wrong group is asked for another ClientHello.
#[test]
fn a_hello_retry_request_is_part_of_the_handshake() {
    let mut provider = (**client_config(AES_128).crypto_provider()).clone();
    provider.kx_groups = vec![kx_group::SECP256R1, kx_group::X25519];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(super::peer::AnyCertificate))
        .with_no_client_auth();
    let mut client = client(config, "localhost");
    let end = handshake(&server_config(None), &mut client, 100, |_| Vec::new());
    established(end);
}

#[test]
fn a_client_without_alpn_is_accepted_and_one_without_http_1_1_is_not() {
    let mut config = client_config(AES_128);
    config.alpn_protocols = Vec::new();
    let mut without = client(config, "localhost");
    let end = handshake(&server_config(None), &mut without, usize::MAX, |_| Vec::new());
    assert_eq!(established(end).0.protocol, NegotiatedProtocol::NotOffered);

    let mut config = client_config(AES_128);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let alert = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(refused(config, "localhost"), (HandshakeFailure::Protocol, alert));
}

#[test]
fn a_name_without_a_certificate_is_refused_with_an_alert() {
    let (failure, error) = refused(client_config(AES_128), UNKNOWN_NAME);
    assert_eq!(failure, HandshakeFailure::NoCertificate);
    assert!(matches!(error, Error::AlertReceived(_)), "{error:?}");
}

/// RFC 8446 §4.1.1: no key exchange in common.
#[test]
fn a_client_without_a_common_suite_is_refused_with_an_alert() {
    // A ClientHello whose only suite has an unknown number.
    let mut client = client(client_config(AES_128), "localhost");
    let mut hello = sent_by(&mut client);
    let suite = 5 + 4 + 2 + 32 + 1 + 32 + 2;
    assert_eq!(hello[suite..suite + 2], [0x13, 0x01]);
    hello[suite + 1] = 0x7f;
    let (step, out) = fed(hello);
    assert!(matches!(step, HandshakeStep::Failed(HandshakeFailure::Incompatible)), "{step:?}");
    assert_eq!(out[0], 21, "an alert");
}

#[test]
fn what_is_not_tls_is_refused_at_once_and_with_its_own_outcome() {
    for text in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"SSH-2.0-x\r\n", b"\0\0\0\0\0"] {
        let (step, _) = fed(text.to_vec());
        assert!(matches!(step, HandshakeStep::Failed(HandshakeFailure::NotTls)), "{step:?}");
    }
    let (step, _) = fed(b"GET ".to_vec());
    assert!(matches!(step, HandshakeStep::Pending { consumed: 0, .. }), "{step:?}");
}

/// RFC 8446 §5.1: longer than any record.
#[test]
fn a_record_above_the_limit_is_refused_before_it_has_arrived() {
    let (step, out) = fed(vec![22, 3, 1, 0x48, 1, 1]);
    assert!(matches!(step, HandshakeStep::Failed(HandshakeFailure::Malformed)), "{step:?}");
    assert_eq!(out[..5], [21, 3, 3, 0, 2]);
}

#[test]
fn the_bytes_and_records_of_a_handshake_are_limited() {
    // Fragments of a ClientHello that is never complete.
    let fragment = |bytes: usize| {
        let [high, low] = (bytes as u16).to_be_bytes();
        [&[22, 3, 1, high, low][..], &vec![0; bytes]].concat()
    };
    let hello = |body: Vec<u8>| [&[22, 3, 1, 0, 4, 1, 0, 0xf0, 0][..], &body].concat();
    let allowed = TLS_HANDSHAKE_RECORDS as usize - 1;
    let (step, _) = fed(hello(fragment(1).repeat(allowed)));
    assert!(matches!(step, HandshakeStep::Pending { .. }), "{step:?}");
    let (step, _) = fed(hello(fragment(1).repeat(allowed + 1)));
    assert!(matches!(step, HandshakeStep::Failed(HandshakeFailure::TooLong)), "{step:?}");
    let allowed = (TLS_HANDSHAKE_BYTES - 9) / 1005;
    let (step, _) = fed(hello(fragment(1000).repeat(allowed)));
    assert!(matches!(step, HandshakeStep::Pending { .. }), "{step:?}");
    let (step, _) = fed(hello(fragment(1000).repeat(allowed + 1)));
    assert!(matches!(step, HandshakeStep::Failed(HandshakeFailure::TooLong)), "{step:?}");
}

#[test]
fn the_alert_of_a_client_is_an_outcome_of_its_own() {
    // bad_certificate before encryption, as by a client that ends the handshake at once.
    let (step, _) = fed(vec![21, 3, 3, 0, 2, 2, 42]);
    assert!(matches!(step, HandshakeStep::Failed(HandshakeFailure::PeerAlert)), "{step:?}");
}

/// RFC 8446 §4.4.4: a Finished that is not authentic.
#[test]
fn a_changed_finished_is_refused() {
    let config = server_config(None);
    let mut client = client(client_config(AES_128), "localhost");
    let mut out = Vec::new();
    let mut hello = sent_by(&mut client);
    let step = TlsHandshake::new(&config).unwrap().advance(&mut hello, &mut out);
    let HandshakeStep::Pending { handshake, consumed } = step else { panic!("{step:?}") };
    assert_eq!(consumed, hello.len());
    opened_by(&mut client, &out).unwrap();
    let mut finished = sent_by(&mut client);
    *finished.last_mut().unwrap() ^= 1;
    out.clear();
    let step = handshake.advance(&mut finished, &mut out);
    assert!(matches!(step, HandshakeStep::Failed(HandshakeFailure::Malformed)), "{step:?}");
    let alert = Error::AlertReceived(AlertDescription::BadRecordMac);
    assert_eq!(opened_by(&mut client, &out), Err(alert));
}

#[test]
fn each_outcome_has_a_label_of_its_own() {
    let mut labels = HandshakeFailure::ALL.map(HandshakeFailure::label).to_vec();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), HandshakeFailure::ALL.len());
}
