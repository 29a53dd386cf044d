//! The gateway of a test: the real server groups, source and engine, in front of servers whose data the test lays out.

use std::sync::Arc;

use super::fake_prometheus::{FakeOptions, FakePrometheus, RemoteReadOptions};
use super::layout::{GroupShape, PlacedSamples};
use super::{LoopbackGateway, MemoryDownstream, MemoryStore, Seat};
use crate::config;
use crate::downstream::instrument::FLIGHT;
use crate::error::Error;
use crate::model::{Labels, TargetReport, TimestampMs};
use crate::query::{EngineOptions, QueryEngine, QueryOptions};
use crate::scan::GroupsSource;
use crate::serve::http::ApiOptions;
use crate::servergroup::{GroupTarget, ServerGroup, ServerGroupSet};

/// How the gateway reaches its servers.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Transport {
    /// No sockets: the servers are stores in memory that answer raw samples.
    InProcess,
    /// Servers on the loopback interface that speak the JSON API only.
    Json,
    /// Servers on the loopback interface that speak remote read too.
    RemoteRead,
    /// Gateways on the loopback interface that are asked over Arrow Flight.
    Flight {
        /// How many stand one behind the other; the last of them has the data.
        levels: usize,
    },
}

/// So small that even short series come in several chunks and frames.
const SMALL_CHUNKS: RemoteReadOptions =
    RemoteReadOptions { streams_chunks: true, chunk_samples: 7, frame_bytes: 200, reads_max: 10 };

/// A gateway and its servers. They end when it is dropped; what they hold may be changed at any time.
#[derive(Debug)]
pub struct TestGateway {
    /// Of each group, of each replica.
    stores: Vec<Vec<Arc<MemoryStore>>>,
    /// Held for their drop.
    _servers: Vec<FakePrometheus>,
    _gateways: Vec<LoopbackGateway>,
    engine: QueryEngine,
    config_text: String,
}

impl TestGateway {
    /// Starts empty servers, and the gateway in front of them.
    ///
    /// # Errors
    /// No free port, or a config that is refused.
    pub async fn start(shapes: &[GroupShape], transport: Transport, options: EngineOptions) -> Result<Self, Error> {
        let store = || Arc::new(MemoryStore::new());
        let stores: Vec<Vec<_>> =
            shapes.iter().map(|shape| (0..shape.replica_count).map(|_| store()).collect()).collect();
        let (mut servers, mut gateways) = (Vec::new(), Vec::new());
        let mut addresses = Vec::new();
        for (group, replicas) in stores.iter().enumerate() {
            let mut of_group = Vec::new();
            for (replica, store) in replicas.iter().enumerate() {
                if transport == Transport::InProcess {
                    of_group.push(format!("memory-{group}-{replica}"));
                    continue;
                }
                if let Transport::Flight { levels } = transport {
                    let tower = flight_tower(store, levels, &options).await?;
                    of_group.extend(tower.last().map(LoopbackGateway::target));
                    gateways.extend(tower);
                    continue;
                }
                let remote_read = (transport == Transport::RemoteRead).then_some(SMALL_CHUNKS);
                let external_labels = Labels::from_pairs([("prometheus_replica", format!("{group}-{replica}"))]);
                let fake =
                    FakeOptions { engine: options.clone(), remote_read, external_labels, ..FakeOptions::default() };
                let server = FakePrometheus::start_with(Arc::clone(store), fake).await;
                let server = server.map_err(|error| Error::internal(format!("cannot start a server: {error}")))?;
                of_group.push(server.target());
                servers.push(server);
            }
            addresses.push(of_group);
        }
        let config_text = config_text(shapes, &addresses);
        let groups = match transport {
            Transport::InProcess => in_process(&config_text, &addresses, &stores)?,
            Transport::Json | Transport::RemoteRead | Transport::Flight { .. } => {
                ServerGroupSet::try_new(&parse(&config_text)?.promxy)?
            }
        };
        let engine = QueryEngine::new(Arc::new(GroupsSource::new(Arc::new(groups))), options);
        // What servers can do is found out when they are first asked.
        let first = engine.instant("up", TimestampMs(0), &QueryOptions::default()).await?;
        let is_asked_so = |target: &TargetReport| target.leaf == FLIGHT;
        if matches!(transport, Transport::Flight { .. }) && !first.targets.iter().all(is_asked_so) {
            return Err(Error::internal(format!("gateways are not asked over Arrow Flight: {:?}", first.targets)));
        }
        Ok(Self { stores, _servers: servers, _gateways: gateways, engine, config_text })
    }

    /// Answers over the union of what the servers hold.
    pub fn engine(&self) -> &QueryEngine {
        &self.engine
    }

    /// The config file of the gateway.
    pub fn config_text(&self) -> &str {
        &self.config_text
    }

    /// Empties all servers.
    pub fn clear(&self) {
        self.stores.iter().flatten().for_each(|store| store.clear());
    }

    /// Gives samples of one series to their holders.
    ///
    /// # Errors
    /// A holder that there is not, or samples that a Prometheus would not store.
    pub fn hold(&self, labels: &Labels, placed: Vec<PlacedSamples>) -> Result<(), Error> {
        for PlacedSamples { group, replica, samples } in placed {
            let store = self.stores.get(group).and_then(|replicas| replicas.get(replica));
            let store =
                store.ok_or_else(|| Error::internal(format!("there is no replica {replica} of group {group}")))?;
            store.append_to_part(0, labels, samples)?;
        }
        Ok(())
    }
}

/// A query waits for what is being found out, but not for long: on a busy machine once may be too little.
const TRIES_TO_LEARN: usize = 5;

/// Gateways one behind the other, the first of which answers from the store.
async fn flight_tower(
    store: &Arc<MemoryStore>,
    levels: usize,
    options: &EngineOptions,
) -> Result<Vec<LoopbackGateway>, Error> {
    let failed = |error: std::io::Error| Error::internal(format!("cannot start a gateway: {error}"));
    let engine = QueryEngine::new(Arc::clone(store) as _, options.clone());
    let mut tower =
        vec![LoopbackGateway::over_engine(Seat::take().await.map_err(failed)?, engine, ApiOptions::default())];
    while let Some(below) = tower.last().filter(|_| tower.len() < levels) {
        let shape = [GroupShape::new("below", 1)];
        let config = config_text(&shape, &[vec![below.target()]]);
        let above = LoopbackGateway::over_groups(Seat::take().await.map_err(failed)?, &config, options.clone())?;
        // Whoever stands above it asks what it tells, so it must have found out by then.
        let engine = above.api().engine();
        for _ in 0..TRIES_TO_LEARN {
            engine.instant("up", TimestampMs(0), &QueryOptions::default()).await?;
            if engine.source().tells_start_times() {
                break;
            }
        }
        drop(engine);
        tower.push(above);
    }
    Ok(tower)
}

fn config_text(shapes: &[GroupShape], addresses: &[Vec<String>]) -> String {
    let mut text = String::from("promxy:\n  server_groups:\n");
    for (shape, addresses) in shapes.iter().zip(addresses) {
        let targets: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        text.push_str(&format!("    - name: {}\n      anti_affinity: {}\n", shape.name, shape.anti_affinity));
        text.push_str(&format!("      static_configs:\n        - targets: [{}]\n", targets.join(", ")));
        if shape.disjoint {
            text.push_str("      disjoint: true\n");
        }
        if !shape.labels.is_empty() {
            text.push_str("      labels:\n");
        }
        for (name, value) in shape.labels.iter() {
            text.push_str(&format!("        {name}: \"{value}\"\n"));
        }
    }
    text
}

fn parse(text: &str) -> Result<config::Config, Error> {
    let loaded = config::parse(text, "test.yml").map_err(|error| Error::internal(error.to_string()))?;
    Ok(loaded.config)
}

fn in_process(
    config_text: &str,
    names: &[Vec<String>],
    stores: &[Vec<Arc<MemoryStore>>],
) -> Result<ServerGroupSet, Error> {
    let config = parse(config_text)?;
    let mut groups = Vec::new();
    for (ordinal, (group, (names, stores))) in
        config.promxy.server_groups.iter().zip(names.iter().zip(stores)).enumerate()
    {
        let targets = names.iter().zip(stores).map(|(name, store)| {
            let downstream = Arc::new(MemoryDownstream::try_new(name, Arc::clone(store))?);
            Ok(GroupTarget { labels: Labels::default(), downstream })
        });
        groups.push(ServerGroup::with_targets(ordinal, group, targets.collect::<Result<_, Error>>()?));
    }
    Ok(ServerGroupSet::from_groups(groups))
}
