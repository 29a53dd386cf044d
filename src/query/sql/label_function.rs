//! The function `label`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringArray, StringBuilder};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// `label(labels, 'job')`: the value of a label, null where there is none.
pub(super) fn label_function() -> ScalarUDF {
    ScalarUDF::new_from_impl(LabelFunction { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LabelFunction {
    signature: Signature,
}

fn is_labels(kind: &DataType) -> bool {
    match kind {
        DataType::Map(..) => true,
        DataType::Dictionary(_, values) => is_labels(values),
        _ => false,
    }
}

impl ScalarUDFImpl for LabelFunction {
    fn name(&self) -> &str {
        "label"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        match kinds {
            [labels, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8] if is_labels(labels) => {
                Ok(DataType::Utf8)
            }
            _ => plan_err!("label takes the column labels and a name, write label(labels, 'job')"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [labels, name] = args.args.as_slice() else { return exec_err!("label takes two arguments") };
        let ColumnarValue::Scalar(name) = name else {
            return exec_err!("the name of a label must be a constant, write label(labels, 'job')");
        };
        let name = name.try_as_str().flatten().unwrap_or_default();
        match labels {
            ColumnarValue::Array(labels) => Ok(ColumnarValue::Array(values_of(labels, name)?)),
            ColumnarValue::Scalar(labels) => {
                let values = values_of(&labels.to_array()?, name)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?))
            }
        }
    }
}

/// The value of one label in each label set. A label set that many rows share is searched once.
fn values_of(labels: &ArrayRef, name: &str) -> Result<ArrayRef> {
    if let Some(dictionary) = labels.as_any_dictionary_opt() {
        let values = values_of(dictionary.values(), name)?;
        return Ok(take(&values, dictionary.keys(), None)?);
    }
    let Some(maps) = labels.as_map_opt() else { return exec_err!("labels are no map") };
    values_of_maps(maps, name)
}

fn values_of_maps(maps: &MapArray, name: &str) -> Result<ArrayRef> {
    let (names, values) = (cast(maps.keys(), &DataType::Utf8)?, cast(maps.values(), &DataType::Utf8)?);
    let (names, values): (&StringArray, &StringArray) = (names.as_string(), values.as_string());
    let offsets = maps.value_offsets();
    let mut found = StringBuilder::new();
    for row in 0..maps.len() {
        let pairs = offsets[row] as usize..offsets[row + 1] as usize;
        let own = pairs.into_iter().find(|pair| maps.is_valid(row) && names.value(*pair) == name);
        found.append_option(own.map(|pair| values.value(pair)));
    }
    Ok(Arc::new(found.finish()))
}
