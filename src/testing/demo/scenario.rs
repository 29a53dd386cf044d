//! What the demo's servers scrape: a small shop in two regions, as pure functions of time. Every replica of a group sees the
//! same shop, each with its own small lateness, and each misses what happens while it is down.

use crate::model::{DurationMs, Labels, TimestampMs};

/// Time between two scrapes.
pub const SCRAPE_INTERVAL: DurationMs = DurationMs(15_000);

/// A replica scrapes at most so much late: far less than the anti-affinity of its group, so that a sample of its twin is
/// known for the same scrape.
pub const LATENESS_MAX: DurationMs = DurationMs(400);

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Upper bounds of the latency histogram, in seconds.
const BOUNDS: [&str; 7] = ["0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"];
/// Share of the requests that are no slower than each bound.
const BOUND_SHARES: [f64; 7] = [0.42, 0.68, 0.87, 0.95, 0.985, 0.998, 1.0];
const MEAN_SECONDS: f64 = 0.137;

/// One server group of the demo.
#[derive(Copy, Clone, Debug)]
pub struct Region {
    /// Its name, and the value of its label `region`.
    pub name: &'static str,
    /// How busy it is, requests a second of a GET on one instance.
    pub requests_per_second: f64,
    /// Minutes of each hour in which its replicas are down: from, to (exclusive); never both at once.
    pub down_minutes: [(i64, i64); 2],
    /// One of its instances restarts every so many minutes: its counters begin again.
    pub restart_minutes: i64,
}

/// The two groups of the demo.
pub const REGIONS: [Region; 2] = [
    Region { name: "eu", requests_per_second: 12.0, down_minutes: [(10, 16), (40, 46)], restart_minutes: 47 },
    Region { name: "us", requests_per_second: 7.0, down_minutes: [(22, 27), (51, 58)], restart_minutes: 83 },
];

impl Region {
    /// Is a replica (0 or 1) down at a time?
    pub fn is_down(&self, replica: usize, time: TimestampMs) -> bool {
        let minute = time.0.rem_euclid(HOUR_MS) / MINUTE_MS;
        self.down_minutes.get(replica).is_some_and(|(from, to)| (*from..*to).contains(&minute))
    }

    /// When a replica takes the samples of the `scrape`-th scrape since the epoch; `None` while it is down.
    pub fn scrape_time(&self, replica: usize, scrape: i64) -> Option<TimestampMs> {
        let due = TimestampMs(scrape.saturating_mul(SCRAPE_INTERVAL.0));
        let late = lateness_ms(scrape, replica);
        (!self.is_down(replica, due)).then_some(due + DurationMs(late))
    }

    /// Every series of the region with its value at a time.
    pub fn samples(&self, time: TimestampMs) -> Vec<(Labels, f64)> {
        let mut samples = Vec::new();
        for instance in 0..2 {
            let name = format!("shop-{instance}:8080");
            let target = Target { region: self, instance, labels: [("job", "shop"), ("instance", &name)] };
            target.web_samples(time, &mut samples);
            let name = format!("node-{instance}:9100");
            let target = Target { region: self, instance, labels: [("job", "node"), ("instance", &name)] };
            target.node_samples(time, &mut samples);
        }
        samples
    }

    /// When an instance was last started. The first of each region restarts often; the others stay up for a week.
    fn started_at(&self, instance: i64, time: TimestampMs) -> TimestampMs {
        let life_ms = if instance == 0 { self.restart_minutes * MINUTE_MS } else { 7 * 24 * HOUR_MS };
        TimestampMs(time.0 - time.0.rem_euclid(life_ms))
    }

    /// Requests of one GET series since the epoch: the rate swings by half around its mean within twenty minutes.
    fn requests_until(&self, time: TimestampMs) -> f64 {
        const SWING_PER_SECOND: f64 = std::f64::consts::TAU / 1_200.0;
        let seconds = time.as_float_seconds();
        // The integral of 1 + sin(wt)/2, which grows always.
        self.requests_per_second * (seconds - (SWING_PER_SECOND * seconds).cos() / (2.0 * SWING_PER_SECOND))
    }
}

/// Milliseconds, 0 ≤ x < `LATENESS_MAX`: the same for the same scrape and replica, without a pattern.
fn lateness_ms(scrape: i64, replica: usize) -> i64 {
    let seed = scrape.wrapping_mul(2).wrapping_add(replica as i64).unsigned_abs();
    // A step of splitmix64: neighbouring seeds give unlike numbers.
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % LATENESS_MAX.0.unsigned_abs()) as i64
}

/// One scraped process.
struct Target<'a> {
    region: &'a Region,
    instance: i64,
    labels: [(&'static str, &'a str); 2],
}

impl Target<'_> {
    fn push(&self, samples: &mut Vec<(Labels, f64)>, name: &str, more: &[(&str, &str)], value: f64) {
        let pairs = [("__name__", name)].into_iter().chain(self.labels).chain(more.iter().copied());
        samples.push((Labels::from_pairs(pairs), value));
    }

    fn web_samples(&self, time: TimestampMs, samples: &mut Vec<(Labels, f64)>) {
        let started = self.region.started_at(self.instance, time);
        let requests = self.region.requests_until(time) - self.region.requests_until(started);
        self.push(samples, "up", &[], 1.0);
        self.push(samples, "process_start_time_seconds", &[], started.as_float_seconds());
        let mut total = 0.0;
        for (method, method_share) in [("GET", 1.0), ("POST", 0.25)] {
            for (code, code_share) in [("200", 0.96), ("404", 0.03), ("500", 0.01)] {
                let count = (requests * method_share * code_share).floor();
                total += count;
                self.push(samples, "http_requests_total", &[("method", method), ("code", code)], count);
            }
        }
        for (bound, share) in BOUNDS.iter().zip(BOUND_SHARES) {
            let count = (total * share).floor();
            self.push(samples, "http_request_duration_seconds_bucket", &[("le", bound)], count);
        }
        self.push(samples, "http_request_duration_seconds_sum", &[], total * MEAN_SECONDS);
        self.push(samples, "http_request_duration_seconds_count", &[], total);
    }

    fn node_samples(&self, time: TimestampMs, samples: &mut Vec<(Labels, f64)>) {
        const GIB: f64 = 1_073_741_824.0;
        let hour_part = time.0.rem_euclid(HOUR_MS) as f64 / HOUR_MS as f64;
        let used = 0.4 + 0.1 * self.instance as f64 + 0.2 * (hour_part * std::f64::consts::TAU).sin();
        self.push(samples, "up", &[], 1.0);
        self.push(samples, "node_memory_MemTotal_bytes", &[], 16.0 * GIB);
        self.push(samples, "node_memory_MemAvailable_bytes", &[], (16.0 * GIB * (1.0 - used)).floor());
        self.push(samples, "node_load1", &[], 4.0 * used);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Some time in 2026; not a round one.
    const SOME_SCRAPE: i64 = 119_331_234;

    #[test]
    fn replicas_are_never_down_together_and_each_is_down_every_hour() {
        for region in &REGIONS {
            let down = |replica: usize, minute: i64| region.is_down(replica, TimestampMs(minute * MINUTE_MS));
            assert!((0..60).all(|minute| !(down(0, minute) && down(1, minute))), "{}", region.name);
            assert!((0..2).all(|replica| (0..60).any(|minute| down(replica, minute))), "{}", region.name);
        }
    }

    #[test]
    fn replicas_scrape_the_same_moment_a_little_apart() {
        let region = &REGIONS[0];
        let times = |replica| (0..240).filter_map(move |at| region.scrape_time(replica, SOME_SCRAPE + at));
        assert!(times(0).all(|time| time.0 % SCRAPE_INTERVAL.0 < LATENESS_MAX.0));
        assert_ne!(times(0).collect::<Vec<_>>(), times(1).collect::<Vec<_>>());
        assert!(times(0).count() < 240, "an hour has a hole");
    }

    #[test]
    fn counters_only_fall_when_a_process_restarts() {
        let region = &REGIONS[0];
        let at = |scrape: i64| {
            let time = TimestampMs(scrape * SCRAPE_INTERVAL.0);
            region.samples(time).into_iter().collect::<BTreeMap<Labels, f64>>()
        };
        let mut restarts = 0;
        for scrape in SOME_SCRAPE..SOME_SCRAPE + 480 {
            let (before, after) = (at(scrape), at(scrape + 1));
            assert_eq!(before.len(), after.len());
            for (labels, value) in &before {
                let name = labels.get("__name__").expect("named");
                if name.ends_with("_total") && after[labels] < *value {
                    assert_eq!(labels.get("instance"), Some("shop-0:8080"));
                    restarts += 1;
                }
            }
        }
        assert!(restarts > 0, "two hours see a restart");
    }

    #[test]
    fn a_histogram_counts_what_its_counter_counts() {
        let samples = REGIONS[1].samples(TimestampMs(SOME_SCRAPE * SCRAPE_INTERVAL.0));
        let sum = |name: &str, label: Option<(&str, &str)>| -> f64 {
            let fits = |labels: &Labels| {
                labels.get("__name__") == Some(name) && label.is_none_or(|(own, value)| labels.get(own) == Some(value))
            };
            samples.iter().filter(|(labels, _)| fits(labels)).map(|(_, value)| value).sum()
        };
        let requests = sum("http_requests_total", None);
        assert!(requests > 0.0);
        assert_eq!(requests, sum("http_request_duration_seconds_count", None));
        assert_eq!(requests, sum("http_request_duration_seconds_bucket", Some(("le", "+Inf"))));
    }
}
