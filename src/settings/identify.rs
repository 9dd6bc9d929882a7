use std::str::FromStr;

use super::value;
use crate::domain::Region;

/// What identifiers mean and how answers spell them.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Identifying")]
pub struct Identify {
    /// Region whose dialling rules complete phone numbers without a country code, such as DE; without
    /// one, numbers are kept as given
    #[arg(long, env, value_name = "REGION", value_parser = value::from_str::<Region>())]
    pub phone_region: Option<Region>,

    /// How JSON answers spell the primary's id: primaryContactId, primaryContatctId (as one older
    /// client family has it) or both
    #[arg(long, env, value_name = "NAME", default_value = "primaryContactId")]
    #[arg(value_parser = value::from_str::<PrimaryIdField>())]
    pub primary_id_field: PrimaryIdField,
}

/// The names under which a JSON answer has the primary's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrimaryIdField {
    /// `primaryContactId`.
    PrimaryContactId,
    /// `primaryContatctId`, the spelling of one older client family.
    PrimaryContatctId,
    /// Both, with the same value.
    Both,
}

impl FromStr for PrimaryIdField {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "primaryContactId" => Ok(Self::PrimaryContactId),
            "primaryContatctId" => Ok(Self::PrimaryContatctId),
            "both" => Ok(Self::Both),
            _ => Err("must be primaryContactId, primaryContatctId or both"),
        }
    }
}
