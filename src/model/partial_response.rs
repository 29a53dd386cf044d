//! What a query does about server groups that do not answer, and which groups it is about.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind};

/// So many failures are told one by one where no group answered; of the others it is said how many there are.
const TOLD_MAX: usize = 5;
/// A query may name so many groups.
const GROUPS_MAX: usize = 1_000;

/// What becomes of a group, or of a part of it, that did not answer. A failed replica whose pair answered is a warning in any
/// case.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum PartialResponse {
    /// What the group's own `ignore_error` and `downgrade_error` say; an error where it has neither.
    #[default]
    ByGroup,
    /// An error, even where the group has `ignore_error` or `downgrade_error`: the answer is whole or there is none.
    Refuse,
    /// A warning, and the answer of the others. An error where none of those that were asked has answered.
    Allow,
}

/// Which parts of the source answered a query and which did not. Cheap to clone; all clones are one; bounded.
#[derive(Clone, Debug, Default)]
pub struct PartAnswers(Arc<Mutex<Answers>>);

#[derive(Debug, Default)]
struct Answers {
    has_answered: bool,
    /// The first ones.
    failures: Vec<Error>,
    failure_count: usize,
}

impl PartAnswers {
    /// A part has answered in full.
    pub fn answered(&self) {
        self.0.lock().has_answered = true;
    }

    /// A part has not, and its group's failure is no error by itself.
    pub fn failed(&self, error: &Error) {
        let mut answers = self.0.lock();
        answers.failure_count = answers.failure_count.saturating_add(1);
        if answers.failures.len() < TOLD_MAX {
            answers.failures.push(error.clone());
        }
    }

    /// Was any failure told so far?
    pub fn has_failures(&self) -> bool {
        self.0.lock().failure_count > 0
    }

    /// Takes over what others, who were asked apart, have said.
    pub fn absorb(&self, others: &Self) {
        if Arc::ptr_eq(&self.0, &others.0) {
            return;
        }
        let (has_answered, failures, failure_count) = {
            let others = others.0.lock();
            (others.has_answered, others.failures.clone(), others.failure_count)
        };
        let mut answers = self.0.lock();
        answers.has_answered |= has_answered;
        answers.failure_count = answers.failure_count.saturating_add(failure_count);
        let room = TOLD_MAX.saturating_sub(answers.failures.len());
        answers.failures.extend(failures.into_iter().take(room));
    }

    /// At the end of a query: an error where some failed and none answered, so that nothing at all is not taken for an answer.
    fn judge(&self) -> Result<(), Error> {
        let answers = self.0.lock();
        let Some(first) = answers.failures.first().filter(|_| !answers.has_answered) else { return Ok(()) };
        let is_of_one_kind = answers.failures.iter().all(|failure| failure.kind() == first.kind());
        let kind = if is_of_one_kind { first.kind() } else { ErrorKind::Unavailable };
        let mut texts: Vec<String> = answers.failures.iter().map(ToString::to_string).collect();
        match answers.failure_count - answers.failures.len() {
            0 => {}
            more => texts.push(format!("and {more} more")),
        }
        Err(Error::new(kind, format!("no server group answered: {}", texts.join("; "))))
    }
}

/// How whole an answer has to be, and of whom it has to be: what a query says about its sources.
#[derive(Clone, Debug, Default)]
pub struct SourcePolicy {
    /// What becomes of parts that do not answer.
    pub partial_response: PartialResponse,
    /// Which did, and which did not.
    pub answers: PartAnswers,
    groups: Option<Arc<BTreeSet<String>>>,
}

impl SourcePolicy {
    /// A policy for the groups of these names, or for all.
    pub fn new(partial_response: PartialResponse, groups: Option<&[String]>) -> Self {
        let groups = groups.map(|groups| Arc::new(groups.iter().cloned().collect()));
        Self { partial_response, answers: PartAnswers::default(), groups }
    }

    /// Is a group of this name asked?
    pub fn chooses(&self, group: &str) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.contains(group))
    }

    /// Are all groups asked?
    pub fn chooses_all(&self) -> bool {
        self.groups.is_none()
    }

    /// Are the chosen groups among these? An error that says which are, where one is not.
    pub fn check_groups(&self, known: &[String]) -> Result<(), Error> {
        let Some(groups) = &self.groups else { return Ok(()) };
        if groups.is_empty() {
            return Err(Error::bad_data("no server group is chosen: name one, or leave the choice out to ask all"));
        }
        if groups.len() > GROUPS_MAX {
            let count = groups.len();
            return Err(Error::bad_data(format!("{count} server groups are chosen, at most {GROUPS_MAX} can be")));
        }
        match groups.iter().find(|group| !known.contains(group)) {
            None => Ok(()),
            Some(unknown) => {
                let unknown: String = unknown.chars().take(100).collect();
                Err(Error::bad_data(format!("there is no server group {unknown:?}, {}", there_are(known))))
            }
        }
    }

    /// At the end of a query: was anybody there? Only [`PartialResponse::Allow`] minds; else a failure was an error before, or is
    /// what the config wants.
    pub fn judge(&self) -> Result<(), Error> {
        match self.partial_response {
            PartialResponse::Allow => self.answers.judge(),
            PartialResponse::ByGroup | PartialResponse::Refuse => Ok(()),
        }
    }
}

fn there_are(known: &[String]) -> String {
    const NAMED_MAX: usize = 20;
    if known.is_empty() {
        return "there are none".to_owned();
    }
    let named: Vec<String> = known.iter().take(NAMED_MAX).map(|name| format!("{name:?}")).collect();
    let more = known.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("there are {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_where_none_answered_is_nothing_an_error() {
        let late = || Error::new(ErrorKind::Timeout, "late");
        let gone = || Error::new(ErrorKind::Unavailable, "gone");
        for (partial_response, failures, has_answered, expected) in [
            (PartialResponse::Allow, vec![], false, Ok(())),
            (PartialResponse::Allow, vec![late()], true, Ok(())),
            (PartialResponse::Allow, vec![late()], false, Err((ErrorKind::Timeout, "no server group answered: late"))),
            (
                PartialResponse::Allow,
                vec![late(), gone()],
                false,
                Err((ErrorKind::Unavailable, "no server group answered: late; gone")),
            ),
            (
                PartialResponse::Allow,
                vec![gone(); TOLD_MAX + 2],
                false,
                Err((ErrorKind::Unavailable, "no server group answered: gone; gone; gone; gone; gone; and 2 more")),
            ),
            (PartialResponse::ByGroup, vec![late()], false, Ok(())),
        ] {
            let policy = SourcePolicy::new(partial_response, None);
            failures.iter().for_each(|failure| policy.answers.failed(failure));
            if has_answered {
                policy.answers.answered();
            }
            let judged = policy.judge();
            let told = judged.as_ref().copied().map_err(|error| (error.kind(), error.message()));
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn groups_are_known_by_name_or_refused_with_those_that_are() {
        let many: Vec<String> = (0..25).map(|number| number.to_string()).collect();
        let too_many: Vec<String> = (0..GROUPS_MAX + 1).map(|number| number.to_string()).collect();
        let unknown = r#"there is no server group "asia", there are "eu", "us""#;
        for (chosen, known, expected) in [
            (None, names(&[]), Ok(())),
            (Some(names(&["us", "us"])), names(&["eu", "us"]), Ok(())),
            (Some(names(&["eu", "asia"])), names(&["eu", "us"]), Err(unknown)),
            (Some(names(&["eu"])), names(&[]), Err(r#"there is no server group "eu", there are none"#)),
            (
                Some(names(&[])),
                names(&["eu"]),
                Err("no server group is chosen: name one, or leave the choice out to ask all"),
            ),
            (Some(too_many), names(&["eu"]), Err("1001 server groups are chosen, at most 1000 can be")),
        ] {
            let policy = SourcePolicy::new(PartialResponse::ByGroup, chosen.as_deref());
            let checked = policy.check_groups(&known);
            assert_eq!(checked.as_ref().copied().map_err(Error::message), expected);
        }
        let policy = SourcePolicy::new(PartialResponse::ByGroup, Some(&names(&["eu"])));
        let text = policy.check_groups(&many).expect_err("not there").to_string();
        assert!(text.ends_with(r#""19" and 5 more"#), "{text}");
        assert!(policy.chooses("eu") && !policy.chooses("us") && !policy.chooses_all());
        assert!(SourcePolicy::default().chooses("us"));
    }
}
