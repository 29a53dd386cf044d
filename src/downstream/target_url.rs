//! The address of one target.

use std::fmt;
use std::fmt::Write;

use http::uri::{Authority, PathAndQuery, Scheme, Uri};

use crate::config;
use crate::error::{Error, ErrorKind};

/// `http://host:port/prefix`: where a target's API is. Prints so too; it never holds a query string or credentials.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TargetUrl {
    text: String,
    authority: Authority,
    is_tls: bool,
    path_prefix: String,
}

impl TargetUrl {
    /// `address` is `host:port`, `host` or `[v6]:port`; `path_prefix` is empty or begins with a slash.
    pub fn try_new(scheme: config::Scheme, address: &str, path_prefix: &str) -> Result<Self, Error> {
        // The text is quoted only where no credentials can be in it.
        if address.contains('@') {
            return Err(bad_target("a target holds an @: write credentials as http_client.basic_auth".to_owned()));
        }
        let authority = address
            .parse::<Authority>()
            .ok()
            .filter(|authority| !authority.host().is_empty())
            .ok_or_else(|| bad_target(format!("target {address:?} is not of the form host:port")))?;
        let path_prefix = path_prefix.trim_end_matches('/').to_owned();
        let text = format!("{scheme}://{authority}{path_prefix}");
        let is_tls = scheme == config::Scheme::Https;
        let url = Self { text, authority, is_tls, path_prefix };
        // Whatever the prefix holds: it is an error now, not at the first query.
        url.join("api/v1/query", "")?;
        Ok(url)
    }

    /// Host and port, as the config has them.
    pub fn host(&self) -> &str {
        self.authority.as_str()
    }

    /// The same host at another port.
    pub(super) fn with_port(&self, port: u16) -> String {
        format!("{}:{port}", self.authority.host())
    }

    /// Is it spoken to over TLS?
    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// As it stands in errors and warnings.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address of a call; `query` is already encoded.
    pub(super) fn join(&self, path: &str, query: &str) -> Result<Uri, Error> {
        let mut path = format!("{}/{path}", self.path_prefix);
        if !query.is_empty() {
            path.push('?');
            path.push_str(query);
        }
        let path = PathAndQuery::try_from(path).map_err(|_| {
            bad_target(format!("{self}: path_prefix or remote_read_path holds a character that no URL can carry"))
        })?;
        let scheme = if self.is_tls { Scheme::HTTPS } else { Scheme::HTTP };
        Uri::builder()
            .scheme(scheme)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| Error::internal(format!("{self}: {error}")))
    }
}

impl TargetUrl {
    /// As [`TargetUrl::join`], for a path from the config: slashes and dots are put in order as Go's `path.Join` does, and
    /// what would end the path in a URL is escaped.
    pub(super) fn join_clean(&self, path: &str, query: &str) -> Result<Uri, Error> {
        let mut segments: Vec<&str> = Vec::new();
        for segment in self.path_prefix.split('/').chain(path.split('/')) {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                segment => segments.push(segment),
            }
        }
        let path = segments.join("/").replace('?', "%3F").replace('#', "%23");
        let without_prefix = Self { path_prefix: String::new(), ..self.clone() };
        without_prefix.join(&path, query)
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn bad_target(text: String) -> Error {
    Error::new(ErrorKind::BadData, text)
}

/// A label name as a path element of `/api/v1/label/…/values`. Names outside of the legacy alphabet are written as
/// Prometheus 3 expects them: `U__`, then underscores doubled and other characters as `_hex_`.
pub(super) fn label_name_in_path(name: &str) -> String {
    let is_legacy = |(at, character): (usize, char)| match character {
        '_' | ':' | 'a'..='z' | 'A'..='Z' => true,
        '0'..='9' => at > 0,
        _ => false,
    };
    if name.chars().enumerate().all(is_legacy) && !name.starts_with("U__") {
        return name.to_owned();
    }
    let mut escaped = String::from("U__");
    for (at, character) in name.chars().enumerate() {
        match character {
            '_' => escaped.push_str("__"),
            ':' | 'a'..='z' | 'A'..='Z' => escaped.push(character),
            '0'..='9' if at > 0 => escaped.push(character),
            character => write!(escaped, "_{:x}_", character as u32).expect("a String takes everything"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_urls() {
        for (address, prefix, url) in [
            ("a:9090", "", "http://a:9090/api/v1/query?x=1"),
            ("a", "/prom", "http://a/prom/api/v1/query?x=1"),
            ("[::1]:9090", "/prom/", "http://[::1]:9090/prom/api/v1/query?x=1"),
        ] {
            let target = TargetUrl::try_new(config::Scheme::Http, address, prefix).expect("valid");
            assert_eq!(target.join("api/v1/query", "x=1").expect("valid").to_string(), url);
        }
        let target = TargetUrl::try_new(config::Scheme::Https, "a:9090", "/p").expect("valid");
        assert_eq!(target.to_string(), "https://a:9090/p");
    }

    #[test]
    fn configured_paths_are_put_in_order() {
        for (prefix, path, url) in [
            ("", "api/v1/read", "http://a/api/v1/read?x=1"),
            ("/prom", "api/v1/read", "http://a/prom/api/v1/read?x=1"),
            ("/prom", "/api//v1/./read/", "http://a/prom/api/v1/read?x=1"),
            ("/prom", "../read", "http://a/read?x=1"),
            ("/prom", "../../../read", "http://a/read?x=1"),
            ("/prom", "", "http://a/prom?x=1"),
            ("", "", "http://a/?x=1"),
            ("", "read?y=2#z", "http://a/read%3Fy=2%23z?x=1"),
        ] {
            let target = TargetUrl::try_new(config::Scheme::Http, "a", prefix).expect("valid");
            assert_eq!(target.join_clean(path, "x=1").expect("valid").to_string(), url, "{prefix} {path}");
        }
        let target = TargetUrl::try_new(config::Scheme::Http, "a", "").expect("valid");
        let error = target.join_clean("re ad", "").expect_err("a blank").to_string();
        assert_eq!(error, "http://a: path_prefix or remote_read_path holds a character that no URL can carry");
    }

    #[test]
    fn bad_addresses_are_refused_without_showing_credentials() {
        for (address, prefix, text) in [
            ("http://a:1", "", "target \"http://a:1\" is not of the form host:port"),
            ("", "", "target \"\" is not of the form host:port"),
            ("a:1/x", "", "target \"a:1/x\" is not of the form host:port"),
            ("me:hunter2@a", "", "a target holds an @: write credentials as http_client.basic_auth"),
            ("a", "/ x", "http://a/ x: path_prefix or remote_read_path holds a character that no URL can carry"),
        ] {
            let error = TargetUrl::try_new(config::Scheme::Http, address, prefix).expect_err(address);
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn label_names_outside_of_the_legacy_alphabet_are_escaped() {
        for (name, path) in [
            ("job", "job"),
            ("a:b", "a:b"),
            ("http.status_code", "U__http_2e_status__code"),
            ("1a/ü", "U___31_a_2f__fc_"),
            ("U__x", "U__U____x"),
        ] {
            assert_eq!(label_name_in_path(name), path);
        }
    }
}
