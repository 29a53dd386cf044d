//! Series on their way into the table: under the labels that a client sees, only those that match, in order.

use super::external_labels::{ExternalLabels, StaleExternalLabels};
use crate::decode::{DecodeError, SeriesFilter};
use crate::error::Error;
use crate::model::{CompiledMatchers, EncodedLabelsBuilder, LabelsRef, Matcher};

/// Takes external labels off, applies the matchers to what is left, and notes where the order is broken.
#[derive(Debug)]
pub(super) struct ClientLabels {
    external: ExternalLabels,
    matchers: CompiledMatchers,
    labels: EncodedLabelsBuilder,
    /// Of the last series that was taken.
    previous: Option<Vec<u8>>,
    stale: Option<StaleExternalLabels>,
    is_unsorted: bool,
}

impl ClientLabels {
    /// Fails on a matcher whose pattern RE2 refuses.
    pub(super) fn try_new(external: ExternalLabels, matchers: &[Matcher]) -> Result<Self, Error> {
        let matchers = CompiledMatchers::compile(matchers).map_err(|error| Error::bad_data(error.to_string()))?;
        let labels = EncodedLabelsBuilder::default();
        Ok(Self { external, matchers, labels, previous: None, stale: None, is_unsorted: false })
    }

    /// Why the last error came, if it came from a series that shows that the external labels are others by now.
    pub(super) fn stale_external_labels(&self) -> Option<&StaleExternalLabels> {
        self.stale.as_ref()
    }

    /// Was a series taken that belongs before the one before it?
    pub(super) fn is_unsorted(&self) -> bool {
        self.is_unsorted
    }
}

impl SeriesFilter for ClientLabels {
    fn accept(&mut self, labels: &[(&str, &str)], out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let kept = self.external.without(labels).map_err(|stale| {
            let text = format!("a series came without the server's external label {:?}", stale.0);
            self.stale = Some(stale);
            DecodeError::Incomplete(text)
        })?;
        self.labels.clear();
        kept.iter().for_each(|(name, value)| self.labels.push(name, value));
        let bytes = self
            .labels
            .finish()
            .map_err(|error| DecodeError::Incomplete(format!("a label set of the answer is none: {error}")))?;
        if !self.matchers.match_labels(LabelsRef::new(bytes)) {
            return Ok(false);
        }
        out.extend_from_slice(bytes);
        match &mut self.previous {
            // They differed when they came: one has stored what the server adds to the other.
            Some(previous) if previous.as_slice() == bytes => {
                return Err(DecodeError::Incomplete(same_series_text(LabelsRef::new(bytes))));
            }
            Some(previous) => {
                self.is_unsorted |= previous.as_slice() > bytes;
                previous.clear();
                previous.extend_from_slice(bytes);
            }
            previous @ None => *previous = Some(bytes.to_vec()),
        }
        Ok(true)
    }
}

/// Where nobody can tell two series apart any more.
pub(super) fn same_series_text(labels: LabelsRef<'_>) -> String {
    format!("two series are the same once the server's external labels are taken off: {labels}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, MatchOp};

    fn filter(matchers: &[Matcher]) -> ClientLabels {
        let external = ExternalLabels::new(&Labels::from_pairs([("replica", "a")]), vec![["s".to_owned()].into()]);
        ClientLabels::try_new(external, matchers).expect("matchers")
    }

    #[test]
    fn matchers_see_what_the_client_sees() {
        for (matcher, pairs, is_taken) in [
            (Matcher::equal("replica", "a"), [("job", "j"), ("replica", "a")], false),
            (Matcher::equal("replica", ""), [("job", "j"), ("replica", "a")], true),
            (Matcher::equal("replica", "s"), [("job", "j"), ("replica", "s")], true),
            (Matcher::new("job", MatchOp::Regex, "k|j"), [("job", "j"), ("replica", "a")], true),
            // A server that knows nothing of anchors.
            (Matcher::new("job", MatchOp::Regex, "j"), [("job", "jj"), ("replica", "a")], false),
        ] {
            let mut out = Vec::new();
            assert_eq!(filter(std::slice::from_ref(&matcher)).accept(&pairs, &mut out), Ok(is_taken), "{matcher:?}");
            let kept = pairs.into_iter().filter(|(name, value)| (*name, *value) != ("replica", "a"));
            let expected = if is_taken { Labels::from_pairs(kept) } else { Labels::default() };
            assert_eq!(LabelsRef::new(&out).to_labels(), expected);
        }
    }

    #[test]
    fn a_broken_order_is_noted() {
        let set = |job: &'static str| [("job", job), ("replica", "a")];
        for (jobs, is_unsorted) in [(["a", "b", "c"], false), (["a", "c", "b"], true)] {
            let mut filter = filter(&[]);
            for job in jobs {
                assert_eq!(filter.accept(&set(job), &mut Vec::new()), Ok(true));
            }
            assert_eq!(filter.is_unsorted(), is_unsorted, "{jobs:?}");
        }
        let mut filter = filter(&[]);
        assert_eq!(filter.accept(&set("a"), &mut Vec::new()), Ok(true));
        let error = filter.accept(&[("job", "a"), ("replica", "a"), ("x", "")], &mut Vec::new()).expect_err("the same");
        let text = "two series are the same once the server's external labels are taken off: {job=\"a\"}";
        assert_eq!(error.to_string(), text);
        // Who is not taken breaks no order.
        let mut only_b = self::filter(&[Matcher::equal("job", "b")]);
        assert_eq!(["c", "b"].map(|job| only_b.accept(&set(job), &mut Vec::new())), [Ok(false), Ok(true)]);
        assert!(!only_b.is_unsorted());
    }

    #[test]
    fn stale_external_labels_end_the_answer() {
        let mut filter = filter(&[]);
        let error = filter.accept(&[("job", "j")], &mut Vec::new()).expect_err("no replica");
        assert_eq!(error.to_string(), "a series came without the server's external label \"replica\"");
        assert_eq!(filter.stale_external_labels(), Some(&StaleExternalLabels("replica".to_owned())));
        let twice = filter.accept(&[("job", "j"), ("job", "k"), ("replica", "a")], &mut Vec::new());
        assert!(twice.is_err());
    }
}
