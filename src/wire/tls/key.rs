//! Expanded keys (RFC 8446 §5.2 and §5.3). Pure.

use super::header::RECORD_HEADER_BYTES;
use super::schedule::TrafficSecret;
use super::state::DirectionState;
use super::suite::{CipherSuite, MAX_SECRET_BYTES, NONCE_BYTES, TAG_BYTES};
use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use std::fmt;
use zeroize::Zeroize;

/// The AEAD has refused: a record is not authentic.
#[derive(Debug)]
pub(super) struct AeadError;

/// The expanded key of one direction of a connection. A thread keeps those of its active connections; an idle
/// connection has none. Takes about 100 bytes, and about 600 more on the heap.
pub struct RecordKey {
    suite: CipherSuite,
    /// The secret that the key was derived from.
    secret: TrafficSecret,
    iv: [u8; NONCE_BYTES],
    key: LessSafeKey,
}

impl RecordKey {
    /// Derives the key of `direction`, in about 0.75 us.
    pub fn new(suite: CipherSuite, direction: &DirectionState) -> RecordKey {
        let material = direction.secret.key_material(suite);
        let key = UnboundKey::new(suite.aead(), material.key());
        let key = key.expect("a key with the length that the suite states");
        RecordKey {
            suite,
            secret: direction.secret.clone(),
            iv: material.iv,
            key: LessSafeKey::new(key),
        }
    }

    /// Derives the key again if it does not belong to `direction`.
    pub(super) fn refresh(&mut self, suite: CipherSuite, direction: &DirectionState) {
        // guard: a record key of another secret is not used [false]
        if self.suite != suite || self.secret != direction.secret {
            *self = RecordKey::new(suite, direction);
        }
    }

    /// The initialisation vector with the sequence number, as RFC 8446 §5.3 combines them.
    fn nonce(&self, sequence: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[NONCE_BYTES - 8..].iter_mut().zip(sequence.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Decrypts `buf[from..]`, ciphertext and tag, to the start of `buf`. Returns the length of the
    /// plaintext. After an error the content of `buf` is undefined.
    pub(super) fn open(
        &self,
        sequence: u64,
        header: [u8; RECORD_HEADER_BYTES],
        buf: &mut [u8],
        from: usize,
    ) -> Result<usize, AeadError> {
        let opened = self.key.open_within(self.nonce(sequence), Aad::from(header), buf, from..);
        opened.map(|plaintext| plaintext.len()).map_err(|_| AeadError)
    }

    /// Encrypts `buf` in place and returns the tag.
    pub(super) fn seal(
        &self,
        sequence: u64,
        header: [u8; RECORD_HEADER_BYTES],
        buf: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], AeadError> {
        let tag = self.key.seal_in_place_separate_tag(self.nonce(sequence), Aad::from(header), buf);
        let tag = tag.map_err(|_| AeadError)?;
        tag.as_ref().try_into().map_err(|_| AeadError)
    }
}

impl Drop for RecordKey {
    // The secret overwrites itself, and aws-lc overwrites what it frees.
    fn drop(&mut self) {
        self.iv.zeroize();
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordKey").field("suite", &self.suite).finish_non_exhaustive()
    }
}

const _: () = assert!(size_of::<RecordKey>() <= 2 * MAX_SECRET_BYTES);
