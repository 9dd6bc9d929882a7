//! Database URLs with several hosts: `mysql://USER:PASSWORD@ONE:3306,TWO/NAME`.

/// Returns one URL for each host. A URL with one host comes back unchanged.
pub(super) fn split_hosts(url: &str) -> Vec<String> {
    let (before, hosts, after) = split_around_hosts(url);
    hosts.split(',').map(|host| format!("{before}{host}{after}")).collect()
}

/// Returns `url` with the hosts of `other`.
pub(super) fn with_hosts_of(url: &str, other: &str) -> String {
    let ((before, _, after), (_, hosts, _)) = (split_around_hosts(url), split_around_hosts(other));
    format!("{before}{hosts}{after}")
}

/// Returns the part before the hosts, the hosts, and the part after them. A password may contain commas.
pub(super) fn split_around_hosts(url: &str) -> (&str, &str, &str) {
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
            split_hosts("mysql://u:a,b@one:1,[::1]:2,three/d,e?x=1,2"),
            ["mysql://u:a,b@one:1/d,e?x=1,2", "mysql://u:a,b@[::1]:2/d,e?x=1,2", "mysql://u:a,b@three/d,e?x=1,2"]
        );
        assert_eq!(split_hosts("postgres://a,b"), ["postgres://a", "postgres://b"]);
    }

    #[test]
    fn one_server_is_as_it_was() {
        for url in ["mysql://u:p,@h/d", "postgres://h?a=b,c", "sqlite::memory:", "sqlite:///a,b/c,d", "x", ""] {
            assert_eq!(split_hosts(url), [url]);
        }
    }
}
