//! `identity bench explain`: makes one customer of many contacts through the API, and asks for explanations of it.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use chrono::Utc;

use super::args::ExplainArgs;
use super::client::{AuthorizedChannel, ServiceAddress};
use super::customer::{new_email, new_phone};
use super::measurement::Measurement;
use super::report::BenchReport;
use crate::domain::IdentifierKind;
use crate::proto::identity::v1::batch_identify_result::Result as Found;
use crate::proto::identity::v1::graph_service_client::GraphServiceClient;
use crate::proto::identity::v1::identity_service_client::IdentityServiceClient;
use crate::proto::identity::v1::{BatchIdentifyRequest, ExplainIdentityRequest, Identifier, IdentifyRequest, Outcome};

/// Contacts that one call makes. Their identity is in each answer.
const CONTACTS_PER_CALL: usize = 100;

/// Makes the customer, and measures one caller that asks in turn for the longest path through it, with the weakest cut
/// and the bridges, and for its parts without an identifier in its middle.
pub(super) fn measure(args: &ExplainArgs, address: &ServiceAddress) -> anyhow::Result<BenchReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(async {
        let channel = address.connect_grpc(1).await?.pop().context("no connection")?;
        let contacts = usize::try_from(args.contacts)?;
        let first = Utc::now().timestamp_micros().unsigned_abs() & !1;
        let id = make_customer(channel.clone(), first, contacts).await?;
        let [between, without] = questions(id, first, contacts);
        let mut service = GraphServiceClient::new(channel);
        let begun = Instant::now();
        let mut measurement = Measurement::new(begun)?;
        while begun.elapsed() < args.duration {
            for question in [&between, &without] {
                let sent = Instant::now();
                let answer = service.explain_identity(question.clone()).await.context("the explanation failed")?;
                let now = Instant::now();
                let (path, parts) = (answer.get_ref().path.len(), answer.get_ref().parts.len());
                let is_right = if question.between.is_empty() { parts == 2 } else { path == contacts };
                ensure!(is_right || answer.get_ref().truncated, "the explanation is wrong");
                measurement.record(Ok(Outcome::Unspecified), sent, now);
            }
        }
        Ok(BenchReport::without_load(("explain".to_owned(), "grpc".to_owned()), &measurement))
    })
}

/// The identifiers of a contact. Each contact has one identifier in common with the contact before it, so the customer
/// is a chain: the longest paths, and each contact is a bridge. `first` is even, so the chain begins with an address.
fn pair(first: u64, contact: usize) -> (String, String) {
    let number = first + contact as u64;
    (new_email(number.div_ceil(2)), new_phone(number / 2))
}

/// Returns the id of the primary contact.
async fn make_customer(channel: AuthorizedChannel, first: u64, contacts: usize) -> anyhow::Result<i64> {
    let mut service = IdentityServiceClient::new(channel);
    let mut primary = None;
    let all: Vec<usize> = (0..contacts).collect();
    for some in all.chunks(CONTACTS_PER_CALL) {
        let requests = some.iter().map(|contact| {
            let (email, phone) = pair(first, *contact);
            IdentifyRequest { email: Some(email), phone_number: Some(phone), ..Default::default() }
        });
        let answer = service.batch_identify(BatchIdentifyRequest { requests: requests.collect() }).await;
        for result in answer.context("cannot make the customer")?.into_inner().results {
            match result.result {
                Some(Found::Response(response)) => {
                    primary = response.contact.map(|contact| contact.primary_contact_id);
                }
                // Carried out, and too large for the answer.
                Some(Found::Error(status)) if status.code == i32::from(tonic::Code::ResourceExhausted) => {}
                _ => bail!("cannot make the customer"),
            }
        }
    }
    primary.context("the service sent no identity")
}

fn questions(id: i64, first: u64, contacts: usize) -> [ExplainIdentityRequest; 2] {
    let email = |contact| Identifier { kind: IdentifierKind::Email.name().to_owned(), value: pair(first, contact).0 };
    let phone = |contact| Identifier { kind: IdentifierKind::Phone.name().to_owned(), value: pair(first, contact).1 };
    let last = contacts - 1;
    let end = if last.is_multiple_of(2) { phone(last) } else { email(last) };
    let about = ExplainIdentityRequest { name: format!("identities/{id}"), ..Default::default() };
    [
        ExplainIdentityRequest { between: vec![email(0), end], ..about.clone() },
        ExplainIdentityRequest { without_identifiers: vec![email(contacts / 2)], ..about },
    ]
}
