//! Who meets whom: the pure queue, and the thread around it.

pub mod matcher;
pub mod queue;
