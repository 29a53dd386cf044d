//! The gateway in front of the servers: our own binary, with a config as one would write it for promxy.

use std::process::Command;

use super::data::{GROUPS, REPLICAS};
use super::process::Process;

/// How the gateway reads samples.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Leaf {
    /// As it finds that it can: raw, over remote read.
    FoundOut,
    /// Over the query API.
    QueryApi,
}

impl Leaf {
    /// What the config says of it.
    fn config_text(self) -> &'static str {
        match self {
            Self::FoundOut => "",
            Self::QueryApi => "      remote_read: false\n",
        }
    }
}

/// A gateway on a free port.
pub struct Gateway {
    _process: Process,
    _folder: tempfile::TempDir,
    address: String,
}

impl Gateway {
    /// In front of the replicas (`host:port`) of the first group, then those of the second; with gated features, by name.
    pub fn start(replicas: &[&str], features: &str, leaf: Leaf) -> Self {
        Self::start_with_config(&config_text(replicas, leaf), features)
    }

    /// With this config and gated features, by name.
    pub fn start_with_config(text: &str, features: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("quiver.yml");
        std::fs::write(&config, text).expect("a writable folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_quiver"));
        command.arg(format!("--config={}", config.display())).args([
            "--bind-addr=127.0.0.1:0",
            "--grpc.bind-addr=none",
            "--access-log-destination=none",
            &format!("--enable-feature={features}"),
        ]);
        let process = Process::start(&mut command, "quiver is ready")
            .unwrap_or_else(|log| panic!("the gateway does not start:\n{log}"));
        let address = address_in(&process.log).unwrap_or_else(|| panic!("no address in\n{}", process.log)).to_owned();
        Self { _process: process, _folder: folder, address }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

fn address_in(log: &str) -> Option<&str> {
    let line = log.lines().find(|line| line.contains("serving HTTP"))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("address="))
}

fn config_text(replicas: &[&str], leaf: Leaf) -> String {
    let group = |(at, name): (usize, &&str)| {
        let targets = replicas[at * REPLICAS..(at + 1) * REPLICAS].join(", ");
        format!(
            "    - static_configs: [{{targets: [{targets}]}}]\n      labels: {{dc: {name}}}\n{}",
            leaf.config_text()
        )
    };
    let groups: String = GROUPS.iter().enumerate().map(group).collect();
    format!("global:\n  evaluation_interval: 1m\npromxy:\n  server_groups:\n{groups}")
}
