//! Matchmaking: which sessions share a room.
//!
//! Data flow: a shard sends a [`MatcherCommand`](crate::commands::MatcherCommand) with the ticket
//! of a session that waits; the [`matcher`] thread hands it to its [`MatcherCore`], which enters
//! the ticket in the [`queue`] and sends replies and pairings back to the shards.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`queue`] | pure: the tickets that wait, and which two of them meet |
//! | [`matcher_core`] | pure: commands in, replies and pairings out; chooses the shard of each room |
//! | [`matcher`] | the thread: its mailbox, its poll, the clock |

pub mod matcher;
pub mod matcher_core;
pub mod queue;

pub use matcher_core::MatcherCore;
