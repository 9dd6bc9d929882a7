//! Rows of `Evidence` as they are, and their repair.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, QueryResult};

use super::audit::{Owner, Rows, query_owners};
use super::database::{Database, DatabaseTransaction};
use super::entity::contact_merge::MergeCause;
use super::error::{Cause, StoreError};
use super::evidence;
use super::evidence_copy::keep_unstored;
use super::rows::identifiers_from_json;
use super::sql::Engine;
use super::traits::{ExpectedSize, Transaction};
use crate::domain::{
    ContactId, EvidenceOrigin, Identifier, NewEvidence, Plan, Region, SetKey, StoredForm, Timestamp, sets_of_merges,
};

/// A row of `Evidence`, and what its identifiers and its contact lead to.
#[derive(Clone, Debug)]
pub struct EvidenceRow {
    /// `id`.
    pub id: i64,
    /// `contactId`.
    pub contact: ContactId,
    /// The id by which the identity of that contact is found, if the contact exists.
    pub root: Option<ContactId>,
    /// Whether `setKey` is that of the identifiers.
    pub has_its_key: bool,
    /// The identifiers, sorted. `None` if the column cannot be read.
    pub identifiers: Option<Vec<Identifier>>,
    /// The owner of each identifier that has one.
    pub owners: BTreeMap<Identifier, Owner>,
    origin: String,
}

impl EvidenceRow {
    /// Returns the roots that its identifiers lead to, without those that are ignored; and whether each has an owner.
    pub fn roots(&self) -> (BTreeSet<ContactId>, bool) {
        let (mut roots, mut are_owned) = (BTreeSet::new(), true);
        for identifier in self.identifiers.iter().flatten() {
            match self.owners.get(identifier) {
                Some(owner) if owner.is_holder() => {}
                owner => match owner.and_then(|owner| owner.found.as_ref()).filter(|found| found.carries) {
                    Some(found) => drop(roots.insert(found.root)),
                    None => are_owned = false,
                },
            }
        }
        (roots, are_owned)
    }

    /// Returns the set in its canonical form.
    fn canonical(&self, region: Option<Region>) -> Vec<Identifier> {
        let form = |one: &Identifier| match one.stored_form(region) {
            StoredForm::NotCanonical(canonical) => canonical,
            StoredForm::Canonical | StoredForm::Blank | StoredForm::Malformed => one.clone(),
        };
        self.identifiers.iter().flatten().map(form).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// What became of a row of `Evidence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceRepair {
    /// All is well.
    Kept,
    /// It was deleted.
    Deleted,
    /// It was deleted, and its set stored anew, with its key and a contact of its identity.
    Replaced,
}

impl Database {
    /// Returns rows of `Evidence`, by id.
    ///
    /// # Errors
    /// As every read.
    pub async fn audit_evidence(&self, rows: Rows) -> Result<Vec<EvidenceRow>, StoreError> {
        let lease = self.pool.lease().await?;
        let read = async { query_evidence(&lease.connected().take().await?, lease.engine(), rows).await };
        lease.bounded(read).await
    }
}

/// Rows of one page of [`Database::sets_with`].
const PAGE_SIZE: u64 = 1_000;

impl Database {
    /// Returns the ids of the rows of `Evidence` that have one of these identifiers. It reads the whole table.
    ///
    /// # Errors
    /// As every read.
    pub async fn sets_with(&self, identifiers: &[Identifier]) -> Result<Vec<i64>, StoreError> {
        let (mut found, mut after) = (Vec::new(), i64::MIN);
        loop {
            let lease = self.pool.lease().await?;
            let rows = Rows::After(after, PAGE_SIZE);
            let page =
                lease.bounded(async { query_rows(&lease.connected().take().await?, lease.engine(), rows).await });
            let page = page.await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = last.id;
            let has_one = |row: &EvidenceRow| row.identifiers.iter().flatten().any(|one| identifiers.contains(one));
            found.extend(page.iter().filter(|row| has_one(row)).map(|row| row.id));
        }
    }
}

impl DatabaseTransaction {
    /// Repairs a row of `Evidence`. A set that can be read and belongs to one identity is stored in its canonical form,
    /// unless it is held already. Any other row is deleted: it joins nobody.
    ///
    /// # Errors
    /// As every write. After [`StoreError::LostRace`] and [`StoreError::DuplicateKey`] the transaction has to start
    /// over.
    pub async fn repair_evidence(&mut self, id: i64, region: Option<Region>) -> Result<EvidenceRepair, StoreError> {
        let Some(row) = self.evidence_row(id).await? else { return Ok(EvidenceRepair::Kept) };
        let set = row.canonical(region);
        let known = self.find_identities(&set, ExpectedSize::Usual).await?;
        let roots = known.identities.iter().map(|identity| identity.root());
        let locked: BTreeSet<ContactId> = roots.chain(row.root).collect();
        let mut newest = None;
        if !locked.is_empty() {
            newest = self.lock_contacts(&locked).await?.into_values().flatten().max();
        }
        let Some(row) = self.evidence_row(id).await? else { return Ok(EvidenceRepair::Kept) };
        let known = self.find_identities(&set, ExpectedSize::Usual).await?;
        if known.identities.iter().any(|identity| !locked.contains(&identity.root())) {
            return Err(StoreError::LostRace(Cause::new("the owner of an identifier changed")));
        }
        let versions = known.identities.iter().flat_map(|identity| identity.rows().map(|row| row.updated_at));
        newest = versions.max().max(newest);
        let desired = sets_of_merges(&known.into_snapshot(), &[set]).pop();
        let is_well = |(root, new): &(ContactId, NewEvidence)| {
            row.root == Some(*root) && row.has_its_key && row.identifiers.as_deref() == Some(&new.identifiers[..])
        };
        if desired.as_ref().is_some_and(is_well) {
            return Ok(EvidenceRepair::Kept);
        }
        let at = self.now().after(newest);
        self.lease.bounded_with_lock(evidence::delete_sets(&self.transaction, &[id])).await?;
        let mut new: Vec<(ContactId, NewEvidence)> = desired.into_iter().collect();
        let keys: Vec<SetKey> = new.iter().map(|(_, new)| new.key).collect();
        keep_unstored(&mut new, &self.stored_evidence(&keys, &BTreeSet::new()).await?.sets);
        let mut new: Vec<NewEvidence> = new.into_iter().map(|(_, new)| new).collect();
        let origin = EvidenceOrigin::ALL.into_iter().find(|origin| origin.name() == row.origin);
        new.iter_mut().for_each(|new| new.origin = origin.unwrap_or(new.origin));
        let done = if new.is_empty() { EvidenceRepair::Deleted } else { EvidenceRepair::Replaced };
        self.write_evidence(new, locked, at).await?;
        Ok(done)
    }

    async fn write_evidence(
        &mut self,
        new: Vec<NewEvidence>,
        touched: BTreeSet<ContactId>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.apply(&Plan::from_evidence(new, touched, at)).await.map(drop)
    }

    async fn evidence_row(&self, id: i64) -> Result<Option<EvidenceRow>, StoreError> {
        let read = query_evidence(&self.transaction, self.lease.engine(), Rows::Only(id));
        Ok(self.lease.bounded(read).await?.pop())
    }
}

async fn query_evidence(
    connection: &impl ConnectionTrait,
    engine: Engine,
    rows: Rows,
) -> Result<Vec<EvidenceRow>, StoreError> {
    let mut found = query_rows(connection, engine, rows).await?;
    let identifiers: BTreeSet<Identifier> =
        found.iter().flat_map(|row| row.identifiers.iter().flatten()).cloned().collect();
    let identifiers: Vec<Identifier> = identifiers.into_iter().collect();
    let owners = query_owners(connection, engine, &identifiers).await?;
    for row in &mut found {
        let members = row.identifiers.iter().flatten();
        row.owners = members.filter_map(|one| Some((one.clone(), owners.get(one)?.clone()))).collect();
    }
    Ok(found)
}

/// The same rows, without the owners of their identifiers.
async fn query_rows(
    connection: &impl ConnectionTrait,
    engine: Engine,
    rows: Rows,
) -> Result<Vec<EvidenceRow>, StoreError> {
    let statement = engine.statement(evidence_sql(engine, rows), vec![rows.parameter()]);
    connection.query_all_raw(statement).await?.iter().map(from_row).collect()
}

fn from_row(row: &QueryResult) -> Result<EvidenceRow, StoreError> {
    let key: Vec<u8> = row.try_get_by_index(EvidenceColumn::SetKey as usize)?;
    let text: String = row.try_get_by_index(EvidenceColumn::Identifiers as usize)?;
    let root: Option<i64> = row.try_get_by_index(EvidenceColumn::Root as usize)?;
    let identifiers = serde_json::from_str::<MergeCause>(&text).ok().and_then(|set| identifiers_from_json(&set));
    Ok(EvidenceRow {
        id: row.try_get_by_index(EvidenceColumn::Id as usize)?,
        contact: ContactId(row.try_get_by_index(EvidenceColumn::ContactId as usize)?),
        root: root.map(ContactId),
        has_its_key: identifiers.as_ref().is_some_and(|set| SetKey::of(set).as_bytes()[..] == key[..]),
        identifiers,
        owners: BTreeMap::new(),
        origin: row.try_get_by_index(EvidenceColumn::Origin as usize)?,
    })
}

/// The columns of [`evidence_sql`], in order.
#[derive(Clone, Copy)]
enum EvidenceColumn {
    Id,
    SetKey,
    ContactId,
    /// A text of JSON.
    Identifiers,
    /// The id by which the identity of the contact is found, if the contact exists.
    Root,
    Origin,
}

/// The statement of [`Database::audit_evidence`]. The columns are those of [`EvidenceColumn`].
pub(super) fn evidence_sql(engine: Engine, rows: Rows) -> String {
    let (identifiers, rows) = (engine.text_of(r#"e."identifiers""#), rows.as_from_clause("Evidence"));
    let contact = engine.key_join("Contact", "c", &[("id", r#"e."contactId""#)]);
    format!(
        r#"SELECT e."id", e."setKey", e."contactId", {identifiers}, COALESCE(c."linkedId", c."id"), e."origin"
            FROM {rows} e {contact} ORDER BY e."id""#
    )
}
