//! Reads the checks of a program: `readiness` and `liveness`.

use crate::keys::{LIVENESS, MAX_TRIES, READINESS};
use crate::reader::Reader;
use crate::table::{Node, Table};
use crate::text::one_of;
use crate::types::Keys;
use liveoak_core::{CheckKind, CheckSpec, ChildSpec, Name};
use liveoak_process::Probe;
use std::path::Path;
use std::time::Duration;

/// The kinds of checks: each with its key, its keys, and an example.
const KINDS: [(CheckKind, &Keys, &str); 2] = [
    (CheckKind::Readiness, &READINESS, "readiness = { tcp = \"127.0.0.1:7000\", every = \"2s\" }"),
    (CheckKind::Liveness, &LIVENESS, "liveness = { command = [\"./alive\"], every = \"10s\" }"),
];

impl Reader<'_> {
    /// Reads the checks of a program that runs in `cwd`. They go into `spec`; returns the probe of each.
    pub(crate) fn checks(&mut self, table: &Table<'_>, cwd: &Path, spec: &mut ChildSpec) -> Vec<Probe> {
        spec.checks = None;
        let mut probes = Vec::new();
        for (kind, keys, example) in KINDS {
            let Some(node) = table.get(kind.as_str()) else { continue };
            if node.elements().is_some_and(|elements| elements.is_empty()) {
                let error = node.error(format!("`{}` has no check", node.path));
                self.problems.push(
                    error.label("it is empty").expected(format!("one check or more, as in: {example}")),
                );
            }
            for node in node.elements().unwrap_or_else(|| vec![node.clone()]) {
                let Some(table) = self.table_of(&node, &format!("`{}`", kind.as_str()), keys, example) else {
                    continue;
                };
                let number = spec.checks().iter().filter(|check| check.kind == kind).count() + 1;
                let check = self.check(&table, kind, number);
                let probe = self.one_probe(&node, &table, keys, example, (cwd, Duration::MAX));
                if let (Some(check), Some(probe)) = (check, probe) {
                    probes.push(probe.timeout(check.timeout));
                    spec.add_check(check);
                }
            }
        }
        probes
    }

    /// Reads one check, without its probe. It is the check of its kind with this number.
    fn check(&mut self, table: &Table<'_>, kind: CheckKind, number: usize) -> Option<CheckSpec> {
        let word = kind.as_str();
        let default = if number == 1 { word.to_owned() } else { format!("{word}-{number}") };
        let mut spec = CheckSpec::new(Name::new(default).ok()?, kind);
        if let Some(node) = table.get("name")
            && let Some(text) = self.record(node.filled("name = \"database\""))
        {
            match Name::new(text) {
                Ok(name) => spec.name = name,
                Err(problem) => self.problems.push(node.error(problem.to_string())),
            }
        }
        let why = "without any pause, the tries would need a whole processor";
        let every = self.value(table, "every", |node| node.positive(why));
        let timeout = self.value(table, "timeout", |node| node.positive("a try always takes some time"));
        let failures = self.value(table, "failures", |node| node.integer(1, MAX_TRIES, ""));
        let successes = self.value(table, "successes", |node| node.integer(1, MAX_TRIES, ""));
        let delay = self.value(table, "delay", Node::finite);
        if let Some(every) = every {
            spec.set_every(every);
        }
        spec.timeout = timeout.unwrap_or(spec.timeout);
        if let Some(failures) = failures {
            spec.set_failures(failures);
        }
        spec.successes = successes.unwrap_or(spec.successes);
        spec.delay = delay.unwrap_or(spec.delay);
        Some(spec)
    }

    /// Reads the only probe of `table`, which is the value of `node`, for a program that runs in `cwd`. `longest` is the
    /// longest delay that is allowed.
    pub(crate) fn one_probe(
        &mut self,
        node: &Node<'_>,
        table: &Table<'_>,
        keys: &Keys,
        example: &str,
        (cwd, longest): (&Path, Duration),
    ) -> Option<Probe> {
        let probes: Vec<&Node<'_>> =
            table.nodes.iter().filter(|node| keys.one_of.contains(&node.key)).collect();
        for second in probes.iter().skip(1) {
            let error = second.key_error(format!("`{}` has more than one probe", node.key)).label("one more");
            let error = error.related(probes[0].key_span.clone(), "the first one");
            let help = "keep one; to check several conditions, write a script as `command`";
            self.problems.push(error.help(help));
        }
        // Report the missing probe unless there is an unknown key, which has its own error.
        if probes.is_empty() && table.nodes.iter().all(|node| keys.has(node.key)) {
            let error = node.error(format!("`{}` has no probe", node.path));
            let expected = format!("{}, as in: {example}", one_of(keys.one_of.iter().copied()));
            self.problems.push(error.label("no condition for readiness").expected(expected));
        }
        probes.iter().map(|node| self.probe(node, cwd, longest)).fold(None, Option::or)
    }
}
