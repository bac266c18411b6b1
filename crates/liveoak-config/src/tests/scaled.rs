//! A file that is read with other numbers of replicas than it says.

use crate::{Config, Form, ScaleError, load, load_scaled};
use liveoak_core::Path as TreePath;
use std::path::PathBuf;

const TEXT: &str = "name = \"t\"\n\
    [child.web]\ncommand = [\"web\", \"{replica}\"]\nreplicas = 2\n\
    [child.one]\ncommand = \"one\"\nafter = [\"web\"]\n\
    [child.s.child.deep]\ncommand = \"deep\"\nreplicas = 3\n\
    [child.shell]\ncommand = \"sh\"\nstdin = \"inherit\"\n";

struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("liveoak-scaled-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("liveoak.toml");
        std::fs::write(&file, TEXT).unwrap();
        Self(file)
    }

    fn scaled(&self, replicas: &[(&str, u32)]) -> Result<Config, ScaleError> {
        let replicas: Vec<_> = replicas.iter().map(|(path, number)| (TreePath::new(path), *number)).collect();
        load_scaled(&self.0, &replicas)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

/// Returns the names of the children, with those below supervisors.
fn names(config: &Config) -> Vec<String> {
    let mut names = Vec::new();
    for child in &config.expanded().root.children {
        match &child.form {
            Form::Supervisor(nested) => {
                names.extend(nested.children.iter().map(|child| child.name.to_string()))
            }
            _ => names.push(child.name.to_string()),
        }
    }
    names
}

#[test]
fn a_child_gets_the_number_of_replicas_that_was_asked_for_and_the_others_keep_theirs() {
    let file = File::new("numbers");
    let of =
        |replicas: &[(&str, u32)]| names(&file.scaled(replicas).unwrap_or_else(|error| panic!("{error}")));
    assert_eq!(of(&[]), names(&load(&file.0).unwrap()));
    assert_eq!(of(&[("/t/web", 3)])[..4], ["web.1", "web.2", "web.3", "one"]);
    assert_eq!(of(&[("/t/web", 1)])[..2], ["web.1", "one"], "what is left keeps its name");
    assert_eq!(
        of(&[("/t/one", 2), ("/t/s/deep", 1)]),
        ["web.1", "web.2", "one.1", "one.2", "deep.1", "shell"]
    );
    let config = file.scaled(&[("/t/web", 3)]).unwrap().expanded();
    let Form::Program(third) = &config.root.children[2].form else { panic!("a program") };
    assert!(format!("{:?}", third.command.args).contains('3'), "`{{replica}}` is filled in");
    assert_eq!(config.root.children[3].spec.after.len(), 3, "an edge to each replica");
}

#[test]
fn a_tree_that_is_expanded_twice_is_the_same_tree() {
    let file = File::new("twice");
    let once = load(&file.0).unwrap().expanded();
    assert_eq!(once.expanded(), once);
    assert!(once.root.children[0].spec.replica_of.is_some());
}

#[test]
fn what_cannot_have_this_number_of_replicas_is_refused_with_the_reason() {
    let file = File::new("refused");
    let refused = |path: &str, number: u32| file.scaled(&[(path, number)]).unwrap_err();
    for (path, number, text) in [
        ("/t/web", 0, "stop it instead"),
        ("/t/web", 1025, "at most 1024 replicas"),
        ("/t/web", 70_000, "at most 1024 replicas"),
        ("/t/s", 2, "it is a supervisor"),
    ] {
        let error = refused(path, number);
        assert!(matches!(error, ScaleError::Cannot { .. }), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    for (path, meant) in [("/t/web.2", "/t/web"), ("/t/wbe", "/t/web"), ("/t/s/depe", "/t/s/deep")] {
        let ScaleError::NoSuchChild { near, .. } = refused(path, 2) else { panic!("{path}") };
        assert_eq!(near.unwrap().as_str(), meant, "{path}");
    }
    let ScaleError::NoSuchChild { near: None, .. } = refused("/other/zzzzzzzz", 2) else {
        panic!("no near miss")
    };
    let ScaleError::File(problems) = refused("/t/shell", 2) else { panic!("the file has an error then") };
    assert!(problems.text(false).contains("replicas cannot have"), "{}", problems.text(false));
}
