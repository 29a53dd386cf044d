//! `http_client`: how the targets of a server group are reached.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;

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

/// What we trust and what we show in a TLS handshake. Each of CA, certificate and key is a file or stands in the config
/// file, never both.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsConfig {
    /// PEM file of the authorities that may sign a target's certificate. Without one, the platform's are trusted.
    pub ca_file: Option<PathBuf>,
    /// The same as PEM text.
    pub ca: Option<String>,
    /// PEM file of our own certificate chain.
    pub cert_file: Option<PathBuf>,
    /// The same as PEM text.
    pub cert: Option<String>,
    /// PEM file of the key of our certificate.
    pub key_file: Option<PathBuf>,
    /// The same as PEM text.
    pub key: Option<Secret>,
    /// The name that the target's certificate must carry, in place of its host.
    pub server_name: Option<String>,
    /// Accept any certificate. Anybody on the way can then read and forge answers.
    pub insecure_skip_verify: bool,
    /// Oldest accepted version.
    pub min_version: Option<TlsVersion>,
    /// Newest accepted version.
    pub max_version: Option<TlsVersion>,
}

/// The versions of TLS that can be spoken at all.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    /// `TLS12`.
    Tls12,
    /// `TLS13`.
    Tls13,
}

impl TlsVersion {
    /// As the config file writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLS12",
            Self::Tls13 => "TLS13",
        }
    }
}
