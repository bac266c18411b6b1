//! The modes of a file: `[mode.NAME]`, each with the patterns of the children that shall run.

use crate::bounds::{MAX_CHILDREN, MAX_MODES, MAX_PATTERNS};
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::keys::MODE;
use crate::reader::Reader;
use crate::table::{Node, Table};
use crate::text::{escaped, near_miss, one_of};
use liveoak_core::{ChildDeclaration, ChildForm, Glob, Mode, Name};

const EXAMPLE: &str = "run = [\"camera\", \"motors/*\"]";

impl Config {
    /// Returns the mode of this name.
    ///
    /// # Errors
    /// When the file has no such mode. The error names a similar one, or all modes.
    pub fn mode(&self, name: &str) -> Result<&Mode, Diagnostics> {
        if let Some(mode) = self.modes.iter().find(|mode| mode.name.as_str() == name) {
            return Ok(mode);
        }
        let file = self.shown_file();
        let names = || self.modes.iter().map(|mode| mode.name.as_str());
        let error = Diagnostic::of_file(format!("{file} has no mode `{}`", escaped(name)));
        let near = near_miss(name, names()).map(|near| format!("did you mean `{near}`?"));
        Err(Diagnostics::of_file(
            &file,
            match self.modes.is_empty() {
                true => error.help(format!("declare it, as in: [mode.NAME] and below it {EXAMPLE}")),
                false => error.expected(one_of(names())).help_if(near),
            },
        ))
    }
}

impl Reader<'_> {
    /// Reads the modes of a file. `config` has the children that they may name.
    pub(crate) fn modes(&mut self, table: &Table<'_>, config: &Config) -> Vec<Mode> {
        let Some(node) = table.get("mode") else { return Vec::new() };
        let example = "[mode.teleop] and below it run = [\"camera\"]";
        let Some(table) = self.record(node.table("`mode`", example)) else { return Vec::new() };
        if let Some(node) = table.nodes.get(MAX_MODES) {
            let error = node.key_error("this file declares too many modes");
            self.problems.push(error.expected(format!("at most {MAX_MODES}")));
            return Vec::new();
        }
        let modes: Vec<_> = table.nodes.iter().filter_map(|node| self.mode(node)).collect();
        let patterns: Vec<_> = modes.iter().flat_map(|(_, patterns)| patterns).collect();
        if let Some((node, _)) = patterns.get(MAX_PATTERNS) {
            let error = node.error("the modes of this file have too many patterns");
            self.problems.push(error.expected(format!("at most {MAX_PATTERNS} in all modes together")));
        } else if self.children <= MAX_CHILDREN {
            self.check_patterns(&modes, &config.expanded().declaration());
        }
        let globs = |patterns: Vec<(Node<'_>, Glob)>| patterns.into_iter().map(|(_, glob)| glob).collect();
        modes.into_iter().map(|(name, patterns)| Mode { name, run: globs(patterns) }).collect()
    }

    /// Reads one mode: its name, and its patterns with their places.
    fn mode<'t>(&mut self, node: &Node<'t>) -> Option<(Name, Vec<(Node<'t>, Glob)>)> {
        self.check_name(node.key, "this name", node.key_error("this cannot be a mode's name"));
        let what = format!("mode `{}`", escaped(node.key));
        let table = self.table_of(node, &what, &MODE, EXAMPLE)?;
        let Some(run) = table.get("run") else {
            let error = node.key_error(format!("{what} has no `run`"));
            self.problems.push(
                error
                    .expected("the patterns of the children that shall run")
                    .help(format!("add it, as in: {EXAMPLE}")),
            );
            return None;
        };
        let Some(elements) = run.elements() else {
            self.problems.push(run.wrong_type("an array of patterns", EXAMPLE));
            return None;
        };
        let patterns = elements.into_iter().filter_map(|element| {
            let text = self.record(element.filled(EXAMPLE))?;
            match Glob::new(text) {
                Ok(glob) => Some((element, glob)),
                Err(fault) => {
                    let error = element.error("this is not a pattern for paths");
                    self.problems.push(error.label(fault.fault));
                    None
                }
            }
        });
        let patterns = patterns.collect();
        Name::new(node.key).ok().map(|name| (name, patterns))
    }

    /// Records an error for each pattern that matches no child of the tree.
    fn check_patterns(&mut self, modes: &[(Name, Vec<(Node<'_>, Glob)>)], root: &ChildDeclaration) {
        let mut paths = None;
        for (node, glob) in modes.iter().flat_map(|(_, patterns)| patterns) {
            let alone = Mode { name: root.name.clone(), run: vec![glob.clone()] };
            if alone.unmatched(root).is_empty() {
                continue;
            }
            let error = node.error(format!("the pattern `{}` matches no child", escaped(glob.as_str())));
            let error = error.label("no child of this file");
            let help = match without_root(glob.as_str(), root.name.as_str()) {
                Some(rest) => {
                    Some(format!("a path in a mode begins below the tree; write \"{}\"", escaped(rest)))
                }
                None if self.problems.has_too_many() => None,
                None => {
                    let paths: &Vec<String> = paths.get_or_insert_with(|| paths_below(root));
                    let near = near_miss(glob.as_str(), paths.iter().map(String::as_str));
                    near.map(|near| format!("did you mean \"{near}\"?"))
                }
            };
            self.problems.push(error.help_if(help));
        }
    }
}

/// Returns a pattern without the name of the tree, if it begins with it.
fn without_root<'p>(pattern: &'p str, root: &str) -> Option<&'p str> {
    let rest = pattern.strip_prefix('/').unwrap_or(pattern).strip_prefix(root)?;
    rest.strip_prefix('/').filter(|rest| !rest.is_empty())
}

/// Returns what a pattern may have meant: the path of each child, and the children of each supervisor.
fn paths_below(root: &ChildDeclaration) -> Vec<String> {
    let mut paths = Vec::new();
    let mut open = vec![(root, String::new())];
    while let Some((supervisor, above)) = open.pop() {
        let ChildForm::Supervisor(spec) = &supervisor.form else { continue };
        for child in &spec.children {
            let path = format!("{above}{}", child.name);
            if let Some(set) = &child.spec.replica_of {
                paths.push(format!("{above}{set}"));
            }
            if matches!(child.form, ChildForm::Supervisor(_)) {
                paths.push(format!("{path}/*"));
                open.push((child, format!("{path}/")));
            }
            paths.push(path);
        }
    }
    paths
}
