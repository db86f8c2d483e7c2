//! `switchboard-load`: arguments → run → exit code.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
