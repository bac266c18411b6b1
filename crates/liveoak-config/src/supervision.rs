//! The supervision keys of a child, which programs and supervisors share.

use crate::keys::{BACKOFF, GIVE_UP, LIMIT, NEED};
use crate::reader::{EdgePlace, Reader};
use crate::start::Start;
use crate::table::{Node, Table};
use crate::text::escaped;
use crate::types::MAX_RESTARTS;
use liveoak_core::{Backoff, ChildSpec, Condition, Edge, GiveUp, Limit, Name, Need, Restart, Source};
use std::time::Duration;
use toml::de::DeValue;

impl Reader<'_> {
    /// Reads the supervision keys into `spec`, which contains the defaults. Records an error for a wrong value and
    /// keeps the default. Returns the places of the `after` edges.
    pub(crate) fn supervision(&mut self, table: &Table<'_>, spec: &mut ChildSpec) -> Vec<EdgePlace> {
        if let Some(restart) = self.value(table, "restart", Node::word) {
            spec.set_restart(restart);
        }
        spec.manual = self.value(table, "start", Node::word) == Some(Start::Manual);
        let significant = self.value(table, "significant", |node| node.boolean("significant = true"));
        spec.significant = significant.unwrap_or_default();
        if let Some(limit) = table.get("limit").and_then(|node| self.limit(node)) {
            spec.set_limit(limit);
        }
        spec.run_within = self.value(table, "run_within", |node| node.positive("every run takes some time"));
        if let Some(node) = table.get("backoff") {
            let backoff = self.backoff(node);
            spec.set_backoff(backoff);
        }
        if spec.restart == Restart::Temporary {
            self.refuse_on_temporary(table);
        }
        let places = table.get("after").map(|node| self.after(node, &mut spec.after));
        let mut places = places.unwrap_or_default();
        if let Some(node) = table.get("needs") {
            self.needs(node, spec, &mut places);
        }
        places
    }

    /// Reads `needs`: an array of names, or a table of names, each with a table that may have a `grace`. Each need is also
    /// an `after` edge with the condition `ready`.
    fn needs(&mut self, node: &Node<'_>, spec: &mut ChildSpec, places: &mut Vec<EdgePlace>) {
        let example = "needs = { db = { grace = \"5s\" } }";
        match node.value {
            DeValue::Array(_) => {
                for node in node.elements().iter().flatten() {
                    if let Some(name) = self.record(node.string("needs = [\"db\"]")) {
                        self.need(node, name, Need::GRACE, (spec, places));
                    }
                }
            }
            DeValue::Table(_) => {
                let table = self.record(node.table("`needs`", example));
                for node in table.iter().flat_map(|table| &table.nodes) {
                    let rules = self.table_of(node, "a need", &NEED, example);
                    let grace = rules.and_then(|rules| self.value(&rules, "grace", Node::finite));
                    let name = Node { span: node.key_span.clone(), ..node.clone() };
                    self.need(&name, node.key, grace.unwrap_or(Need::GRACE), (spec, places));
                }
            }
            _ => self.problems.push(node.wrong_type("a table or an array", example)),
        }
    }

    /// Adds a need of the sibling `name`, which stands at `node`, and its edge, unless `after` has that edge already.
    fn need(
        &mut self,
        node: &Node<'_>,
        name: &str,
        grace: Duration,
        (spec, places): (&mut ChildSpec, &mut Vec<EdgePlace>),
    ) {
        let Ok(sibling) = Name::new(name) else {
            self.check_name(name, "this name", node.error("this cannot be a child's name"));
            return;
        };
        let edge = Edge { child: sibling.clone(), condition: Condition::Ready };
        if !spec.after.contains(&edge) {
            spec.after.push(edge);
            places.push(EdgePlace {
                sibling: sibling.clone(),
                span: node.span.clone(),
                path: node.path.clone(),
            });
        }
        spec.needs.push(Need { child: sibling, grace });
    }

    /// Records an error for each key of a temporary child that only a restart would use.
    fn refuse_on_temporary(&mut self, table: &Table<'_>) {
        for node in ["backoff", "limit"].into_iter().filter_map(|key| table.get(key)) {
            let error = node.key_error(format!("`{}` has no effect on a temporary child", node.key));
            let error = error.label("the child is never restarted");
            let help = format!("remove `{}`, or write restart = \"transient\"", node.key);
            self.problems.push(error.help(help));
        }
    }

    /// Reads an `intensity` or a `limit`.
    pub(crate) fn limit(&mut self, node: &Node<'_>) -> Option<Limit> {
        let example = format!("{} = {{ restarts = 5, period = \"1m\" }}", node.key);
        let table = self.table_of(node, &format!("`{}`", node.key), &LIMIT, &example)?;
        let give_up = self.give_up(&table);
        let zero = "for no limit leave it out, and write restarts = \"unlimited\"";
        let period = self.value(&table, "period", |node| node.positive(zero));
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
            if let Some(period) = table.get("period") {
                let error = period.key_error("`period` has no effect when restarts are unlimited");
                self.problems.push(error.help("remove it, or write a number of restarts"));
            }
            for node in ["give_up", "retry_after"].into_iter().filter_map(|key| table.get(key)) {
                let message = format!("`{}` has no effect when restarts are unlimited", node.key);
                let error = node.key_error(message).label("this limit is never exceeded");
                self.problems.push(error.help("remove it, or write a number of restarts"));
            }
            return Some(Limit::unlimited());
        }
        let count = self.record(restarts.integer(0, MAX_RESTARTS, " or \"unlimited\""));
        if table.get("period").is_none() {
            self.problems.push(missing("period"));
        }
        Some(with_give_up(Limit::new(count?, period?), give_up))
    }

    /// Reads what happens when a limit is exceeded, and when a quarantined child is tried again. `None` if neither is written.
    fn give_up(&mut self, table: &Table<'_>) -> Option<GiveUp> {
        let written = self.value(table, "give_up", Node::word);
        let give_up = written.unwrap_or(GIVE_UP);
        let never = "for no trial leave `retry_after` out";
        let retry_after = self.value(table, "retry_after", |node| node.positive(never));
        match (give_up, table.get("retry_after")) {
            (_, None) => written,
            (GiveUp::Quarantine { .. }, Some(_)) => Some(GiveUp::Quarantine { retry_after }),
            (GiveUp::Escalate, Some(node)) => {
                let error = node.key_error("`retry_after` has no effect with give_up = \"escalate\"");
                let error = error.label("only a quarantined child is tried again");
                self.problems.push(error.help("remove it, or write give_up = \"quarantine\""));
                Some(give_up)
            }
        }
    }

    /// Reads the `backoff` of a child; `false` means no backoff.
    pub(crate) fn backoff(&mut self, node: &Node<'_>) -> Option<Backoff> {
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
        let table = self.table_of(node, "`backoff`", &BACKOFF, example)?;
        let none = "for no backoff at all write backoff = false";
        let always = "with 0 every run would reset the backoff";
        if table.get("constant").is_some() {
            return Some(self.constant_backoff(&table, (none, always)));
        }
        backoff.jitter = self.word(&table, "jitter");
        let times = [
            ("from", none, &mut backoff.from),
            ("to", none, &mut backoff.to),
            ("reset_after", always, &mut backoff.reset_after),
        ];
        let mut all_read = true;
        for (key, why, time) in times {
            let read = self.value(&table, key, |node| node.positive(why));
            all_read &= read.is_some() || table.get(key).is_none();
            *time = read.unwrap_or(*time);
        }
        // With a wrong value, the core must not compare `from` and `to`.
        Some(if all_read { backoff } else { Backoff::default() })
    }

    /// Reads a `backoff` with a constant delay. `none` and `always` say why zero is refused.
    fn constant_backoff(&mut self, table: &Table<'_>, (none, always): (&str, &str)) -> Backoff {
        for node in ["from", "to", "jitter"].into_iter().filter_map(|key| table.get(key)) {
            let error = node.key_error(format!("`{}` has no effect beside `constant`", node.key));
            let error = error.label("every delay is exactly `constant`");
            self.problems.push(error.help(format!("remove `{}`, or remove `constant`", node.key)));
        }
        let constant = self.value(table, "constant", |node| node.positive(none));
        let reset_after = self.value(table, "reset_after", |node| node.positive(always));
        let backoff = constant.map_or_else(Backoff::default, Backoff::constant);
        Backoff { reset_after: reset_after.unwrap_or(backoff.reset_after), ..backoff }
    }

    /// Reads `after`: a table of names and conditions, or an array of names that must be ready. Returns the places of the
    /// edges.
    fn after(&mut self, node: &Node<'_>, after: &mut Vec<Edge>) -> Vec<EdgePlace> {
        let example = "after = { cache = \"ready\" }";
        let mut places = Vec::new();
        match node.value {
            DeValue::Array(_) => {
                for node in node.elements().iter().flatten() {
                    if let Some(name) = self.record(node.string("after = [\"cache\"]")) {
                        self.edge(node, name, Condition::Ready, (after, &mut places));
                    }
                }
            }
            DeValue::Table(_) => {
                let table = self.record(node.table("`after`", example));
                for node in table.iter().flat_map(|table| &table.nodes) {
                    let condition = self.record(node.word()).unwrap_or_default();
                    let name = Node { span: node.key_span.clone(), ..node.clone() };
                    self.edge(&name, node.key, condition, (after, &mut places));
                }
            }
            value => {
                let help = match value {
                    DeValue::String(name) => Some(format!("write [\"{}\"]", escaped(name))),
                    _ => None,
                };
                self.problems.push(node.wrong_type("a table or an array", example).help_if(help));
            }
        }
        places
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
            let error = node.error(format!("`{}` is named twice in one `after`", escaped(name)));
            self.problems.push(error.label("again").help("keep one of the two"));
            return;
        }
        after.push(Edge { child: sibling.clone(), condition });
        places.push(EdgePlace { sibling, span: node.span.clone(), path: node.path.clone() });
    }
}

/// Returns the limit with what happens when it is exceeded. If the file does not say it, this is the default of the file,
/// which a role or a criticality may replace.
fn with_give_up(limit: Limit, written: Option<GiveUp>) -> Limit {
    match written {
        Some(give_up) => limit.on_exceeded(give_up),
        None => Limit { give_up: GIVE_UP, give_up_source: Source::File, ..limit },
    }
}
