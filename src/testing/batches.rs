//! Tables as text, and what differs between two of them.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;

use super::promqltest::{format_point, raw_points};
use super::{SequenceValue, format_labels};
use crate::error::Error;
use crate::model::{COLUMN_VALUES, Sample, SamplesTable, StepsTable};

/// The rows of a table's batches, one line a series, in their order: `up{a="b"} 1@0 2@15` for samples (value@seconds),
/// `up{a="b"} 1 _ 2` for steps.
///
/// # Errors
/// A batch that is neither a samples nor a steps table.
pub fn format_tables(batches: &[RecordBatch]) -> Result<Vec<String>, Error> {
    let rows = rows(batches)?;
    Ok(rows.into_iter().map(|(labels, cells)| format!("{labels} {}", cells.join(" ")).trim_end().to_owned()).collect())
}

/// What differs between two tables, whatever their batches: `None` where they hold the same series, in the same order, with
/// the same cells, bit by bit. A series that differs stands under both signs; equal ones are counted.
///
/// ```text
/// - up{a="b"} 1 _ 2
/// + up{a="b"} 1 3 2
/// + up{a="c"} 1 1 1
/// (17 series are equal)
/// ```
///
/// # Errors
/// A batch that is neither a samples nor a steps table.
pub fn diff_tables(wanted: &[RecordBatch], got: &[RecordBatch]) -> Result<Option<String>, Error> {
    let (wanted, got) = (format_tables(wanted)?, format_tables(got)?);
    if wanted == got {
        return Ok(None);
    }
    let mut lines = Vec::new();
    let mut left = BTreeMap::<&str, usize>::new();
    got.iter().for_each(|line| *left.entry(line).or_default() += 1);
    let mut equal = 0;
    for line in &wanted {
        match left.get_mut(line.as_str()).filter(|count| **count > 0) {
            Some(count) => {
                *count -= 1;
                equal += 1;
            }
            None => lines.push(format!("- {line}")),
        }
    }
    for line in &got {
        if let Some(count) = left.get_mut(line.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            lines.push(format!("+ {line}"));
        }
    }
    // By series; the sort is stable, so what was wanted of a series stands before what came.
    lines.sort_by_key(|line| series_of(&line[2..]).to_owned());
    if lines.is_empty() {
        lines.push("the same series in another order".to_owned());
    }
    lines.push(format!("({equal} series are equal)"));
    Ok(Some(lines.join("\n")))
}

/// The label set at the front of a line.
fn series_of(line: &str) -> &str {
    super::parse_labels(line).map_or(line, |(_, length)| &line[..length])
}

fn rows(batches: &[RecordBatch]) -> Result<Vec<(String, Vec<String>)>, Error> {
    let mut rows = Vec::new();
    for batch in batches {
        if batch.column_by_name(COLUMN_VALUES).is_some() {
            let table = StepsTable::try_new(batch)?;
            for row in 0..table.row_count() {
                let text = |cell: Option<Sample>| cell.map_or(SequenceValue::Absent, SequenceValue::from).to_string();
                let cells = table.samples(row)?.into_iter().map(text).collect();
                rows.push((format_labels(&table.labels(row).to_labels()), cells));
            }
        } else {
            let table = SamplesTable::try_new(batch)?;
            for row in 0..table.row_count() {
                let points = raw_points(&table, row)?;
                let points = points.iter().map(|(time, sample)| format_point(*time, sample)).collect();
                rows.push((format_labels(&table.labels(row).to_labels()), points));
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Labels, SamplesTableBuilder, StepsTableBuilder, stale_marker};
    use crate::testing::SeriesNotation;

    fn steps(lines: &[&str]) -> RecordBatch {
        let series: Vec<_> = lines.iter().map(|line| SeriesNotation::parse(line).expect("valid")).collect();
        let mut builder = StepsTableBuilder::new(series.first().map_or(0, |series| series.values.len()));
        for series in series {
            for value in &series.values {
                builder.push_sample(value.sample());
            }
            builder.finish_series(series.labels.encode().as_bytes());
        }
        builder.finish()
    }

    #[test]
    fn equal_tables_have_no_difference_however_they_are_cut() {
        let whole = [steps(&["x{a=\"1\"} 1 _ NaN", "x{a=\"2\"} 4 5 6"])];
        let cut = [steps(&["x{a=\"1\"} 1 _ NaN"]), steps(&["x{a=\"2\"} 4 5 6"])];
        assert_eq!(diff_tables(&whole, &cut), Ok(None));
    }

    #[test]
    fn differences_are_shown_a_series_at_a_time() {
        let wanted = [steps(&["x{a=\"1\"} 1 _ 2", "x{a=\"2\"} 4 5 6", "x{a=\"3\"} 1 1 1"])];
        let got = [steps(&["x{a=\"1\"} 1 3 2", "x{a=\"2\"} 4 5 6", "x{a=\"4\"} 1 1 1"])];
        expect_test::expect![[r#"
            - x{a="1"} 1 _ 2
            + x{a="1"} 1 3 2
            - x{a="3"} 1 1 1
            + x{a="4"} 1 1 1
            (1 series are equal)"#]]
        .assert_eq(&diff_tables(&wanted, &got).expect("tables").expect("differ"));
    }

    #[test]
    fn order_counts() {
        let (wanted, got) = ([steps(&["x 1", "y 1"])], [steps(&["y 1", "x 1"])]);
        let difference = diff_tables(&wanted, &got).expect("tables");
        assert_eq!(difference.as_deref(), Some("the same series in another order\n(2 series are equal)"));
    }

    #[test]
    fn samples_show_their_times() {
        let mut builder = SamplesTableBuilder::default();
        builder.push_sample(500, 1.0);
        builder.push_sample(2_500, stale_marker());
        builder.push_histogram(1_500, None, Arc::default());
        builder.finish_series(Labels::from_pairs([("__name__", "x")]).encode().as_bytes());
        assert_eq!(format_tables(&[builder.finish()]), Ok(vec!["x 1@0.500 {{}}@1.500 stale@2.500".to_owned()]));
    }

    #[test]
    fn histograms_differ_by_their_content() {
        let wanted = [steps(&["x 1 {{count:1}} _", "y {{count:1}}x2"])];
        let got = [steps(&["x 1 {{count:2}} _", "y {{count:1}}x2"])];
        expect_test::expect![[r#"
            - x 1 {{count:1}} _
            + x 1 {{count:2}} _
            (1 series are equal)"#]]
        .assert_eq(&diff_tables(&wanted, &got).expect("tables").expect("differ"));
    }
}
