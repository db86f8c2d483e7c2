//! What the black-box tests share.
//!
//! - [`Server`] runs the server as a process of its own.
//! - [`ProtocolClient`] is what a client with a session sends and expects. The frames of
//!   [`Client`] are made and checked by tungstenite, so that the server's framing is not judged by
//!   the server's own code. [`RawClient`] sends exactly the bytes that a test chooses.
//! - [`load`] runs the load tester as a process; [`read_report`] reads its report, which has to match
//!   its schema; [`bad_server`] is a server with one defect.
//! - [`run_alone`] and [`run_shared`] decide which tests run at the same time.
//!
//! Nothing here sleeps for a fixed time to synchronise. A helper polls until its condition holds,
//! and panics with what it saw last when [`TIMEOUT`] has passed.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(unused_imports, reason = "each test binary uses a part of it")]

pub(crate) mod bad_server;
mod client;
mod http;
pub(crate) mod load;
mod load_report;
mod protocol_client;
mod raw_client;
mod schedule;
mod server;
mod suspended_thread;
mod temporary_file;

pub(crate) use client::Client;
pub(crate) use http::{HttpResponse, get, head, request_once};
pub(crate) use load_report::{check_log_line, parse_report, read_report, report_file};
pub(crate) use protocol_client::{
    MatchFound, ProtocolClient, Received, expect_room_relays, match_pair,
};
pub(crate) use raw_client::{
    ConnectionEnd, RawClient, ServerFrame, client_frame, close_frame, ping_frame, text_frame,
    upgrade_request,
};
pub(crate) use schedule::{run_alone, run_shared, test_process};
pub(crate) use server::{Server, stat_map, stat_number};
pub(crate) use suspended_thread::SuspendedThread;
pub(crate) use temporary_file::{TemporaryFile, temporary_file};

use std::time::{Duration, Instant};

/// How long a condition may take before a test fails. Far more than it takes on a machine that is
/// busy with other tests.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether the kernel lets each shard have a descriptor table of its own.
pub(crate) fn private_tables_supported() -> bool {
    use switchboard::sys::descriptor_tables::{PrivateTableSupport, support};
    support() == PrivateTableSupport::Supported
}

/// The values of `--fd-tables` that work on this machine.
pub(crate) fn descriptor_table_modes() -> &'static [&'static str] {
    if private_tables_supported() { &["shared", "private"] } else { &["shared"] }
}

/// Polls `check` until it gives a value. Its error says what it saw instead.
pub(crate) fn wait_until<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match check() {
            Ok(value) => return value,
            Err(seen) if Instant::now() > deadline => panic!("{what}: {seen}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
