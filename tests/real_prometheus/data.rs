//! What the servers hold: three and a half hours of scrapes of six targets in two groups, the same at every run.
//!
//! Each group is scraped by two replicas at the very same times. Each replica has lost single scrapes and has one hole of
//! minutes; what one has lost the other has. No sample lies on a whole second or a quarter behind it, where the queries
//! and subqueries look: Prometheus 2 and 3 differ on samples at the left edge of a range.

use std::fmt::Write;

/// 2026-03-31 22:00 UTC, in ms: two hours before a month ends and, on every server, a block.
pub const START_MS: i64 = 1_774_994_400_000;
pub const SCRAPE_INTERVAL_MS: i64 = 15_000;
/// To 01:30.
pub const SCRAPE_COUNT: i64 = 840;
pub const GROUPS: [&str; 2] = ["a", "b"];
pub const REPLICAS: usize = 2;
const INSTANCES: usize = 3;
/// Milliseconds between a round time and the scrapes of an instance.
pub const PHASES_MS: [i64; INSTANCES] = [1_125, 6_375, 12_875];
/// Of a thousand scrapes a replica loses so many.
const LOST_PER_MILLE: u64 = 40;

/// When (minutes from the start, to and without the end) a replica was away.
const HOLES: [[(i64, i64); REPLICAS]; 2] = [[(22, 29), (65, 70)], [(110, 116), (128, 134)]];

/// A series of one group, whole.
pub struct Series {
    pub group: usize,
    pub instance: usize,
    /// In the order of the text; the first is `__name__`.
    pub labels: Vec<(String, String)>,
    /// Times (ms) and values.
    pub samples: Vec<(i64, f64)>,
}

/// Everything.
pub struct World {
    pub series: Vec<Series>,
    losses: Losses,
}

impl World {
    pub fn generate() -> Self {
        let mut random = Random(0x5eed);
        let mut series = Vec::new();
        for group in 0..GROUPS.len() {
            for instance in 0..INSTANCES {
                let mut target = Target { group, instance, random: &mut random, series: &mut series };
                target.describe();
            }
        }
        let losses = Losses::draw(&mut random);
        Self { series, losses }
    }

    /// What a replica of a group holds, as OpenMetrics text.
    pub fn text_of_replica(&self, group: usize, replica: usize) -> String {
        let own = self.series.iter().filter(|series| series.group == group);
        open_metrics(own, &[], |series, time| self.losses.loser(series, time) != Some(replica))
    }

    /// What both groups hold together, with the label that the gateway adds.
    pub fn text_of_union(&self) -> String {
        let mut text = String::new();
        for (group, name) in GROUPS.iter().enumerate() {
            let own = self.series.iter().filter(|series| series.group == group);
            text.push_str(open_metrics(own, &[("dc", name)], |_, _| true).trim_end_matches("# EOF\n"));
        }
        text.push_str("# EOF\n");
        text
    }

    /// Samples that a replica has lost.
    pub fn lost_count(&self, group: usize, replica: usize) -> usize {
        let own = self.series.iter().filter(|series| series.group == group);
        own.flat_map(|series| series.samples.iter().map(move |(time, _)| self.losses.loser(series, *time)))
            .filter(|loser| *loser == Some(replica))
            .count()
    }
}

/// Which replica, if any, has lost a scrape: never both.
struct Losses(Vec<Option<usize>>);

impl Losses {
    fn draw(random: &mut Random) -> Self {
        let scrapes = GROUPS.len() * INSTANCES * SCRAPE_COUNT as usize;
        let mut losers: Vec<Option<usize>> = (0..scrapes)
            .map(|_| match random.below(1_000) / LOST_PER_MILLE {
                0 => Some(0),
                1 => Some(1),
                _ => None,
            })
            .collect();
        for (group, holes) in HOLES.iter().enumerate() {
            for (replica, (from, to)) in holes.iter().enumerate() {
                for (instance, scrape) in (0..INSTANCES).flat_map(|i| (from * 4..to * 4).map(move |scrape| (i, scrape)))
                {
                    losers[Self::index(group, instance, scrape)] = Some(replica);
                }
            }
        }
        Self(losers)
    }

    fn index(group: usize, instance: usize, scrape: i64) -> usize {
        (group * INSTANCES + instance) * SCRAPE_COUNT as usize + scrape as usize
    }

    fn loser(&self, series: &Series, time: i64) -> Option<usize> {
        self.0[Self::index(series.group, series.instance, (time - START_MS) / SCRAPE_INTERVAL_MS)]
    }
}

/// A scraped target, while its series are made.
struct Target<'a> {
    group: usize,
    instance: usize,
    random: &'a mut Random,
    series: &'a mut Vec<Series>,
}

impl Target<'_> {
    fn describe(&mut self) {
        self.add("up", &[], |random, scrape| if scrape % 97 < 3 && random.below(3) > 0 { 0.0 } else { 1.0 });
        self.counters();
        self.gauges();
        self.odd_gauges();
        self.short_lived();
        self.infos();
        if self.instance < 2 {
            self.histogram("/", 0.2);
            self.histogram("/api/v1", 0.9);
        }
    }

    fn counters(&mut self) {
        // Large at first: Prometheus 2 and 3 extend the rate of a small counter differently where a series begins.
        for (method, code, most) in [
            ("GET", "200", 90),
            ("GET", "404", 5),
            ("GET", "500", 2),
            ("POST", "200", 30),
            ("POST", "404", 3),
            ("POST", "500", 1),
        ] {
            let resets = self.resets();
            let mut total = 100_000 + self.random.below(1_000_000);
            self.add("http_requests_total", &[("method", method), ("code", code)], move |random, scrape| {
                total = if resets.contains(&scrape) { 0 } else { total };
                total += random.below(most + 1);
                total as f64
            });
        }
        for (cpu, mode, busy) in
            [("0", "idle", 0.7), ("0", "user", 0.25), ("0", "system", 0.05), ("1", "idle", 0.4), ("1", "user", 0.6)]
        {
            let resets = self.resets();
            let mut total = 5_000.0 + 1_000.0 * self.random.unit();
            self.add("cpu_seconds_total", &[("cpu", cpu), ("mode", mode)], move |random, scrape| {
                total = if resets.contains(&scrape) { 0.0 } else { total };
                total += 15.0 * busy * (0.5 + random.unit());
                total
            });
        }
    }

    /// All counters of a process start again together.
    fn resets(&self) -> &'static [i64] {
        match (self.group, self.instance) {
            (0, 0) => &[95, 300, 301],
            (0, 2) => &[482],
            (1, 1) => &[105, 600],
            _ => &[],
        }
    }

    fn gauges(&mut self) {
        for sensor in ["intake", "exhaust"] {
            let mut degrees = 10.0 * self.random.unit() - 5.0;
            self.add("temperature_celsius", &[("sensor", sensor)], move |random, _| {
                degrees += random.unit() - 0.5;
                degrees
            });
        }
        for kind in ["used", "free"] {
            let mut bytes = 4e9 + 1e9 * self.random.unit();
            self.add("memory_bytes", &[("kind", kind)], move |random, _| {
                bytes = (bytes + 1e7 * (random.unit() - 0.5)).round();
                bytes
            });
        }
        let limit = 8e9 + 1e9 * self.instance as f64;
        self.add("memory_limit_bytes", &[], move |_, _| limit);
        for queue in ["mail", "jobs"] {
            self.add("queue_length", &[("queue", queue)], |random, _| random.below(5) as f64);
        }
        // Scraped every minute.
        self.add_some("slow_gauge", &[], |random, scrape| (scrape % 4 == 0).then(|| 100.0 * random.unit()));
    }

    fn odd_gauges(&mut self) {
        self.add("odd_value", &[("kind", "nan")], |_, _| f64::NAN);
        self.add("odd_value", &[("kind", "plus")], |_, _| f64::INFINITY);
        self.add("odd_value", &[("kind", "minus")], |_, _| f64::NEG_INFINITY);
        self.add("odd_value", &[("kind", "sometimes_nan")], |random, scrape| match scrape % 11 {
            0..4 => f64::NAN,
            _ => random.unit(),
        });
        self.add("odd_value", &[("kind", "sometimes_inf")], |random, scrape| match scrape % 29 {
            0..2 => f64::INFINITY,
            _ => random.unit(),
        });
        self.add("odd_value", &[("kind", "zero")], |random, _| if random.below(2) == 0 { 0.0 } else { -0.0 });
        self.add("odd_value", &[("kind", "tiny")], |random, _| 1e-300 * random.unit());
        self.add("odd_value", &[("kind", "huge")], |random, _| 1e300 * random.unit());
    }

    fn short_lived(&mut self) {
        let late = 400 + 40 * self.instance as i64;
        self.add_some("late_gauge", &[], move |random, scrape| (scrape >= late).then(|| random.unit()));
        let last = 350 - 40 * self.instance as i64;
        self.add_some("early_gauge", &[], move |random, scrape| (scrape <= last).then(|| random.unit()));
        // Four minutes in twenty.
        let shift = 7 * self.instance as i64;
        self.add_some("blinking_gauge", &[], move |random, scrape| {
            ((scrape + shift) % 80 < 16).then(|| 1.0 + random.unit())
        });
        // A new series every half hour.
        for era in 0..7 {
            let pod = format!("pod-{era}");
            self.add_some("pod_seconds", &[("pod", &pod)], move |random, scrape| {
                (scrape / 120 == era).then(|| 10.0 * random.unit())
            });
        }
        if self.group == 1 {
            self.add("only_in_b", &[("extra", "x")], |random, _| random.unit());
        }
    }

    fn infos(&mut self) {
        let version = ["2.1.0", "2.1.0", "2.2.0-rc.1"][self.instance];
        self.add("build_info", &[("version", version), ("branch", "main")], |_, _| 1.0);
        let rack = format!("r{}", self.instance % 2);
        self.add("node_meta", &[("rack", &rack), ("zone", GROUPS[self.group])], |_, _| 1.0);
        for (at, text) in
            [r"C:\dir\new", r#"she said "hi""#, "Łódź 🦀", "two\nlines", "{a=\"b\"},", "   "].iter().enumerate()
        {
            self.add("quoted", &[("text", text)], move |_, _| at as f64);
        }
    }

    fn histogram(&mut self, path: &str, mean: f64) {
        const BOUNDS: [&str; 6] = ["0.005", "0.1", "0.5", "1", "2.5", "+Inf"];
        let mut counts = [2_000_u64; BOUNDS.len()];
        let mut sum = 2_000.0 * mean;
        let resets = self.resets();
        let mut buckets: Vec<Vec<f64>> = vec![Vec::new(); BOUNDS.len()];
        let (mut sums, mut totals) = (Vec::new(), Vec::new());
        for scrape in 0..SCRAPE_COUNT {
            if resets.contains(&scrape) {
                (counts, sum) = ([0; BOUNDS.len()], 0.0);
            }
            for _ in 0..self.random.below(12) {
                let seconds = -mean * (1.0 - self.random.unit()).ln();
                sum += seconds;
                for (count, bound) in counts.iter_mut().zip(BOUNDS) {
                    *count += u64::from(seconds <= bound.parse().expect("a number"));
                }
            }
            buckets.iter_mut().zip(counts).for_each(|(column, count)| column.push(count as f64));
            sums.push(sum);
            totals.push(counts[BOUNDS.len() - 1] as f64);
        }
        for (bound, column) in BOUNDS.iter().zip(buckets) {
            let labels = [("path", path), ("le", *bound)];
            self.add("request_duration_seconds_bucket", &labels, |_, scrape| column[scrape as usize]);
        }
        self.add("request_duration_seconds_sum", &[("path", path)], |_, scrape| sums[scrape as usize]);
        self.add("request_duration_seconds_count", &[("path", path)], |_, scrape| totals[scrape as usize]);
    }

    /// A series with a sample at every scrape.
    fn add(&mut self, name: &str, labels: &[(&str, &str)], mut value: impl FnMut(&mut Random, i64) -> f64) {
        self.add_some(name, labels, |random, scrape| Some(value(random, scrape)));
    }

    /// A series with a sample at some scrapes.
    fn add_some(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        mut value: impl FnMut(&mut Random, i64) -> Option<f64>,
    ) {
        let job = ["api", "api", "node"][self.instance];
        let instance = format!("{}-{}:9100", GROUPS[self.group], self.instance);
        let mut all = vec![("__name__".to_owned(), name.to_owned()), ("job".to_owned(), job.to_owned())];
        all.push(("instance".to_owned(), instance));
        all.extend(labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let time = |scrape| START_MS + PHASES_MS[self.instance] + scrape * SCRAPE_INTERVAL_MS;
        let samples =
            (0..SCRAPE_COUNT).filter_map(|scrape| Some((time(scrape), value(self.random, scrape)?))).collect();
        self.series.push(Series { group: self.group, instance: self.instance, labels: all, samples });
    }
}

fn open_metrics<'a>(
    series: impl Iterator<Item = &'a Series>,
    added: &[(&str, &str)],
    holds: impl Fn(&Series, i64) -> bool,
) -> String {
    let mut text = String::new();
    for series in series {
        let (_, name) = &series.labels[0];
        let own = series.labels[1..].iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels: Vec<String> =
            own.chain(added.iter().copied()).map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = labels.join(",");
        for (time, value) in series.samples.iter().filter(|(time, _)| holds(series, *time)) {
            let value =
                if value.is_infinite() { format!("{value:+}").replace("inf", "Inf") } else { value.to_string() };
            writeln!(text, "{name}{{{labels}}} {value} {}.{:03}", time / 1_000, time % 1_000).expect("a String grows");
        }
    }
    text.push_str("# EOF\n");
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// 0 ≤ x < `bound`; the bias does not matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// 0 ≤ x < 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[test]
fn what_one_replica_has_lost_the_other_has_and_the_world_is_always_the_same() {
    let world = World::generate();
    let text = world.text_of_union();
    assert_eq!(text, World::generate().text_of_union());
    for group in 0..GROUPS.len() {
        let own: usize = world.series.iter().filter(|series| series.group == group).map(|s| s.samples.len()).sum();
        let lost = [world.lost_count(group, 0), world.lost_count(group, 1)];
        let held = [0, 1].map(|replica| world.text_of_replica(group, replica).lines().count() - 1);
        assert_eq!([own - lost[0], own - lost[1]], held);
        assert!(lost.iter().all(|lost| lost * 20 > own), "{lost:?} of {own}: too few to show anything");
    }
}
