//! Values of one handshake that rustls passes only to traits of its settings. Pure.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{KeyLog, ServerConfig};
use std::fmt;
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// Labels of the secrets of application data, as rustls passes them.
const CLIENT_SECRET_LABEL: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER_SECRET_LABEL: &str = "SERVER_TRAFFIC_SECRET_0";

/// Receives the traffic secrets, which rustls passes to a [`KeyLog`] only, and the server name, which an
/// unbuffered connection passes to the resolver of certificates only.
pub(super) struct HandshakeObserver {
    certificates: Arc<dyn ResolvesServerCert>,
    pub(super) client_secret: OnceLock<Zeroizing<Vec<u8>>>,
    pub(super) server_secret: OnceLock<Zeroizing<Vec<u8>>>,
    pub(super) server_name: OnceLock<String>,
}

impl HandshakeObserver {
    /// Makes the settings of one connection use an observer of its own.
    pub(super) fn observe(settings: &mut ServerConfig) -> Arc<HandshakeObserver> {
        let observer = Arc::new(HandshakeObserver {
            certificates: settings.cert_resolver.clone(),
            client_secret: OnceLock::new(),
            server_secret: OnceLock::new(),
            server_name: OnceLock::new(),
        });
        settings.key_log = observer.clone();
        settings.cert_resolver = observer.clone();
        observer
    }
}

impl KeyLog for HandshakeObserver {
    fn will_log(&self, label: &str) -> bool {
        [CLIENT_SECRET_LABEL, SERVER_SECRET_LABEL].contains(&label)
    }

    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        let place = match label {
            CLIENT_SECRET_LABEL => &self.client_secret,
            SERVER_SECRET_LABEL => &self.server_secret,
            _ => return,
        };
        place.get_or_init(|| Zeroizing::new(secret.to_vec()));
    }
}

impl ResolvesServerCert for HandshakeObserver {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = client_hello.server_name() {
            self.server_name.get_or_init(|| name.to_ascii_lowercase());
        }
        self.certificates.resolve(client_hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.certificates.only_raw_public_keys()
    }
}

impl fmt::Debug for HandshakeObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandshakeObserver(..)")
    }
}
