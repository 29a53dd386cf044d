//! Names and values of HTTP headers in config files.

use std::collections::{BTreeMap, HashSet};

use super::problem::{Problems, quote};
use super::secret::Secret;
use super::section::Item;

/// Headers that belong to the connection or to the body of a request; setting them would break requests.
const OURS: [&str; 11] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// `http_headers`.
pub(super) fn read_headers(item: &Item<'_>, problems: &mut Problems) -> BTreeMap<String, Secret> {
    let mut headers: BTreeMap<String, Secret> = BTreeMap::new();
    let mut folded_names = HashSet::new();
    for entry in item.entries(problems) {
        let name = entry.key();
        if !is_token(name) {
            entry.error(problems, format!("{} is not the name of a header", quote(name)));
        } else if OURS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            entry.error(problems, "this header is set by Quiver itself and cannot be set here");
        } else if !folded_names.insert(name.to_ascii_lowercase()) {
            entry.error(problems, "this header stands here twice (capitals do not matter in headers)");
        } else if let Some(value) = read_header_value(&entry, problems) {
            headers.insert(name.to_owned(), value);
        }
    }
    headers
}

/// The value is a secret: it is not repeated when it is wrong.
fn read_header_value(entry: &Item<'_>, problems: &mut Problems) -> Option<Secret> {
    let value = if entry.is_null() { String::new() } else { entry.text(problems)? };
    if !is_header_value(&value) {
        entry.error(problems, "a header cannot hold line breaks or control characters");
        return None;
    }
    Some(Secret::new(value))
}

/// RFC 9110, 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// What may follow the colon: anything but control characters; a tab is allowed.
pub(super) fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control())
}
