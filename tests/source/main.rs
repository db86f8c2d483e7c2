//! Checks of the source tree itself: the direction of imports, the purity of the parts that must
//! do no I/O, the names of types, the wording of comments, the size of files,
//! and that tests read reports through one helper.
#![allow(clippy::unwrap_used)]

mod architecture;
mod layers;
mod names;
mod reports;
mod size;
mod tracked;
mod tree;
mod wording;
