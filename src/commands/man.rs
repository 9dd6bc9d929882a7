//! `identity man`: prints the manual, or writes the pages of all commands.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{fs, str};

use anyhow::Context;
use clap::{Args, Command};
use clap_mangen::Man;

/// Where the pages go.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Folder for the pages of all commands; without it, the page of `identity` is printed
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// The settings would fill the synopsis otherwise.
const USAGE: &str = "identity [SETTINGS] [COMMAND]";

/// The settings would stand on the page of each command otherwise.
const SETTINGS: &str = "The settings of identity(1) are flags of this command too.";

/// What clap_mangen writes, and what takes its place: a section that manuals have, and an empty line without the two
/// line breaks of which mandoc warns.
const CORRECTIONS: [(&str, &str); 2] = [("\n.SH EXTRA\n", "\n.SH NOTES\n"), ("\n.br\n\n.br\n", "\n.sp\n")];

/// Prints the page of a command, or writes it and those of its subcommands into a folder.
///
/// # Errors
/// When stdout or the folder cannot be written.
pub fn man(ManArgs { out }: ManArgs, command: Command) -> anyhow::Result<()> {
    let mut command = command.override_usage(USAGE).disable_help_subcommand(true).mut_subcommands(with_note);
    command.build(); // It names the subcommands.
    match out {
        None => io::stdout().write_all(Page::new(&command)?.text.as_bytes()).context("cannot print the manual"),
        Some(folder) => {
            let written = fs::create_dir_all(&folder).and_then(|()| write_all(&command, &folder));
            written.with_context(|| format!("cannot write the manual to {}", folder.display()))
        }
    }
}

fn with_note(command: Command) -> Command {
    let own = command.get_after_long_help().map(|notes| format!("{notes}\n\n{SETTINGS}"));
    let command = match own {
        Some(notes) => command.after_long_help(notes),
        None => command.after_help(SETTINGS),
    };
    command.mut_subcommands(with_note)
}

fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    let page = Page::new(command)?;
    fs::write(folder.join(page.file_name), page.text)?;
    command.get_subcommands().try_for_each(|subcommand| write_all(subcommand, folder))
}

struct Page {
    file_name: String,
    text: String,
}

impl Page {
    fn new(command: &Command) -> io::Result<Self> {
        // A blank date, because the version says more. An empty one would not be written.
        let source = concat!("identity ", env!("CARGO_PKG_VERSION"));
        let man = Man::new(command.clone()).date(" ").source(source).manual("Manual of identity");
        let mut written = Vec::new();
        man.render(&mut written)?;
        let mut text = str::from_utf8(&written).map_err(io::Error::other)?.to_owned();
        for (wrong, right) in CORRECTIONS {
            text = text.replace(wrong, right);
        }
        Ok(Self { file_name: man.get_filename(), text })
    }
}
