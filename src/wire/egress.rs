//! The bounded backlog of a connection: bytes that the kernel did not accept at once. Pure; owned
//! by the connection.
//!
//! It knows where frames end, so that even a slow consumer can be sent a Close frame: the frame
//! that is partly sent is completed, the frames after it are dropped, and the Close frame follows.

use crate::wire::websocket::frame::{Side, parse_header};

/// The kind of bytes that are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressContent {
    /// Whole server frames.
    Frames,
    /// Bytes that must be sent as a whole: an HTTP response, possibly with frames after it.
    Opaque,
}

/// The bytes would exceed the bound of the backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressFull;

/// Unsent bytes, oldest first.
#[derive(Debug, Default)]
pub struct Egress {
    buf: Vec<u8>,
    /// Bytes at the front of `buf` that have been sent.
    sent: usize,
    /// Unsent bytes up to the first position where the stream may be truncated.
    indivisible: usize,
    /// Unsent bytes up to the end of the `match_found` frame; zero when it has been sent.
    match_found: usize,
}

impl Egress {
    /// Appends `bytes`. The kernel has accepted the first `sent` of them already, which is possible
    /// only if the backlog is empty.
    ///
    /// # Errors
    /// If more than `limit_bytes` would be unsent; then nothing changes.
    pub fn push(
        &mut self,
        bytes: &[u8],
        sent: usize,
        content: EgressContent,
        limit_bytes: usize,
    ) -> Result<(), EgressFull> {
        if self.unsent_len() + bytes.len() - sent > limit_bytes {
            return Err(EgressFull);
        }
        if content == EgressContent::Opaque {
            self.indivisible = self.unsent_len() + bytes.len();
        }
        self.buf.reserve_exact(bytes.len().max(self.buf.len() / 4));
        self.buf.extend_from_slice(bytes);
        self.mark_sent(sent);
        Ok(())
    }

    /// Records that the last frame pushed is a `match_found`; see
    /// [`Egress::is_match_found_unsent`].
    pub fn mark_match_found(&mut self) {
        self.match_found = self.unsent_len();
    }

    /// Whether a `match_found` has not been sent completely. Until then, messages of the client
    /// cannot be meant for its new partner.
    pub fn is_match_found_unsent(&self) -> bool {
        self.match_found > 0
    }

    /// The bytes to be sent next.
    pub fn unsent(&self) -> &[u8] {
        &self.buf[self.sent..]
    }

    /// The number of unsent bytes.
    pub fn unsent_len(&self) -> usize {
        self.buf.len() - self.sent
    }

    /// Whether all bytes have been sent.
    pub fn is_empty(&self) -> bool {
        self.unsent_len() == 0
    }

    /// Size of this value in memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.buf.capacity()
    }

    /// Records that the kernel accepted the first `count` bytes of [`Egress::unsent`].
    pub fn mark_sent(&mut self, count: usize) {
        debug_assert!(count <= self.unsent_len(), "more bytes sent than were unsent");
        while self.indivisible < count {
            let frame_at = self.sent + self.indivisible;
            self.indivisible += frame_len(&self.buf[frame_at..]);
        }
        self.indivisible -= count;
        self.match_found = self.match_found.saturating_sub(count);
        self.sent += count;
        if self.sent == self.buf.len() {
            self.buf.clear();
            self.sent = 0;
        } else if self.sent > self.buf.len() / 2 {
            self.buf.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Drops all frames whose first byte has not been sent. Returns the number of bytes dropped.
    pub fn drop_unstarted_frames(&mut self) -> usize {
        let dropped = self.unsent_len() - self.indivisible;
        self.buf.truncate(self.sent + self.indivisible);
        self.match_found = self.match_found.min(self.indivisible);
        dropped
    }
}

/// Length of the server frame at the start of `bytes`.
fn frame_len(bytes: &[u8]) -> usize {
    match parse_header(bytes, Side::Server) {
        Ok(Some(header)) => header.header_len + header.payload_len as usize,
        // Not a frame that this server wrote: it may be truncated only at its end.
        Ok(None) | Err(_) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::websocket::frame::{TEXT, push_server_frame};
    use proptest::prelude::*;

    fn frame(len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        push_server_frame(&mut out, TEXT, &vec![b'x'; len]);
        out
    }

    #[test]
    fn a_push_beyond_the_bound_is_refused_and_changes_nothing() {
        let mut egress = Egress::default();
        egress.push(&[1; 60], 10, EgressContent::Opaque, 100).unwrap();
        assert_eq!(egress.push(&[2; 51], 0, EgressContent::Opaque, 100), Err(EgressFull));
        assert_eq!(egress.unsent(), [1; 50]);
        egress.push(&[2; 50], 0, EgressContent::Opaque, 100).unwrap();
        assert_eq!(egress.unsent_len(), 100);
    }

    #[test]
    fn match_found_is_unsent_until_its_last_byte_is_sent() {
        let mut egress = Egress::default();
        egress.push(&frame(10), 0, EgressContent::Frames, 1000).unwrap();
        egress.push(&frame(20), 0, EgressContent::Frames, 1000).unwrap();
        egress.mark_match_found();
        egress.push(&frame(30), 0, EgressContent::Frames, 1000).unwrap();
        egress.mark_sent(12 + 21);
        assert!(egress.is_match_found_unsent());
        egress.mark_sent(1);
        assert!(!egress.is_match_found_unsent());
    }

    #[test]
    fn an_upgrade_response_is_never_truncated() {
        let mut egress = Egress::default();
        let response = [b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(), frame(5)].concat();
        egress.push(&response, 3, EgressContent::Opaque, 1000).unwrap();
        egress.push(&frame(9), 0, EgressContent::Frames, 1000).unwrap();
        assert_eq!(egress.drop_unstarted_frames(), 11);
        assert_eq!(egress.unsent(), &response[3..]);
    }

    proptest! {
        #[test]
        fn bytes_are_sent_in_order_and_truncated_between_frames(
            sizes in prop::collection::vec(0usize..300, 1..12),
            sends in prop::collection::vec(0usize..400, 0..12),
        ) {
            let mut egress = Egress::default();
            let frames: Vec<Vec<u8>> = sizes.iter().map(|size| frame(*size)).collect();
            let all = frames.concat();
            let mut sent = 0;
            let mut pushed = 0;
            let mut sends = sends.into_iter();
            for frame in &frames {
                egress.push(frame, 0, EgressContent::Frames, usize::MAX).unwrap();
                pushed += frame.len();
                let now = sends.next().unwrap_or(0).min(egress.unsent_len());
                egress.mark_sent(now);
                sent += now;
                prop_assert_eq!(egress.unsent(), &all[sent..pushed]);
            }
            egress.drop_unstarted_frames();
            let end = sent + egress.unsent_len();
            let mut boundaries = vec![0];
            for frame in &frames {
                boundaries.push(boundaries.last().unwrap() + frame.len());
            }
            let expected = boundaries.into_iter().find(|boundary| *boundary >= sent).unwrap();
            prop_assert_eq!(end, expected);
            prop_assert_eq!(egress.unsent(), &all[sent..end]);
        }
    }
}
