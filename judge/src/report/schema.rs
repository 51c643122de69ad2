//! The JSON Schemas of what programs read: `report.json`, and the documents of `--format json`.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::json::{ComparisonDocument, Document};
use super::run::Report;
use super::store::CHECKSUM;

/// The JSON Schema of `report.json`. Reports of earlier versions are valid, too: what they lack is not required.
pub fn report_schema() -> Value {
    let mut schema = schema::<Report>(SchemaSettings::draft2020_12().for_deserialize(), "report.json of slotquake");
    schema["properties"][CHECKSUM] = json!({
        "type": "string",
        "description": "The SHA-256 of the rest as JSON without spaces, its keys sorted. Missing in reports of earlier versions.",
        "pattern": "^sha256:[0-9a-f]{64}$",
    });
    schema
}

/// The JSON Schema of what `slotquake run --format json` and `slotquake check --format json` print.
pub fn run_schema() -> Value {
    schema::<Document<'_>>(SchemaSettings::draft2020_12().for_serialize(), "slotquake run --format json")
}

/// The JSON Schema of what `slotquake compare --format json` prints.
pub fn compare_schema() -> Value {
    schema::<ComparisonDocument<'_>>(SchemaSettings::draft2020_12().for_serialize(), "slotquake compare --format json")
}

fn schema<T: JsonSchema>(settings: SchemaSettings, title: &str) -> Value {
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema.to_value()
}
