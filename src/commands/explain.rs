//! `identity explain`: what holds one identity together. See [`crate::inspect`].

use clap::Args;

use super::inspect_args::{InspectArgs, find_inspected, print};
use super::who::parse_member;
use crate::inspect::{self, Member};
use crate::settings::{InvalidSetting, Settings};

/// The arguments of `identity explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// Whose identity, and how it is printed.
    #[command(flatten)]
    pub inspect: InspectArgs,

    /// The shortest path between two of its identifiers, and the weakest cut between them; i3 is the identifier that
    /// `identity show` calls so
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "without")]
    pub between: Vec<String>,

    /// What would be without this evidence (evidence/c3 or c3) or without this identifier; may be repeated
    #[arg(long, value_name = "NAME")]
    pub without: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// One line for the operator.
pub async fn explain(settings: &Settings, args: ExplainArgs) -> anyhow::Result<()> {
    let ExplainArgs { inspect: args, between, without } = args;
    let members = |flag: &'static str, texts: &[String]| {
        let parse = |(place, text): (usize, &String)| {
            parse_member(text, settings.identify.phone_region).map_err(|reason| invalid(flag, place, &reason))
        };
        texts.iter().enumerate().map(parse).collect::<Result<Vec<Member>, _>>()
    };
    let between: Option<[Member; 2]> = members("--between", &between)?.try_into().ok();
    let without = members("--without", &without)?;
    let flag = if between.is_some() { "--between" } else { "--without" };

    let identity = find_inspected(settings, &args).await?;
    let asked = identity.asked(between, without);
    let asked = asked.map_err(|(place, problem)| invalid(flag, place, &problem.to_string()))?;
    print(|out| inspect::explain(out, &identity, &asked, args.format))
}

/// What is wrong with the value at this place. The value is not quoted: it can be personal data.
fn invalid(flag: &str, place: usize, reason: &str) -> InvalidSetting {
    InvalidSetting::new(flag, format!("value {}: {reason}", place + 1))
}
