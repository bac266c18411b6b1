//! Makes `openapi.json`: the route table and the schemas of the types as OpenAPI 3.1.

use crate::{Answer, CODES, EVENT_KINDS, Problem, ROUTES, Route, WaitFor};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The most characters of a pattern of paths.
const MAX_PATTERN: usize = crate::MAX_PATTERN;

/// What a pattern of paths looks like: names between slashes, each `**`, or without two `*` beside each other.
pub const PATTERN: &str = r"^/?(\*\*|(\*?(\\[^/]|[^*/\\]))+\*?|\*)(/(\*\*|(\*?(\\[^/]|[^*/\\]))+\*?|\*))*$";

/// Returns the OpenAPI document.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let method = route.method.as_str().to_ascii_lowercase();
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        entry[method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Liveoak control interface",
            "version": "1",
            "description": "See and steer a running tree. Moments are RFC 3339 in UTC with milliseconds; lengths of time are \
                seconds, in fields that end in `_s`. Unknown fields in a body are refused; unknown fields in an answer are to \
                be ignored. `x-liveoak-effects` says what a route may do to the world.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "cookie": {
                    "type": "apiKey", "in": "cookie", "name": "liveoak-PORT",
                    "description": "The cookie that a one-time address sets; PORT is the port of the tree, because browsers \
                        do not tell ports apart. A POST with it needs an `Origin` that is the address itself.",
                },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters = Vec::new();
    if route.path.contains("{path}") {
        parameters.push(json!({
            "name": "path", "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 },
            "description": "The path of a child, without the name of the tree. Slashes may be written as `%2F`.",
        }));
    }
    for parameter in route.parameters {
        parameters.push(json!({
            "name": parameter.name, "in": "query", "schema": parameter_schema(parameter.kind),
            "description": parameter.about,
        }));
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "x-liveoak-effects": route.impacts.iter().map(|impact| impact.as_str()).collect::<Vec<_>>(),
        "parameters": parameters,
        "responses": responses(route),
        "security": if route.open { json!([]) } else { json!([{ "bearer": [] }, { "cookie": [] }]) },
    });
    if let Some(body) = route.body {
        operation["requestBody"] = json!({
            // The end of the tree needs no reason.
            "required": body != "DownRequest",
            "content": { "application/json": { "schema": reference(body) } },
        });
    }
    operation
}

/// Returns the schema of a parameter: exactly what the server accepts, as far as a schema can say it.
fn parameter_schema(kind: &str) -> Value {
    match kind {
        "number" | "integer" => json!({ "type": kind, "minimum": 0 }),
        "pattern" => json!({ "type": "string", "maxLength": MAX_PATTERN, "pattern": PATTERN }),
        "kinds" => {
            let kinds = EVENT_KINDS.join("|");
            json!({ "type": "string", "pattern": format!("^(({kinds})(,({kinds}))*)?$") })
        }
        "moment" => json!({ "type": "string", "anyOf": [
            { "format": "date-time", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$" },
            { "pattern": "^([0-9]{1,4}(ms|s|m|h|d))+$" },
        ] }),
        "wait-for" => json!({ "type": "string", "enum": WaitFor::ALL.map(WaitFor::as_str) }),
        kind => json!({ "type": kind }),
    }
}

fn operation_id(route: &Route) -> String {
    let words =
        route.path.split(['/', '.']).filter(|word| !word.is_empty() && *word != "v1" && *word != "commands");
    let word = |word: &str| if word == "{path}" { "one".to_owned() } else { word.to_owned() };
    words.map(word).collect::<Vec<_>>().join("-")
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn responses(route: &Route) -> Value {
    let content = match route.answer {
        Answer::One(name) => json!({ "application/json": { "schema": reference(name) } }),
        Answer::List(name) => {
            json!({ "application/json": { "schema": { "type": "array", "items": reference(name) } } })
        }
        Answer::ListOrPlan(name, plan) => json!({
            "application/json": {
                "schema": { "type": "array", "items": { "anyOf": [reference(name), reference(plan)] } },
            },
        }),
        Answer::Stream(name) => json!({
            "text/event-stream": {
                // OpenAPI 3.2 has this key for each event of a stream; earlier readers ignore it.
                "itemSchema": {
                    "type": "object",
                    "required": ["id", "data"],
                    "properties": {
                        "id": { "type": "string", "pattern": "^[0-9]+-[0-9]+$" },
                        "data": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": reference(name),
                        },
                    },
                },
            },
        }),
        Answer::Text => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Answer::Document => json!({ "application/json": { "schema": { "type": "object" } } }),
        Answer::Redirect => Value::Null,
    };
    let mut responses = Map::new();
    if route.answer == Answer::Redirect {
        let location = json!({ "Location": { "schema": { "type": "string" } } });
        responses.insert("303".to_owned(), json!({ "description": "The tree.", "headers": location }));
    } else {
        responses.insert("200".to_owned(), json!({ "description": "Done.", "content": content }));
    }
    if route.answer == Answer::Text && route.open {
        let text = json!({ "text/plain": { "schema": { "type": "string" } } });
        responses.insert("503".to_owned(), json!({ "description": "Not so.", "content": text }));
    }
    for code in problems_of(route) {
        let Some((_, status, title)) = CODES.iter().find(|(known, ..)| *known == code) else { continue };
        let entry = responses.entry(status.to_string()).or_insert_with(|| {
            json!({
                "description": "",
                "content": { "application/problem+json": { "schema": reference("Problem") } },
            })
        });
        let before = entry["description"].as_str().unwrap_or_default();
        let stop = if before.is_empty() { "" } else { " " };
        entry["description"] = json!(format!("{before}{stop}`{code}`: {title}."));
    }
    Value::Object(responses)
}

/// Returns the problem codes of a route, including those that every route may answer.
fn problems_of(route: &Route) -> impl Iterator<Item = &'static str> {
    const ALWAYS: &[&str] = &[
        "bad-request",
        "foreign-origin",
        "foreign-host",
        "foreign-user",
        "method-not-allowed",
        "too-slow",
        "head-too-large",
        "too-many-requests",
        "too-many-connections",
    ];
    const WITH_BODY: &[&str] = &["too-large", "wrong-type"];
    let token: &[&str] = if route.open { &[] } else { &["unauthorized"] };
    let body = if route.body.is_some() { WITH_BODY } else { &[] };
    ALWAYS.iter().chain(token).chain(body).chain(route.problems).copied()
}

/// Returns the schemas of all types.
fn schemas() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    add::<crate::Tree>(&mut generator);
    add::<crate::Status>(&mut generator);
    add::<crate::Child>(&mut generator);
    add::<crate::Explanation>(&mut generator);
    add::<crate::Finding>(&mut generator);
    add::<crate::CheckAnswer>(&mut generator);
    add::<crate::Waited>(&mut generator);
    add::<crate::Event>(&mut generator);
    add::<crate::OutputLine>(&mut generator);
    add::<crate::Crash>(&mut generator);
    add::<crate::Report>(&mut generator);
    add::<crate::Login>(&mut generator);
    add::<crate::CommandRequest>(&mut generator);
    add::<crate::CommandResult>(&mut generator);
    add::<crate::ModeRequest>(&mut generator);
    add::<crate::DownRequest>(&mut generator);
    add::<crate::ApplyRequest>(&mut generator);
    add::<crate::ScaleRequest>(&mut generator);
    add::<crate::StepOutcome>(&mut generator);
    add::<crate::Planned>(&mut generator);
    add::<Problem>(&mut generator);
    Value::Object(generator.take_definitions(true).into_iter().collect())
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    let _ = generator.subschema_for::<T>();
}
