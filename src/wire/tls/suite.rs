//! The cipher suites of TLS 1.3 that are implemented (RFC 8446 §B.4). Pure.

use aws_lc_rs::{aead, hkdf};

/// A cipher suite: the AEAD for records, and the hash from which keys are derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherSuite {
    /// TLS_AES_128_GCM_SHA256.
    Aes128Gcm,
    /// TLS_AES_256_GCM_SHA384.
    Aes256Gcm,
    /// TLS_CHACHA20_POLY1305_SHA256.
    ChaCha20Poly1305,
}

/// Length of the authentication tag of every suite.
pub(super) const TAG_BYTES: usize = 16;
/// Length of the nonce of every suite (RFC 8446 §5.3).
pub(super) const NONCE_BYTES: usize = 12;
/// Longest key of a suite.
pub(super) const MAX_KEY_BYTES: usize = 32;
/// Longest traffic secret: the length of SHA-384.
pub(super) const MAX_SECRET_BYTES: usize = 48;

/// Records that AES-GCM may encrypt under one key. RFC 8446 §5.5 permits 2^24.5 records of full size.
const AES_GCM_RECORDS: u64 = 1 << 24;
/// The last sequence number that is used. Sequence numbers must not wrap (RFC 8446 §5.3).
pub(super) const LAST_SEQUENCE: u64 = u64::MAX - 1;

impl CipherSuite {
    /// All suites.
    pub const ALL: [CipherSuite; 3] =
        [CipherSuite::Aes128Gcm, CipherSuite::Aes256Gcm, CipherSuite::ChaCha20Poly1305];

    /// The number of the suite (RFC 8446 §B.4).
    pub const fn code(self) -> u16 {
        match self {
            CipherSuite::Aes128Gcm => 0x1301,
            CipherSuite::Aes256Gcm => 0x1302,
            CipherSuite::ChaCha20Poly1305 => 0x1303,
        }
    }

    /// The suite with this number, if it is implemented.
    pub fn from_code(code: u16) -> Option<CipherSuite> {
        CipherSuite::ALL.into_iter().find(|suite| suite.code() == code)
    }

    /// Length of the AEAD's key, in bytes.
    pub const fn key_bytes(self) -> usize {
        match self {
            CipherSuite::Aes128Gcm => 16,
            CipherSuite::Aes256Gcm | CipherSuite::ChaCha20Poly1305 => MAX_KEY_BYTES,
        }
    }

    /// Length of a traffic secret, in bytes: that of the suite's hash (RFC 8446 §7.1).
    pub const fn secret_bytes(self) -> usize {
        match self {
            CipherSuite::Aes128Gcm | CipherSuite::ChaCha20Poly1305 => 32,
            CipherSuite::Aes256Gcm => MAX_SECRET_BYTES,
        }
    }

    /// Most records that may be encrypted under one key (RFC 8446 §5.5). For ChaCha20-Poly1305 the sequence
    /// numbers end before the limit of the cipher.
    pub const fn confidentiality_limit_records(self) -> u64 {
        match self {
            CipherSuite::Aes128Gcm | CipherSuite::Aes256Gcm => AES_GCM_RECORDS,
            CipherSuite::ChaCha20Poly1305 => LAST_SEQUENCE,
        }
    }

    pub(super) fn aead(self) -> &'static aead::Algorithm {
        match self {
            CipherSuite::Aes128Gcm => &aead::AES_128_GCM,
            CipherSuite::Aes256Gcm => &aead::AES_256_GCM,
            CipherSuite::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    pub(super) fn hkdf(self) -> hkdf::Algorithm {
        match self {
            CipherSuite::Aes128Gcm | CipherSuite::ChaCha20Poly1305 => hkdf::HKDF_SHA256,
            CipherSuite::Aes256Gcm => hkdf::HKDF_SHA384,
        }
    }
}
