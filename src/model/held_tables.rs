//! Tables on their way to a consumer, with the guards that count them.

use arrow::record_batch::RecordBatch;
use futures::stream::{self, Stream, StreamExt};

use super::{Held, QueryContext};
use crate::error::Error;

/// Tables that are in memory already, each with its guard. A table's guard is dropped when the consumer asks for the next one:
/// what the consumer keeps, it counts itself.
pub fn held_tables(
    tables: impl IntoIterator<Item = (RecordBatch, Held), IntoIter: Send + 'static>,
) -> impl Stream<Item = Result<RecordBatch, Error>> + Send + 'static {
    stream::unfold((tables.into_iter(), None::<Held>), |(mut tables, before)| async move {
        drop(before);
        let (table, held) = tables.next()?;
        Some((Ok(table), (tables, Some(held))))
    })
}

/// Counts each table of a stream from its arrival until the consumer asks for the next one.
pub fn hold_tables(
    tables: impl Stream<Item = Result<RecordBatch, Error>> + Send + Unpin + 'static,
    context: &QueryContext,
) -> impl Stream<Item = Result<RecordBatch, Error>> + Send + 'static {
    let context = context.clone();
    stream::unfold((tables, context, None::<Held>), |(mut tables, context, before)| async move {
        drop(before);
        let counted = match tables.next().await? {
            Ok(table) => context.hold_table(&table).map(|held| (table, held)),
            Err(error) => Err(error),
        };
        Some(match counted {
            Ok((table, held)) => (Ok(table), (tables, context, Some(held))),
            Err(error) => (Err(error), (tables, context, None)),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StepsTableBuilder;

    fn table() -> RecordBatch {
        let mut builder = StepsTableBuilder::new(10);
        (0..10).for_each(|_| builder.push_cell(Some(1.0)));
        builder.finish_series(b"");
        builder.finish()
    }

    #[tokio::test]
    async fn a_table_is_held_until_the_next_one_is_asked_for() {
        let context = QueryContext::new(None, 25);
        let samples = || context.budget().samples();
        let tables = [(), ()].map(|()| (table(), context.hold_table(&table()).expect("fits")));
        let mut stream = Box::pin(held_tables(tables));
        assert_eq!(samples(), 20);
        assert!(stream.next().await.is_some_and(|item| item.is_ok()));
        assert_eq!(samples(), 20);
        assert!(stream.next().await.is_some());
        assert_eq!(samples(), 10);
        assert!(stream.next().await.is_none());
        assert_eq!((samples(), context.budget().bytes()), (0, 0));

        let arriving = stream::iter([Ok(table()), Ok(table())]);
        let mut stream = Box::pin(hold_tables(arriving, &context));
        assert!(stream.next().await.is_some_and(|item| item.is_ok()));
        assert_eq!(samples(), 10);
        assert!(stream.next().await.is_some_and(|item| item.is_ok()));
        assert_eq!(samples(), 10);
        drop(stream);
        assert_eq!((samples(), context.budget().bytes()), (0, 0));

        let narrow = QueryContext::new(None, 9);
        let mut stream = Box::pin(hold_tables(stream::iter([Ok(table())]), &narrow));
        let error = stream.next().await.expect("an item").expect_err("too many");
        assert_eq!(error.kind(), crate::error::ErrorKind::TooManySamples);
    }
}
