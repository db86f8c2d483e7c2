//! Newtypes for everything that is counted off or looked up by number. Pure.
//!
//! Numbers are for the inside; what a client sees is a [`Token`] that [`TokenMint`] derives
//! from the number with a key that only this process knows. So nothing has to be stored
//! beside the number, and a client can neither guess nor make one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::fmt;
use std::hash::Hasher;

/// Which shard, counted from 0 in the order of the CPUs they are pinned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The place of this shard in a slice that has one element for each shard.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An index into a shard's slab. Reused as soon as its connection is gone; see [`ConnectionKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u32);

impl Slot {
    /// The index for a slab look-up.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A connection's running number on its shard. It wraps after 2³² connections, so together
/// with the slot it names a connection for as long as anything about it can be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Serial(pub u32);

/// Names one connection of one shard, and never a later one in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// Where it is.
    pub slot: Slot,
    /// Which of the connections that have been there.
    pub serial: Serial,
}

impl ConnectionKey {
    /// Both numbers in one word, for a poll token.
    pub const fn to_word(self) -> u64 {
        ((self.serial.0 as u64) << 32) | self.slot.0 as u64
    }

    /// The inverse of [`ConnectionKey::to_word`].
    pub const fn from_word(word: u64) -> Self {
        ConnectionKey { slot: Slot(word as u32), serial: Serial((word >> 32) as u32) }
    }
}

/// Where a session can be written to: its shard and its connection there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionAddress {
    /// The shard that owns the session at present.
    pub shard: ShardId,
    /// Its connection on that shard.
    pub key: ConnectionKey,
}

/// A session's number, unique in the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionNo(pub u64);

/// A room's number, unique in the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoomNo(pub u64);

/// Which `find_match` of one session a ticket stands for. Counts up, wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketNo(pub u32);

/// A queue, known by the keyed 128-bit hash of its name (see [`TokenMint::queue`]), so that
/// a queue name chosen by a user costs no storage and nobody can aim at a collision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueKey(pub u128);

/// Length of an identifier as clients see it: 16 bytes in base64url without padding.
pub const TOKEN_LEN: usize = 22;

/// An identifier as clients see it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; TOKEN_LEN]);

impl Token {
    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("because base64url is ASCII")
    }

    /// The identifier as bytes.
    pub fn as_bytes(&self) -> &[u8; TOKEN_LEN] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Derives what clients see from numbers, with SipHash-2-4-128 (Aumasson and Bernstein, 2012),
/// a pseudo-random function of the number under a 128-bit key.
#[derive(Clone)]
pub struct TokenMint {
    hasher: SipHasher24,
}

/// Keeps the identifier kinds apart: the same number gives unrelated tokens in each.
#[derive(Clone, Copy)]
enum Domain {
    Session = 1,
    Room = 2,
    Queue = 3,
}

impl TokenMint {
    /// A mint whose tokens cannot be told without `key`.
    pub fn new(key: [u8; 16]) -> Self {
        TokenMint { hasher: SipHasher24::new_with_key(&key) }
    }

    fn hash(&self, domain: Domain, bytes: &[u8]) -> [u8; 16] {
        let mut hasher = self.hasher;
        hasher.write_u8(domain as u8);
        hasher.write(bytes);
        hasher.finish128().as_bytes()
    }

    fn token(&self, domain: Domain, number: u64) -> Token {
        let mut text = [0; TOKEN_LEN];
        URL_SAFE_NO_PAD
            .encode_slice(self.hash(domain, &number.to_le_bytes()), &mut text)
            .expect("because 16 bytes make 22 characters");
        Token(text)
    }

    /// The `session_id` (and `peer_id`) of a session.
    pub fn session(&self, session: SessionNo) -> Token {
        self.token(Domain::Session, session.0)
    }

    /// The `room_id` of a room.
    pub fn room(&self, room: RoomNo) -> Token {
        self.token(Domain::Room, room.0)
    }

    /// The key of the queue called `name`.
    pub fn queue(&self, name: &str) -> QueueKey {
        QueueKey(u128::from_le_bytes(self.hash(Domain::Queue, name.as_bytes())))
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
    fn keys_survive_the_poll_token() {
        let key = ConnectionKey { slot: Slot(7), serial: Serial(u32::MAX) };
        assert_eq!(ConnectionKey::from_word(key.to_word()), key);
    }

    #[test]
    fn tokens_differ_by_number_kind_and_key() {
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
