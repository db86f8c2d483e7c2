//! A cache of the identifiers that clients see of rooms. Pure.
//!
//! A careful client names its room in every message. Deriving an identifier costs a third of what
//! relaying a message costs in all.

use crate::ids::{RoomNo, Token, TokenMint};
use crate::limits::{CACHED_ROOM_TOKEN_BYTES, CACHED_ROOM_TOKENS};

/// A direct-mapped cache: each room maps to one entry, and several rooms can map to the same one.
#[derive(Debug, Default)]
pub(super) struct RoomTokens {
    /// Empty until the first identifier is requested; then all entries are allocated.
    places: Vec<CachedToken>,
}

type CachedToken = (RoomNo, Token);

const _: () = assert!(size_of::<CachedToken>() == CACHED_ROOM_TOKEN_BYTES);

impl RoomTokens {
    /// The identifier of a room, derived with `mint` unless it is in the cache.
    #[inline]
    pub(super) fn get(&mut self, room: RoomNo, mint: &TokenMint) -> Token {
        // The rooms of a shard are numbered consecutively.
        let place = room.0 as usize % CACHED_ROOM_TOKENS;
        if self.places.get(place).is_none_or(|(cached, _)| *cached != room) {
            self.derive(place, room, mint);
        }
        self.places[place].1
    }

    #[cold]
    fn derive(&mut self, place: usize, room: RoomNo, mint: &TokenMint) {
        let token = mint.room(room);
        self.places.resize(CACHED_ROOM_TOKENS, (room, token));
        self.places[place] = (room, token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_rooms_that_share_a_place_apart() {
        let mint = TokenMint::new([5; 16]);
        let mut tokens = RoomTokens::default();
        let rooms = [1, 2, 1 + CACHED_ROOM_TOKENS as u64, 1, 2].map(RoomNo);
        for room in rooms {
            assert_eq!(tokens.get(room, &mint), mint.room(room));
            assert_eq!(tokens.get(room, &mint), mint.room(room), "the second time");
        }
    }
}
