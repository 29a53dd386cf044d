//! Keeps the label filters of groups up to date, in the background: starting waits for nobody.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::ServerGroup;
use super::label_filter::LabelFilter;
use crate::error::Error;
use crate::model::{QueryContext, TimestampMs};
use crate::telemetry::LabelFilterMetrics;

/// One round of questions may take so long.
const SYNC_TIMEOUT: Duration = Duration::from_secs(60);
/// Nobody is asked more often than this.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// After an error: first this, then twice as long each time …
const RETRY_WAIT_MIN: Duration = Duration::from_secs(2);
/// … up to this, or the interval where that is shorter.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(120);

/// Learns the values of one bucket's filter again and again, until the group is gone or they are known for good.
pub(super) async fn keep_in_sync(group: Weak<ServerGroup>, bucket: usize, metrics: LabelFilterMetrics) {
    let mut failures = 0_u32;
    loop {
        let Some(strong) = group.upgrade() else { return };
        let Some(filter) = strong.label_filter(bucket) else { return };
        let (name, started) = (strong.bucket_name(bucket), Instant::now());
        let outcome = sync(&strong, bucket, filter).await;
        metrics.synced(&name, outcome.is_ok(), started.elapsed(), filter.known_values());
        let interval = filter.config().sync_interval;
        // Whoever only waits must not keep the group alive.
        drop(strong);
        match &outcome {
            Ok(()) if failures > 0 => tracing::info!(server_group = name, "label_filter: values are known again"),
            Ok(()) => {}
            // Once is enough: what comes after is in the metrics.
            Err(error) if failures == 0 => {
                tracing::warn!(server_group = name, %error, "label_filter: values could not be learned");
            }
            Err(error) => {
                tracing::debug!(server_group = name, %error, "label_filter: values could still not be learned")
            }
        }
        failures = if outcome.is_ok() { 0 } else { failures.saturating_add(1) };
        let Some(wait) = wait_before_next(failures, interval) else { return };
        tokio::time::sleep(wait).await;
    }
}

async fn sync(group: &Arc<ServerGroup>, bucket: usize, filter: &LabelFilter) -> Result<(), Error> {
    let now = TimestampMs::now();
    let ask = |name: String, request| {
        let context = QueryContext::new(Instant::now().checked_add(SYNC_TIMEOUT), u64::MAX);
        async move { group.whole_label_values(bucket, &name, &request, &context).await }
    };
    filter.sync(now, ask).await
}

/// `None`: never again.
fn wait_before_next(failures: u32, interval: Option<Duration>) -> Option<Duration> {
    if failures == 0 {
        return interval.map(|interval| interval.max(WAIT_MIN));
    }
    let retry = RETRY_WAIT_MIN.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX)).min(RETRY_WAIT_MAX);
    Some(interval.map_or(retry, |interval| retry.min(interval)).max(WAIT_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_tried_again_sooner_and_then_later() {
        let seconds = Duration::from_secs;
        for (failures, interval, wait) in [
            (0, None, None),
            (0, Some(300), Some(300)),
            (1, None, Some(2)),
            (2, None, Some(4)),
            (7, None, Some(120)),
            (40, None, Some(120)),
            (7, Some(10), Some(10)),
            (0, Some(0), Some(1)),
        ] {
            assert_eq!(wait_before_next(failures, interval.map(seconds)), wait.map(seconds), "{failures} {interval:?}");
        }
    }
}
