//! Labels that a group adds to every series: put on answers, and taken off questions, where they route.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder};
use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::model::{
    COLUMN_LABELS, EncodedLabelsBuilder, Labels, LabelsBuilder, LabelsRef, MatchOp, Matcher, MetadataRequest,
};

/// The labels that the targets of a bucket add to their series, over any stored label of the same name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct AddedLabels(Labels);

impl AddedLabels {
    /// A target's own labels, overlaid by the group's.
    pub(super) fn new(target: &Labels, group: &Labels) -> Self {
        let mut all = LabelsBuilder::from(target);
        for (name, value) in group.iter() {
            all.set(name, value);
        }
        Self(all.finish())
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.0
    }

    /// Can no series of one be a series of the other? So it is if both add the same name with different values.
    pub(super) fn is_distinct_from(&self, other: &Self) -> bool {
        self.0.iter().any(|(name, value)| other.0.get(name).is_some_and(|other| other != value))
    }

    /// What is left to ask for: matchers on added labels are decided here. `None`: no series can match. Never empty, and
    /// never without a matcher that the empty text fails: servers refuse such selectors.
    pub(super) fn route(&self, matchers: &[Matcher]) -> Result<Option<Vec<Matcher>>, Error> {
        let mut rest = Vec::with_capacity(matchers.len());
        for matcher in matchers {
            match self.0.get(&matcher.name) {
                None => rest.push(matcher.clone()),
                Some(value) if !matches(matcher, value)? => return Ok(None),
                Some(_) => {}
            }
        }
        let mut selects_something = false;
        for matcher in &rest {
            selects_something |= !matches(matcher, "")?;
        }
        if !selects_something {
            rest.push(Matcher::new("__name__", MatchOp::Regex, ".+"));
        }
        Ok(Some(rest))
    }

    /// The same for a question about series: each selector is routed on its own. `None`: none of them can match.
    pub(super) fn route_metadata(&self, request: &MetadataRequest) -> Result<Option<MetadataRequest>, Error> {
        let mut selectors = Vec::with_capacity(request.selectors.len());
        for matchers in &request.selectors {
            let is_on_added = |matcher: &Matcher| self.0.get(&matcher.name).is_some();
            match self.route(matchers)? {
                None => {}
                // All that was asked is answered here: any series will do, and so will no selector at all.
                Some(_) if matchers.iter().all(is_on_added) => {
                    return Ok(Some(MetadataRequest { selectors: Vec::new(), ..request.clone() }));
                }
                Some(rest) => selectors.push(rest),
            }
        }
        let nothing_left = selectors.is_empty() && !request.selectors.is_empty();
        Ok((!nothing_left).then(|| MetadataRequest { selectors, ..request.clone() }))
    }

    /// The table with the labels on every row. The rows keep their order, which need not be sorted any more: `{a}` sorts
    /// before `{a,b}`, but `{a,sg}` behind `{a,b,sg}`. Two rows may have become the same series.
    pub(super) fn add_to_table(&self, table: RecordBatch) -> Result<RecordBatch, Error> {
        if self.0.is_empty() {
            return Ok(table);
        }
        let (at, _) = table
            .schema_ref()
            .column_with_name(COLUMN_LABELS)
            .ok_or_else(|| Error::internal("table without labels from a downstream"))?;
        let labels = table.column(at).as_any().downcast_ref::<BinaryArray>();
        let labels = labels.ok_or_else(|| Error::internal("labels from a downstream are not bytes"))?;
        let mut added = BinaryBuilder::with_capacity(labels.len(), labels.value_data().len());
        let mut set = EncodedLabelsBuilder::default();
        for bytes in labels.iter().flatten() {
            set.clear();
            for (name, value) in LabelsRef::new(bytes).iter().filter(|(name, _)| self.0.get(name).is_none()) {
                set.push(&name, &value);
            }
            self.0.iter().for_each(|(name, value)| set.push(name, value));
            added.append_value(set.finish().map_err(|error| Error::internal(error.to_string()))?);
        }
        let mut columns: Vec<ArrayRef> = table.columns().to_vec();
        columns[at] = Arc::new(added.finish());
        RecordBatch::try_new(table.schema(), columns).map_err(|error| Error::internal(error.to_string()))
    }

    /// A label set with the labels on it.
    pub(super) fn add_to_labels(&self, labels: &Labels) -> Labels {
        let mut all = LabelsBuilder::from(labels);
        for (name, value) in self.0.iter() {
            all.set(name, value);
        }
        all.finish()
    }
}

fn matches(matcher: &Matcher, value: &str) -> Result<bool, Error> {
    let compiled = matcher.compile().map_err(|error| Error::bad_data(error.to_string()))?;
    Ok(compiled.matches(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SamplesTable, SamplesTableBuilder};

    fn added(pairs: &[(&str, &str)]) -> AddedLabels {
        AddedLabels(Labels::from_pairs(pairs.iter().copied()))
    }

    fn everything() -> Matcher {
        Matcher::new("__name__", MatchOp::Regex, ".+")
    }

    #[test]
    fn matchers_on_added_labels_are_decided_here() {
        let eu = added(&[("sg", "eu")]);
        let up = || Matcher::equal("__name__", "up");
        let sg = |op, value: &str| Matcher::new("sg", op, value);
        for (matchers, rest) in [
            (vec![up()], Some(vec![up()])),
            (vec![up(), sg(MatchOp::Equal, "eu")], Some(vec![up()])),
            (vec![up(), sg(MatchOp::Equal, "us")], None),
            (vec![up(), sg(MatchOp::NotEqual, "eu")], None),
            (vec![up(), sg(MatchOp::Regex, "e.|us")], Some(vec![up()])),
            (vec![up(), sg(MatchOp::NotRegex, "e.")], None),
            (vec![up(), sg(MatchOp::Equal, "")], None),
            (vec![sg(MatchOp::Equal, "eu")], Some(vec![everything()])),
            // What is left matches series without the label too, and servers refuse to select everything so.
            (
                vec![sg(MatchOp::Equal, "eu"), Matcher::new("job", MatchOp::Regex, ".*")],
                Some(vec![Matcher::new("job", MatchOp::Regex, ".*"), everything()]),
            ),
        ] {
            assert_eq!(eu.route(&matchers), Ok(rest), "{matchers:?}");
        }
    }

    #[test]
    fn selectors_of_metadata_are_routed_one_by_one() {
        let eu = added(&[("sg", "eu")]);
        let request =
            |selectors: Vec<Vec<Matcher>>| MetadataRequest { selectors, start: None, end: None, limit: Some(3) };
        let (up, in_eu, in_us) =
            (Matcher::equal("__name__", "up"), Matcher::equal("sg", "eu"), Matcher::equal("sg", "us"));
        for (selectors, routed) in [
            (vec![], Some(vec![])),
            (vec![vec![up.clone()]], Some(vec![vec![up.clone()]])),
            (vec![vec![up.clone(), in_us.clone()], vec![up.clone(), in_eu.clone()]], Some(vec![vec![up.clone()]])),
            (vec![vec![up.clone()], vec![in_eu.clone()]], Some(vec![])),
            (vec![vec![in_us.clone()]], None),
        ] {
            assert_eq!(eu.route_metadata(&request(selectors.clone())), Ok(routed.map(request)), "{selectors:?}");
        }
    }

    #[test]
    fn added_labels_overwrite_stored_ones() {
        let own = AddedLabels::new(&Labels::from_pairs([("a", "1"), ("b", "1")]), &Labels::from_pairs([("b", "2")]));
        assert_eq!(own.labels(), &Labels::from_pairs([("a", "1"), ("b", "2")]));
        let stored = Labels::from_pairs([("__name__", "up"), ("a", "old")]);
        let expected = Labels::from_pairs([("__name__", "up"), ("a", "1"), ("b", "2")]);
        assert_eq!(own.add_to_labels(&stored), expected);
        let mut builder = SamplesTableBuilder::default();
        builder.push_sample(1, 1.0);
        builder.finish_series(stored.encode().as_bytes());
        let table = own.add_to_table(builder.finish()).expect("a samples table");
        assert_eq!(SamplesTable::try_new(&table).expect("a samples table").labels(0).to_labels(), expected);
    }

    #[test]
    fn only_different_values_of_one_name_tell_groups_apart() {
        assert!(added(&[("sg", "a")]).is_distinct_from(&added(&[("sg", "b")])));
        assert!(!added(&[("sg", "a")]).is_distinct_from(&added(&[("sg", "a")])));
        assert!(!added(&[("sg", "a")]).is_distinct_from(&added(&[("dc", "b")])));
        assert!(!added(&[("sg", "a")]).is_distinct_from(&added(&[])));
    }
}
