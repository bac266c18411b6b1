//! The type of a key, and the types of values. A type of values is a function that returns its JSON Schema.

use crate::other_words::OtherWords;
use liveoak_core::{
    AutoShutdown, Condition, Criticality, FirstStart, GiveUp, Jitter, Limit, MAX_TAG_BYTES, MAX_TAGS, Order,
    Restart, Role, Strategy,
};
use liveoak_process::{Ask, Signal, Stdin};
use serde_json::{Map, Value, json};

/// The largest number of `restarts` that is not `"unlimited"`.
pub(crate) const MAX_RESTARTS: u64 = Limit::MAX_RESTARTS as u64;

/// The characters of a name.
pub(crate) const NAME: &str = "^[A-Za-z0-9_-]{1,64}$";
/// A duration: whole numbers with units, the longest unit first. All parts are optional, so `minLength` excludes the
/// empty text.
const DURATION: &str = "([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?";

/// The keys of one table.
pub(crate) struct Keys {
    /// The description of the table, for editors.
    pub(crate) about: &'static str,
    /// The keys, in the order in which messages list them.
    pub(crate) lists: &'static [&'static [Key]],
    /// The keys that must be given.
    pub(crate) required: &'static [&'static str],
    /// The keys of which exactly one must be given.
    pub(crate) one_of: &'static [&'static str],
    /// The words of other tools for these keys.
    pub(crate) others: &'static [&'static [OtherWords]],
}

/// One key.
pub(crate) struct Key {
    /// The key itself.
    pub(crate) name: &'static str,
    /// Returns the JSON Schema of its type.
    pub(crate) schema: fn() -> Value,
    /// Its description, for editors.
    pub(crate) about: &'static str,
    /// Returns the default, if it is a fixed value.
    pub(crate) default: Option<fn() -> Value>,
}

/// A type whose values each have one word in the file.
pub(crate) trait Word: Copy + 'static {
    /// Every value, in the order in which messages list them.
    const ALL: &'static [Self];
    /// Returns the word of the value.
    fn word(self) -> &'static str;
    /// Returns what the value means; empty if the word is enough.
    fn meaning(self) -> &'static str {
        ""
    }
}

/// Takes the words of the file from the enums themselves.
macro_rules! words_of {
    ($($name:ident)+) => {$(
        impl Word for $name {
            const ALL: &'static [Self] = $name::ALL;

            fn word(self) -> &'static str {
                self.as_str()
            }

            fn meaning(self) -> &'static str {
                self.description()
            }
        }
    )+};
}

words_of! { Restart Strategy Order FirstStart AutoShutdown GiveUp Jitter Condition Role Criticality Ask Stdin }

impl Word for Signal {
    const ALL: &'static [Self] = Signal::STOP_SIGNALS;

    fn word(self) -> &'static str {
        self.name().unwrap_or_default()
    }
}

impl Keys {
    /// Returns every key of the table.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Key> {
        self.lists.iter().copied().flatten()
    }

    /// Returns the name of every key.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.all().map(|key| key.name).collect()
    }

    /// Returns `true` if the table has the key.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all().any(|key| key.name == name)
    }
}

pub(crate) fn table_schema(keys: &Keys) -> Value {
    let mut properties = Map::new();
    for key in keys.all() {
        let mut property = (key.schema)();
        property["description"] = json!(key.about);
        if let Some(default) = key.default {
            property["default"] = default();
        }
        properties.insert(key.name.to_owned(), property);
    }
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

/// Returns the schema of one check, or of an array of them.
pub(crate) fn checks_schema(keys: &Keys) -> Value {
    let several = json!({ "type": "array", "items": table_schema(keys), "minItems": 1 });
    json!({ "anyOf": [table_schema(keys), several] })
}

pub(crate) fn children_schema() -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": NAME },
        "additionalProperties": { "$ref": "#/$defs/Child" },
        "minProperties": 1,
    })
}

pub(crate) fn modes_schema(mode: &Keys) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": NAME },
        "additionalProperties": table_schema(mode),
    })
}

pub(crate) fn text_schema() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

pub(crate) fn text_like_schema(example: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "examples": [example] })
}

pub(crate) fn pattern_schema(pattern: &str, example: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "examples": [example] })
}

pub(crate) fn integer_schema(least: u64, most: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

pub(crate) fn duration_schema() -> Value {
    json!({ "type": "string", "pattern": format!("^{DURATION}$"), "minLength": 2 })
}

pub(crate) fn duration_or_infinity_schema() -> Value {
    json!({ "type": "string", "pattern": format!("^(infinity|{DURATION})$"), "minLength": 2 })
}

/// Returns the schema of a closed list of words, each with its meaning.
pub(crate) fn words_schema<W: Word>() -> Value {
    let choice = |value: &W| match value.meaning() {
        "" => json!({ "const": value.word() }),
        meaning => json!({ "const": value.word(), "description": meaning }),
    };
    json!({ "type": "string", "oneOf": W::ALL.iter().map(choice).collect::<Vec<_>>() })
}

pub(crate) fn variables_schema() -> Value {
    let names = json!({ "pattern": "^[^=]+$" });
    json!({ "type": "object", "propertyNames": names, "additionalProperties": { "type": "string" } })
}

pub(crate) fn command_schema() -> Value {
    let line = "A string that is split into words as a shell would; no shell runs.";
    let words = "The program and its arguments.";
    json!({ "anyOf": [
        { "type": "string", "minLength": 1, "description": line },
        { "type": "array", "items": { "type": "string" }, "minItems": 1, "description": words },
    ]})
}

pub(crate) fn tags_schema() -> Value {
    json!({
        "type": "array",
        "items": { "type": "string", "minLength": 1, "maxLength": MAX_TAG_BYTES, "pattern": "^[^\\s,]+$" },
        "maxItems": MAX_TAGS,
        "uniqueItems": true,
    })
}

pub(crate) fn restarts_schema() -> Value {
    json!({ "anyOf": [integer_schema(0, MAX_RESTARTS), { "const": "unlimited", "description": "No limit." }] })
}

/// Returns the schema of `needs`: names, or names with a grace.
pub(crate) fn needs_schema(need: &Keys) -> Value {
    let of_need = table_schema(need);
    json!({ "anyOf": [
        { "type": "object", "additionalProperties": of_need, "description": "The siblings, each with its grace." },
        { "type": "array", "items": { "type": "string" }, "description": "Siblings with the default grace." },
    ]})
}

pub(crate) fn after_schema() -> Value {
    let conditions = "The siblings, each with the condition that it must meet.";
    let ready = "Siblings that must be ready.";
    json!({ "anyOf": [
        { "type": "object", "additionalProperties": words_schema::<Condition>(), "description": conditions },
        { "type": "array", "items": { "type": "string" }, "description": ready },
    ]})
}
