//! L3: server groups: who is in one, what it can answer, how it is asked.
//!
//! | file | what it does |
//! |---|---|
//! | `group.rs` | one group: its buckets of replicas, and every kind of question put to them |
//! | `group_status.rs` | what is known of the groups and targets just now, and how they would be read |
//! | `coverage.rs` | when a group has samples: what of a question it can answer |
//! | `covered_downstream.rs` | a server that is asked only for that |
//! | `rewrite/` | added labels, relabel rules, injected matchers: what they change in questions and answers |
//! | `label_filter.rs`, `label_filter_sync.rs` | what a bucket cannot have, learned in the background |
//! | `fanout.rs` | asks all replicas of a bucket; failures, stragglers |
//! | `replica_streams.rs` | reads the replicas of a bucket for a selector, and merges them while they answer |
//! | `rewritten_stream.rs` | the merged series with the labels of the answer, sorted again |
//! | `look_back.rs` | raw samples as what a plain selector sees at each step |
//! | `replica.rs` | one replica: how to ask it, its health, its probes |
//! | `replica_health.rs` | whether a replica is worth waiting for, and how long |
//! | `bucket_evaluation.rs`, `set_evaluation.rs` | whether servers may evaluate an expression, and how they are asked |
//! | `agreement.rs` | do replicas say the same? |
//! | `observed_scan.rs`, `scan_statistics.rs` | what scans have shown, and what pushing down would cost |
//! | `evaluation.rs` | expressions that servers evaluate: what is asked, what comes back |
//! | `set.rs` | all groups; questions about series over all of them |

mod agreement;
mod bucket_evaluation;
mod coverage;
mod covered_downstream;
mod covered_steps;
mod evaluation;
mod fanout;
mod group;
mod group_status;
mod label_filter;
mod label_filter_sync;
mod look_back;
mod observed_scan;
mod replica;
mod replica_health;
mod replica_streams;
mod rewrite;
mod rewritten_stream;
mod scan_statistics;
mod set;
mod set_evaluation;

pub use coverage::Covered;
pub use evaluation::{EvaluateRequest, Evaluated, EvaluatedWindows, ExactScope, Judgement, Verdict};
pub use group::{GroupTarget, ServerGroup};
pub use group_status::{GroupStatus, LatencyFigures, PartLeaf, PartStatus, TargetLeaf, TargetStanding, TargetStatus};
pub use replica_health::{CallClass, Change, Outcome, ReplicaHealth, Standing, replicas_to_ask};
pub use set::ServerGroupSet;
