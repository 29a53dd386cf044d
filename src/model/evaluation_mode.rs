//! Where expressions are evaluated: here on raw samples, or by the servers themselves.

use std::fmt;
use std::str::FromStr;

/// How the parts of a query are brought together. Given for the whole program (`--query.mode`) and for a server group
/// (`mode`), which wins for that group.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum EvaluationMode {
    /// Raw samples are fetched, replicas merged sample by sample, everything evaluated here.
    Exact,
    /// Expressions are sent to the servers where the result is provably the same; replicas' answers are compared, and where
    /// they differ the group is asked again as in `Exact`.
    Pushdown,
    /// As `Pushdown` without the comparison: what one replica answers is believed.
    Trust,
    /// The cheaper of `Exact` and `Pushdown`, decided for each part of a query.
    #[default]
    Auto,
}

/// The word is none of the four modes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not a mode, write exact, pushdown, trust or auto")]
pub struct UnknownEvaluationMode(String);

impl EvaluationMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Pushdown, Self::Trust, Self::Auto];

    /// As it is written in the file and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Pushdown => "pushdown",
            Self::Trust => "trust",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for EvaluationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EvaluationMode {
    type Err = UnknownEvaluationMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        known.ok_or_else(|| UnknownEvaluationMode(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_they_print_and_nothing_else_does() {
        for mode in EvaluationMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        let error = "Exact".parse::<EvaluationMode>().expect_err("capitals are another word");
        assert_eq!(error.to_string(), "\"Exact\" is not a mode, write exact, pushdown, trust or auto");
    }
}
