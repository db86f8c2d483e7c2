//! Newtypes for everything that is numbered. Pure.
//!
//! Numbers are internal. A client sees a [`Token`], which [`TokenMint`] derives from the number
//! with a key that only this process has. So no token has to be stored beside its number, and a
//! client can neither guess nor forge one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::fmt;
use std::hash::Hasher;

/// The number of a shard, from 0, in the order of the CPUs that the shards are pinned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The index of this shard in a slice with one element for each shard.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An index into a shard's slab. It is reused after its connection has ended; see
/// [`ConnectionKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u32);

impl Slot {
    /// The index for a slab lookup.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The serial number of a connection on its shard. It wraps after 2³² connections, so a slot and a
/// serial together stay unambiguous for as long as a command or an event that names them can be
/// in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Serial(pub u32);

/// Identifies one connection of a shard, and no later connection in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// Its slot in the slab.
    pub slot: Slot,
    /// Its serial number, which distinguishes it from other connections in the same slot.
    pub serial: Serial,
}

impl ConnectionKey {
    /// Both numbers in one word, for use as a poll token.
    pub const fn to_word(self) -> u64 {
        ((self.serial.0 as u64) << 32) | self.slot.0 as u64
    }

    /// The inverse of [`ConnectionKey::to_word`].
    pub const fn from_word(word: u64) -> Self {
        ConnectionKey { slot: Slot(word as u32), serial: Serial((word >> 32) as u32) }
    }
}

/// Where commands for a session are sent: its shard, and its connection there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionAddress {
    /// The shard that owns the session.
    pub shard: ShardId,
    /// Its connection on that shard.
    pub key: ConnectionKey,
}

/// The number of a session, unique within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionNo(pub u64);

/// The number of a room, unique within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoomNo(pub u64);

/// Tells the tickets of one session apart: one for each `find_match`, counting up and wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketNo(pub u32);

/// A queue, identified by the keyed 128-bit hash of its name (see [`TokenMint::queue`]). So queue
/// names, which clients choose, cost no storage, and a client cannot construct a collision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueKey(pub u128);

/// Length of a token: 16 bytes in base64url without padding.
pub const TOKEN_LEN: usize = 22;

/// An identifier in the form that clients see.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; TOKEN_LEN]);

impl Token {
    /// The token as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("because base64url is ASCII")
    }

    /// The token as bytes.
    pub fn as_bytes(&self) -> &[u8; TOKEN_LEN] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Derives tokens from numbers with SipHash-2-4-128 (Aumasson and Bernstein, 2012), a
/// pseudo-random function under a 128-bit key.
#[derive(Clone)]
pub struct TokenMint {
    hasher: SipHasher24,
}

/// Domain separation: the same number gives unrelated tokens for different kinds of identifier.
#[derive(Clone, Copy)]
enum TokenDomain {
    Session = 1,
    Room = 2,
    Queue = 3,
}

impl TokenMint {
    /// A mint whose tokens cannot be predicted without `key`.
    pub fn new(key: [u8; 16]) -> Self {
        TokenMint { hasher: SipHasher24::new_with_key(&key) }
    }

    fn hash(&self, domain: TokenDomain, bytes: &[u8]) -> [u8; 16] {
        let mut hasher = self.hasher;
        hasher.write_u8(domain as u8);
        hasher.write(bytes);
        hasher.finish128().as_bytes()
    }

    fn token(&self, domain: TokenDomain, number: u64) -> Token {
        let mut text = [0; TOKEN_LEN];
        URL_SAFE_NO_PAD
            .encode_slice(self.hash(domain, &number.to_le_bytes()), &mut text)
            .expect("because 16 bytes encode to 22 characters");
        Token(text)
    }

    /// The `session_id` (and `peer_id`) of a session.
    pub fn session(&self, session: SessionNo) -> Token {
        self.token(TokenDomain::Session, session.0)
    }

    /// The `room_id` of a room.
    pub fn room(&self, room: RoomNo) -> Token {
        self.token(TokenDomain::Room, room.0)
    }

    /// The key of the queue called `name`.
    pub fn queue(&self, name: &str) -> QueueKey {
        QueueKey(u128::from_le_bytes(self.hash(TokenDomain::Queue, name.as_bytes())))
    }
}

impl fmt::Debug for TokenMint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenMint(key withheld)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_key_survives_the_round_trip_through_a_poll_token() {
        let key = ConnectionKey { slot: Slot(7), serial: Serial(u32::MAX) };
        assert_eq!(ConnectionKey::from_word(key.to_word()), key);
    }

    #[test]
    fn tokens_depend_on_number_kind_and_key() {
        let mint = TokenMint::new([1; 16]);
        let other = TokenMint::new([2; 16]);
        let token = mint.session(SessionNo(1));
        assert_eq!(token, mint.session(SessionNo(1)));
        assert_ne!(token, mint.session(SessionNo(2)));
        assert_ne!(token, mint.room(RoomNo(1)));
        assert_ne!(token, other.session(SessionNo(1)));
        assert_ne!(mint.queue("a"), mint.queue("b"));
        assert!(token.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    }
}
