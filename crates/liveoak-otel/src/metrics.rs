//! The metrics: those of `/metrics`, under the same names.

use liveoak_api::convert::{Counters, Family, Sample, families};
use liveoak_runtime::TreeHandle;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the observer counts, for the threads of the SDK.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) of_tree: Counters,
    pub(crate) events_lost: AtomicU64,
    pub(crate) spans_dropped: AtomicU64,
    pub(crate) records_dropped: AtomicU64,
}

/// The metrics of one look at the tree. Each instrument takes its own; the first that finds none takes another look, so
/// the metrics that are sent together belong to one snapshot.
struct Look {
    tree: TreeHandle,
    counted: Arc<Counted>,
    families: Mutex<Vec<Option<Family>>>,
}

impl Look {
    fn now(&self) -> Vec<Family> {
        let lost = self.counted.events_lost.load(Ordering::Relaxed);
        families(&self.tree.snapshot(), &self.counted.of_tree, lost)
    }

    fn take(&self, nth: usize) -> Vec<Sample> {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        if families.get(nth).is_none_or(Option::is_none) {
            *families = self.now().into_iter().map(Some).collect();
        }
        families.get_mut(nth).and_then(Option::take).map(|family| family.samples).unwrap_or_default()
    }
}

/// Registers the instruments. They live as long as the provider of the meter.
pub(crate) fn register(meter: &Meter, tree: &TreeHandle, counted: &Arc<Counted>) {
    let look =
        Arc::new(Look { tree: tree.clone(), counted: Arc::clone(counted), families: Mutex::default() });
    for (nth, family) in look.now().into_iter().enumerate() {
        let look = Arc::clone(&look);
        let observe = move |instrument: &dyn AsyncInstrument<f64>| {
            for sample in look.take(nth) {
                let labels = sample.labels.into_iter().map(|(label, text)| KeyValue::new(label, text));
                instrument.observe(sample.value, &labels.collect::<Vec<_>>());
            }
        };
        let unit = if family.name.ends_with("_seconds") { "s" } else { "1" };
        if family.is_counter {
            let counter = meter.f64_observable_counter(family.name);
            counter.with_description(family.about).with_unit(unit).with_callback(observe).build();
        } else {
            let gauge = meter.f64_observable_gauge(family.name);
            gauge.with_description(family.about).with_unit(unit).with_callback(observe).build();
        }
    }
    let counted = Arc::clone(counted);
    let dropped = meter.u64_observable_counter("liveoak_telemetry_dropped_total");
    let dropped = dropped.with_description("Spans and log records that came faster than they may be sent.");
    let observe = move |instrument: &dyn AsyncInstrument<u64>| {
        for (signal, count) in [("span", &counted.spans_dropped), ("log", &counted.records_dropped)] {
            instrument.observe(count.load(Ordering::Relaxed), &[KeyValue::new("signal", signal)]);
        }
    };
    dropped.with_unit("1").with_callback(observe).build();
}
