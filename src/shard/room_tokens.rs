//! The room identifiers that were derived lately. Pure.
//!
//! A careful client names its room in every message, and to derive an identifier costs a third
//! of what a relayed message costs here altogether.

use crate::ids::{RoomNo, Token, TokenMint};
use crate::limits::{CACHED_ROOM_TOKEN_BYTES, CACHED_ROOM_TOKENS};

/// Each room has one place, which it shares with others.
#[derive(Debug, Default)]
pub(super) struct RoomTokens {
    /// Empty until the first is asked for, which then fills them all.
    places: Vec<Known>,
}

type Known = (RoomNo, Token);

const _: () = assert!(size_of::<Known>() == CACHED_ROOM_TOKEN_BYTES);

impl RoomTokens {
    /// The identifier of a room, derived by `mint` unless it is known.
    #[inline]
    pub(super) fn get(&mut self, room: RoomNo, mint: &TokenMint) -> Token {
        // Rooms of one shard are numbered one after the other.
        let at = room.0 as usize % CACHED_ROOM_TOKENS;
        if self.places.get(at).is_none_or(|(known, _)| *known != room) {
            self.derive(at, room, mint);
        }
        self.places[at].1
    }

    #[cold]
    fn derive(&mut self, at: usize, room: RoomNo, mint: &TokenMint) {
        let token = mint.room(room);
        self.places.resize(CACHED_ROOM_TOKENS, (room, token));
        self.places[at] = (room, token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_that_share_a_place_keep_their_own_identifiers() {
        let mint = TokenMint::new([5; 16]);
        let mut tokens = RoomTokens::default();
        let rooms = [1, 2, 1 + CACHED_ROOM_TOKENS as u64, 1, 2].map(RoomNo);
        for room in rooms {
            assert_eq!(tokens.get(room, &mint), mint.room(room));
            assert_eq!(tokens.get(room, &mint), mint.room(room), "the second time");
        }
    }
}
