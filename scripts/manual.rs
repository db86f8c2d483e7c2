//! Writes the manual pages and the shell completions of both programs, from the declarations of their
//! flags. `scripts/package.sh` runs it as `cargo run --example manual -- FOLDER`. It is no part of the
//! programs, so they carry neither the texts nor the crates that write them.

use clap::Command;
use clap_complete::{Shell, generate_to};
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("the folder to write to"));
    std::fs::create_dir_all(&folder)?;
    write(switchboard::config::Arguments::described(), &folder)?;
    write(switchboard::load::cli::described(), &folder)
}

/// Writes NAME.1 and the completions of a program.
fn write(mut command: Command, folder: &Path) -> io::Result<()> {
    let name = command.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, &name, folder)?;
    }
    let page = std::fs::File::create(folder.join(format!("{name}.1")))?;
    clap_mangen::Man::new(command).render(&mut io::BufWriter::new(page))
}
