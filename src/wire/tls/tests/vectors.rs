//! The trace of a handshake in RFC 8448 §3: secrets, keys and records that others computed.

use super::super::{
    CipherSuite, DirectionState, OpenEnd, RecordKey, TlsAlert, TlsState, TrafficSecret,
};

const CLIENT_SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
const SERVER_SECRET: &str = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
const CLIENT_KEY: &str = "17422dda596ed5d9acd890e3c63f5051";
const CLIENT_IV: &str = "5b78923dee08579033e523d9";
const SERVER_KEY: &str = "9f02283b6c9c07efc26bb9f2ac92e356";
const SERVER_IV: &str = "cf782b88dd83549aadf1e984";
/// The client's records: 50 bytes of application data, then a close_notify.
const CLIENT_DATA: &str = "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4";
const CLIENT_ALERT: &str = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3";
/// The server's second and third record; the first is a session ticket.
const SERVER_DATA: &str = "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d";
const SERVER_ALERT: &str = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9";

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn secret(hex: &str) -> TrafficSecret {
    TrafficSecret::new(CipherSuite::Aes128Gcm, &bytes(hex)).unwrap()
}

/// The server's state after its session ticket.
fn server() -> TlsState {
    let read = DirectionState { secret: secret(CLIENT_SECRET), sequence: 0 };
    let write = DirectionState { secret: secret(SERVER_SECRET), sequence: 1 };
    TlsState::new(CipherSuite::Aes128Gcm, read, write)
}

/// The application data of both sides: the numbers from 0 to 49.
fn application_data() -> Vec<u8> {
    (0..50).collect()
}

#[test]
fn derives_the_keys_of_rfc_8448() {
    for (from, key, iv) in
        [(CLIENT_SECRET, CLIENT_KEY, CLIENT_IV), (SERVER_SECRET, SERVER_KEY, SERVER_IV)]
    {
        let material = secret(from).key_material(CipherSuite::Aes128Gcm);
        assert_eq!(material.key(), bytes(key));
        assert_eq!(material.iv.to_vec(), bytes(iv));
    }
}

#[test]
fn opens_the_records_of_rfc_8448() {
    let mut state = server();
    let mut key = RecordKey::new(state.suite(), state.read_direction());
    let mut read = bytes(&[CLIENT_DATA, CLIENT_ALERT].concat());
    let opened = state.open(&mut key, &mut read);
    assert_eq!(read[opened.plaintext], application_data());
    assert_eq!((opened.records, opened.end), (2, OpenEnd::CloseNotify));
}

#[test]
fn seals_the_records_of_rfc_8448() {
    let mut state = server();
    let mut key = RecordKey::new(state.suite(), state.write_direction());
    let mut out = Vec::new();
    state.seal(&mut key, &application_data(), &mut out).unwrap();
    state.seal_alert(&mut key, TlsAlert::CloseNotify, &mut out).unwrap();
    assert_eq!(out, bytes(&[SERVER_DATA, SERVER_ALERT].concat()));
}
