//! Who evaluated what: noted while a query runs, shown with its statistics.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// More notes than this are not kept.
const KEPT_MAX: usize = 1_000;

/// Where a part of the data was evaluated in the end.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum EvaluatedBy {
    /// By the servers that hold the part.
    Servers,
    /// Here, from its samples.
    Quiver,
}

impl fmt::Display for EvaluatedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Servers => "pushdown",
            Self::Quiver => "exact",
        })
    }
}

/// One sub-expression and one part of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartEvaluation {
    /// The sub-expression, as the client would write it.
    pub expression: String,
    /// The part's name.
    pub part: String,
    /// Who evaluated it.
    pub by: EvaluatedBy,
    /// Why.
    pub reason: String,
}

/// The notes of one query. Cheap to clone; bounded.
#[derive(Clone, Default, Debug)]
pub struct PartEvaluations(Arc<Mutex<Vec<PartEvaluation>>>);

impl PartEvaluations {
    /// Adds a note.
    pub fn add(&self, note: PartEvaluation) {
        let mut notes = self.0.lock();
        if notes.len() < KEPT_MAX {
            notes.push(note);
        }
    }

    /// All notes, in order of arrival.
    pub fn snapshot(&self) -> Vec<PartEvaluation> {
        self.0.lock().clone()
    }
}
