//! PromQL's functions as DataFusion functions: thin adapters between Arrow columns and `kernels/`.
//!
//! Every adapter is a value: its parameters (windows, operators, names) are fields, so that plans compare and print.

pub mod aggregate;
pub mod columns;
pub mod extended_range;
pub mod histogram_folds;
pub mod histogram_stats;
pub mod instant;
pub mod labels;
pub mod range;
mod range_histograms;
pub mod sample_operator;
pub mod start_times;
pub mod steps;

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;

/// A function from columns to a column, row by row.
pub trait RowFunction: Debug + PartialEq + Eq + Hash + Send + Sync + 'static {
    /// Its name in EXPLAIN: `prom_` and the PromQL name, or what it does.
    fn name(&self) -> String;

    /// Its parameters as EXPLAIN shows them; empty for none.
    fn parameters(&self) -> String {
        String::new()
    }

    /// The type of its result.
    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType, Error>;

    /// Computes `row_count` rows.
    fn evaluate(&self, arguments: &[ColumnarValue], row_count: usize) -> Result<ArrayRef, Error>;
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Adapter<F> {
    function: F,
    display_name: String,
    signature: Signature,
}

impl<F: RowFunction> ScalarUDFImpl for Adapter<F> {
    fn name(&self) -> &str {
        &self.display_name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType> {
        self.function.return_type(argument_types).map_err(external)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.function.name(), self.return_type(&types)?, false)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let column = self.function.evaluate(&arguments.args, arguments.number_rows).map_err(external)?;
        Ok(ColumnarValue::Array(column))
    }
}

/// The expression that calls a function.
pub fn call<F: RowFunction>(function: F, arguments: Vec<Expr>) -> Expr {
    let parameters = function.parameters();
    let display_name =
        if parameters.is_empty() { function.name() } else { format!("{}[{parameters}]", function.name()) };
    let adapter = Adapter { function, display_name, signature: Signature::variadic_any(Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(adapter)), arguments))
}

/// Carries an error of ours through DataFusion; `query/` takes it out again.
pub fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
