//! Bytes ⇄ values: everything that is read from or written to a connection. Pure; the server, the
//! load tester and the simulator use it. It imports only [`crate::ids`], [`crate::limits`] and
//! [`crate::timestamp`].
//!
//! | module | what it converts |
//! | --- | --- |
//! | [`http`] | requests and responses, the opening handshake of WebSocket |
//! | [`websocket`] | frames, and the messages assembled from them |
//! | [`message`] | the JSON messages in text messages |
//! | [`proxy`] | the client's address as a proxy reports it |
//! | [`tls`] | the record layer of TLS 1.3, and handshakes |
//! | [`egress`] | the backlog of bytes that the kernel has not accepted |
//!
#![doc = include_str!("PROTOCOL.md")]

pub mod egress;
pub mod http;
pub mod message;
pub mod proxy;
pub mod tls;
pub mod websocket;
