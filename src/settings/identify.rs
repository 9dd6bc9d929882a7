use std::str::FromStr;

use super::value;
use crate::domain::Region;

/// What identifiers mean and how answers spell them.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Identifying")]
pub struct Identify {
    /// Region whose dialling rules complete phone numbers without a country code, such as DE; without
    /// one, numbers are kept as given
    #[arg(long, env, value_name = "REGION", value_parser = value::from_str::<Region>())]
    pub phone_region: Option<Region>,

    /// How JSON answers spell the primary's id: primaryContactId, primaryContatctId (as one older
    /// client family has it) or both
    #[arg(long, env, value_name = "NAME", default_value = "primaryContactId")]
    #[arg(value_parser = value::from_str::<Spelling>())]
    pub primary_id_field: Spelling,
}

/// How JSON answers spell the id of the primary contact. One older client family has a typing error in it.
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
