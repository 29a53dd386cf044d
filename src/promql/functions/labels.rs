//! Functions on the labels column.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

use super::RowFunction;
use super::columns::labels_argument;
use crate::error::Error;
use crate::model::{GoRegex, LabelNames, LabelsBuilder, LabelsRef, METRIC_NAME};

/// What goes when a metric name goes: the name, and the type and unit that belong to it.
pub static NAME_LABELS: LazyLock<LabelNames> = LazyLock::new(|| LabelNames::new(["__name__", "__type__", "__unit__"]));

/// When a series loses the name that is no longer true of it.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub enum NameRemoval {
    /// In the function that makes the name untrue: Prometheus without flags.
    AtOnce,
    /// At the end of the query, with `promql-delayed-name-removal`; until then the series is marked.
    AtEnd,
}

impl NameRemoval {
    /// Appends the labels of a series that has just lost its name.
    pub fn write(self, labels: LabelsRef<'_>, out: &mut Vec<u8>) {
        match self {
            Self::AtOnce => labels.write_dropping(&NAME_LABELS, out),
            Self::AtEnd => labels.write_with_name_dropped(out),
        }
    }
}

/// `name_marked(labels)`: the name goes at the end.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MarkName;

impl RowFunction for MarkName {
    fn name(&self) -> String {
        "name_marked".to_owned()
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(DataType::Binary)
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        map_labels(arguments, row_count, |labels, out| NameRemoval::AtEnd.write(labels, out))
    }
}

/// `marked_names_dropped(labels)`: the end of a query, where marked series lose their names.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DropMarkedNames;

impl RowFunction for DropMarkedNames {
    fn name(&self) -> String {
        "marked_names_dropped".to_owned()
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(DataType::Binary)
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        map_labels(arguments, row_count, |labels, out| match labels.is_name_dropped() {
            true => labels.write_dropping(&NAME_LABELS, out),
            false => out.extend_from_slice(labels.as_bytes()),
        })
    }
}

/// Which labels of a set stay. The mark of a name that goes at the end is no label: it is never written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LabelSelection {
    /// Only the named ones.
    Keep(LabelNames),
    /// All but the named ones.
    Drop(LabelNames),
}

impl LabelSelection {
    /// Appends the selected subset.
    pub fn write(&self, labels: LabelsRef<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Keep(names) => labels.write_keeping(names, out),
            Self::Drop(names) => labels.write_dropping(names, out),
        }
    }

    /// As EXPLAIN shows it: `keep job`, `drop __name__`.
    pub fn describe(&self) -> String {
        let (word, names) = match self {
            Self::Keep(names) => ("keep", names),
            Self::Drop(names) => ("drop", names),
        };
        format!("{word} {}", names.iter().collect::<Vec<_>>().join(","))
    }
}

/// `labels_keep(labels)`, `labels_drop(labels)`. A marked name stays marked.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SelectLabels(pub LabelSelection);

impl RowFunction for SelectLabels {
    fn name(&self) -> String {
        match self.0 {
            LabelSelection::Keep(_) => "labels_keep",
            LabelSelection::Drop(_) => "labels_drop",
        }
        .to_owned()
    }

    fn parameters(&self) -> String {
        match &self.0 {
            LabelSelection::Keep(names) | LabelSelection::Drop(names) => names.iter().collect::<Vec<_>>().join(","),
        }
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(DataType::Binary)
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        map_labels(arguments, row_count, |labels, out| {
            labels.write_mark(out);
            self.0.write(labels, out);
        })
    }
}

fn map_labels(
    arguments: &[ColumnarValue],
    row_count: usize,
    write: impl Fn(LabelsRef<'_>, &mut Vec<u8>),
) -> Result<ArrayRef, Error> {
    let labels = labels_argument(arguments, 0, row_count)?;
    let mut builder = BinaryBuilder::with_capacity(row_count, labels.values().len());
    let mut bytes = Vec::new();
    for row in 0..row_count {
        bytes.clear();
        write(LabelsRef::new(labels.value(row)), &mut bytes);
        builder.append_value(&bytes);
    }
    Ok(Arc::new(builder.finish()))
}

/// Appends the labels with one more. A series that is given a name keeps it: it is not marked any longer.
fn write_with_label(labels: LabelsRef<'_>, name: &str, value: &str, out: &mut Vec<u8>) {
    if name != METRIC_NAME {
        labels.write_mark(out);
    }
    let mut builder = LabelsBuilder::from(&labels.to_labels());
    builder.set(name, value);
    out.extend_from_slice(builder.finish().encode().as_bytes());
}

/// `label_replace(labels)`.
#[derive(Debug)]
pub struct LabelReplace {
    /// The label that is set.
    pub destination: String,
    /// The template with `$1`.
    pub replacement: String,
    /// The label that is matched.
    pub source: String,
    /// As written.
    pub pattern: String,
    /// Compiled from `pattern`.
    pub regex: GoRegex,
}

impl LabelReplace {
    fn key(&self) -> (&str, &str, &str, &str) {
        (&self.destination, &self.replacement, &self.source, &self.pattern)
    }
}

impl PartialEq for LabelReplace {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for LabelReplace {}
impl Hash for LabelReplace {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl RowFunction for LabelReplace {
    fn name(&self) -> String {
        "label_replace".to_owned()
    }

    fn parameters(&self) -> String {
        format!("{:?}, {:?}, {:?}, {:?}", self.destination, self.replacement, self.source, self.pattern)
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(DataType::Binary)
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        map_labels(arguments, row_count, |labels, out| {
            let source = labels.get(&self.source).unwrap_or_default();
            match self.regex.expand(&source, &self.replacement) {
                None => out.extend_from_slice(labels.as_bytes()),
                Some(value) => write_with_label(labels, &self.destination, &value, out),
            }
        })
    }
}

/// `label_join(labels)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct LabelJoin {
    /// The label that is set.
    pub destination: String,
    /// What stands between the values.
    pub separator: String,
    /// The labels whose values are joined.
    pub sources: Vec<String>,
}

impl RowFunction for LabelJoin {
    fn name(&self) -> String {
        "label_join".to_owned()
    }

    fn parameters(&self) -> String {
        format!("{:?}, {:?}, {:?}", self.destination, self.separator, self.sources)
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType, Error> {
        Ok(DataType::Binary)
    }

    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error> {
        map_labels(arguments, row_count, |labels, out| {
            let values: Vec<_> = self.sources.iter().map(|name| labels.get(name).unwrap_or_default()).collect();
            write_with_label(labels, &self.destination, &values.join(&self.separator), out);
        })
    }
}
