//! Seals plaintext into records (RFC 8446 §5.2). Pure.

use super::alert::TlsAlert;
use super::error::SealError;
use super::header::{ALERT, APPLICATION_DATA, HANDSHAKE, RECORD_HEADER_BYTES, RecordHeader};
use super::key::{AeadError, RecordKey};
use super::post_handshake::key_update_message;
use super::state::{TlsState, WriteStatus};
use super::suite::TAG_BYTES;
use crate::limits::TLS_PLAINTEXT_BYTES;

/// Bytes that a record adds to its content: header, content type and tag.
const OVERHEAD_BYTES: usize = RECORD_HEADER_BYTES + 1 + TAG_BYTES;

impl TlsState {
    /// Appends `plaintext` to `out` as records of at most [`TLS_PLAINTEXT_BYTES`] bytes each. A KeyUpdate
    /// precedes them if the peer asked for one (RFC 8446 §4.6.3), and wherever the key has reached the limit
    /// of its suite (RFC 8446 §5.5). Without plaintext, only a requested KeyUpdate is appended.
    ///
    /// # Errors
    ///
    /// [`SealError::Ended`] after an alert. After an error, `out` has its previous content.
    pub fn seal(
        &mut self,
        key: &mut RecordKey,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let start = out.len();
        match self.write_status {
            WriteStatus::Open => {}
            // guard: a requested KeyUpdate precedes application data [value {}]
            WriteStatus::OwesKeyUpdate => self.seal_key_update(key, false, out)?,
            WriteStatus::Ended => return Err(SealError::Ended),
        }
        let records = plaintext.len().div_ceil(TLS_PLAINTEXT_BYTES);
        out.reserve(plaintext.len() + records * OVERHEAD_BYTES);
        for chunk in plaintext.chunks(TLS_PLAINTEXT_BYTES) {
            // The KeyUpdate is the last record under the old key.
            // guard: a key is replaced before the limit of its suite [false]
            if self.write.sequence >= self.suite.confidentiality_limit_records() - 1 {
                self.seal_key_update(key, false, out).inspect_err(|_| out.truncate(start))?;
            }
            self.push_record(key, APPLICATION_DATA, chunk, out)
                .inspect_err(|_| out.truncate(start))?;
        }
        Ok(())
    }

    /// Appends a KeyUpdate to `out` and goes on with the next key (RFC 8446 §4.6.3). With `requests_answer`
    /// the peer has to replace its key too.
    ///
    /// # Errors
    ///
    /// [`SealError::Ended`] after an alert.
    pub fn seal_key_update(
        &mut self,
        key: &mut RecordKey,
        requests_answer: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        match self.write_status {
            WriteStatus::Open | WriteStatus::OwesKeyUpdate => {}
            WriteStatus::Ended => return Err(SealError::Ended),
        }
        self.push_record(key, HANDSHAKE, &key_update_message(requests_answer), out)?;
        self.write.update(self.suite);
        self.write_status = WriteStatus::Open;
        Ok(())
    }

    /// Appends an alert to `out`; it is the last record of this direction. A close_notify leaves the other
    /// direction open (RFC 8446 §6.1).
    ///
    /// # Errors
    ///
    /// [`SealError::Ended`] after another alert.
    pub fn seal_alert(
        &mut self,
        key: &mut RecordKey,
        alert: TlsAlert,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        match self.write_status {
            WriteStatus::Open | WriteStatus::OwesKeyUpdate => {}
            WriteStatus::Ended => return Err(SealError::Ended),
        }
        self.push_record(key, ALERT, &alert.message(), out)?;
        self.write_status = WriteStatus::Ended;
        Ok(())
    }

    /// Appends one record.
    fn push_record(
        &mut self,
        key: &mut RecordKey,
        content_type: u8,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        key.refresh(self.suite, &self.write);
        let start = out.len();
        let header = RecordHeader::protected(content.len());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.push(content_type);
        let inner = &mut out[start + RECORD_HEADER_BYTES..];
        match key.seal(self.write.sequence, header, inner) {
            Ok(tag) => out.extend_from_slice(&tag),
            Err(AeadError) => {
                out.truncate(start);
                return Err(SealError::Refused);
            }
        }
        self.write.sequence += 1;
        Ok(())
    }
}
