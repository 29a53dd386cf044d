//! `thanos.info.Info`: what a Querier learns of us every few seconds.
//!
//! A Querier leaves an endpoint out, without a word, where the announced labels or times say that it cannot have what a selector
//! asks for. So nothing is announced that could ever be wrong.

use std::collections::BTreeSet;

use tonic::{Request, Response, Status};

use super::Thanos;
use super::proto;
use super::proto::info::info_server::Info;
use super::proto::info::{InfoRequest, InfoResponse, LabelSet, QueryApiInfo, StoreInfo, TsdbInfo};
use crate::model::{Labels, TimestampMs};

/// As which of its components Thanos lists us: a Querier, too, puts together what others hold.
const COMPONENT: &str = "query";

#[tonic::async_trait]
impl Info for Thanos {
    async fn info(&self, _request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        if !self.api.is_ready() {
            return Err(Status::unavailable("not ready"));
        }
        let engine = self.api.engine();
        let source = engine.source();
        Ok(Response::new(announcement(source.fixed_labels(), source.covered_times(TimestampMs::now()))))
    }
}

/// What is said of parts with these labels and times.
///
/// | labels of the parts | `label_sets` | labels of `tsdb_infos` |
/// |---|---|---|
/// | `{region="eu"}`, `{region="us"}` | both | both |
/// | `{region="eu"}`, none | none | one empty set |
///
/// A Querier skips an empty label set where there are others, and would ask for the labels of those only.
fn announcement(part_labels: Vec<Labels>, times: (TimestampMs, TimestampMs)) -> InfoResponse {
    let all_are_known = part_labels.iter().all(|labels| !labels.is_empty());
    let sets: BTreeSet<Labels> = if all_are_known { part_labels.into_iter().collect() } else { BTreeSet::new() };
    let label_sets: Vec<LabelSet> = sets.iter().map(label_set).collect();
    // All of them have the times of the whole: of sets with the same labels a Querier in distributed mode takes the latest
    // beginning for that of all.
    let (min_time, max_time) = (times.0.0, times.1.0);
    let tsdb_info = |labels| TsdbInfo { labels: Some(labels), min_time, max_time };
    let tsdb_infos = match label_sets.is_empty() {
        true => vec![tsdb_info(LabelSet::default())],
        false => label_sets.iter().cloned().map(tsdb_info).collect(),
    };
    InfoResponse {
        label_sets,
        component_type: COMPONENT.to_owned(),
        store: Some(StoreInfo {
            min_time,
            max_time,
            supports_sharding: true,
            supports_without_replica_labels: true,
            tsdb_infos,
        }),
        query: Some(QueryApiInfo {}),
    }
}

fn label_set(labels: &Labels) -> LabelSet {
    let pairs = labels.iter();
    LabelSet {
        labels: pairs.map(|(name, value)| proto::Label { name: name.to_owned(), value: value.to_owned() }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(parts: &[&[(&str, &str)]]) -> (Vec<String>, Vec<String>) {
        let parts = parts.iter().map(|pairs| Labels::from_pairs(pairs.iter().copied())).collect();
        let info = announcement(parts, (TimestampMs(1), TimestampMs(2)));
        let text = |set: &LabelSet| {
            let pairs = set.labels.iter().map(|label| format!("{}={}", label.name, label.value));
            pairs.collect::<Vec<_>>().join(",")
        };
        let store = info.store.expect("a Store API");
        assert_eq!((store.min_time, store.max_time), (1, 2));
        assert!(store.tsdb_infos.iter().all(|tsdb| (tsdb.min_time, tsdb.max_time) == (1, 2)));
        let tsdbs = store.tsdb_infos.iter().map(|tsdb| text(tsdb.labels.as_ref().expect("labels")));
        (info.label_sets.iter().map(text).collect(), tsdbs.collect())
    }

    #[test]
    fn labels_are_announced_only_where_those_of_every_part_are_known() {
        let (eu, us) = (&[("region", "eu")][..], &[("region", "us")][..]);
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for (parts, sets, tsdbs) in [
            (vec![us, eu, us], texts(&["region=eu", "region=us"]), texts(&["region=eu", "region=us"])),
            (vec![eu, &[]], texts(&[]), texts(&[""])),
            (vec![&[][..]], texts(&[]), texts(&[""])),
            (vec![], texts(&[]), texts(&[""])),
        ] {
            assert_eq!(announced(&parts), (sets, tsdbs), "{parts:?}");
        }
    }
}
