//! Errors in one line.

/// Returns an error and its causes in one line. What a message already says is left out: many errors quote their cause.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot migrate: {0}")]
    struct Quoting(#[source] std::io::Error);

    #[test]
    fn a_cause_is_said_once() {
        let error = Quoting(std::io::Error::other("no such table"));
        assert_eq!(one_line(&error.into()), "cannot migrate: no such table");
        let error = std::fs::read("/no/such/file").context("cannot read").unwrap_err();
        assert_eq!(one_line(&error), "cannot read: No such file or directory (os error 2)");
    }
}
