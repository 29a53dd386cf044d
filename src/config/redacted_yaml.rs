//! A config as YAML with every default and no secret: what `/api/v1/status/config` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::flight::FlightConfig;
use super::http_client::{Auth, HttpClientConfig, SecretSource};
use super::label_filter::LabelFilterConfig;
use super::relabel::MetricsRelabel;
use super::secret::{REDACTED, Secret};
use super::server_group::{NativeHistogramConfig, ServerGroupConfig, StaticConfig};
use super::time_range::{AbsoluteTimeRange, RelativeTimeRange};
use super::tls::TlsConfig;
use super::{Config, GlobalConfig};
use crate::model::{DurationMs, Labels, RelabelRule};

impl Config {
    /// The whole config as YAML: keys of the file, defaults filled in, every secret as `<secret>`. Reads back as the same
    /// config where there are no secrets.
    pub fn to_yaml_redacted(&self) -> String {
        let groups = self.promxy.server_groups.iter().map(group_yaml).collect();
        let root = section([
            ("global", Some(global_yaml(&self.global))),
            ("promxy", Some(section([("server_groups", Some(Yaml::List(groups)))]))),
        ]);
        let mut out = String::new();
        root.write(0, &mut out);
        out
    }
}

enum Yaml {
    /// Written as it is.
    Bare(String),
    /// Quoted where it needs to be.
    Text(String),
    List(Vec<Yaml>),
    Section(Vec<(String, Yaml)>),
}

/// The pairs that are there.
fn section<const N: usize>(pairs: [(&str, Option<Yaml>); N]) -> Yaml {
    Yaml::Section(pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

fn global_yaml(global: &GlobalConfig) -> Yaml {
    section([
        ("evaluation_interval", Some(duration_ms(global.evaluation_interval))),
        ("external_labels", Some(labels(&global.external_labels))),
    ])
}

fn group_yaml(group: &ServerGroupConfig) -> Yaml {
    section([
        ("name", group.name.clone().map(Yaml::Text)),
        ("static_configs", Some(Yaml::List(group.static_configs.iter().map(static_yaml).collect()))),
        ("labels", Some(labels(&group.labels))),
        ("relabel_configs", list(&group.relabel_configs, relabel_yaml)),
        ("metrics_relabel_configs", list(&group.metrics_relabel_configs, metrics_relabel_yaml)),
        ("inject_matchers", list(&group.inject_matchers, |matcher| Yaml::Text(matcher.to_string()))),
        ("label_filter", group.label_filter.as_ref().map(label_filter_yaml)),
        ("disjoint", Some(bare(group.disjoint))),
        ("scheme", Some(bare(group.scheme))),
        ("path_prefix", Some(Yaml::Text(group.path_prefix.clone()))),
        ("query_params", Some(secrets(&group.query_params))),
        ("http_headers", Some(secrets(&group.http_headers))),
        ("anti_affinity", Some(duration_ms(group.anti_affinity))),
        ("anti_affinity_dynamic", Some(bare(group.anti_affinity_dynamic))),
        ("prefer_max", Some(bare(group.prefer_max))),
        ("mode", group.mode.map(bare)),
        ("remote_read", group.remote_read.map(bare)),
        ("remote_read_path", Some(Yaml::Text(group.remote_read_path.clone()))),
        ("flight", (group.flight != FlightConfig::FindOut).then(|| flight_yaml(&group.flight))),
        ("native_histogram", group.native_histogram.as_ref().map(native_histogram_yaml)),
        ("relative_time_range", group.relative_time_range.as_ref().map(relative_time_range_yaml)),
        ("absolute_time_range", group.absolute_time_range.as_ref().map(absolute_time_range_yaml)),
        ("align_query_range_with_step", Some(bare(group.align_query_range_with_step))),
        ("timeout", Some(duration(group.timeout.unwrap_or_default()))),
        ("max_idle_conns_per_host", Some(bare(group.max_idle_conns_per_host))),
        ("idle_conn_timeout", Some(duration(group.idle_conn_timeout))),
        ("ignore_error", Some(bare(group.ignore_error))),
        ("downgrade_error", Some(bare(group.downgrade_error))),
        ("http_client", Some(http_client_yaml(&group.http_client))),
    ])
}

fn flight_yaml(flight: &FlightConfig) -> Yaml {
    match flight {
        FlightConfig::FindOut | FlightConfig::Never | FlightConfig::SamePort => bare(flight),
        FlightConfig::Port(_) | FlightConfig::Address(_) => Yaml::Text(flight.to_string()),
    }
}

/// A list where there is anything in it.
fn list<T>(items: &[T], item_yaml: impl Fn(&T) -> Yaml) -> Option<Yaml> {
    (!items.is_empty()).then(|| Yaml::List(items.iter().map(item_yaml).collect()))
}

fn texts<'a>(texts: impl Iterator<Item = &'a String>) -> Yaml {
    Yaml::List(texts.cloned().map(Yaml::Text).collect())
}

fn relabel_yaml(rule: &RelabelRule) -> Yaml {
    let default = RelabelRule::default();
    let unless = |text: &str, default: &str| (text != default).then(|| Yaml::Text(text.to_owned()));
    section([
        ("action", Some(bare(rule.action.as_str()))),
        ("source_labels", (!rule.source_labels.is_empty()).then(|| texts(rule.source_labels.iter()))),
        ("separator", unless(&rule.separator, &default.separator)),
        ("regex", unless(rule.regex.pattern(), default.regex.pattern())),
        ("modulus", (rule.modulus != 0).then(|| bare(rule.modulus))),
        ("target_label", unless(&rule.target_label, "")),
        ("replacement", unless(&rule.replacement, &default.replacement)),
    ])
}

fn metrics_relabel_yaml(rule: &MetricsRelabel) -> Yaml {
    let has_target = !rule.target_label.is_empty();
    section([
        ("action", Some(bare(rule.action.as_str()))),
        ("source_label", Some(Yaml::Text(rule.source_label.clone()))),
        ("target_label", has_target.then(|| Yaml::Text(rule.target_label.clone()))),
    ])
}

fn label_filter_yaml(filter: &LabelFilterConfig) -> Yaml {
    let is_dynamic = !filter.dynamic_labels.is_empty();
    let values = |all: &BTreeMap<String, BTreeSet<String>>| {
        let sections = all.iter().map(|(name, values)| (name.clone(), texts(values.iter()))).collect();
        (!all.is_empty()).then_some(Yaml::Section(sections))
    };
    section([
        ("dynamic_labels", is_dynamic.then(|| texts(filter.dynamic_labels.iter()))),
        ("sync_interval", Some(duration(filter.sync_interval.unwrap_or_default()))),
        ("sync_lookback", Some(duration_ms(filter.sync_lookback.unwrap_or_default()))),
        ("static_labels_include", values(&filter.static_labels_include)),
        ("static_labels_exclude", values(&filter.static_labels_exclude)),
        ("on_sync_error", is_dynamic.then(|| bare(filter.on_sync_error.as_str()))),
    ])
}

fn native_histogram_yaml(config: &NativeHistogramConfig) -> Yaml {
    let refresh = duration(config.metadata_refresh);
    section([("metadata_refresh", Some(refresh)), ("allow_lossy", Some(bare(config.allow_lossy)))])
}

fn relative_time_range_yaml(range: &RelativeTimeRange) -> Yaml {
    let truncate = Some(bare(range.truncate));
    section([("start", range.start.map(duration_ms)), ("end", range.end.map(duration_ms)), ("truncate", truncate)])
}

/// Times as seconds, the form that loses nothing.
fn absolute_time_range_yaml(range: &AbsoluteTimeRange) -> Yaml {
    let truncate = Some(bare(range.truncate));
    section([("start", range.start.map(bare)), ("end", range.end.map(bare)), ("truncate", truncate)])
}

fn static_yaml(config: &StaticConfig) -> Yaml {
    let targets = config.targets.iter().cloned().map(Yaml::Text).collect();
    section([("targets", Some(Yaml::List(targets))), ("labels", Some(labels(&config.labels)))])
}

fn http_client_yaml(client: &HttpClientConfig) -> Yaml {
    let (basic, authorization) = match &client.auth {
        None => (None, None),
        Some(Auth::Basic { username, password }) => {
            let (inline, file) = secret_source(password);
            let username = Some(Yaml::Text(username.clone()));
            (Some(section([("username", username), ("password", inline), ("password_file", file)])), None)
        }
        Some(Auth::Authorization { scheme, credentials }) => {
            let (inline, file) = secret_source(credentials);
            let scheme = Some(Yaml::Text(scheme.clone()));
            (None, Some(section([("type", scheme), ("credentials", inline), ("credentials_file", file)])))
        }
    };
    section([
        ("dial_timeout", Some(duration(client.dial_timeout))),
        ("basic_auth", basic),
        ("authorization", authorization),
        ("tls_config", Some(tls_yaml(&client.tls_config))),
    ])
}

fn tls_yaml(tls: &TlsConfig) -> Yaml {
    section([
        ("ca_file", path(tls.ca_file.as_ref())),
        ("ca", tls.ca.clone().map(Yaml::Text)),
        ("cert_file", path(tls.cert_file.as_ref())),
        ("cert", tls.cert.clone().map(Yaml::Text)),
        ("key_file", path(tls.key_file.as_ref())),
        ("key", tls.key.as_ref().map(bare)),
        ("server_name", tls.server_name.clone().map(Yaml::Text)),
        ("insecure_skip_verify", Some(bare(tls.insecure_skip_verify))),
        ("min_version", tls.min_version.map(|version| bare(version.as_str()))),
        ("max_version", tls.max_version.map(|version| bare(version.as_str()))),
    ])
}

fn secret_source(source: &SecretSource) -> (Option<Yaml>, Option<Yaml>) {
    match source {
        SecretSource::Inline(secret) => (Some(bare(secret)), None),
        SecretSource::File(file) => (None, path(Some(file))),
    }
}

fn labels(labels: &Labels) -> Yaml {
    Yaml::Section(labels.iter().map(|(name, value)| (name.to_owned(), Yaml::Text(value.to_owned()))).collect())
}

fn secrets(secrets: &BTreeMap<String, Secret>) -> Yaml {
    Yaml::Section(secrets.iter().map(|(name, secret)| (name.clone(), bare(secret))).collect())
}

fn path(path: Option<&PathBuf>) -> Option<Yaml> {
    path.map(|path| Yaml::Text(path.to_string_lossy().into_owned()))
}

fn bare(value: impl ToString) -> Yaml {
    Yaml::Bare(value.to_string())
}

fn duration_ms(duration: DurationMs) -> Yaml {
    bare(duration)
}

fn duration(duration: Duration) -> Yaml {
    match i64::try_from(duration.as_millis()) {
        Ok(ms) if duration.subsec_nanos().is_multiple_of(1_000_000) => duration_ms(DurationMs(ms)),
        _ => bare(format!("{}ns", duration.as_nanos())),
    }
}

impl Yaml {
    /// Writes the value as a block whose lines are indented by `indent`.
    fn write(&self, indent: usize, out: &mut String) {
        match self {
            Self::Section(pairs) => {
                for (key, value) in pairs {
                    push_indent(indent, out);
                    push_text(key, out);
                    out.push(':');
                    value.write_after_key(indent, out);
                }
            }
            Self::List(items) => {
                for item in items {
                    let mut block = String::new();
                    item.write(indent + 2, &mut block);
                    push_indent(indent, out);
                    out.push_str("- ");
                    out.push_str(block.trim_start_matches(' '));
                }
            }
            Self::Bare(_) | Self::Text(_) => {
                push_indent(indent, out);
                self.write_scalar(out);
                out.push('\n');
            }
        }
    }

    fn write_after_key(&self, indent: usize, out: &mut String) {
        match self {
            Self::Section(pairs) if pairs.is_empty() => out.push_str(" {}\n"),
            Self::List(items) if items.is_empty() => out.push_str(" []\n"),
            Self::Section(_) => {
                out.push('\n');
                self.write(indent + 2, out);
            }
            Self::List(_) => {
                out.push('\n');
                self.write(indent, out);
            }
            Self::Bare(_) | Self::Text(_) => {
                out.push(' ');
                self.write_scalar(out);
                out.push('\n');
            }
        }
    }

    fn write_scalar(&self, out: &mut String) {
        match self {
            Self::Bare(text) => out.push_str(text),
            Self::Text(text) => push_text(text, out),
            Self::List(_) | Self::Section(_) => {}
        }
    }
}

fn push_indent(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A text that any YAML reader takes for the same text.
fn push_text(text: &str, out: &mut String) {
    if is_plain(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            // Line ends and marks that YAML reads as its own, beside the control characters.
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => push_escape(letter, out),
            letter if letter.is_control() => push_escape(letter, out),
            letter => out.push(letter),
        }
    }
    out.push('"');
}

fn push_escape(letter: char, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\u{:04x}", u32::from(letter));
}

/// Begins with a letter, `/` or `_`, goes on with nothing that YAML gives a meaning to, and is no word for true or nothing.
fn is_plain(text: &str) -> bool {
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/' || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte))
        && !words.iter().any(|word| text.eq_ignore_ascii_case(word))
        && text != REDACTED
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::parse;

    fn reread(config: &Config) -> Result<Config, String> {
        let text = config.to_yaml_redacted();
        parse(&text, "shown.yml").map(|loaded| loaded.config).map_err(|error| format!("{error}\n{text}"))
    }

    proptest! {
        #[test]
        fn a_config_without_secrets_reads_back_as_itself(
            name in "\\PC{1,12}",
            value in any::<String>().prop_filter("an empty label is no label", |value| !value.is_empty()),
            ms in 1_i64..10_000_000_000,
            ns in 1_u64..10_000_000_000,
            flag in any::<bool>(),
        ) {
            let mut group = ServerGroupConfig { name: Some(value.clone()), ..ServerGroupConfig::default() };
            group.labels = Labels::from_pairs([(format!("l{name}"), value.clone())]);
            group.anti_affinity = DurationMs(ms);
            group.idle_conn_timeout = Duration::from_nanos(ns);
            group.prefer_max = flag;
            group.static_configs = vec![
                StaticConfig { targets: vec!["10.0.0.1:9090".to_owned(), "[::1]".to_owned()], labels: Labels::default() },
                StaticConfig { targets: Vec::new(), labels: Labels::from_pairs([("zone", value)]) },
            ];
            let mut config = Config::default();
            config.promxy.server_groups = vec![group.clone(), ServerGroupConfig::default()];
            prop_assert_eq!(reread(&config), Ok(config));
        }
    }

    #[test]
    fn every_key_about_series_and_samples_reads_back_as_itself() {
        let file = r#"
promxy:
  server_groups:
    - static_configs: [{targets: ['a:1'], labels: {__scheme__: https, __tmp: x}}]
      relabel_configs:
        - {action: replace, source_labels: [__tmp, y], separator: "\n", regex: '(\d+)"', target_label: '${1}', replacement: ''}
        - {action: hashmod, source_labels: [__tmp], modulus: 18446744073709551615, target_label: shard}
        - {action: labelkeep, regex: '__.*|shard'}
        - {action: dropequal, source_labels: [a.b], target_label: "1 2"}
      metrics_relabel_configs:
        - {action: replace, source_label: a, target_label: b}
        - {action: labeldrop, source_label: a}
      inject_matchers: ['a=~"\"|\n"', '"b.c"!="d"']
      label_filter:
        dynamic_labels: [job]
        sync_interval: 5m
        sync_lookback: 1d
        static_labels_include: {job: ["1", null-ish], dc: []}
        static_labels_exclude: {job: ["~"]}
        on_sync_error: closed
      disjoint: true
      mode: pushdown
      remote_read: false
      remote_read_path: x/y
      flight: ':8083'
      native_histogram: {metadata_refresh: 1s}
      relative_time_range: {start: -1h30m, end: 5ms, truncate: true}
      absolute_time_range: {start: -1.5, end: 2026-01-31T12:00:00.25Z}
      align_query_range_with_step: true
"#;
        let config = parse(file, "f").map(|loaded| loaded.config).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(reread(&config), Ok(config));
    }

    #[test]
    fn every_secret_shows_as_secret_and_everything_else_as_it_is() {
        let file = "
promxy:
  server_groups:
    - labels: {zone: '007', sg: a}
      query_params: {token: hunter1}
      http_headers: {X-Key: hunter2}
      http_client: {basic_auth: {username: me, password: hunter3}}
      timeout: 1.5s
    - static_configs: [{targets: ['a:1']}]
      http_client: {bearer_token: hunter4}
";
        let config = parse(file, "f").map(|loaded| loaded.config).map_err(|error| error.to_string());
        let text = config.map(|config| config.to_yaml_redacted()).unwrap_or_else(|error| error);
        assert!(!text.contains("hunter"), "{text}");
        expect_test::expect![[r#"
            global:
              evaluation_interval: 1m
              external_labels: {}
            promxy:
              server_groups:
              - static_configs: []
                labels:
                  sg: a
                  zone: "007"
                disjoint: false
                scheme: http
                path_prefix: ""
                query_params:
                  token: <secret>
                http_headers:
                  X-Key: <secret>
                anti_affinity: 10s
                anti_affinity_dynamic: false
                prefer_max: false
                remote_read_path: api/v1/read
                align_query_range_with_step: false
                timeout: 1s500ms
                max_idle_conns_per_host: 1000
                idle_conn_timeout: 5m
                ignore_error: false
                downgrade_error: false
                http_client:
                  dial_timeout: 200ms
                  basic_auth:
                    username: me
                    password: <secret>
                  tls_config:
                    insecure_skip_verify: false
              - static_configs:
                - targets:
                  - "a:1"
                  labels: {}
                labels: {}
                disjoint: false
                scheme: http
                path_prefix: ""
                query_params: {}
                http_headers: {}
                anti_affinity: 10s
                anti_affinity_dynamic: false
                prefer_max: false
                remote_read_path: api/v1/read
                align_query_range_with_step: false
                timeout: 0s
                max_idle_conns_per_host: 1000
                idle_conn_timeout: 5m
                ignore_error: false
                downgrade_error: false
                http_client:
                  dial_timeout: 200ms
                  authorization:
                    type: Bearer
                    credentials: <secret>
                  tls_config:
                    insecure_skip_verify: false
        "#]]
        .assert_eq(&text);
    }
}
