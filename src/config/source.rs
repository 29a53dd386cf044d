//! The layers of a config, put together by the `config` crate: the YAML file, and over it the environment.
//!
//! `config`'s own YAML reader resolves scalars before it knows what they are for, and forgets where they stood. Ours hands
//! it every scalar as its text; where things stand is looked up in the tree of the file (see [`super::section`]).
//!
//! The environment: `QUIVER__GLOBAL__EVALUATION_INTERVAL=30s` sets `global.evaluation_interval`, and
//! `QUIVER__GLOBAL__EXTERNAL_LABELS__REPLICA=a` adds the label `replica`. Two underscores are a step down, so that
//! Kubernetes' own `QUIVER_SERVICE_HOST` means nothing to us. Only `global` can be set so: lists have no names to step into.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Environment, Map, Source, Value, ValueKind};

use super::problem::{Place, Problem};
use super::yaml::{Node, NodeKind};

/// What a variable begins with, in any case.
pub const ENVIRONMENT_PREFIX: &str = "QUIVER";

/// Between the steps of a variable's name.
const SEPARATOR: &str = "__";

/// What the `config` crate calls values of the environment layer.
const ENVIRONMENT_ORIGIN: &str = "the environment";

/// The file's tree as a layer. Prints without its texts, which may be secrets.
#[derive(Clone, Debug)]
struct YamlSource(Arc<Node>);

impl Source for YamlSource {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let NodeKind::Map(entries) = &self.0.kind else { return Ok(Map::new()) };
        // `config` reads top-level keys as paths: `a.b` would become b in a. No key of ours needs that; such a key is left
        // out here and reported as unknown from the tree.
        let plain = entries.iter().filter(|entry| entry.key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        Ok(plain.map(|entry| (entry.key.clone(), value_of(&entry.value))).collect())
    }
}

/// The recursion is bounded by the depth of the tree.
fn value_of(node: &Node) -> Value {
    let kind = match &node.kind {
        NodeKind::Null => ValueKind::Nil,
        NodeKind::Scalar(text) => ValueKind::String(text.clone()),
        NodeKind::List(items) => ValueKind::Array(items.iter().map(value_of).collect()),
        NodeKind::Map(entries) => {
            ValueKind::Table(entries.iter().map(|entry| (entry.key.clone(), value_of(&entry.value))).collect())
        }
    };
    Value::new(None, kind)
}

/// Does this value come from a variable?
pub(super) fn is_from_environment(value: &Value) -> bool {
    value.origin() == Some(ENVIRONMENT_ORIGIN)
}

/// Our variables by the path that they set; a problem for each that sets nothing.
pub(super) fn own_variables(
    environment: &BTreeMap<String, String>,
    errors: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let prefix = format!("{ENVIRONMENT_PREFIX}{SEPARATOR}").to_lowercase();
    let mut by_path = BTreeMap::new();
    for variable in environment.keys() {
        let Some(steps) = variable.to_lowercase().strip_prefix(&prefix).map(|rest| rest.replace(SEPARATOR, ".")) else {
            continue;
        };
        let plain = steps
            .split('.')
            .all(|step| !step.is_empty() && step.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        if plain && steps.starts_with("global.") {
            by_path.insert(steps, variable.clone());
        } else {
            errors.push(Problem {
                place: Place::Environment { variable: variable.clone() },
                path: String::new(),
                message: format!(
                    "only keys of global can be set so, as {ENVIRONMENT_PREFIX}__GLOBAL__EVALUATION_INTERVAL"
                ),
            });
        }
    }
    by_path
}

/// Lays the environment over the file. Only variables in `by_path` are used.
pub(super) fn merge_layers(
    file: &Arc<Node>,
    environment: &BTreeMap<String, String>,
    by_path: &BTreeMap<String, String>,
) -> Result<Value, config::ConfigError> {
    let own = by_path.values().filter_map(|name| Some((name.clone(), environment.get(name)?.clone()))).collect();
    let variables = Environment::with_prefix(ENVIRONMENT_PREFIX).separator(SEPARATOR).source(Some(own));
    let merged = config::Config::builder().add_source(YamlSource(Arc::clone(file))).add_source(variables).build()?;
    Ok(merged.cache)
}
