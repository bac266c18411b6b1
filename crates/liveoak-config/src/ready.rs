//! `ready`: one probe and its deadline.

use crate::duration::show;
use crate::keys::READY;
use crate::reader::Reader;
use crate::table::{Node, Table};
use crate::text::one_of;
use liveoak_core::ChildSpec;
use liveoak_process::{Probe, ProbeError, ProbeKind};
use std::path::Path;
use std::time::Duration;

const EXAMPLE: &str = "ready = { tcp = \"127.0.0.1:7000\", within = \"10s\" }";

impl Reader<'_> {
    /// Reads the `ready` of a program that runs in `cwd`; the deadline goes into `spec`.
    pub(crate) fn ready(&mut self, node: &Node<'_>, cwd: &Path, spec: &mut ChildSpec) -> Option<Probe> {
        let table = node.table_of("`ready`", &READY, EXAMPLE, &mut self.problems)?;
        let zero = "a start always takes some time";
        let within = table.get("within").and_then(|node| node.positive(zero, &mut self.problems));
        spec.start_within = within.unwrap_or(spec.start_within);
        let probes: Vec<&Node<'_>> =
            table.nodes.iter().filter(|node| READY.one_of.contains(&node.key)).collect();
        for second in probes.iter().skip(1) {
            let error = second.key_error("`ready` has more than one probe").label("one more");
            let error = error.related(probes[0].key_span.clone(), "the first one");
            self.problems.push(
                error.help("keep one; of several conditions make a script, as in: command = \"./is-ready\""),
            );
        }
        if probes.is_empty() {
            self.no_probe(node, &table);
        }
        let mut found = None;
        for node in probes {
            let probe = self.probe(node, cwd, spec.start_within);
            found = found.or(probe);
        }
        found
    }

    /// Records that no key is a probe, unless a key that is not known may be a slip of one.
    fn no_probe(&mut self, node: &Node<'_>, table: &Table<'_>) {
        if table.nodes.iter().all(|node| READY.has(node.key)) {
            let error = node.error(format!("`{}` has no probe", node.path));
            let probes = one_of(READY.one_of.iter().copied());
            self.problems.push(
                error.label("nothing tells when it is ready").expected(format!("{probes}, as in: {EXAMPLE}")),
            );
        }
    }

    fn probe(&mut self, node: &Node<'_>, cwd: &Path, within: Duration) -> Option<Probe> {
        match node.key {
            "delay" => self.delay(node, within),
            "log" => self.log(node),
            "tcp" => self.tcp(node),
            "http" => self.http(node),
            "unix" => {
                let text = node.filled("unix = \"app.sock\"", &mut self.problems)?;
                Some(Probe::unix(self.path(node, text, cwd)))
            }
            "file" => {
                let text = node.filled("file = \"app.pid\"", &mut self.problems)?;
                Some(Probe::file(self.path(node, text, cwd)))
            }
            _ => self.command(node, cwd).map(Probe::command),
        }
    }

    fn tcp(&mut self, node: &Node<'_>) -> Option<Probe> {
        let example = "tcp = \"127.0.0.1:7000\"";
        let found = Probe::tcp(node.filled(example, &mut self.problems)?);
        let probe = self.parsed(node, found, "an address and a port", example)?;
        // The library takes a port alone for this machine; a file says which machine it means.
        if let ProbeKind::Tcp(target) = probe.kind()
            && target.host().is_none()
        {
            let problem = "it has no host before the port".to_owned();
            return self.refused(node, problem, "an address and a port", example);
        }
        Some(probe)
    }

    fn http(&mut self, node: &Node<'_>) -> Option<Probe> {
        let example = "http = \"http://127.0.0.1:8080/health\"";
        let url = node.filled(example, &mut self.problems)?;
        let probe = self.parsed(node, Probe::http(url), "a URL", example)?;
        if url.contains('#') {
            let problem = "it has a fragment (`#`), which is never sent to a server".to_owned();
            return self.refused(node, problem, "a URL", example);
        }
        Some(probe)
    }

    fn delay(&mut self, node: &Node<'_>, within: Duration) -> Option<Probe> {
        let delay = node.finite(&mut self.problems)?;
        if delay >= within {
            let error = node.error("this delay does not end before the deadline of the start");
            let label = format!("{}, but `within` is {}", show(delay), show(within));
            self.problems
                .push(error.label(label).help("lengthen `within` of the same table, or shorten the delay"));
        }
        Some(Probe::delay(delay))
    }

    fn log(&mut self, node: &Node<'_>) -> Option<Probe> {
        let example = "log = \"listening on\"";
        let found = Probe::log(node.filled(example, &mut self.problems)?);
        if let Err(problem) = &found {
            let error = node.error(format!("`{}` is no regular expression", node.path));
            let expected = format!("a regular expression for a line of output, as in: {example}");
            self.problems.push(error.label(problem.reason()).expected(expected).help(
                "put `\\\\` before a character that is meant literally, such as `(`; in '…' a single `\\`",
            ));
        }
        found.ok()
    }

    /// Returns what the parser of the library read, or records what it refused.
    fn parsed(
        &mut self,
        node: &Node<'_>,
        found: Result<Probe, ProbeError>,
        what: &str,
        example: &str,
    ) -> Option<Probe> {
        match found {
            Ok(probe) => Some(probe),
            Err(problem) => self.refused(node, problem.reason(), what, example),
        }
    }

    fn refused(&mut self, node: &Node<'_>, problem: String, what: &str, example: &str) -> Option<Probe> {
        let error = node.error(format!("`{}` must be {what}", node.path)).label(problem);
        self.problems.push(error.expected(format!("{what}, as in: {example}")));
        None
    }
}
