use std::str::FromStr;

use super::value;
use crate::domain::Region;

/// The meaning of identifiers and the spelling of answers.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Identifying")]
pub struct IdentifierSettings {
    /// Region whose dialling rules complete phone numbers without a country code, such as DE; without a
    /// region, the service keeps numbers as given
    #[arg(long, env, value_name = "REGION", value_parser = value::from_str::<Region>())]
    pub phone_region: Option<Region>,

    /// What happens to a malformed identifier beside a good one: refuse (the request fails) or ignore (the request is
    /// handled without it, and the answer says so)
    #[arg(long, env, value_name = "RULE", default_value = "refuse")]
    #[arg(value_parser = value::from_str::<InvalidIdentifiers>())]
    pub invalid_identifiers: InvalidIdentifiers,

    /// Field of JSON answers for the primary's id: primaryContactId, primaryContatctId (for one older client
    /// family) or both
    #[arg(long, env, value_name = "NAME", default_value = "primaryContactId")]
    #[arg(value_parser = value::from_str::<Spelling>())]
    pub primary_id_field: Spelling,
}

/// What happens to a malformed identifier beside a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvalidIdentifiers {
    /// The request fails, and names it.
    #[default]
    Refuse,
    /// The request is handled without it, and the answer names it.
    Ignore,
}

impl FromStr for InvalidIdentifiers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "ignore" => Ok(Self::Ignore),
            _ => Err("must be refuse or ignore"),
        }
    }
}

/// The field name of the primary's id in JSON answers. One older client family expects a name with a typing error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spelling {
    /// `primaryContactId`.
    #[default]
    Correct,
    /// `primaryContatctId`.
    Legacy,
    /// Both fields.
    Both,
}

impl FromStr for Spelling {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "primaryContactId" => Ok(Self::Correct),
            "primaryContatctId" => Ok(Self::Legacy),
            "both" => Ok(Self::Both),
            _ => Err("must be primaryContactId, primaryContatctId or both"),
        }
    }
}
