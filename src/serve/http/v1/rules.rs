//! Rules and alerts. Quiver evaluates none, so that empty lists are the truth.

use axum::response::Response;
use serde_json::json;

use crate::serve::http::respond::success_response;

/// No rule groups.
pub(super) async fn rules() -> Response {
    success_response(&json!({"groups": []}))
}

/// No alerts.
pub(super) async fn alerts() -> Response {
    success_response(&json!({"alerts": []}))
}

/// No Alertmanagers.
pub(super) async fn alertmanagers() -> Response {
    success_response(&json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}

/// Nothing that the server has to tell its user interface.
pub(super) async fn notifications() -> Response {
    success_response(&json!([]))
}
