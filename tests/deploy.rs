//! What `deploy/` holds stays usable: every example is loaded, and what names something elsewhere names it right.

use std::path::{Path, PathBuf};

use quiver::config;

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files_in(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    files
}

/// Loads a config whose secrets and certificates are taken from the test files.
fn load(path: &Path) -> config::LoadedConfig {
    let name = path.to_string_lossy();
    let text = read(&name).replace("/etc/quiver/", "tests/config/files/");
    config::parse(&text, &name).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_example_config_loads_without_a_warning() {
    let mut configs = files_in("deploy/examples");
    assert!(configs.len() >= 8, "only {} examples", configs.len());
    configs.extend(["deploy/compose/quiver.yml", "deploy/kubernetes/quiver.yml"].map(PathBuf::from));
    for path in configs {
        let loaded = load(&path);
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, [""; 0], "{}", path.display());
        assert!(!loaded.config.promxy.server_groups.is_empty(), "{}", path.display());
    }
}

#[test]
fn the_compose_config_asks_servers_that_compose_starts() {
    let compose = read("deploy/compose/compose.yml");
    let config = load(Path::new("deploy/compose/quiver.yml")).config;
    let mut asked = 0;
    for group in &config.promxy.server_groups {
        for target in group.static_configs.iter().flat_map(|config| &config.targets) {
            let (service, port) = target.split_once(':').unwrap_or((target, ""));
            assert!(compose.contains(&format!("\n  {service}:\n")), "compose.yml has no service {service}");
            assert_eq!(port, "9090", "{target}");
            asked += 1;
        }
    }
    assert_eq!(asked, compose.matches("<<: *prometheus").count(), "every server of compose.yml is asked");
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_source_and_does_not_run_as_root() {
    let dockerfile = read("deploy/docker/Dockerfile");
    let toolchain = read("rust-toolchain.toml");
    let version = toolchain.split('"').nth(1).unwrap_or_default();
    assert!(dockerfile.contains(&format!("FROM rust:{version}-")), "rust-toolchain.toml says {version}");
    let last_stage = dockerfile.rsplit("\nFROM ").next().unwrap_or_default();
    assert!(last_stage.contains("\nUSER 65532:65532\n"), "{last_stage}");
    assert!(!last_stage.contains("RUN"), "the last stage has no shell");
}

#[test]
fn everyone_agrees_where_the_config_is_and_on_which_port_quiver_listens() {
    let config_path = "/etc/quiver/quiver.yml";
    for file in ["deploy/docker/Dockerfile", "deploy/compose/compose.yml", "deploy/kubernetes/deployment.yaml"] {
        let text = read(file);
        assert!(text.contains(config_path), "{file} does not name {config_path}");
        assert!(text.contains("8082"), "{file} does not name the port");
    }
    assert!(read("deploy/kubernetes/kustomization.yaml").contains("files: [quiver.yml]"));
}
