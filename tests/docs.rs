//! What the pages say stays true as far as a machine can tell: links lead somewhere, examples load.

use std::path::Path;

use quiver::config;

const PAGES: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

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
        let text = read(page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if !link.contains("://") {
                assert!(root().join(link).exists(), "{page} links to {link}, which is not there");
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
