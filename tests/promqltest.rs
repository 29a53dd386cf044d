//! PromQL's meaning, case by case: our own files, and Prometheus' where they are at hand. Cargo runs tests in the project's folder.

use std::path::{Path, PathBuf};

use quiver::model::EvaluationMode;
use quiver::query::EngineOptions;
use quiver::syntax::Features;
use quiver::testing::Layout;
use quiver::testing::promqltest::{Route, RunOptions, Way, run_files};

fn test_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    files
}

#[tokio::test]
async fn our_own_cases_pass() {
    let files = test_files(Path::new("tests/promqltest"));
    assert!(!files.is_empty(), "the files are part of the project");
    let report = run_files(files, &default_server()).await;
    assert_eq!(report.counts().failed, 0, "\n{report}");
}

/// Our own files hold for a server with default flags, but for those in a folder of a feature.
fn default_server() -> RunOptions {
    server_with(Features::default())
}

fn server_with(features: Features) -> RunOptions {
    let engine = EngineOptions { features, ..EngineOptions::default() };
    RunOptions { engine, ..RunOptions::default() }
}

#[tokio::test]
async fn our_own_cases_of_a_feature_pass_with_it_and_not_without() {
    let off = Features::default();
    for (folder, features) in [
        (
            "tests/promqltest/delayed_name_removal",
            Features { delayed_name_removal: true, experimental_functions: true, ..off },
        ),
        ("tests/promqltest/type_and_unit_labels", Features { type_and_unit_labels: true, ..off }),
        (
            "tests/promqltest/start_timestamps",
            Features { use_start_timestamps: true, experimental_functions: true, ..off },
        ),
    ] {
        let files = test_files(Path::new(folder));
        assert!(!files.is_empty(), "{folder}: the files are part of the project");
        let report = run_files(&files, &server_with(features)).await;
        assert_eq!(report.counts().failed, 0, "\n{report}");
        let report = run_files(&files, &default_server()).await;
        assert_ne!(report.counts().failed, 0, "{folder}: the feature changes nothing");
    }
}

/// Files about parts of the language that a flag turns on.
#[tokio::test]
async fn our_own_cases_behind_flags_pass() {
    let files = test_files(Path::new("tests/promqltest/gated"));
    assert!(!files.is_empty(), "the files are part of the project");
    let mut options = default_server();
    options.engine.features.experimental_functions = true;
    options.engine.features.extended_range_selectors = true;
    options.engine.features.binop_fill_modifiers = true;
    let report = run_files(files, &options).await;
    assert_eq!(report.counts().failed, 0, "\n{report}");
}

/// So many of the 1,562 cases passed when this was last looked at; the number only ever grows.
const CONFORMANCE_PASSED_MIN: usize = 1562;

#[tokio::test]
async fn prometheus_own_cases_pass_or_are_explained() {
    let files = test_files(Path::new("../shared/conformance/promqltest"));
    if files.is_empty() {
        eprintln!("Prometheus' own cases are not at hand: nothing was checked");
        return;
    }
    let report = run_files(files, &RunOptions::default()).await;
    println!("{report}");
    let counts = report.counts();
    assert!(counts.passed >= CONFORMANCE_PASSED_MIN, "{} passed", counts.passed);
    assert_eq!(counts.unexplained(), 0, "failures that no known gap accounts for");
}

/// The ways that every run of the tests takes; `scripts/conformance-matrix` takes all.
const WAYS: [Way; 6] = [
    Way { layout: Layout::Single, route: Route::RemoteRead, mode: EvaluationMode::Exact },
    Way { layout: Layout::Holes, route: Route::RemoteRead, mode: EvaluationMode::Exact },
    Way { layout: Layout::ShardsNolabels, route: Route::RemoteRead, mode: EvaluationMode::Exact },
    Way { layout: Layout::TimeSplit, route: Route::RemoteRead, mode: EvaluationMode::Exact },
    Way { layout: Layout::Shards, route: Route::RemoteRead, mode: EvaluationMode::Pushdown },
    Way { layout: Layout::Single, route: Route::Http, mode: EvaluationMode::Exact },
];

/// Gateways below the gateway. All cases by hand, with `quiver test promql --route flight`; here those files that have native
/// histograms, stale markers, many series and all kinds of selectors.
#[tokio::test(flavor = "multi_thread")]
async fn cases_pass_over_flight_whatever_the_layout_and_however_deep() {
    let of_kind = |path: &PathBuf, names: &[&str]| {
        path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| names.contains(&stem))
    };
    let handed = test_files(Path::new("../shared/conformance/promqltest"));
    for (route, layout, names) in [
        (Route::Flight, Layout::Single, &["native_histograms", "staleness", "selectors", "at_modifier"][..]),
        (Route::Flight, Layout::Holes, &["staleness", "range_queries", "subquery"]),
        (Route::FlightTwice, Layout::Replicas, &["staleness", "histograms"]),
        (Route::FlightThrice, Layout::Single, &["staleness", "selectors"]),
    ] {
        let way = Way { layout, route, mode: EvaluationMode::Exact };
        let files: Vec<PathBuf> = handed.iter().filter(|path| of_kind(path, names)).cloned().collect();
        let report = run_files(&files, &RunOptions { reruns: false, way, ..RunOptions::default() }).await;
        assert_eq!(report.counts().failed, 0, "{way}:\n{report}");
        let own = test_files(Path::new("tests/promqltest"));
        let report = run_files(&own[..own.len().min(4)], &RunOptions { reruns: false, way, ..default_server() }).await;
        assert_eq!(report.counts().failed, 0, "{way}:\n{report}");
    }
}

/// Each case once, as it is written: the same in other ways is asked without the network.
#[tokio::test(flavor = "multi_thread")]
async fn cases_pass_in_front_of_servers_as_far_as_the_way_can_carry_them() {
    let handed = test_files(Path::new("../shared/conformance/promqltest"));
    let own = test_files(Path::new("tests/promqltest"));
    for way in WAYS {
        for (files, options) in [(&handed, RunOptions::default()), (&own, default_server())] {
            // Our own cases write down every reset hint and every place of a note. Groups that look back each by itself do not
            // know what stood between two histograms, and a note of a server has no place in the client's query.
            let is_whole = way.layout != Layout::TimeSplit && way.mode == EvaluationMode::Exact;
            if std::ptr::eq(files, &own) && !is_whole {
                continue;
            }
            let report = run_files(files, &RunOptions { reruns: false, way, ..options }).await;
            assert_eq!(report.counts().failed, 0, "{way}:\n{report}");
        }
    }
}
