//! `tls_config`: what we trust and what we show in a TLS handshake.

use std::path::PathBuf;

use super::known_keys::{Key, KeyTable};
use super::problem::{Problems, quote};
use super::secret::Secret;
use super::secret_file::{check_certificates, check_private_key, read_certificate_path, read_key_path};
use super::section::{Item, Section};
use super::target_address::check_server_name;

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

/// The keys of `tls_config`.
pub static TLS_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].http_client.tls_config",
    about: "Only has an effect when `scheme` is `https`. Each of authorities, certificate and key stands here as PEM text \
            or in a file, not in both. Relative paths start where Quiver was started.",
    keys: &[
        Key {
            name: "ca_file",
            form: "file",
            default: "the platform's authorities",
            about: "PEM certificates of the authorities that may sign a target's certificate.",
            example: "ca_file: /etc/quiver/ca.pem",
        },
        Key {
            name: "ca",
            form: "PEM text",
            default: "none",
            about: "The same, in place.",
            example: "ca: |\n  -----BEGIN CERTIFICATE-----…",
        },
        Key {
            name: "cert_file",
            form: "file",
            default: "none",
            about: "PEM certificate chain that Quiver shows to targets (mutual TLS). Needs a key.",
            example: "cert_file: /etc/quiver/client.pem",
        },
        Key {
            name: "cert",
            form: "PEM text",
            default: "none",
            about: "The same, in place.",
            example: "cert: |\n  -----BEGIN CERTIFICATE-----…",
        },
        Key {
            name: "key_file",
            form: "file",
            default: "none",
            about: "PEM private key of that certificate.",
            example: "key_file: /etc/quiver/client.key",
        },
        Key {
            name: "key",
            form: "secret PEM text",
            default: "none",
            about: "The same, in place.",
            example: "key: |\n  -----BEGIN PRIVATE KEY-----…",
        },
        Key {
            name: "server_name",
            form: "text",
            default: "the target's host",
            about: "The name that a target's certificate must carry.",
            example: "server_name: prometheus.internal",
        },
        Key {
            name: "insecure_skip_verify",
            form: "true or false",
            default: "false",
            about: "Accept any certificate. Anybody on the way can then read and forge answers.",
            example: "insecure_skip_verify: true",
        },
        Key {
            name: "min_version",
            form: "TLS12 or TLS13",
            default: "TLS12",
            about: "Oldest version of TLS to speak. Older ones than TLS12 are not spoken at all.",
            example: "min_version: TLS13",
        },
        Key {
            name: "max_version",
            form: "TLS12 or TLS13",
            default: "TLS13",
            about: "Newest version of TLS to speak.",
            example: "max_version: TLS12",
        },
    ],
    not_built: &[("ca_ref", "use ca_file"), ("cert_ref", "use cert_file"), ("key_ref", "use key_file")],
    inert: &[],
};

/// `tls_config`.
pub(super) fn read_tls(item: &Item<'_>, problems: &mut Problems) -> TlsConfig {
    let section = Section::open(item, &TLS_KEYS, &[], problems);
    let mut tls = TlsConfig {
        ca_file: section.get("ca_file").and_then(|item| read_certificate_path(item, problems)),
        ca: read_pem(&section, "ca", check_certificates, problems),
        cert_file: section.get("cert_file").and_then(|item| read_certificate_path(item, problems)),
        cert: read_pem(&section, "cert", check_certificates, problems),
        key_file: section.get("key_file").and_then(|item| read_key_path(item, problems)),
        key: read_pem(&section, "key", check_private_key, problems).map(Secret::new),
        server_name: section.get("server_name").and_then(|item| read_server_name(item, problems)),
        insecure_skip_verify: false,
        min_version: section.get("min_version").and_then(|item| read_version(item, problems)),
        max_version: section.get("max_version").and_then(|item| read_version(item, problems)),
    };
    if let Some(skip) = section.get("insecure_skip_verify").and_then(|item| item.truth(problems)) {
        tls.insecure_skip_verify = skip;
    }
    let both = [
        ("ca_file", "ca", tls.ca_file.is_some() && tls.ca.is_some()),
        ("cert_file", "cert", tls.cert_file.is_some() && tls.cert.is_some()),
        ("key_file", "key", tls.key_file.is_some() && tls.key.is_some()),
    ];
    for (file, text, _) in both.into_iter().filter(|(_, _, both)| *both) {
        if let Some(item) = section.get(file) {
            item.error(problems, format!("{text} is set too, keep one of them"));
        }
    }
    check_pair(&section, problems);
    if let (Some(min), Some(max), Some(item)) = (tls.min_version, tls.max_version, section.get("min_version"))
        && min > max
    {
        item.error(problems, format!("{} is newer than max_version {}", min.as_str(), max.as_str()));
    }
    tls
}

/// A certificate and its key only come together.
fn check_pair(section: &Section<'_>, problems: &mut Problems) {
    let either = |file, text| section.get(file).or_else(|| section.get(text));
    match (either("cert_file", "cert"), either("key_file", "key")) {
        (Some(certificate), None) => certificate.error(problems, "a certificate needs its key, set key_file"),
        (None, Some(key)) => key.error(problems, "a key needs its certificate, set cert_file"),
        _ => {}
    }
}

fn read_pem(
    section: &Section<'_>,
    key: &str,
    check: fn(&[u8]) -> Result<(), String>,
    problems: &mut Problems,
) -> Option<String> {
    let item = section.get(key)?;
    let text = item.text(problems).filter(|text| !text.is_empty())?;
    match check(text.as_bytes()) {
        Ok(()) => Some(text),
        Err(message) => {
            item.error(problems, format!("the text {message}"));
            None
        }
    }
}

fn read_server_name(item: &Item<'_>, problems: &mut Problems) -> Option<String> {
    let name = item.text(problems).filter(|name| !name.is_empty())?;
    match check_server_name(&name) {
        Ok(()) => Some(name),
        Err(message) => {
            item.error(problems, message);
            None
        }
    }
}

fn read_version(item: &Item<'_>, problems: &mut Problems) -> Option<TlsVersion> {
    let text = item.text(problems).filter(|text| !text.is_empty())?;
    match text.as_str() {
        "TLS12" => return Some(TlsVersion::Tls12),
        "TLS13" => return Some(TlsVersion::Tls13),
        "TLS10" | "TLS11" => {
            item.error(problems, format!("{text} is not safe and not spoken, write \"TLS12\" or \"TLS13\""))
        }
        _ => item.error(problems, format!("{} is not a version of TLS, write \"TLS12\" or \"TLS13\"", quote(&text))),
    }
    None
}
