//! The span of an operation of the database: a statement, or several that are one step of a transaction.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::batch::SampledBatch;
use super::span::{EndedSpan, child_of};
use crate::metrics::{DatabaseOperation, Label};

/// The span of an operation of the database, until it is dropped. Empty unless a batch that is recorded asks for the
/// operation.
#[derive(Debug, Default)]
pub struct StatementSpan(Option<SampledStatement>);

#[derive(Debug)]
struct SampledStatement {
    batch: Arc<SampledBatch>,
    system: &'static str,
    operation: DatabaseOperation,
    begun: SystemTime,
}

/// Says why the operation under way in the current task failed.
pub fn fail_statement(error: &'static str) {
    if let Some(batch) = SampledBatch::current() {
        batch.fail_statement(error);
    }
}

impl StatementSpan {
    /// Begins an operation of a database of this kind (`mysql`, `postgresql`, …).
    pub fn begin(operation: DatabaseOperation, system: impl FnOnce() -> &'static str) -> Self {
        let Some(batch) = SampledBatch::current() else { return Self::default() };
        Self(Some(SampledStatement { batch, system: system(), operation, begun: SystemTime::now() }))
    }
}

impl Drop for StatementSpan {
    fn drop(&mut self) {
        let Some(SampledStatement { batch, system, operation, begun }) = self.0.take() else { return };
        let (name, error) = (operation.value(), batch.take_failure());
        let mut attributes = vec![KeyValue::new("db.system.name", system), KeyValue::new("db.operation.name", name)];
        let table = table(operation);
        attributes.extend(table.map(|table| KeyValue::new("db.collection.name", table)));
        attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
        batch.first.tracer.end(EndedSpan {
            context: child_of(&batch.context),
            parent: batch.context.span_id(),
            is_parent_remote: false,
            kind: SpanKind::Client,
            name: table.map_or_else(|| name.into(), |table| format!("{name} {table}").into()),
            begun,
            attributes,
            links: Vec::new(),
            is_error: error.is_some(),
        });
    }
}

/// The table that an operation begins with.
fn table(operation: DatabaseOperation) -> Option<&'static str> {
    match operation {
        DatabaseOperation::LookUp | DatabaseOperation::LookUpLocked | DatabaseOperation::Release => Some("Identifier"),
        DatabaseOperation::CompareVersions
        | DatabaseOperation::List
        | DatabaseOperation::Lock
        | DatabaseOperation::Write
        | DatabaseOperation::LockedByOthers => Some("Contact"),
        DatabaseOperation::Begin | DatabaseOperation::Commit | DatabaseOperation::Ping => None,
    }
}
