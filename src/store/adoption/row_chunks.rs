//! How many rows one statement takes.

/// Rows in one statement. SQLite takes 32,766 values in one statement, and a contact has nine.
pub(super) const ROWS_PER_STATEMENT: usize = 1_000;

/// The bytes of one statement, about: MariaDB takes 16 MiB by default, and escapes.
const BYTES_PER_STATEMENT: usize = 1 << 20;

/// Splits rows into statements of a bounded length.
pub(super) fn statements<T>(rows: &[T], bytes: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = |row: &&T| {
            sum += bytes(row);
            sum <= BYTES_PER_STATEMENT
        };
        let length = rest.iter().take(ROWS_PER_STATEMENT).take_while(fits).count().max(1).min(rest.len());
        let (now, later) = rest.split_at(length);
        rest = later;
        (!now.is_empty()).then_some(now)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_bounded_by_rows_and_by_bytes() {
        let lengths = |rows: &[usize]| statements(rows, |bytes| *bytes).map(<[usize]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(&[]), [0; 0]);
        assert_eq!(lengths(&[1; 2_500]), [1_000, 1_000, 500]);
        assert_eq!(lengths(&[400_000; 5]), [2, 2, 1]);
        assert_eq!(lengths(&[5_000_000, 1, 5_000_000]), [1, 1, 1], "a row has a statement, however long");
    }
}
