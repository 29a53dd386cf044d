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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn group(keys: &str) -> ServerGroupConfig {
        let text = format!(
            "promxy: {{server_groups: [{{static_configs: [{{targets: [a], labels: {{__meta_port: '1', __tmp: x}}}}], {keys}}}]}}"
        );
        let mut loaded = parse(&text, "f.yml").unwrap_or_else(|error| panic!("{error}"));
        loaded.config.promxy.server_groups.remove(0)
    }

    fn discovered(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    fn shown(group: &ServerGroupConfig, labels: &[(&str, &str)]) -> String {
        match group.target(&discovered(labels)) {
            Ok(Some(target)) => {
                format!("{}://{}{} {}", target.scheme, target.address, target.path_prefix, target.labels)
            }
            Ok(None) => "dropped".to_owned(),
            Err(message) => message,
        }
    }

    #[test]
    fn rules_choose_targets_say_how_they_are_reached_and_label_their_series() {
        let by_rack = group(
            "scheme: https, path_prefix: /p, relabel_configs: [
                {action: drop, source_labels: [rack], regex: r9},
                {source_labels: [__address__, __meta_port], separator: ':', target_label: __address__},
                {source_labels: [__scheme__, rack], regex: 'https;r1', target_label: __scheme__, replacement: http},
                {source_labels: [rack], regex: r1, target_label: __path_prefix__, replacement: x/y/},
                {source_labels: [rack], target_label: place},
                {action: labeldrop, regex: rack}]",
        );
        for (labels, expected) in [
            (&[("__address__", "a"), ("__meta_port", "1"), ("rack", "r1")][..], r#"http://a:1/x/y {place="r1"}"#),
            (
                &[("__address__", "a"), ("__meta_port", "1"), ("rack", "r2"), ("__tmp", "x")],
                r#"https://a:1/p {place="r2"}"#,
            ),
            (&[("__address__", "a"), ("rack", "r9")], "dropped"),
            // What was discovered goes over what the group says.
            (
                &[("__address__", "a"), ("__meta_port", "1"), ("__scheme__", "HTTP"), ("__path_prefix__", "/")],
                "http://a:1 {}",
            ),
        ] {
            assert_eq!(shown(&by_rack, labels), expected, "{labels:?}");
        }
    }

    #[test]
    fn a_target_that_cannot_be_asked_is_told() {
        let plain = group("path_prefix: /p");
        for (labels, expected) in [
            (&[("rack", "r1")][..], "after relabel_configs, there is no __address__"),
            (
                &[("__address__", "http://a")],
                "after relabel_configs, __address__: \"http://a\" has a scheme, write \"a\", and scheme: http in the server group",
            ),
            (
                &[("__address__", "a"), ("__scheme__", "ftp")],
                "after relabel_configs, __scheme__: \"ftp\" is not a scheme, write http or https",
            ),
            (
                &[("__address__", "a"), ("__path_prefix__", "/a b")],
                "after relabel_configs, __path_prefix__: \"/a b\" holds ' ', which must be percent-encoded in a path",
            ),
        ] {
            assert_eq!(shown(&plain, labels), expected, "{labels:?}");
        }
    }
}
