//! From a file to a config: read, parse, lay the environment over it, check.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::Config;
use super::problem::{ConfigError, Place, Problem, Problems};
use super::promxy::read_config;
use super::secret_file::error_words;
use super::section::{Item, Origin};
use super::source::{ENVIRONMENT_PREFIX, merge_layers, own_variables};
use super::yaml::{FILE_BYTES_MAX, read_yaml};

/// A config that can be used, and what is odd about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadedConfig {
    /// The config.
    pub config: Config,
    /// What has no effect or is probably not meant, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// What `--check-config` prints about a good file: its warnings, and that it is valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckReport {
    file: String,
    warnings: Vec<Problem>,
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        write!(f, "{} is a valid Quiver config file", self.file)
    }
}

/// Reads a config file with the environment over it, and logs its warnings.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let loaded = load_with_warnings(path)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.config)
}

/// As [`load`], but hands the warnings back.
///
/// # Errors
/// As [`load`].
pub fn load_with_warnings(path: &Path) -> Result<LoadedConfig, ConfigError> {
    let file_name = path.to_string_lossy();
    let text = read_config_file(path).map_err(|message| whole_file_error(&file_name, message))?;
    parse_with_environment(&text, &file_name, &process_environment()?)
}

/// Checks everything about a config file that can be checked without the network.
///
/// # Errors
/// As [`load`].
pub fn check(path: &Path) -> Result<CheckReport, ConfigError> {
    let loaded = load_with_warnings(path)?;
    Ok(CheckReport { file: path.to_string_lossy().into_owned(), warnings: loaded.warnings })
}

/// Reads a config from its text; `file_name` is what errors say. The environment has no say.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, file_name: &str) -> Result<LoadedConfig, ConfigError> {
    parse_with_environment(text, file_name, &BTreeMap::new())
}

/// As [`parse`], with these environment variables over the file. Only those that begin with `QUIVER__` are read.
///
/// # Errors
/// As [`load`].
pub fn parse_with_environment(
    text: &str,
    file_name: &str,
    environment: &BTreeMap<String, String>,
) -> Result<LoadedConfig, ConfigError> {
    let tree = read_yaml(text).map_err(|error| {
        let place = Place::File { file: file_name.to_owned(), position: Some(error.position) };
        ConfigError::new(vec![Problem { place, path: String::new(), message: error.message }])
    })?;
    let tree = Arc::new(tree);
    let mut problems = Problems::default();
    let variables = own_variables(environment, &mut problems.errors);
    let merged = merge_layers(&tree, environment, &variables)
        .map_err(|error| whole_file_error(file_name, format!("cannot be merged with the environment: {error}")))?;
    let origin = Origin { file: file_name.to_owned(), variables };
    let config = read_config(&Item::root(&merged, &tree, &origin), &mut problems);
    if problems.errors.is_empty() {
        return Ok(LoadedConfig { config, warnings: problems.sorted_warnings() });
    }
    Err(ConfigError::new(problems.errors))
}

fn whole_file_error(file_name: &str, message: String) -> ConfigError {
    let place = Place::File { file: file_name.to_owned(), position: None };
    ConfigError::new(vec![Problem { place, path: String::new(), message }])
}

fn read_config_file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read the config file: {}", error_words(&error)))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        format!("the config file is not UTF-8 in line {line}")
    })
}

/// Our variables of this process.
fn process_environment() -> Result<BTreeMap<String, String>, ConfigError> {
    let prefix = format!("{ENVIRONMENT_PREFIX}__").to_lowercase();
    let mut own = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.to_lowercase().starts_with(&prefix)) else { continue };
        let Ok(value) = value.into_string() else {
            let place = Place::Environment { variable: name.to_owned() };
            let message = "the value is not UTF-8".to_owned();
            return Err(ConfigError::new(vec![Problem { place, path: String::new(), message }]));
        };
        own.insert(name.to_owned(), value);
    }
    Ok(own)
}
