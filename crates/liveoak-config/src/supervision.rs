//! The keys of how a child is supervised. Programs and supervisors both have them.

use crate::keys::{BACKOFF, LIMIT};
use crate::reader::{EdgePlace, Reader};
use crate::table::{Infinity, Node, Table};
use crate::text::shown;
use crate::types::MAX_RESTARTS;
use liveoak_core::{Backoff, ChildSpec, Condition, Edge, Limit, Name};
use std::time::Duration;
use toml::de::DeValue;

impl Reader<'_> {
    /// Reads what is declared of a child, on top of the defaults in `spec`. Wrong values are recorded and the defaults
    /// kept. Returns where the `after` edges stand.
    pub(crate) fn supervision(&mut self, table: &Table<'_>, spec: &mut ChildSpec) -> Vec<EdgePlace> {
        spec.restart = table.word("restart", &mut self.problems).unwrap_or_default();
        let significant = table.get("significant");
        let significant = significant.and_then(|node| node.boolean("significant = true", &mut self.problems));
        spec.significant = significant.unwrap_or_default();
        spec.limit = table.get("limit").and_then(|node| self.limit(node));
        if let Some(node) = table.get("backoff") {
            spec.backoff = self.backoff(node);
        }
        let mut edges = Vec::new();
        if let Some(node) = table.get("after") {
            self.after(node, &mut spec.after, &mut edges);
        }
        edges
    }

    /// Reads an `intensity` or a `limit`.
    pub(crate) fn limit(&mut self, node: &Node<'_>) -> Option<Limit> {
        let example = format!("{} = {{ restarts = 5, period = \"1m\" }}", node.key);
        let what = format!("`{}`", node.key);
        let table = node.table_of(&what, &LIMIT, &example, &mut self.problems)?;
        let give_up = table.word("give_up", &mut self.problems).unwrap_or_default();
        let zero =
            "without a period no restarts are counted together; for no limit write restarts = \"unlimited\"";
        let period = table.get("period").map(|node| (node, node.positive(zero, &mut self.problems)));
        let missing = |key: &str| {
            node.error(format!("`{}` has no `{key}`", node.path))
                .expected(example.clone())
                .help(format!("add `{key}`: a limit is a number of restarts in a period"))
        };
        let Some(restarts) = table.get("restarts") else {
            self.problems.push(missing("restarts"));
            return None;
        };
        if matches!(restarts.value, DeValue::String(word) if word == "unlimited") {
            if let Some((period, _)) = period {
                let error = period.key_error("`period` has no effect when restarts are unlimited");
                self.problems.push(error.help("remove it, or write a number of restarts"));
            }
            return Some(Limit::unlimited().on_exceeded(give_up));
        }
        let count = restarts.integer(0, MAX_RESTARTS, " or \"unlimited\"", &mut self.problems);
        if period.is_none() {
            self.problems.push(missing("period"));
        }
        Some(Limit::new(u32::try_from(count?).ok()?, period?.1?).on_exceeded(give_up))
    }

    /// Reads the `backoff` of a child; `false` is none.
    fn backoff(&mut self, node: &Node<'_>) -> Option<Backoff> {
        let mut backoff = Backoff::default();
        let example = "backoff = { from = \"100ms\", to = \"30s\" }";
        match node.value {
            DeValue::Boolean(false) => return None,
            DeValue::Table(_) => {}
            _ => {
                let error = node.wrong_type("a table or false", example);
                self.problems.push(error.help("leave `backoff` out for the default, write false for none"));
                return Some(backoff);
            }
        }
        let table = node.table_of("`backoff`", &BACKOFF, example, &mut self.problems)?;
        let mut read = |key: &str, why: &str, time: &mut Duration| {
            *time = table.get(key).and_then(|node| node.positive(why, &mut self.problems)).unwrap_or(*time);
        };
        read("from", "for no backoff at all write backoff = false", &mut backoff.from);
        read("to", "for no backoff at all write backoff = false", &mut backoff.to);
        read("reset_after", "a run of no length would always reset the backoff", &mut backoff.reset_after);
        Some(backoff)
    }

    /// Reads `after`: a table of name and condition, or an array of names that must be ready.
    fn after(&mut self, node: &Node<'_>, after: &mut Vec<Edge>, places: &mut Vec<EdgePlace>) {
        let example = "after = { cache = \"ready\" }";
        if let Some(names) = node.elements() {
            for node in &names {
                if let Some(name) = node.string("after = [\"cache\"]", &mut self.problems) {
                    self.edge(node, name, Condition::Ready, (after, places));
                }
            }
        } else if let DeValue::Table(_) = node.value {
            let table = node.table("`after`", example, &mut self.problems);
            for node in table.iter().flat_map(|table| &table.nodes) {
                let condition = node.word(&mut self.problems).unwrap_or_default();
                let name = Node { span: node.key_span.clone(), ..node.clone() };
                self.edge(&name, node.key, condition, (after, places));
            }
        } else {
            let error = node.wrong_type("a table or an array", example);
            self.problems.push(match node.value {
                DeValue::String(name) => error.help(format!("write [\"{}\"]", shown(name))),
                _ => error,
            });
        }
    }

    /// Adds the edge to the sibling `name`, which stands at `node`.
    fn edge(
        &mut self,
        node: &Node<'_>,
        name: &str,
        condition: Condition,
        (after, places): (&mut Vec<Edge>, &mut Vec<EdgePlace>),
    ) {
        let Ok(sibling) = Name::new(name) else {
            self.check_name(name, "this name", node.error("this cannot be a child's name"));
            return;
        };
        if places.iter().any(|place| place.sibling == sibling) {
            let error = node.error(format!("`{}` is named twice in one `after`", shown(name)));
            self.problems.push(error.label("again").help("keep one of the two"));
            return;
        }
        after.push(Edge { child: sibling.clone(), condition });
        places.push(EdgePlace { sibling, span: node.span.clone(), keys: node.path.clone() });
    }

    /// Reads `within` of a `stop` that must end.
    pub(crate) fn budget(&mut self, stop: &Table<'_>, no_infinity: &'static str) -> Option<Duration> {
        stop.get("within")?.duration(Infinity::Refused(no_infinity), &mut self.problems).flatten()
    }
}
