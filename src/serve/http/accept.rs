//! Which format of an exposition a client gets that says what it accepts.
//!
//! | `Accept` | format |
//! |---|---|
//! | delimited protobuf of metric families, or text 0.0.4 | the one that is wanted more |
//! | OpenMetrics beside text, or beside anything | text: Prometheus' `/federate` has never sent anything else |
//! | OpenMetrics alone | OpenMetrics: nothing else will do |
//! | nothing, or what we do not have | text |
//!
//! Source: prometheus/common v0.70 expfmt Negotiate, and the order in which munnerz/goautoneg puts clauses.

use crate::encode::{ExpositionFormat, ExpositionKind, NameEscaping};

/// More clauses are not looked at; Prometheus sends six.
const CLAUSES_MAX: usize = 64;

/// The format for a value of `Accept`.
pub(super) fn exposition_format(accept: &str) -> ExpositionFormat {
    let clauses = clauses(accept);
    let mut escaping = NameEscaping::default();
    let mut open_metrics = None;
    for clause in &clauses {
        // Whatever stood before, even of a format that was not taken, is what the client can read.
        escaping = NameEscaping::of_name(clause.param("escaping")).unwrap_or(escaping);
        match clause.kind() {
            Some(kind) if kind.is_open_metrics() => {
                open_metrics = open_metrics.or(Some(ExpositionFormat { kind, escaping }));
            }
            Some(kind) => return ExpositionFormat { kind, escaping },
            None => {}
        }
    }
    let takes_text = clauses.iter().any(|clause| ["*/*", "text/*"].contains(&clause.media_type.as_str()));
    let text = ExpositionFormat { kind: ExpositionKind::Text, escaping };
    open_metrics.filter(|_| !takes_text).unwrap_or(text)
}

/// `text/plain;version=0.0.4;q=0.5`
#[derive(Debug)]
struct Clause<'a> {
    media_type: String,
    quality: f32,
    params: Vec<(&'a str, &'a str)>,
}

impl Clause<'_> {
    /// Empty where it is not there; of several the last.
    fn param(&self, name: &str) -> &str {
        self.params.iter().rev().find(|(own, _)| *own == name).map_or("", |(_, value)| value)
    }

    fn kind(&self) -> Option<ExpositionKind> {
        match (self.media_type.as_str(), self.param("version")) {
            ("application/vnd.google.protobuf", _) => {
                let is_ours =
                    self.param("proto") == "io.prometheus.client.MetricFamily" && self.param("encoding") == "delimited";
                is_ours.then_some(ExpositionKind::Protobuf)
            }
            ("text/plain", "" | "0.0.4") => Some(ExpositionKind::Text),
            ("application/openmetrics-text", "1.0.0") => Some(ExpositionKind::OpenMetrics),
            ("application/openmetrics-text", "" | "0.0.1") => Some(ExpositionKind::OpenMetricsDraft),
            _ => None,
        }
    }

    fn stands_before(&self, other: &Self) -> bool {
        let is_open = |clause: &Self, end: &str| clause.media_type.ends_with(end);
        let is_any = |clause: &Self| clause.media_type.starts_with("*/");
        self.quality > other.quality
            || (!is_any(self) && is_any(other))
            || (!is_open(self, "/*") && is_open(other, "/*"))
    }
}

/// The clauses in the order of preference. That rule is no order in the strict sense, so that it matters how one sorts: by
/// insertion, as Go does it with so few.
fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept.split(',').take(CLAUSES_MAX).filter_map(clause).collect();
    for end in 1..clauses.len() {
        for at in (1..=end).rev() {
            if !clauses[at].stands_before(&clauses[at - 1]) {
                break;
            }
            clauses.swap(at, at - 1);
        }
    }
    clauses
}

fn clause(text: &str) -> Option<Clause<'_>> {
    let mut parts = text.split(';');
    let media_type = parts.next()?.trim_matches(' ');
    let media_type = match media_type.split_once('/') {
        Some((kind, subtype)) if !subtype.is_empty() && !subtype.contains('/') => {
            format!("{}/{}", kind.trim_matches(' '), subtype.trim_matches(' '))
        }
        None if media_type == "*" => "*/*".to_owned(),
        _ => return None,
    };
    let mut clause = Clause { media_type, quality: 1.0, params: Vec::new() };
    for part in parts {
        match part.split_once('=') {
            Some((name, value)) if !value.is_empty() && !value.contains('=') => match name.trim_matches(' ') {
                // What is no number is the least.
                "q" => clause.quality = value.parse().unwrap_or(0.0),
                name => clause.params.push((name, value.trim_matches(' '))),
            },
            _ => {}
        }
    }
    Some(clause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_prometheus_would_send_it() {
        use ExpositionKind::{OpenMetrics, OpenMetricsDraft, Protobuf, Text};
        use NameEscaping::{AllowUtf8, Dots, Underscores, Values};
        const PROTOBUF: &str =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        // As Prometheus 3.14 scrapes, with and without native histograms.
        let scrape = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;\
                      version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let native = format!("{PROTOBUF};escaping=allow-utf-8;q=0.7,{scrape}");
        for (accept, kind, escaping) in [
            ("", Text, Underscores),
            ("*/*", Text, Underscores),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Text, Underscores),
            ("text/plain", Text, Underscores),
            ("text/plain;version=0.0.4;escaping=values", Text, Values),
            ("text/plain;version=0.0.4; escaping = dots ", Text, Dots),
            ("text/plain;escaping=klingon", Text, Underscores),
            (PROTOBUF, Protobuf, Underscores),
            (&native, Protobuf, AllowUtf8),
            (scrape, Text, AllowUtf8),
            (&format!("text/plain;version=0.0.4;q=0.5,{PROTOBUF};q=0.4"), Text, Underscores),
            (&format!("text/plain;q=0.3,{PROTOBUF};q=0.4"), Protobuf, Underscores),
            // Wishes that nobody can read are none.
            (&format!("text/plain;q=0.3,{PROTOBUF};q=much"), Text, Underscores),
            ("application/vnd.google.protobuf;proto=other;encoding=delimited", Text, Underscores),
            ("application/json", Text, Underscores),
            ("application/openmetrics-text;version=1.0.0", OpenMetrics, Underscores),
            ("application/openmetrics-text; version=1.0.0; escaping=allow-utf-8", OpenMetrics, AllowUtf8),
            ("application/openmetrics-text", OpenMetricsDraft, Underscores),
            ("application/openmetrics-text;version=2.0.0", Text, Underscores),
            ("application/openmetrics-text;version=1.0.0,text/plain;q=0.1", Text, Underscores),
            ("application/openmetrics-text;version=1.0.0,text/*;q=0.1", Text, Underscores),
            ("a/b/c,/,;;=,q=1;=;a==b,text/plain;escaping=dots", Text, Dots),
        ] {
            assert_eq!(exposition_format(accept), ExpositionFormat { kind, escaping }, "{accept}");
        }
    }
}
