//! RFC 6455: frames, and messages assembled from them. Pure.

pub mod assembly;
pub mod frame;
