//! The composition root: builds every long-lived part from flags and config, in the order in which they depend on each
//! other; reloads; ends in order. The only file that knows everyone.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::{AccessLogFlag, Cli, Command, ServeFlags, TestCommand};
use crate::commands;
use crate::config::{self, Config};
use crate::model::{GatewayId, ProcessBudget};
use crate::query::{EngineOptions, QueryEngine};
use crate::runtime::{CpuPool, Runtimes};
use crate::scan::GroupsSource;
use crate::serve::grpc;
use crate::serve::http::{ApiOptions, ApiState, ConfigStatus, LifecycleRequest, router};
use crate::serve::listen::{self, ListenOptions};
use crate::servergroup::ServerGroupSet;
use crate::telemetry::{AccessLog, Metrics, init_logging, usable_memory_bytes};
use crate::testing::promqltest::{RunOptions, Way};

/// Requests to reload or to end that wait for the one before.
const LIFECYCLE_REQUESTS_MAX: usize = 16;

/// What still computes when everybody has been served gets this long.
const RUNTIME_PATIENCE: Duration = Duration::from_millis(500);

/// Does what the command line says, and returns the exit code.
pub fn run(cli: Cli) -> u8 {
    install_crypto();
    let outcome = match cli.command {
        Some(Command::CheckConfig { file }) => commands::check_config(&file),
        Some(Command::Test(TestCommand::Promql {
            files,
            only,
            without_reruns,
            layout,
            route,
            mode,
            print_excuses,
        })) => {
            let way = Way { layout, route, mode };
            let options = RunOptions { only, reruns: !without_reruns, way, ..RunOptions::default() };
            commands::test_promql(files, options, print_excuses)
        }
        Some(Command::Test(TestCommand::Parser { files })) => commands::test_parser(&files),
        Some(Command::Demo { bind_addr, grpc_bind_addr }) => commands::demo(bind_addr, grpc_bind_addr),
        None if cli.serve.check_config => commands::check_config(&cli.serve.config),
        None => serve(cli.serve),
    };
    match outcome {
        Ok(()) => 0,
        Err(why) => {
            // Standard error may be closed; there is nobody else to tell.
            drop(writeln!(io::stderr(), "quiver: {why}"));
            1
        }
    }
}

/// rustls refuses to choose between two providers, and some day a dependency will bring a second one.
fn install_crypto() {
    // It only fails where one was installed before, and then there is one.
    drop(rustls::crypto::ring::default_provider().install_default());
}

fn serve(flags: ServeFlags) -> Result<(), String> {
    init_logging(flags.log_level.into(), flags.log_format.into());
    let runtimes = Runtimes::try_new().map_err(|error| format!("cannot start threads: {error}"))?;
    let cpu = runtimes.cpu();
    let outcome = runtimes.block_on(async {
        // Registered first: a signal while starting must not kill the process half-way.
        let signals = Signals::try_new().map_err(|error| format!("cannot listen for signals: {error}"))?;
        App::start(flags, cpu).await?.run(signals).await;
        Ok(())
    });
    runtimes.shut_down(RUNTIME_PATIENCE);
    outcome
}

struct Signals {
    hangup: Signal,
    end: EndSignals,
}

struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn try_new() -> io::Result<Self> {
        let end =
            EndSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Self { hangup: signal(SignalKind::hangup())?, end })
    }
}

impl EndSignals {
    /// The next signal to end.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The running server.
struct App {
    flags: ServeFlags,
    engine_options: EngineOptions,
    state: ApiState,
    metrics: Arc<Metrics>,
    lifecycle: mpsc::Receiver<LifecycleRequest>,
    listeners: JoinSet<()>,
    stop: CancellationToken,
}

impl App {
    /// Loads the config, binds the addresses, and begins to answer. Never waits for a downstream.
    async fn start(flags: ServeFlags, cpu: CpuPool) -> Result<Self, String> {
        let started = Instant::now();
        let (features, feature_warnings) = flags.features();
        for warning in flags.warnings.iter().chain(&feature_warnings) {
            tracing::warn!("{warning}");
        }
        let memory = Arc::new(ProcessBudget::new(flags.query_max_memory_total.bytes(usable_memory_bytes())));
        let engine_options = EngineOptions {
            lookback: flags.query_lookback_delta,
            timeout: flags.query_timeout,
            samples_max: flags.query_max_samples,
            query_bytes_max: flags.query_max_memory,
            memory: Arc::clone(&memory),
            mode: flags.query_mode,
            features,
            ..EngineOptions::default()
        };
        let config = load_config(&flags.config).await?;
        let bytes_max = memory.bytes_max();
        let metrics = Arc::new(Metrics::default().with_query_memory(move || memory.bytes(), bytes_max));
        let (lifecycle_requests, lifecycle) = mpsc::channel(LIFECYCLE_REQUESTS_MAX);
        let options = api_options(&flags, cpu, Arc::clone(&metrics), lifecycle_requests)?;
        let gateway = options.gateway.clone();
        let engine = engine_of(&config, &engine_options, &metrics, &gateway)?;
        let state = ApiState::new(engine, options);
        state.set_config(status_of(&config));
        metrics.config_loaded(true, started.elapsed());

        let mut app = Self {
            flags,
            engine_options,
            state,
            metrics,
            lifecycle,
            listeners: JoinSet::new(),
            stop: CancellationToken::new(),
        };
        app.listen().await?;
        let groups = config.promxy.server_groups.len();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), id = %gateway, groups, took = ?started.elapsed(), "quiver is ready");
        Ok(app)
    }

    async fn listen(&mut self) -> Result<(), String> {
        let options = listen_options(&self.flags);
        let http = bind("--bind-addr", &self.flags.bind_addr).await?;
        let grpc = match self.flags.grpc_bind_addr.as_str() {
            "none" => None,
            "shared" => {
                log_address("HTTP and gRPC", &http);
                // The port of whoever asks, which need not be the one that is bound.
                self.state.set_flight_port(Some(0));
                self.listeners.spawn(grpc::serve_shared(http, self.state.clone(), options, self.stop.clone()));
                return Ok(());
            }
            address => Some(bind("--grpc.bind-addr", address).await?),
        };
        log_address("HTTP", &http);
        self.listeners.spawn(listen::serve(http, router(self.state.clone()), options, self.stop.clone()));
        if let Some(grpc) = grpc {
            log_address("gRPC", &grpc);
            self.state.set_flight_port(grpc.local_addr().ok().map(|address| address.port()));
            self.listeners.spawn(grpc::serve(grpc, self.state.clone(), options, self.stop.clone()));
        }
        Ok(())
    }

    /// Serves until it is told to end, then ends in order.
    async fn run(mut self, signals: Signals) {
        let Signals { mut hangup, mut end } = signals;
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    // Whoever sent the signal reads the log, where the outcome stands.
                    drop(self.reload().await);
                }
                Some(request) = self.lifecycle.recv() => match request {
                    LifecycleRequest::Reload(answer) => {
                        let outcome = self.reload().await;
                        if answer.send(outcome).is_err() {
                            tracing::debug!("the client did not wait for the end of its reload");
                        }
                    }
                    LifecycleRequest::Quit => break,
                },
                () = end.next() => break,
            }
        }
        self.end(end).await;
    }

    /// Builds everything that hangs on the config anew and swaps it in; on any error everything stays as it was.
    async fn reload(&self) -> Result<(), String> {
        let started = Instant::now();
        let rebuilt = match load_config(&self.flags.config).await {
            Ok(config) => engine_of(&config, &self.engine_options, &self.metrics, self.state.gateway())
                .map(|engine| (config, engine)),
            Err(why) => Err(why),
        };
        self.metrics.config_loaded(rebuilt.is_ok(), started.elapsed());
        match rebuilt {
            Ok((config, engine)) => {
                self.state.swap_engine(engine);
                self.state.set_config(status_of(&config));
                let groups = config.promxy.server_groups.len();
                tracing::info!(groups, took = ?started.elapsed(), "the new config is in use");
                Ok(())
            }
            Err(why) => {
                let before = self.state.config();
                self.state.set_config(ConfigStatus { last_load_succeeded: false, ..(*before).clone() });
                tracing::error!("the config was not reloaded, the one before stays in use: {why}");
                Err(why)
            }
        }
    }

    /// Not ready at once; then, after the delay in which load balancers notice, no new connections; then the end of what
    /// is in flight, within the timeout. Another signal cuts all of it short.
    async fn end(self, mut again: EndSignals) {
        let Self { flags, state, mut listeners, stop, .. } = self;
        state.set_ready(false);
        tracing::info!(delay = ?flags.shutdown_delay, "ending: not ready any more");
        let in_order = async {
            tokio::time::sleep(flags.shutdown_delay).await;
            stop.cancel();
            let drained = async { while listeners.join_next().await.is_some() {} };
            match tokio::time::timeout(flags.shutdown_timeout, drained).await {
                Ok(()) => tracing::info!("ended"),
                Err(_) => tracing::warn!(timeout = ?flags.shutdown_timeout, "ended before all requests were done"),
            }
        };
        tokio::select! {
            () = in_order => {}
            () = again.next() => tracing::warn!("ended at once by a second signal"),
        }
    }
}

/// Reading a file may block, so it is done beside the runtime.
async fn load_config(file: &Path) -> Result<Config, String> {
    let file = file.to_owned();
    let loaded = tokio::task::spawn_blocking(move || config::load(&file)).await;
    loaded
        .map_err(|_| "the config could not be read because of a defect in quiver".to_owned())?
        .map_err(|e| e.to_string())
}

/// The engine over all server groups of a config. What its groups do in the background ends with it.
fn engine_of(
    config: &Config,
    options: &EngineOptions,
    metrics: &Metrics,
    gateway: &GatewayId,
) -> Result<QueryEngine, String> {
    let mut groups = ServerGroupSet::try_new_counted(&config.promxy, metrics.targets(), gateway)
        .map_err(|error| error.to_string())?;
    groups.start(metrics.label_filters());
    if let Some(hint) = groups.hint() {
        tracing::info!("{hint}");
    }
    let options = EngineOptions { default_subquery_step: config.global.evaluation_interval, ..options.clone() };
    Ok(QueryEngine::new(Arc::new(GroupsSource::new(Arc::new(groups))), options))
}

fn status_of(config: &Config) -> ConfigStatus {
    ConfigStatus {
        yaml: config.to_yaml_redacted(),
        external_labels: config.global.external_labels.clone(),
        last_load_succeeded: true,
        loaded_at: SystemTime::now(),
    }
}

fn api_options(
    flags: &ServeFlags,
    cpu: CpuPool,
    metrics: Arc<Metrics>,
    lifecycle: mpsc::Sender<LifecycleRequest>,
) -> Result<ApiOptions, String> {
    let destination: Option<Box<dyn Write + Send>> = match flags.access_log_destination {
        AccessLogFlag::Stdout => Some(Box::new(io::stdout())),
        AccessLogFlag::Stderr => Some(Box::new(io::stderr())),
        AccessLogFlag::None => None,
    };
    let access_log = destination
        .map(|destination| AccessLog::try_new(flags.log_format.into(), destination))
        .transpose()
        .map_err(|error| format!("cannot start the access log: {error}"))?;
    Ok(ApiOptions {
        cpu: Some(cpu),
        route_prefix: flags.effective_route_prefix(),
        metrics_path: flags.metrics_path.clone(),
        cors_origin: Some(flags.cors_origin.clone()),
        lifecycle: flags.enable_lifecycle.then_some(lifecycle),
        proxied_headers: flags.proxy_headers.clone(),
        read_timeout: flags.read_timeout,
        queries_max: flags.query_max_concurrency.0,
        reads_max: (flags.read_max_concurrency > 0).then_some(flags.read_max_concurrency),
        read_samples_max: (flags.read_sample_limit > 0).then_some(flags.read_sample_limit),
        flags: flags.shown.clone(),
        access_log,
        logged_form_bytes_max: flags.log_max_form_prefix,
        metrics,
        gateway: GatewayId::random(),
        ..ApiOptions::default()
    })
}

fn listen_options(flags: &ServeFlags) -> ListenOptions {
    ListenOptions {
        connections_max: flags.max_connections,
        read_timeout: flags.read_timeout,
        age_max: flags.max_connection_age,
        age_grace: flags.shutdown_timeout,
        ..ListenOptions::default()
    }
}

async fn bind(flag: &str, address: &str) -> Result<TcpListener, String> {
    listen::bind(address).await.map_err(|error| format!("{flag}={address}: cannot listen: {error}"))
}

fn log_address(api: &str, listener: &TcpListener) {
    match listener.local_addr() {
        Ok(address) => tracing::info!(%address, "serving {api}"),
        Err(error) => tracing::warn!(%error, "serving {api} on an address that cannot be told"),
    }
}
