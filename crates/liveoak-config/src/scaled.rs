//! A file with other numbers of replicas than it says.

use crate::bounds::MAX_REPLICAS;
use crate::config::{ChildConfig, Config, Form, SupervisorConfig};
use crate::diagnostic::Diagnostics;
use crate::load::load_for;
use crate::text::near_miss;
use liveoak_core::Path as TreePath;
use std::fmt;
use std::path::Path;

/// Why a file cannot be read with other numbers of replicas.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScaleError {
    /// The file has errors, maybe because of the new number.
    File(Diagnostics),
    /// The file has no such child.
    NoSuchChild {
        /// The path that was given.
        path: TreePath,
        /// The path that was probably meant.
        near: Option<TreePath>,
    },
    /// The child cannot have this number of replicas.
    Cannot {
        /// The path of the child.
        path: TreePath,
        /// The reason.
        why: String,
    },
}

impl fmt::Display for ScaleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(problems) => problems.fmt(f),
            Self::NoSuchChild { path, .. } => write!(f, "the file has no child {path}"),
            Self::Cannot { path, why } => write!(f, "{path}: {why}"),
        }
    }
}

impl std::error::Error for ScaleError {}

/// Reads and checks a file like [`load()`](crate::load()), as if the children at these paths had other numbers of `replicas`.
/// A path has no number of a replica.
///
/// # Errors
/// When the file has errors, or a child cannot have this number of replicas.
pub fn load_scaled(file: &Path, replicas: &[(TreePath, u32)]) -> Result<Config, ScaleError> {
    let mut numbers = Vec::new();
    for (path, number) in replicas {
        let cannot = |why: String| Err(ScaleError::Cannot { path: path.clone(), why });
        match u16::try_from(*number) {
            Ok(0) => return cannot("a child has at least one replica; stop it instead".to_owned()),
            Ok(number) if u64::from(number) <= MAX_REPLICAS => numbers.push((dotted(path), number)),
            _ => return cannot(format!("a child has at most {MAX_REPLICAS} replicas")),
        }
    }
    let config = load_for(file, None, &|_| {}, &numbers).map_err(ScaleError::File)?;
    for (path, _) in replicas {
        match find(&config, path) {
            None => return Err(ScaleError::NoSuchChild { path: path.clone(), near: near(&config, path) }),
            Some(child) if matches!(child.form, Form::Supervisor(_)) => {
                let why = "it is a supervisor, which has no replicas; scale a child below it".to_owned();
                return Err(ScaleError::Cannot { path: path.clone(), why });
            }
            Some(_) => {}
        }
    }
    Ok(config)
}

/// Returns the dotted path of the table of a child: `child.ingest.child.kafka` for `/shop/ingest/kafka`.
fn dotted(path: &TreePath) -> String {
    let names = path.as_str().split('/').filter(|name| !name.is_empty()).skip(1);
    names.map(|name| format!("child.{name}")).collect::<Vec<_>>().join(".")
}

/// Returns the child at a path of the tree.
fn find<'c>(config: &'c Config, path: &TreePath) -> Option<&'c ChildConfig> {
    let mut names = path.as_str().split('/').filter(|name| !name.is_empty());
    names.next().filter(|root| *root == config.name.as_str())?;
    let (mut within, mut found) = (Some(&config.root), None);
    for name in names {
        let child = within?.children.iter().find(|child| child.name.as_str() == name)?;
        within = match &child.form {
            Form::Supervisor(nested) => Some(nested),
            Form::Program(_) | Form::Kind(_) => None,
        };
        found = Some(child);
    }
    found
}

/// Returns the path that was probably meant: the child of which the path names a replica, or one of a similar name.
fn near(config: &Config, path: &TreePath) -> Option<TreePath> {
    let set = path.as_str().rsplit_once('.').map(|(set, _)| TreePath::new(set));
    if let Some(set) = set.filter(|set| find(config, set).is_some()) {
        return Some(set);
    }
    let mut all = Vec::new();
    add_paths(&config.root, &TreePath::new(config.name.as_str()), &mut all);
    near_miss(path.as_str(), all.iter().map(TreePath::as_str)).map(TreePath::new)
}

fn add_paths(supervisor: &SupervisorConfig, above: &TreePath, all: &mut Vec<TreePath>) {
    for child in &supervisor.children {
        let path = above.join(child.name.as_str());
        match &child.form {
            Form::Supervisor(nested) => add_paths(nested, &path, all),
            Form::Program(_) | Form::Kind(_) => all.push(path),
        }
    }
}
