use std::collections::{BTreeSet, HashSet};

use prost::Message;

use super::call::Call;
use super::evidence_message::evidence_message;
use super::identifiers::{named, parse_all};
use super::identity_message::identifier_message;
use super::moments::{check_read_time, parse_read_time, timestamp};
use super::names::{parse_evidence_name, parse_identity_name};
use super::notes::read_notes;
use crate::domain::graph::{Explanation, History, Part, PastIdentity, Question, SeenSet, SetName};
use crate::domain::{ContactId, Identifier, Timestamp};
use crate::proto::identity::v1 as pb;
use crate::resolver::ReadGraph;
use crate::settings::IdentifierSettings;
use crate::store::HistoryRead;
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::{FieldPath, FieldProblem, IdentifierList, InvalidField, MAX_IDENTIFIERS};

/// Later than every row.
const PRESENT: Timestamp = Timestamp(i64::MAX);

/// Answers `ExplainIdentity`.
///
/// # Errors
/// As the proto says.
pub(super) async fn explain_identity<R: ReadGraph>(
    call: Call<R>,
    request: &pb::ExplainIdentityRequest,
) -> Result<pb::ExplainIdentityResponse, ApiError> {
    let asked = Asked::parse(request, &call.identify)?;
    let contact = asked.contact;
    let limit = call.answer_limit;
    let explain = move |read| within(limit, explain(read, asked)?);
    let mut response = call.resolver.read_history(call.place(), contact, call.deadline, explain).await??;
    read_notes(&call, [&mut response.path, &mut response.weakest_cut]).await?;
    within(limit, response)
}

/// Returns the response if it is at most so many bytes.
fn within(limit: usize, response: pb::ExplainIdentityResponse) -> Result<pb::ExplainIdentityResponse, ApiError> {
    if response.encoded_len() > limit { Err(ApiError::ExplanationTooLarge { limit }) } else { Ok(response) }
}

/// What a request asks, before it is compared with the identity.
struct Asked {
    contact: ContactId,
    at: Option<Timestamp>,
    /// None, or two different ones.
    between: Vec<Identifier>,
    without_evidence: Vec<SetName>,
    without_identifiers: Vec<Identifier>,
}

impl Asked {
    fn parse(request: &pb::ExplainIdentityRequest, settings: &IdentifierSettings) -> Result<Self, ApiError> {
        let contact = parse_identity_name(&request.name, FieldPath::Name)?;
        let at = parse_read_time(request.read_time.as_ref())?;
        let between = parse_all(IdentifierList::Between, &request.between, settings)?;
        let path = FieldPath::List(IdentifierList::Between);
        let is_pair = matches!(&between[..], [one, other] if one != other);
        if !between.is_empty() && !is_pair {
            return Err(ApiError::of_field(path, FieldProblem::BetweenCount));
        }
        if is_pair && !(request.without_evidence.is_empty() && request.without_identifiers.is_empty()) {
            return Err(ApiError::of_field(path, FieldProblem::BetweenWithout));
        }
        let without_evidence = parse_evidence_names(&request.without_evidence)?;
        let without_identifiers =
            parse_all(IdentifierList::WithoutIdentifiers, &request.without_identifiers, settings)?;
        Ok(Self { contact, at, between, without_evidence, without_identifiers })
    }

    /// Returns the question about an identity.
    ///
    /// # Errors
    /// If it names what the identity does not have.
    fn about(self, identity: &Members, sets: &BTreeSet<SetName>) -> Result<Question, ApiError> {
        let mut wrong = Vec::new();
        for (list, identifiers) in
            [(IdentifierList::Between, &self.between), (IdentifierList::WithoutIdentifiers, &self.without_identifiers)]
        {
            let unknown = identifiers.iter().enumerate().filter(|(_, one)| !identity.identifiers.contains(*one));
            wrong.extend(unknown.map(|(position, _)| InvalidField {
                path: FieldPath::Entry(list, position),
                problem: FieldProblem::UnknownIdentifier,
            }));
        }
        let unknown = self.without_evidence.iter().enumerate().filter(|(_, name)| !sets.contains(name));
        wrong.extend(unknown.map(|(position, _)| InvalidField {
            path: FieldPath::EvidenceName(position),
            problem: FieldProblem::UnknownEvidence,
        }));
        named(wrong)?;
        Ok(Question {
            at: self.at,
            between: self.between.try_into().ok(),
            without_sets: self.without_evidence.into_iter().collect(),
            without_identifiers: self.without_identifiers.into_iter().collect(),
        })
    }
}

fn parse_evidence_names(names: &[String]) -> Result<Vec<SetName>, ApiError> {
    if names.len() > MAX_IDENTIFIERS {
        return Err(ApiError::of_field(FieldPath::WithoutEvidence, FieldProblem::TooMuchEvidence));
    }
    let (mut parsed, mut wrong) = (Vec::with_capacity(names.len()), Vec::new());
    for (position, name) in names.iter().enumerate() {
        match parse_evidence_name(name, position) {
            Ok(name) => parsed.push(name),
            Err(field) => wrong.push(field),
        }
    }
    named(wrong).map(|()| parsed)
}

/// The contacts and the identifiers of the identity that is explained. The history also has the contacts of those that
/// it absorbed later.
struct Members {
    contacts: HashSet<ContactId>,
    identifiers: HashSet<Identifier>,
}

impl Members {
    fn from_identity(identity: &PastIdentity) -> Self {
        Self {
            contacts: identity.contacts.iter().map(|contact| contact.id).collect(),
            identifiers: identity.contacts.iter().flat_map(|contact| contact.identifiers.to_vec()).collect(),
        }
    }

    fn has_set(&self, set: &SeenSet) -> bool {
        match set.name {
            SetName::Contact(contact) | SetName::Link(contact) => self.contacts.contains(&contact),
            SetName::Stored(_) => set.identifiers.iter().any(|identifier| self.identifiers.contains(identifier)),
        }
    }

    fn has_part(&self, part: &Part) -> bool {
        part.contacts.iter().any(|contact| self.contacts.contains(contact))
            || part.identifiers.iter().any(|identifier| self.identifiers.contains(identifier))
    }
}

fn explain(read: HistoryRead, asked: Asked) -> Result<pb::ExplainIdentityResponse, ApiError> {
    check_read_time(asked.at, read.now)?;
    let (contact, at) = (asked.contact, asked.at);
    let rows = read.identity.filter(|rows| at.is_some() || rows.has_live(contact));
    let rows = rows.ok_or(ApiError::UnknownIdentity)?;
    let truncated = rows.is_full();
    let history = rows.into_history();
    let identity = history.identity_at(contact, at.unwrap_or(PRESENT)).ok_or(ApiError::UnknownIdentity)?;
    let members = Members::from_identity(&identity);
    let question = asked.about(&members, &names_of(&history, at, &members))?;
    let Explanation { path, weakest_cut, bridges, parts } = history.explain(&question);
    let evidence = |sets: Vec<SeenSet>| {
        sets.iter().filter(|set| members.has_set(set)).map(evidence_message).collect::<Vec<pb::Evidence>>()
    };
    let parts = parts.iter().filter(|part| members.has_part(part)).map(part_message).collect();
    Ok(pb::ExplainIdentityResponse {
        path: evidence(path),
        weakest_cut: evidence(weakest_cut),
        bridges: evidence(bridges),
        parts,
        complete_since: read.complete_since.map(timestamp),
        truncated,
    })
}

/// The evidence of the identity that is explained.
fn names_of(history: &History, at: Option<Timestamp>, members: &Members) -> BTreeSet<SetName> {
    history.sets(at).iter().filter(|set| members.has_set(set)).map(|set| set.name).collect()
}

fn part_message(part: &Part) -> pb::Part {
    pb::Part {
        primary_contact_id: part.primary.map_or(0, |primary| primary.0),
        identifiers: part.identifiers.iter().map(identifier_message).collect(),
        contact_ids: part.contacts.iter().map(|contact| contact.0).collect(),
    }
}
