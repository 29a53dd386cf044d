//! `host:port` of a target.

use std::net::Ipv6Addr;

use super::problem::quote;

/// What is wrong with the address of a target and how to write it, if anything is. Parts that may hold a secret
/// (`user:password@`, `?token=…`) are not repeated.
///
/// | text | |
/// |---|---|
/// | `prom-a:9090`, `10.0.0.1:9090`, `[::1]:9090`, `prom.example` | good; without a port, the scheme's |
/// | `http://prom-a:9090` | `write "prom-a:9090", and scheme: http in the server group` |
pub fn check_target_address(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty, write \"host:port\"".to_owned());
    }
    if text.contains('@') {
        return Err("must not hold a user or a password, use http_client.basic_auth".to_owned());
    }
    if text.contains(['?', '#']) {
        return Err("must not hold a query, use query_params".to_owned());
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        let advice = match scheme {
            "http" | "https" => format!(", and scheme: {scheme} in the server group"),
            _ => String::new(),
        };
        return Err(format!("{} has a scheme, write {}{advice}", quote(text), quote(host)));
    }
    if let Some((host, path)) = text.split_once('/') {
        let path = path.trim_end_matches('/');
        let advice = match path {
            "" => String::new(),
            path => format!(", and path_prefix: {} in the server group", quote(&format!("/{path}"))),
        };
        return Err(format!("{} has a path, write {}{advice}", quote(text), quote(host)));
    }
    let host = check_port(text)?;
    check_host(host)
}

/// A bare host name or address, as a certificate carries it.
pub fn check_server_name(text: &str) -> Result<(), String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(());
    }
    check_host(text)
}

/// Checks the port, if there is one, and returns what stands before it.
fn check_port(text: &str) -> Result<&str, String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("{} is an IPv6 address without brackets, write \"[{text}]:9090\"", quote(text)));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, "")) => return Ok(text),
        Some((inner, after)) => match after.strip_prefix(':') {
            Some(port) => (&text[..inner.len() + 2], port),
            None => return Err(format!("{} is not \"host:port\"", quote(text))),
        },
        None => match text.split_once(':') {
            Some(parts) => parts,
            None => return Ok(text),
        },
    };
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if is_port => Ok(host),
        _ => Err(format!("{} has the port {}, expected a number from 1 to 65535", quote(text), quote(port))),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("has no host, write \"host:port\"".to_owned());
    }
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or(inner);
        return match inner.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("{} is not an IPv6 address", quote(inner))),
        };
    }
    match host.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        None => Ok(()),
        Some(odd) => Err(format!("the host {} holds {odd:?}, expected letters, digits, \"-\" and \".\"", quote(host))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_target_is_a_host_and_maybe_a_port() {
        for text in ["prom-a:9090", "10.0.0.1:9090", "[::1]:9090", "[fe80::1]", "prom.example", "a_b:1", "x:65535"] {
            assert_eq!(check_target_address(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_wrong_target_says_how_to_write_it() {
        for (text, message) in [
            ("", "is empty, write \"host:port\""),
            ("http://a:9090", "\"http://a:9090\" has a scheme, write \"a:9090\", and scheme: http in the server group"),
            ("https://a/x", "\"https://a/x\" has a scheme, write \"a\", and scheme: https in the server group"),
            ("http://me:hunter2@a:9090", "must not hold a user or a password, use http_client.basic_auth"),
            ("a:9090?token=hunter2", "must not hold a query, use query_params"),
            (
                "a:9090/prom/",
                "\"a:9090/prom/\" has a path, write \"a:9090\", and path_prefix: \"/prom\" in the server group",
            ),
            ("a:9090/", "\"a:9090/\" has a path, write \"a:9090\""),
            ("::1", "\"::1\" is an IPv6 address without brackets, write \"[::1]:9090\""),
            ("[::1]9090", "\"[::1]9090\" is not \"host:port\""),
            ("[::x]:1", "\"::x\" is not an IPv6 address"),
            ("[::1", "\"[::1\" has the port \":1\", expected a number from 1 to 65535"),
            ("a:0", "\"a:0\" has the port \"0\", expected a number from 1 to 65535"),
            ("a:+1", "\"a:+1\" has the port \"+1\", expected a number from 1 to 65535"),
            ("a:70000", "\"a:70000\" has the port \"70000\", expected a number from 1 to 65535"),
            ("a:", "\"a:\" has the port \"\", expected a number from 1 to 65535"),
            (":9090", "has no host, write \"host:port\""),
            ("a b:1", "the host \"a b\" holds ' ', expected letters, digits, \"-\" and \".\""),
            ("ä:1", "the host \"ä\" holds 'ä', expected letters, digits, \"-\" and \".\""),
        ] {
            assert_eq!(check_target_address(text), Err(message.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]:/@?a0ä. ]{0,20}") {
            let _: Result<(), String> = check_target_address(&text);
        }
    }
}
