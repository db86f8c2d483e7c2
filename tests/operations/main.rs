//! Tests of what an operator uses: flags, `--check`, the service manager's protocol, the scripts,
//! and the documents, which must agree with the code.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod check;
mod contract;
mod documents;
mod environment;
mod flags;
mod load_scripts;
mod manuals;
mod notify;
mod readme_tests;
mod reference;
mod values;
