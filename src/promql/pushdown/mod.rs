//! Sub-expressions that the servers compute, where that is provably the same.
//!
//! | file | what it does |
//! |---|---|
//! | `analysis.rs` | a tree → what may be asked of the servers, and how their answers become one; or why not. Pure |
//! | `functions.rs` | which functions say yes |
//! | `resolve.rs` | durations and `@` as numbers, so that a text means the same everywhere |
//! | `node.rs`, `exec.rs` | the plan's node: asks every part, evaluates here what a part cannot answer |
//! | `recombine.rs` | the parts' answers → one table |
//!
//! The exact plan of the same sub-expression is the node's input. It runs whole where no part is asked, and for some parts
//! where others were.

mod analysis;
mod exec;
mod functions;
mod node;
mod recombine;
mod resolve;
#[cfg(test)]
mod tests;

pub use analysis::{Pushable, Surroundings, WhyNot, find_pushable};
pub use exec::PushdownExec;
pub use node::{Pushdown, PushdownNode, PushdownPlanner};
pub use recombine::Recombination;
