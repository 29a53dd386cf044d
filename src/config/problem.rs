//! What is wrong with a config, and where.

use std::fmt;

use super::yaml::Position;

/// Most problems that are printed; the rest is counted.
const SHOWN_MAX: usize = 20;

/// Longest piece of the user's text in a message, in characters.
const QUOTE_CHARS_MAX: usize = 80;

/// Where a problem is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the config file; without a position if it is with the file as a whole.
    File {
        /// As it was named to us.
        file: String,
        /// Line and column.
        position: Option<Position>,
    },
    /// In an environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
}

impl Place {
    /// Sorts the environment behind the file, and within the file by position.
    fn order(&self) -> (bool, usize, usize) {
        match self {
            Self::File { position, .. } => {
                (false, position.map_or(0, |at| at.line), position.map_or(0, |at| at.column))
            }
            Self::Environment { .. } => (true, 0, 0),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, position: Some(position) } => write!(f, "{file}:{position}"),
            Self::File { file, position: None } => f.write_str(file),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
        }
    }
}

/// One thing that is wrong, or at least odd: `gateway.yml:14:20: promxy.server_groups[1].anti_affinity: "10" has no unit,
/// write "10s"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key, as `promxy.server_groups[1].anti_affinity`; empty if the text is not even YAML.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// A config that cannot be used: everything that is wrong with it, in the order of the file, one line each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// A failure with at least one problem.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place.order());
        Self { problems }
    }

    /// All of them, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(SHOWN_MAX).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        match self.problems.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more errors"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Gathers problems while a config is read, so that one look at the output is enough.
#[derive(Default, Debug)]
pub(super) struct Problems {
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl Problems {
    pub(super) fn sorted_warnings(self) -> Vec<Problem> {
        let mut warnings = self.warnings;
        warnings.sort_by_key(|problem| problem.place.order());
        warnings
    }
}

/// The user's own text in a message: in quotes, control characters escaped, cut if it is long. Never for a secret.
pub(super) fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: usize) -> Problem {
        let position = Some(Position { line, column: 3 });
        Problem {
            place: Place::File { file: "gateway.yml".to_owned(), position },
            path: "global.x".to_owned(),
            message: "is wrong".to_owned(),
        }
    }

    #[test]
    fn many_problems_are_shown_in_the_order_of_the_file_and_then_counted() {
        assert_eq!(
            ConfigError::new(vec![problem(9), problem(10), problem(2)]).to_string(),
            "gateway.yml:2:3: global.x: is wrong\ngateway.yml:9:3: global.x: is wrong\ngateway.yml:10:3: global.x: is wrong"
        );
        let text = ConfigError::new((1..=23).map(problem).collect()).to_string();
        assert!(text.ends_with("gateway.yml:20:3: global.x: is wrong\nand 3 more errors"), "{text}");
    }

    #[test]
    fn quoted_text_is_escaped_and_cut() {
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        assert_eq!(quote(&"ä".repeat(1000)), format!("\"{}\"…", "ä".repeat(80)));
    }
}
