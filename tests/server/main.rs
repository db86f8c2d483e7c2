//! Black-box tests of the server: each starts the real program as a process of its own and
//! talks to it over TCP.
//!
//! A module is a part of the contract: `cargo test --test server protocol::relay`.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod access {
    mod admin_listen;
    mod origin;
    mod proxies;
    mod session_check;
}
mod echo;
mod fd_tables;
mod http {
    mod answers;
    mod connections;
    mod page;
}
mod limits {
    mod connections;
    mod evictions;
    mod iterations;
    mod matches;
    mod message_times;
    mod messages;
    mod rates;
    mod resets;
    mod tables;
    mod times;
}
mod logs;
mod protocol {
    mod dead_rooms;
    mod expected_wait;
    mod frames;
    mod ice;
    mod messages;
    mod random_users;
    mod recent_partners;
    mod relay;
    mod rooms;
    mod shards;
    mod silent_users;
}
mod session_log;
mod shutdown;
mod signals;
mod stalls;
mod startup;
