//! Asking many targets at once, and what their silence means.
//!
//! Targets of a group that add the same labels are replicas of each other: a bucket. One whole answer per bucket is needed;
//! replicas that failed beside it are warnings.
//!
//! | replicas of a bucket | result |
//! |---|---|
//! | all answered | all answers |
//! | some answered, some failed | the answers, and a warning for each failure |
//! | one answered, one still silent | is waited for as long as is usual for it; then as if it had failed |
//! | one is unhealthy, another is not | the unhealthy one is not asked, and a warning says so, unless the others fail |
//! | none answered | an error that names each; with `ignore_error` nothing, with `downgrade_error` a warning |
//! | none answered, and the query says what it takes | that error, or a warning: [`PartialResponse`] wins over the group |
//! | the query's own limits were reached, or a gateway asks itself | that error, at once |

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::replica::{Replica, to_ask};
use super::replica_health::CallClass;
use crate::downstream::{Downstream, TargetUrl};
use crate::error::{Error, ErrorKind};
use crate::model::{Annotation, PartialResponse, QueryContext};

/// Whatever the group allows: once a replica has answered, its pair may use up at most this part of the time that the query
/// had, so that the answer still gets out. In quarters.
const QUARTERS_FOR_STRAGGLERS: u32 = 3;

/// Who is asked, for texts: `server group "eu"`, or `server group 3` where it has no name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct GroupName {
    pub ordinal: usize,
    pub name: Option<String>,
}

impl GroupName {
    /// `server group "eu": `, or nothing where it has no name: for texts that go on with its place.
    fn named(&self) -> String {
        if self.name.is_some() { format!("{self}: ") } else { String::new() }
    }
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

impl FailurePolicy {
    /// What it is for a query that may say so itself.
    pub(super) fn in_query(self, partial_response: PartialResponse) -> Self {
        match partial_response {
            PartialResponse::ByGroup => self,
            PartialResponse::Refuse => Self::Fail,
            PartialResponse::Allow => Self::Warn,
        }
    }
}

/// Starts asking one server.
pub(super) type Ask<'a, T> = &'a (dyn Fn(Arc<dyn Downstream>) -> BoxFuture<'static, Result<T, Error>> + Send + Sync);

/// One bucket to be asked.
pub(super) struct FanOut<'a> {
    pub group: &'a GroupName,
    pub replicas: &'a [Arc<Replica>],
    /// What is asked.
    pub class: CallClass,
    /// The group's `timeout`, which each request observes by itself.
    pub timeout: Option<Duration>,
    pub policy: FailurePolicy,
    pub context: &'a QueryContext,
}

impl FanOut<'_> {
    /// Asks the replicas that are worth it, and the others where none of those answered; returns the answers in the order of
    /// the replicas.
    pub(super) async fn ask<T: Send + 'static>(&self, ask: Ask<'_, T>) -> Result<Vec<T>, Error> {
        let mut outcomes: Vec<Option<Result<T, Error>>> = self.replicas.iter().map(|_| None).collect();
        let asked = to_ask(self.replicas);
        self.ask_some(|replica| asked[replica], ask, &mut outcomes).await?;
        if !outcomes.iter().flatten().any(Result::is_ok) && asked.contains(&false) {
            self.ask_some(|replica| !asked[replica], ask, &mut outcomes).await?;
        }
        self.judge(outcomes)
    }

    async fn ask_some<T: Send + 'static>(
        &self,
        is_asked: impl Fn(usize) -> bool,
        ask: Ask<'_, T>,
        outcomes: &mut [Option<Result<T, Error>>],
    ) -> Result<(), Error> {
        let started = Instant::now();
        let mut asked = JoinSet::new();
        let mut waiting: Vec<usize> = (0..self.replicas.len()).filter(|replica| is_asked(*replica)).collect();
        for index in waiting.iter().copied() {
            let answer = ask(Arc::clone(self.replicas[index].downstream()));
            asked.spawn(async move { (index, answer.await) });
        }
        let mut first_answer = None;
        while !waiting.is_empty() {
            let last_give_up = |at| waiting.iter().filter_map(|index| self.give_up_at(*index, started, at)).max();
            let joined = match first_answer.and_then(last_give_up) {
                None => asked.join_next().await,
                Some(give_up_at) => match tokio::time::timeout_at(give_up_at, asked.join_next()).await {
                    Ok(joined) => joined,
                    // Dropping the set aborts who is still being asked.
                    Err(_) => break,
                },
            };
            let lost = || Error::internal("asking a replica failed because of a defect in quiver; its log says where");
            let (index, outcome) = joined.ok_or_else(lost)?.map_err(|_| lost())?;
            waiting.retain(|other| *other != index);
            match &outcome {
                Err(error) if ends_the_query(error) => return Err(error.clone()),
                Err(error) => self.replicas[index].failed(self.class, started, error),
                Ok(_) => {
                    self.replicas[index].answered(self.class, started, Instant::now());
                    first_answer = first_answer.or_else(|| Some(Instant::now()));
                }
            }
            outcomes[index] = Some(outcome);
        }
        for index in waiting {
            outcomes[index] = Some(Err(self.replicas[index].left_behind(self.class, started)));
        }
        Ok(())
    }

    /// When to stop waiting for a replica that was asked at `started`, another having answered at `first_answer`.
    pub(super) fn give_up_at(&self, replica: usize, started: Instant, first_answer: Instant) -> Option<Instant> {
        let pair_took = first_answer.saturating_duration_since(started);
        let wait = self.replicas[replica].health().straggler_wait(self.class, pair_took, self.timeout);
        let by_query = self.context.deadline.and_then(|deadline| {
            let whole = Instant::from_std(deadline).saturating_duration_since(started);
            started.checked_add(whole * QUARTERS_FOR_STRAGGLERS / 4)
        });
        first_answer.checked_add(wait).into_iter().chain(by_query).min()
    }

    fn judge<T>(&self, outcomes: Vec<Option<Result<T, Error>>>) -> Result<Vec<T>, Error> {
        let mut answers = Vec::new();
        let mut failures = Vec::new();
        for (replica, outcome) in self.replicas.iter().zip(outcomes) {
            match outcome {
                Some(Ok(value)) => answers.push(value),
                Some(Err(error)) => failures.push((replica.url().clone(), error)),
                None => failures.push((replica.url().clone(), replica.left_out())),
            }
        }
        if answers.is_empty() && !self.replicas.is_empty() {
            return self.fail(&failures).map(|()| answers);
        }
        self.answered(&failures);
        Ok(answers)
    }

    /// The bucket has answered: a warning for each replica that failed beside one that did, in promxy's words, which people
    /// match.
    pub(super) fn answered(&self, failures: &[(TargetUrl, Error)]) {
        self.context.sources.answers.answered();
        for failure in failures {
            let text = format!("{}{}", self.group.named(), self.blame(std::slice::from_ref(failure)));
            self.context.annotations.add(Annotation::warning(text));
        }
    }

    fn blame(&self, failures: &[(TargetUrl, Error)]) -> String {
        let each: Vec<String> = failures.iter().map(|(url, error)| format!("error in target={url}: {error}")).collect();
        format!("error in servergroup ord={}: {}", self.group.ordinal, each.join("; "))
    }

    /// No replica answered: what that means by the group's policy.
    pub(super) fn fail(&self, failures: &[(TargetUrl, Error)]) -> Result<(), Error> {
        let (named, count) = (self.group.named(), self.replicas.len());
        let text = format!("{named}0 of {count} replicas answered: {}", self.blame(failures));
        let error = Error::new(gravest_kind(failures), text);
        match self.policy {
            FailurePolicy::Fail => Err(error),
            FailurePolicy::Ignore => Ok(()),
            FailurePolicy::Warn => {
                self.context.sources.answers.failed(&error);
                self.context.annotations.add(Annotation::warning(error.message()));
                Ok(())
            }
        }
    }
}

/// Is this no failure of the replica, but the end of the query?
pub(super) fn ends_the_query(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::TooManySamples | ErrorKind::Canceled | ErrorKind::Internal | ErrorKind::Loop => true,
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

    fn replicas(count: usize) -> Vec<Arc<Replica>> {
        let url = |number| TargetUrl::try_new(Scheme::Http, &format!("r{number}"), "").expect("a host");
        (0..count).map(|number| Replica::new(Arc::new(Nobody(url(number))))).collect()
    }

    async fn ask(outcomes: &'static [Outcome], context: &QueryContext) -> Result<Vec<String>, Error> {
        ask_of(&replicas(outcomes.len()), outcomes, context).await
    }

    /// Which replicas' answers count.
    async fn ask_of(
        replicas: &[Arc<Replica>],
        outcomes: &'static [Outcome],
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        let group = GroupName { ordinal: 0, name: None };
        let (policy, class) = (FailurePolicy::Fail, CallClass::Metadata);
        let fan_out = FanOut { group: &group, replicas, class, timeout: None, policy, context };
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
            // Nothing is known of the replica: a second after the first answer …
            (None, None, ms(100), ms(1_100)),
            // … or as long again as that took.
            (None, None, ms(3_000), ms(6_000)),
            // Never longer than the group's timeout …
            (Some(ms(300)), None, ms(100), ms(400)),
            (Some(ms(30_000)), None, ms(100), ms(1_100)),
            // … and the answer still has to get out before the query's deadline.
            (Some(ms(30_000)), Some(ms(2_000)), ms(1_400), ms(1_500)),
            (None, Some(ms(1_000)), ms(100), ms(750)),
        ] {
            let started = Instant::now();
            let deadline = deadline.and_then(|deadline| started.into_std().checked_add(deadline));
            let context = QueryContext::new(deadline, 1);
            let (group, replicas) = (GroupName { ordinal: 0, name: None }, replicas(1));
            let (policy, class) = (FailurePolicy::Fail, CallClass::Select);
            let fan_out = FanOut { group: &group, replicas: &replicas, class, timeout, policy, context: &context };
            let give_up_at = fan_out.give_up_at(0, started, started + first_took);
            assert_eq!(give_up_at.map(|at| at - started), Some(waited), "{timeout:?} {deadline:?} {first_took:?}");
        }
    }

    #[tokio::test]
    async fn a_dropped_straggler_is_named_and_so_is_a_failed_one() {
        let deadline = std::time::Instant::now().checked_add(Duration::from_millis(40));
        let context = QueryContext::new(deadline, 1);
        let outcomes = &[Outcome::Hangs, Outcome::Answers, Outcome::Fails(ErrorKind::Execution)];
        assert_eq!(ask(outcomes, &context).await, Ok(vec!["http://r1".to_owned()]));
        let [dropped, failed] = &warnings(&context)[..] else { panic!("two warnings: {:?}", warnings(&context)) };
        let blame = |number| format!("error in servergroup ord=0: error in target=http://r{number}: ");
        assert!(dropped.starts_with(&(blame(0) + "no complete answer within ")), "{dropped}");
        assert!(dropped.ends_with("ms, its pair has answered"), "{dropped}");
        assert_eq!(*failed, blame(2) + "boom");
    }

    /// Far less than a replica may stay behind, so that its end is what ends the wait.
    fn hurried() -> QueryContext {
        QueryContext::new(std::time::Instant::now().checked_add(Duration::from_millis(40)), 1)
    }

    #[tokio::test]
    async fn a_replica_that_hangs_is_waited_for_three_times_and_then_left_out_until_it_answers_a_probe() {
        let replicas = replicas(2);
        let hangs: &'static [Outcome] = &[Outcome::Hangs, Outcome::Answers];
        let mut told = Vec::new();
        for _ in 0..5 {
            let context = hurried();
            assert_eq!(ask_of(&replicas, hangs, &context).await, Ok(vec!["http://r1".to_owned()]));
            told.extend(warnings(&context));
        }
        assert_eq!(told.len(), 5, "none is silent: {told:?}");
        let blame = "error in servergroup ord=0: error in target=http://r0: ";
        let why = format!("{blame}not asked, because it has been failing since ");
        for (query, text) in told.iter().enumerate() {
            assert!(text.starts_with(&format!("{blame}no")), "{text}");
            assert_eq!(text.starts_with(&why), query >= 3, "{query}: {text}");
            assert!(text.ends_with("ms, its pair has answered"), "{text}");
        }
        // Its pair fails: then it is asked after all, and an answer heals it.
        let swapped: &'static [Outcome] = &[Outcome::Answers, Outcome::Fails(ErrorKind::Unavailable)];
        assert_eq!(ask_of(&replicas, swapped, &hurried()).await, Ok(vec!["http://r0".to_owned()]));
        assert!(!replicas[0].health().is_unhealthy());
        for _ in 0..3 {
            ask_of(&replicas, hangs, &hurried()).await.expect("its pair answers");
        }
        assert!(replicas[0].health().is_unhealthy());
        // These replicas answer every probe, the first of which comes after a second.
        let probed = async {
            let mut look = tokio::time::interval(Duration::from_millis(5));
            while replicas[0].health().is_unhealthy() {
                look.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), probed).await.expect("it is probed");
        let all = ["http://r0", "http://r1"].map(str::to_owned).to_vec();
        let both: &'static [Outcome] = &[Outcome::Answers, Outcome::Answers];
        assert_eq!(ask_of(&replicas, both, &hurried()).await, Ok(all));
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
