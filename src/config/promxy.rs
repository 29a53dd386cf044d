//! The top of the config file, and `promxy`: the servers behind us.

use std::collections::HashMap;

use super::Config;
use super::global::{GLOBAL_KEYS, read_global};
use super::known_keys::{Key, KeyTable};
use super::problem::{Problems, quote};
use super::section::{Item, Section};
use super::server_group::{ServerGroupConfig, read_server_group};
use super::server_group_keys::SERVER_GROUP_KEYS;

/// `promxy`: the servers behind us.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PromxyConfig {
    /// The groups, in the order of the file.
    pub server_groups: Vec<ServerGroupConfig>,
}

const FOR_PROMETHEUS: &str = "it is for Prometheus itself, promxy ignores it too";

/// The keys at the top of the file.
pub static ROOT_KEYS: KeyTable = KeyTable {
    title: "the top of the file",
    about: "A promxy config file. Sections that only a Prometheus needs are accepted with a warning.",
    keys: &[
        Key {
            name: "global",
            form: "section",
            default: "see there",
            about: "Prometheus' own section.",
            example: "global: {evaluation_interval: 30s}",
        },
        Key {
            name: "promxy",
            form: "section",
            default: "no servers",
            about: "The servers behind Quiver.",
            example: "promxy: {server_groups: []}",
        },
    ],
    not_built: &[("alerting", ""), ("remote_write", ""), ("rule_files", "")],
    inert: &[
        ("otlp", FOR_PROMETHEUS),
        ("remote_read", FOR_PROMETHEUS),
        ("runtime", FOR_PROMETHEUS),
        ("scrape_config_files", FOR_PROMETHEUS),
        ("scrape_configs", FOR_PROMETHEUS),
        ("storage", FOR_PROMETHEUS),
        ("tls_server_config", "promxy ignores it too, TLS of the listener is set by --web.config.file"),
        ("tracing", FOR_PROMETHEUS),
    ],
};

/// The keys of `promxy`.
pub static PROMXY_KEYS: KeyTable = KeyTable {
    title: "promxy",
    about: "The servers behind Quiver.",
    keys: &[Key {
        name: "server_groups",
        form: "list of sections",
        default: "empty",
        about: "The groups. Their answers are united, as if one Prometheus held the data of all.",
        example: "server_groups: [{static_configs: [{targets: [\"prom-a:9090\"]}]}]",
    }],
    not_built: &[],
    inert: &[],
};

/// The whole file.
pub(super) fn read_config(root: &Item<'_>, problems: &mut Problems) -> Config {
    let section = Section::open(root, &ROOT_KEYS, &[&PROMXY_KEYS, &GLOBAL_KEYS], problems);
    let global = section.get("global").map(|item| read_global(item, problems)).unwrap_or_default();
    let promxy = section.get("promxy").map(|item| read_promxy(item, problems)).unwrap_or_default();
    if promxy.server_groups.is_empty() {
        let item = section.get("promxy").unwrap_or(root);
        item.warn(problems, "there are no server groups, every query will be empty");
    }
    Config { global, promxy }
}

fn read_promxy(item: &Item<'_>, problems: &mut Problems) -> PromxyConfig {
    let section = Section::open(item, &PROMXY_KEYS, &[&SERVER_GROUP_KEYS], problems);
    let mut server_groups = Vec::new();
    let mut names: HashMap<String, usize> = HashMap::new();
    for (index, item) in
        section.get("server_groups").map(|item| item.items(problems)).unwrap_or_default().iter().enumerate()
    {
        let group = read_server_group(item, problems);
        if let Some(name) = &group.name
            && let Some(first) = names.insert(name.clone(), index)
        {
            item.warn(problems, format!("has the same name {} as server_groups[{first}]", quote(name)));
        }
        server_groups.push(group);
    }
    PromxyConfig { server_groups }
}
