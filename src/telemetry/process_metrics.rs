//! `process_*`: what the operating system knows of us, under the names that every Prometheus client uses.

use std::fmt;

use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads `/proc/self` at each scrape. Where that is not possible the metrics are absent.
#[derive(Debug)]
pub(super) struct ProcessMetrics;

struct Reading {
    cpu_seconds: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
    start_time_seconds: Option<f64>,
    open_files: Option<f64>,
    open_files_max: Option<f64>,
}

fn read() -> Option<Reading> {
    let process = Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let ticks_per_second = procfs::ticks_per_second() as f64;
    let started_after_boot = stat.starttime as f64 / ticks_per_second;
    Some(Reading {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks_per_second,
        virtual_bytes: stat.vsize as f64,
        resident_bytes: stat.rss as f64 * procfs::page_size() as f64,
        start_time_seconds: procfs::boot_time_secs().ok().map(|boot| boot as f64 + started_after_boot),
        open_files: process.fd_count().ok().map(|count| count as f64),
        open_files_max: process.limits().ok().and_then(|limits| match limits.max_open_files.soft_limit {
            LimitValue::Value(files) => Some(files as f64),
            LimitValue::Unlimited => None,
        }),
    })
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(reading) = read() else {
            return Ok(());
        };
        let cpu = ConstCounter::new(reading.cpu_seconds);
        let name = "process_cpu_seconds";
        cpu.encode(encoder.encode_descriptor(
            name,
            "Total user and system CPU time spent in seconds.",
            None,
            cpu.metric_type(),
        )?)?;
        for (name, help, value) in [
            ("process_virtual_memory_bytes", "Virtual memory size in bytes.", Some(reading.virtual_bytes)),
            ("process_resident_memory_bytes", "Resident memory size in bytes.", Some(reading.resident_bytes)),
            (
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                reading.start_time_seconds,
            ),
            ("process_open_fds", "Number of open file descriptors.", reading.open_files),
            ("process_max_fds", "Maximum number of open file descriptors.", reading.open_files_max),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}
