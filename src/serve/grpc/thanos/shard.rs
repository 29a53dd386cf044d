//! Shards of series, as a Querier splits an aggregation over several calls.

use xxhash_rust::xxh64::xxh64;

use super::proto;
use super::request::LABEL_NAMES_MAX;
use crate::error::Error;
use crate::model::LabelsRef;

/// Which series are in the shard that is asked for.
///
/// Source: Thanos v0.42 pkg/store/storepb/shard_info.go. Other stores answer the other shards, so the hash has to be theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    index: u64,
    count: u64,
    /// Names of labels that are hashed, or of those that are not.
    names: Vec<String>,
    by: bool,
    text: Vec<u8>,
}

impl Shard {
    /// `None`: all series are asked for.
    pub(super) fn try_new(info: Option<&proto::ShardInfo>) -> Result<Option<Self>, Error> {
        let Some(info) = info else { return Ok(None) };
        let Ok(count @ 1..) = u64::try_from(info.total_shards) else { return Ok(None) };
        let index = u64::try_from(info.shard_index).ok().filter(|index| *index < count).ok_or_else(|| {
            let (index, count) = (info.shard_index, info.total_shards);
            Error::bad_data(format!("shard_info: there is no shard {index} of {count}, they are numbered from 0"))
        })?;
        if info.labels.len() > LABEL_NAMES_MAX {
            let count = info.labels.len();
            return Err(Error::bad_data(format!(
                "shard_info: {count} labels are named, at most {LABEL_NAMES_MAX} can be"
            )));
        }
        Ok(Some(Self { index, count, names: info.labels.clone(), by: info.by, text: Vec::new() }))
    }

    /// Is a series in it?
    pub(super) fn has(&mut self, labels: LabelsRef<'_>) -> bool {
        self.text.clear();
        for (name, value) in labels.iter() {
            if self.names.iter().any(|own| *own == name) == self.by {
                for text in [name, value] {
                    self.text.extend_from_slice(text.as_bytes());
                    self.text.push(0xff);
                }
            }
        }
        xxh64(&self.text, 0) % self.count == self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn shard(index: i64, count: i64, by: bool, names: &[&str]) -> Result<Option<Shard>, Error> {
        Shard::try_new(Some(&proto::ShardInfo {
            shard_index: index,
            total_shards: count,
            by,
            labels: names.iter().map(|name| (*name).to_owned()).collect(),
        }))
    }

    /// Printed by a program over Thanos v0.42's own `storepb.ShardInfo.Matcher`.
    #[test]
    fn a_series_is_in_the_shard_where_thanos_looks_for_it() {
        let series = |pod: &str| Labels::from_pairs([("__name__", "up"), ("job", "api"), ("pod", pod)]).encode();
        for &(by, names, expected) in SHARDS_OF_THANOS {
            let found: Vec<i64> = (0..12)
                .map(|pod| {
                    let labels = series(&format!("pod-{pod}"));
                    let is_in = |index: &i64| {
                        let shard = shard(*index, 5, by, names).expect("a shard");
                        shard.expect("sharded").has(labels.as_ref())
                    };
                    let found: Vec<i64> = (0..5).filter(is_in).collect();
                    assert_eq!(found.len(), 1, "a series is in one shard");
                    found[0]
                })
                .collect();
            assert_eq!(found.as_slice(), expected, "by={by} {names:?}");
        }
    }

    const SHARDS_OF_THANOS: &[(bool, &[&str], &[i64])] = &[
        (true, &["pod"], &[1, 4, 4, 4, 2, 4, 0, 2, 4, 0, 4, 2]),
        (true, &["pod", "job"], &[0, 1, 0, 4, 0, 3, 4, 0, 1, 4, 2, 3]),
        (true, &["nope"], &[1; 12]),
        (false, &[], &[2, 3, 3, 3, 2, 3, 4, 3, 3, 1, 4, 0]),
        (false, &["pod"], &[3; 12]),
        (false, &["__name__", "job"], &[1, 4, 4, 4, 2, 4, 0, 2, 4, 0, 4, 2]),
    ];

    #[test]
    fn no_shard_is_all_series_and_a_shard_that_is_not_there_is_a_mistake() {
        assert_eq!(Shard::try_new(None), Ok(None));
        assert_eq!(shard(0, 0, true, &[]), Ok(None));
        assert_eq!(shard(3, -1, true, &[]), Ok(None));
        for (index, count) in [(5, 5), (-1, 5), (i64::MAX, 1), (i64::MIN, 1)] {
            let error = shard(index, count, true, &[]).expect_err("not there");
            let text = format!("shard_info: there is no shard {index} of {count}, they are numbered from 0");
            assert_eq!(error.message(), text);
        }
        let names = vec!["a"; LABEL_NAMES_MAX + 1];
        let error = shard(0, 1, true, &names).expect_err("too many");
        assert_eq!(error.message(), "shard_info: 129 labels are named, at most 128 can be");
    }
}
