//! A client of rustls as the peer of the record layer, connected by buffers in place of sockets. Also used by
//! the fuzz target.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::io::{Read, Write};
use std::sync::Arc;
use tls_under_test::{EstablishedTls, HandshakeConfig, HandshakeStep, TlsHandshake};

/// The module under test: in the crate's own tests it is a parent module, in a fuzz target another crate.
pub(super) mod tls_under_test {
    #[cfg(test)]
    pub(crate) use crate::wire::tls::*;
    #[cfg(not(test))]
    pub(crate) use switchboard::wire::tls::*;
}

/// The name for which [`TestCertificates`] has no certificate.
pub(crate) const UNKNOWN_NAME: &str = "unknown.example";

/// A new key, and bytes in place of a certificate, for every name but [`UNKNOWN_NAME`].
#[derive(Debug)]
pub(crate) struct TestCertificates(Arc<CertifiedKey>);

impl TestCertificates {
    pub(crate) fn new() -> TestCertificates {
        use ::aws_lc_rs::{rand::SystemRandom, signature};
        let algorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = signature::EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
        let key = PrivatePkcs8KeyDer::from(key.expect("a key").as_ref().to_vec());
        let key = aws_lc_rs::sign::any_ecdsa_type(&PrivateKeyDer::from(key)).expect("a P-256 key");
        let certificate = CertificateDer::from(b"not parsed by anything".to_vec());
        TestCertificates(Arc::new(CertifiedKey::new(vec![certificate], key)))
    }
}

impl ResolvesServerCert for TestCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        (hello.server_name() != Some(UNKNOWN_NAME)).then(|| self.0.clone())
    }
}

/// Accepts any certificate and any signature: chains are not what is tested.
#[derive(Debug)]
pub(crate) struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Settings of the server, with or without session tickets.
pub(crate) fn server_config(tickets: Option<Arc<dyn ProducesTickets>>) -> HandshakeConfig {
    let certificates = Arc::new(TestCertificates::new());
    HandshakeConfig::new(certificates, tickets, Arc::new(DefaultTimeProvider))
}

/// Settings of a client with the one suite that has this number.
pub(crate) fn client_config(suite: u16) -> ClientConfig {
    let mut provider: CryptoProvider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|known| u16::from(known.suite()) == suite);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a suite of TLS 1.3");
    let mut config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.dangerous().set_certificate_verifier(Arc::new(AnyCertificate));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

pub(crate) fn client(config: ClientConfig, name: &str) -> ClientConnection {
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// What the client has to send.
pub(crate) fn sent_by(client: &mut ClientConnection) -> Vec<u8> {
    let mut sent = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut sent).expect("a vector takes everything");
    }
    sent
}

/// What the client sends for `plaintext`.
pub(crate) fn sealed_by(client: &mut ClientConnection, plaintext: &[u8]) -> Vec<u8> {
    client.writer().write_all(plaintext).expect("a client that takes plaintext");
    sent_by(client)
}

/// Lets the client read `bytes`, and returns the application data that it has found.
pub(crate) fn opened_by(client: &mut ClientConnection, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while !rest.is_empty() {
        client.read_tls(&mut rest).expect("bytes in memory");
        let state = client.process_new_packets()?;
        let start = found.len();
        found.resize(start + state.plaintext_bytes_to_read(), 0);
        client.reader().read_exact(&mut found[start..]).expect("as much as was announced");
    }
    Ok(found)
}

/// How a handshake ended.
pub(crate) struct HandshakeEnd {
    pub(crate) step: HandshakeStep,
    /// What the server did not consume.
    pub(crate) rest: Vec<u8>,
    /// What the server sent last.
    pub(crate) last_sent: Vec<u8>,
}

/// Runs a handshake in which the server gets the bytes of the client in pieces. `glued` is called when the
/// client has completed the handshake; what it returns follows the client's Finished immediately.
pub(crate) fn handshake(
    config: &HandshakeConfig,
    client: &mut ClientConnection,
    piece_bytes: usize,
    glued: impl FnOnce(&mut ClientConnection) -> Vec<u8>,
) -> HandshakeEnd {
    let mut handshake = TlsHandshake::new(config).expect("valid settings");
    let (mut held, mut glued) = (Vec::new(), Some(glued));
    loop {
        let mut sent = sent_by(client);
        if !client.is_handshaking()
            && let Some(glued) = glued.take()
        {
            sent.extend(glued(client));
        }
        assert!(!sent.is_empty(), "neither side sends");
        let mut out = Vec::new();
        while !sent.is_empty() {
            let rest = sent.split_off(piece_bytes.min(sent.len()));
            held.extend(std::mem::replace(&mut sent, rest));
            match handshake.advance(&mut held, &mut out) {
                HandshakeStep::Pending { handshake: next, consumed } => {
                    handshake = next;
                    held.drain(..consumed);
                }
                step @ (HandshakeStep::Established { .. } | HandshakeStep::Failed(_)) => {
                    if let HandshakeStep::Established { consumed, .. } = step {
                        held.drain(..consumed);
                    }
                    held.extend(sent);
                    return HandshakeEnd { step, rest: held, last_sent: out };
                }
            }
        }
        // An error of the client is in what it sends next.
        let _ = opened_by(client, &out);
    }
}

/// An established connection: a client, and the record layer of the server.
pub(crate) fn connect(suite: u16) -> (ClientConnection, EstablishedTls) {
    let mut client = client(client_config(suite), "localhost");
    let end = handshake(&server_config(None), &mut client, usize::MAX, |_| Vec::new());
    match end.step {
        HandshakeStep::Established { tls, .. } => (client, *tls),
        step @ (HandshakeStep::Pending { .. } | HandshakeStep::Failed(_)) => panic!("{step:?}"),
    }
}
