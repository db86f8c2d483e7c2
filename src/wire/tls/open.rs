//! Opens the records of one read in place (RFC 8446 §5.2). Pure.

use super::alert::{TlsAlert, USER_CANCELED};
use super::error::RecordError;
use super::header::{ALERT, APPLICATION_DATA, HANDSHAKE, RECORD_HEADER_BYTES, RecordHeader};
use super::key::{AeadError, RecordKey};
use super::state::{ReadStatus, TlsState};
use super::suite::LAST_SEQUENCE;
use crate::limits::{TLS_EMPTY_RECORDS, TLS_PLAINTEXT_BYTES};
use std::ops::Range;

/// What [`TlsState::open`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedRecords {
    /// Where the plaintext of all application data is in the buffer, contiguous.
    pub plaintext: Range<usize>,
    /// Where the beginning of a record is that has not arrived completely. It has to be in front of the bytes
    /// of the next read. At most 16,644 bytes; empty if nothing more is to be read.
    pub partial: Range<usize>,
    /// Records that were decrypted.
    pub records: u32,
    /// Whether more may follow. What precedes the end in `plaintext` is authentic and complete.
    pub end: OpenEnd,
}

/// Whether the peer may send more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenEnd {
    /// Yes.
    Open,
    /// It has sent a close_notify (RFC 8446 §6.1). The other direction stays open.
    CloseNotify,
    /// It has sent this alert, which is an error (RFC 8446 §6.2). Nothing may be sent any more.
    PeerAlert(u8),
    /// This is wrong; the alert that says so is to be sent, and the connection to be closed.
    Error(RecordError),
    /// It had ended before. The bytes were ignored (RFC 8446 §6.1).
    Ended,
}

/// What one record contained.
enum RecordContent {
    /// Application data, in this part of the buffer.
    Data(Range<usize>),
    /// Nothing to pass on.
    Nothing,
    /// An alert that ends the direction.
    Alert(OpenEnd),
}

impl TlsState {
    /// Decrypts all complete records at the start of `buf` in place, and moves their application data together.
    /// `buf` has to begin with a record. Bytes of `buf` outside of the two ranges of the result are undefined
    /// afterwards.
    ///
    /// The result does not depend on the lengths of the reads in which the bytes arrived, apart from the places
    /// in the buffer.
    pub fn open(&mut self, key: &mut RecordKey, buf: &mut [u8]) -> OpenedRecords {
        let mut opened =
            OpenedRecords { plaintext: 0..0, partial: 0..0, records: 0, end: OpenEnd::Open };
        match self.read_status {
            ReadStatus::Open => {}
            ReadStatus::Ended => {
                opened.end = OpenEnd::Ended;
                return opened;
            }
        }
        let mut at = 0;
        while let Some(header) = RecordHeader::parse(&buf[at..]) {
            let checked = header.check_protected();
            let record_end = at + header.record_bytes();
            if checked.is_ok() && record_end > buf.len() {
                break;
            }
            // The first plaintext stays where it is, each of the others moves to the end of the ones before.
            let body = at + RECORD_HEADER_BYTES;
            let to = if opened.plaintext.is_empty() { body } else { opened.plaintext.end };
            let content = checked.and_then(|()| self.open_record(key, buf, at..record_end, to));
            opened.records += u32::from(checked.is_ok());
            match content {
                Ok(RecordContent::Data(range)) if opened.plaintext.is_empty() => {
                    opened.plaintext = range;
                }
                Ok(RecordContent::Data(range)) => opened.plaintext.end = range.end,
                Ok(RecordContent::Nothing) => {}
                Ok(RecordContent::Alert(end)) => return self.end_reading(opened, end),
                Err(error) => return self.end_reading(opened, OpenEnd::Error(error)),
            }
            at = record_end;
        }
        opened.partial = at..buf.len();
        opened
    }

    fn end_reading(&mut self, mut opened: OpenedRecords, end: OpenEnd) -> OpenedRecords {
        self.read_status = ReadStatus::Ended;
        opened.end = end;
        opened
    }

    /// Decrypts the complete record `record` to `to`, and handles its content.
    fn open_record(
        &mut self,
        key: &mut RecordKey,
        buf: &mut [u8],
        record: Range<usize>,
        to: usize,
    ) -> Result<RecordContent, RecordError> {
        // guard: sequence numbers of a peer do not wrap [false]
        if self.read.sequence > LAST_SEQUENCE {
            return Err(RecordError::SequenceEnd);
        }
        key.refresh(self.suite, &self.read);
        let mut header = [0; RECORD_HEADER_BYTES];
        header.copy_from_slice(&buf[record.start..][..RECORD_HEADER_BYTES]);
        let body = record.start + RECORD_HEADER_BYTES;
        let area = &mut buf[to..record.end];
        let length = key.open(self.read.sequence, header, area, body - to);
        let length = length.map_err(|AeadError| RecordError::NotAuthentic)?;
        self.read.sequence += 1;
        // guard: the length of a decrypted TLS record is limited [false]
        if length > TLS_PLAINTEXT_BYTES + 1 {
            return Err(RecordError::TooLong);
        }
        // The content type is the last byte that is not padding (RFC 8446 §5.4).
        let inner = &area[..length];
        let last = inner.iter().rposition(|byte| *byte != 0).ok_or(RecordError::NoContentType)?;
        self.receive(inner[last], &inner[..last], to)
    }

    /// Handles the content of a record, which is at `to` in the buffer.
    fn receive(
        &mut self,
        content_type: u8,
        content: &[u8],
        to: usize,
    ) -> Result<RecordContent, RecordError> {
        // guard: no record interrupts a handshake message [false]
        if content_type != HANDSHAKE && !self.fragment.is_empty() {
            return Err(RecordError::Interleaved);
        }
        match (content_type, content.is_empty()) {
            (APPLICATION_DATA, false) => {
                self.empty_records = 0;
                self.key_updates = 0;
                Ok(RecordContent::Data(to..to + content.len()))
            }
            (APPLICATION_DATA, true) => self.count_empty_record(),
            // guard: an alert or handshake record has content [false]
            (ALERT | HANDSHAKE, true) => Err(RecordError::EmptyFragment),
            (ALERT, false) => self.receive_alert(content),
            // Fragments are limited by the number of KeyUpdates, each of at most five.
            (HANDSHAKE, false) => self.receive_handshake(content).map(|()| RecordContent::Nothing),
            (_, _) => Err(RecordError::InnerType),
        }
    }

    fn count_empty_record(&mut self) -> Result<RecordContent, RecordError> {
        // guard: the number of TLS records without application data is limited [false]
        if self.empty_records >= TLS_EMPTY_RECORDS {
            return Err(RecordError::TooManyEmpty);
        }
        self.empty_records += 1;
        Ok(RecordContent::Nothing)
    }

    /// The level of an alert has no meaning (RFC 8446 §6).
    fn receive_alert(&mut self, content: &[u8]) -> Result<RecordContent, RecordError> {
        const CLOSE_NOTIFY: u8 = TlsAlert::CloseNotify.code();
        match *content {
            [_, CLOSE_NOTIFY] => Ok(RecordContent::Alert(OpenEnd::CloseNotify)),
            // A close_notify should follow (RFC 8446 §6.1).
            [_, USER_CANCELED] => self.count_empty_record(),
            [_, description] => Ok(RecordContent::Alert(OpenEnd::PeerAlert(description))),
            _ => Err(RecordError::AlertLength),
        }
    }
}
