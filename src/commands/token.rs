//! `identity token`: makes tokens for callers.

use std::io::{self, Write};
use std::num::NonZeroU32;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};

use crate::auth::{self, AppendError, NewToken, Rate, Scopes, Token, check_name};
use crate::settings::{AccessSettings, InvalidSetting, value};

/// What to do about tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, append its hash to --tokens-file, and print the token: it is stored nowhere else
    #[command(after_long_help = NOTES)]
    New(NewTokenArgs),
}

/// The caller that the token is for.
#[derive(Clone, Debug, Args)]
pub struct NewTokenArgs {
    /// Name of the caller, for logs; the one in its certificate, if it has one. A caller that the file has already gets
    /// a further token
    #[arg(value_name = "NAME", value_parser = value::Parser::new(name))]
    pub name: String,

    /// What the caller may do: identify, read, correct, erase, watch, metrics, with commas between them. A new caller
    /// needs it [default: what its other tokens may do]
    #[arg(long, value_name = "SCOPES", value_parser = value::from_str::<Scopes>())]
    pub scope: Option<Scopes>,

    /// Maximum calls a second; a batch or a stream is one call [default: as for its other tokens; no limit for a new
    /// caller]
    #[arg(long, value_name = "COUNT", value_parser = value::integer::<u32, 1, 1_000_000>())]
    pub rate: Option<u32>,

    /// Maximum calls at once after a pause; it needs --rate [default: as for its other tokens; --rate if that is given]
    #[arg(long, value_name = "COUNT", requires = "rate", value_parser = value::integer::<u32, 1, 1_000_000>())]
    pub burst: Option<u32>,
}

/// What stands below the flags.
const NOTES: &str = "\
Example:
  identity token new checkout --scope identify --rate 500 --burst 1000 --tokens-file callers.toml

All tokens of a caller have the same scopes, rate and burst. To change these, edit the file. docs/security.md says \
what each scope permits. Every setting of `identity --help` may be given too; the others are of no use here.";

/// The settings that `token new` uses.
const SETTINGS: [&str; 2] = ["config", "tokens_file"];

/// Gives `token new` a help text that has its own flags and the settings that it uses. Otherwise the text would have
/// all settings, as those of other commands have.
pub(super) fn with_own_help(command: clap::Command) -> clap::Command {
    let settings = command.get_arguments().filter(|arg| SETTINGS.contains(&arg.get_id().as_str()));
    let settings: Vec<clap::Arg> = settings.map(|arg| arg.clone().hide_env_values(true)).collect();
    command.mut_subcommand("token", |token| {
        token.mut_subcommand("new", |new| {
            let help = new.clone().bin_name("identity token new").args(settings).render_long_help();
            new.override_help(help)
        })
    })
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
    let new = NewToken { name: args.name.clone(), token: token.hash(), scopes: args.scope, rate };
    auth::append(file, new).map_err(|error| match error {
        AppendError::Scopes(_) => {
            InvalidSetting::new("--scope", "must be given: the file has no caller of this name").into()
        }
        AppendError::Content(..) | AppendError::Io(..) => anyhow::Error::from(error),
    })?;
    writeln!(io::stdout(), "{}", token.expose()).context("the file has the token's hash, but it cannot be printed")
}
