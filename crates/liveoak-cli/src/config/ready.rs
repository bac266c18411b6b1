//! `ready`: one probe and its deadline.

use std::path::Path;

use super::read::Reader;
use super::table::{Node, Table, one_of};
use super::{Probe, Ready, defaults, keys, values};

const EXAMPLE: &str = "ready = { tcp = \"127.0.0.1:7000\", within = \"10s\" }";

impl Reader<'_> {
    /// Reads the `ready` of a program that runs in `cwd`.
    pub(super) fn ready(&mut self, table: &Table<'_>, cwd: &Path) -> Ready {
        let default = Ready { probe: Probe::Running, within: defaults::READY_WITHIN };
        let Some(node) = table.get("ready") else { return default };
        let Some(table) = node.table_of("`ready`", keys::READY, EXAMPLE, &mut self.problems) else {
            return default;
        };
        let probes: Vec<&Node<'_>> =
            table.nodes.iter().filter(|node| keys::PROBES.contains(&node.key)).collect();
        for second in probes.iter().skip(1) {
            let error = second.key_error("`ready` has more than one probe").label("one more");
            let error = error.related(probes[0].key_span.clone(), "the first one");
            self.problems.push(
                error.help("keep one; of several conditions make a script, as in: command = \"./is-ready\""),
            );
        }
        let zero = "a start always takes some time";
        let within = table.get("within").and_then(|node| node.positive(zero, &mut self.problems));
        let within = within.unwrap_or(default.within);
        let mut found = Vec::new();
        for node in &probes {
            found.extend(self.probe(node, cwd, within));
        }
        let mistyped = table.nodes.iter().any(|node| !keys::READY.contains(&node.key));
        if probes.is_empty() && !mistyped {
            let error = node.error(format!("`{}` has no probe", node.path));
            let error = error.label("nothing tells when it is ready");
            self.problems
                .push(error.expected(format!("{}, as in: {EXAMPLE}", one_of(keys::PROBES.iter().copied()))));
        }
        Ready { probe: found.into_iter().next().unwrap_or(Probe::Running), within }
    }

    fn probe(&mut self, node: &Node<'_>, cwd: &Path, within: std::time::Duration) -> Option<Probe> {
        match node.key {
            "delay" => self.delay(node, within),
            "log" => self.log(node),
            "tcp" => {
                let example = "tcp = \"127.0.0.1:7000\"";
                let found = values::endpoint(node.filled(example, &mut self.problems)?);
                self.checked(node, found, "an address and a port", example).map(Probe::Tcp)
            }
            "http" => {
                let example = "http = \"http://127.0.0.1:8080/health\"";
                let found = values::http_url(node.filled(example, &mut self.problems)?);
                self.checked(node, found, "a URL", example).map(Probe::Http)
            }
            "unix" => {
                let text = node.filled("unix = \"app.sock\"", &mut self.problems)?;
                Some(Probe::Unix(self.path(node, text, cwd)))
            }
            "file" => {
                let text = node.filled("file = \"app.pid\"", &mut self.problems)?;
                Some(Probe::File(self.path(node, text, cwd)))
            }
            _ => self.command(node, cwd).map(Probe::Command),
        }
    }

    fn delay(&mut self, node: &Node<'_>, within: std::time::Duration) -> Option<Probe> {
        let delay = node.finite(&mut self.problems)?;
        if delay >= within {
            let error = node.error("this delay does not end before the start's deadline");
            let label = format!("{}, but `within` is {}", values::show(delay), values::show(within));
            self.problems
                .push(error.label(label).help("lengthen `within` of the same table, or shorten the delay"));
        }
        Some(Probe::Delay(delay))
    }

    fn log(&mut self, node: &Node<'_>) -> Option<Probe> {
        let example = "log = \"listening on\"";
        let pattern = node.filled(example, &mut self.problems)?;
        if let Err(problem) = regex_lite::Regex::new(pattern) {
            let error =
                node.error(format!("`{}` is no regular expression", node.path)).label(problem.to_string());
            let error =
                error.expected(format!("a regular expression for a line of output, as in: {example}"));
            self.problems.push(error.help(
                "put `\\\\` before a character that is meant literally, such as `(`; in '…' a single `\\`",
            ));
            return None;
        }
        Some(Probe::Log(pattern.to_owned()))
    }

    /// Records what a value's own parser said.
    fn checked<T>(
        &mut self,
        node: &Node<'_>,
        found: Result<T, String>,
        what: &str,
        example: &str,
    ) -> Option<T> {
        match found {
            Ok(value) => Some(value),
            Err(problem) => {
                let error =
                    node.error(format!("`{}` must be {what}", node.path)).label(format!("this {problem}"));
                self.problems.push(error.expected(format!("{what}, as in: {example}")));
                None
            }
        }
    }
}
