//! The schema accepts what the reader accepts, refuses typing errors, and its defaults are those of the reader.

use std::path::Path;

use serde_json::{Value, json};

use super::read_text;
use crate::keys::{
    BACKOFF, DEFAULTS, KIND, LIMIT, MODE, OUTPUT, PROGRAM, PROGRAM_STOP, READY, ROOT, SUPERVISOR,
};
use crate::schema;
use crate::types::Keys;

const EXAMPLE: &str = include_str!("../../../liveoak-cli/tests/good/example.toml");

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&schema()).expect("the schema is a schema")
}

fn as_json(toml: &str) -> Value {
    let table: toml::Table = toml::from_str(toml).expect("the test's TOML");
    serde_json::to_value(table).expect("TOML fits into JSON")
}

#[test]
fn the_schema_is_valid_json_schema() {
    assert!(jsonschema::meta::is_valid(&schema()));
}

#[test]
fn the_schema_and_the_reader_accept_every_good_example() {
    let validator = validator();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../liveoak-cli/tests/good");
    for entry in std::fs::read_dir(&folder).expect("the folder of good examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("an example");
        let errors: Vec<String> = validator.iter_errors(&as_json(&text)).map(|e| e.to_string()).collect();
        assert_eq!(errors, [""; 0], "{}", path.display());
        if let Err(report) = read_text(&folder, &text) {
            panic!("{}: {:#?}", path.display(), report.diagnostics);
        }
    }
}

#[test]
fn the_schema_and_the_reader_refuse_the_same_errors() {
    let validator = validator();
    let child = |line: &str| format!("[child.a]\ncommand = \"x\"\n{line}\n[child.b]\ncommand = \"x\"");
    let bad = [
        String::new(),
        "[child]".to_owned(),
        "nmae = \"x\"\n[child.a]\ncommand = \"x\"".to_owned(),
        "stop = { signal = \"SIGINT\" }\n[child.a]\ncommand = \"x\"".to_owned(),
        "strategy = \"one\"\n[child.a]\ncommand = \"x\"".to_owned(),
        "[child.a]".to_owned(),
        "[child.a]\nshell = \"x\"\ncommand = \"x\"".to_owned(),
        "[child.\"a.b\"]\ncommand = \"x\"".to_owned(),
        "[child.a]\nready = { delay = \"1s\" }\n[child.a.child.b]\ncommand = \"x\"".to_owned(),
        child("restrat = \"permanent\""),
        child("restart = true"),
        child("strategy = \"one-for-one\""),
        child("stop = { within = 5 }"),
        child("stop = { within = \"5\" }"),
        child("stop = { within = \"\" }"),
        child("stop = { signal = \"INT\" }"),
        child("success = [256]"),
        child("success = []"),
        child("output = true"),
        child("output = { merge = \"yes\" }"),
        child("output = { marge = true }"),
        child("replicas = 0"),
        child("replicas = 1025"),
        child("backoff = true"),
        child("backoff = { form = \"1s\" }"),
        child("limit = { period = \"1s\" }"),
        child("limit = { restarts = \"many\", period = \"1s\" }"),
        child("limit = { restarts = 65537, period = \"1s\" }"),
        child("ready = {}"),
        child("ready = { tcp = \"localhost\" }"),
        child("ready = { http = \"https://localhost\" }"),
        child("ready = { tcp = 8080 }"),
        child("ready = { tcp = \"a:80\", every = 5 }"),
        child("ready = { tcp = \"a:80\", timeout = \"5\" }"),
        child("stdin = \"tty\""),
        child("ready = { file = \"a\", unix = \"b\" }"),
        child("after = \"b\""),
        child("after = { b = \"raedy\" }"),
        "[child.a]\nkind = \"motor\"\ncommand = \"x\"".to_owned(),
        "[child.a]\nkind = \"motor\"\ncwd = \"x\"".to_owned(),
        "[child.a]\nkind = \"motor\"\nargs = 3".to_owned(),
        "[child.a]\nkind = \"motor\"\nstop = { signal = \"SIGINT\" }".to_owned(),
        "[child.a]\nargs = {}".to_owned(),
        child("args = {}"),
        child("env = { A = 1 }"),
        child("env = { \"A=B\" = \"1\" }"),
    ];
    for text in bad {
        assert!(!validator.is_valid(&as_json(&text)), "the schema accepts:\n{text}");
        assert!(read_text(Path::new("/nowhere"), &text).is_err(), "the reader accepts:\n{text}");
    }
}

#[test]
fn the_schema_accepts_what_a_program_with_kinds_accepts() {
    let text = "[child.a]\nkind = \"camera\"\nargs = { device = \"x{replica}\", crops = [] }\nreplicas = 2\n\
                restart = \"transient\"\nstop = { within = \"infinity\" }";
    assert!(validator().is_valid(&as_json(text)));
    let _ = super::kinds::read_with_kinds(text);
}

#[test]
fn every_table_of_the_schema_refuses_other_keys() {
    fn walk(value: &Value, tables: &mut usize) {
        if value.get("properties").is_some() {
            assert_eq!(value["additionalProperties"], json!(false), "{value}");
            *tables += 1;
        }
        let inner: Vec<&Value> = match value {
            Value::Object(object) => object.values().collect(),
            Value::Array(items) => items.iter().collect(),
            _ => Vec::new(),
        };
        inner.into_iter().for_each(|value| walk(value, tables));
    }
    let mut tables = 0;
    walk(&schema(), &mut tables);
    assert!(tables > 8, "only {tables} tables");
}

#[test]
fn every_key_of_the_schema_has_a_description() {
    fn walk(value: &Value, path: &str) {
        for (key, property) in value["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].as_str().is_some_and(|text| !text.is_empty()), "{path}.{key}");
        }
        if let Value::Object(object) = value {
            object.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}")));
        }
    }
    walk(&schema(), "");
}

#[test]
fn every_key_is_documented() {
    let page = include_str!("../../../../docs/liveoak-toml.md");
    for key in [
        &ROOT,
        &PROGRAM,
        &SUPERVISOR,
        &KIND,
        &LIMIT,
        &BACKOFF,
        &READY,
        &PROGRAM_STOP,
        &OUTPUT,
        &DEFAULTS,
        &MODE,
    ]
    .map(Keys::names)
    .concat()
    {
        assert!(page.contains(&format!("`{key}`")), "docs/liveoak-toml.md does not describe `{key}`");
    }
    assert!(
        page.contains(EXAMPLE.trim()),
        "docs/liveoak-toml.md does not show tests/good/example.toml as it is"
    );
}

#[test]
fn a_file_with_all_defaults_written_out_means_the_same() {
    let short = "name = \"t\"\n[child.a]\ncommand = \"x\"\nready = { tcp = \"h:1\" }\n";
    let mut long = as_json(short);
    let schema = schema();
    let program = &schema["$defs"]["Program"];
    for (table, definition) in [("", &schema), ("/child/a", program)] {
        fill(long.pointer_mut(table).expect("a table"), definition);
    }
    fill(long.pointer_mut("/child/a/ready").expect("a table"), &program["properties"]["ready"]);
    long["child"]["a"]["backoff"] = json!({});
    let backoff = &program["properties"]["backoff"]["anyOf"][0];
    assert_eq!(backoff["properties"]["to"]["default"], "30s");
    fill(&mut long["child"]["a"]["backoff"], backoff);
    let long = toml::to_string(&long).expect("TOML");
    let folder = Path::new("/nowhere");
    let mut read = [short, &long].map(|text| read_text(folder, text).expect("a good file"));
    read.iter_mut().flat_map(|config| &mut config.root.children).for_each(|child| child.line = 0);
    assert_eq!(read[0], read[1], "{long}");
}

/// Adds the schema's default of every key that is missing.
fn fill(table: &mut Value, definition: &Value) {
    for (key, property) in definition["properties"].as_object().into_iter().flatten() {
        if let (None, Some(default)) = (table.get(key), property.get("default")) {
            table[key] = default.clone();
        }
    }
}
