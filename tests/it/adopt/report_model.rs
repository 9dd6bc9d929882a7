//! What the report of an adoption is to say, from the rows of the old table alone, by brute force, and by the words of
//! the guide. It shares no code with the service: not even the rules for values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::old_tables::MadeRow;

/// Kind and canonical value.
pub type Key = (&'static str, String);

/// What an operator decides, and what the tables cannot say.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    pub ignored: BTreeSet<Key>,
    pub ignored_links: BTreeSet<i64>,
    pub accepted: BTreeSet<Key>,
    pub accepted_links: BTreeSet<i64>,
    pub max_join: usize,
    /// Id and field of what is there and cannot be read. The row has nothing there.
    pub unreadable: BTreeSet<(i64, &'static str)>,
}

/// The longest value that `AdoptedContact` has whole, by the guide.
const LONGEST: usize = 15_000;

/// The limit of the service, by default.
const MAX_CONTACTS: usize = 10_000;

/// What names a customer of the old table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OldCustomer {
    /// A primary, whether or not there is such a row.
    Primary(i64),
    /// A circle of secondaries, by its smallest id.
    Circle(i64),
}

/// What connects rows: all rows with the same one are connected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Knot {
    Row(i64),
    Identifier(Key),
    Customer(OldCustomer),
}

pub struct ReportModel<'a> {
    rows: BTreeMap<i64, &'a MadeRow>,
    decisions: &'a Decisions,
    created: BTreeMap<i64, i64>,
    customers: BTreeMap<i64, OldCustomer>,
    primaries: BTreeMap<i64, i64>,
}

/// The canonical form of a value. Without one: what is wrong with it.
fn canonical(kind: &str, raw: &str) -> Result<String, &'static str> {
    let text = raw.trim();
    if text.is_empty() {
        return Err("blank");
    }
    let (text, is_valid) = if kind == "email" {
        let text = text.to_lowercase().replace("e\u{301}", "é");
        let is_valid = text.split('@').count() == 2 && !text.starts_with('@') && !text.ends_with('@');
        (text, is_valid)
    } else {
        let text = text.replace([' ', '(', ')', '-'], "");
        let digits = text.strip_prefix('+').unwrap_or(&text);
        let is_valid = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
        (text, is_valid)
    };
    if is_valid { Ok(text) } else { Err("malformed") }
}

impl<'a> ReportModel<'a> {
    pub fn new(rows: &'a [MadeRow], decisions: &'a Decisions) -> Self {
        let rows: BTreeMap<i64, &MadeRow> = rows.iter().map(|row| (row.id, row)).collect();
        let own = |row: &MadeRow| row.created_at.or(row.updated_at);
        let mut before = rows.values().find_map(|row| own(row)).unwrap_or_default();
        let mut created = BTreeMap::new();
        for (id, row) in &rows {
            before = own(row).unwrap_or(before);
            created.insert(*id, before);
        }
        let mut model = Self { rows, decisions, created, customers: BTreeMap::new(), primaries: BTreeMap::new() };
        model.customers = model.rows.keys().map(|id| (*id, model.old_customer(*id))).collect();
        let of_row = |model: &Self, id: i64| {
            let link = model.link(id).map(Knot::Row);
            let identifiers = model.carried(id).into_iter().map(Knot::Identifier);
            identifiers.chain(link).chain([Knot::Row(id)]).collect()
        };
        let identities = model.connected(|id| of_row(&model, id));
        for identity in identities.values().collect::<BTreeSet<_>>() {
            let rows = || model.rows.keys().copied().filter(|id| identities[id] == *identity);
            let primary = rows().min_by_key(|id| (!model.is_live(*id), model.created[id], *id)).expect("a row");
            model.primaries.extend(rows().map(|id| (id, primary)).collect::<Vec<_>>());
        }
        model
    }

    /// The least id that each row is connected with: rows with the same knot are connected.
    fn connected(&self, knots: impl Fn(i64) -> Vec<Knot>) -> BTreeMap<i64, i64> {
        let knots: Vec<(i64, Vec<Knot>)> = self.rows.keys().map(|id| (*id, knots(*id))).collect();
        let mut least: BTreeMap<i64, i64> = self.rows.keys().map(|id| (*id, *id)).collect();
        loop {
            let before = least.clone();
            let mut of_knot: BTreeMap<&Knot, i64> = BTreeMap::new();
            for (id, knot) in knots.iter().flat_map(|(id, knots)| knots.iter().map(move |knot| (*id, knot))) {
                of_knot.entry(knot).and_modify(|one| *one = least[&id].min(*one)).or_insert(least[&id]);
            }
            for (id, knots) in &knots {
                let own = knots.iter().map(|knot| of_knot[knot]).min().unwrap_or(*id);
                least.insert(*id, own);
            }
            if least == before {
                return least;
            }
        }
    }

    fn is_live(&self, id: i64) -> bool {
        self.rows[&id].deleted_at.is_none()
    }

    fn is_unreadable(&self, id: i64, field: &'static str) -> bool {
        self.decisions.unreadable.contains(&(id, field))
    }

    /// What a row gets, and what was changed.
    fn value(&self, id: i64, kind: &'static str) -> (Option<String>, Option<&'static str>) {
        let row = self.rows[&id];
        let raw = if kind == "email" { &row.email } else { &row.phone_number };
        let Some(raw) = raw else { return (None, self.is_unreadable(id, kind).then_some("unreadable")) };
        match canonical(kind, raw) {
            Err(wrong) => (None, Some(wrong)),
            Ok(text) if self.decisions.ignored.contains(&(kind, text.clone())) => (Some(text), Some("ignored")),
            Ok(text) => {
                let change = (text != *raw).then_some("rewritten");
                (Some(text), change)
            }
        }
    }

    /// What a live row is joined by.
    fn carried(&self, id: i64) -> BTreeSet<Key> {
        let values = ["email", "phone"].into_iter().filter(|_| self.is_live(id)).filter_map(|kind| {
            let (value, change) = self.value(id, kind);
            value.filter(|_| change != Some("ignored")).map(|value| (kind, value))
        });
        values.collect()
    }

    /// The row that a row links to, if that can be another row.
    fn link(&self, id: i64) -> Option<i64> {
        let link = self.rows[&id].linked_id.filter(|to| *to > 0 && *to != id);
        link.filter(|to| !self.decisions.ignored_links.contains(to))
    }

    /// Whether the old table shows a row as a customer: it says so, or it is linked to nothing.
    fn is_old_primary(&self, id: i64) -> bool {
        !self.rows[&id].is_secondary || self.link(id).is_none()
    }

    fn old_customer(&self, id: i64) -> OldCustomer {
        let (mut way, mut at) = (vec![id], id);
        while self.rows.contains_key(&at) && !self.is_old_primary(at) {
            at = self.link(at).expect("a secondary");
            if let Some(begin) = way.iter().position(|one| *one == at) {
                return OldCustomer::Circle(*way[begin..].iter().min().expect("not empty"));
            }
            way.push(at);
        }
        OldCustomer::Primary(at)
    }

    /// Whether a row's links lead back to it.
    fn is_in_circle(&self, id: i64) -> bool {
        if self.rows[&id].linked_id == Some(id) && !self.decisions.ignored_links.contains(&id) {
            return true;
        }
        let (mut at, mut steps) = (self.link(id), 0);
        while let Some(next) = at.filter(|next| *next != id && self.rows.contains_key(next) && steps < self.rows.len())
        {
            (at, steps) = (self.link(next), steps + 1);
        }
        at == Some(id)
    }

    /// What happened to the link of a row.
    fn link_change(&self, id: i64) -> Option<&'static str> {
        let primary = self.primaries[&id];
        if self.is_unreadable(id, "link") {
            return Some("unreadable");
        }
        let Some(stored) = self.rows[&id].linked_id else { return (primary != id).then_some("added") };
        if stored == primary && primary != id {
            None
        } else if self.is_in_circle(id) {
            Some("circular")
        } else if self.link(id).is_none_or(|to| !self.rows.contains_key(&to)) {
            Some("broken")
        } else {
            Some(if primary == id { "removed" } else { "flattened" })
        }
    }

    fn is_precedence_wrong(&self, id: i64) -> bool {
        self.rows[&id].is_secondary != (self.primaries[&id] != id)
    }

    fn lacks_identifier(&self, id: i64) -> bool {
        self.is_live(id) && ["email", "phone"].iter().all(|kind| self.value(id, kind).0.is_none())
    }

    fn is_long(&self, id: i64, kind: &str) -> bool {
        let row = self.rows[&id];
        let raw = if kind == "email" { &row.email } else { &row.phone_number };
        raw.as_ref().is_some_and(|raw| raw.chars().count() > LONGEST)
    }

    /// What `AdoptedContact` is to say of a row.
    pub fn reason(&self, id: i64) -> Option<String> {
        let row = self.rows[&id];
        let mut all = Vec::new();
        for kind in ["email", "phone"] {
            all.extend(self.value(id, kind).1.map(|change| format!("{kind} {change}")));
        }
        all.extend(self.link_change(id).map(|change| format!("link {change}")));
        all.extend(self.is_precedence_wrong(id).then(|| "precedence corrected".to_owned()));
        for (field, date) in [("createdAt", row.created_at), ("updatedAt", row.updated_at)] {
            let wrong = if self.is_unreadable(id, field) { "unreadable" } else { "missing" };
            all.extend(date.is_none().then(|| format!("{field} {wrong}")));
        }
        for kind in ["email", "phone"] {
            all.extend(self.is_long(id, kind).then(|| format!("{kind} shortened")));
        }
        all.extend(self.lacks_identifier(id).then(|| "no identifier".to_owned()));
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// The ids by which the old table names a customer and that are not the primary's: old, new.
    pub fn changed(&self) -> BTreeSet<(i64, i64)> {
        let live = self.rows.keys().copied().filter(|id| self.is_live(*id));
        let named = |id| if self.is_old_primary(id) { id } else { self.link(id).expect("a secondary") };
        live.map(|id| (named(id), self.primaries[&id])).filter(|(old, new)| old != new).collect()
    }

    /// The live rows of each old customer.
    fn live_rows(&self) -> BTreeMap<OldCustomer, Vec<i64>> {
        let mut live: BTreeMap<OldCustomer, Vec<i64>> = BTreeMap::new();
        for id in self.rows.keys().copied().filter(|id| self.is_live(*id)) {
            live.entry(self.customers[&id]).or_default().push(id);
        }
        live
    }

    /// The old customers with live rows that carry each identifier.
    fn customers_of_identifiers(&self) -> BTreeMap<Key, BTreeSet<OldCustomer>> {
        let mut of: BTreeMap<Key, BTreeSet<OldCustomer>> = BTreeMap::new();
        for id in self.rows.keys() {
            for key in self.carried(*id) {
                of.entry(key).or_default().insert(self.customers[id]);
            }
        }
        of
    }

    /// Primary and cause of each old customer that is not one any more.
    fn joins(&self) -> Vec<(i64, String)> {
        let (live, shared) = (self.live_rows(), self.customers_of_identifiers());
        // What identifiers alone make of the old customers: a link is needed for each of these but one.
        let classes = self.connected(|id| {
            let identifiers = self.carried(id).into_iter().map(Knot::Identifier);
            identifiers.chain([Knot::Customer(self.customers[&id])]).collect()
        });
        let mut joins = Vec::new();
        for (customer, rows) in &live {
            let primary = self.primaries[&rows[0]];
            if self.customers[&primary] == *customer {
                continue;
            }
            let by = |kind: &str| {
                let mut carried = rows.iter().flat_map(|id| self.carried(*id));
                carried.any(|key| key.0 == kind && shared[&key].len() > 1)
            };
            let class = classes[&rows[0]];
            let of_class = self.rows.keys().copied().filter(|id| self.is_live(*id) && classes[id] == class);
            let oldest = of_class.min_by_key(|id| (self.created[id], *id)).expect("a live row");
            let by_link = classes[&primary] != class && self.customers[&oldest] == *customer;
            let causes = [(by("email"), "email"), (by("phone"), "phone"), (by_link, "link")];
            let names: Vec<&str> = causes.iter().filter(|(is_one, _)| *is_one).map(|(_, name)| *name).collect();
            joins.push((primary, names.join("+")));
        }
        joins
    }

    fn over_max_join(&self) -> Vec<Value> {
        let max = self.decisions.max_join;
        let mut hubs = Vec::new();
        for (key, customers) in self.customers_of_identifiers().into_iter().filter(|(_, all)| all.len() > max) {
            let first = self.rows.keys().copied().find(|id| self.carried(*id).contains(&key)).expect("a row");
            hubs.push((customers.len(), first, key.0, self.decisions.accepted.contains(&key)));
        }
        let links: BTreeSet<i64> = self.rows.keys().filter_map(|id| self.link(*id)).collect();
        for missing in links.into_iter().filter(|to| !self.rows.contains_key(to)) {
            let count = self.rows.keys().filter(|id| self.link(**id) == Some(missing)).count();
            let is_accepted = self.decisions.accepted_links.contains(&missing);
            hubs.extend((count > max).then_some((count, missing, "link", is_accepted)));
        }
        hubs.sort_by_key(|(count, contact, kind, _)| (std::cmp::Reverse(*count), *contact, *kind == "link", *kind));
        let value = |(count, contact, kind, accepted)| {
            let (name, of) = ("old_identities", count);
            json!({"kind": kind, name: of, "contact": contact, "accepted": accepted})
        };
        hubs.into_iter().map(value).collect()
    }

    /// The object of `--format json`, without the lines about the table. Dates later than `now` are in the future.
    pub fn report(&self, now: i64) -> Value {
        let count = |is_one: &dyn Fn(i64) -> bool| self.rows.keys().filter(|id| is_one(**id)).count();
        let mut values: BTreeMap<String, u64> = BTreeMap::new();
        let mut live_of: BTreeMap<i64, usize> = self.primaries.values().map(|id| (*id, 0)).collect();
        for id in self.rows.keys() {
            for kind in ["email", "phone"] {
                if let (_, Some(change)) = self.value(*id, kind) {
                    *values.entry(format!("{kind}_{change}")).or_default() += 1;
                }
            }
            *live_of.entry(self.primaries[id]).or_default() += usize::from(self.is_live(*id));
        }
        let (mut joins, mut sizes): (BTreeMap<String, u64>, BTreeMap<i64, usize>) = Default::default();
        for (primary, cause) in self.joins() {
            *joins.entry(cause).or_default() += 1;
            *sizes.entry(primary).or_insert(1) += 1;
        }
        let mut by_size: BTreeMap<String, u64> = BTreeMap::new();
        sizes.values().for_each(|size| *by_size.entry(size.to_string()).or_default() += 1);
        let mut largest: Vec<(i64, usize)> = sizes.into_iter().collect();
        largest.sort_by_key(|(primary, size)| (std::cmp::Reverse(*size), *primary));
        let largest = largest.into_iter().take(10);
        let joined = |(primary, size): (i64, usize)| {
            let contacts = live_of[&primary];
            json!({"primary": primary, "old_identities": size, "contacts": contacts})
        };
        let links = |change: &str| count(&|id| self.link_change(id) == Some(change));
        let dates = |row: &MadeRow| [row.created_at, row.updated_at, row.deleted_at];
        let future = |row: &&MadeRow| dates(row).into_iter().flatten().filter(|at| *at > now).count();
        let unreadable = |field: &'static str| count(&|id| self.is_unreadable(id, field));
        let changed = self.changed();
        json!({
            "rows": self.rows.len(),
            "deleted": count(&|id| !self.is_live(id)),
            "identities": live_of.values().filter(|live| **live > 0).count(),
            "deleted_identities": live_of.values().filter(|live| **live == 0).count(),
            "largest_identity": live_of.values().max().copied().unwrap_or_default(),
            "identities_over_max_contacts": live_of.values().filter(|live| **live > MAX_CONTACTS).count(),
            "without_identifier": count(&|id| self.lacks_identifier(id)),
            "values": values,
            "values_shortened": count(&|id| self.is_long(id, "email")) + count(&|id| self.is_long(id, "phone")),
            "links": {
                "flattened": links("flattened"),
                "broken": links("broken"),
                "circular": links("circular"),
                "removed": links("removed"),
                "added": links("added"),
                "unreadable": links("unreadable"),
            },
            "precedences_corrected": count(&|id| self.is_precedence_wrong(id)),
            "dates": {
                "created_missing": count(&|id| self.rows[&id].created_at.is_none()),
                "updated_missing": count(&|id| self.rows[&id].updated_at.is_none()),
                "unreadable": unreadable("createdAt") + unreadable("updatedAt"),
                "in_the_future": self.rows.values().map(future).sum::<usize>(),
            },
            "primaries_changed": changed.len(),
            "primaries_changed_first": changed.iter().take(10).collect::<Vec<_>>(),
            "joins": joins,
            "joined_by_size": by_size,
            "largest_joins": largest.map(joined).collect::<Vec<_>>(),
            "over_max_join": self.over_max_join(),
        })
    }
}
