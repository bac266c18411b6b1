//! Where each signal is sent: from the program, the standard variables, and the defaults, in this order.

use crate::error::OtelError;
use crate::otel::Otel;
use std::time::Duration;

/// Where a collector on the same machine listens.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";

/// How long one request may take.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the signals of a tree are sent. A signal without an address is not sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) traces: Option<String>,
    pub(crate) metrics: Option<String>,
    pub(crate) logs: Option<String>,
    pub(crate) timeout: Duration,
    /// The name of the service, unless a variable has it.
    pub(crate) service: Option<String>,
}

impl Settings {
    /// Returns the settings of the tree called `tree`, or `None` if `OTEL_SDK_DISABLED` says that nothing is sent. `variable`
    /// returns the value of a variable; an empty one counts as not set.
    ///
    /// # Errors
    /// When a setting cannot be followed.
    pub(crate) fn read(
        otel: &Otel,
        tree: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, OtelError> {
        let variable = |name: &str| {
            variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let address = |signal, wanted| address(otel, signal, wanted, &variable);
        Ok(Some(Self {
            traces: address("TRACES", otel.traces)?,
            metrics: address("METRICS", otel.metrics)?,
            logs: address("LOGS", otel.logs)?,
            timeout: timeout(&variable)?,
            service: service(otel, tree, &variable),
        }))
    }
}

/// Returns the address of a signal, or `None` if it is not sent.
fn address(
    otel: &Otel,
    signal: &str,
    wanted: bool,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Option<String>, OtelError> {
    let exporter = format!("OTEL_{signal}_EXPORTER");
    match variable(&exporter).as_deref() {
        _ if !wanted => return Ok(None),
        Some("none") => return Ok(None),
        None | Some("otlp") => {}
        Some(other) => {
            let problem = format!("{exporter} is {other:?}; it may be \"otlp\" or \"none\"");
            return Err(OtelError::Setting(problem));
        }
    }
    let of_signal = |key: &str| format!("OTEL_EXPORTER_OTLP_{signal}_{key}");
    let protocols = [of_signal("PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL".to_owned()];
    let protocol = protocols.into_iter().find_map(|name| variable(&name).map(|value| (name, value)));
    if let Some((name, value)) = protocol.filter(|(_, value)| value != "http/protobuf") {
        let problem = format!(
            "{name} is {value:?}; only \"http/protobuf\" is supported, for which collectors usually listen on port 4318"
        );
        return Err(OtelError::Setting(problem));
    }
    let whole = |base: &str| format!("{}/v1/{}", base.trim_end_matches('/'), signal.to_lowercase());
    let (from, address) = if let Some(base) = &otel.endpoint {
        ("the endpoint".to_owned(), whole(base))
    } else if let Some(address) = variable(&of_signal("ENDPOINT")) {
        (of_signal("ENDPOINT"), address)
    } else {
        let base = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        let base = base.unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), whole(&base))
    };
    if !address.starts_with("http://") {
        let problem = format!(
            "{from} leads to {address:?}; only addresses that begin with \"http://\" are supported. For TLS, send to a collector on this machine, which sends on"
        );
        return Err(OtelError::Setting(problem));
    }
    Ok(Some(address))
}

/// Returns how long one request may take.
fn timeout(variable: &impl Fn(&str) -> Option<String>) -> Result<Duration, OtelError> {
    let Some(value) = variable("OTEL_EXPORTER_OTLP_TIMEOUT") else { return Ok(DEFAULT_TIMEOUT) };
    match value.parse() {
        Ok(milliseconds @ 1..) => Ok(Duration::from_millis(milliseconds)),
        _ => {
            let problem =
                format!("OTEL_EXPORTER_OTLP_TIMEOUT is {value:?}; it is a number of milliseconds above 0");
            Err(OtelError::Setting(problem))
        }
    }
}

/// Returns the name of the service, unless the SDK takes it from a variable.
fn service(otel: &Otel, tree: &str, variable: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let of_attributes = variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|attributes| {
        attributes.split(',').any(|attribute| attribute.trim().starts_with("service.name="))
    });
    let is_set = of_attributes || variable("OTEL_SERVICE_NAME").is_some();
    otel.service_name.clone().or_else(|| (!is_set).then(|| tree.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(otel: &Otel, variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Settings::read(otel, "shop", variable).map_err(|error| error.to_string())
    }

    #[test]
    fn without_settings_a_collector_on_this_machine_gets_all_signals_under_the_name_of_the_tree() {
        let settings = read(&Otel::new(), &[]).unwrap().unwrap();
        assert_eq!(settings.traces.as_deref(), Some("http://localhost:4318/v1/traces"));
        assert_eq!(settings.metrics.as_deref(), Some("http://localhost:4318/v1/metrics"));
        assert_eq!(settings.logs.as_deref(), Some("http://localhost:4318/v1/logs"));
        assert_eq!(settings.timeout, Duration::from_secs(10));
        assert_eq!(settings.service.as_deref(), Some("shop"));
    }

    #[test]
    fn the_program_comes_before_the_variable_of_a_signal_which_comes_before_that_of_all() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:1/");
        let one = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://one:2/in");
        let settings = read(&Otel::new(), &[all, one]).unwrap().unwrap();
        assert_eq!(settings.traces.as_deref(), Some("http://all:1/v1/traces"));
        assert_eq!(settings.logs.as_deref(), Some("http://one:2/in"));
        let settings = read(&Otel::new().endpoint("http://own:3"), &[all, one]).unwrap().unwrap();
        assert_eq!(settings.logs.as_deref(), Some("http://own:3/v1/logs"));
    }

    #[test]
    fn what_is_turned_off_is_not_sent() {
        assert_eq!(read(&Otel::new(), &[("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        let settings = read(&Otel::new().without_logs(), &[("OTEL_TRACES_EXPORTER", "none")]);
        let settings = settings.unwrap().unwrap();
        assert!(settings.traces.is_none() && settings.logs.is_none() && settings.metrics.is_some());
    }

    #[test]
    fn a_setting_that_cannot_be_followed_is_refused_with_its_name() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ] {
            let refused = read(&Otel::new(), &[(name, value)]).unwrap_err();
            assert!(refused.contains(name) && refused.contains(value), "{refused}");
        }
    }

    #[test]
    fn a_service_name_of_a_variable_stays() {
        for variable in
            [("OTEL_SERVICE_NAME", "a"), ("OTEL_RESOURCE_ATTRIBUTES", "host.name=b, service.name=a")]
        {
            assert_eq!(read(&Otel::new(), &[variable]).unwrap().unwrap().service, None);
        }
        let named = read(&Otel::new().service_name("own"), &[("OTEL_SERVICE_NAME", "a")]);
        assert_eq!(named.unwrap().unwrap().service.as_deref(), Some("own"));
    }
}
