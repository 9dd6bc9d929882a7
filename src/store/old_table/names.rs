//! The names by which other systems call the table of their contacts, and its columns.

use std::fmt::{Display, Formatter};

/// Names of tables, in lower case. `Contact` and `Contacts` are those of Prisma and Sequelize, the others those of
/// TypeORM, Django, Rails, Go and SQLAlchemy.
const TABLES: [&str; 2] = ["contact", "contacts"];

/// Whether other systems give this name to the table of their contacts, in any case of letters.
pub(in crate::store) fn is_contact_table(name: &str) -> bool {
    TABLES.iter().any(|table| table.eq_ignore_ascii_case(name))
}

/// What a column can hold. `--map` calls it by the name that it has in this service's table `Contact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Field {
    Id,
    Email,
    PhoneNumber,
    LinkedId,
    LinkPrecedence,
    CreatedAt,
    UpdatedAt,
    DeletedAt,
}

impl Field {
    pub(crate) const ALL: [Self; 8] = [
        Self::Id,
        Self::Email,
        Self::PhoneNumber,
        Self::LinkedId,
        Self::LinkPrecedence,
        Self::CreatedAt,
        Self::UpdatedAt,
        Self::DeletedAt,
    ];

    pub(super) const DATES: [Self; 3] = [Self::CreatedAt, Self::UpdatedAt, Self::DeletedAt];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Email => "email",
            Self::PhoneNumber => "phoneNumber",
            Self::LinkedId => "linkedId",
            Self::LinkPrecedence => "linkPrecedence",
            Self::CreatedAt => "createdAt",
            Self::UpdatedAt => "updatedAt",
            Self::DeletedAt => "deletedAt",
        }
    }

    /// The names of its column in other systems, [folded](folded).
    fn column_names(self) -> &'static [&'static str] {
        match self {
            Self::Id => &["id", "contactid"],
            Self::Email => &["email", "mail", "emailaddress", "mailaddress", "emailid"],
            Self::PhoneNumber => {
                &["phonenumber", "phone", "phoneno", "mobile", "mobilenumber", "mobilephone", "telephone", "tel"]
            }
            // Django adds `_id` to the name of a reference, also to one that is called `linked_id`.
            Self::LinkedId => &["linkedid", "linkedidid", "linkedcontactid", "linkedto", "linkedtoid"],
            Self::LinkPrecedence => &["linkprecedence", "precedence", "linkprecedance"],
            Self::CreatedAt => &[
                "createdat",
                "created",
                "createdon",
                "createddate",
                "datecreated",
                "createtime",
                "insertedat",
                "createdts",
                "creationtime",
                "creationdate",
                "createdtime",
            ],
            Self::UpdatedAt => &[
                "updatedat",
                "updated",
                "updatedon",
                "updateddate",
                "dateupdated",
                "updatetime",
                "modifiedat",
                "updatedts",
                "updatedtime",
            ],
            Self::DeletedAt => &[
                "deletedat",
                "deletedon",
                "deleteddate",
                "datedeleted",
                "deletetime",
                "removedat",
                "deletedts",
                "deletedtime",
                "deletiontime",
                "deletiondate",
            ],
        }
    }

    /// The field that a flag names, in any of its spellings.
    pub(super) fn named(name: &str) -> Option<Self> {
        let folded = folded(name);
        Self::ALL.into_iter().find(|field| field.column_names().contains(&folded.as_str()))
    }

    /// Whether a column of this name holds it in other systems.
    pub(crate) fn is_column(self, name: &str) -> bool {
        self.column_names().contains(&folded(name).as_str())
    }
}

impl Display for Field {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Whether a column of this name could say that a row is deleted. False alarms are meant: the operator decides.
pub(crate) fn is_deletion_mark(name: &str) -> bool {
    let folded = folded(name);
    ["active", "isactive", "enabled", "isenabled", "live", "islive"].contains(&folded.as_str())
        || ["delet", "remov", "archiv", "trash", "disabl", "status", "inactiv"].iter().any(|part| folded.contains(part))
}

/// A name without the differences between `phoneNumber`, `phone_number`, `PhoneNumber` and `phone-number`.
fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_in_any_case() {
        for name in ["Contact", "contact", "Contacts", "contacts", "CONTACTS"] {
            assert!(is_contact_table(name), "{name}");
        }
        for name in ["contact_us", "ContactMerge", "customers", "_contacts", ""] {
            assert!(!is_contact_table(name), "{name}");
        }
    }

    #[test]
    fn columns_are_found_in_the_spellings_of_other_systems() {
        let spellings = [
            (Field::Id, vec!["id", "ID", "Id", "contact_id"]),
            (Field::Email, vec!["email", "Email", "mail", "email_address", "emailAddress"]),
            (Field::PhoneNumber, vec!["phoneNumber", "phone_number", "phone", "PhoneNumber", "mobile_number"]),
            (Field::LinkedId, vec!["linkedId", "linked_id", "LinkedID", "linked_id_id", "linkedId_id"]),
            (Field::LinkPrecedence, vec!["linkPrecedence", "link_precedence", "precedence"]),
            (Field::CreatedAt, vec!["createdAt", "created_at", "created", "inserted_at"]),
            (Field::UpdatedAt, vec!["updatedAt", "updated_at", "modified_at"]),
            (Field::DeletedAt, vec!["deletedAt", "deleted_at", "DeletedAt"]),
        ];
        for (field, names) in spellings {
            for name in names {
                let found: Vec<_> = Field::ALL.into_iter().filter(|field| field.is_column(name)).collect();
                assert_eq!(found, [field], "{name}");
            }
        }
        for name in ["emails", "phone_verified", "linked", "deleted", "note", ""] {
            assert!(Field::ALL.iter().all(|field| !field.is_column(name)), "{name}");
        }
    }

    #[test]
    fn no_name_stands_for_two_fields() {
        let mut names: Vec<_> = Field::ALL.iter().flat_map(|field| field.column_names()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(Field::ALL.iter().all(|field| Field::named(field.name()) == Some(*field)));
    }
}
