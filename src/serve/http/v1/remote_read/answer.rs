//! What is read, in the form in which it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::record_batch::RecordBatch;
use futures::StreamExt;

use super::sending::{PIECE_BYTES, Sending};
use crate::decode::ReadQuery;
use crate::encode::{
    CHUNK_SAMPLES, ChunkOptions, FRAME_BYTES, ReadResponseEncoder, StartTimeChunks, encode_row_chunks_as,
    write_series_frames,
};
use crate::error::Error;
use crate::model::{
    CompiledMatchers, EncodedLabels, Held, Labels, LabelsBuilder, LabelsRef, MatchOp, Matcher, MetadataRequest,
    QueryContext, SamplesTable, SelectForm, SelectRequest, TableSize, TimestampMs,
};
use crate::query::{QueryEngine, QueryOptions};
use crate::serve::http::respond::Notes;

/// Times further away are taken for these: nothing lies there, and sums of them do not overflow. Some seventy million years.
const FURTHEST_MS: i64 = i64::MAX / 4;

/// Has it been said that some servers below tell no stale markers?
static IS_LOSS_TOLD: AtomicBool = AtomicBool::new(false);

/// A request that is being answered.
pub(super) struct Reading {
    pub(super) engine: Arc<QueryEngine>,
    pub(super) options: QueryOptions,
    pub(super) external_labels: Labels,
    pub(super) queries: Vec<ReadQuery>,
    /// Samples that a query's answer in one message may have; a stream has no such bound.
    pub(super) samples_max: Option<u64>,
    pub(super) start_times: StartTimeChunks,
}

impl Reading {
    /// Sends frames as the tables come.
    pub(super) async fn send_frames(self, sending: &mut Sending) -> Result<(), Error> {
        let selects = self.selects()?;
        sending.take_turn().await?;
        for (query_index, select) in selects.into_iter().enumerate() {
            let Some(select) = select else { continue };
            let mut stream = self.engine.leaf(&select, &self.options).await?;
            while let Some(table) = stream.tables.next().await {
                let (table, _held) = table?;
                // Chunks and frames of a table are together not larger than twice the table.
                let _encoded = stream.context.hold(0, TableSize::of(&table).bytes.saturating_mul(2))?;
                self.send_table(&table, query_index as u64, sending).await?;
                tokio::task::consume_budget().await;
            }
            tell(&stream.context);
        }
        Ok(())
    }

    async fn send_table(&self, batch: &RecordBatch, query_index: u64, sending: &mut Sending) -> Result<(), Error> {
        let table = SamplesTable::try_new(batch)?;
        let options =
            ChunkOptions { samples_max: CHUNK_SAMPLES, start_times: self.start_times, ..ChunkOptions::default() };
        let mut frames = Vec::new();
        for row in 0..table.row_count() {
            let chunks = encode_row_chunks_as(&table, row, options)?;
            let labels = self.sent_labels(table.labels(row));
            write_series_frames(labels.as_ref(), &chunks, query_index, FRAME_BYTES, &mut frames);
            if frames.len() >= PIECE_BYTES {
                sending.send(std::mem::take(&mut frames)).await?;
            }
        }
        sending.send(frames).await
    }

    /// Sends one message with everything.
    pub(super) async fn send_samples(self, sending: &mut Sending) -> Result<(), Error> {
        let selects = self.selects()?;
        sending.take_turn().await?;
        let mut message = ReadResponseEncoder::default();
        // What is collected of each query is counted in that query's budget, until all is sent.
        let mut held: Vec<Held> = Vec::new();
        let mut last_context = self.engine.context(&self.options);
        for (query, select) in self.queries.iter().zip(selects) {
            if let Some(select) = select {
                let wants_labels = query.hints.as_ref().is_some_and(|hints| hints.function == "series");
                let collected = match wants_labels {
                    true => self.collect_labels(select, &mut message).await?,
                    false => self.collect_samples(&select, &mut message).await?,
                };
                last_context = collected.0;
                held.push(collected.1);
            }
            message.finish_query();
        }
        held.push(last_context.hold(0, message.finish_bytes())?);
        let body = message.finish()?;
        sending.send(body).await?;
        drop(held);
        Ok(())
    }

    async fn collect_samples(
        &self,
        select: &SelectRequest,
        message: &mut ReadResponseEncoder,
    ) -> Result<(QueryContext, Held), Error> {
        let bytes_before = message.memory_bytes();
        let mut stream = self.engine.leaf(select, &self.options).await?;
        let mut held = stream.context.hold(0, 0)?;
        let mut sample_count = 0;
        while let Some(table) = stream.tables.next().await {
            let (batch, _held) = table?;
            let table = SamplesTable::try_new(&batch)?;
            // A sample takes up to 24 bytes there, and a buffer that grows is there twice.
            let coming = TableSize::of(&batch).bytes.saturating_mul(3);
            held.resize(0, (message.memory_bytes() - bytes_before).saturating_add(coming))?;
            for row in 0..table.row_count() {
                sample_count += (table.series(row).0.len() + table.histograms().row_len(row)) as u64;
                if let Some(most) = self.samples_max.filter(|most| sample_count > *most) {
                    return Err(Error::bad_data(format!("exceeded sample limit ({most})")));
                }
                message.push_series(self.sent_labels(table.labels(row)).as_ref(), &table, row)?;
            }
            held.resize(0, message.memory_bytes() - bytes_before)?;
            tokio::task::consume_budget().await;
        }
        tell(&stream.context);
        Ok((stream.context, held))
    }

    /// Which series there are: who says that he will not look at samples gets none.
    async fn collect_labels(
        &self,
        select: SelectRequest,
        message: &mut ReadResponseEncoder,
    ) -> Result<(QueryContext, Held), Error> {
        let context = self.engine.context(&self.options);
        let (start, end) = match select.form {
            SelectForm::Samples { start, end } => (Some(TimestampMs(start.0.saturating_add(1))), Some(end)),
            SelectForm::Steps { .. } => (None, None),
        };
        let request = MetadataRequest { selectors: vec![select.matchers], start, end, limit: None };
        let bytes_before = message.memory_bytes();
        let mut all: Vec<EncodedLabels> = Vec::new();
        for labels in self.engine.source().series(&request, &context).await? {
            all.push(labels.encode());
        }
        all.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        for labels in &all {
            message.push_labels(self.sent_labels(labels.as_ref()).as_ref())?;
        }
        let held = context.hold(0, message.memory_bytes() - bytes_before)?;
        tell(&context);
        Ok((context, held))
    }

    /// What is to be selected for each query; `None` where that is nothing.
    fn selects(&self) -> Result<Vec<Option<SelectRequest>>, Error> {
        self.queries.iter().map(|query| select_of(query, &self.external_labels)).collect()
    }

    /// A series' labels as they leave: with the external ones, of which those win that are stored.
    fn sent_labels(&self, stored: LabelsRef<'_>) -> EncodedLabels {
        let mut all = LabelsBuilder::from(&self.external_labels);
        for (name, value) in stored.iter() {
            all.set(&name, &value);
        }
        all.finish().encode()
    }
}

/// The series and times of a query. The hints say which times the client will look at, and Prometheus reads those.
fn select_of(query: &ReadQuery, external_labels: &Labels) -> Result<Option<SelectRequest>, Error> {
    let (from, to) = match &query.hints {
        Some(hints) => (hints.start_ms, hints.end_ms),
        None => (query.start_ms, query.end_ms),
    };
    let matchers: Vec<Matcher> =
        query.matchers.iter().map(|matcher| stored_matcher(matcher, external_labels)).collect();
    CompiledMatchers::compile(&matchers).map_err(|error| Error::bad_data(error.to_string()))?;
    if matchers.is_empty() || from > to {
        return Ok(None);
    }
    let clamped = |time: i64| TimestampMs(time.clamp(-FURTHEST_MS, FURTHEST_MS));
    let form = SelectForm::Samples { start: clamped(from.saturating_sub(1)), end: clamped(to) };
    Ok(Some(SelectRequest { matchers, form }))
}

/// External labels are not stored: who asks for one asks for series that do not have it.
fn stored_matcher(matcher: &Matcher, external_labels: &Labels) -> Matcher {
    let is_external = external_labels.get(&matcher.name).is_some_and(|value| value == matcher.value);
    if matcher.op == MatchOp::Equal && is_external { Matcher::equal(&matcher.name, "") } else { matcher.clone() }
}

/// The protocol has no room for warnings: they are in the log, as Prometheus' are.
fn tell(context: &QueryContext) {
    for warning in Notes::new(&context.annotations.snapshot(), "").warnings {
        tracing::warn!("a remote read was answered with a warning: {warning}");
    }
    let is_lossy = context.targets.snapshot().iter().any(|report| report.leaf == "json");
    if is_lossy && !IS_LOSS_TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "remote reads are answered from servers that have no remote read themselves: their samples come without stale \
             markers, so that to the reader a series goes on for its lookback after it has ended (said once)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::ReadHints;
    use crate::error::ErrorKind;

    fn query(matchers: &[Matcher], (start_ms, end_ms): (i64, i64), hints: Option<(i64, i64)>) -> ReadQuery {
        let hints = hints.map(|(start_ms, end_ms)| ReadHints { start_ms, end_ms, ..ReadHints::default() });
        ReadQuery { start_ms, end_ms, matchers: matchers.to_vec(), hints }
    }

    #[test]
    fn both_ends_belong_to_the_range_and_hints_say_which_it_is() {
        let up = [Matcher::equal("__name__", "up")];
        for (range, hints, expected) in [
            ((10, 20), None, Some((9, 20))),
            ((10, 10), None, Some((9, 10))),
            ((11, 10), None, None),
            ((10, 20), Some((12, 15)), Some((11, 15))),
            ((10, 20), Some((15, 12)), None),
            ((i64::MIN, i64::MAX), None, Some((-FURTHEST_MS, FURTHEST_MS))),
        ] {
            let select = select_of(&query(&up, range, hints), &Labels::default()).expect("a good query");
            let times = select.map(|select| match select.form {
                SelectForm::Samples { start, end } => (start.0, end.0),
                SelectForm::Steps { .. } => panic!("raw samples are asked for"),
            });
            assert_eq!(times, expected, "{range:?} {hints:?}");
        }
    }

    #[test]
    fn who_asks_for_an_external_label_asks_for_its_absence() {
        let external = Labels::from_pairs([("replica", "a")]);
        for (matcher, expected) in [
            (Matcher::equal("replica", "a"), Matcher::equal("replica", "")),
            (Matcher::equal("replica", "b"), Matcher::equal("replica", "b")),
            (Matcher::new("replica", MatchOp::Regex, "a"), Matcher::new("replica", MatchOp::Regex, "a")),
            (Matcher::equal("zone", ""), Matcher::equal("zone", "")),
        ] {
            let select = select_of(&query(&[matcher], (0, 1), None), &external).expect("a good query");
            assert_eq!(select.map(|select| select.matchers), Some(vec![expected]));
        }
        assert_eq!(select_of(&query(&[], (0, 1), None), &external), Ok(None));
        let bad = select_of(&query(&[Matcher::new("a", MatchOp::Regex, "[a")], (1, 0), None), &external);
        let bad = bad.expect_err("no pattern");
        assert_eq!((bad.kind(), bad.message()), (ErrorKind::BadData, "error parsing regexp: missing closing ]: `[a`"));
    }
}
