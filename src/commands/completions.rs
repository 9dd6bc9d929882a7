//! `identity completions`: prints the completions of a shell.

use std::io::{self, Write};

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;

/// The shell.
#[derive(Clone, Copy, Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that completes commands and flags
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// Prints the completions of a command for a shell.
///
/// # Errors
/// When stdout cannot be written.
pub fn completions(CompletionsArgs { shell }: CompletionsArgs, mut command: Command) -> anyhow::Result<()> {
    // clap_complete panics if it cannot write, so it writes into memory.
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    io::stdout().write_all(&script).context("cannot print the completions")
}
