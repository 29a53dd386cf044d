//! What the pages say stays true as far as a machine can tell: links lead somewhere, examples load.

use std::path::Path;

use quiver::cli::Cli;
use quiver::config;
use quiver::syntax::{Features, Function, parse};

const PAGES: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/promql.md",
    "docs/limits.md",
    "docs/remote-read.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut checked = 0;
    for page in PAGES {
        let (text, page_path) = (read(page), root().join(page));
        let folder = page_path.parent().expect("every page is in a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if !link.contains("://") {
                assert!(folder.join(link).exists(), "{page} links to {link}, which is not there");
                checked += 1;
            }
        }
    }
    assert!(checked >= 8, "only {checked} links were found");
}

#[test]
fn the_config_of_the_readme_loads() {
    let text = read("README.md");
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block).collect();
    assert!(!blocks.is_empty(), "the README shows a config");
    for block in blocks {
        let loaded = config::parse(block, "README.md").unwrap_or_else(|error| panic!("{error}"));
        assert!(loaded.warnings.is_empty() && !loaded.config.promxy.server_groups.is_empty(), "{block}");
    }
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let folder = root().join("docs/adr");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("docs/adr")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for (index, name) in names.iter().enumerate() {
        assert!(name.starts_with(&format!("{:04}-", index + 1)), "{name} is number {}", index + 1);
        let page = read(&format!("docs/adr/{name}"));
        for part in ["**Context.**", "**Decision.**", "**Consequences.**"] {
            assert!(page.contains(part), "{name} has no {part}");
        }
    }
}

/// The part of the page about PromQL between two of its headings.
fn promql_part(from: &str, to: &str) -> String {
    let page = read("docs/promql.md");
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("no {from}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to} behind {from}")).0.to_owned()
}

#[test]
fn the_promql_page_names_every_function_where_it_belongs() {
    let free = promql_part("## Without a flag", "## With a flag");
    let gated = promql_part("## With a flag", "## Where it differs");
    for function in Function::all() {
        let name = format!("`{}`", function.name);
        assert_eq!(free.contains(&name), !function.experimental, "{name} without a flag");
        assert!(gated.contains(&name) || !function.experimental, "{name} behind a flag");
    }
    let every = Features { experimental_functions: true, ..Features::default() };
    for aggregation in [
        "sum",
        "avg",
        "min",
        "max",
        "count",
        "group",
        "stddev",
        "stdvar",
        "quantile",
        "topk",
        "bottomk",
        "count_values",
        "limitk",
        "limit_ratio",
    ] {
        let parameter = match aggregation {
            "quantile" | "topk" | "bottomk" | "limitk" | "limit_ratio" => "1, ",
            "count_values" => "\"a\", ",
            _ => "",
        };
        let query = format!("{aggregation}({parameter}x)");
        assert!(parse(&query, &every).is_ok(), "{query}");
        let is_free = parse(&query, &Features::default()).is_ok();
        let place = if is_free { &free } else { &gated };
        assert!(place.contains(&format!("`{aggregation}`")), "{aggregation}");
    }
}

#[test]
fn the_promql_page_names_every_flag_and_its_default() {
    let flags = promql_part("| flag |", "`promql-duration-expr`");
    let names: Vec<&str> = flags.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    let started = |flag: &str| Cli::try_from_args(["quiver", "--config=x.yml", flag].map(std::ffi::OsString::from));
    let mut seen = std::collections::BTreeSet::new();
    for name in &names {
        match started(&format!("--enable-feature={name}")) {
            Ok(cli) => {
                let (features, warnings) = cli.serve.features();
                assert!(warnings.is_empty(), "{name}: {warnings:?}");
                let shown = format!("{features:?}");
                assert_eq!(shown.matches(": true").count(), 1, "{name}: {shown}");
                assert!(seen.insert(shown), "{name} turns on what another does");
            }
            Err(exit) => {
                assert!(exit.text.contains("is not built yet"), "{name}: {}", exit.text);
                assert!(promql_part("## Not built yet", "\n## ").contains(&format!("`{name}`")), "{name}");
            }
        }
    }
    assert_eq!(names.len(), format!("{:?}", Features::default()).matches(": false").count(), "{names:?}");
    let duration_expressions = started("--enable-feature=promql-duration-expr").expect("accepted").serve.features();
    assert_eq!(duration_expressions.0, Features::default());
    let shown = started("--log-level=info").expect("flags").serve.shown;
    let page = read("docs/promql.md");
    for flag in ["query.lookback-delta", "query.timeout", "query.max-samples"] {
        assert!(page.contains(&format!("`--{flag}` {}", shown[flag])), "{flag} is {}", shown[flag]);
    }
}
