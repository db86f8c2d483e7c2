//! Bytes ⇄ values. Pure: the server, the load tester and the simulator all speak through it.
//!
#![doc = include_str!("PROTOCOL.md")]

pub mod egress;

pub mod http;
pub mod message;
pub mod proxy;
pub mod websocket;
