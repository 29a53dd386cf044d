//! From what was discovered about a target to how it is asked: Prometheus' relabelling, with promxy's special labels.

use super::problem::quote;
use super::server_group::{Scheme, ServerGroupConfig};
use super::target_address::check_target_address;
use crate::model::{Labels, LabelsBuilder, relabel};

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH_PREFIX: &str = "__path_prefix__";

/// One target of a group, after relabelling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetConfig {
    /// `host:port`, `host`, `[v6]:port`.
    pub address: String,
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Path before `/api/v1/…`: empty, or with a leading and without a trailing slash.
    pub path_prefix: String,
    /// Added to its series; the group's `labels` go over them. No name begins with `__`.
    pub labels: Labels,
}

impl ServerGroupConfig {
    /// The target that `discovered` describes: its labels with `__address__` among them, those that it shares with its
    /// neighbours below. `scheme` and `path_prefix` of the group hold where it has no `__scheme__` and `__path_prefix__`;
    /// then `relabel_configs` run. `None`: a rule dropped it.
    ///
    /// # Errors
    /// What is wrong with the address, scheme or path that came out; may hold label values, never a secret.
    pub fn target(&self, discovered: &Labels) -> Result<Option<TargetConfig>, String> {
        let mut labels = LabelsBuilder::default();
        labels.set(SCHEME, self.scheme.as_str()).set(PATH_PREFIX, &self.path_prefix);
        for (name, value) in discovered.iter() {
            labels.set(name, value);
        }
        let Some(labels) = relabel(&labels.finish(), &self.relabel_configs) else { return Ok(None) };
        let address = labels.get(ADDRESS).ok_or("after relabel_configs, there is no __address__")?;
        check_target_address(address).map_err(|message| in_relabelled(ADDRESS, &message))?;
        let scheme = match labels.get(SCHEME).unwrap_or("http").to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => {
                let message = format!("{} is not a scheme, write http or https", quote(other));
                return Err(in_relabelled(SCHEME, &message));
            }
        };
        let path_prefix = check_path_prefix(labels.get(PATH_PREFIX).unwrap_or_default())
            .map_err(|message| in_relabelled(PATH_PREFIX, &message))?;
        let added = labels.iter().filter(|(name, _)| !name.starts_with("__"));
        Ok(Some(TargetConfig { address: address.to_owned(), scheme, path_prefix, labels: Labels::from_pairs(added) }))
    }

    /// What discovery would tell of the targets of `static_configs`, in the order of the file.
    pub fn static_targets(&self) -> impl Iterator<Item = Labels> {
        self.static_configs.iter().flat_map(|config| {
            config.targets.iter().map(|address| {
                let mut labels = LabelsBuilder::from(&config.labels);
                labels.set(ADDRESS, address);
                labels.finish()
            })
        })
    }
}

fn in_relabelled(label: &str, message: &str) -> String {
    format!("after relabel_configs, {label}: {message}")
}

/// A path as it stands in requests, or what is wrong with it.
pub(super) fn check_path_prefix(text: &str) -> Result<String, String> {
    if text.contains(['?', '#']) {
        return Err("a path cannot hold a query, use query_params".to_owned());
    }
    let is_odd = |c: &char| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
    if let Some(odd) = text.chars().find(is_odd) {
        return Err(format!("{} holds {odd:?}, which must be percent-encoded in a path", quote(text)));
    }
    match text.trim_matches('/') {
        "" => Ok(String::new()),
        path => Ok(format!("/{path}")),
    }
}
