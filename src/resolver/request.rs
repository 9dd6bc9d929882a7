use crate::domain::Observation;

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentifyRequest {
    /// What the caller saw.
    pub observation: Observation,
    /// Whether the caller only wants to know the answer: nothing is written ([`preview`](crate::domain::preview())).
    pub validate_only: bool,
}

/// A request that is carried out.
impl From<Observation> for IdentifyRequest {
    fn from(observation: Observation) -> Self {
        Self { observation, validate_only: false }
    }
}
