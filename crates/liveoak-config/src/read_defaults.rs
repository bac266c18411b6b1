//! Reads the `[defaults]` of the file and of a supervisor.

use crate::defaults::Defaults;
use crate::keys::{DEFAULTS, OUTPUT, PROGRAM_STOP};
use crate::reader::Reader;
use crate::table::{Node, Table};
use liveoak_core::{Backoff, ChildSpec};

impl Reader<'_> {
    /// Reads the `[defaults]` of a supervisor. Returns them, merged with the defaults of the supervisors above.
    pub(crate) fn merged_defaults(&mut self, supervisor: &Table<'_>) -> Defaults {
        let mut defaults = self.defaults;
        let example = "[defaults] and below it restart = \"transient\"";
        let table =
            supervisor.get("defaults").and_then(|node| self.table_of(node, "`defaults`", &DEFAULTS, example));
        let Some(table) = table else { return defaults };
        let specs = &mut defaults.of_specs;
        specs.restart = self.value(&table, "restart", Node::word).or(specs.restart);
        if let Some(node) = table.get("backoff") {
            specs.backoff = self.default_backoff(node).or(specs.backoff);
        }
        specs.limit = table.get("limit").and_then(|node| self.limit(node)).or(specs.limit);
        let start_within =
            self.value(&table, "start_within", |node| node.positive("a start always takes some time"));
        specs.start_within = start_within.or(specs.start_within);
        self.default_stop(&table, &mut defaults);
        let output = table.get("output");
        let output =
            output.and_then(|node| self.table_of(node, "`output`", &OUTPUT, "output = { merge = true }"));
        let merge = output.and_then(|table| self.value(&table, "merge", |node| node.boolean("merge = true")));
        defaults.merge_output = merge.or(defaults.merge_output);
        defaults
    }

    /// Reads the `backoff` of a `[defaults]`. Otherwise an error would be shown at each child, which has no such key.
    fn default_backoff(&mut self, node: &Node<'_>) -> Option<Option<Backoff>> {
        let backoff = self.backoff(node);
        if backoff.is_some_and(|backoff| backoff.from > backoff.to) {
            let error = node.error("`to` is less than `from`").expected("`from` not above `to`");
            self.problems.push(error);
            return None;
        }
        Some(backoff)
    }

    /// Reads the `stop` of a `[defaults]`, key by key.
    fn default_stop(&mut self, table: &Table<'_>, defaults: &mut Defaults) {
        let example = "stop = { signal = \"SIGINT\", within = \"5s\" }";
        let stop = table.get("stop").and_then(|node| self.table_of(node, "`stop`", &PROGRAM_STOP, example));
        let Some(stop) = stop else { return };
        let mut spec = ChildSpec::default();
        self.kill_wait(&stop, &mut spec);
        let specs = &mut defaults.of_specs;
        specs.kill_wait = stop.get("kill_wait").map(|_| spec.kill_wait).or(specs.kill_wait);
        let unready_for = self.value(&stop, "unready_for", Node::finite);
        specs.unready_for = unready_for.or(specs.unready_for);
        let within = self.value(&stop, "within", |node| node.duration(None));
        specs.stop_within = within.or(specs.stop_within);
        defaults.stop_signal = self.value(&stop, "signal", Node::word).or(defaults.stop_signal);
        defaults.stop_ask = self.value(&stop, "ask", Node::word).or(defaults.stop_ask);
    }
}
