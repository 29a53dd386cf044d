//! The reference page of the config file, printed from the tables that the loader reads with.

use std::fmt::Write;

use super::global::GLOBAL_KEYS;
use super::http_client::{AUTHORIZATION_KEYS, BASIC_AUTH_KEYS, HTTP_CLIENT_KEYS};
use super::known_keys::KeyTable;
use super::label_filter::LABEL_FILTER_KEYS;
use super::promxy::{PROMXY_KEYS, ROOT_KEYS};
use super::relabel::{METRICS_RELABEL_KEYS, RELABEL_KEYS};
use super::server_group_keys::{NATIVE_HISTOGRAM_KEYS, SERVER_GROUP_KEYS, STATIC_CONFIG_KEYS};
use super::time_range::{ABSOLUTE_TIME_RANGE_KEYS, RELATIVE_TIME_RANGE_KEYS};
use super::tls::TLS_KEYS;

/// All sections, from the top of the file down.
static TABLES: [&KeyTable; 15] = [
    &ROOT_KEYS,
    &GLOBAL_KEYS,
    &PROMXY_KEYS,
    &SERVER_GROUP_KEYS,
    &STATIC_CONFIG_KEYS,
    &RELABEL_KEYS,
    &METRICS_RELABEL_KEYS,
    &LABEL_FILTER_KEYS,
    &RELATIVE_TIME_RANGE_KEYS,
    &ABSOLUTE_TIME_RANGE_KEYS,
    &NATIVE_HISTOGRAM_KEYS,
    &HTTP_CLIENT_KEYS,
    &BASIC_AUTH_KEYS,
    &AUTHORIZATION_KEYS,
    &TLS_KEYS,
];

const INTRODUCTION: &str = "# The config file

Quiver reads promxy's config file. `quiver check-config FILE` checks it without starting anything: every error names the
file, the line, the column and the key. An unknown key is an error. So is a key of promxy that is not built yet, unless its
value asks for nothing (`false`, empty, `0s`).

- **Text** is taken exactly as it is written: `version: 1.10` stays `1.10`, `zone: 007` stays `007`.
- **Durations** are written as in Prometheus (`1d`, `5m`) or as in Go (`1.5h`, `200ms`). A number without a unit is an error.
- **true or false** may also be `yes`, `no`, `on`, `off`.
- **Secrets** are shown as `<secret>` on every page and in every log.
- **Files** are found relative to where Quiver was started, as in promxy. They must be there when the config is read.
- A key without a value counts as left out. Anchors, aliases and `<<` work; a file holds one YAML document.

This page is printed from the source by `UPDATE=1 cargo test --test config`.
";

/// The page in Markdown.
pub fn reference_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for table in TABLES {
        // Writing to a String cannot fail.
        let _ = write_section(table, &mut page);
    }
    page
}

fn write_section(table: &KeyTable, page: &mut String) -> std::fmt::Result {
    writeln!(page, "\n## {}\n\n{}", table.title, table.about)?;
    for key in table.keys {
        writeln!(page, "\n**`{}`**: {}. Default: {}.\n\n{}", key.name, key.form, key.default, key.about)?;
        writeln!(page, "\n```yaml\n{}\n```", key.example)?;
    }
    if !table.not_built.is_empty() {
        let names: Vec<String> = table.not_built.iter().map(|(name, _)| format!("`{name}`")).collect();
        writeln!(page, "\nNot built yet: {}.", names.join(", "))?;
    }
    if !table.inert.is_empty() {
        writeln!(page, "\nAccepted with a warning, without effect:\n")?;
        for (name, why) in table.inert {
            writeln!(page, "- `{name}`: {why}.")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        Config, LabelFilterConfig, NativeHistogramConfig, RelativeTimeRange, ServerGroupConfig, parse,
    };

    /// The lines that lead to a section, and how deep its keys are.
    fn wrap(table: &KeyTable, example: &str) -> String {
        let client = "promxy:\n  server_groups:\n  - http_client:\n";
        let (head, indent) = match table.title {
            "the top of the file" => (String::new(), 0),
            "global" => ("global:\n".to_owned(), 2),
            "promxy" => ("promxy:\n".to_owned(), 2),
            "promxy.server_groups[]" => ("promxy:\n  server_groups:\n  -\n".to_owned(), 4),
            "promxy.server_groups[].http_client" => (client.to_owned(), 6),
            title if title.starts_with("promxy.server_groups[].http_client.") => {
                (format!("{client}      {}:\n", title.rsplit('.').next().unwrap_or_default()), 8)
            }
            title => {
                let key = title.rsplit('.').next().unwrap_or_default();
                let (key, item) = key.strip_suffix("[]").map_or((key, ""), |key| (key, "    -\n"));
                (format!("promxy:\n  server_groups:\n  - {key}:\n{item}"), 6)
            }
        };
        let lines: Vec<String> = example.lines().map(|line| format!("{}{line}", " ".repeat(indent))).collect();
        format!("{head}{}\n", lines.join("\n"))
    }

    #[test]
    fn every_example_can_be_read() {
        // What an example names need not be here.
        let allowed = ["cannot read the file", "is not valid PEM", "holds no PEM", "needs credentials", "needs its"];
        for table in TABLES {
            for key in table.keys {
                let text = wrap(table, key.example);
                if let Err(error) = parse(&text, "example.yml") {
                    for problem in error.problems() {
                        assert!(allowed.iter().any(|words| problem.message.contains(words)), "{problem}\n{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_defaults_of_the_page_are_the_defaults_of_the_code() {
        let mut config = Config::default();
        config.promxy.server_groups.push(ServerGroupConfig {
            label_filter: Some(LabelFilterConfig::default()),
            native_histogram: Some(NativeHistogramConfig::default()),
            relative_time_range: Some(RelativeTimeRange::default()),
            ..ServerGroupConfig::default()
        });
        let text = config.to_yaml_redacted();
        let words = [
            "none",
            "empty",
            "section",
            "see there",
            "no servers",
            "no credentials",
            "the ",
            "TLS12",
            "TLS13",
            "Bearer",
        ];
        let mut compared = 0;
        for key in TABLES.iter().flat_map(|table| table.keys) {
            if !words.iter().any(|word| key.default.starts_with(word)) {
                assert!(text.contains(&format!("{}: {}\n", key.name, key.default)), "{}: {}", key.name, key.default);
                compared += 1;
            }
        }
        assert!(compared >= 10, "only {compared} defaults were compared");
    }
}
