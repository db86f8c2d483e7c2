//! Application data, KeyUpdates and alerts with rustls as the peer, for every suite.

use super::super::{CipherSuite, OpenEnd, RecordKey, TlsAlert, TlsState};
use super::peer::{connect, opened_by, sealed_by, sent_by};
use rustls::{AlertDescription, ClientConnection, Error};

/// The server's side of a connection.
struct ServerSide {
    state: TlsState,
    read_key: RecordKey,
    write_key: RecordKey,
}

impl ServerSide {
    fn new(state: TlsState) -> ServerSide {
        let suite = state.suite();
        let read_key = RecordKey::new(suite, state.read_direction());
        let write_key = RecordKey::new(suite, state.write_direction());
        ServerSide { state, read_key, write_key }
    }

    fn open(&mut self, mut read: Vec<u8>) -> (Vec<u8>, OpenEnd) {
        let opened = self.state.open(&mut self.read_key, &mut read);
        assert!(opened.partial.is_empty());
        (read[opened.plaintext].to_vec(), opened.end)
    }

    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.state.seal(&mut self.write_key, plaintext, &mut out).unwrap();
        out
    }

    /// Moves the state as another process would.
    fn migrate(&mut self) {
        *self = ServerSide::new(TlsState::read_snapshot(&self.state.write_snapshot()).unwrap());
    }
}

fn connected(suite: CipherSuite) -> (ClientConnection, ServerSide) {
    let (client, tls) = connect(suite.code());
    assert_eq!(tls.state.suite(), suite);
    (client, ServerSide::new(tls.state))
}

#[test]
fn application_data_of_any_length_passes_in_both_directions() {
    for suite in CipherSuite::ALL {
        let (mut client, mut server) = connected(suite);
        for length in [1, 200, 16_383, 16_384, 16_385, 40_000] {
            let plaintext: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let sealed = sealed_by(&mut client, &plaintext);
            assert!(
                server.open(sealed) == (plaintext.clone(), OpenEnd::Open),
                "{suite:?} {length}"
            );
            let sealed = server.seal(&plaintext);
            assert!(opened_by(&mut client, &sealed).unwrap() == plaintext, "{suite:?} {length}");
        }
    }
}

#[test]
fn records_cut_at_every_byte_have_the_same_plaintext() {
    let (mut client, tls) = connect(CipherSuite::Aes128Gcm.code());
    let sent = [&b"one "[..], b"two ", b"three"].map(|text| sealed_by(&mut client, text)).concat();
    let snapshot = tls.state.write_snapshot();
    for at in 0..=sent.len() {
        let mut state = TlsState::read_snapshot(&snapshot).unwrap();
        let mut key = RecordKey::new(state.suite(), state.read_direction());
        let mut first = sent[..at].to_vec();
        let opened = state.open(&mut key, &mut first);
        let mut plaintext = first[opened.plaintext].to_vec();
        let mut second = [&first[opened.partial], &sent[at..]].concat();
        let opened = state.open(&mut key, &mut second);
        plaintext.extend_from_slice(&second[opened.plaintext]);
        assert_eq!((&plaintext[..], opened.end), (&b"one two three"[..], OpenEnd::Open), "{at}");
    }
}

#[test]
fn key_updates_of_both_sides_are_followed() {
    for suite in CipherSuite::ALL {
        let (mut client, mut server) = connected(suite);
        for round in 0..5 {
            // rustls requests an update of the other direction with its own.
            client.refresh_traffic_keys().unwrap();
            let sealed = sealed_by(&mut client, b"from the client");
            assert_eq!(server.open(sealed), (b"from the client".to_vec(), OpenEnd::Open));
            assert!(server.state.owes_key_update(), "{suite:?} {round}");
            server.migrate();
            let answer = server.seal(b"from the server");
            assert_eq!(opened_by(&mut client, &answer).unwrap(), b"from the server");
            assert!(sent_by(&mut client).is_empty(), "an answer must not be answered");

            let mut sealed = Vec::new();
            server.state.seal_key_update(&mut server.write_key, true, &mut sealed).unwrap();
            sealed.extend(server.seal(b"with new keys"));
            assert_eq!(opened_by(&mut client, &sealed).unwrap(), b"with new keys");
            let before = server.state.read.secret.clone();
            let answer = sealed_by(&mut client, b"with new keys too");
            assert_eq!(server.open(answer).0, b"with new keys too");
            assert!(server.state.read.secret != before, "rustls answered with a KeyUpdate");
        }
    }
}

#[test]
fn a_close_notify_of_either_side_is_understood() {
    for suite in CipherSuite::ALL {
        let (mut client, mut server) = connected(suite);
        let mut read = sealed_by(&mut client, b"last");
        client.send_close_notify();
        read.extend(sent_by(&mut client));
        assert_eq!(server.open(read), (b"last".to_vec(), OpenEnd::CloseNotify));
        // The other direction stays open (RFC 8446 §6.1).
        let mut sealed = server.seal(b"still open");
        let alert = TlsAlert::CloseNotify;
        server.state.seal_alert(&mut server.write_key, alert, &mut sealed).unwrap();
        assert_eq!(opened_by(&mut client, &sealed).unwrap(), b"still open");
        assert!(client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn rustls_reads_every_alert_that_is_sent() {
    for alert in [
        TlsAlert::UnexpectedMessage,
        TlsAlert::BadRecordMac,
        TlsAlert::RecordOverflow,
        TlsAlert::IllegalParameter,
        TlsAlert::DecodeError,
        TlsAlert::InternalError,
    ] {
        let (mut client, mut server) = connected(CipherSuite::ChaCha20Poly1305);
        let mut sealed = Vec::new();
        server.state.seal_alert(&mut server.write_key, alert, &mut sealed).unwrap();
        let expected = Error::AlertReceived(AlertDescription::from(alert.code()));
        assert_eq!(opened_by(&mut client, &sealed), Err(expected));
    }
}

#[test]
fn the_alert_of_rustls_about_a_changed_record_is_read() {
    let (mut client, mut server) = connected(CipherSuite::Aes256Gcm);
    let mut sealed = server.seal(b"data");
    sealed[7] ^= 1;
    assert_eq!(opened_by(&mut client, &sealed), Err(Error::DecryptError));
    let alert = sent_by(&mut client);
    assert_eq!(server.open(alert), (vec![], OpenEnd::PeerAlert(20)));
}
