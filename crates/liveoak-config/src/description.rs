//! The keys that say what a child is: `title`, `tags`, `role` and `criticality`.

use crate::reader::Reader;
use crate::table::{Node, Table};
use liveoak_core::{ChildSpec, Description, MAX_TAGS, Role, tag_problem, title_problem};
use std::sync::Arc;

const TAGS_EXAMPLE: &str = "tags = [\"edge\", \"eu\"]";

impl Reader<'_> {
    /// Reads what a child is into `spec`.
    pub(crate) fn description(&mut self, table: &Table<'_>, is_supervisor: bool, spec: &mut ChildSpec) {
        let title = table.get("title").and_then(|node| self.title(node));
        let tags = table.get("tags").map(|node| self.tags(node)).unwrap_or_default();
        let role = self.value(table, "role", Node::word);
        if role == Some(Role::Supervisor)
            && !is_supervisor
            && let Some(node) = table.get("role")
        {
            let error = node.error("only a child with children is a supervisor").label("this child has none");
            self.problems.push(error.expected("\"service\", \"worker\", \"job\" or \"sidecar\""));
            return;
        }
        let criticality = self.value(table, "criticality", Node::word);
        let description = Description { title, tags, role, criticality };
        if description != Description::default() {
            spec.description = Some(Arc::new(description));
        }
    }

    fn title(&mut self, node: &Node<'_>) -> Option<Arc<str>> {
        let title = self.record(node.string("title = \"Orders API\""))?;
        if let Some(problem) = title_problem(title) {
            self.problems.push(node.error("this cannot be a title").label(problem));
            return None;
        }
        Some(title.into())
    }

    fn tags(&mut self, node: &Node<'_>) -> Vec<Arc<str>> {
        let Some(elements) = node.elements() else {
            self.problems.push(node.wrong_type("an array of strings", TAGS_EXAMPLE));
            return Vec::new();
        };
        if elements.len() > MAX_TAGS {
            let error = node.error(format!("`{}` has {} tags", node.path, elements.len()));
            self.problems.push(error.expected(format!("at most {MAX_TAGS}")));
            return Vec::new();
        }
        let mut tags: Vec<Arc<str>> = Vec::new();
        for element in &elements {
            let Some(tag) = self.record(element.string(TAGS_EXAMPLE)) else { continue };
            if let Some(problem) = tag_problem(tag) {
                self.problems.push(element.error("this cannot be a tag").label(problem));
            } else if tags.iter().any(|other| **other == *tag) {
                self.problems.push(
                    element.error("this tag stands there twice").label("again").help("keep one of the two"),
                );
            } else {
                tags.push(tag.into());
            }
        }
        tags
    }
}
