//! The JSON Schema of `liveoak.toml`, for editors that complete keys and underline slips: made from the table of
//! [`keys`](crate::keys). It describes what a file may look like. Errors that only the whole
//! file shows (dependencies, circles, keys that contradict each other) are found by the reader.

use crate::keys::{PROGRAM, ROOT, SUPERVISOR};
use crate::types::table;
use serde_json::{Value, json};

/// Returns the schema as a JSON document.
#[must_use]
pub fn schema() -> Value {
    let mut schema = table(&ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("liveoak.toml");
    // Only children nest, so only they need a definition that can refer to itself.
    schema["$defs"] = json!({
        "Child": {
            "description": "A program, or a supervisor with children of its own.",
            "anyOf": [{ "$ref": "#/$defs/Program" }, { "$ref": "#/$defs/Supervisor" }],
        },
        "Program": table(&PROGRAM),
        "Supervisor": table(&SUPERVISOR),
    });
    schema
}
