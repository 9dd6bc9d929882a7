//! What `identity adopt` and `identity import` have in common: the flags, the run, and the report.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::identifier_list::parse_identifiers;
use crate::adopt::{
    self, AdoptError, Adoption, AdoptionEnd, AdoptionOptions, AdoptionOutcome, MemorySize, ReportFormat, SourceOptions,
};
use crate::domain::adoption::AdoptionRules;
use crate::domain::{Identifier, Region};
use crate::settings::{InvalidSetting, Settings, value};
use crate::store::Database;
use crate::store::old_table::{ColumnOverride, OldTimeZone};

/// The flags of both commands.
#[derive(Clone, Debug, Args)]
pub(super) struct AdoptionFlags {
    /// A column that has another name than usual, such as email=mail; again for each column
    #[arg(long, value_name = "FIELD=COLUMN", num_args = 1.., value_parser = value::from_str::<ColumnOverride>())]
    pub(super) map: Vec<ColumnOverride>,

    /// The time zone of dates that do not say theirs, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", value_parser = value::from_str::<OldTimeZone>())]
    pub(super) time_zone: Option<OldTimeZone>,

    /// A file of identifiers that join nobody, now and later: one a line, such as `phone 0000000000`. A line
    /// `link 999999` says that links to this missing row join nobody
    #[arg(long, value_name = "FILE")]
    ignore: Option<PathBuf>,

    /// A file of identifiers that may join more identities than --max-join, in the same form
    #[arg(long, value_name = "FILE")]
    accept: Option<PathBuf>,

    /// How many identities of the old system an identifier may join without a decision
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = value::integer::<usize, 1, 4_294_967_295>())]
    max_join: usize,

    /// How much memory the rows may need: 65 bytes each, and about 100 for each row that causes a join
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = value::from_str::<MemorySize>())]
    memory: MemorySize,

    /// Write. Without it, only the report is made
    #[arg(long, conflicts_with = "undo")]
    apply: bool,

    /// Empty the tables again. It is refused once the service has written there
    #[arg(long)]
    undo: bool,

    /// Show the identifiers over --max-join: they are personal data
    #[arg(long)]
    show_values: bool,

    /// Write a CSV file of the primaries whose id changes: old,new
    #[arg(long, value_name = "FILE")]
    changed_primaries: Option<PathBuf>,
}

/// Runs one of the commands. `source` returns what is read, and its name without secrets. Returns whether nothing is
/// left to do or to decide.
///
/// # Errors
/// One line for the operator.
pub(super) async fn run_adoption(
    settings: &Settings,
    flags: AdoptionFlags,
    source: impl FnOnce(&AdoptionFlags) -> Result<(SourceOptions, String), InvalidSetting>,
    report: ReportFormat,
) -> anyhow::Result<bool> {
    if settings.database.is_in_memory() {
        Err(InvalidSetting::new("DATABASE_URL", "must not be in memory: the rows would be gone with this command"))?;
    }
    if flags.undo {
        let target = Database::wait_and_connect_existing(&settings.database).await?;
        adopt::undo(&target).await?;
        target.close().await;
        writeln!(io::stdout(), "undone: the tables are empty")?;
        return Ok(true);
    }
    let (source, name) = source(&flags)?;
    let is_file = matches!(source, SourceOptions::File(_));
    let adoption = flags.adoption(settings, source, name)?;
    if settings.database.connections == 1 {
        Err(AdoptError::OneConnection)?;
    }
    let changed = flags.changed_primaries.as_deref().map(ChangedPrimaries::create).transpose()?;
    let target = match Database::wait_and_connect_existing(&settings.database).await {
        Ok(target) => Some(target),
        Err(error) if error.is_of_missing_file() => None,
        Err(error) => return Err(error.into()),
    };
    let outcome = if flags.apply {
        let connect = async || Ok::<_, anyhow::Error>(Database::wait_and_connect(&settings.database).await?);
        adoption.apply(target.as_ref(), connect).await
    } else {
        adoption.dry_run(target.as_ref()).await.map_err(Into::into)
    };
    if let Some(target) = target.filter(|_| flags.apply) {
        target.close().await;
    }
    let outcome = outcome?;
    print(&outcome, report, is_file).context("cannot print the report")?;
    if let Some(changed) = &changed {
        let written = changed.write(&outcome.changed_primaries);
        written.context("the report is complete, but --changed-primaries cannot be written")?;
    }
    Ok(matches!(outcome.end, AdoptionEnd::DryRun | AdoptionEnd::Done))
}

impl AdoptionFlags {
    fn adoption(&self, settings: &Settings, source: SourceOptions, name: String) -> Result<Adoption, InvalidSetting> {
        let region = settings.identify.phone_region;
        let list = |flag: &str, path: &Option<PathBuf>| -> Result<Decided, InvalidSetting> {
            let Some(path) = path else { return Ok(Decided::default()) };
            let text = std::fs::read_to_string(path)
                .map_err(|error| InvalidSetting::new(flag, format!("must be a file that can be read: {error}")))?;
            Decided::parse(&text, region).map_err(|reason| InvalidSetting::new(flag, reason))
        };
        let (ignored, accepted) = (list("--ignore", &self.ignore)?, list("--accept", &self.accept)?);
        Ok(Adoption {
            source,
            options: AdoptionOptions {
                rules: AdoptionRules { region, ignored: ignored.identifiers, ignored_links: ignored.links },
                accepted: accepted.identifiers,
                accepted_links: accepted.links,
                max_join: self.max_join,
                source: name,
            },
            memory: self.memory,
            max_contacts: settings.queue.max_contacts as u64,
            show_values: self.show_values,
        })
    }
}

/// What a file of `--ignore` or `--accept` lists: identifiers, and ids of missing rows (`link 999999`).
#[derive(Default)]
struct Decided {
    identifiers: BTreeSet<Identifier>,
    links: BTreeSet<i64>,
}

impl Decided {
    fn parse(text: &str, region: Option<Region>) -> Result<Self, String> {
        let mut links = BTreeSet::new();
        let mut rest = String::new();
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(id) = line.trim().strip_prefix("link ") {
                let id = id.trim().parse::<i64>().ok().filter(|id| *id > 0);
                links.insert(id.ok_or_else(|| format!("line {number}: link must have the id of a row"))?);
            } else {
                rest.push_str(line);
            }
            rest.push('\n'); // The other lines keep their numbers.
        }
        Ok(Self { identifiers: parse_identifiers(&rest, region)?.into_iter().collect(), links })
    }
}

/// The file of `--changed-primaries`. It is written as `FILE.part`, and gets its name when it is complete: so it is
/// known early that it can be written, and a file that is there stays until then.
struct ChangedPrimaries {
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl ChangedPrimaries {
    fn create(path: &Path) -> Result<Self, InvalidSetting> {
        let invalid = |reason: String| InvalidSetting::new("--changed-primaries", reason);
        if path.is_dir() {
            return Err(invalid("must be a file, and is a folder".to_owned()));
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file =
            File::create(&part).map_err(|error| invalid(format!("must be a file that can be written: {error}")))?;
        Ok(Self { path: path.to_owned(), part, file })
    }

    fn write(&self, changed: &[(i64, i64)]) -> io::Result<()> {
        let mut file = BufWriter::new(&self.file);
        writeln!(file, "old,new")?;
        for (old, new) in changed {
            writeln!(file, "{old},{new}")?;
        }
        file.flush()?;
        std::fs::rename(&self.part, &self.path)
    }
}

impl Drop for ChangedPrimaries {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.part); // It is there only if something failed.
    }
}

/// What is said beside "nothing was written" if the target has an adoption that is not done.
const UNFINISHED: &str =
    ". The adoption is not done: `identity serve` does not start before `--apply` ends with `done`";

/// What the end of an adoption is called in JSON, and what is to be done.
fn end(outcome: &AdoptionOutcome, is_file: bool) -> (&'static str, String) {
    let written = outcome.contacts_written;
    let unfinished = if outcome.is_unfinished { UNFINISHED } else { "" };
    match outcome.end {
        AdoptionEnd::DryRun => ("dry_run", format!("dry run: nothing was written; --apply writes{unfinished}")),
        AdoptionEnd::DecisionsNeeded => (
            "decisions_needed",
            format!(
                "nothing was written: list what needs a decision in the file of --ignore or of --accept (--show-values \
                 shows identifiers){unfinished}"
            ),
        ),
        AdoptionEnd::Done if is_file => {
            ("done", format!("done: {written} contacts were written. Run `identity verify`, then `identity serve`"))
        }
        AdoptionEnd::Done => (
            "done",
            format!(
                "done: {written} contacts were written, and the old table is as it was read. Once its writers are \
                 stopped, run this once more before `identity serve`"
            ),
        ),
        AdoptionEnd::Behind => (
            "behind",
            format!(
                "not done: {written} contacts were written, and the old table changed meanwhile. Stop its writers, \
                 then run this once more"
            ),
        ),
    }
}

fn print(outcome: &AdoptionOutcome, format: ReportFormat, is_file: bool) -> io::Result<()> {
    let (name, sentence) = end(outcome, is_file);
    let mut out = io::stdout().lock();
    match format {
        ReportFormat::Text => {
            for line in &outcome.report.table {
                writeln!(out, "{line}")?;
            }
            write!(out, "{}", outcome.report.as_text())?;
            writeln!(out, "{sentence}")?;
        }
        ReportFormat::Json => {
            let object = json!({
                "end": name,
                "contacts_written": outcome.contacts_written,
                "is_unfinished": outcome.is_unfinished,
                "report": outcome.report,
            });
            writeln!(out, "{object}")?;
        }
    }
    out.flush()
}
