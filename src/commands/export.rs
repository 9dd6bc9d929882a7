//! `identity export`: contacts, identifiers, merges and evidence as files. See [`crate::export`].

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Args;

use crate::export::{self, FileFormat, Output};
use crate::settings::{InvalidSetting, Settings};
use crate::store::Database;
use crate::store::export::ExportedTable;

/// The arguments of `identity export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The format. Without it, the ending of --output decides: .csv is csv, all else is ndjson
    #[arg(long, value_enum)]
    format: Option<FileFormat>,

    /// One table alone. CSV without it makes a folder with a file for each table
    #[arg(long, value_enum, value_name = "TABLE")]
    only: Option<ExportedTable>,

    /// The file to write; for csv without --only the folder; - is stdout. Only its owner may read it
    #[arg(long, value_name = "PATH", default_value = "-")]
    output: PathBuf,

    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// Runs the command.
///
/// # Errors
/// One line for the operator.
pub async fn export(settings: &Settings, args: ExportArgs) -> anyhow::Result<()> {
    if settings.database.is_in_memory() {
        Err(InvalidSetting::new("DATABASE_URL", "must not be in memory: that has no contacts"))?;
    }
    let format = args.format();
    let tables = args.only.map_or(ExportedTable::ALL.to_vec(), |only| vec![only]);
    let mut output = args.output(format, &tables)?;
    let database = Database::wait_and_connect_existing(&settings.database).await?;
    ensure!(database.is_migrated().await?, "the database lacks migrations: run `identity migrate up`");
    database.check_tables().await?;
    let exported = export::export(&database, &tables, format, &mut output).await;
    database.close_after_reading().await;
    match exported {
        Ok(counts) => {
            let rows = counts.iter().map(|(table, rows)| format!("{rows} {}", table.name())).collect::<Vec<_>>();
            tracing::info!(rows = rows.join(", "), "exported");
            Ok(())
        }
        Err(error) if output.is_stdout() && error.is_closed_by_reader() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl ExportArgs {
    fn format(&self) -> FileFormat {
        self.format.unwrap_or(if self.is_named_csv() { FileFormat::Csv } else { FileFormat::Ndjson })
    }

    fn is_named_csv(&self) -> bool {
        self.output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"))
    }

    fn output(&self, format: FileFormat, tables: &[ExportedTable]) -> Result<Output, InvalidSetting> {
        let invalid = |reason: String| InvalidSetting::new("--output", reason);
        let is_stdout = self.output == Path::new("-");
        let needs_folder = format == FileFormat::Csv && self.only.is_none();
        if needs_folder && (is_stdout || self.is_named_csv()) {
            let reason = "must be a folder, because a CSV file has one table: name a folder, or one table by --only";
            return Err(invalid(reason.to_owned()));
        }
        let output = match (is_stdout, needs_folder) {
            (true, _) => Ok(Output::stdout()),
            (false, true) => Output::folder(&self.output, tables, self.force),
            (false, false) => Output::file(&self.output, self.force),
        };
        output.map_err(invalid)
    }
}
