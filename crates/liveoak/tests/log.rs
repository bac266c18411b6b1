//! `liveoak::log::init`: alone in its process, because a log subscriber is set once.

use liveoak::log::{Format, InitError, Level, init};

#[test]
fn init_installs_one_subscriber_and_a_second_call_is_an_error_that_changes_nothing() {
    init(Format::Json, Level::Off).expect("there is no subscriber yet");
    for format in [Format::Pretty, Format::Compact, Format::Json] {
        let error = init(format, Level::Trace).expect_err("there is one");
        assert_eq!(error, InitError::SubscriberExists);
        assert!(error.to_string().contains("has a log subscriber already"));
    }
}
