//! Metrics as tables: one catalog, one schema, a table for each metric name.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BinaryArray, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTables};
use bytes::Bytes;

use super::like::LikePattern;
use crate::error::{Error, ErrorKind};
use crate::model::Matcher;

/// The one catalog.
pub(super) const CATALOG: &str = "quiver";
/// Its one schema.
pub(super) const DB_SCHEMA: &str = "metrics";
/// What kind of table a metric is.
pub(super) const TABLE_TYPE: &str = "TABLE";

/// More metric names than this are not listed at a time.
pub(super) const TABLES_MAX: usize = 500_000;
/// So many tables are in one message, or in the last one fewer.
const TABLES_PER_BATCH: usize = 2_000;

fn text(name: &str, is_nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, is_nullable)
}

/// `catalog_name`.
pub(super) static CATALOGS_SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![text("catalog_name", false)])));

/// `catalog_name`, `db_schema_name`.
pub(super) static DB_SCHEMAS_SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![text("catalog_name", true), text("db_schema_name", false)])));

/// `table_type`.
pub(super) static TABLE_TYPES_SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![text("table_type", false)])));

/// The columns of GetTables, with `table_schema` if that is asked for.
pub(super) fn tables_schema(include_schema: bool) -> SchemaRef {
    let mut fields = vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("table_type", false),
    ];
    if include_schema {
        fields.push(Field::new("table_schema", DataType::Binary, false));
    }
    Arc::new(Schema::new(fields))
}

/// The columns of GetPrimaryKeys; metrics have no keys.
pub(super) static PRIMARY_KEYS_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
});

/// The columns of GetExportedKeys, GetImportedKeys and GetCrossReference.
pub(super) static FOREIGN_KEYS_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
});

fn table(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, Error> {
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| Error::internal(error.to_string()))
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from(values.into_iter().collect::<Vec<_>>()))
}

/// All catalogs.
pub(super) fn catalogs() -> Result<RecordBatch, Error> {
    table(&CATALOGS_SCHEMA, vec![texts([CATALOG])])
}

/// All types of tables.
pub(super) fn table_types() -> Result<RecordBatch, Error> {
    table(&TABLE_TYPES_SCHEMA, vec![texts([TABLE_TYPE])])
}

/// The schemas that are asked for.
pub(super) fn db_schemas(asked: &CommandGetDbSchemas) -> Result<RecordBatch, Error> {
    let is_there = has_schema(asked.catalog.as_deref(), asked.db_schema_filter_pattern.as_deref())?;
    let rows = usize::from(is_there);
    table(&DB_SCHEMAS_SCHEMA, vec![texts([CATALOG].into_iter().take(rows)), texts([DB_SCHEMA].into_iter().take(rows))])
}

/// Is our schema among those that a catalog and a pattern mean? An empty catalog means what has none.
fn has_schema(catalog: Option<&str>, pattern: Option<&str>) -> Result<bool, Error> {
    let pattern = pattern.map(LikePattern::try_new).transpose()?;
    Ok(catalog.is_none_or(|catalog| catalog == CATALOG) && pattern.is_none_or(|pattern| pattern.matches(DB_SCHEMA)))
}

/// Which metric names are asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AskedNames {
    /// No table can be meant.
    None,
    /// All of them.
    All,
    /// Those that match.
    Matching(Matcher),
}

/// Which names a client's filters leave.
pub(super) fn asked_names(asked: &CommandGetTables) -> Result<AskedNames, Error> {
    let is_type = asked.table_types.is_empty() || asked.table_types.iter().any(|kind| kind == TABLE_TYPE);
    if !is_type || !has_schema(asked.catalog.as_deref(), asked.db_schema_filter_pattern.as_deref())? {
        return Ok(AskedNames::None);
    }
    let Some(pattern) = asked.table_name_filter_pattern.as_deref() else { return Ok(AskedNames::All) };
    let pattern = LikePattern::try_new(pattern)?;
    Ok(match pattern.name_matcher() {
        None => AskedNames::All,
        // Every metric has a name.
        Some(matcher) if matcher.value.is_empty() => AskedNames::None,
        Some(matcher) => AskedNames::Matching(matcher),
    })
}

/// More names than are listed.
pub(super) fn too_many_tables() -> Error {
    Error::new(
        ErrorKind::TooManySamples,
        format!("more than {TABLES_MAX} metric names, ask for those of a pattern such as http_%"),
    )
}

/// Metric names, sorted, as tables; `table_schema` is the message of the schema that each of them has.
pub(super) fn tables(
    names: Vec<String>,
    table_schema: Option<Bytes>,
) -> impl Iterator<Item = Result<RecordBatch, Error>> + Send + 'static {
    let schema = tables_schema(table_schema.is_some());
    let mut names = names.into_iter();
    std::iter::from_fn(move || {
        let part: Vec<String> = names.by_ref().take(TABLES_PER_BATCH).collect();
        if part.is_empty() {
            return None;
        }
        let repeated = |value: &'static str| texts(std::iter::repeat_n(value, part.len()));
        let mut columns =
            vec![repeated(CATALOG), repeated(DB_SCHEMA), texts(part.iter().map(String::as_str)), repeated(TABLE_TYPE)];
        if let Some(message) = &table_schema {
            columns.push(Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n(message, part.len()))));
        }
        Some(table(&schema, columns))
    })
}

#[cfg(test)]
mod tests {
    use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, GetTablesBuilder};

    use super::*;
    use crate::model::{METRIC_NAME, MatchOp};

    #[test]
    fn schemas_are_those_of_flight_sql() {
        assert_eq!(*CATALOGS_SCHEMA, GetCatalogsBuilder::new().schema());
        assert_eq!(*DB_SCHEMAS_SCHEMA, GetDbSchemasBuilder::new(None::<String>, None::<String>).schema());
        for include_schema in [true, false] {
            let none = None::<String>;
            let wanted = GetTablesBuilder::new(none.clone(), none.clone(), none, [""; 0], include_schema).schema();
            assert_eq!(tables_schema(include_schema), wanted);
        }
    }

    #[test]
    fn filters_leave_the_names_that_they_mean() {
        let ask = |catalog: Option<&str>, schema: Option<&str>, name: Option<&str>, types: &[&str]| {
            asked_names(&CommandGetTables {
                catalog: catalog.map(str::to_owned),
                db_schema_filter_pattern: schema.map(str::to_owned),
                table_name_filter_pattern: name.map(str::to_owned),
                table_types: types.iter().map(|kind| (*kind).to_owned()).collect(),
                include_schema: false,
            })
            .expect("short patterns")
        };
        let matching = |op, value: &str| AskedNames::Matching(Matcher::new(METRIC_NAME, op, value));
        for (catalog, schema, name, types, wanted) in [
            (None, None, None, &[][..], AskedNames::All),
            (Some("quiver"), Some("metrics"), Some("%"), &["VIEW", "TABLE"], AskedNames::All),
            (Some("quiver"), Some("met%"), Some("up"), &[], matching(MatchOp::Equal, "up")),
            (None, Some("%"), Some("http_%"), &[], matching(MatchOp::Regex, "http..*")),
            (None, None, Some(""), &[], AskedNames::None),
            (Some(""), None, None, &[], AskedNames::None),
            (Some("other"), None, None, &[], AskedNames::None),
            (None, Some("public"), None, &[], AskedNames::None),
            (None, None, None, &["VIEW"], AskedNames::None),
        ] {
            assert_eq!(ask(catalog, schema, name, types), wanted, "{catalog:?} {schema:?} {name:?} {types:?}");
        }
    }

    #[test]
    fn tables_come_in_pieces() {
        let names: Vec<String> = (0..TABLES_PER_BATCH + 1).map(|index| format!("m{index:05}")).collect();
        let pieces: Vec<RecordBatch> =
            tables(names, Some(Bytes::from_static(b"schema"))).collect::<Result<_, _>>().expect("tables");
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [TABLES_PER_BATCH, 1]);
        assert_eq!(pieces[0].schema(), tables_schema(true));
        assert_eq!(tables(Vec::new(), None).count(), 0);
    }
}
