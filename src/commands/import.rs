//! `identity import`: takes over the contacts of a file. See [`crate::adopt`].

use std::path::PathBuf;

use clap::Args;

use super::adoption_run::{AdoptionFlags, run_adoption};
use crate::adopt::{ContactFileOptions, ReportFormat, SourceOptions};
use crate::export::FileFormat;
use crate::settings::{InvalidSetting, Settings};

/// The arguments of `identity import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The file: of `identity export`, or of a spreadsheet, with a line of names. It needs a column for e-mail
    /// addresses or for phone numbers
    #[arg(value_name = "FILE", required_unless_present = "undo")]
    file: Option<PathBuf>,

    /// The format of the file. Without it, the ending decides: .csv, .tsv, .ndjson or .jsonl
    #[arg(long, value_enum)]
    format: Option<FileFormat>,

    #[command(flatten)]
    flags: AdoptionFlags,

    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    report: ReportFormat,
}

/// Runs the command. Returns whether nothing is left to do or to decide.
///
/// # Errors
/// One line for the operator.
pub async fn import(settings: &Settings, args: ImportArgs) -> anyhow::Result<bool> {
    let ImportArgs { file, format, flags, report } = args;
    let source = |flags: &AdoptionFlags| {
        let path = file.ok_or_else(|| InvalidSetting::new("<FILE>", "must be given"))?;
        let (map, time_zone) = (flags.map.clone(), flags.time_zone.clone());
        Ok((SourceOptions::File(ContactFileOptions { path, format, map, time_zone }), "a file".to_owned()))
    };
    run_adoption(settings, flags, source, report).await
}
