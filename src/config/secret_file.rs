//! Files that a config names: they must be there, be readable, and hold what they should.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::http_header::is_header_value;
use super::problem::{Problems, quote};
use super::section::Item;

/// Largest certificate, key or password file; bundles of authorities have about 200 KiB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A file with a secret: not empty, and fit to be sent in a header.
pub(super) fn read_secret_path(item: &Item<'_>, problems: &mut Problems) -> Option<PathBuf> {
    let path = read_path(item, problems)?;
    let bytes = read_file(&path).map_err(|message| item.error(problems, message)).ok()?;
    let name = quote(&path.to_string_lossy());
    match std::str::from_utf8(&bytes).map(str::trim) {
        Err(_) => item.error(problems, format!("the file {name} is not text")),
        Ok("") => item.error(problems, format!("the file {name} is empty")),
        Ok(secret) if !is_header_value(secret) => {
            item.error(problems, format!("the file {name} holds more than one line or control characters"));
        }
        Ok(_) => {}
    }
    Some(path)
}

/// A file of PEM certificates.
pub(super) fn read_certificate_path(item: &Item<'_>, problems: &mut Problems) -> Option<PathBuf> {
    let path = read_path(item, problems)?;
    let bytes = read_file(&path).map_err(|message| item.error(problems, message)).ok()?;
    if let Err(message) = check_certificates(&bytes) {
        item.error(problems, format!("the file {} {message}", quote(&path.to_string_lossy())));
    }
    Some(path)
}

/// A file with a PEM private key.
pub(super) fn read_key_path(item: &Item<'_>, problems: &mut Problems) -> Option<PathBuf> {
    let path = read_path(item, problems)?;
    let bytes = read_file(&path).map_err(|message| item.error(problems, message)).ok()?;
    if let Err(message) = check_private_key(&bytes) {
        item.error(problems, format!("the file {} {message}", quote(&path.to_string_lossy())));
    }
    Some(path)
}

/// At least one certificate, and nothing broken among them.
pub(super) fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut count = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        certificate.map_err(|_| "is not valid PEM".to_owned())?;
        count += 1;
    }
    if count == 0 { Err("holds no PEM certificate".to_owned()) } else { Ok(()) }
}

/// One private key in any of its PEM forms.
pub(super) fn check_private_key(pem: &[u8]) -> Result<(), String> {
    PrivateKeyDer::from_pem_slice(pem).map(|_| ()).map_err(|_| "holds no PEM private key".to_owned())
}

/// A path as it is written: relative ones start where the process was started, as in promxy.
fn read_path(item: &Item<'_>, problems: &mut Problems) -> Option<PathBuf> {
    let text = item.text(problems)?;
    Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty())
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let name = quote(&path.to_string_lossy());
    let cannot_read = |error: std::io::Error| format!("cannot read the file {name}: {}", error_words(&error));
    let metadata = std::fs::metadata(path).map_err(cannot_read)?;
    // A pipe or a device could hold us up for ever.
    if !metadata.is_file() {
        return Err(format!("{name} is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(cannot_read)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the file {name} has more than {FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

/// The same words on every system.
pub(super) fn error_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}
