//! What only servers that scrape have: exemplars, native histograms, and samples of a moment ago. Two replicas and the server
//! of the union scrape pages of ours; each replica's page lacks something.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use quiver::encode::{ExpositionFormat, ExpositionKind, FederatedChunks, NameEscaping};
use quiver::model::{BucketSpan, Buckets, Labels, NativeHistogram, Sample, StepsTableBuilder};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::server::{Programs, PrometheusServer};

/// Who scrapes, by the path of his page.
pub const SCRAPERS: [&str; 3] = ["r0", "r1", "union"];
/// What stands on the first page is in a server when it asks for the third.
const SCRAPES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// The pages, how often each was asked for, and the moment that they are about.
struct Pages {
    now_ms: i64,
    asked: watch::Sender<BTreeMap<String, usize>>,
}

impl Pages {
    /// Counts, and tells how often the page was asked for before.
    fn asked(&self, path: &str) -> usize {
        let mut before = 0;
        self.asked.send_modify(|asked| {
            let count = asked.entry(path.to_owned()).or_default();
            before = *count;
            *count += 1;
        });
        before
    }
}

/// Servers that have scraped their pages and hold the same from now on.
pub async fn scraping_servers(programs: &Programs) -> Vec<PrometheusServer> {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let now_ms = i64::try_from(since_epoch.as_millis()).expect("not so soon") - 20_000;
    let pages = Arc::new(Pages { now_ms, asked: watch::Sender::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let router = Router::new()
        .route("/text/{scraper}", get(text_page))
        .route("/native/{scraper}", get(native_page))
        .with_state(Arc::clone(&pages));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });

    let has_native = programs.major_version() >= 3;
    let start = |scraper: &str| PrometheusServer::start_with_config(programs, &config(&address, scraper, has_native));
    let servers: Vec<PrometheusServer> =
        tokio::task::block_in_place(|| SCRAPERS.iter().map(|scraper| start(scraper)).collect());
    let jobs: &[&str] = if has_native { &["text", "nhcb", "native"] } else { &["text"] };
    let paths: Vec<String> = jobs.iter().flat_map(|job| SCRAPERS.map(|scraper| format!("{job} {scraper}"))).collect();
    let is_done = |asked: &BTreeMap<String, usize>| {
        paths.iter().all(|path| asked.get(path).is_some_and(|count| *count >= SCRAPES))
    };
    let mut asked = pages.asked.subscribe();
    let waited = tokio::time::timeout(PATIENCE, asked.wait_for(is_done)).await;
    assert!(waited.is_ok(), "not all pages were scraped: {:?}", pages.asked.borrow());
    servers
}

fn config(address: &str, scraper: &str, has_native: bool) -> String {
    let job = |job: &str, page: &str, more: &str| {
        format!(
            "- {{job_name: {job}, scrape_interval: 1s, scrape_timeout: 1s, metrics_path: /{page}/{scraper}, \
             params: {{job: [{job}]}}, static_configs: [{{targets: ['{address}']}}]{more}}}\n"
        )
    };
    let mut jobs = job("text", "text", "");
    if has_native {
        jobs += &job("nhcb", "text", ", convert_classic_histograms_to_nhcb: true");
        jobs += &job("native", "native", ", scrape_native_histograms: true");
    }
    format!("scrape_configs:\n{jobs}")
}

#[derive(serde::Deserialize)]
struct Job {
    job: String,
}

async fn text_page(
    State(pages): State<Arc<Pages>>,
    Path(scraper): Path<String>,
    axum::extract::Query(Job { job }): axum::extract::Query<Job>,
) -> Response {
    let before = pages.asked(&format!("{job} {scraper}"));
    let page = page_text(&scraper, pages.now_ms, before > 0);
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page).into_response()
}

/// The first page is about fifteen seconds before the moment, the later ones about the moment itself.
fn page_text(scraper: &str, now_ms: i64, is_later: bool) -> String {
    let ms = if is_later { now_ms } else { now_ms - 15_000 };
    let [time, seen] = [ms, ms - 1_234].map(|ms| format!("{}.{:03}", ms / 1_000, ms % 1_000));
    let page = usize::from(is_later);
    let exemplar = |trace: &str, value: f64| format!(" # {{trace_id=\"{trace}{page}\"}} {value} {seen}");
    // What a replica has lost.
    let unless = |lost: bool, text: String| if lost { String::new() } else { text };
    let requests = unless(
        scraper == "r1" && is_later,
        format!("requests_total{{code=\"200\"}} {} {time}{}\n", 5 + page, exemplar("a", 1.0)),
    );
    let of_bucket = unless(scraper == "r0" && !is_later, exemplar("b", 0.0625));
    let level = unless(scraper == "r0", format!("level{{name=\"x\\\"y\\\\z\\nq\"}} -1234567.5 {time}\n"));
    format!(
        "# TYPE requests counter\n{requests}\
         # TYPE latency histogram\n\
         latency_bucket{{le=\"0.1\"}} {} {time}{of_bucket}\n\
         latency_bucket{{le=\"2.5\"}} 7 {time}{}\n\
         latency_bucket{{le=\"+Inf\"}} 9 {time}\nlatency_sum 20.5 {time}\nlatency_count 9 {time}\n\
         # TYPE level gauge\n{level}# EOF\n",
        3 + page,
        exemplar("c", 1e-7),
    )
}

/// A native histogram, in the only format that has words for it.
async fn native_page(
    State(pages): State<Arc<Pages>>,
    Path(scraper): Path<String>,
    axum::extract::Query(Job { job }): axum::extract::Query<Job>,
) -> Response {
    let before = pages.asked(&format!("{job} {scraper}"));
    let ms = if before > 0 { pages.now_ms } else { pages.now_ms - 15_000 };
    let histogram = NativeHistogram {
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: 1.0,
        count: 10.5 + before.min(1) as f64,
        sum: 12.25,
        positive: Buckets {
            spans: vec![BucketSpan { offset: -5, length: 2 }, BucketSpan { offset: 3, length: 1 }],
            counts: vec![2.0, 3.5, 1.0 + before.min(1) as f64],
        },
        negative: Buckets { spans: vec![BucketSpan { offset: 1, length: 1 }], counts: vec![3.0] },
        ..NativeHistogram::default()
    };
    let mut builder = StepsTableBuilder::timed(1);
    builder.push_timed_sample(Some((Sample::Histogram(Arc::new(histogram)), ms)));
    builder.finish_series(Labels::from_pairs([("__name__", "spread"), ("zone", "a")]).encode().as_bytes());
    let format = ExpositionFormat { kind: ExpositionKind::Protobuf, escaping: NameEscaping::AllowUtf8 };
    let chunks = FederatedChunks::new(format, &Labels::default(), vec![builder.finish()], vec![(0, 0)]);
    let page: Vec<u8> = chunks.flat_map(|chunk| chunk.expect("a whole table")).collect();
    ([(CONTENT_TYPE, format.content_type())], page).into_response()
}
