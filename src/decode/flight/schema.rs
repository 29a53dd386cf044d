//! The first message of an answer: the schema, and in its metadata which table it is.

use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::ipc::{self, Endianness, MetadataVersion, Precision, root_as_message};

use super::{DecodeError, FLIGHT_FORMAT, FlightForm, wrong};
use crate::model::StepGrid;

/// Texts of a stranger are quoted up to so many characters.
const QUOTED_CHARS_MAX: usize = 60;

/// Which table the schema message announces. Fails on other versions.
pub(super) fn read_form(header: &[u8]) -> Result<FlightForm, DecodeError> {
    let schema = schema_of(header)?;
    match metadata(&schema, "quiver.format") {
        Some(FLIGHT_FORMAT) => {}
        Some(other) => return Err(wrong(format!("its tables are of format {}, not {FLIGHT_FORMAT}", quoted(other)))),
        None => return Err(wrong("its tables do not say which format they have: it is no Quiver")),
    }
    match metadata(&schema, "quiver.form") {
        Some("samples") => Ok(FlightForm::Samples),
        Some("steps") => Ok(FlightForm::Steps),
        Some("timed_steps") => Ok(FlightForm::TimedSteps),
        other => Err(wrong(format!("its tables are of an unknown form {}", quoted(other.unwrap_or_default())))),
    }
}

/// Fails unless the schema is exactly this one, on this grid.
pub(super) fn check(header: &[u8], wanted: &Schema, grid: Option<StepGrid>) -> Result<(), DecodeError> {
    let schema = schema_of(header)?;
    if schema.endianness() != Endianness::Little {
        return Err(wrong("its numbers are big-endian"));
    }
    let columns = schema.fields().map(|fields| fields.iter().collect::<Vec<_>>()).unwrap_or_default();
    check_fields(&columns, wanted.fields(), "")?;
    let Some(grid) = grid else { return Ok(()) };
    let asked = format!("{}/{}/{}", grid.start().0, grid.step().0, grid.step_count());
    match metadata(&schema, "quiver.grid") {
        Some(answered) if answered == asked => Ok(()),
        answered => Err(wrong(format!("its steps are {}, not {asked}", quoted(answered.unwrap_or_default())))),
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(QUOTED_CHARS_MAX).collect::<String>())
}

fn schema_of(header: &[u8]) -> Result<ipc::Schema<'_>, DecodeError> {
    let message = root_as_message(header).map_err(|error| wrong(format!("its schema is damaged: {error}")))?;
    if message.version() != MetadataVersion::V5 {
        return Err(wrong(format!("its messages are of Arrow IPC {:?}, not V5", message.version())));
    }
    message.header_as_schema().ok_or_else(|| wrong("its first message is not a schema"))
}

fn metadata<'a>(schema: &ipc::Schema<'a>, key: &str) -> Option<&'a str> {
    schema.custom_metadata()?.iter().find(|pair| pair.key() == Some(key))?.value()
}

fn check_fields(fields: &[ipc::Field<'_>], wanted: &Fields, within: &str) -> Result<(), DecodeError> {
    if fields.len() != wanted.len() {
        let place = if within.is_empty() { "it".to_owned() } else { format!("column {within}") };
        return Err(wrong(format!("{place} has {} fields, not {}", fields.len(), wanted.len())));
    }
    fields.iter().zip(wanted).try_for_each(|(field, wanted)| check_field(field, wanted, within))
}

fn check_field(field: &ipc::Field<'_>, wanted: &Field, within: &str) -> Result<(), DecodeError> {
    let place = format!("{within}{}{}", if within.is_empty() { "" } else { "." }, wanted.name());
    let is_same_type = match wanted.data_type() {
        DataType::Binary => field.type_type() == ipc::Type::Binary,
        DataType::Int8 => is_integer(field, 8),
        DataType::Int32 => is_integer(field, 32),
        DataType::Int64 => is_integer(field, 64),
        DataType::Float64 => field.type_as_floating_point().is_some_and(|float| float.precision() == Precision::DOUBLE),
        DataType::List(_) => field.type_type() == ipc::Type::List,
        DataType::FixedSizeList(_, length) => {
            field.type_as_fixed_size_list().is_some_and(|list| list.listSize() == *length)
        }
        DataType::Struct(_) => field.type_type() == ipc::Type::Struct_,
        _ => false,
    };
    let is_same = is_same_type
        && field.name() == Some(wanted.name())
        && field.nullable() == wanted.is_nullable()
        && field.dictionary().is_none();
    if !is_same {
        return Err(wrong(format!("its column {place} is not {}", wanted.data_type())));
    }
    let children = field.children().map(|children| children.iter().collect::<Vec<_>>()).unwrap_or_default();
    match wanted.data_type() {
        DataType::List(item) | DataType::FixedSizeList(item, _) => {
            check_fields(&children, &Fields::from(vec![item.as_ref().clone()]), &place)
        }
        DataType::Struct(wanted) => check_fields(&children, wanted, &place),
        _ => check_fields(&children, &Fields::empty(), &place),
    }
}

fn is_integer(field: &ipc::Field<'_>, bits: i32) -> bool {
    field.type_as_int().is_some_and(|int| int.bitWidth() == bits && int.is_signed())
}
