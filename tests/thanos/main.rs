//! Thanos' gRPC APIs: asked by clients generated from proto/thanos, and by a real Thanos Querier where there is one.

mod info;
mod labels;
#[path = "../real_prometheus/process.rs"]
mod process;
mod querier;
mod query;
mod series;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use quiver::model::{DurationMs, Labels, TimestampMs};
use quiver::query::{EngineOptions, QueryEngine};
use quiver::serve::grpc::thanos::proto::{self, info::info_client::InfoClient, label_matcher::Type};
use quiver::serve::grpc::thanos::proto::{query_client::QueryClient, store_client::StoreClient};
use quiver::serve::http::ApiOptions;
use quiver::testing::fake_prometheus::FakePrometheus;
use quiver::testing::{LoopbackGateway, MemoryStore, Seat};
use tonic::transport::Channel;

/// Between two values of series in notation.
const INTERVAL: DurationMs = DurationMs(15_000);

/// A gateway and a connection to its gRPC port. It ends with the test.
struct Gateway {
    gateway: LoopbackGateway,
    channel: Channel,
    /// What is behind it.
    servers: Vec<FakePrometheus>,
}

impl Gateway {
    /// In front of a store in memory with these series, a value every 15 s from 0 on.
    async fn over(lines: &[&str]) -> Self {
        let engine = QueryEngine::new(store(lines), EngineOptions::default());
        let seat = Seat::take().await.expect("free ports");
        Self::connect(LoopbackGateway::over_engine(seat, engine, ApiOptions::default()), Vec::new()).await
    }

    /// In front of a server for each list of series: a group each, with what the config says of it beside its target.
    async fn over_groups(groups: &[(&str, &[&str])]) -> Self {
        let mut servers = Vec::new();
        let mut config = String::from("promxy:\n  server_groups:\n");
        for (options, lines) in groups {
            let server = FakePrometheus::start(store(lines)).await.expect("a free port");
            config.push_str(&format!("    - static_configs: [{{targets: [{}]}}]\n{options}", server.target()));
            servers.push(server);
        }
        Self::connect(over_config(&config).await, servers).await
    }

    async fn connect(gateway: LoopbackGateway, servers: Vec<FakePrometheus>) -> Self {
        let address = format!("http://{}", gateway.grpc_address());
        let channel = Channel::builder(address.parse().expect("an address")).connect().await.expect("it listens");
        Self { gateway, channel, servers }
    }

    fn info(&self) -> InfoClient<Channel> {
        InfoClient::new(self.channel.clone())
    }

    fn store(&self) -> StoreClient<Channel> {
        StoreClient::new(self.channel.clone())
    }

    fn query(&self) -> QueryClient<Channel> {
        QueryClient::new(self.channel.clone())
    }
}

async fn over_config(config: &str) -> LoopbackGateway {
    over_config_with(config, EngineOptions::default()).await
}

async fn over_config_with(config: &str, options: EngineOptions) -> LoopbackGateway {
    let seat = Seat::take().await.expect("free ports");
    LoopbackGateway::over_groups(seat, config, options).expect("a good config")
}

fn store(lines: &[&str]) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    store.load(lines, TimestampMs(0), INTERVAL).expect("series");
    Arc::new(store)
}

/// `name="value"`, with any of the four operators.
fn matcher(text: &str) -> proto::LabelMatcher {
    let kinds = [("=~", Type::Re), ("!~", Type::Nre), ("!=", Type::Neq), ("=", Type::Eq)];
    let (name, kind, value) = kinds
        .iter()
        .find_map(|(symbol, kind)| text.split_once(symbol).map(|(name, value)| (name, *kind, value)))
        .expect("an operator");
    proto::LabelMatcher { r#type: kind.into(), name: name.into(), value: value.trim_matches('"').into() }
}

/// As PromQL writes them.
fn text_of(labels: &[proto::Label]) -> String {
    assert!(labels.is_sorted_by(|a, b| a.name < b.name), "names ascend: {labels:?}");
    let labels = Labels::from_pairs(labels.iter().map(|label| (&label.name, &label.value)));
    let name = labels.get("__name__").unwrap_or_default().to_owned();
    let others: Vec<String> = labels
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    match others.is_empty() {
        true if !name.is_empty() => name,
        _ => format!("{name}{{{}}}", others.join(",")),
    }
}
