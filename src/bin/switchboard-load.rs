//! `switchboard-load`: arguments → run → exit code.

fn main() -> std::process::ExitCode {
    switchboard::load::cli::main()
}
