//! `/api/v1/status/*`: version, process, configuration, flags.

use std::time::SystemTime;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use crate::decode::FLIGHT_FORMAT;
use crate::serve::http::respond::success_response;
use crate::serve::http::state::ApiState;

/// The release of Prometheus whose API and language are answered here. Clients such as Grafana read `version` to decide
/// what they may ask; our own version would make them think of a Prometheus from before labels could be matched.
pub(in crate::serve) const PROMETHEUS_VERSION: &str = "3.14.0";

/// Versions; and for a Quiver above this one, under a name that others pass by, how to ask it best.
pub(super) async fn build_info(State(state): State<ApiState>) -> Response {
    let flight_port = state.flight_port();
    success_response(&json!({
        "version": PROMETHEUS_VERSION,
        "revision": env!("QUIVER_COMMIT"),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "application": "Quiver",
        "applicationVersion": env!("CARGO_PKG_VERSION"),
        "quiver": {
            "id": state.gateway().as_str(),
            "flightPort": flight_port,
            "flightFormat": flight_port.map(|_| FLIGHT_FORMAT),
            "tellsStartTimes": state.engine().source().tells_start_times(),
        },
    }))
}

/// The process, under the keys of Prometheus; what only a Go program has is empty.
pub(super) async fn runtime_info(State(state): State<ApiState>) -> Response {
    let config = state.config();
    let cpu = state.cpu();
    success_response(&json!({
        "startTime": format_time(state.started_at()),
        "serverTime": format_time(SystemTime::now()),
        "CWD": std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
        "hostname": std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim_end(),
        "reloadConfigSuccess": config.last_load_succeeded,
        "lastConfigTime": format_time(config.loaded_at),
        "corruptionCount": 0,
        "goroutineCount": cpu.task_count(),
        "GOMAXPROCS": cpu.thread_count(),
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": "",
    }))
}

/// The configuration that runs, secrets masked.
pub(super) async fn config(State(state): State<ApiState>) -> Response {
    success_response(&json!({"yaml": state.config().yaml}))
}

/// The flags of the process.
pub(super) async fn flags(State(state): State<ApiState>) -> Response {
    success_response(&state.options().flags)
}

fn format_time(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Nanos, true)
}
