use std::str::FromStr;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Send observations, and read the identity that they belong to.
    Identify,
    /// Read identities without writing.
    Read,
    /// Correct contacts.
    Correct,
    /// Erase the data of a person.
    Erase,
    /// Follow changes.
    Watch,
    /// Read the metrics.
    Metrics,
}

impl Scope {
    const ALL: [Self; 6] = [Self::Identify, Self::Read, Self::Correct, Self::Erase, Self::Watch, Self::Metrics];

    /// Returns the name in the file of callers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Read => "read",
            Self::Correct => "correct",
            Self::Erase => "erase",
            Self::Watch => "watch",
            Self::Metrics => "metrics",
        }
    }
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scope = Self::ALL.into_iter().find(|scope| scope.name() == text);
        scope.ok_or("must be scopes out of identify, read, correct, erase, watch and metrics, with commas between them")
    }
}

/// A set of scopes, with at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Returns the set; `None` if it is empty.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Option<Self> {
        let bits = scopes.into_iter().fold(0, |bits, scope| bits | 1 << scope as u8);
        (bits != 0).then_some(Self(bits))
    }

    /// Returns whether the scope is in the set.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & 1 << scope as u8 != 0
    }

    /// Returns the names, in the order of [`Scope`].
    pub fn names(self) -> Vec<&'static str> {
        Scope::ALL.into_iter().filter(|scope| self.contains(*scope)).map(Scope::name).collect()
    }
}

impl FromStr for Scopes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scopes: Vec<Scope> = text.split(',').map(|name| name.trim().parse()).collect::<Result<_, _>>()?;
        Self::new(scopes).ok_or("must have a scope")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_scopes_that_it_was_made_of() {
        let scopes: Scopes = "watch, identify".parse().unwrap();
        assert_eq!(scopes.names(), ["identify", "watch"]);
        for scope in Scope::ALL {
            assert_eq!(scopes.contains(scope), [Scope::Identify, Scope::Watch].contains(&scope), "{scope:?}");
            assert_eq!(scope.name().parse(), Ok(scope));
        }
        for wrong in ["", "identify,", "Identify", "admin", "identify;read"] {
            assert!(wrong.parse::<Scopes>().unwrap_err().starts_with("must be scopes"), "{wrong}");
        }
        assert_eq!(Scopes::new([]), None);
    }
}
