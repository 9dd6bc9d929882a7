//! `--map email=mail`: which column holds a field.

use std::str::FromStr;

use super::names::Field;

/// The column that holds a field, in place of the one that would be found: `email=mail`. `deletedAt=` means that the
/// table has no such column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnOverride {
    pub(super) field: Field,
    /// `None`: the table has none.
    pub(super) column: Option<String>,
}

impl ColumnOverride {
    /// The field.
    pub(crate) fn field(&self) -> Field {
        self.field
    }

    /// The name of the column; `None` if there is none.
    pub(crate) fn column(&self) -> Option<&str> {
        self.column.as_deref()
    }
}

/// Why a text is no override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOverride {
    /// It names no field.
    #[error(
        "must be FIELD=COLUMN, and FIELD one of id, email, phoneNumber, linkedId, linkPrecedence, createdAt, updatedAt \
         and deletedAt"
    )]
    Field,
    /// Each row needs this.
    #[error("must name the column of {0}: each row needs it")]
    Required(&'static str),
}

impl FromStr for ColumnOverride {
    type Err = InvalidOverride;

    fn from_str(text: &str) -> Result<Self, InvalidOverride> {
        let (field, column) = text.split_once('=').ok_or(InvalidOverride::Field)?;
        let field = Field::named(field.trim()).ok_or(InvalidOverride::Field)?;
        let column = Some(column.trim()).filter(|column| !column.is_empty()).map(str::to_owned);
        if column.is_none() && [Field::Id, Field::LinkedId].contains(&field) {
            return Err(InvalidOverride::Required(field.name()));
        }
        Ok(Self { field, column })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_known_in_its_spellings() {
        let parsed = |text: &str| text.parse::<ColumnOverride>();
        let column = |column: &str| Some(column.to_owned());
        assert_eq!(parsed("email=mail"), Ok(ColumnOverride { field: Field::Email, column: column("mail") }));
        let phone = ColumnOverride { field: Field::PhoneNumber, column: column("Tel Nr") };
        assert_eq!(parsed("phone_number = Tel Nr"), Ok(phone.clone()));
        assert_eq!(parsed("phone=Tel Nr"), Ok(phone));
        assert_eq!(parsed("deletedAt="), Ok(ColumnOverride { field: Field::DeletedAt, column: None }));
    }

    #[test]
    fn a_wrong_one_is_refused() {
        for wrong in ["mail", "name=mail", "=mail", ""] {
            assert_eq!(wrong.parse::<ColumnOverride>(), Err(InvalidOverride::Field), "{wrong}");
        }
        assert_eq!("linkedId=".parse::<ColumnOverride>(), Err(InvalidOverride::Required("linkedId")));
    }
}
