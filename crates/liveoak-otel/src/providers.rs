//! The parts of the OpenTelemetry SDK that send: one provider for each signal.

use crate::client::Client;
use crate::error::OtelError;
use crate::limits::MAX_LABELLED;
use crate::otel::Otel;
use crate::settings::Settings;
use liveoak_runtime::Path;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig as _,
    WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::{Instrument, PeriodicReader, SdkMeterProvider, Stream};
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::sync::Arc;
use std::time::Duration;

/// The providers of the signals that are sent.
#[derive(Debug)]
pub(crate) struct Providers {
    pub(crate) tracer: Option<SdkTracerProvider>,
    pub(crate) meter: Option<SdkMeterProvider>,
    pub(crate) logger: Option<SdkLoggerProvider>,
}

impl Providers {
    /// Makes the providers of the tree with this root.
    ///
    /// # Errors
    /// When the exporter refuses its settings.
    pub(crate) fn new(otel: &Otel, settings: &Settings, root: &Path) -> Result<Self, OtelError> {
        let resource = resource(otel, settings, root);
        let client = Arc::new(Client::new(settings.timeout));
        let failed = |error: ExporterBuildError| OtelError::Exporter(error.to_string());
        let spans = |address: &String| {
            let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
            exporter.with_endpoint(address).with_shared_http_client(client.clone()).build().map_err(failed)
        };
        let metrics = |address: &String| {
            let exporter = MetricExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
            exporter.with_endpoint(address).with_shared_http_client(client.clone()).build().map_err(failed)
        };
        let logs = |address: &String| {
            let exporter = LogExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
            exporter.with_endpoint(address).with_shared_http_client(client.clone()).build().map_err(failed)
        };
        let spans = settings.traces.as_ref().map(spans).transpose()?;
        let metrics = settings.metrics.as_ref().map(metrics).transpose()?;
        let logs = settings.logs.as_ref().map(logs).transpose()?;
        Ok(Self {
            tracer: spans.map(|exporter| {
                let provider = SdkTracerProvider::builder().with_resource(resource.clone());
                provider.with_batch_exporter(exporter).build()
            }),
            meter: metrics.map(|exporter| meter(exporter, otel.every, resource.clone())),
            logger: logs.map(|exporter| {
                let provider = SdkLoggerProvider::builder().with_resource(resource.clone());
                provider.with_batch_exporter(exporter).build()
            }),
        })
    }

    /// Sends what is left, and ends the threads of the SDK. Each signal on a thread of its own, so that one that hangs does not
    /// keep the others. Waits until they have ended; the caller need not.
    pub(crate) fn end(self, within: Duration) {
        let Self { tracer, meter, logger } = self;
        // What was not sent in time is lost, and the client has said why.
        std::thread::scope(|scope| {
            scope.spawn(move || tracer.map(|tracer| tracer.shutdown_with_timeout(within)));
            scope.spawn(move || meter.map(|meter| meter.shutdown_with_timeout(within)));
            scope.spawn(move || logger.map(|logger| logger.shutdown_with_timeout(within)));
        });
    }
}

fn resource(otel: &Otel, settings: &Settings, root: &Path) -> Resource {
    let mut resource = Resource::builder().with_attributes([
        KeyValue::new("process.pid", i64::from(std::process::id())),
        KeyValue::new("liveoak.tree", root.name().to_owned()),
    ]);
    if let Some(service) = &settings.service {
        resource = resource.with_service_name(service.clone());
    }
    let own = otel.attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    resource.with_attributes(own).build()
}

fn meter(exporter: MetricExporter, every: Option<Duration>, resource: Resource) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(exporter);
    let reader = match every {
        Some(every) => reader.with_interval(every),
        None => reader,
    };
    let view = |_: &Instrument| Stream::builder().with_cardinality_limit(MAX_LABELLED).build().ok();
    SdkMeterProvider::builder().with_reader(reader.build()).with_view(view).with_resource(resource).build()
}
