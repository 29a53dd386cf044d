//! What the server says of itself: GetSqlInfo and GetXdbcTypeInfo.

use std::sync::LazyLock;

use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity, SqlSupportedTransaction, XdbcDataType,
};

/// Is SQL text understood?
pub(super) const SPEAKS_SQL: bool = cfg!(feature = "sql");

/// Answers to GetSqlInfo. What is not said here has no answer, and drivers then take the value of least promise.
pub(super) static SQL_INFO: LazyLock<SqlInfoData> = LazyLock::new(|| {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Quiver");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, SPEAKS_SQL);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, false);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    info.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    // 0: none of its own; a query has the time that --query.timeout and the call give it.
    info.append(SqlInfo::FlightSqlServerStatementTimeout, 0_i32);
    info.append(SqlInfo::FlightSqlServerTransactionTimeout, 0_i32);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, false);
    let exact = SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i64;
    info.append(SqlInfo::SqlIdentifierCase, exact);
    info.append(SqlInfo::SqlQuotedIdentifierCase, exact);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(SqlInfo::SqlAllTablesAreSelectable, true);
    info.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedAtEnd as i64);
    info.append(SqlInfo::SqlKeywords, &["TQL", "EVAL", "EXPLAIN", "ANALYZE"][..]);
    for functions in [
        SqlInfo::SqlNumericFunctions,
        SqlInfo::SqlStringFunctions,
        SqlInfo::SqlSystemFunctions,
        SqlInfo::SqlDatetimeFunctions,
    ] {
        info.append(functions, &[][..] as &[&str]);
    }
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlExtraNameCharacters, ":");
    info.append(SqlInfo::SqlCatalogTerm, "catalog");
    info.append(SqlInfo::SqlSchemaTerm, "schema");
    info.append(SqlInfo::SqlCatalogAtStart, true);
    info.build().expect("values of the kinds that they are to have")
});

/// The types of the columns of answers that have a name among those of XDBC.
pub(super) static XDBC_TYPES: LazyLock<XdbcTypeInfoData> = LazyLock::new(|| {
    let of = |type_name: &str, data_type: XdbcDataType, column_size: i32| XdbcTypeInfo {
        type_name: type_name.to_owned(),
        data_type,
        sql_data_type: data_type,
        column_size: Some(column_size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::None,
        ..XdbcTypeInfo::default()
    };
    let mut types = XdbcTypeInfoDataBuilder::new();
    types.append(XdbcTypeInfo { num_prec_radix: Some(2), ..of("DOUBLE", XdbcDataType::XdbcDouble, 53) });
    types.append(XdbcTypeInfo {
        literal_prefix: Some("'".to_owned()),
        literal_suffix: Some("'".to_owned()),
        case_sensitive: true,
        ..of("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX)
    });
    types.append(XdbcTypeInfo {
        minimum_scale: Some(3),
        maximum_scale: Some(3),
        ..of("TIMESTAMP", XdbcDataType::XdbcTimestamp, 23)
    });
    types.build().expect("columns of one length")
});

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::UInt32Type;

    use super::*;

    #[test]
    fn what_drivers_ask_for_is_answered() {
        let asked =
            [SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerReadOnly, SqlInfo::FlightSqlServerTransaction];
        let rows = SQL_INFO.record_batch(asked.map(|info| info as u32)).expect("a table");
        assert_eq!(rows.column(0).as_primitive::<UInt32Type>().values(), &[0, 3, 8]);
        assert!(SQL_INFO.record_batch([]).expect("all").num_rows() > 20);
        // What nobody knows has no row.
        assert_eq!(SQL_INFO.record_batch([99_999]).expect("none").num_rows(), 0);
        assert_eq!(XDBC_TYPES.record_batch(None).expect("all").num_rows(), 3);
        assert_eq!(XDBC_TYPES.record_batch(XdbcDataType::XdbcDouble as i32).expect("one").num_rows(), 1);
    }
}
