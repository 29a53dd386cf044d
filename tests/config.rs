//! Golden config files: `tests/config/*.good.yml` with what was understood (`.out`: warnings, then the whole config), and
//! `*.bad.yml` with the whole error text (`.err`). `UPDATE=1` rewrites the expectations; read what it wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use quiver::config::{self, Auth, SecretSource};

fn golden_files(suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir("tests/config")
        .expect("the folder is part of the source")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    files.sort();
    files
}

/// Compares with the expectation beside `path`, or rewrites it. Returns what differs.
fn compare(path: &Path, extension: &str, actual: &str) -> Option<String> {
    let expected_path = path.with_extension(extension);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&expected_path, actual).expect("the expectation can be written");
        return None;
    }
    let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
    (expected != actual).then(|| format!("{}\n--- expected\n{expected}\n--- found\n{actual}", expected_path.display()))
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn bad_files_say_what_is_wrong_and_where() {
    let files = golden_files(".bad.yml");
    assert!(files.len() >= 50, "only {} bad files", files.len());
    let mut differences = Vec::new();
    for path in &files {
        match config::parse(&read(path), &name_of(path)) {
            Ok(_) => differences.push(format!("{} was accepted", path.display())),
            Err(error) => {
                let text = format!("{error}\n");
                assert!(!text.contains("hunter2"), "{} shows a secret:\n{text}", path.display());
                differences.extend(compare(path, "err", &text));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn good_files_are_understood_as_written_down() {
    let files = golden_files(".good.yml");
    assert!(files.len() >= 10, "only {} good files", files.len());
    let mut differences = Vec::new();
    for path in &files {
        match config::parse(&read(path), &name_of(path)) {
            Err(error) => differences.push(format!("{} was refused:\n{error}", path.display())),
            Ok(loaded) => {
                let warnings: String = loaded.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
                let text = format!("{warnings}{}", loaded.config.to_yaml_redacted());
                assert!(!text.contains("hunter2"), "{} shows a secret:\n{text}", path.display());
                differences.extend(compare(path, "out", &text));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Names that stand in backquotes in these lines.
fn backquoted<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    lines.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_key_has_a_good_file_and_every_key_that_is_not_built_a_bad_one() {
    let page = config::reference_markdown();
    let good: String = golden_files(".good.yml").iter().map(|path| read(path)).collect();
    let errors: String = golden_files(".err").iter().map(|path| read(path)).collect();
    let known = backquoted(page.lines().filter(|line| line.starts_with("**`")));
    let not_built = backquoted(page.lines().filter(|line| line.starts_with("Not built yet: ")));
    assert!(known.len() > 40 && not_built.len() > 45, "{} and {}", known.len(), not_built.len());
    for key in known {
        assert!(good.contains(&format!("{key}:")), "no good file uses {key}");
    }
    for key in not_built {
        assert!(errors.contains(&format!("{key}: is not built yet")), "no bad file uses {key}");
    }
}

#[test]
fn texts_survive_as_they_are_written() {
    let texts = ["1.10", "007", "1e3", "0x1F", "yes", "True", "-0", "1_000", "2020-01-01", "12:30:45", ".5", "+Inf"];
    for written in texts {
        let file = format!(
            "global: {{external_labels: {{a: {written}}}}}
promxy:
  server_groups:
  - labels: {{a: {written}}}
    static_configs: [{{targets: ['a:1'], labels: {{a: {written}}}}}]
    query_params: {{a: {written}}}
    http_headers: {{a: {written}}}
    name: {written}
    http_client: {{basic_auth: {{username: me, password: {written}}}}}
"
        );
        let loaded = config::parse(&file, "f.yml").unwrap_or_else(|error| panic!("{written}: {error}"));
        let group = &loaded.config.promxy.server_groups[0];
        let Some(Auth::Basic { password: SecretSource::Inline(password), .. }) = &group.http_client.auth else {
            panic!("no basic auth: {:?}", group.http_client.auth);
        };
        let found = [
            loaded.config.global.external_labels.get("a"),
            group.labels.get("a"),
            group.static_configs[0].labels.get("a"),
            group.query_params.get("a").map(|secret| secret.expose()),
            group.http_headers.get("a").map(|secret| secret.expose()),
            group.name.as_deref(),
            Some(password.expose()),
        ];
        assert_eq!(found, [Some(written); 7], "{written}");
    }
}

#[test]
fn the_environment_lies_over_global_and_nothing_else() {
    let parse = |variables: &[(&str, &str)]| {
        let environment: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let file = "global: {evaluation_interval: 1m, external_labels: {replica: a, zone: 007}}
promxy: {server_groups: [{static_configs: [{targets: ['a:1']}]}]}";
        config::parse_with_environment(file, "f.yml", &environment)
            .map(|loaded| {
                let global = loaded.config.global;
                format!("{} {}", global.evaluation_interval, global.external_labels)
            })
            .map_err(|error| error.to_string())
    };
    let unchanged = Ok(r#"1m {replica="a", zone="007"}"#.to_owned());
    assert_eq!(parse(&[]), unchanged);
    // Kubernetes sets these for a service that is called quiver.
    assert_eq!(parse(&[("QUIVER_SERVICE_HOST", "10.0.0.1"), ("QUIVER_PORT", "tcp://10.0.0.1:80")]), unchanged);
    assert_eq!(
        parse(&[("QUIVER__GLOBAL__EVALUATION_INTERVAL", "30s"), ("QUIVER__GLOBAL__EXTERNAL_LABELS__REPLICA", "1.10")]),
        Ok(r#"30s {replica="1.10", zone="007"}"#.to_owned())
    );
    for (name, value, message) in [
        (
            "QUIVER__GLOBAL__EVALUATION_INTERVAL",
            "30",
            "environment variable QUIVER__GLOBAL__EVALUATION_INTERVAL: global.evaluation_interval: \"30\" has no unit, write \"30s\"",
        ),
        (
            "QUIVER__GLOBAL__EVALUATION_INTERVALL",
            "30s",
            "environment variable QUIVER__GLOBAL__EVALUATION_INTERVALL: global.evaluation_intervall: unknown key, did you mean \"evaluation_interval\"?",
        ),
        (
            "quiver__promxy__server_groups__0__timeout",
            "30s",
            "environment variable quiver__promxy__server_groups__0__timeout: only keys of global can be set so, as QUIVER__GLOBAL__EVALUATION_INTERVAL",
        ),
        (
            "QUIVER__GLOBAL",
            "x",
            "environment variable QUIVER__GLOBAL: only keys of global can be set so, as QUIVER__GLOBAL__EVALUATION_INTERVAL",
        ),
    ] {
        assert_eq!(parse(&[(name, value)]), Err(message.to_owned()), "{name}");
    }
}

#[test]
fn check_reports_a_good_file_with_its_warnings_and_a_bad_one_with_its_errors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("gateway.yml");
    let shown = file.to_string_lossy().into_owned();
    let check = |text: &[u8]| {
        std::fs::write(&file, text).expect("the file can be written");
        config::check(&file).map(|report| report.to_string()).map_err(|error| error.to_string())
    };
    assert_eq!(
        check(b"promxy: {server_groups: [{static_configs: [{targets: ['a:1']}]}]}\n"),
        Ok(format!("{shown} is a valid Quiver config file"))
    );
    assert_eq!(
        check(b"scrape_configs: [{job_name: a}]\npromxy: {server_groups: [{static_configs: [{targets: ['a:1']}]}]}\n"),
        Ok(format!(
            "warning: {shown}:1:1: scrape_configs: has no effect: it is for Prometheus itself, promxy ignores it too\n\
             {shown} is a valid Quiver config file"
        ))
    );
    assert_eq!(
        check(b"global: {evaluation_interval: 10}\n"),
        Err(format!("{shown}:1:31: global.evaluation_interval: \"10\" has no unit, write \"10s\""))
    );
    assert_eq!(check(b"a: 1\nb: \xff\n"), Err(format!("{shown}: the config file is not UTF-8 in line 2")));
    let missing = folder.path().join("missing.yml");
    let error = config::check(&missing).map_err(|error| error.to_string());
    assert_eq!(error.err(), Some(format!("{}: cannot read the config file: there is no such file", missing.display())));
}

/// A file at the limits of the reader takes seconds at most in a debug build: nothing in it is looked for one by one.
#[test]
fn the_largest_files_are_read_or_refused_in_one_pass() {
    let many = 60_000;
    let join = |item: &dyn Fn(usize) -> String| (0..many).map(item).collect::<Vec<_>>().join(", ");
    let group = |body: String| format!("promxy: {{server_groups: [{{static_configs: [{{targets: [a]}}], {body}}}]}}");
    let targets = format!(
        "promxy: {{server_groups: [{{static_configs: [{{targets: [{}]}}]}}]}}",
        join(&|index| format!("\"t{index}:1\""))
    );
    let loaded = config::parse(&targets, "f.yml").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.config.promxy.server_groups[0].static_configs[0].targets.len(), many);
    for body in [
        format!("http_headers: {{{}}}", join(&|index| format!("h{index}: a"))),
        format!("labels: {{{}}}", join(&|index| format!("l{index}: a"))),
    ] {
        assert!(config::parse(&group(body), "f.yml").is_ok());
    }
    let error = config::parse(&group(join(&|index| format!("k{index}: a"))), "f.yml").expect_err("unknown keys");
    assert!(error.problems().len() <= 1000, "{}", error.problems().len());
}

#[test]
fn the_reference_page_is_up_to_date() {
    let page = config::reference_markdown();
    assert_eq!(compare(Path::new("docs/configuration.md"), "md", &page), None);
}

proptest! {
    #[test]
    fn a_damaged_file_is_read_or_refused_but_never_a_panic(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..20,
        insert in "([ -~\n\t]|[\u{0}\u{85}\u{feff}ü]|: |- |<<: |\\*a|&a ){0,6}",
    ) {
        let mut letters: Vec<char> = read(Path::new("tests/config/every_key.good.yml")).chars().collect();
        let start = at.index(letters.len());
        let end = (start + cut).min(letters.len());
        letters.splice(start..end, insert.chars());
        let text: String = letters.into_iter().collect();
        if let Err(error) = config::parse(&text, "f.yml") {
            prop_assert!(!error.problems().is_empty());
        }
    }
}
