//! `openapi.json` is what the route table and the types say. Renew it with `UPDATE_EXPECT=1`.

use expect_test::expect_file;
use liveoak_api::openapi::document;

#[test]
fn the_checked_in_document_is_made_of_the_route_table_and_the_types() {
    let text = format!("{:#}\n", document());
    expect_file!["../openapi.json"].assert_eq(&text);
}

#[test]
fn every_reference_of_the_document_leads_to_a_schema() {
    let document = document();
    let text = document.to_string();
    let mut seen = 0;
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name} has no schema");
        seen += 1;
    }
    assert!(seen > 20, "only {seen} references");
}
