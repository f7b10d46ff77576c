//! `wasmill completions`.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::exit::Exit;

/// Writes what a shell needs to complete the command line.
pub(crate) fn execute(shell: Shell) -> io::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "wasmill", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Ok)
}
