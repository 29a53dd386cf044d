//! Asking many targets at once, and what their silence means.
//!
//! Targets of a group that add the same labels are replicas of each other: a bucket. One whole answer per bucket is needed;
//! replicas that failed beside it are warnings.
//!
//! | replicas of a bucket | result |
//! |---|---|
//! | all answered | all answers |
//! | some answered, some failed | the answers, and a warning for each failure |
//! | one answered, one still silent | waits for the group's `timeout`, or for a grace period; then as if it had failed |
//! | none answered | an error that names each; with `ignore_error` nothing, with `downgrade_error` a warning |
//! | the query's own limits were reached | that error, at once |

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::downstream::{Downstream, TargetUrl};
use crate::error::{Error, ErrorKind};
use crate::model::{Annotation, QueryContext};

/// Without a group `timeout`, a replica gets at least so long after its pair has answered …
const GRACE_MIN: Duration = Duration::from_secs(1);
/// … and at least so many times as long as its pair took.
const GRACE_FACTOR: u32 = 3;
/// Whatever the group allows: once a replica has answered, its pair may use up at most this part of the time that the query
/// had, so that the answer still gets out. In quarters.
const QUARTERS_FOR_STRAGGLERS: u32 = 3;

/// Who is asked, for texts: `server group "eu"`, or `server group 3` where it has no name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct GroupName {
    pub ordinal: usize,
    pub name: Option<String>,
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "server group {name:?}"),
            None => write!(f, "server group {}", self.ordinal),
        }
    }
}

/// What becomes of a bucket that did not answer at all.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum FailurePolicy {
    /// The query fails.
    Fail,
    /// `downgrade_error`: a warning.
    Warn,
    /// `ignore_error`: nothing.
    Ignore,
}

/// Starts asking one server.
pub(super) type Ask<'a, T> = &'a (dyn Fn(Arc<dyn Downstream>) -> BoxFuture<'static, Result<T, Error>> + Send + Sync);

/// One bucket to be asked.
pub(super) struct FanOut<'a> {
    pub group: &'a GroupName,
    pub replicas: &'a [Arc<dyn Downstream>],
    /// The group's `timeout`, which each request observes by itself.
    pub timeout: Option<Duration>,
    pub policy: FailurePolicy,
    pub context: &'a QueryContext,
}

impl FanOut<'_> {
    /// Asks all replicas, and returns the answers in the order of the replicas.
    pub(super) async fn ask<T: Send + 'static>(&self, ask: Ask<'_, T>) -> Result<Vec<T>, Error> {
        let started = Instant::now();
        let mut asked = JoinSet::new();
        for (index, replica) in self.replicas.iter().enumerate() {
            let answer = ask(Arc::clone(replica));
            asked.spawn(async move { (index, answer.await) });
        }
        let mut outcomes: Vec<Option<Result<T, Error>>> = self.replicas.iter().map(|_| None).collect();
        let mut first_answer = None;
        loop {
            let joined = match first_answer.and_then(|at| self.give_up_at(started, at)) {
                None => asked.join_next().await,
                Some(give_up_at) => match tokio::time::timeout_at(give_up_at, asked.join_next()).await {
                    Ok(joined) => joined,
                    // Dropping the set aborts who is still being asked.
                    Err(_) => break,
                },
            };
            let Some(joined) = joined else { break };
            let (index, outcome) = joined.map_err(|_| {
                Error::internal("asking a replica failed because of a defect in quiver; its log says where")
            })?;
            if let Err(error) = &outcome
                && ends_the_query(error)
            {
                return Err(error.clone());
            }
            if outcome.is_ok() && first_answer.is_none() {
                first_answer = Some(Instant::now());
            }
            outcomes[index] = Some(outcome);
        }
        self.judge(outcomes, started)
    }

    /// When to stop waiting for the others, one replica having answered at `first_answer`. `None`: their own requests end.
    pub(super) fn give_up_at(&self, started: Instant, first_answer: Instant) -> Option<Instant> {
        let by_group = match self.timeout {
            Some(_) => None,
            None => {
                let took = first_answer.saturating_duration_since(started);
                first_answer.checked_add(took.saturating_mul(GRACE_FACTOR).max(GRACE_MIN))
            }
        };
        let by_query = self.context.deadline.and_then(|deadline| {
            let whole = Instant::from_std(deadline).saturating_duration_since(started);
            started.checked_add(whole * QUARTERS_FOR_STRAGGLERS / 4)
        });
        by_group.into_iter().chain(by_query).min()
    }

    fn judge<T>(&self, outcomes: Vec<Option<Result<T, Error>>>, started: Instant) -> Result<Vec<T>, Error> {
        let mut answers = Vec::new();
        let mut failures = Vec::new();
        for (replica, outcome) in self.replicas.iter().zip(outcomes) {
            let url = replica.url().clone();
            match outcome {
                Some(Ok(value)) => answers.push(value),
                Some(Err(error)) => failures.push((url, error)),
                None => {
                    let waited = started.elapsed().as_millis();
                    let text = format!("no complete answer within {waited}ms, its pair has answered");
                    failures.push((url, Error::new(ErrorKind::Timeout, text)));
                }
            }
        }
        if answers.is_empty() && !self.replicas.is_empty() {
            return self.fail(&failures).map(|()| answers);
        }
        self.warn(&failures);
        Ok(answers)
    }

    /// A warning for each replica that failed beside one that answered.
    pub(super) fn warn(&self, failures: &[(TargetUrl, Error)]) {
        for (url, error) in failures {
            let text = format!("{}: replica {url} failed: {}", self.group, self.blame(url, error));
            self.context.annotations.add(Annotation::warning(text));
        }
    }

    /// promxy's words for a failed target; people match them.
    fn blame(&self, url: &TargetUrl, error: &Error) -> String {
        format!("error in servergroup ord={}: error in target={url}: {error}", self.group.ordinal)
    }

    /// No replica answered: what that means by the group's policy.
    pub(super) fn fail(&self, failures: &[(TargetUrl, Error)]) -> Result<(), Error> {
        let each: Vec<String> = failures.iter().map(|(url, error)| self.blame(url, error)).collect();
        let text = format!("{}: 0 of {} replicas answered: {}", self.group, self.replicas.len(), each.join("; "));
        let error = Error::new(gravest_kind(failures), text);
        match self.policy {
            FailurePolicy::Fail => Err(error),
            FailurePolicy::Ignore => Ok(()),
            FailurePolicy::Warn => {
                self.context.annotations.add(Annotation::warning(error.message()));
                Ok(())
            }
        }
    }
}

/// Is this no failure of the replica, but the end of the query?
pub(super) fn ends_the_query(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::TooManySamples | ErrorKind::Canceled | ErrorKind::Internal => true,
        ErrorKind::BadData
        | ErrorKind::Execution
        | ErrorKind::Timeout
        | ErrorKind::Unavailable
        | ErrorKind::NotFound => false,
    }
}

/// Of several kinds the one that says most: who understood the query and refused it knows more than who was not there.
fn gravest_kind(failures: &[(TargetUrl, Error)]) -> ErrorKind {
    let by_gravity = [ErrorKind::BadData, ErrorKind::Execution, ErrorKind::Timeout];
    let has = |kind: &ErrorKind| failures.iter().any(|(_, error)| error.kind() == *kind);
    by_gravity.into_iter().find(has).unwrap_or(ErrorKind::Unavailable)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;
    use futures::FutureExt;

    use super::*;
    use crate::config::Scheme;
    use crate::downstream::{SampleTimes, Selected};
    use crate::model::{Labels, MetadataRequest, MetricMetadata, SelectRequest};

    /// Has an address; the tests say themselves what it answers.
    #[derive(Debug)]
    struct Nobody(TargetUrl);

    fn not_asked<T>() -> Result<T, Error> {
        Err(Error::internal("the test answers in its place"))
    }

    #[async_trait]
    impl Downstream for Nobody {
        fn url(&self) -> &TargetUrl {
            &self.0
        }
        async fn select(&self, _: &SelectRequest, _: SampleTimes, _: &QueryContext) -> Result<Selected, Error> {
            not_asked()
        }
        async fn label_names(&self, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<String>, Error> {
            not_asked()
        }
        async fn label_values(&self, _: &str, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<String>, Error> {
            not_asked()
        }
        async fn series(&self, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<Labels>, Error> {
            not_asked()
        }
        async fn metric_metadata(
            &self,
            _: Option<&str>,
            _: &QueryContext,
        ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
            not_asked()
        }
    }

    /// What a replica does: answers, fails, or says nothing for ever.
    #[derive(Copy, Clone, Debug)]
    enum Outcome {
        Answers,
        Fails(ErrorKind),
        Hangs,
    }

    fn replicas(count: usize) -> Vec<Arc<dyn Downstream>> {
        let url = |number| TargetUrl::try_new(Scheme::Http, &format!("r{number}"), "").expect("a host");
        (0..count).map(|number| Arc::new(Nobody(url(number))) as Arc<dyn Downstream>).collect()
    }

    /// Which replicas' answers count, and the warnings.
    async fn ask(outcomes: &'static [Outcome], context: &QueryContext) -> Result<Vec<String>, Error> {
        let group = GroupName { ordinal: 0, name: None };
        let replicas = replicas(outcomes.len());
        let policy = FailurePolicy::Fail;
        let fan_out = FanOut { group: &group, replicas: &replicas, timeout: None, policy, context };
        let answer = |replica: Arc<dyn Downstream>| -> BoxFuture<'static, Result<String, Error>> {
            let number: usize = replica.url().as_str().trim_start_matches("http://r").parse().expect("as made above");
            match outcomes[number] {
                Outcome::Answers => std::future::ready(Ok(replica.url().to_string())).boxed(),
                Outcome::Fails(kind) => std::future::ready(Err(Error::new(kind, "boom"))).boxed(),
                Outcome::Hangs => std::future::pending().boxed(),
            }
        };
        fan_out.ask(&answer).await
    }

    fn warnings(context: &QueryContext) -> Vec<String> {
        context.annotations.snapshot().into_iter().map(|annotation| annotation.text).collect()
    }

    #[test]
    fn a_straggler_is_waited_for_as_long_as_the_group_and_the_query_allow() {
        let ms = Duration::from_millis;
        for (timeout, deadline, first_took, waited) in [
            // A second of grace after the first answer …
            (None, None, ms(100), Some(ms(1_100))),
            // … or three times what it took.
            (None, None, ms(1_000), Some(ms(4_000))),
            // The group's timeout replaces the grace; each request observes it by itself.
            (Some(ms(30_000)), None, ms(100), None),
            // The answer still has to get out before the query's deadline.
            (Some(ms(30_000)), Some(ms(2_000)), ms(100), Some(ms(1_500))),
            (None, Some(ms(1_000)), ms(100), Some(ms(750))),
            (None, Some(ms(120_000)), ms(100), Some(ms(1_100))),
        ] {
            let started = Instant::now();
            let deadline = deadline.and_then(|deadline| started.into_std().checked_add(deadline));
            let context = QueryContext::new(deadline, 1);
            let group = GroupName { ordinal: 0, name: None };
            let fan_out =
                FanOut { group: &group, replicas: &[], timeout, policy: FailurePolicy::Fail, context: &context };
            let give_up_at = fan_out.give_up_at(started, started + first_took);
            assert_eq!(give_up_at.map(|at| at - started), waited, "{timeout:?} {deadline:?} {first_took:?}");
        }
    }

    #[tokio::test]
    async fn a_dropped_straggler_is_named_and_so_is_a_failed_one() {
        let deadline = std::time::Instant::now().checked_add(Duration::from_millis(40));
        let context = QueryContext::new(deadline, 1);
        let outcomes = &[Outcome::Hangs, Outcome::Answers, Outcome::Fails(ErrorKind::Execution)];
        assert_eq!(ask(outcomes, &context).await, Ok(vec!["http://r1".to_owned()]));
        let [dropped, failed] = &warnings(&context)[..] else { panic!("two warnings: {:?}", warnings(&context)) };
        let blame = |number| {
            format!(
                "server group 0: replica http://r{number} failed: error in servergroup ord=0: error in target=http://r{number}: "
            )
        };
        assert!(dropped.starts_with(&(blame(0) + "no complete answer within ")), "{dropped}");
        assert!(dropped.ends_with("ms, its pair has answered"), "{dropped}");
        assert_eq!(*failed, blame(2) + "boom");
    }

    #[tokio::test]
    async fn when_all_fail_the_kind_says_most() {
        use ErrorKind::{BadData, Execution, Timeout, TooManySamples, Unavailable};
        use Outcome::{Answers, Fails};
        let cases: [(&'static [Outcome], ErrorKind); 6] = [
            (&[Fails(Unavailable), Fails(Unavailable)], Unavailable),
            (&[Fails(Unavailable), Fails(Timeout)], Timeout),
            (&[Fails(Execution), Fails(Timeout)], Execution),
            (&[Fails(Execution), Fails(BadData)], BadData),
            // The query's own limit, whatever the other says.
            (&[Fails(TooManySamples), Answers], TooManySamples),
            (&[Answers, Fails(TooManySamples)], TooManySamples),
        ];
        for (outcomes, kind) in cases {
            let error = ask(outcomes, &QueryContext::default()).await.expect_err("none answered");
            assert_eq!(error.kind(), kind, "{outcomes:?}");
        }
    }
}
