//! `liveoak schema`: the JSON Schema of `liveoak.toml`, for editors that complete keys and underline slips.
//!
//! The schema is derived from [`types`], whose doc comments are the help that editors show. It tells what a file may
//! look like; what only the whole file tells (dependencies, circles, clashing keys) is left to `liveoak check`.

mod types;

use std::io;
use std::process::ExitCode;

use serde_json::Value;

use crate::output;

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn run() -> io::Result<ExitCode> {
    output::stdout(&format!("{:#}\n", schema()))?;
    Ok(ExitCode::SUCCESS)
}

/// The schema as a JSON document.
fn schema() -> Value {
    let mut schema = schemars::schema_for!(types::File).to_value();
    tidy(&mut schema);
    schema
}

/// Takes `null` out of every type (TOML has none, an optional key is left out instead), and line breaks out of texts.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    object["type"] = only.clone();
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
                if choices.len() == 1
                    && let Some(Value::Object(only)) = choices.pop()
                {
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
            if let Some(Value::String(description)) = object.get_mut("description") {
                // Doc comments are wrapped for the source; editors wrap them anew.
                *description = description.replace('\n', " ");
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
