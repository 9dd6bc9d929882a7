//! A digest of everything that an adoption has written: so it is seen if anybody else has changed anything.

use ring::digest::{Context, SHA256};

use crate::domain::IdentifierKind;
use crate::store::database::Database;
use crate::store::error::StoreError;

/// Rows of one statement.
const PAGE_SIZE: u64 = 4_000;

/// A digest of rows.
pub(super) struct TableDigest(Context);

impl TableDigest {
    pub(super) fn numbers(&mut self, numbers: &[i64]) {
        for number in numbers {
            self.0.update(&number.to_le_bytes());
        }
    }

    pub(super) fn text(&mut self, text: Option<&str>) {
        self.bytes(text.map(str::as_bytes));
    }

    pub(super) fn bytes(&mut self, bytes: Option<&[u8]>) {
        let length = bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        self.numbers(&[length]);
        self.0.update(bytes.unwrap_or_default());
    }
}

impl Database {
    /// Returns a digest of all contacts, holders, identifiers, merges and evidence, and of what was changed in them.
    ///
    /// # Errors
    /// As every read.
    pub async fn digest_of_tables(&self) -> Result<String, StoreError> {
        let mut digest = TableDigest(Context::new(&SHA256));
        let mut after = i64::MIN;
        loop {
            let rows = self.adopted_page(after, PAGE_SIZE, true).await?;
            rows.iter().for_each(|row| row.add_to(&mut digest));
            let Some(last) = rows.last() else { break };
            after = last.id();
        }
        for kind in IdentifierKind::ALL {
            digest.text(Some(kind.name()));
            let mut after: Option<Vec<u8>> = None;
            loop {
                let owned = self.owned_identifiers(kind, after.as_deref(), PAGE_SIZE).await?;
                for one in &owned {
                    digest.bytes(Some(&one.value));
                    digest.numbers(&[one.contact]);
                }
                let Some(last) = owned.into_iter().next_back() else { break };
                after = Some(last.value);
            }
        }
        let mut after = i64::MIN;
        loop {
            let merges = self.adopted_merges(after, PAGE_SIZE).await?;
            merges.iter().for_each(|merge| merge.add_to(&mut digest));
            let Some(last) = merges.last() else { break };
            after = last.id();
        }
        let mut after = i64::MIN;
        loop {
            let sets = self.adopted_sets(after, PAGE_SIZE).await?;
            sets.iter().for_each(|set| set.add_to(&mut digest));
            let Some(last) = sets.last() else { break };
            after = last.id();
        }
        let bytes = digest.0.finish();
        Ok(bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
