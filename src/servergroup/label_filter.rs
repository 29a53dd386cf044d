//! What a bucket cannot have: of some labels all values are known, and a selector that none of them matches is not sent.
//!
//! A matcher that the empty text satisfies also matches series without the label, so it excludes nobody. Until values have
//! been learned nothing is excluded by them, unless `on_sync_error` says `closed`. Labels are those of answers: after
//! relabelling, with the group's own.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use crate::config::{LabelFilterConfig, OnSyncError};
use crate::error::Error;
use crate::model::{CompiledMatcher, CompiledMatchers, MatchOp, Matcher, MetadataRequest, TimestampMs};
use crate::telemetry::LabelFilterMetrics;

/// Most values that are kept of one filter; a label with more is no label to filter by.
const VALUES_MAX: usize = 1_000_000;

/// The filter of one bucket.
#[derive(Debug)]
pub(super) struct LabelFilter {
    config: LabelFilterConfig,
    learned: RwLock<Option<Arc<Learned>>>,
    metrics: OnceLock<LabelFilterMetrics>,
}

/// The values of the dynamic labels at some moment.
#[derive(Debug)]
struct Learned {
    values: BTreeMap<String, BTreeSet<String>>,
    /// Values of samples before this were not asked for.
    since: Option<TimestampMs>,
}

/// What is known of one label.
enum Known<'a> {
    /// No series has another value.
    Only(Vec<&'a BTreeSet<String>>),
    /// Any other value is possible.
    Any,
}

impl LabelFilter {
    pub(super) fn new(config: LabelFilterConfig) -> Self {
        Self { config, learned: RwLock::default(), metrics: OnceLock::new() }
    }

    pub(super) fn config(&self) -> &LabelFilterConfig {
        &self.config
    }

    /// From now on its questions are counted; the first one to say so wins.
    pub(super) fn count_in(&self, metrics: &LabelFilterMetrics) {
        // A set of groups is started once, and a second start would say the same.
        let _ = self.metrics.set(metrics.clone());
    }

    /// Can a series with samples at or after `since` match? `kind` is what the question is counted as if not.
    pub(super) fn allows(
        &self,
        matchers: &[Matcher],
        since: Option<TimestampMs>,
        kind: &'static str,
    ) -> Result<bool, Error> {
        let is_allowed = self.can_match(matchers, since)?;
        if !is_allowed && let Some(metrics) = self.metrics.get() {
            metrics.filtered(kind);
        }
        Ok(is_allowed)
    }

    fn can_match(&self, matchers: &[Matcher], since: Option<TimestampMs>) -> Result<bool, Error> {
        let learned = self.learned.read().clone();
        let learned = learned.as_deref();
        let compiled = CompiledMatchers::compile(matchers).map_err(|error| Error::bad_data(error.to_string()))?;
        for name in self.filtered_names() {
            let own: Vec<&CompiledMatcher> = compiled.iter().filter(|one| one.matcher().name == *name).collect();
            if own.iter().all(|matcher| matcher.matches("")) {
                continue;
            }
            let matches = |value: &str| own.iter().all(|matcher| matcher.matches(value));
            let is_excluded =
                |value: &str| self.config.static_labels_exclude.get(name).is_some_and(|all| all.contains(value));
            let is_possible = match self.known(name, learned, since) {
                Known::Only(sets) => {
                    sets.into_iter().flatten().any(|value| !is_excluded(value.as_str()) && matches(value.as_str()))
                }
                Known::Any => !own
                    .iter()
                    .any(|matcher| matcher.matcher().op == MatchOp::Equal && is_excluded(&matcher.matcher().value)),
            };
            if !is_possible {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn filtered_names(&self) -> BTreeSet<&String> {
        let LabelFilterConfig { dynamic_labels, static_labels_include, static_labels_exclude, .. } = &self.config;
        dynamic_labels.iter().chain(static_labels_include.keys()).chain(static_labels_exclude.keys()).collect()
    }

    fn known<'a>(&'a self, name: &str, learned: Option<&'a Learned>, since: Option<TimestampMs>) -> Known<'a> {
        let included = self.config.static_labels_include.get(name);
        let is_dynamic = self.config.dynamic_labels.contains(name);
        if !is_dynamic {
            return included.map_or(Known::Any, |included| Known::Only(vec![included]));
        }
        match learned {
            Some(learned) if learned.since.is_some_and(|from| since.is_none_or(|since| since < from)) => Known::Any,
            Some(learned) => Known::Only(learned.values.get(name).into_iter().chain(included).collect()),
            None if self.config.on_sync_error == OnSyncError::Closed => Known::Only(included.into_iter().collect()),
            None => Known::Any,
        }
    }

    /// A question about series without the selectors that cannot match; `None`: none of them can.
    pub(super) fn metadata(
        &self,
        request: &MetadataRequest,
        kind: &'static str,
    ) -> Result<Option<MetadataRequest>, Error> {
        if request.selectors.is_empty() {
            return Ok(Some(request.clone()));
        }
        let mut selectors = Vec::with_capacity(request.selectors.len());
        for matchers in &request.selectors {
            if self.can_match(matchers, request.start)? {
                selectors.push(matchers.clone());
            }
        }
        if selectors.is_empty() {
            if let Some(metrics) = self.metrics.get() {
                metrics.filtered(kind);
            }
            return Ok(None);
        }
        Ok(Some(MetadataRequest { selectors, ..request.clone() }))
    }

    /// Learns the values anew; `ask` gives those of one label. On an error what was known is forgotten, so that a value which
    /// came up meanwhile is not missed, unless the filter is closed.
    pub(super) async fn sync<F>(
        &self,
        now: TimestampMs,
        ask: impl Fn(String, MetadataRequest) -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<Vec<String>, Error>>,
    {
        let learned = self.learn(now, ask).await;
        let is_closed = self.config.on_sync_error == OnSyncError::Closed;
        match learned {
            Ok(learned) => *self.learned.write() = Some(Arc::new(learned)),
            Err(error) => {
                if !is_closed {
                    *self.learned.write() = None;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn learn<F>(&self, now: TimestampMs, ask: impl Fn(String, MetadataRequest) -> F) -> Result<Learned, Error>
    where
        F: Future<Output = Result<Vec<String>, Error>>,
    {
        let since = self.config.sync_lookback.map(|lookback| now - lookback);
        let mut values = BTreeMap::new();
        let mut value_count = 0;
        for name in &self.config.dynamic_labels {
            // Some servers look back only some hours where no start is given.
            let start = Some(since.unwrap_or(TimestampMs(0)));
            let request = MetadataRequest { selectors: Vec::new(), start, end: Some(now), limit: None };
            let answer = ask(name.clone(), request).await?;
            value_count += answer.len();
            if value_count > VALUES_MAX {
                return Err(Error::execution(format!(
                    "the labels of label_filter have more than {VALUES_MAX} values, take {name:?} out of dynamic_labels"
                )));
            }
            values.insert(name.clone(), answer.into_iter().collect());
        }
        Ok(Learned { values, since })
    }

    /// How many values of dynamic labels are known; `None` while none are.
    pub(super) fn known_values(&self) -> Option<usize> {
        self.learned.read().as_ref().map(|learned| learned.values.values().map(BTreeSet::len).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DurationMs;

    fn set(values: &[&str]) -> BTreeSet<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn filter(config: LabelFilterConfig) -> LabelFilter {
        LabelFilter::new(config)
    }

    fn dynamic(name: &str) -> LabelFilterConfig {
        LabelFilterConfig { dynamic_labels: set(&[name]), ..LabelFilterConfig::default() }
    }

    async fn synced(config: LabelFilterConfig, values: &'static [&'static str]) -> LabelFilter {
        let filter = filter(config);
        let answer = || async { Ok(values.iter().map(|value| (*value).to_owned()).collect()) };
        filter.sync(TimestampMs(1_000_000), |_, _| answer()).await.expect("learned");
        filter
    }

    fn can_match(filter: &LabelFilter, matchers: &[(&str, MatchOp, &str)]) -> bool {
        let matchers: Vec<Matcher> =
            matchers.iter().map(|(name, op, value)| Matcher::new(*name, *op, *value)).collect();
        filter.allows(&matchers, Some(TimestampMs(999_000)), "Query").expect("good patterns")
    }

    use MatchOp::{Equal, NotEqual, NotRegex, Regex};

    #[tokio::test]
    async fn a_selector_is_sent_where_some_value_or_no_value_matches() {
        let filter = synced(dynamic("job"), &["a", "b"]).await;
        for (matchers, is_sent) in [
            (&[][..], true),
            (&[("other", Equal, "x")], true),
            (&[("job", Equal, "a")], true),
            (&[("job", Equal, "c")], false),
            (&[("job", Regex, "c|b")], true),
            (&[("job", Regex, "c.*")], false),
            (&[("job", Regex, ".+")], true),
            // Series without the label match these too.
            (&[("job", NotEqual, "a")], true),
            (&[("job", Equal, "")], true),
            (&[("job", Regex, ".*")], true),
            (&[("job", NotRegex, "a|b")], true),
            (&[("job", Regex, "c|")], true),
            // These need the label.
            (&[("job", NotEqual, ""), ("job", NotRegex, "a|b")], false),
            (&[("job", NotEqual, ""), ("job", NotRegex, "a")], true),
            // One value must match all of them.
            (&[("job", Regex, "a|b"), ("job", NotEqual, "a"), ("job", NotEqual, "b")], false),
            (&[("other", Equal, "x"), ("job", Equal, "c")], false),
        ] {
            assert_eq!(can_match(&filter, matchers), is_sent, "{matchers:?}");
        }
        assert!(filter.allows(&[Matcher::new("job", Regex, "(")], None, "Query").is_err());
    }

    #[tokio::test]
    async fn static_values_are_added_and_taken_off() {
        let config = LabelFilterConfig {
            static_labels_include: [("job".to_owned(), set(&["c"])), ("dc".to_owned(), set(&["x", "y"]))].into(),
            static_labels_exclude: [("job".to_owned(), set(&["a"])), ("env".to_owned(), set(&["dev"]))].into(),
            ..dynamic("job")
        };
        let filter = synced(config, &["a", "b"]).await;
        for (matcher, is_sent) in [
            (("job", Equal, "a"), false),
            (("job", Equal, "b"), true),
            (("job", Equal, "c"), true),
            (("job", Regex, "a"), false),
            (("dc", Equal, "x"), true),
            (("dc", Equal, "z"), false),
            // Of `env` it is known only what it is not.
            (("env", Equal, "dev"), false),
            (("env", Equal, "prod"), true),
            (("env", Regex, "dev"), true),
        ] {
            assert_eq!(can_match(&filter, &[matcher]), is_sent, "{matcher:?}");
        }
    }

    #[tokio::test]
    async fn what_could_not_be_learned_excludes_nobody_unless_the_filter_is_closed() {
        let failing = |_, _| async { Err::<Vec<String>, _>(Error::execution("boom")) };
        for (on_sync_error, before, after_failure) in
            [(OnSyncError::Open, true, true), (OnSyncError::Closed, false, false)]
        {
            let config = LabelFilterConfig { on_sync_error, ..dynamic("job") };
            let never = filter(config.clone());
            assert_eq!(can_match(&never, &[("job", Equal, "c")]), before);
            assert!(can_match(&never, &[("job", NotEqual, "c")]));
            assert_eq!(never.known_values(), None);

            let once = synced(config, &["a", "b"]).await;
            assert_eq!(once.known_values(), Some(2));
            assert!(once.sync(TimestampMs(2_000_000), failing).await.is_err());
            assert_eq!(can_match(&once, &[("job", Equal, "c")]), after_failure);
            assert!(can_match(&once, &[("job", Equal, "a")]));
        }
    }

    #[tokio::test]
    async fn times_before_those_that_were_looked_at_are_always_asked_for() {
        let config = LabelFilterConfig { sync_lookback: Some(DurationMs(10_000)), ..dynamic("job") };
        let filter = synced(config, &["a"]).await;
        let absent = [Matcher::equal("job", "c")];
        for (since, is_sent) in [(Some(990_000), false), (Some(989_999), true), (None, true), (Some(2_000_000), false)]
        {
            assert_eq!(filter.allows(&absent, since.map(TimestampMs), "Query"), Ok(is_sent), "{since:?}");
        }
    }

    #[tokio::test]
    async fn selectors_of_metadata_are_judged_one_by_one() {
        let filter = synced(dynamic("job"), &["a"]).await;
        let request = |selectors: &[&str]| MetadataRequest {
            selectors: selectors.iter().map(|job| vec![Matcher::equal("job", *job)]).collect(),
            start: None,
            end: None,
            limit: Some(3),
        };
        for (selectors, left) in
            [(&[][..], Some(&[][..])), (&["a"], Some(&["a"])), (&["c", "a", "d"], Some(&["a"])), (&["c", "d"], None)]
        {
            assert_eq!(filter.metadata(&request(selectors), "Series"), Ok(left.map(request)), "{selectors:?}");
        }
    }

    #[tokio::test]
    async fn values_are_asked_for_since_ever_or_since_the_lookback() {
        for (sync_lookback, start) in [(None, 0), (Some(DurationMs(10_000)), 990_000)] {
            let asked = parking_lot::Mutex::new(Vec::new());
            let filter = filter(LabelFilterConfig { sync_lookback, ..dynamic("job") });
            let ask = |name: String, request: MetadataRequest| {
                asked.lock().push((name, request.start, request.end));
                async { Ok(Vec::new()) }
            };
            filter.sync(TimestampMs(1_000_000), ask).await.expect("learned");
            let (start, end) = (Some(TimestampMs(start)), Some(TimestampMs(1_000_000)));
            assert_eq!(*asked.lock(), [("job".to_owned(), start, end)]);
            // It has no value at all.
            assert!(!can_match(&filter, &[("job", Equal, "a")]));
        }
    }
}
