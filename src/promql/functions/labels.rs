//! Functions on the labels column.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

use super::RowFunction;
use super::columns::labels_argument;
use crate::error::Error;
use crate::model::{GoRegex, LabelNames, LabelsBuilder, LabelsRef};

/// What goes when a metric name goes: the name, and the type and unit that belong to it.
pub static NAME_LABELS: LazyLock<LabelNames> = LazyLock::new(|| LabelNames::new(["__name__", "__type__", "__unit__"]));

/// Which labels of a set stay.
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

/// `labels_keep(labels)`, `labels_drop(labels)`.
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
        map_labels(arguments, row_count, |labels, out| self.0.write(labels, out))
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
                Some(value) => {
                    let mut builder = LabelsBuilder::from(&labels.to_labels());
                    builder.set(&self.destination, &value);
                    out.extend_from_slice(builder.finish().encode().as_bytes());
                }
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
            let mut builder = LabelsBuilder::from(&labels.to_labels());
            builder.set(&self.destination, &values.join(&self.separator));
            out.extend_from_slice(builder.finish().encode().as_bytes());
        })
    }
}
