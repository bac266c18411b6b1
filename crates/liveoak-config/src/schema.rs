//! The JSON Schema of `liveoak.toml`, for editors that complete keys and underline slips: made from the table of
//! [`keys`](crate::keys). It tells what a file may look like; what only the whole file tells (dependencies, circles, keys that
//! contradict each other) is left to the reader.

use crate::keys::{Key, Keys, Kind, MAX_RESTARTS, PROGRAM, ROOT, SUPERVISOR, words};
use liveoak_core::Condition;
use serde_json::{Map, Value, json};

/// The characters of a name.
const NAME: &str = "^[A-Za-z0-9_-]{1,64}$";
/// A duration: whole numbers with units, the longest unit first.
const DURATION: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
/// A duration, or no end.
const DURATION_OR_INFINITY: &str = "^(infinity|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$";

/// Returns the schema as a JSON document.
#[must_use]
pub fn schema() -> Value {
    let mut definitions = Definitions::default();
    let mut schema = definitions.table(&ROOT);
    let child = json!({
        "description": "A program, or a supervisor with children of its own.",
        "anyOf": [definitions.reference(&PROGRAM), definitions.reference(&SUPERVISOR)],
    });
    definitions.0.insert("Child".to_owned(), child);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("liveoak.toml");
    schema["$defs"] = Value::Object(definitions.0);
    schema
}

/// The definitions that were needed so far, by name.
#[derive(Default)]
struct Definitions(Map<String, Value>);

impl Definitions {
    /// Returns a reference to a definition, and makes the definition if there is none yet.
    fn defined(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.0.contains_key(name) {
            // The place is taken first, so that a definition may refer to itself.
            self.0.insert(name.to_owned(), Value::Null);
            let definition = make(self);
            self.0.insert(name.to_owned(), definition);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    fn reference(&mut self, keys: &Keys) -> Value {
        self.defined(keys.name, |definitions| definitions.table(keys))
    }

    fn table(&mut self, keys: &Keys) -> Value {
        let properties: Map<String, Value> =
            keys.all().map(|key| (key.name.to_owned(), self.property(key))).collect();
        let mut table = json!({
            "type": "object",
            "description": keys.about,
            "properties": properties,
            "additionalProperties": false,
        });
        if !keys.required.is_empty() {
            table["required"] = json!(keys.required);
        }
        if !keys.one_of.is_empty() {
            table["oneOf"] = keys.one_of.iter().map(|key| json!({ "required": [key] })).collect();
        }
        table
    }

    fn property(&mut self, key: &Key) -> Value {
        let mut property = self.kind(&key.kind);
        property["description"] = json!(key.about);
        if let Some(default) = key.default {
            property["default"] = default();
        }
        property
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Name => json!({ "type": "string", "pattern": NAME }),
            Kind::Text => json!({ "type": "string", "minLength": 1 }),
            Kind::TextLike(example) => json!({ "type": "string", "minLength": 1, "examples": [example] }),
            Kind::Pattern(pattern, example) => {
                json!({ "type": "string", "pattern": pattern, "examples": [example] })
            }
            Kind::Boolean => json!({ "type": "boolean" }),
            Kind::Integer(least, most) => integer(*least, *most),
            // Each part of the pattern is optional; the length refuses the empty text.
            Kind::Duration => json!({ "type": "string", "pattern": DURATION, "minLength": 2 }),
            Kind::DurationOrInfinity => {
                json!({ "type": "string", "pattern": DURATION_OR_INFINITY, "minLength": 2 })
            }
            Kind::Word(words) => one_of(words()),
            Kind::ExitCodes => json!({ "type": "array", "items": integer(0, 255), "minItems": 1 }),
            Kind::Variables => json!({
                "type": "object",
                "propertyNames": { "pattern": "^[^=]+$" },
                "additionalProperties": { "type": "string" },
            }),
            Kind::Command => self.defined("Command", |_| command()),
            Kind::Restarts => self.defined("Restarts", |_| restarts()),
            Kind::After => self.defined("After", |_| after(&one_of(words::<Condition>()))),
            Kind::Children => json!({
                "type": "object",
                "propertyNames": { "pattern": NAME },
                "additionalProperties": { "$ref": "#/$defs/Child" },
                "minProperties": 1,
            }),
            Kind::Table(keys) => self.reference(keys),
            Kind::TableOrFalse(keys) => {
                let table = self.reference(keys);
                json!({ "anyOf": [table, { "type": "boolean", "const": false, "description": "None." }] })
            }
        }
    }
}

/// Returns the schema of a closed list of words, each with its meaning.
fn one_of(words: Vec<(&str, &str)>) -> Value {
    let choice = |(word, meaning): (&str, &str)| match meaning {
        "" => json!({ "const": word }),
        _ => json!({ "const": word, "description": meaning }),
    };
    json!({ "type": "string", "oneOf": words.into_iter().map(choice).collect::<Vec<_>>() })
}

fn integer(least: u64, most: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

fn command() -> Value {
    json!({
        "description": "A command.",
        "anyOf": [
            {
                "type": "string",
                "minLength": 1,
                "description": "A string that is split into words as a shell would; no shell runs.",
            },
            {
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
                "description": "The program and its arguments.",
            },
        ],
    })
}

fn restarts() -> Value {
    let mut count = integer(0, MAX_RESTARTS);
    count["description"] = json!("A number.");
    let unlimited = json!({ "type": "string", "const": "unlimited", "description": "No limit." });
    json!({ "description": "How many restarts.", "anyOf": [count, unlimited] })
}

fn after(condition: &Value) -> Value {
    json!({
        "description": "Siblings to wait for.",
        "anyOf": [
            {
                "type": "object",
                "additionalProperties": condition,
                "description": "What each of them must have reached.",
            },
            {
                "type": "array",
                "items": { "type": "string" },
                "description": "Siblings that must be ready.",
            },
        ],
    })
}
