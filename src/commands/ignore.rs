//! `identity ignore add|remove|list`: identifiers that join nobody, such as a till's phone number.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, SecondsFormat};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::identifier_list::{identifier, parse_identifiers};
use super::unfinished::check_adoption;
use crate::domain::{ContactId, Identifier, IdentifierKind, Region, Timestamp};
use crate::settings::{InvalidSetting, Settings};
use crate::store::{
    Database, EvidenceRepair, Ignored, IgnoredIdentifier, NoLongerIgnored, Store, StoreError, Transaction,
};

/// What to do about ignored identifiers.
#[derive(Clone, Debug, Subcommand)]
pub enum IgnoreCommand {
    /// Ignore identifiers: they join nobody from now on, and requests are handled as if they did not have them. Upgrade
    /// all replicas first
    Add(IdentifierArgs),
    /// Let ignored identifiers count again: each goes to the oldest contact that has it, and joins nobody by itself
    Remove(IdentifierArgs),
    /// List the ignored identifiers
    List(ListArgs),
}

/// One identifier, or a file of them.
#[derive(Clone, Debug, Args)]
pub struct IdentifierArgs {
    /// Kind of the identifier: email or phone
    #[arg(value_name = "KIND", requires = "value", required_unless_present = "file")]
    pub kind: Option<String>,

    /// The identifier, in any spelling of the value
    #[arg(value_name = "VALUE")]
    pub value: Option<String>,

    /// File of identifiers, one a line: phone 0000000000, or email x@example.com; # begins a comment line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "value"])]
    pub file: Option<PathBuf>,
}

/// How identifiers are listed.
#[derive(Clone, Copy, Debug, Args)]
pub struct ListArgs {
    /// Print the values: they may be personal data
    #[arg(long)]
    pub show_values: bool,

    /// How the list is printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: ListFormat,
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// One line for each identifier
    Text,
    /// One JSON object
    Json,
}

/// Maximum time of all attempts for one identifier: another transaction may keep a row locked.
const MAX_TIME: Duration = Duration::from_secs(10);

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Runs the command.
///
/// # Errors
/// One line for the operator.
pub async fn ignore(settings: &Settings, command: IgnoreCommand) -> anyhow::Result<()> {
    let region = settings.identify.phone_region;
    let identifiers = match &command {
        IgnoreCommand::Add(args) | IgnoreCommand::Remove(args) => args.identifiers(region)?,
        IgnoreCommand::List(_) => Vec::new(),
    };
    let database = Database::wait_and_connect_existing(&settings.database).await?;
    ensure!(database.is_migrated().await?, "the database lacks migrations: run `identity migrate up`");
    database.check_tables().await?;
    if !matches!(command, IgnoreCommand::List(_)) {
        check_adoption(&database).await?;
    }
    match command {
        IgnoreCommand::Add(_) => add(&database, &identifiers).await?,
        IgnoreCommand::Remove(_) => remove(&database, &identifiers, region).await?,
        // Reading leaves the files of SQLite as they are: a service may use them.
        IgnoreCommand::List(args) => return list(&database, args).await,
    }
    database.close().await;
    Ok(())
}

impl IdentifierArgs {
    fn identifiers(&self, region: Option<Region>) -> anyhow::Result<Vec<Identifier>> {
        let Some(file) = &self.file else {
            let (kind, value) = (self.kind.as_deref().unwrap_or_default(), self.value.as_deref().unwrap_or_default());
            let one =
                identifier(kind, value, region).map_err(|reason| InvalidSetting::new("the identifier", reason))?;
            return Ok(vec![one]);
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| InvalidSetting::new("--file", format!("cannot be read: {error}")))?;
        let identifiers = parse_identifiers(&text, region).map_err(|reason| InvalidSetting::new("--file", reason))?;
        if identifiers.is_empty() {
            return Err(InvalidSetting::new("--file", "has no identifier").into());
        }
        Ok(identifiers)
    }
}

async fn add(database: &Database, identifiers: &[Identifier]) -> anyhow::Result<()> {
    let (mut new, mut taken, mut before) = (0_u64, 0_u64, 0_u64);
    let mut failure = None;
    for (number, identifier) in (1_usize..).zip(identifiers) {
        let mut attempts = Attempts::default();
        let done = loop {
            let attempt = async {
                let mut transaction = database.begin().await?;
                let ignored = transaction.ignore(identifier).await?;
                transaction.commit().await?;
                Ok(ignored)
            };
            if let Some(done) = attempts.run(attempt).await {
                break done;
            }
        };
        match done {
            Ok(Ignored::Free) => new += 1,
            Ok(Ignored::TakenFrom(_)) => (new, taken) = (new + 1, taken + 1),
            Ok(Ignored::Already) => before += 1,
            Err(error) => {
                failure = Some((number, error));
                break;
            }
        }
    }
    let summary = format!("ignored from now on: {new} (of customers: {taken}); ignored before: {before}");
    report(&summary, identifiers, failure)
}

async fn remove(database: &Database, identifiers: &[Identifier], region: Option<Region>) -> anyhow::Result<()> {
    let (mut given, mut free, mut were_not) = (0_u64, 0_u64, 0_u64);
    // One look through all contacts is for all lines; after a lost race there is another for the line.
    let mut showing = database.showing(identifiers).await?;
    let mut failure = None;
    for (number, identifier) in (1_usize..).zip(identifiers) {
        let mut attempts = Attempts::default();
        let done = loop {
            let found = showing.get(identifier).cloned().unwrap_or_default();
            let attempt = async {
                let mut transaction = database.begin().await?;
                let done = transaction.stop_ignoring(identifier, &found).await?;
                transaction.commit().await?;
                Ok(done)
            };
            if let Some(done) = attempts.run(attempt).await {
                break done;
            }
            match database.showing(std::slice::from_ref(identifier)).await {
                Ok(found) => showing.extend(found),
                Err(error) if error.is_unavailable() => {} // The next attempt says so.
                Err(error) => break Err(error),
            }
        };
        match done {
            Ok(NoLongerIgnored::Free) => free += 1,
            Ok(NoLongerIgnored::GivenTo(_)) => given += 1,
            Ok(NoLongerIgnored::WasNot) => were_not += 1,
            Err(error) => {
                failure = Some((number, error));
                break;
            }
        }
    }
    let count = given + free;
    let summary = format!("count again: {count} (given to customers: {given}); were not ignored: {were_not}");
    report(&summary, identifiers, failure)?;
    let left = "the identifiers count again, but old sets of them may be left: run the command again";
    settle_sets(database, identifiers, region).await.context(left)
}

/// Deletes the sets of these identifiers that belong to nobody any more. They stayed while those were ignored.
async fn settle_sets(database: &Database, identifiers: &[Identifier], region: Option<Region>) -> anyhow::Result<()> {
    for set in database.sets_with(identifiers).await? {
        let mut attempts = Attempts::default();
        loop {
            let attempt = async {
                let mut transaction = database.begin().await?;
                match transaction.repair_evidence(set, region).await? {
                    EvidenceRepair::Kept => Ok(()),
                    EvidenceRepair::Deleted | EvidenceRepair::Replaced => transaction.commit().await,
                }
            };
            if let Some(done) = attempts.run(attempt).await {
                done?;
                break;
            }
        }
    }
    Ok(())
}

/// Prints what was done, also if it ends with this failure of the identifier with this number.
fn report(summary: &str, identifiers: &[Identifier], failure: Option<(usize, StoreError)>) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{summary}").context("the identifiers are changed, but the summary cannot be printed")?;
    let Some((number, error)) = failure else { return Ok(()) };
    let all = identifiers.len();
    bail!("identifier {number} of {all}, sorted by kind and value: {error}; run the command again: what is done stays")
}

/// The attempts of one change. Each finds what an earlier one may have committed.
#[derive(Default)]
struct Attempts {
    /// The time of all attempts and pauses.
    taken: Duration,
}

impl Attempts {
    /// Runs another attempt. Returns `None` if there should be one more.
    async fn run<T>(&mut self, attempt: impl Future<Output = Result<T, StoreError>>) -> Option<Result<T, StoreError>> {
        let begun = Instant::now();
        let done = attempt.await;
        if let Err(error) = &done
            && is_temporary(error)
            && self.taken + begun.elapsed() < MAX_TIME
        {
            tokio::time::sleep(MAX_PAUSE.mul_f64(fastrand::f64())).await;
            self.taken += begun.elapsed();
            return None;
        }
        Some(done)
    }
}

/// Whether the same again may succeed: another transaction was faster, or the database is failing over.
fn is_temporary(error: &StoreError) -> bool {
    matches!(error, StoreError::LostRace(_) | StoreError::DuplicateKey(_)) || error.is_unavailable()
}

/// An ignored identifier, as it is listed.
#[derive(Serialize)]
struct Listed {
    kind: &'static str,
    value: String,
    since: String,
    /// The row of `Contact` that holds it.
    holder: i64,
    in_force: bool,
}

impl Listed {
    fn new(found: &IgnoredIdentifier, shows_values: bool) -> Self {
        let IgnoredIdentifier { identifier, holder: ContactId(holder), since, is_in_force } = found;
        let value = if shows_values { identifier.value().to_owned() } else { masked(identifier) };
        Self {
            kind: identifier.kind().name(),
            value,
            since: moment_text(*since),
            holder: *holder,
            in_force: *is_in_force,
        }
    }
}

/// A moment as RFC 3339 has it.
fn moment_text(moment: Timestamp) -> String {
    let moment = DateTime::from_timestamp_micros(moment.0).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// What of a value may stand on a screen: enough to know it again.
fn masked(identifier: &Identifier) -> String {
    let value: Vec<char> = identifier.value().chars().collect();
    match identifier.kind() {
        _ if value.len() < 6 => "***".to_owned(),
        IdentifierKind::Email => format!("{}***", value[0]),
        IdentifierKind::Phone => format!("***{}{}", value[value.len() - 2], value[value.len() - 1]),
    }
}

async fn list(database: &Database, ListArgs { show_values, format }: ListArgs) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut after, mut count) = (i64::MIN, 0_u64);
    if format == ListFormat::Json {
        write!(out, "{{\"ignored\":[")?;
    }
    while let Some((page, end)) = database.ignored_identifiers(after).await? {
        for listed in page.iter().map(|found| Listed::new(found, show_values)) {
            match format {
                ListFormat::Text => {
                    let remark = if listed.in_force { "" } else { "  not in force: run `identity verify --repair`" };
                    writeln!(out, "{:5}  {}  since {}{remark}", listed.kind, listed.value, listed.since)?;
                }
                ListFormat::Json => {
                    if count > 0 {
                        out.write_all(b",")?;
                    }
                    serde_json::to_writer(&mut out, &listed)?;
                }
            }
            count += 1;
        }
        after = end;
    }
    if format == ListFormat::Json {
        writeln!(out, "],\"count\":{count}}}")?;
    }
    out.flush().context("cannot print the list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_temporary_is_attempted_again_and_the_rest_is_not() {
        let cause = || crate::store::Cause::new("as planned");
        let lost = [StoreError::LostRace(cause()), StoreError::DuplicateKey(cause())];
        for error in lost.into_iter().chain([StoreError::Unavailable(cause())]) {
            let again = Attempts::default().run(async { Err::<(), _>(error) }).await;
            assert!(again.is_none());
        }
        let rejected = Attempts::default().run(async { Err::<(), _>(StoreError::Rejected(cause())) }).await;
        assert!(matches!(rejected, Some(Err(StoreError::Rejected(_)))));
        let mut late = Attempts { taken: MAX_TIME };
        assert!(matches!(late.run(async { Err::<(), _>(StoreError::LostRace(cause())) }).await, Some(Err(_))));
    }

    #[test]
    fn a_masked_value_does_not_say_whose_it_is() {
        let masked = |kind, value| masked(&Identifier::from_stored(kind, value));
        assert_eq!(masked(IdentifierKind::Phone, "+4930123456"), "***56");
        assert_eq!(masked(IdentifierKind::Phone, "12345"), "***");
        assert_eq!(masked(IdentifierKind::Email, "doc@hillvalley.edu"), "d***");
        assert_eq!(masked(IdentifierKind::Email, "é@a.b"), "***");
    }
}
