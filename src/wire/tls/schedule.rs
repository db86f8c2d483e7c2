//! Traffic secrets, and what is derived from them (RFC 8446 §7.1 to §7.3). Pure.

use super::suite::{CipherSuite, MAX_KEY_BYTES, MAX_SECRET_BYTES, NONCE_BYTES};
use aws_lc_rs::hkdf::{KeyType, Prk};
use std::fmt;
use zeroize::Zeroize;

/// An application traffic secret of one direction (RFC 8446 §7.1). Overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct TrafficSecret {
    /// As many bytes as the suite's hash has; the others are 0.
    bytes: [u8; MAX_SECRET_BYTES],
}

/// Prefix of every label (RFC 8446 §7.1).
const LABEL_PREFIX: &[u8] = b"tls13 ";

/// A length for HKDF.
struct OutputBytes(usize);

impl KeyType for OutputBytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// The key and the initialisation vector of one generation, overwritten when they are dropped.
pub(super) struct KeyMaterial {
    key: [u8; MAX_KEY_BYTES],
    key_bytes: usize,
    pub(super) iv: [u8; NONCE_BYTES],
}

impl KeyMaterial {
    pub(super) fn key(&self) -> &[u8] {
        &self.key[..self.key_bytes]
    }
}

impl Drop for KeyMaterial {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
    }
}

impl TrafficSecret {
    /// A secret of `suite`, or `None` if it does not have the length of the suite's hash.
    pub fn new(suite: CipherSuite, secret: &[u8]) -> Option<TrafficSecret> {
        if secret.len() != suite.secret_bytes() {
            return None;
        }
        let mut bytes = [0; MAX_SECRET_BYTES];
        bytes[..secret.len()].copy_from_slice(secret);
        Some(TrafficSecret { bytes })
    }

    /// The bytes of a secret of `suite`.
    pub(super) fn bytes(&self, suite: CipherSuite) -> &[u8] {
        &self.bytes[..suite.secret_bytes()]
    }

    /// Key and initialisation vector (RFC 8446 §7.3).
    pub(super) fn key_material(&self, suite: CipherSuite) -> KeyMaterial {
        let prk = self.prk(suite);
        let mut material = KeyMaterial {
            key: [0; MAX_KEY_BYTES],
            key_bytes: suite.key_bytes(),
            iv: [0; NONCE_BYTES],
        };
        expand_label(&prk, b"key", &mut material.key[..suite.key_bytes()]);
        expand_label(&prk, b"iv", &mut material.iv);
        material
    }

    /// The secret of the next generation, after a KeyUpdate (RFC 8446 §7.2).
    pub(super) fn next(&self, suite: CipherSuite) -> TrafficSecret {
        let mut next = TrafficSecret { bytes: [0; MAX_SECRET_BYTES] };
        expand_label(&self.prk(suite), b"traffic upd", &mut next.bytes[..suite.secret_bytes()]);
        next
    }

    fn prk(&self, suite: CipherSuite) -> Prk {
        Prk::new_less_safe(suite.hkdf(), self.bytes(suite))
    }
}

impl Drop for TrafficSecret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for TrafficSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrafficSecret(..)")
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
fn expand_label(prk: &Prk, label: &[u8], out: &mut [u8]) {
    let length = (out.len() as u16).to_be_bytes();
    let label_bytes = [(LABEL_PREFIX.len() + label.len()) as u8];
    let info: [&[u8]; 5] = [&length, &label_bytes, LABEL_PREFIX, label, &[0]];
    let okm = prk.expand(&info, OutputBytes(out.len()));
    // Fails only above 255 times the length of the hash.
    okm.and_then(|okm| okm.fill(out)).expect("an output of at most 48 bytes");
}
