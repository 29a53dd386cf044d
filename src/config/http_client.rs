//! `http_client`: how the targets of a server group are reached.

use std::path::PathBuf;
use std::time::Duration;

use super::http_header::{is_header_value, is_token};
use super::known_keys::{Key, KeyTable};
use super::problem::{Problems, quote};
use super::secret::Secret;
use super::secret_file::read_secret_path;
use super::section::{Item, Section};
use super::tls::{TlsConfig, read_tls};

/// How connections to the targets of a group are made, and who we say we are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpClientConfig {
    /// Longest wait for a TCP connection. Default 200ms: a dead host must not hold up its pair.
    pub dial_timeout: Duration,
    /// Credentials that go with every request; none by default.
    pub auth: Option<Auth>,
    /// TLS, used when the scheme is https.
    pub tls_config: TlsConfig,
}

/// promxy's default for `dial_timeout`.
const DIAL_TIMEOUT: Duration = Duration::from_millis(200);

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self { dial_timeout: DIAL_TIMEOUT, auth: None, tls_config: TlsConfig::default() }
    }
}

/// The `Authorization` header of our requests. `bearer_token` and `bearer_token_file` are read as `Authorization` with
/// the scheme `Bearer`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Auth {
    /// `basic_auth`.
    Basic {
        /// Sent as written; may be empty.
        username: String,
        /// Sent as written; an absent password is the empty one.
        password: SecretSource,
    },
    /// `authorization`.
    Authorization {
        /// First word of the header. Default `Bearer`.
        scheme: String,
        /// Second word of the header.
        credentials: SecretSource,
    },
}

/// Where a secret is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretSource {
    /// In the config file itself.
    Inline(Secret),
    /// In a file of its own, which may change while we run: read it again when it has. White space around the secret is
    /// not part of it.
    File(PathBuf),
}

/// The keys of `http_client`.
pub static HTTP_CLIENT_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].http_client",
    about: "How connections to the targets are made, and who Quiver says it is. At most one of `basic_auth`, \
            `authorization`, `bearer_token` and `bearer_token_file` can be used.",
    keys: &[
        Key {
            name: "dial_timeout",
            form: "duration",
            default: "200ms",
            about: "Longest wait for a TCP connection. A dead host is given up after this time; raise it for targets that \
                    are far away.",
            example: "dial_timeout: 1s",
        },
        Key {
            name: "basic_auth",
            form: "section",
            default: "none",
            about: "User name and password of HTTP basic authentication.",
            example: "basic_auth: {username: quiver, password_file: /etc/quiver/password}",
        },
        Key {
            name: "authorization",
            form: "section",
            default: "none",
            about: "An `Authorization` header of any other type.",
            example: "authorization: {type: Bearer, credentials_file: /etc/quiver/token}",
        },
        Key {
            name: "bearer_token",
            form: "secret text",
            default: "none",
            about: "The same as `authorization: {credentials: …}`.",
            example: "bearer_token: 3f9c…",
        },
        Key {
            name: "bearer_token_file",
            form: "file",
            default: "none",
            about: "The same as `authorization: {credentials_file: …}`.",
            example: "bearer_token_file: /etc/quiver/token",
        },
        Key {
            name: "tls_config",
            form: "section",
            default: "the platform's authorities",
            about: "What is trusted and shown when `scheme` is `https`.",
            example: "tls_config: {ca_file: /etc/quiver/ca.pem}",
        },
    ],
    not_built: &[
        ("http_headers", "use http_headers of the server group"),
        ("no_proxy", ""),
        ("oauth2", ""),
        ("proxy_connect_header", ""),
        ("proxy_from_environment", ""),
        ("proxy_url", ""),
        ("sigv4", ""),
    ],
    inert: &[
        ("enable_http2", "promxy ignores it too, targets are asked over HTTP/1.1"),
        ("follow_redirects", "promxy ignores it too"),
    ],
};

/// The keys of `basic_auth`.
pub static BASIC_AUTH_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].http_client.basic_auth",
    about: "HTTP basic authentication. The password stands here or in a file, not in both.",
    keys: &[
        Key {
            name: "username",
            form: "text",
            default: "empty",
            about: "Without a colon.",
            example: "username: quiver",
        },
        Key {
            name: "password",
            form: "secret text",
            default: "empty",
            about: "Printed nowhere. A file of its own is the safer place.",
            example: "password: correct-horse",
        },
        Key {
            name: "password_file",
            form: "file",
            default: "none",
            about: "Holds the password and nothing else.",
            example: "password_file: /etc/quiver/password",
        },
    ],
    not_built: &[
        ("password_ref", "use password_file"),
        ("username_file", "use username"),
        ("username_ref", "use username"),
    ],
    inert: &[],
};

/// The keys of `authorization`.
pub static AUTHORIZATION_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].http_client.authorization",
    about: "The `Authorization` header. promxy reads this section and then sends no credentials; Quiver sends them.",
    keys: &[
        Key {
            name: "type",
            form: "text",
            default: "Bearer",
            about: "First word of the header.",
            example: "type: Bearer",
        },
        Key {
            name: "credentials",
            form: "secret text",
            default: "none",
            about: "Second word of the header. Printed nowhere.",
            example: "credentials: 3f9c…",
        },
        Key {
            name: "credentials_file",
            form: "file",
            default: "none",
            about: "Holds the credentials and nothing else.",
            example: "credentials_file: /etc/quiver/token",
        },
    ],
    not_built: &[("credentials_ref", "use credentials_file")],
    inert: &[],
};

/// What stands for credentials when a wrong section has none: the config is refused anyway.
fn no_secret() -> SecretSource {
    SecretSource::Inline(Secret::new(""))
}

/// `http_client`.
pub(super) fn read_http_client(item: &Item<'_>, problems: &mut Problems) -> HttpClientConfig {
    let section = Section::open(item, &HTTP_CLIENT_KEYS, &[&BASIC_AUTH_KEYS, &super::tls::TLS_KEYS], problems);
    let mut client = HttpClientConfig::default();
    if let Some(timeout) = section.get("dial_timeout").and_then(|item| read_wait(item, problems)) {
        client.dial_timeout = timeout;
    }
    if let Some(item) = section.get("tls_config") {
        client.tls_config = read_tls(item, problems);
    }
    client.auth = read_auth(&section, problems);
    client
}

/// A wait, which must have an end. In promxy zero means for ever.
pub(super) fn read_wait(item: &Item<'_>, problems: &mut Problems) -> Option<Duration> {
    let wait = item.duration(problems)?;
    if wait.is_zero() {
        item.error(problems, "0 would be no limit, Quiver needs one: write for example \"5s\"");
        return None;
    }
    Some(wait)
}

fn read_auth(section: &Section<'_>, problems: &mut Problems) -> Option<Auth> {
    let mut found: Option<(&'static str, Auth)> = None;
    for name in ["basic_auth", "authorization", "bearer_token", "bearer_token_file"] {
        let Some(item) = section.get(name) else { continue };
        let auth = match name {
            "basic_auth" => Some(read_basic_auth(item, problems)),
            "authorization" => Some(read_authorization(item, problems)),
            "bearer_token" => read_header_secret(item, problems).map(SecretSource::Inline).map(bearer),
            _ => read_secret_path(item, problems).map(SecretSource::File).map(bearer),
        };
        let Some(auth) = auth else { continue };
        match &found {
            Some((first, _)) => item.error(problems, format!("{first} is set too, keep one of them")),
            None => found = Some((name, auth)),
        }
    }
    found.map(|(_, auth)| auth)
}

fn bearer(credentials: SecretSource) -> Auth {
    Auth::Authorization { scheme: "Bearer".to_owned(), credentials }
}

fn read_basic_auth(item: &Item<'_>, problems: &mut Problems) -> Auth {
    let section = Section::open(item, &BASIC_AUTH_KEYS, &[&AUTHORIZATION_KEYS], problems);
    let username = section.get("username").and_then(|item| read_username(item, problems)).unwrap_or_default();
    let password = read_either(&section, "password", "password_file", problems).unwrap_or_else(no_secret);
    Auth::Basic { username, password }
}

fn read_username(item: &Item<'_>, problems: &mut Problems) -> Option<String> {
    let username = item.text(problems)?;
    if username.contains(':') || username.chars().any(char::is_control) {
        item.error(problems, "a user name cannot hold a colon or control characters");
        return None;
    }
    Some(username)
}

fn read_authorization(item: &Item<'_>, problems: &mut Problems) -> Auth {
    let section = Section::open(item, &AUTHORIZATION_KEYS, &[&BASIC_AUTH_KEYS], problems);
    let scheme = section.get("type").and_then(|item| read_scheme(item, problems));
    let credentials = read_either(&section, "credentials", "credentials_file", problems);
    if credentials.is_none() && section.get("credentials_file").is_none() {
        item.error(problems, "needs credentials or credentials_file");
    }
    Auth::Authorization {
        scheme: scheme.unwrap_or_else(|| "Bearer".to_owned()),
        credentials: credentials.unwrap_or_else(no_secret),
    }
}

fn read_scheme(item: &Item<'_>, problems: &mut Problems) -> Option<String> {
    let scheme = item.text(problems).filter(|scheme| !scheme.is_empty())?;
    if scheme.eq_ignore_ascii_case("basic") {
        item.error(problems, "use basic_auth for this type");
        return None;
    }
    if !is_token(&scheme) {
        item.error(
            problems,
            format!("{} is not a type of authorization, write for example \"Bearer\"", quote(&scheme)),
        );
        return None;
    }
    Some(scheme)
}

/// A secret that stands here or in a file; an empty one counts as none.
fn read_either(section: &Section<'_>, inline: &str, file: &str, problems: &mut Problems) -> Option<SecretSource> {
    let here = section.get(inline).and_then(|item| read_header_secret(item, problems));
    let there = section.get(file).and_then(|item| Some((item, read_secret_path(item, problems)?)));
    match (here, there) {
        (Some(_), Some((item, _))) => {
            item.error(problems, format!("{inline} is set too, keep one of them"));
            None
        }
        (Some(secret), None) => Some(SecretSource::Inline(secret)),
        (None, Some((_, path))) => Some(SecretSource::File(path)),
        (None, None) => None,
    }
}

fn read_header_secret(item: &Item<'_>, problems: &mut Problems) -> Option<Secret> {
    let text = item.text(problems).filter(|text| !text.is_empty())?;
    if !is_header_value(&text) {
        item.error(problems, "a secret for a header cannot hold line breaks or control characters");
        return None;
    }
    Some(Secret::new(text))
}
