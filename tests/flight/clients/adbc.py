"""What ADBC's driver for Flight SQL finds: a JSON object of what each call gave, or of why it failed."""

import json
import sys

import adbc_driver_flightsql.dbapi as flight_sql
from adbc_driver_flightsql import DatabaseOptions

address = sys.argv[1]
found = {}


def told(call):
    """What a call gives, or the message of its error."""
    try:
        return call()
    except Exception as error:  # Compared with what it is to be.
        return f"{type(error).__name__}: {error}"


def rows(cursor, statement, parameters=None):
    cursor.execute(statement, parameters)
    return [[str(cell) for cell in row] for row in cursor.fetchall()]


def objects(connection, **filters):
    """catalog.schema.table [columns]"""
    names = []
    for catalog in connection.adbc_get_objects(**filters).read_all().to_pylist():
        for schema in catalog["catalog_db_schemas"] or [{"db_schema_name": None, "db_schema_tables": None}]:
            for table in schema["db_schema_tables"] or [{"table_name": None, "table_columns": None}]:
                columns = [column["column_name"] for column in table["table_columns"] or []]
                path = (catalog["catalog_name"], schema["db_schema_name"], table["table_name"], *columns)
                names.append([name for name in path if name is not None])
    return names


credentials = {DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer anything"}
for name, options in [("nobody", {}), ("password", {"username": "a", "password": "b"}), ("token", credentials)]:
    with flight_sql.connect(f"grpc://{address}", db_kwargs=options, autocommit=True) as connection:
        with connection.cursor() as cursor:
            found[f"login of {name}"] = told(lambda: rows(cursor, "vector(7)")[0][-1])

with flight_sql.connect(f"grpc://{address}", autocommit=True) as connection:
    info = connection.adbc_get_info()
    found["vendor"] = info["vendor_name"]
    found["version"] = info["vendor_version"]
    found["table types"] = connection.adbc_get_table_types()
    found["catalogs"] = objects(connection, depth="catalogs")
    found["schemas"] = objects(connection, depth="db_schemas")
    found["tables"] = objects(connection, depth="tables")
    found["tables like h%"] = objects(connection, depth="tables", table_name_filter="h%")
    found["columns"] = objects(connection, depth="all", table_name_filter="hits")
    found["table schema"] = told(lambda: [f"{f.name}: {f.type}" for f in connection.adbc_get_table_schema("hits")])
    found["no such table"] = told(lambda: str(connection.adbc_get_table_schema("nosuch"))).splitlines()[0]
    with connection.cursor() as cursor:
        found["range"] = rows(cursor, "TQL EVAL (0, 20, '10s') hits")
        found["columns of range"] = [column[0] for column in cursor.description]
        found["sum"] = sorted(rows(cursor, "-- all of them\nTQL EVAL (20, 20, 10) sum by (job) (hits);"))
        found["nothing"] = rows(cursor, "TQL EVAL (0, 0, 1) nosuch")
        found["now"] = [row[-1] for row in rows(cursor, "vector(42) # now")]
        found["text"] = [row[-1] for row in rows(cursor, '"é"')]
        found["plan"] = "TableScan" in "".join(row[0] for row in rows(cursor, "TQL EXPLAIN hits"))
        found["cost"] = any("samples read" in row[0] for row in rows(cursor, "TQL ANALYZE (0, 20, 10) hits"))
        found["schema before"] = [field.name for field in cursor.adbc_execute_schema("TQL EVAL (0, 20, 10) sum(hits)")]
        cursor.adbc_prepare("TQL EVAL (20, 20, 10) sum(hits)")
        found["prepared"] = [rows(cursor, "TQL EVAL (20, 20, 10) sum(hits)")[0][-1] for _ in range(2)]
        for name, statement, parameters in [
            ("mistake", "TQL EVAL (0, 10, 1) sum(hits", None),
            ("bad time", "TQL EVAL (0, later, 1) hits", None),
            ("sql", "SELECT label(labels, 'job'), max(value) FROM promql('hits', 0, 20, '10s') GROUP BY 1 ORDER BY 1", None),
            ("files", "SELECT * FROM '/etc/passwd'", None),
            ("parameters", "vector(1)", (1,)),
            ("histograms", "TQL EVAL (20, 20, 10) native", None),
        ]:
            found[name] = told(lambda: rows(cursor, statement, parameters))
        found["update"] = told(lambda: cursor.executemany("vector(1)", [(1,)]))
        found["ingest"] = told(lambda: cursor.adbc_ingest("hits", __import__("pyarrow").table({"a": [1]})))

print(json.dumps(found))
