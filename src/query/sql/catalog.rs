//! Metrics as tables of SQL: any name is one, as any name may be a metric.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::Result;

use super::SqlRun;
use super::metric_table::MetricTable;

/// The one catalog, with the one schema, that a statement sees; named as in Flight SQL's own lists.
pub(super) const CATALOG: &str = "quiver";
/// Its schema.
pub(super) const SCHEMA: &str = "metrics";

#[derive(Debug)]
pub(super) struct MetricCatalog(pub(super) Arc<dyn SchemaProvider>);

impl CatalogProvider for MetricCatalog {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == SCHEMA).then(|| Arc::clone(&self.0))
    }
}

#[derive(Debug)]
pub(super) struct MetricSchema(pub(super) SqlRun);

#[async_trait]
impl SchemaProvider for MetricSchema {
    /// Not known without asking; GetTables of Flight SQL lists them.
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(Some(Arc::new(MetricTable::new(self.0.clone(), name.to_owned()))))
    }

    fn table_exist(&self, _name: &str) -> bool {
        true
    }
}
