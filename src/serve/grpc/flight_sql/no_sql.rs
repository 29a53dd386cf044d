//! SQL where it was not built in: refused, with what to do.

use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use http::HeaderMap;

use super::FlightSql;
use crate::error::Error;
use crate::model::TimestampMs;
use crate::serve::grpc::answer::Answer;

fn refused(verb: &str) -> Error {
    let verb = verb.to_ascii_uppercase();
    Error::bad_data(format!(
        "{verb} is SQL, which this Quiver was built without (cargo feature \"sql\"): ask in PromQL, such as up or \
         TQL EVAL (now() - '1h', now(), '1m') up; a metric of that name is {{\"{}\"}}",
        verb.to_ascii_lowercase()
    ))
}

impl FlightSql {
    pub(super) async fn sql_schema(
        &self,
        verb: &str,
        _statement: &str,
        _now: TimestampMs,
        _headers: &HeaderMap,
    ) -> Result<SchemaRef, Error> {
        Err(refused(verb))
    }

    pub(super) async fn sql_table(
        &self,
        verb: &str,
        _statement: &str,
        _now: TimestampMs,
        _headers: &HeaderMap,
    ) -> Result<Answer<FlightData>, Error> {
        Err(refused(verb))
    }
}
