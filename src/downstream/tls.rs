//! `tls_config` as rustls understands it.

use std::path::Path;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::config::{TlsConfig, TlsVersion};
use crate::error::{Error, ErrorKind};

/// Reads the certificates and keys that a group's `tls_config` names. Fails with the key of the config that is at fault.
pub(super) fn client_config(tls: &TlsConfig) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(tls)?)
        .map_err(|error| bad("min_version", error))?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider)))
    } else if let Some(pem) = pem_text("ca_file", tls.ca_file.as_deref(), tls.ca.as_deref())? {
        builder.with_root_certificates(root_store(&pem)?)
    } else {
        builder
            .with_native_roots()
            .map_err(|error| bad("ca_file", format!("none given, and no platform roots: {error}")))?
    };
    let certificates = pem_text("cert_file", tls.cert_file.as_deref(), tls.cert.as_deref())?;
    let key = pem_text("key_file", tls.key_file.as_deref(), tls.key.as_ref().map(|key| key.expose()))?;
    match (certificates, key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificates), Some(key)) => {
            let chain = certificates_of("cert_file", &certificates)?;
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| bad("key_file", "holds no PEM private key"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| bad("cert_file", error))
        }
        (Some(_), None) => Err(bad("cert_file", "needs a key_file beside it")),
        (None, Some(_)) => Err(bad("key_file", "needs a cert_file beside it")),
    }
}

/// A config for groups that speak plain HTTP: it trusts nobody and reads no file.
pub(super) fn unused_config() -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("TLS: {error}")))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn versions(tls: &TlsConfig) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let allowed =
        |version| tls.min_version.is_none_or(|min| version >= min) && tls.max_version.is_none_or(|max| version <= max);
    let all = [(TlsVersion::Tls12, &version::TLS12), (TlsVersion::Tls13, &version::TLS13)];
    let versions: Vec<_> = all.into_iter().filter(|(name, _)| allowed(*name)).map(|(_, version)| version).collect();
    if versions.is_empty() { Err(bad("min_version", "is newer than max_version")) } else { Ok(versions) }
}

fn pem_text(key: &str, file: Option<&Path>, inline: Option<&str>) -> Result<Option<Vec<u8>>, Error> {
    match (file, inline) {
        (Some(path), _) => match std::fs::read(path) {
            Ok(pem) => Ok(Some(pem)),
            Err(error) => Err(bad(key, format!("cannot read {}: {error}", path.display()))),
        },
        (None, inline) => Ok(inline.map(|text| text.as_bytes().to_vec())),
    }
}

fn certificates_of(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(bad(key, "holds no PEM certificate")),
    }
}

fn root_store(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_of("ca_file", pem)? {
        roots.add(certificate).map_err(|error| bad("ca_file", error))?;
    }
    Ok(roots)
}

fn bad(key: &str, problem: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::BadData, format!("http_client.tls_config.{key}: {problem}"))
}

/// `insecure_skip_verify`: any certificate will do, but the handshake's signatures must still be sound.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_key_of_the_config() {
        let missing = || Some(std::path::PathBuf::from("/no/such/file.pem"));
        let cases = [
            (TlsConfig { ca_file: missing(), ..TlsConfig::default() }, "ca_file: cannot read /no/such/file.pem: "),
            (TlsConfig { ca: Some("junk".into()), ..TlsConfig::default() }, "ca_file: holds no PEM certificate"),
            (
                TlsConfig { insecure_skip_verify: true, cert: Some("x".into()), ..TlsConfig::default() },
                "cert_file: needs a key_file beside it",
            ),
            (
                TlsConfig {
                    min_version: Some(TlsVersion::Tls13),
                    max_version: Some(TlsVersion::Tls12),
                    ..TlsConfig::default()
                },
                "min_version: is newer than max_version",
            ),
        ];
        for (tls, text) in cases {
            let error = client_config(&tls).expect_err("bad config").to_string();
            assert!(error.starts_with(&format!("http_client.tls_config.{text}")), "{error}");
        }
    }

    #[test]
    fn a_key_never_shows_in_an_error() {
        let key = Some(crate::config::Secret::from("hunter2"));
        let tls = TlsConfig { insecure_skip_verify: true, cert: Some("x".into()), key, ..TlsConfig::default() };
        let error = client_config(&tls).expect_err("bad config").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn without_verification_no_roots_are_needed() {
        assert!(client_config(&TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() }).is_ok());
        assert!(unused_config().is_ok());
    }
}
