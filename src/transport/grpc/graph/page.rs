//! The size of a page (AIP-158).

use crate::transport::errors::ApiError;
use crate::transport::invalid_field::{FieldPath, FieldProblem};

/// The size of a page if the request has none.
const DEFAULT: usize = 100;

/// Maximum size of a page.
const MAX: usize = 1_000;

/// Returns how many entries a page may have.
///
/// # Errors
/// [`FieldProblem::PageSize`] if it is negative.
pub(super) fn page_size(size: i32) -> Result<usize, ApiError> {
    match usize::try_from(size) {
        Ok(0) => Ok(DEFAULT),
        Ok(size) => Ok(size.min(MAX)),
        Err(_) => Err(ApiError::of_field(FieldPath::PageSize, FieldProblem::PageSize)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_default_and_a_maximum() {
        for (size, expected) in [(0, 100), (1, 1), (1_000, 1_000), (1_001, 1_000), (i32::MAX, 1_000)] {
            assert_eq!(page_size(size), Ok(expected));
        }
        for size in [-1, i32::MIN] {
            assert!(page_size(size).is_err());
        }
    }
}
