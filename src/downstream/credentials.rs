//! The `Authorization` header of our requests.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use parking_lot::Mutex;

use crate::config::{Auth, Secret, SecretSource};
use crate::error::{Error, ErrorKind};

/// A secret's file is looked at again after so long: quick enough for a rotated token, and no file access for each of a
/// thousand queries a second.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What makes the header; reads secret files again when they change.
#[derive(Debug)]
pub(super) struct Credentials {
    form: Form,
    secret: SecretReader,
}

#[derive(Debug)]
enum Form {
    Basic { username: String },
    Scheme(String),
}

impl Credentials {
    pub(super) fn new(auth: &Auth) -> Self {
        let (form, source) = match auth {
            Auth::Basic { username, password } => (Form::Basic { username: username.clone() }, password),
            Auth::Authorization { scheme, credentials } => (Form::Scheme(scheme.clone()), credentials),
        };
        Self { form, secret: SecretReader::new(source) }
    }

    /// The value of the header, marked as sensitive.
    pub(super) fn header(&self) -> Result<HeaderValue, Error> {
        let secret = self.secret.read()?;
        let text = match &self.form {
            Form::Basic { username } => format!("Basic {}", BASE64.encode(format!("{username}:{}", secret.expose()))),
            Form::Scheme(scheme) => format!("{scheme} {}", secret.expose()),
        };
        let mut header = HeaderValue::from_str(&text)
            .map_err(|_| unavailable("the credentials hold a character that no header can carry"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

fn unavailable(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, text)
}

#[derive(Debug)]
enum SecretReader {
    Inline(Secret),
    File { path: PathBuf, read: Mutex<Option<FileRead>> },
}

#[derive(Debug, Clone)]
struct FileRead {
    checked: Instant,
    stamp: Stamp,
    secret: Secret,
}

/// What changes when a file is replaced or rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

impl SecretReader {
    fn new(source: &SecretSource) -> Self {
        match source {
            SecretSource::Inline(secret) => Self::Inline(secret.clone()),
            SecretSource::File(path) => Self::File { path: path.clone(), read: Mutex::new(None) },
        }
    }

    fn read(&self) -> Result<Secret, Error> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File { path, read } => {
                let mut read = read.lock();
                if let Some(known) = &*read
                    && known.checked.elapsed() < FILE_CHECK_INTERVAL
                {
                    return Ok(known.secret.clone());
                }
                let failed = |error| unavailable(format!("cannot read the credentials in {}: {error}", path.display()));
                let metadata = std::fs::metadata(path).map_err(failed)?;
                let stamp = Stamp { modified: metadata.modified().ok(), length: metadata.len() };
                let secret = match &*read {
                    Some(known) if known.stamp == stamp && stamp.modified.is_some() => known.secret.clone(),
                    _ => Secret::from(std::fs::read_to_string(path).map_err(failed)?.trim()),
                };
                *read = Some(FileRead { checked: Instant::now(), stamp, secret: secret.clone() });
                Ok(secret)
            }
        }
    }

    /// Forgets when the file was looked at last.
    #[cfg(test)]
    fn check_again(&self) {
        if let Self::File { read, .. } = self
            && let Some(known) = &mut *read.lock()
            && let Some(earlier) = known.checked.checked_sub(FILE_CHECK_INTERVAL)
        {
            known.checked = earlier;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn header(auth: &Auth) -> Result<String, Error> {
        let header = Credentials::new(auth).header()?;
        assert!(header.is_sensitive());
        Ok(header.to_str().expect("text").to_owned())
    }

    #[test]
    fn headers_are_written_as_their_schemes_say() {
        let inline = |text: &str| SecretSource::Inline(Secret::from(text));
        let basic = Auth::Basic { username: "Aladdin".into(), password: inline("open sesame") };
        assert_eq!(header(&basic).as_deref(), Ok("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        let bearer = Auth::Authorization { scheme: "Bearer".into(), credentials: inline("t0ken") };
        assert_eq!(header(&bearer).as_deref(), Ok("Bearer t0ken"));
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        writeln!(file, " first ").expect("written");
        let source = SecretSource::File(file.path().to_owned());
        let credentials = Credentials::new(&Auth::Authorization { scheme: "Bearer".into(), credentials: source });
        assert_eq!(credentials.header().expect("readable"), "Bearer first");
        writeln!(file, "longer").expect("written");
        assert_eq!(credentials.header().expect("readable"), "Bearer first", "not looked at again at once");
        credentials.secret.check_again();
        assert_eq!(
            credentials.header().map_err(|error| error.to_string()),
            Err("the credentials hold a character that no header can carry".into())
        );
        std::fs::write(file.path(), "second").expect("written");
        credentials.secret.check_again();
        assert_eq!(credentials.header().expect("readable"), "Bearer second");
    }

    #[test]
    fn errors_hold_no_secret() {
        let source = SecretSource::Inline(Secret::from("hun\nter2"));
        let error =
            header(&Auth::Authorization { scheme: "Bearer".into(), credentials: source }).expect_err("line feed");
        assert!(!error.to_string().contains("ter2"));
        let missing = SecretSource::File("/no/such/token".into());
        let error =
            header(&Auth::Authorization { scheme: "Bearer".into(), credentials: missing }).expect_err("no file");
        assert!(error.to_string().starts_with("cannot read the credentials in /no/such/token: "), "{error}");
    }
}
