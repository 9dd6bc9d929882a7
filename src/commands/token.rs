//! `identity token`: makes tokens for callers.

use std::io::{self, Write};
use std::num::NonZeroU32;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};

use crate::auth::{self, CallerEntry, Rate, Scopes, Token, check_name};
use crate::settings::{AccessSettings, InvalidSetting, value};

/// What to do about tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, append its hash to --tokens-file, and print the token: it is stored nowhere else
    New(NewTokenArgs),
}

/// The caller that the token is for.
#[derive(Clone, Debug, Args)]
pub struct NewTokenArgs {
    /// Name of the caller, for logs; the one in its certificate, if it has one. A name that the file has already gets
    /// a second token: give the same --scope, --rate and --burst again
    #[arg(value_name = "NAME", value_parser = value::Parser::new(name))]
    pub name: String,

    /// What the caller may do: identify, read, correct, erase, watch, metrics, with commas between them
    #[arg(long, value_name = "SCOPES", value_parser = value::from_str::<Scopes>())]
    pub scope: Scopes,

    /// Maximum calls a second; a batch or a stream is one call. Without it, there is no limit
    #[arg(long, value_name = "COUNT", value_parser = value::integer::<u32, 1, 1_000_000>())]
    pub rate: Option<u32>,

    /// Maximum calls at once after a pause; without it, as many as in a second
    #[arg(long, value_name = "COUNT", requires = "rate", value_parser = value::integer::<u32, 1, 1_000_000>())]
    pub burst: Option<u32>,
}

fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned()).map_err(|_| "must be 1 to 255 letters, digits or . _ - : /".to_owned())
}

/// Makes a token, appends its hash to the file of callers, and prints it.
///
/// # Errors
/// One line for the operator.
pub fn token(TokenCommand::New(args): &TokenCommand, settings: &AccessSettings) -> anyhow::Result<()> {
    let missing = || InvalidSetting::new("--tokens-file", "must be given: the file that gets the hash of the token");
    let file = settings.tokens_file.as_deref().ok_or_else(missing)?;
    let per_second = args.rate.and_then(NonZeroU32::new);
    let burst = args.burst.and_then(NonZeroU32::new);
    let rate = per_second.map(|per_second| Rate { per_second, burst: burst.unwrap_or(per_second) });
    let token = Token::generate().ok_or_else(|| anyhow!("the system has no random numbers"))?;
    let entry = CallerEntry { name: args.name.clone(), token: Some(token.hash()), scopes: args.scope, rate };
    auth::append(file, &entry)?;
    writeln!(io::stdout(), "{}", token.expose()).context("the file has the token's hash, but it cannot be printed")
}
