//! `/`: one small page for people, with links to try. No script, no style from elsewhere.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::state::ApiState;

/// Endpoints that answer to a plain link.
const ENDPOINTS: [(&str, &str); 12] = [
    ("/api/v1/query?query=vector(1)", "an instant query"),
    ("/api/v1/explain?query=vector(1)", "the plan of a query; nothing is fetched"),
    ("/api/v1/labels", "label names"),
    ("/api/v1/label/job/values", "values of a label"),
    ("/api/v1/metadata?limit=100", "types and help texts of metrics"),
    ("/api/v1/rules", "rules; there are none"),
    ("/api/v1/status/buildinfo", "version"),
    ("/api/v1/status/runtimeinfo", "state of the process"),
    ("/api/v1/status/config", "configuration, without secrets"),
    ("/api/v1/status/flags", "command line"),
    ("/-/healthy", "is the process alive?"),
    ("/-/ready", "should requests be sent here?"),
];

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
code{font-size:.9em;overflow-wrap:anywhere}td{padding:.1rem 1rem .1rem 0;vertical-align:top}";

/// The page.
pub(super) async fn index(State(state): State<ApiState>) -> Response {
    let options = state.options();
    let prefix = options.route_prefix.trim_end_matches('/');
    let examples: Vec<(&str, String)> =
        options.examples.iter().map(|(title, path)| (title.as_str(), format!("{prefix}{path}"))).collect();
    let mut endpoints: Vec<(&str, String)> =
        ENDPOINTS.iter().map(|(path, title)| (*title, format!("{prefix}{path}"))).collect();
    endpoints.push(("metrics of this process", options.metrics_path.clone()));

    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Quiver</title><style>{STYLE}</style></head>\
         <body>\n<h1>Quiver {}</h1>\n<p>One Prometheus API in front of many Prometheus servers. Point Grafana, or anything \
         else that speaks to a Prometheus, at this address.</p>\n",
        env!("CARGO_PKG_VERSION")
    );
    if !examples.is_empty() {
        write_links(&mut page, "Try", &examples);
    }
    write_links(&mut page, "Endpoints", &endpoints);
    page.push_str("</body></html>\n");
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

fn write_links(page: &mut String, heading: &str, links: &[(&str, String)]) {
    write!(page, "<h2>{heading}</h2>\n<table>\n").expect("a String takes everything");
    for (title, path) in links {
        let (title, path) = (escape_html(title), escape_html(path));
        writeln!(page, "<tr><td>{title}</td><td><a href=\"{path}\"><code>{path}</code></a></td></tr>")
            .expect("a String takes everything");
    }
    page.push_str("</table>\n");
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}
