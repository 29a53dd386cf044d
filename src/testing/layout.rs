//! How the series of a test are spread over server groups and their replicas, so that their union is what was there before.

use std::fmt;

use super::TimedSample;
use crate::model::{DurationMs, Labels, Sample, labels_hash};

/// One way to spread series.
///
/// | layout | groups × replicas | who holds what |
/// |---|---|---|
/// | `single` | 1 × 1 | everything |
/// | `replicas` | 1 × 2 | both hold everything |
/// | `holes` | 1 × 2 | runs of two samples are on both, on the first, on the second, and so on; of native histograms the first is on both |
/// | `shards` | 3 × 1 | a series is in one group, by the hash of its labels; the groups are declared `disjoint` |
/// | `shards-nolabels` | 3 × 1 | the same, and nothing tells the groups apart |
/// | `time-split` | 2 × 1 | the older half of every series, and the newer half; the sample between is in both |
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Layout {
    /// One server.
    #[default]
    Single,
    /// Two equal replicas.
    Replicas,
    /// Two replicas with complementary holes.
    Holes,
    /// Groups of different series that say so.
    Shards,
    /// Groups of different series that do not say so.
    ShardsNolabels,
    /// Groups of the same series at different times.
    TimeSplit,
}

/// The shape of one server group of a test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupShape {
    /// Its name in the config.
    pub name: String,
    /// How many servers hold its data.
    pub replica_count: usize,
    /// Does its config say that no other group holds its series?
    pub disjoint: bool,
    /// The window within which samples of two replicas count as one scrape.
    pub anti_affinity: DurationMs,
    /// The labels that it adds to its series.
    pub labels: Labels,
}

impl GroupShape {
    /// A group whose replicas hold parts of one and the same series: whatever is at another time is another sample, so the
    /// window within which samples count as one scrape is nothing.
    pub fn new(name: impl Into<String>, replica_count: usize) -> Self {
        let (anti_affinity, labels) = (DurationMs(0), Labels::default());
        Self { name: name.into(), replica_count, disjoint: false, anti_affinity, labels }
    }
}

/// What one replica holds of a series.
#[derive(Clone, PartialEq, Debug)]
pub struct PlacedSamples {
    /// Place of the group.
    pub group: usize,
    /// Place of the replica in the group.
    pub replica: usize,
    /// In order of time; never empty.
    pub samples: Vec<TimedSample>,
}

/// Samples that follow each other and have the same holders, in [`Layout::Holes`]. Two, so that most holes are longer than
/// one sample, and that the first samples of a series are missing somewhere too.
const RUN_LENGTH: usize = 2;

impl Layout {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Single, Self::Replicas, Self::Holes, Self::Shards, Self::ShardsNolabels, Self::TimeSplit];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Replicas => "replicas",
            Self::Holes => "holes",
            Self::Shards => "shards",
            Self::ShardsNolabels => "shards-nolabels",
            Self::TimeSplit => "time-split",
        }
    }

    /// Its groups.
    pub fn groups(self) -> Vec<GroupShape> {
        let (group_count, replica_count) = match self {
            Self::Single => (1, 1),
            Self::Replicas | Self::Holes => (1, 2),
            Self::Shards | Self::ShardsNolabels => (3, 1),
            Self::TimeSplit => (2, 1),
        };
        let disjoint = self == Self::Shards;
        (0..group_count).map(|at| GroupShape { disjoint, ..GroupShape::new(format!("g{at}"), replica_count) }).collect()
    }

    /// Who holds which samples of a series; `samples` are all that there are, in order of time.
    pub fn place(self, labels: &Labels, samples: &[TimedSample]) -> Vec<PlacedSamples> {
        let hash = labels_hash(labels.encode().as_ref());
        let mut placed = match self {
            Self::Single => vec![holds(0, 0, samples)],
            Self::Replicas => vec![holds(0, 0, samples), holds(0, 1, samples)],
            Self::Holes => complementary_holes(hash, samples),
            Self::Shards | Self::ShardsNolabels => vec![holds((hash % 3) as usize, 0, samples)],
            Self::TimeSplit => {
                let middle = samples.len() / 2;
                let shared = (middle + 1).min(samples.len());
                vec![holds(0, 0, &samples[..shared]), holds(1, 0, &samples[middle..])]
            }
        };
        placed.retain(|placed| !placed.samples.is_empty());
        placed
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn holds(group: usize, replica: usize, samples: &[TimedSample]) -> PlacedSamples {
    PlacedSamples { group, replica, samples: samples.to_vec() }
}

/// Runs of samples are on both replicas, only on the first, only on the second, and so on; where that begins is different
/// from series to series.
fn complementary_holes(hash: u64, samples: &[TimedSample]) -> Vec<PlacedSamples> {
    let phase = (hash % (3 * RUN_LENGTH as u64)) as usize;
    // The chunk of a server begins with the first histogram that it has; where chunks begin shows in reset hints.
    let has_histograms = samples.iter().any(|item| matches!(item.sample, Sample::Histogram(_)));
    let is_held = |at: usize, replica: usize| match (at + phase) / RUN_LENGTH % 3 {
        0 => true,
        _ if at == 0 && has_histograms => true,
        only => only == replica + 1,
    };
    let of_replica = |replica| {
        let held = samples.iter().enumerate().filter(|(at, _)| is_held(*at, replica));
        PlacedSamples { group: 0, replica, samples: held.map(|(_, sample)| sample.clone()).collect() }
    };
    (0..2).map(of_replica).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn series(count: i64) -> Vec<TimedSample> {
        let sample = |at| TimedSample { time: at * 1_000, start_time: None, sample: Sample::Float(at as f64) };
        (0..count).map(sample).collect()
    }

    #[test]
    fn the_union_of_what_all_hold_is_the_series() {
        for layout in Layout::ALL {
            let groups = layout.groups();
            for count in [0, 1, 2, 3, 50] {
                for name in ["a", "b", "c", "d", "e", "f"] {
                    let samples = series(count);
                    let mut united = BTreeMap::new();
                    for placed in layout.place(&Labels::from_pairs([("__name__", name)]), &samples) {
                        assert!(placed.replica < groups[placed.group].replica_count, "{layout}");
                        assert!(placed.samples.is_sorted_by_key(|sample| sample.time), "{layout}");
                        united.extend(placed.samples.into_iter().map(|sample| (sample.time, sample)));
                    }
                    assert_eq!(united.into_values().collect::<Vec<_>>(), samples, "{layout}");
                }
            }
        }
    }

    #[test]
    fn every_layout_leaves_something_out_somewhere_but_single_and_replicas() {
        for layout in Layout::ALL {
            let whole = ["a", "b", "c", "d", "e", "f", "g", "h"].iter().all(|name| {
                let placed = layout.place(&Labels::from_pairs([("__name__", *name)]), &series(12));
                placed.len() == layout.groups().iter().map(|group| group.replica_count).sum::<usize>()
                    && placed.iter().all(|placed| placed.samples.len() == 12)
            });
            assert_eq!(whole, matches!(layout, Layout::Single | Layout::Replicas), "{layout}");
        }
    }

    #[test]
    fn a_hole_of_one_replica_is_held_by_the_other() {
        let held = |placed: &PlacedSamples| placed.samples.iter().map(|sample| sample.time / 1_000).collect::<Vec<_>>();
        let placed = complementary_holes(0, &series(12));
        assert_eq!(placed.iter().map(held).collect::<Vec<_>>(), [[0, 1, 2, 3, 6, 7, 8, 9], [0, 1, 4, 5, 6, 7, 10, 11]]);
    }
}
