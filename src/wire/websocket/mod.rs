//! WebSocket (RFC 6455) after the handshake. Pure: the server, the load tester and the simulator
//! use it.
//!
//! ```text
//! received bytes ─ frame: header, unmasking ─▶ assembly: messages, control frames, Close
//! bytes to send  ◀─ frame: header before the payload
//! ```

pub mod assembly;
pub mod frame;
