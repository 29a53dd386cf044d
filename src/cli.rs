//! The command line: promxy's flags, and what is ours. Flags are for what cannot change without a restart.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind as ClapErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::config::parse_duration_ms;
use crate::model::{DurationMs, EvaluationMode};
use crate::serve::http::{CorsOrigin, check_paths};
use crate::syntax::Features;
use crate::telemetry::{LogFormat, LogLevel};
use crate::testing::Layout;
use crate::testing::promqltest::Route;

const LONG_ABOUT: &str = "One Prometheus API in front of many Prometheus servers.\n\n\
    Quiver reads promxy's config file and flags, asks all servers of its groups, merges what replicas and groups hold, \
    and answers PromQL as one Prometheus with all the data would.";

const AFTER_HELP: &str = "\
Examples:
  quiver --config=quiver.yml                        serve on :8082 (HTTP) and :8083 (gRPC)
  quiver --config=quiver.yml --grpc.bind-addr=shared
                                                    serve both on :8082
  quiver check-config quiver.yml                    check a config file without the network
  quiver demo                                       two groups of two replicas with made-up data, and the gateway
  quiver test promql operators.test                 run a file in Prometheus' test format
  quiver test promql --layout=holes --route=remote-read operators.test
                                                    the same through a gateway and two replicas with holes

Signals:
  SIGHUP            read the config file again; a bad one is refused and the old one stays
  SIGTERM, SIGINT   /-/ready answers 503, then requests in flight end, then the process; a second one ends it at once

Exit codes:
  0   ended as asked
  1   bad flag, bad config, an address that cannot be bound, or a test that failed

Durations are written as 30s, 5m, 1h30m, 1.5h or 1d.
Documentation: README.md and ARCHITECTURE.md beside the source; config keys in docs/config.md.";

/// The command line of `quiver`.
#[derive(Debug, Parser)]
#[command(
    name = "quiver",
    about = "One Prometheus API in front of many Prometheus servers",
    long_about = LONG_ABOUT,
    after_help = AFTER_HELP,
    version,
    disable_version_flag = true,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true,
    max_term_width = 120
)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeFlags,
    #[arg(short = 'v', long = "version", action = ArgAction::Version, help = "Print the version")]
    version: Option<bool>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a config file without the network
    CheckConfig {
        /// The file
        file: PathBuf,
    },
    /// Run test files
    #[command(subcommand)]
    Test(TestCommand),
    /// Try it: four servers with made-up data on free ports of this machine, and the gateway in front of them
    Demo {
        /// Address of the gateway's HTTP API
        #[arg(long = "bind-addr", value_name = "ADDRESS", default_value = ":8082")]
        bind_addr: String,
        /// Address of the gateway's gRPC API; `shared` is that of the HTTP API, `none` turns it off
        #[arg(long = "grpc.bind-addr", value_name = "ADDRESS", default_value = ":8083")]
        grpc_bind_addr: String,
    },
}

/// Which kind of test files.
#[derive(Debug, Subcommand)]
pub enum TestCommand {
    /// Files in Prometheus' test format; exit code 1 when a case fails
    Promql {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Run only cases whose command contains this text
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Evaluate each case only as it is written, not again at other times and as a range query
        #[arg(long)]
        without_reruns: bool,
        /// Who holds which of the data
        #[arg(long, value_name = "LAYOUT", default_value = "single", value_parser = parse_layout)]
        layout: Layout,
        /// How they are fetched: from memory, over the JSON API, or over remote read
        #[arg(long, value_name = "ROUTE", default_value = "engine", value_parser = parse_route)]
        route: Route,
        /// Who evaluates: the gateway, the servers where that is provably the same, or whichever is cheaper
        #[arg(long, value_name = "MODE", default_value = "exact")]
        mode: EvaluationMode,
        /// Instead of the report, print the failures that the route excuses, as lines of the list of excuses
        #[arg(long)]
        print_excuses: bool,
    },
    /// Files of queries as JSON lines, with the tree or the error of each; exit code 1 when a case fails
    Parser {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Flags of the server, in promxy's words.
#[derive(Debug, Args)]
pub struct ServeFlags {
    /// Config file
    #[arg(long = "config", value_name = "FILE", default_value = "config.yaml")]
    pub config: PathBuf,

    /// Check the config file and exit
    #[arg(long = "check-config")]
    pub check_config: bool,

    /// Address of the HTTP API; `:8082` is all addresses of the machine
    #[arg(long = "bind-addr", value_name = "ADDRESS", default_value = ":8082")]
    pub bind_addr: String,

    /// Address of the gRPC API; `shared` is the port of the HTTP API, `none` turns it off
    #[arg(long = "grpc.bind-addr", value_name = "ADDRESS", default_value = ":8083")]
    pub grpc_bind_addr: String,

    /// What is logged
    #[arg(long = "log-level", value_name = "LEVEL", default_value = "info", value_enum)]
    pub log_level: LogLevelFlag,

    /// Format of the log and of the access log
    #[arg(long = "log-format", value_name = "FORMAT", default_value = "text", value_enum)]
    pub log_format: LogFormatFlag,

    /// Bytes of a request's form that the access log shows
    #[arg(long = "log-max-form-prefix", value_name = "BYTES", default_value = "256")]
    pub log_max_form_prefix: usize,

    /// Where requests are logged
    #[arg(long = "access-log-destination", value_name = "WHERE", default_value = "stdout", value_enum)]
    pub access_log_destination: AccessLogFlag,

    /// URL under which clients reach this server; its path is the route prefix unless one is given
    #[arg(long = "web.external-url", value_name = "URL", value_parser = parse_external_url)]
    pub external_url: Option<url::Url>,

    /// Path before all routes
    #[arg(long = "web.route-prefix", value_name = "PATH", value_parser = parse_route_prefix)]
    pub route_prefix: Option<String>,

    /// Allow reload and termination over HTTP (/-/reload, /-/quit)
    #[arg(long = "web.enable-lifecycle")]
    pub enable_lifecycle: bool,

    /// Web pages that may read the API, as an anchored regular expression
    #[arg(long = "web.cors.origin", value_name = "REGEX", default_value = ".*", value_parser = parse_cors_origin)]
    pub cors_origin: CorsOrigin,

    /// How long a request may take to arrive, and a connection rest
    #[arg(long = "web.read-timeout", value_name = "DURATION", default_value = "5m", value_parser = parse_wait)]
    pub read_timeout: Duration,

    /// How many connections each address serves at a time; more wait until one of them ends
    #[arg(long = "web.max-connections", value_name = "COUNT", default_value = "4096", value_parser = parse_connections)]
    pub max_connections: usize,

    /// How old a connection may get; then it takes no more requests, and those in flight have --http.shutdown-timeout to
    /// end. The client comes back, through a load balancer perhaps to another instance. No limit unless given
    #[arg(long = "web.max-connection-age", value_name = "DURATION", value_parser = parse_age)]
    pub max_connection_age: Option<Duration>,

    /// Path of this server's own metrics
    #[arg(long = "metrics-path", value_name = "PATH", default_value = "/metrics", value_parser = parse_route_prefix)]
    pub metrics_path: String,

    /// Request headers that are passed on to the downstreams; may be repeated
    #[arg(long = "proxy-headers", value_name = "NAME", env = "PROXY_HEADERS", action = ArgAction::Append)]
    pub proxy_headers: Vec<axum::http::HeaderName>,

    /// How long a query may take
    #[arg(long = "query.timeout", value_name = "DURATION", default_value = "2m", value_parser = parse_wait)]
    pub query_timeout: Duration,

    /// How many samples a query may hold in memory at a time
    #[arg(long = "query.max-samples", value_name = "COUNT", default_value = "50000000",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub query_max_samples: u64,

    /// How much memory a query may use at a time, in KB, MB or GB (powers of two); 0 is no limit. The default holds what
    /// --query.max-samples allows of raw samples
    #[arg(long = "query.max-memory", value_name = "SIZE", default_value = "1GB", value_parser = parse_memory_size)]
    pub query_max_memory: u64,

    /// How much memory all queries together may use, as a size or as a part of what the machine or the container has; 0 is no
    /// limit. Queries that use little may use the last eighth alone
    #[arg(long = "query.max-memory-total", value_name = "SIZE", default_value = "70%",
          value_parser = parse_total_memory_size)]
    pub query_max_memory_total: MemoryTotal,

    /// Where queries are evaluated: exact, pushdown, trust or auto; a server group's own mode wins
    #[arg(long = "query.mode", value_name = "MODE", default_value = "auto")]
    pub query_mode: EvaluationMode,

    /// How far a selector looks back for a sample
    #[arg(long = "query.lookback-delta", value_name = "DURATION", default_value = "5m", value_parser = parse_lookback)]
    pub query_lookback_delta: DurationMs,

    /// How many queries run at a time; others wait in line, within --query.timeout. -1 is no limit
    #[arg(long = "query.max-concurrency", value_name = "COUNT", default_value = "-1", allow_negative_numbers = true,
          value_parser = parse_concurrency)]
    pub query_max_concurrency: QueryConcurrency,

    /// How many remote reads are answered at a time; others wait in line, within --query.timeout. 0 is no limit
    #[arg(long = "remote-read.max-concurrency", value_name = "COUNT", default_value = "10",
          value_parser = clap::value_parser!(usize))]
    pub read_max_concurrency: usize,

    /// How many samples a query of a remote read may have whose answer is one message (SAMPLES); 0 is no limit. Answers that
    /// are streamed as chunks have no such limit
    #[arg(long = "storage.remote.read-sample-limit", value_name = "COUNT", default_value = "50000000")]
    pub read_sample_limit: u64,

    /// Features of PromQL that are off by default, under Prometheus' names; a list with commas, may be repeated
    #[arg(long = "enable-feature", value_name = "NAMES", value_delimiter = ',', action = ArgAction::Append)]
    pub enable_feature: Vec<String>,

    /// After a signal to end: how long requests are still accepted while /-/ready answers 503
    #[arg(long = "http.shutdown-delay", value_name = "DURATION", default_value = "10s", value_parser = parse_wait)]
    pub shutdown_delay: Duration,

    /// After that: how long requests in flight may take to end
    #[arg(long = "http.shutdown-timeout", value_name = "DURATION", default_value = "60s", value_parser = parse_wait)]
    pub shutdown_timeout: Duration,

    /// Every flag with its value, for /api/v1/status/flags
    #[arg(skip)]
    pub shown: BTreeMap<String, String>,

    /// What is odd about the command line, to be logged
    #[arg(skip)]
    pub warnings: Vec<String>,
}

/// How many queries run at a time; `None` is no limit.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct QueryConcurrency(pub Option<usize>);

/// How much memory all queries together may use.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum MemoryTotal {
    /// So many bytes; 0 is no limit.
    Bytes(u64),
    /// So many hundredths of what the process may use.
    Percent(u64),
}

impl MemoryTotal {
    /// In bytes, of a process that may use `usable` of them; 0 is no limit, as it is where nobody knows.
    pub fn bytes(self, usable: Option<u64>) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => usable.unwrap_or(0) / 100 * percent,
        }
    }
}

/// promxy's words; `fatal` and `panic` are as good as `error` here.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogLevelFlag {
    /// Everything
    Trace,
    /// And what was decided for each request
    Debug,
    /// And the course of the process
    Info,
    /// And what may need somebody to act
    #[value(name = "warning", alias = "warn")]
    Warning,
    /// Only what needs somebody to act
    #[value(aliases = ["fatal", "panic"])]
    Error,
}

impl From<LogLevelFlag> for LogLevel {
    fn from(flag: LogLevelFlag) -> Self {
        match flag {
            LogLevelFlag::Trace => Self::Trace,
            LogLevelFlag::Debug => Self::Debug,
            LogLevelFlag::Info => Self::Info,
            LogLevelFlag::Warning => Self::Warn,
            LogLevelFlag::Error => Self::Error,
        }
    }
}

/// How lines of logs are written.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogFormatFlag {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl From<LogFormatFlag> for LogFormat {
    fn from(flag: LogFormatFlag) -> Self {
        match flag {
            LogFormatFlag::Text => Self::Text,
            LogFormatFlag::Json => Self::Json,
        }
    }
}

/// Where requests are logged.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
pub enum AccessLogFlag {
    /// Standard output
    Stdout,
    /// Standard error
    Stderr,
    /// Nowhere
    None,
}

/// A flag of promxy that is known but not built yet: silently ignoring it would be a lie.
struct NotBuiltFlag {
    name: &'static str,
    /// promxy's default; giving just this changes nothing and is only worth a warning.
    default: Option<&'static str>,
    takes_value: bool,
}

const fn not_built(name: &'static str, default: Option<&'static str>) -> NotBuiltFlag {
    NotBuiltFlag { name, default, takes_value: true }
}

const NOT_BUILT: [NotBuiltFlag; 8] = [
    not_built("web.config.file", None),
    not_built("storage.path", None),
    not_built("storage.tsdb.path", None),
    not_built("alertmanager.notification-queue-capacity", Some("10000")),
    not_built("rules.alert.for-outage-tolerance", Some("1h")),
    not_built("rules.alert.for-grace-period", Some("10m")),
    not_built("rules.alert.resend-delay", Some("1m")),
    NotBuiltFlag { name: "rules.alertbackfill", default: None, takes_value: false },
];

/// Features of Prometheus that mean something to one that scrapes or stores, or shows itself, and nothing to a gateway.
const FEATURES_WITHOUT_EFFECT: [&str; 24] = [
    "agent",
    "auto-gomaxprocs",
    "auto-gomemlimit",
    "auto-reload-config",
    "concurrent-rule-eval",
    "created-timestamp-zero-ingestion",
    "delayed-compaction",
    "exemplar-storage",
    "extra-scrape-metrics",
    "fast-startup",
    "histograms-st-encoding",
    "memory-snapshot-on-shutdown",
    "metadata-wal-records",
    "native-histograms",
    "old-ui",
    "ooo-native-histograms",
    "otlp-deltatocumulative",
    "otlp-native-delta-ingestion",
    "promql-per-step-stats",
    "search-api",
    "st-storage",
    "st-synthesis",
    "use-uncached-io",
    "xor2-encoding",
];

/// Why there is nothing to run: a text for one of the two outputs, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct EarlyExit {
    /// What to print.
    pub text: String,
    /// 0 for help and version, which go to standard output; else 1.
    pub code: u8,
}

impl Cli {
    /// Reads a command line, the name of the program first.
    ///
    /// # Errors
    /// Help, version, or what is wrong. A bad flag exits with 1, as promxy does (clap's own code would be 2).
    pub fn try_from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, EarlyExit> {
        let exit = |error: clap::Error| {
            let is_answer = matches!(error.kind(), ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion);
            EarlyExit { text: error.render().to_string(), code: u8::from(!is_answer) }
        };
        let mut command = command();
        let matches = command.try_get_matches_from_mut(args).map_err(exit)?;
        let mut cli = Self::from_arg_matches(&matches).map_err(|error| exit(error.format(&mut command)))?;
        cli.serve.warnings = warnings_about_not_built(&matches)
            .map_err(|why| exit(clap::Error::raw(ClapErrorKind::InvalidValue, why + "\n").with_cmd(&command)))?;
        check_paths(&cli.serve.effective_route_prefix(), &cli.serve.metrics_path)
            .map_err(|why| exit(clap::Error::raw(ClapErrorKind::ValueValidation, why + "\n").with_cmd(&command)))?;
        cli.serve.shown = shown_flags(&command, &matches);
        Ok(cli)
    }
}

fn command() -> clap::Command {
    Cli::command().args(NOT_BUILT.iter().map(|flag| {
        let action = if flag.takes_value { ArgAction::Append } else { ArgAction::SetTrue };
        Arg::new(flag.name).long(flag.name).hide(true).action(action)
    }))
}

fn warnings_about_not_built(matches: &ArgMatches) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    for flag in &NOT_BUILT {
        let name = flag.name;
        if !flag.takes_value {
            if matches.get_flag(name) {
                return Err(format!("--{name} is not built yet"));
            }
            continue;
        }
        for value in matches.get_many::<String>(name).into_iter().flatten() {
            if !flag.default.is_some_and(|default| is_same_value(default, value)) {
                return Err(format!("--{name} is not built yet"));
            }
            warnings.push(format!("--{name} is not built yet; its default value {value} changes nothing"));
        }
    }
    Ok(warnings)
}

/// `60m` says the same as `1h`.
fn is_same_value(one: &str, other: &str) -> bool {
    one == other || matches!((parse_duration_ms(one), parse_duration_ms(other)), (Ok(one), Ok(other)) if one == other)
}

/// Long name → value, with defaults. A password in the external URL is left out.
fn shown_flags(command: &clap::Command, matches: &ArgMatches) -> BTreeMap<String, String> {
    let shown = command.get_arguments().filter_map(|argument| {
        let long = argument.get_long()?;
        let id = argument.get_id().as_str();
        if matches!(argument.get_action(), ArgAction::Help | ArgAction::Version) {
            return None;
        }
        // Absent for flags that were not given and have no default.
        let raw = matches.try_get_raw(id).ok().flatten();
        let values = raw.into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
        let value = values.collect::<Vec<_>>().join(",");
        let value = if long == "web.external-url" { without_password(&value) } else { value };
        Some((long.to_owned(), value))
    });
    shown.collect()
}

fn without_password(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(mut url) if url.password().is_some() => match url.set_password(Some("xxxxx")) {
            Ok(()) => url.to_string(),
            Err(()) => String::new(),
        },
        _ => text.to_owned(),
    }
}

impl ServeFlags {
    /// The path before all routes: as given, or that of the external URL; `/` for none.
    pub fn effective_route_prefix(&self) -> String {
        match (&self.route_prefix, &self.external_url) {
            (Some(prefix), _) => prefix.clone(),
            (None, Some(url)) => normal_prefix(url.path()),
            (None, None) => "/".to_owned(),
        }
    }

    /// Gated features that are on, and a warning for each name that means nothing here.
    pub fn features(&self) -> (Features, Vec<String>) {
        let mut features = Features::default();
        let mut warnings = Vec::new();
        for name in self.enable_feature.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
            match name {
                "promql-experimental-functions" => features.experimental_functions = true,
                "promql-extended-range-selectors" => features.extended_range_selectors = true,
                "promql-binop-fill-modifiers" => features.binop_fill_modifiers = true,
                "promql-delayed-name-removal" => features.delayed_name_removal = true,
                "type-and-unit-labels" => features.type_and_unit_labels = true,
                "use-start-timestamps" => features.use_start_timestamps = true,
                "promql-duration-expr" => {
                    warnings.push("--enable-feature: \"promql-duration-expr\" is always on".to_owned());
                }
                name if FEATURES_WITHOUT_EFFECT.contains(&name) => {
                    warnings.push(format!("--enable-feature: {name:?} has no effect in a gateway"));
                }
                name => warnings.push(format!("Unknown option for --enable-feature: {name:?}")),
            }
        }
        (features, warnings)
    }
}

fn parse_layout(text: &str) -> Result<Layout, String> {
    named(Layout::ALL.map(|layout| (layout.name(), layout)), text)
}

fn parse_route(text: &str) -> Result<Route, String> {
    named(Route::ALL.map(|route| (route.name(), route)), text)
}

fn named<T: Copy, const N: usize>(all: [(&str, T); N], text: &str) -> Result<T, String> {
    let known = all.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    known.ok_or_else(|| format!("must be one of {}", all.map(|(name, _)| name).join(", ")))
}

fn parse_wait(text: &str) -> Result<Duration, String> {
    parse_duration_ms(text).map(Duration::from)
}

/// Much shorter, and a connection would be used for no more than a request or two.
const CONNECTION_AGE_MIN: Duration = Duration::from_secs(1);

fn parse_age(text: &str) -> Result<Duration, String> {
    let age = parse_wait(text)?;
    if age >= CONNECTION_AGE_MIN { Ok(age) } else { Err("must be at least 1s".to_owned()) }
}

fn parse_connections(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(most @ 1..=1_000_000) => Ok(most),
        _ => Err("must be from 1 to 1000000".to_owned()),
    }
}

fn parse_lookback(text: &str) -> Result<DurationMs, String> {
    let duration = parse_duration_ms(text)?;
    if duration.0 > 0 { Ok(duration) } else { Err("must be more than zero".to_owned()) }
}

/// `512MB` and `512MiB` are the same, as for Prometheus' own flags.
fn parse_memory_size(text: &str) -> Result<u64, String> {
    let number_end = text.find(|byte: char| !byte.is_ascii_digit() && byte != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let shift = match unit.trim_start() {
        "" if number == "0" => return Ok(0),
        "B" => 0,
        "KB" | "KiB" => 10,
        "MB" | "MiB" => 20,
        "GB" | "GiB" => 30,
        "TB" | "TiB" => 40,
        "" => return Err(format!("{text:?} has no unit, write \"{text}MB\"")),
        other => return Err(format!("unknown unit {other:?}, use B, KB, MB, GB or TB")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    let bytes = number * (1u64 << shift) as f64;
    match bytes < (1u64 << 62) as f64 {
        true => Ok(bytes as u64),
        false => Err(format!("{text:?} is too large")),
    }
}

fn parse_total_memory_size(text: &str) -> Result<MemoryTotal, String> {
    let Some(percent) = text.strip_suffix('%') else { return parse_memory_size(text).map(MemoryTotal::Bytes) };
    match percent.parse() {
        Ok(percent @ 1..=100) => Ok(MemoryTotal::Percent(percent)),
        _ => Err("must be from 1% to 100%, or a size such as 4GB".to_owned()),
    }
}

fn parse_concurrency(text: &str) -> Result<QueryConcurrency, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(QueryConcurrency(None)),
        Ok(most @ 1..=1_000_000) => Ok(QueryConcurrency(usize::try_from(most).ok())),
        _ => Err("must be -1 or from 1 to 1000000".to_owned()),
    }
}

fn parse_cors_origin(text: &str) -> Result<CorsOrigin, String> {
    CorsOrigin::try_new(text).map_err(|error| error.to_string())
}

fn parse_external_url(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" => parse_route_prefix(url.path()).map(|_| url),
        _ => Err("must begin with http:// or https://".to_owned()),
    }
}

/// `/a/b`, whatever slashes there were at the ends; `/` for none.
fn normal_prefix(text: &str) -> String {
    format!("/{}", text.trim_matches('/'))
}

fn parse_route_prefix(text: &str) -> Result<String, String> {
    // Braces would be parameters to the router; an encoded path would never match.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    match text.bytes().all(is_plain) && !text.contains("//") {
        true => Ok(normal_prefix(text)),
        false => Err("may only have letters, digits and /-._~".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, EarlyExit> {
        Cli::try_from_args(std::iter::once("quiver").chain(line.split_whitespace()).map(OsString::from))
    }

    fn flags(line: &str) -> ServeFlags {
        read(line).expect(line).serve
    }

    #[test]
    fn the_defaults_are_those_of_promxy() {
        let flags = flags("");
        let shown: Vec<String> = flags.shown.iter().map(|(name, value)| format!("{name}={value}")).collect();
        expect_test::expect![[r#"
            access-log-destination=stdout
            alertmanager.notification-queue-capacity=
            bind-addr=:8082
            check-config=false
            config=config.yaml
            enable-feature=
            grpc.bind-addr=:8083
            http.shutdown-delay=10s
            http.shutdown-timeout=60s
            log-format=text
            log-level=info
            log-max-form-prefix=256
            metrics-path=/metrics
            proxy-headers=
            query.lookback-delta=5m
            query.max-concurrency=-1
            query.max-memory=1GB
            query.max-memory-total=70%
            query.max-samples=50000000
            query.mode=auto
            query.timeout=2m
            remote-read.max-concurrency=10
            rules.alert.for-grace-period=
            rules.alert.for-outage-tolerance=
            rules.alert.resend-delay=
            rules.alertbackfill=false
            storage.path=
            storage.remote.read-sample-limit=50000000
            storage.tsdb.path=
            web.config.file=
            web.cors.origin=.*
            web.enable-lifecycle=false
            web.external-url=
            web.max-connection-age=
            web.max-connections=4096
            web.read-timeout=5m
            web.route-prefix="#]]
        .assert_eq(&shown.join("\n"));
        assert_eq!(flags.query_timeout, Duration::from_secs(120));
        assert_eq!(flags.query_lookback_delta, DurationMs(300_000));
        assert_eq!(flags.effective_route_prefix(), "/");
        assert!(flags.warnings.is_empty());
    }

    #[test]
    fn flags_are_read_in_both_forms_and_with_both_kinds_of_duration() {
        let flags = flags(
            "--config a.yml --bind-addr=:1 --query.timeout 1.5h --query.lookback-delta=1d --query.max-concurrency -1 \
             --log-level=warn --proxy-headers=X-Scope-OrgID --proxy-headers A --web.enable-lifecycle \
             --enable-feature=promql-experimental-functions,promql-binop-fill-modifiers --enable-feature agent,nosuch",
        );
        assert_eq!(flags.config, PathBuf::from("a.yml"));
        assert_eq!(flags.query_timeout, Duration::from_secs(5_400));
        assert_eq!(flags.query_lookback_delta, DurationMs(86_400_000));
        assert_eq!(flags.log_level, LogLevelFlag::Warning);
        assert_eq!(flags.proxy_headers, ["x-scope-orgid", "a"]);
        let (features, warnings) = flags.features();
        assert!(features.experimental_functions && features.binop_fill_modifiers && !features.extended_range_selectors);
        assert_eq!(
            warnings,
            [
                "--enable-feature: \"agent\" has no effect in a gateway",
                "Unknown option for --enable-feature: \"nosuch\""
            ]
        );
    }

    #[test]
    fn features_that_change_answers_are_off_unless_named() {
        assert_eq!(flags("").features(), (Features::default(), vec![]));
        let (features, warnings) =
            flags("--enable-feature=promql-delayed-name-removal, --enable-feature type-and-unit-labels").features();
        assert!(features.delayed_name_removal && features.type_and_unit_labels && !features.use_start_timestamps);
        assert!(warnings.is_empty());
        assert!(flags("--enable-feature=use-start-timestamps").features().0.use_start_timestamps);
    }

    #[test]
    fn bad_command_lines_exit_with_1_and_say_why() {
        for (line, why) in [
            ("--nosuch", "unexpected argument '--nosuch'"),
            ("--log-level=loud", "invalid value 'loud'"),
            ("--query.timeout=5", "\"5\" has no unit, write \"5s\""),
            ("--query.timeout=-5s", "\"-5s\" is negative"),
            ("--query.lookback-delta=0s", "must be more than zero"),
            ("--query.max-samples=0", "0 is not in"),
            ("--query.mode=fast", "\"fast\" is not a mode, write exact, pushdown, trust or auto"),
            ("--query.max-memory=512", "\"512\" has no unit, write \"512MB\""),
            ("--query.max-memory=5XB", "unknown unit \"XB\", use B, KB, MB, GB or TB"),
            ("--query.max-memory=MB", "\"MB\" does not begin with a number"),
            ("--query.max-memory=9999999999TB", "is too large"),
            ("--query.max-memory=10%", "unknown unit \"%\""),
            ("--query.max-memory-total=101%", "must be from 1% to 100%, or a size such as 4GB"),
            ("--query.max-concurrency=-2", "must be -1 or from 1"),
            ("--query.max-concurrency=0", "must be -1 or from 1"),
            ("--web.cors.origin=(", "error parsing regexp"),
            ("--web.external-url=example.org/x", "relative URL without a base"),
            ("--web.external-url=ftp://example.org", "must begin with http:// or https://"),
            ("--web.route-prefix=/{a}", "may only have letters, digits and /-._~"),
            ("--metrics-path=/", "--metrics-path=/ is the path of something else"),
            ("--metrics-path=/a --web.route-prefix=/a", "--metrics-path=/a is the path of something else"),
            ("--metrics-path=/api/v1/x", "--metrics-path=/api/v1/x is the path of something else"),
            ("--web.config.file=x.yml", "--web.config.file is not built yet"),
            ("--rules.alert.resend-delay=2m", "--rules.alert.resend-delay is not built yet"),
            ("--rules.alertbackfill", "--rules.alertbackfill is not built yet"),
            ("--web.max-connections=0", "must be from 1 to 1000000"),
            ("--web.max-connection-age=100ms", "must be at least 1s"),
            ("nosuch", "unrecognized subcommand 'nosuch'"),
        ] {
            let exit = read(line).expect_err(line);
            assert_eq!(exit.code, 1, "{line}");
            assert!(exit.text.contains(why), "{line}: {}", exit.text);
        }
    }

    #[test]
    fn sizes_are_powers_of_two_and_may_be_parts_of_the_whole() {
        for (text, bytes) in
            [("0", 0), ("1B", 1), ("512MB", 512 << 20), ("1.5GiB", 3 << 29), ("2 KB", 2_048), ("1TB", 1 << 40)]
        {
            assert_eq!(parse_memory_size(text), Ok(bytes), "{text}");
        }
        let total = |line: &str| flags(line).query_max_memory_total.bytes(Some(1_000));
        assert_eq!(total(""), 700);
        assert_eq!(total("--query.max-memory-total=5%"), 50);
        assert_eq!(total("--query.max-memory-total=5KB"), 5_120);
        assert_eq!(total("--query.max-memory-total=0"), 0);
        assert_eq!(MemoryTotal::Percent(70).bytes(None), 0);
    }

    #[test]
    fn a_default_of_promxy_is_only_a_warning() {
        let flags = flags("--rules.alert.for-outage-tolerance=60m --rules.alert.resend-delay=1m");
        assert_eq!(
            flags.warnings,
            [
                "--rules.alert.for-outage-tolerance is not built yet; its default value 60m changes nothing",
                "--rules.alert.resend-delay is not built yet; its default value 1m changes nothing",
            ]
        );
    }

    #[test]
    fn help_and_version_are_no_failures() {
        for line in ["--help", "-h", "--version", "-v"] {
            assert_eq!(read(line).expect_err(line).code, 0, "{line}");
        }
        assert!(read("-v").expect_err("version").text.contains(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn the_route_prefix_is_that_of_the_external_url_unless_given() {
        for (line, prefix) in [
            ("--web.external-url=http://x.org/a/b/", "/a/b"),
            ("--web.external-url=http://x.org", "/"),
            ("--web.external-url=http://x.org/a --web.route-prefix=/", "/"),
            ("--web.route-prefix=c/", "/c"),
        ] {
            assert_eq!(flags(line).effective_route_prefix(), prefix, "{line}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let flags = flags("--web.external-url=http://me:hunter2@x.org/");
        assert_eq!(flags.shown["web.external-url"], "http://me:xxxxx@x.org/");
    }
}
