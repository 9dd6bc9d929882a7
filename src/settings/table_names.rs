use std::str::FromStr;
use std::sync::Arc;

/// Names of tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableNames(pub Arc<[String]>);

/// The text is not a list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the name of a table, or several with commas between them")]
pub struct InvalidTableName;

impl FromStr for TableNames {
    type Err = InvalidTableName;

    fn from_str(text: &str) -> Result<Self, InvalidTableName> {
        let name = |name: &str| {
            let name = name.trim();
            if name.is_empty() { Err(InvalidTableName) } else { Ok(name.to_owned()) }
        };
        text.split(',').map(name).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_are_between_names() {
        assert_eq!("contacts, Old Ones".parse::<TableNames>().unwrap().0[..], ["contacts", "Old Ones"]);
        for wrong in ["", ",", "contacts,", " "] {
            assert_eq!(wrong.parse::<TableNames>(), Err(InvalidTableName), "{wrong}");
        }
    }
}
