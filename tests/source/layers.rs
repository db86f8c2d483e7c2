//! Imports run one way, and pure code names nothing that does I/O.

use super::tree::{Import, SourceFile, sources};
use std::collections::BTreeSet;

/// The modules of the crate from the lowest layer to the highest. A module may import from those
/// above it in this list, never from those below.
pub(super) const LAYERS: &[&str] = &[
    "limits",
    "timestamp",
    "ids",
    "wire",
    "ice",
    "commands",
    "sys",
    "page",
    "telemetry",
    "access",
    "session",
    "config",
    "logging",
    "mailbox",
    "matchmaking",
    "shard",
    "preflight",
    "health_check",
    "server",
    "load",
];

/// The server's modules that the load tester may use: it is a client, and shares the wire format
/// and the system calls, nothing else.
const LOAD_IMPORTS: &[&str] = &["limits", "timestamp", "ids", "wire", "sys"];

/// Pure: files and folders whose code computes values from values. Every other file whose header says
/// that it is pure is held to the same rules.
const PURE: &[&str] = &[
    "src/wire",
    "src/ids.rs",
    "src/limits.rs",
    "src/timestamp.rs",
    "src/commands.rs",
    "src/session",
    "src/ice.rs",
    "src/ice",
    "src/access/policy.rs",
    "src/access/match_rate.rs",
    "src/matchmaking/matcher_core.rs",
    "src/matchmaking/matcher_core",
    "src/matchmaking/queue",
    "src/page",
    "src/preflight",
    "src/shard",
];

/// Files in pure folders that do the I/O for them.
const IMPURE: &[&str] = &[
    "src/page/build.rs",
    "src/shard/acceptor.rs",
    "src/shard/event_loop.rs",
    "src/shard/socket_host.rs",
    "src/shard/socket.rs",
];

/// What pure code does not name: crates and modules that read or change the world, the system's
/// values, the command line and the log.
const IO: &[&str] = &[
    "mio",
    "socket2",
    "libc",
    "crossbeam_channel",
    "core_affinity",
    "signal_hook",
    "signal_hook_mio",
    "getrandom",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::mpsc",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os",
    "crate::mailbox",
    "crate::sys",
    "crate::logging",
    "crate::server",
    "clap",
    "tracing",
];

/// Exceptions to [`IO`]: hints to the processor change no value, the types hold values that were read
/// elsewhere, and the throttle of log lines gets the time as an argument.
const ALLOWED_IN_PURE: &[&str] = &[
    "crate::sys::prefetch",
    "crate::sys::machine::MachineReadings",
    "crate::sys::descriptor_tables::PrivateTableSupport",
    "crate::logging::throttle",
    "tracing::level_filters::LevelFilter",
];

/// The crate's top-level module that an import names.
fn layer_of(import: &Import) -> Option<&str> {
    match import.segments.as_slice() {
        [root, module, ..] if root == "crate" || root == "switchboard" => Some(module),
        _ => None,
    }
}

/// Imports of `file` that run against the layers.
fn violations(file: &SourceFile) -> Vec<String> {
    let Some(own) = file.module.first().map(String::as_str) else { return Vec::new() };
    if ["main", "bin"].contains(&own) {
        return Vec::new();
    }
    let rank = |module: &str| LAYERS.iter().position(|layer| *layer == module);
    let Some(own_rank) = rank(own) else {
        return vec![format!("{}: the module {own} is in no layer", file.path)];
    };
    let is_wrong = |import: &Import| {
        let module = layer_of(import)?;
        let wrong = match own {
            "load" => module != own && !LOAD_IMPORTS.contains(&module),
            _ => rank(module)? > own_rank,
        };
        let line = import.line;
        wrong.then(|| format!("{}:{line}: {own} must not import {module}", file.path))
    };
    file.imports().iter().filter(|import| !import.in_test).filter_map(is_wrong).collect()
}

fn names(import: &Import, forbidden: &str) -> bool {
    let forbidden: Vec<&str> = forbidden.split("::").collect();
    import.segments.len() >= forbidden.len()
        && import.segments.iter().zip(&forbidden).all(|(segment, part)| segment == part)
}

/// What a pure file names that it must not.
fn impurities(file: &SourceFile) -> Vec<String> {
    let is_impure = |import: &Import| {
        let is_forbidden = IO.iter().any(|name| names(import, name));
        let is_allowed = ALLOWED_IN_PURE.iter().any(|name| names(import, name));
        let path = import.segments.join("::");
        (is_forbidden && !is_allowed)
            .then(|| format!("{}:{}: pure code names {path}", file.path, import.line))
    };
    file.imports().iter().filter(|import| !import.in_test).filter_map(is_impure).collect()
}

/// Whether a file has to be pure: by its place, or because its header says so.
fn is_pure(file: &SourceFile) -> bool {
    (lies_in(file, PURE) && !lies_in(file, IMPURE)) || claims_purity(file)
}

fn lies_in(file: &SourceFile, places: &[&str]) -> bool {
    places.iter().any(|place| file.path == *place || file.path.starts_with(&format!("{place}/")))
}

/// Whether the module's header says that it is pure.
fn claims_purity(file: &SourceFile) -> bool {
    let header = file.header();
    header.contains("Pure") || header.contains("is pure")
}

fn parsed(path: &str, text: &str) -> SourceFile {
    let module = path.trim_start_matches("src/").trim_end_matches(".rs");
    SourceFile {
        path: path.to_owned(),
        module: module.split('/').map(str::to_owned).collect(),
        text: text.to_owned(),
        syntax: syn::parse_file(text).unwrap(),
    }
}

#[test]
fn imports_run_from_higher_layers_to_lower_ones() {
    let found: Vec<String> = sources().iter().flat_map(violations).collect();
    assert!(found.is_empty(), "imports against the layers:\n{}", found.join("\n"));
}

#[test]
fn pure_code_names_no_io() {
    let sources = sources();
    let pure = sources.iter().filter(|file| is_pure(file));
    let found: Vec<String> = pure.flat_map(impurities).collect();
    assert!(found.is_empty(), "pure code that does I/O:\n{}", found.join("\n"));
}

#[test]
fn every_module_of_the_crate_has_a_layer() {
    let is_top =
        |file: &&SourceFile| !["main", "bin"].contains(&file.module.first().map_or("", |m| m));
    let sources = sources();
    let modules: BTreeSet<&str> = sources
        .iter()
        .filter(is_top)
        .filter_map(|file| file.module.first().map(String::as_str))
        .collect();
    let layers: BTreeSet<&str> = LAYERS.iter().copied().collect();
    assert_eq!(modules, layers);
}

#[test]
fn an_import_against_the_layers_is_found_in_every_form() {
    for text in [
        "use crate::shard::core::Core;",
        "use crate::{limits, shard};",
        "use super::shard::core;",
        "fn f() { let _ = crate::shard::core::NUMBER; }",
        "fn f() { println!(\"{}\", crate::shard::core::NUMBER); }",
        "mod inner { use super::super::shard; }",
        "impl From<crate::shard::core::Core> for u8 {}",
    ] {
        assert_eq!(violations(&parsed("src/session.rs", text)).len(), 1, "{text}");
    }
    let fine = "use crate::ids::Slot; #[cfg(test)] mod tests { use crate::shard::core::Core; }";
    assert!(violations(&parsed("src/session.rs", fine)).is_empty());
    assert_eq!(violations(&parsed("src/load/user.rs", "use crate::shard::core::Core;")).len(), 1);
}

#[test]
fn io_in_pure_code_is_found_in_every_form() {
    for text in [
        "use std::time::{Duration, Instant};",
        "use std::{env, fmt};",
        "fn f() { let _ = std::thread::current(); }",
        "fn f() { tracing::info!(\"x\"); }",
        "use mio::net::TcpStream;",
        "use crate::sys::clock;",
    ] {
        assert_eq!(impurities(&parsed("src/wire/x.rs", text)).len(), 1, "{text}");
    }
    let fine = "use crate::sys::prefetch::prefetch; use std::time::Duration; use std::net::IpAddr;";
    assert!(impurities(&parsed("src/wire/x.rs", fine)).is_empty());
    let claims = "//! Parses a flag. Pure.\nuse clap::Arg; use crate::sys::affinity::AllowedCpus;";
    let claiming = parsed("src/config/x.rs", claims);
    assert!(is_pure(&claiming));
    assert_eq!(impurities(&claiming).len(), 2);
}
