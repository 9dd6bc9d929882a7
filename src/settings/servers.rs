//! The URL of a database that several servers can have: `mysql://USER:PASSWORD@ONE:3306,TWO/NAME`.

/// A URL for each server, all else being the same. A URL of one server comes back as it is.
pub(super) fn each(url: &str) -> Vec<String> {
    let (before, hosts, after) = around_hosts(url);
    hosts.split(',').map(|host| format!("{before}{host}{after}")).collect()
}

/// The URL with the hosts of another.
pub(super) fn with_hosts_of(url: &str, other: &str) -> String {
    let ((before, _, after), (_, hosts, _)) = (around_hosts(url), around_hosts(other));
    format!("{before}{hosts}{after}")
}

/// What stands before the hosts, the hosts, and what stands behind them. A password may have commas.
fn around_hosts(url: &str) -> (&str, &str, &str) {
    let authority = url.find("://").map_or(url.len(), |colon| colon + 3);
    let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |length| authority + length);
    let hosts = url[authority..end].rfind('@').map_or(authority, |at| authority + at + 1);
    (&url[..hosts], &url[hosts..end], &url[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_all_but_the_others_hosts() {
        assert_eq!(
            each("mysql://u:a,b@one:1,[::1]:2,three/d,e?x=1,2"),
            ["mysql://u:a,b@one:1/d,e?x=1,2", "mysql://u:a,b@[::1]:2/d,e?x=1,2", "mysql://u:a,b@three/d,e?x=1,2"]
        );
        assert_eq!(each("postgres://a,b"), ["postgres://a", "postgres://b"]);
    }

    #[test]
    fn one_server_is_as_it_was() {
        for url in ["mysql://u:p,@h/d", "postgres://h?a=b,c", "sqlite::memory:", "sqlite:///a,b/c,d", "x", ""] {
            assert_eq!(each(url), [url]);
        }
    }
}
