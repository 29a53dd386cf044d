//! The body of an answer as samples tables, in order, as it arrives.

use std::collections::{HashSet, VecDeque};

use arrow::record_batch::RecordBatch;

use super::client_labels::{ClientLabels, same_series_text};
use super::read_slots::ReadPlace;
use super::{AnswerForm, ExternalLabels, RawQuery};
use crate::decode::{
    ChunkStreamDecoder, ChunkStreamLimits, DecodeError, ReadSamplesLimits, TimeWindow, decode_read_samples,
};
use crate::downstream::open_answer::{AnswerBody, OpenAnswer};
use crate::downstream::response_error::{bad_answer, unavailable};
use crate::error::Error;
use crate::merge::{TableForm, sort_replica};
use crate::model::{EncodedLabels, Held, QueryContext, SamplesTable, TableSize};

/// A `SAMPLES` answer is read whole; none may be larger than this, packed.
const SAMPLES_BODY_BYTES_MAX: usize = 512 << 20;
/// After decoding so many bytes the thread is offered to others.
const BYTES_PER_TURN: usize = 256 * 1024;

/// Why the tables break off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::downstream) enum TablesError {
    /// The server's external labels are others than we know.
    StaleExternalLabels(Error),
    /// A series came behind one that it belongs before, when others had been handed out already.
    Unsorted(Error),
    /// A chunk in an encoding that nobody here knows: the samples may be had all the same.
    UnknownEncoding(Error),
    /// Anything else.
    Failed(Error),
}

impl TablesError {
    pub(in crate::downstream) fn into_error(self) -> Error {
        match self {
            Self::StaleExternalLabels(error)
            | Self::Unsorted(error)
            | Self::UnknownEncoding(error)
            | Self::Failed(error) => error,
        }
    }
}

/// When tables may be handed out.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::downstream) enum HandOut {
    /// As they come.
    AtOnce,
    /// When all are there, sorted.
    Sorted,
}

/// Samples tables of one answer, sorted by labels, each label set once.
pub(in crate::downstream) struct RawTables {
    source: Source,
    hand_out: HandOut,
    ready: VecDeque<(RecordBatch, Held)>,
    has_handed_out: bool,
    was_unsorted: bool,
    /// Could two series become one when external labels are taken off?
    has_external_labels: bool,
    /// What is being decoded.
    held: Held,
    place: ReadPlace,
    context: QueryContext,
}

enum Source {
    Chunks { body: AnswerBody, decoder: Box<ChunkStreamDecoder<ClientLabels>>, bytes_of_turn: usize },
    Samples { body: AnswerBody, window: TimeWindow, labels: ClientLabels },
    Ended,
}

impl RawTables {
    /// The tables of an answer to `query`. Fails on a matcher whose pattern RE2 refuses.
    pub(super) fn try_new(
        place: ReadPlace,
        (form, answer): (AnswerForm, OpenAnswer),
        query: &RawQuery,
        external: &ExternalLabels,
        context: &QueryContext,
    ) -> Result<Self, Error> {
        let window = TimeWindow { start: query.start, end: query.end };
        let labels = ClientLabels::try_new(external.clone(), &query.matchers)?;
        let body = answer.body;
        let source = match form {
            AnswerForm::Chunks => {
                let limits = ChunkStreamLimits::default();
                let decoder = Box::new(ChunkStreamDecoder::new(window, labels, limits));
                Source::Chunks { body, decoder, bytes_of_turn: 0 }
            }
            AnswerForm::Samples => Source::Samples { body, window, labels },
        };
        Ok(Self {
            source,
            hand_out: HandOut::AtOnce,
            ready: VecDeque::new(),
            has_handed_out: false,
            was_unsorted: false,
            has_external_labels: !external.is_empty(),
            held: context.hold(0, 0)?,
            place,
            context: context.clone(),
        })
    }

    /// The same, which hands nothing out before all is there and sorted.
    pub(in crate::downstream) fn sorted(self) -> Self {
        Self { hand_out: HandOut::Sorted, ..self }
    }

    /// Did a series come behind one that it belongs before?
    pub(in crate::downstream) fn was_unsorted(&self) -> bool {
        self.was_unsorted
    }

    /// The next table, `None` behind the last one. Of a large answer it may come only when all of it is there, when too many
    /// others of the same server are being read. A broken order that shows before the first table was handed out is mended
    /// by sorting; later it is an error, as what was handed out cannot be taken back.
    pub(in crate::downstream) async fn next(&mut self) -> Result<Option<RecordBatch>, TablesError> {
        loop {
            let has_ended = matches!(self.source, Source::Ended);
            let is_early = !has_ended && self.hand_out == HandOut::AtOnce && !self.ready.is_empty();
            if (has_ended || is_early && self.place.may_stream().await)
                && let Some((table, held)) = self.ready.pop_front()
            {
                // Whoever takes it counts it himself.
                drop(held);
                self.has_handed_out = true;
                return Ok(Some(table));
            }
            if has_ended {
                return Ok(None);
            }
            self.read_on().await?;
        }
    }

    async fn read_on(&mut self) -> Result<(), TablesError> {
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Ended => Ok(()),
            Source::Samples { body, window, labels } => self.read_samples(body, window, labels).await,
            Source::Chunks { mut body, mut decoder, mut bytes_of_turn } => match body.next_piece().await? {
                Some(piece) => {
                    let allowed = self.samples_left();
                    decoder.allow_samples(allowed);
                    let samples = decoder.feed(&piece).map_err(|error| self.why(error, allowed, decoder.filter()))?;
                    body.decoded(samples);
                    self.count(samples)?;
                    self.check_order(decoder.filter())?;
                    self.push_ready(decoder.take_batches())?;
                    bytes_of_turn += piece.len();
                    if bytes_of_turn >= BYTES_PER_TURN {
                        bytes_of_turn = 0;
                        tokio::task::yield_now().await;
                    }
                    self.source = Source::Chunks { body, decoder, bytes_of_turn };
                    Ok(())
                }
                None => {
                    let tables = decoder.finish().map_err(bad_answer)?;
                    self.push_ready(tables)?;
                    self.end()
                }
            },
        }
    }

    /// All samples in one message, which makes no promise of an order.
    async fn read_samples(
        &mut self,
        body: AnswerBody,
        window: TimeWindow,
        mut labels: ClientLabels,
    ) -> Result<(), TablesError> {
        let block = body.read_whole(SAMPLES_BODY_BYTES_MAX).await?;
        // It is unpacked whole, and beside it stand the tables.
        let mut limits = ReadSamplesLimits::default();
        let unpacked = snap::raw::decompress_len(&block).unwrap_or(0).min(limits.message_bytes_max);
        let _held = self.context.hold(0, block.len().saturating_add(unpacked))?;
        let allowed = self.samples_left();
        limits.series.samples_max = allowed;
        let tables = decode_read_samples(&block, window, &mut labels, limits);
        let tables = tables.map_err(|error| self.why(error, allowed, &labels))?;
        for table in &tables {
            self.count(TableSize::of(table).samples)?;
        }
        self.push_ready(tables)?;
        self.hand_out = HandOut::Sorted;
        self.end()
    }

    fn count(&mut self, samples: usize) -> Result<(), TablesError> {
        self.context.count_samples(samples);
        Ok(self.held.grow(samples, samples.saturating_mul(SAMPLE_BYTES))?)
    }

    /// So many samples may be decoded before they are counted.
    fn samples_left(&self) -> usize {
        usize::try_from(self.context.budget().samples_left(SAMPLE_BYTES as u64)).unwrap_or(usize::MAX)
    }

    /// What an error of the decoder means to the query. Where there were more samples than it may hold, it is told which of its
    /// limits that is.
    fn why(&self, error: DecodeError, allowed: usize, labels: &ClientLabels) -> TablesError {
        if error == DecodeError::TooManySamples {
            let one_more = allowed.saturating_add(1);
            let refused = self.context.hold(one_more, one_more.saturating_mul(SAMPLE_BYTES)).err();
            return TablesError::Failed(refused.unwrap_or_else(|| error.into()));
        }
        why(error, labels)
    }

    fn check_order(&mut self, labels: &ClientLabels) -> Result<(), TablesError> {
        self.was_unsorted |= labels.is_unsorted();
        if !labels.is_unsorted() || self.hand_out == HandOut::Sorted {
            return Ok(());
        }
        if self.has_handed_out {
            let text = "bad answer: its series are not sorted by labels, which showed only in the middle of it; from now on \
                        answers of this server are sorted here, ask again";
            return Err(TablesError::Unsorted(unavailable(text)));
        }
        self.hand_out = HandOut::Sorted;
        Ok(())
    }

    fn push_ready(&mut self, tables: Vec<RecordBatch>) -> Result<(), TablesError> {
        for table in tables {
            let TableSize { samples, bytes } = TableSize::of(&table);
            let mut held = self.held.split(samples, samples.saturating_mul(SAMPLE_BYTES));
            held.resize(samples, bytes)?;
            self.ready.push_back((table, held));
        }
        Ok(())
    }

    /// Everything is there.
    fn end(&mut self) -> Result<(), TablesError> {
        self.place.leave();
        if self.hand_out == HandOut::AtOnce {
            return Ok(());
        }
        let (tables, held): (Vec<RecordBatch>, Vec<Held>) = self.ready.drain(..).unzip();
        if self.has_external_labels
            && let Some(twice) = first_duplicate(&tables)?
        {
            return Err(TablesError::Failed(unavailable(format!("bad answer: {}", same_series_text(twice.as_ref())))));
        }
        // While they are sorted they are there twice; the samples count once.
        let doubled = self.context.hold(0, held.iter().map(Held::bytes).sum())?;
        let sorted = sort_replica(TableForm::Samples, tables)?;
        drop((held, doubled));
        for table in sorted {
            let held = self.context.hold_table(&table)?;
            self.ready.push_back((table, held));
        }
        Ok(())
    }
}

/// What a decoded sample weighs: a time and a value.
const SAMPLE_BYTES: usize = 16;

impl From<Error> for TablesError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn why(error: DecodeError, labels: &ClientLabels) -> TablesError {
    let is_unknown_encoding = error.is_unknown_encoding();
    let error = bad_answer(error);
    match labels.stale_external_labels() {
        Some(_) => TablesError::StaleExternalLabels(error),
        None if is_unknown_encoding => TablesError::UnknownEncoding(error),
        None => TablesError::Failed(error),
    }
}

fn first_duplicate(tables: &[RecordBatch]) -> Result<Option<EncodedLabels>, Error> {
    let mut seen = HashSet::new();
    for table in tables {
        let view = SamplesTable::try_new(table)?;
        for row in 0..view.row_count() {
            let labels = view.labels(row);
            if !seen.insert(labels.as_bytes()) {
                return Ok(Some(labels.to_labels().encode()));
            }
        }
    }
    Ok(None)
}
