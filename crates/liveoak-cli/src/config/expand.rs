//! Replicas made into children of their own.

use std::collections::HashMap;

use super::{Child, Config, Edge, Kind, Supervisor};

impl Config {
    /// The same tree with every replica set `db` replaced by `db.1`, `db.2`, ... in its place, and every edge to the
    /// set replaced by one edge to each of them. In the result all `replicas` are 1.
    pub(crate) fn expanded(&self) -> Self {
        Self { root: expand(&self.root), ..self.clone() }
    }
}

impl Child {
    /// The names this child runs under: its own, or those of its replicas.
    pub(crate) fn instances(&self) -> Vec<String> {
        match &self.kind {
            Kind::Process(process) if process.replicas > 1 => {
                (1..=process.replicas).map(|number| format!("{}.{number}", self.name)).collect()
            }
            Kind::Process(_) | Kind::Supervisor { .. } => vec![self.name.clone()],
        }
    }
}

fn expand(supervisor: &Supervisor) -> Supervisor {
    let instances: HashMap<&str, Vec<String>> =
        supervisor.children.iter().map(|child| (child.name.as_str(), child.instances())).collect();
    let mut children = Vec::new();
    for child in &supervisor.children {
        let after: Vec<Edge> = child
            .after
            .iter()
            .flat_map(|edge| {
                let names = instances.get(edge.name.as_str()).into_iter().flatten();
                names.map(|name| Edge { name: name.clone(), condition: edge.condition })
            })
            .collect();
        let kind = match &child.kind {
            Kind::Supervisor { supervisor, stop_within } => {
                Kind::Supervisor { supervisor: expand(supervisor), stop_within: *stop_within }
            }
            Kind::Process(process) => {
                let mut process = process.clone();
                process.replicas = 1;
                Kind::Process(process)
            }
        };
        for name in &instances[child.name.as_str()] {
            children.push(Child {
                name: name.clone(),
                after: after.clone(),
                kind: kind.clone(),
                ..child.clone()
            });
        }
    }
    Supervisor { children, ..supervisor.clone() }
}
