//! The bounded outgoing bytes of one connection: what the kernel did not take at once. Pure.
//!
//! It knows where frames end, so that a slow consumer can still be told why it is closed: the
//! frame it has a part of is completed, the rest is dropped, and the Close frame follows.

use crate::wire::websocket::frame::{Side, parse_header};

/// What kind of bytes are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressContent {
    /// Whole server frames.
    Frames,
    /// Bytes that cannot be cut anywhere: an HTTP response, also with frames glued to it.
    Opaque,
}

/// The bytes would exceed the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressFull;

/// Unsent bytes, oldest first.
#[derive(Debug, Default)]
pub struct Egress {
    buf: Vec<u8>,
    /// Bytes at the front of `buf` that have been sent.
    sent: usize,
    /// Unsent bytes up to the first place where the stream may be cut.
    uncuttable: usize,
    /// Unsent bytes up to the end of the announcement, zero once it is out.
    announcement: usize,
}

impl Egress {
    /// Appends `bytes`, of which the kernel has taken the first `taken` already, unless more
    /// than `limit_bytes` would then be unsent. Nothing may be unsent if `taken` is not zero.
    pub fn push(
        &mut self,
        bytes: &[u8],
        taken: usize,
        framing: EgressContent,
        limit_bytes: usize,
    ) -> Result<(), EgressFull> {
        if self.unsent_len() + bytes.len() - taken > limit_bytes {
            return Err(EgressFull);
        }
        if framing == EgressContent::Opaque {
            self.uncuttable = self.unsent_len() + bytes.len();
        }
        self.buf.reserve_exact(bytes.len().max(self.buf.len() / 4));
        self.buf.extend_from_slice(bytes);
        self.mark_sent(taken);
        Ok(())
    }

    /// Everything pushed so far ends with the frame that announces a room; see
    /// [`Egress::is_match_found_unsent`].
    pub fn mark_match_found(&mut self) {
        self.announcement = self.unsent_len();
    }

    /// Whether the announcement has not been sent whole.
    pub fn is_match_found_unsent(&self) -> bool {
        self.announcement > 0
    }

    /// What is to be sent next.
    pub fn unsent(&self) -> &[u8] {
        &self.buf[self.sent..]
    }

    /// How many bytes are to be sent.
    pub fn unsent_len(&self) -> usize {
        self.buf.len() - self.sent
    }

    /// Whether everything has been sent.
    pub fn is_empty(&self) -> bool {
        self.unsent_len() == 0
    }

    /// Bytes of memory that this value keeps.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.buf.capacity()
    }

    /// The kernel took `taken` bytes of [`Egress::unsent`].
    pub fn mark_sent(&mut self, taken: usize) {
        debug_assert!(taken <= self.unsent_len(), "cannot send more than there is");
        while self.uncuttable < taken {
            let frame_at = self.sent + self.uncuttable;
            self.uncuttable += frame_len(&self.buf[frame_at..]);
        }
        self.uncuttable -= taken;
        self.announcement = self.announcement.saturating_sub(taken);
        self.sent += taken;
        if self.sent == self.buf.len() {
            self.buf.clear();
            self.sent = 0;
        } else if self.sent > self.buf.len() / 2 {
            self.buf.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Drops every frame of which no byte has been sent. Returns the bytes dropped.
    pub fn drop_unstarted_frames(&mut self) -> usize {
        let dropped = self.unsent_len() - self.uncuttable;
        self.buf.truncate(self.sent + self.uncuttable);
        self.announcement = self.announcement.min(self.uncuttable);
        dropped
    }
}

/// Length of the server frame that `bytes` begin with.
fn frame_len(bytes: &[u8]) -> usize {
    match parse_header(bytes, Side::Server) {
        Ok(Some(header)) => header.header_len + header.payload_len as usize,
        // Not a frame of ours: then there is no place to cut but the end.
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
    fn the_bound_holds_and_a_refused_push_changes_nothing() {
        let mut egress = Egress::default();
        egress.push(&[1; 60], 10, EgressContent::Opaque, 100).unwrap();
        assert_eq!(egress.push(&[2; 51], 0, EgressContent::Opaque, 100), Err(EgressFull));
        assert_eq!(egress.unsent(), [1; 50]);
        egress.push(&[2; 50], 0, EgressContent::Opaque, 100).unwrap();
        assert_eq!(egress.unsent_len(), 100);
    }

    #[test]
    fn an_announcement_is_pending_to_its_last_byte() {
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
    fn an_upgrade_response_is_never_cut() {
        let mut egress = Egress::default();
        let response = [b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(), frame(5)].concat();
        egress.push(&response, 3, EgressContent::Opaque, 1000).unwrap();
        egress.push(&frame(9), 0, EgressContent::Frames, 1000).unwrap();
        assert_eq!(egress.drop_unstarted_frames(), 11);
        assert_eq!(egress.unsent(), &response[3..]);
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_and_a_cut_falls_between_frames(
            sizes in prop::collection::vec(0usize..300, 1..12),
            takes in prop::collection::vec(0usize..400, 0..12),
        ) {
            let mut egress = Egress::default();
            let frames: Vec<Vec<u8>> = sizes.iter().map(|size| frame(*size)).collect();
            let all = frames.concat();
            let mut sent = 0;
            let mut pushed = 0;
            let mut takes = takes.into_iter();
            for frame in &frames {
                egress.push(frame, 0, EgressContent::Frames, usize::MAX).unwrap();
                pushed += frame.len();
                let take = takes.next().unwrap_or(0).min(egress.unsent_len());
                egress.mark_sent(take);
                sent += take;
                prop_assert_eq!(egress.unsent(), &all[sent..pushed]);
            }
            egress.drop_unstarted_frames();
            let end = sent + egress.unsent_len();
            let mut borders = vec![0];
            for frame in &frames {
                borders.push(borders.last().unwrap() + frame.len());
            }
            let expected = borders.into_iter().find(|border| *border >= sent).unwrap();
            prop_assert_eq!(end, expected);
            prop_assert_eq!(egress.unsent(), &all[sent..end]);
        }
    }
}
