//! The answer to `Series`: the rows of a leaf as chunks, as they come, or the label sets alone.

use std::sync::Arc;

use futures::StreamExt;

use super::packs::Packs;
use super::proto::{self, chunk::Encoding, series_response::Result as Part};
use super::replica_labels::ReplicaLabels;
use super::request::{self, Failures};
use super::shard::Shard;
use crate::encode::{ChunkOptions, EncodedChunk, StartTimeChunks, encode_row_chunks_as};
use crate::error::Error;
use crate::model::{
    ChunkEncoding, DurationMs, Labels, LabelsRef, Matcher, MetadataRequest, QueryContext, SamplesTable, SelectForm,
    SelectRequest, TimestampMs,
};
use crate::query::{QueryEngine, QueryOptions};
use crate::serve::http::Notes;

/// A series of more goes on in the next message, and a batch of so much ends.
const MESSAGE_BYTES: usize = 1 << 20;
/// What a chunk and a label cost on the wire beside their texts and bytes, about.
const FIELD_BYTES: usize = 24;

/// Thanos knows no chunks with start timestamps.
const CHUNKS: ChunkOptions = ChunkOptions {
    samples_max: crate::encode::CHUNK_SAMPLES,
    start_times: StartTimeChunks::Never,
    whole_counts_as_integers: true,
};

/// What a call asks for.
#[derive(Clone, Debug)]
pub(super) struct Question {
    matchers: Vec<Matcher>,
    start: TimestampMs,
    end: TimestampMs,
    /// Are labels all that is wanted?
    pub(super) skips_chunks: bool,
    /// What becomes of parts that do not answer.
    pub(super) failures: Failures,
    shard: Option<Shard>,
    replica_labels: Option<ReplicaLabels>,
    limit: Option<usize>,
    batch_size: usize,
}

impl TryFrom<&proto::SeriesRequest> for Question {
    type Error = Error;

    fn try_from(request: &proto::SeriesRequest) -> Result<Self, Error> {
        let (start, end) = request::sample_times(request.min_time, request.max_time)?;
        if request.matchers.is_empty() {
            return Err(Error::bad_data("no matchers specified"));
        }
        Ok(Self {
            matchers: request::matchers(&request.matchers)?,
            start,
            end,
            skips_chunks: request.skip_chunks,
            failures: Failures::of(request.partial_response_strategy, request.partial_response_disabled),
            shard: Shard::try_new(request.shard_info.as_ref())?,
            replica_labels: ReplicaLabels::new(request::replica_labels(&request.without_replica_labels)?),
            limit: request::limit(request.limit),
            batch_size: usize::try_from(request.response_batch_size).unwrap_or(0),
        })
    }
}

impl Question {
    /// The same as a question about series.
    fn metadata(&self, limit: Option<usize>) -> MetadataRequest {
        let (start, end) = request::series_times(self.start.0, self.end.0);
        MetadataRequest { selectors: vec![self.matchers.clone()], start, end, limit }
    }

    /// Sends the series with their samples. Tells how many samples were read.
    pub(super) async fn send_samples(
        self,
        engine: &QueryEngine,
        options: &QueryOptions,
        packs: Packs<proto::SeriesResponse>,
    ) -> Result<u64, Error> {
        let before_start = self.start - DurationMs(1);
        let form = SelectForm::Samples { start: before_start, end: self.end };
        let select = SelectRequest { matchers: self.matchers.clone(), form };
        let leaf = engine.leaf(&select, options).await?;
        let (mut tables, context) = (leaf.tables, leaf.context);
        let mut writer = Writer::new(&self, packs);
        let absent = match &self.replica_labels {
            Some(names) if self.replica_labels_occur(names, engine, options).await => {
                let collected = names.collect(tables, &context).await?;
                for row in &collected.rows {
                    let table = SamplesTable::try_new(&collected.tables[row.table])?;
                    let series = series_of_row(LabelsRef::new(&row.labels), &table, row.row)?;
                    if !writer.write(LabelsRef::new(&row.labels), series).await? {
                        break;
                    }
                }
                drop(collected);
                writer.end(&context, self.failures).await?;
                return Ok(context.samples_loaded());
            }
            absent => absent,
        };
        'tables: while let Some(table) = tables.next().await {
            let (batch, _held) = table?;
            let table = SamplesTable::try_new(&batch)?;
            for row in 0..table.row_count() {
                let labels = table.labels(row);
                absent.as_ref().map_or(Ok(()), |absent| absent.check_absent(labels))?;
                let series = series_of_row(labels, &table, row)?;
                if !writer.write(labels, series).await? {
                    break 'tables;
                }
            }
            // The next table may be long in coming.
            writer.flush().await?;
        }
        drop(tables);
        writer.end(&context, self.failures).await?;
        Ok(context.samples_loaded())
    }

    /// May a label that is to go be a label of these series? Notes and failures of this question are not those of the answer.
    async fn replica_labels_occur(&self, names: &ReplicaLabels, engine: &QueryEngine, options: &QueryOptions) -> bool {
        let added = engine.source().fixed_labels();
        if added.iter().any(|labels| labels.iter().any(|(name, _)| names.has(name))) {
            return true;
        }
        let context = engine.context(options);
        names.may_occur(engine.source().as_ref(), &self.metadata(None), &context).await
    }

    /// Sends the label sets alone.
    pub(super) async fn send_labels(
        self,
        engine: &QueryEngine,
        options: &QueryOptions,
        packs: Packs<proto::SeriesResponse>,
    ) -> Result<u64, Error> {
        let context = engine.context(options);
        let limit = self.limit.filter(|_| self.shard.is_none() && self.replica_labels.is_none());
        let source = Arc::clone(engine.source());
        let mut sets = source.series(&self.metadata(limit), &context).await?;
        let _held = context.hold(0, sets.iter().map(size_of_labels).sum())?;
        if let Some(names) = &self.replica_labels {
            let kept = |labels: &Labels| LabelsRef::new(&names.without(labels.encode().as_ref())).to_labels();
            sets.iter_mut().for_each(|labels| *labels = kept(labels));
            sets.sort();
            sets.dedup();
        }
        let mut writer = Writer::new(&self, packs);
        for labels in sets {
            let encoded = labels.encode();
            let series = proto::Series { labels: proto_labels(encoded.as_ref()), chunks: Vec::new() };
            let bytes = size_of_labels(&labels);
            if !writer.write(encoded.as_ref(), vec![(series, bytes)]).await? {
                break;
            }
        }
        writer.end(&context, self.failures).await?;
        Ok(0)
    }
}

fn size_of_labels(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len() + FIELD_BYTES).sum()
}

/// Labels as Thanos' messages have them.
pub(super) fn proto_labels(labels: LabelsRef<'_>) -> Vec<proto::Label> {
    let pairs = labels.iter();
    pairs.map(|(name, value)| proto::Label { name: name.into_owned(), value: value.into_owned() }).collect()
}

/// A series in one message or several, each with its size; none where it has no samples.
fn series_of_row(
    labels: LabelsRef<'_>,
    table: &SamplesTable<'_>,
    row: usize,
) -> Result<Vec<(proto::Series, usize)>, Error> {
    let chunks = encode_row_chunks_as(table, row, CHUNKS)?;
    if chunks.is_empty() {
        return Ok(Vec::new());
    }
    let labels_bytes = labels.as_bytes().len() + FIELD_BYTES;
    let mut series = Vec::new();
    let (mut message, mut bytes) = (proto::Series { labels: proto_labels(labels), chunks: Vec::new() }, labels_bytes);
    for chunk in chunks {
        if bytes >= MESSAGE_BYTES {
            let next = proto::Series { labels: message.labels.clone(), chunks: Vec::new() };
            series.push((std::mem::replace(&mut message, next), bytes));
            bytes = labels_bytes;
        }
        bytes += chunk.data.len() + FIELD_BYTES;
        message.chunks.push(proto_chunk(chunk)?);
    }
    series.push((message, bytes));
    Ok(series)
}

fn proto_chunk(chunk: EncodedChunk) -> Result<proto::AggrChunk, Error> {
    let encoding = match chunk.encoding {
        ChunkEncoding::Xor => Encoding::Xor,
        ChunkEncoding::Histogram => Encoding::Histogram,
        ChunkEncoding::FloatHistogram => Encoding::FloatHistogram,
        other => return Err(Error::internal(format!("{other:?} is no chunk of Thanos'"))),
    };
    let raw = proto::Chunk { r#type: encoding.into(), data: chunk.data.into(), hash: 0 };
    Ok(proto::AggrChunk { min_time: chunk.min_time_ms, max_time: chunk.max_time_ms, raw: Some(raw) })
}

/// Puts series into messages: those of the shard, up to the limit, alone or in batches.
struct Writer {
    packs: Packs<proto::SeriesResponse>,
    shard: Option<Shard>,
    left: Option<usize>,
    /// The label set of the series before: a series that comes twice counts once.
    before: Option<Vec<u8>>,
    batch_size: usize,
    batch: Vec<proto::Series>,
    batch_bytes: usize,
}

impl Writer {
    fn new(question: &Question, packs: Packs<proto::SeriesResponse>) -> Self {
        Self {
            packs,
            shard: question.shard.clone(),
            left: question.limit,
            before: None,
            batch_size: question.batch_size,
            batch: Vec::new(),
            batch_bytes: 0,
        }
    }

    /// One more series. Are more wanted?
    async fn write(&mut self, labels: LabelsRef<'_>, series: Vec<(proto::Series, usize)>) -> Result<bool, Error> {
        if series.is_empty() || self.shard.as_mut().is_some_and(|shard| !shard.has(labels)) {
            return Ok(true);
        }
        if let Some(left) = &mut self.left
            && self.before.as_deref() != Some(labels.as_bytes())
        {
            let Some(fewer) = left.checked_sub(1) else { return Ok(false) };
            *left = fewer;
            self.before = Some(labels.as_bytes().to_vec());
        }
        for (series, bytes) in series {
            if self.batch_size <= 1 {
                self.packs.push(response(Part::Series(series)), bytes).await?;
                continue;
            }
            self.batch.push(series);
            self.batch_bytes += bytes;
            if self.batch.len() >= self.batch_size || self.batch_bytes >= MESSAGE_BYTES {
                self.end_batch().await?;
            }
        }
        Ok(true)
    }

    async fn end_batch(&mut self) -> Result<(), Error> {
        let (series, bytes) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.batch_bytes));
        match series.is_empty() {
            true => Ok(()),
            false => self.packs.push(response(Part::Batch(proto::SeriesBatch { series })), bytes).await,
        }
    }

    /// Hands on what there is.
    async fn flush(&mut self) -> Result<(), Error> {
        self.end_batch().await?;
        self.packs.flush().await
    }

    /// Ends the answer with what was noted. Where any failure is to fail the call, a Querier takes every warning for one; what
    /// is noted then, such as a replica that failed while its pair answered, is only logged.
    async fn end(mut self, context: &QueryContext, failures: Failures) -> Result<(), Error> {
        self.end_batch().await?;
        let notes = Notes::new(&context.annotations.snapshot(), "");
        for warning in notes.warnings.into_iter().chain(notes.infos) {
            match failures {
                Failures::Abort => tracing::warn!(%warning, "noted while series were read for a Thanos Querier"),
                Failures::Warn => {
                    let bytes = warning.len();
                    self.packs.push(response(Part::Warning(warning)), bytes).await?;
                }
            }
        }
        self.packs.flush().await
    }
}

fn response(part: Part) -> proto::SeriesResponse {
    proto::SeriesResponse { result: Some(part) }
}
