//! The worked example as each format prints it: 3 and 4 were strangers until a request brought an identifier of each.

use super::*;
use crate::domain::graph::{HistoryContact, SetName, StoredSet};
use crate::domain::{Contact, ContactId, EvidenceOrigin, Identifier, IdentifierKind, Link, Timestamp};
use crate::store::HistoryRows;

fn email(value: &str) -> Identifier {
    Identifier::from_stored(IdentifierKind::Email, value)
}

fn phone(value: &str) -> Identifier {
    Identifier::from_stored(IdentifierKind::Phone, value)
}

fn second(number: i64) -> Timestamp {
    Timestamp(number * 1_000_000)
}

fn rows() -> HistoryRows {
    let george = [email("george@hillvalley.edu"), phone("919191")];
    let biff = [email("biff\"[sucks\\]@hillvalley.edu"), phone("717171")];
    let stored = [george[0].clone(), biff[1].clone()].into();
    let mut first = Contact::new(ContactId(3), george, second(1), Link::Primary);
    first.updated_at = second(4);
    let other = Contact::new(ContactId(4), biff, second(2), Link::SecondaryOf(ContactId(3)));
    let contacts = [first, other].map(|contact| HistoryContact { contact, deleted_at: None });
    HistoryRows {
        root: ContactId(3),
        contacts: contacts.into(),
        stored: vec![StoredSet { id: 1, identifiers: stored, origin: EvidenceOrigin::Merge, seen_at: second(3) }],
        links: Vec::new(),
    }
}

fn inspected(contact: i64, at: Option<Timestamp>, shows_values: bool) -> Option<Inspected> {
    Inspected::new(rows(), Some(second(0)), at, shows_values, |history, at| history.identity_at(ContactId(contact), at))
}

fn shown(identity: &Inspected, format: Format) -> String {
    let mut out = Vec::new();
    show(&mut out, identity, format).unwrap();
    String::from_utf8(out).unwrap()
}

fn explained(identity: &Inspected, asked: &Asked, format: Format) -> String {
    let mut out = Vec::new();
    explain(&mut out, identity, asked, format).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_tree_has_contacts_evidence_and_changes() {
    let identity = inspected(4, None, false).unwrap();
    let expected = "\
identities/3: 2 contacts, 4 identifiers, 3 sets of evidence; last changed 1970-01-01T00:00:04.000000Z
├── contact 3, primary, 1970-01-01T00:00:01.000000Z
│   ├── i1 email g***
│   └── i2 phone ***91
├── contact 4, 1970-01-01T00:00:02.000000Z
│   ├── i3 email b***
│   └── i4 phone ***71
├── evidence/e1, merge, 1970-01-01T00:00:03.000000Z
│   ├── i1 email g***
│   └── i4 phone ***71
└── history
    ├── 1970-01-01T00:00:01.000000Z  created: contact 3, by evidence/c3
    ├── 1970-01-01T00:00:02.000000Z  created: contact 4, by evidence/c4
    └── 1970-01-01T00:00:03.000000Z  merged: 3 absorbed 4, by evidence/e1
evidence is complete since 1970-01-01T00:00:00.000000Z
";
    assert_eq!(shown(&identity, Format::Text), expected);
    let earlier = shown(&inspected(4, Some(second(2)), true).unwrap(), Format::Text);
    let expected = "\
identities/4, as it was at 1970-01-01T00:00:02.000000Z: 1 contact, 2 identifiers, 1 set of evidence; last changed \
1970-01-01T00:00:02.000000Z
├── contact 4, primary, 1970-01-01T00:00:02.000000Z
│   ├── i3 email biff\"[sucks\\]@hillvalley.edu
│   └── i4 phone 717171
└── history
    └── 1970-01-01T00:00:02.000000Z  created: contact 4, by evidence/c4
evidence is complete since 1970-01-01T00:00:00.000000Z
";
    assert_eq!(earlier, expected);
    assert!(inspected(4, Some(second(1)), false).is_none(), "it was not there yet");
}

#[test]
fn a_moment_before_evidence_was_complete_says_so() {
    let at = |read_time| {
        let past = |history: &crate::domain::graph::History, at| history.identity_at(ContactId(3), at);
        let identity = Inspected::new(rows(), Some(second(2)), Some(read_time), false, past).unwrap();
        shown(&identity, Format::Text)
    };
    assert!(at(Timestamp(1_999_999)).contains("may be missing"));
    assert!(!at(second(2)).contains("may be missing"));
}

#[test]
fn an_explanation_says_what_holds_and_what_would_be() {
    let identity = inspected(3, None, false).unwrap();
    let all = explained(&identity, &Asked::default(), Format::Text);
    let bridges =
        "3 of 3 sets split it if that one alone is lost:\n  1970-01-01T00:00:01.000000Z  evidence/c3, contact: ";
    assert!(all.contains(&format!("{bridges}i1 email g***, i2 phone ***91\n")), "{all}");
    let ends = [Member::Number(2), Member::Identifier(phone("717171"))];
    let between = explained(&identity, &identity.asked(Some(ends), Vec::new()).unwrap(), Format::Text);
    assert!(between.contains("the shortest path from i2 phone ***91 to i4 phone ***71 has 2 sets:"), "{between}");
    assert!(between.contains("the weakest cut between them has 1 set;"), "{between}");
    let asked = identity.asked(None, vec![Member::Set(SetName::Stored(1))]).unwrap();
    let parts = explained(&identity, &asked, Format::Text);
    let expected = "\
without evidence/e1 it falls into 2 parts:
  primary 3, contact 3: i1 email g***, i2 phone ***91
  primary 4, contact 4: i3 email b***, i4 phone ***71
";
    assert!(parts.contains(expected), "{parts}");
    let asked = identity.asked(None, vec![Member::Number(4), Member::Number(3)]).unwrap();
    assert!(explained(&identity, &asked, Format::Text).contains("it is still one customer"));
}

#[test]
fn what_the_identity_lacks_is_named_by_its_place() {
    let identity = inspected(4, Some(second(2)), false).unwrap();
    let asked = |between, without| identity.asked(between, without).unwrap_err();
    let set = |id| Member::Set(SetName::Stored(id));
    assert_eq!(asked(None, vec![Member::Number(3), set(1)]), (1, NotThere::Set), "it came later");
    assert_eq!(asked(None, vec![Member::Number(1)]), (0, NotThere::Identifier), "it is of another identity");
    assert_eq!(asked(None, vec![Member::Identifier(phone("1"))]), (0, NotThere::Identifier));
    let pair = [Member::Number(3), Member::Set(SetName::Contact(ContactId(4)))];
    assert_eq!(asked(Some(pair), Vec::new()), (1, NotThere::NoIdentifier));
    assert_eq!(asked(Some([Member::Number(3), Member::Number(3)]), Vec::new()), (1, NotThere::Same));
}

#[test]
fn json_names_what_it_has() {
    let identity = inspected(3, None, true).unwrap();
    let asked = identity.asked(None, vec![Member::Set(SetName::Stored(1))]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&explained(&identity, &asked, Format::Json)).unwrap();
    assert_eq!((&json["name"], &json["masked"]), (&"identities/3".into(), &false.into()));
    assert_eq!(json["identifiers"][2]["value"], "biff\"[sucks\\]@hillvalley.edu");
    assert_eq!(
        json["evidence"][2],
        serde_json::json!({
            "name": "evidence/e1",
            "origin": "merge",
            "create_time": "1970-01-01T00:00:03.000000Z",
            "identifiers": ["i1", "i4"],
        })
    );
    assert_eq!(json["bridges"], serde_json::json!(["evidence/c3", "evidence/c4", "evidence/e1"]));
    assert_eq!(
        json["parts"][1],
        serde_json::json!({
            "primary_contact_id": 4,
            "contact_ids": [4],
            "identifiers": ["i3", "i4"],
        })
    );
    assert_eq!(json["revisions"][2]["absorbed"], serde_json::json!([4]));
}

#[test]
fn drawings_escape_values_and_mark_the_answer() {
    let identity = inspected(3, None, true).unwrap();
    let dot = shown(&identity, Format::Dot);
    let node = r#"  i3 [label="i3 email biff\"[sucks\\]@hillvalley.edu", shape=ellipse];"#;
    assert!(dot.contains(node) && dot.contains("\n  c4 -- i3;\n") && dot.ends_with("}\n"), "{dot}");
    assert!(dot.contains("label=\"contact 3, primary\\n1970-01-01T00:00:01.000000Z\", shape=box"), "{dot}");
    let mermaid = shown(&identity, Format::Mermaid);
    assert!(mermaid.contains("  i3([\"i3 email biff#34;#91;sucks#92;#93;@hillvalley.edu\"])\n"), "{mermaid}");
    assert!(mermaid.contains("  e1[\"evidence/e1, merge<br>1970-01-01T00:00:03.000000Z\"]\n"), "{mermaid}");

    let asked = identity.asked(None, vec![Member::Set(SetName::Stored(1))]).unwrap();
    let mermaid = explained(&identity, &asked, Format::Mermaid);
    assert!(mermaid.contains("  subgraph part2[\"part 2\"]\n    i3\n    i4\n    c4\n  end\n"), "{mermaid}");
    assert!(mermaid.contains("  e1 -.- i1\n") && mermaid.contains("  class e1 absent\n"), "{mermaid}");
    let ends = [Member::Number(2), Member::Number(4)];
    let asked = identity.asked(Some(ends), Vec::new()).unwrap();
    let dot = explained(&identity, &asked, Format::Dot);
    assert!(dot.contains("  c3 -- i1 [color=red, penwidth=3];\n"), "the cut next to the first end: {dot}");
    assert!(dot.contains("  e1 -- i4 [color=blue, penwidth=3];\n") && !dot.contains("cluster"), "{dot}");
    assert!(explained(&identity, &Asked::default(), Format::Dot).contains("  c4 -- i3 [penwidth=3];\n"));
}

#[test]
fn an_ignored_identifier_is_shown_and_joins_nobody() {
    let mut rows = rows();
    let contact = &mut rows.contacts[1].contact;
    (contact.identifiers, contact.ignored) = ([contact.identifiers[0].clone()].into(), [phone("717171")].into());
    rows.stored.clear();
    let identity =
        Inspected::new(rows, None, None, false, |history, at| history.identity_at(ContactId(3), at)).unwrap();
    let text = shown(&identity, Format::Text);
    assert!(text.contains("│   └── i4 phone ***71 (ignored)\n"), "{text}");
    assert!(text.contains("├── evidence/l4, link,") && text.contains("is not known"), "{text}");
    assert!(shown(&identity, Format::Dot).contains("  c4 -- i4 [color=gray"));
    assert_eq!(identity.asked(None, vec![Member::Number(4)]).unwrap_err(), (0, NotThere::Identifier));
}
