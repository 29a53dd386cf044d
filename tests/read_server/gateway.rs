//! Gateways on the loopback interface that speak HTTP only.

use std::sync::Arc;
use std::time::SystemTime;

use quiver::config;
use quiver::model::{DurationMs, GatewayId, Labels, ProcessBudget, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine};
use quiver::scan::GroupsSource;
use quiver::serve::http::{ApiOptions, ApiState, ConfigStatus, router};
use quiver::serve::listen::{ListenOptions, serve};
use quiver::servergroup::ServerGroupSet;
use quiver::telemetry::TargetRegistry;
use quiver::testing::MemoryStore;
use quiver::testing::fake_prometheus::{FakeOptions, FakePrometheus, RemoteReadOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A gateway that ends when it is dropped.
pub struct Gateway {
    pub address: String,
    pub engine: QueryEngine,
    pub memory: Arc<ProcessBudget>,
    _serving: AbortOnDropHandle<()>,
}

impl Gateway {
    /// In front of a store, which tells everything.
    pub async fn over_store(store: Arc<MemoryStore>, external_labels: Labels, options: ApiOptions) -> Self {
        let memory = Arc::<ProcessBudget>::default();
        let engine = QueryEngine::new(store, EngineOptions { memory: Arc::clone(&memory), ..EngineOptions::default() });
        Self::serve(engine, memory, external_labels, options).await
    }

    /// In front of the groups of a config file.
    pub async fn over_groups(config_text: &str, limits: EngineOptions, options: ApiOptions) -> Self {
        let config = config::parse(config_text, "test.yml").expect("a good config").config;
        let gateway = GatewayId::random();
        let groups = ServerGroupSet::try_new_counted(&config.promxy, &TargetRegistry::default(), &gateway);
        let source = Arc::new(GroupsSource::new(Arc::new(groups.expect("good groups"))));
        let memory = Arc::<ProcessBudget>::default();
        let engine = QueryEngine::new(source, EngineOptions { memory: Arc::clone(&memory), ..limits });
        let options = ApiOptions { gateway, ..options };
        Self::serve(engine, memory, config.global.external_labels, options).await
    }

    async fn serve(
        engine: QueryEngine,
        memory: Arc<ProcessBudget>,
        external_labels: Labels,
        options: ApiOptions,
    ) -> Self {
        let state = ApiState::new(engine.clone(), options);
        let labels: String = external_labels.iter().map(|(name, value)| format!("    {name}: {value:?}\n")).collect();
        let yaml = if labels.is_empty() {
            "global: {}\n".to_owned()
        } else {
            format!("global:\n  external_labels:\n{labels}")
        };
        let loaded_at = SystemTime::now();
        state.set_config(ConfigStatus { yaml, external_labels, last_load_succeeded: true, loaded_at });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let serving = tokio::spawn(serve(listener, router(state), ListenOptions::default(), CancellationToken::new()));
        Self { address, engine, memory, _serving: AbortOnDropHandle::new(serving) }
    }
}

/// A config with a group for each list of targets.
pub fn config_of(groups: &[Vec<String>], global: &str) -> String {
    let group = |(at, targets): (usize, &Vec<String>)| {
        format!(
            "  - name: g{at}\n    static_configs: [{{targets: [\"{}\"]}}]\n    labels: {{dc: d{at}}}\n",
            targets.join("\", \"")
        )
    };
    let groups: String = groups.iter().enumerate().map(group).collect();
    format!("global: {{{global}}}\npromxy:\n  server_groups:\n{groups}")
}

/// A server over a store; with remote read or without.
pub async fn prometheus(store: Arc<MemoryStore>, remote_read: bool, external_labels: Labels) -> FakePrometheus {
    let remote_read = remote_read.then(RemoteReadOptions::default);
    let options = FakeOptions { remote_read, external_labels, ..FakeOptions::default() };
    FakePrometheus::start_with(store, options).await.expect("a free port")
}

/// Series in notation, one value every ten seconds from 0 on.
pub fn store(lines: &[&str]) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    store.load(lines, TimestampMs(0), DurationMs(10_000)).expect("good notation");
    Arc::new(store)
}
