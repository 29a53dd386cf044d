//! The Python that has the foreign clients: pyarrow, ADBC, grpcio, prometheus-api-client.
//!
//! `scripts/test` makes it from tests/foreign_clients/requirements.txt. Where it could not, tests that need it say so and do
//! nothing, unless `QUIVER_TEST_REQUIRE_CLIENTS=1` says that they must.

use std::io::Write;
use std::path::{Path, PathBuf};

/// What has to be installed, as it stands in the checkout; `scripts/test` leaves a copy where it has installed just that.
const REQUIREMENTS: &str = include_str!("../foreign_clients/requirements.txt");

/// The program, or `None` where the test cannot be made: that has been said on the error stream, past the test's capture.
///
/// `QUIVER_TEST_PYTHON` names another one, whatever versions it has.
///
/// # Panics
/// Where there is none and `QUIVER_TEST_REQUIRE_CLIENTS=1`.
pub fn clients_python() -> Option<PathBuf> {
    match find() {
        Ok(python) => Some(python),
        Err(why) => {
            let text = format!("NOT TESTED with foreign clients: {why}");
            assert_ne!(std::env::var("QUIVER_TEST_REQUIRE_CLIENTS").as_deref(), Ok("1"), "{text}");
            writeln!(std::io::stderr(), "\n{text}\n").expect("an error stream");
            None
        }
    }
}

fn find() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("QUIVER_TEST_PYTHON") {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(format!("QUIVER_TEST_PYTHON={} is no file", named.display()))
        };
    }
    let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        _ => return Err("neither XDG_CACHE_HOME nor HOME is set".to_owned()),
    };
    let clients = cache.join("quiver-test/clients");
    let python = clients.join("bin/python");
    if !python.is_file() {
        return Err(format!("{} is not there; scripts/test makes it", python.display()));
    }
    match std::fs::read_to_string(clients.join("requirements.txt")) {
        Ok(installed) if installed == REQUIREMENTS => Ok(python),
        _ => Err(format!(
            "{} does not have the versions of tests/foreign_clients; scripts/test makes it anew",
            python.display()
        )),
    }
}
