//! Finds the tree that a verb is about.
//!
//! 1. `--socket PATH`, or `--tree NAME`
//! 2. the variable `LIVEOAK_SOCKET`
//! 3. the tree whose file is in the current folder, or in the nearest folder above it
//! 4. for verbs that only read: the only tree that runs
//!
//! A socket says which tree it belongs to when it is asked for the status of the tree. All sockets are asked side by side. A
//! socket at which nothing listens was left behind, and is skipped.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use liveoak::api::Status;
use liveoak::control::{file_of, socket};
use strsim::damerau_levenshtein;

use super::args::Target;
use super::failure::{EXIT_NO_TREE, Failure};
use super::http::{RequestError, Server};
use crate::EXIT_FAILED;

/// How long each socket may take to say which tree it belongs to.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// The variable with the socket of a tree.
pub(crate) const SOCKET_VARIABLE: &str = "LIVEOAK_SOCKET";

/// What a verb does to the tree that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It reads. It may use the only tree that runs.
    Reads,
    /// It changes something. Its tree must be named, or be the one of the current folder.
    Changes,
}

/// A tree that runs.
#[derive(Clone, Debug)]
pub(crate) struct RunningTree {
    /// Its server.
    pub(crate) server: Server,
    /// What it says about itself.
    pub(crate) status: Status,
}

impl RunningTree {
    /// Returns its name, without a slash.
    pub(crate) fn name(&self) -> &str {
        self.status.tree.trim_start_matches('/')
    }

    /// Returns the name of its socket without the ending: the name, or the name with a mark if two trees share it.
    pub(crate) fn socket_name(&self) -> &str {
        stem(self.server.socket())
    }
}

/// What was found behind the sockets of this user.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The trees that run, by name.
    pub(crate) trees: Vec<RunningTree>,
    /// The sockets whose tree did not say what it is, with the reason.
    pub(crate) silent: Vec<(PathBuf, String)>,
}

/// Asks all sockets of this user which tree they belong to.
pub(crate) async fn all_trees() -> Found {
    let sockets = socket::folders().iter().flat_map(|folder| socket::sockets_in(folder)).collect();
    ask_all(sockets).await
}

async fn ask_all(sockets: Vec<PathBuf>) -> Found {
    let asked: Vec<_> = sockets
        .into_iter()
        .map(|socket| {
            tokio::spawn(async move {
                let server = Server::new(&socket);
                let status = server.get_within::<Status>("/v1/status", ASK_LIMIT).await;
                (socket, server, status)
            })
        })
        .collect();
    let mut found = Found::default();
    for asked in asked {
        match asked.await {
            Ok((_, server, Ok(status))) => found.trees.push(RunningTree { server, status }),
            // Left behind by a tree that was killed.
            Ok((_, _, Err(RequestError::Nothing(_)))) | Err(_) => {}
            Ok((socket, _, Err(error))) => found.silent.push((socket, error.text())),
        }
    }
    found.trees.sort_by(|a, b| (a.name(), a.server.socket()).cmp(&(b.name(), b.server.socket())));
    found
}

/// Finds the server of the tree that is meant.
///
/// # Errors
/// When there is none, or more than one. The failure says where it looked, and what runs.
pub(crate) async fn find(target: &Target, access: Access) -> Result<Server, Failure> {
    if let Some(socket) = &target.socket {
        return Ok(Server::new(socket));
    }
    if let Some(name) = &target.tree {
        return by_name(&all_trees().await, name);
    }
    if let Some(socket) = env::var_os(SOCKET_VARIABLE).filter(|socket| !socket.is_empty()) {
        return Ok(Server::new(socket));
    }
    by_folder(&all_trees().await, env::current_dir().ok().as_deref(), access)
}

/// Finds the server of the tree that a file declares.
///
/// # Errors
/// When no tree of this file runs, or it does not answer.
pub(crate) async fn find_by_file(file: &Path) -> Result<Server, Failure> {
    let found = all_trees().await;
    let is_file = |of: &Path| of == file || of.canonicalize().is_ok_and(|of| of == file);
    let mut trees = found
        .trees
        .iter()
        .filter(|tree| tree.status.file.as_deref().is_some_and(|of| is_file(Path::new(of))));
    if let Some(tree) = trees.next() {
        return Ok(tree.server.clone());
    }
    let mut silent = found.silent.iter().filter(|(socket, _)| file_of(socket).is_some_and(|of| is_file(&of)));
    if let Some((_, why)) = silent.next() {
        return Err(Failure::failed(why.clone()));
    }
    let text = format!("no tree of the file {} runs", file.display());
    Err(Failure::new(EXIT_NO_TREE, text).lines(whereabouts(&found)))
}

fn by_name(found: &Found, name: &str) -> Result<Server, Failure> {
    let name = name.trim_start_matches('/');
    let called: Vec<&RunningTree> = found.trees.iter().filter(|tree| tree.name() == name).collect();
    let of_socket = || found.trees.iter().find(|tree| tree.socket_name() == name && tree.name() != name);
    match called[..] {
        [only] => Ok(only.server.clone()),
        [] => match of_socket() {
            Some(tree) => Ok(tree.server.clone()),
            None => Err(unknown_name(found, name)),
        },
        _ => Err(Failure::new(EXIT_NO_TREE, format!("{} trees are called {name}", called.len()))
            .lines(called.iter().map(|tree| described(tree)))
            .line("choose one with --socket PATH")),
    }
}

fn unknown_name(found: &Found, name: &str) -> Failure {
    // The socket of a second tree of a name has a mark after the name.
    let may_be_called =
        |stem: &str| stem.strip_prefix(name).is_some_and(|mark| mark.is_empty() || mark.starts_with('-'));
    if let Some((_, why)) = found.silent.iter().find(|(socket, _)| may_be_called(stem(socket))) {
        return Failure::failed(why.clone());
    }
    let names = found.trees.iter().flat_map(|tree| [tree.name(), tree.socket_name()]);
    let near = names
        .map(|known| (damerau_levenshtein(known, name), known))
        .filter(|(distance, known)| *distance <= (known.chars().count() / 3).max(1))
        .min();
    let failure = match near {
        Some((_, near)) => {
            Failure::new(EXIT_NO_TREE, format!("no tree is called {name}; did you mean {near}?"))
        }
        None => Failure::new(EXIT_NO_TREE, format!("no tree is called {name}")),
    };
    failure.lines(whereabouts(found))
}

fn by_folder(found: &Found, here: Option<&Path>, access: Access) -> Result<Server, Failure> {
    let here = here.map(|here| here.canonicalize().unwrap_or_else(|_| here.to_owned()));
    let above = here.as_deref().map(Path::ancestors).into_iter().flatten();
    for folder in above {
        // A tree that does not answer is still the tree of its folder: no other one is meant.
        let is_of_folder = |(socket, _): &&(PathBuf, String)| {
            let file = file_of(socket);
            file.is_some_and(|file| file.parent().is_some_and(|of| of == folder))
        };
        if let Some((_, why)) = found.silent.iter().find(is_of_folder) {
            return Err(Failure::failed(why.clone()));
        }
        let of_folder: Vec<&RunningTree> =
            found.trees.iter().filter(|tree| file_folder(tree).as_deref() == Some(folder)).collect();
        match of_folder[..] {
            [] => {}
            [only] => return Ok(only.server.clone()),
            _ => {
                let text = format!("{} trees have their file in {}", of_folder.len(), folder.display());
                return Err(Failure::new(EXIT_NO_TREE, text)
                    .lines(of_folder.iter().map(|tree| described(tree)))
                    .line("choose one with --tree NAME"));
            }
        }
    }
    if let ([only], [], Access::Reads) = (&found.trees[..], &found.silent[..], access) {
        return Ok(only.server.clone());
    }
    Err(no_tree(found, here.as_deref(), access))
}

/// Returns the failure of a search from a folder upwards.
fn no_tree(found: &Found, here: Option<&Path>, access: Access) -> Failure {
    let place = here.map_or("the current folder".to_owned(), |here| here.display().to_string());
    let (code, text) = match found.trees.len() {
        0 if found.silent.is_empty() => (EXIT_NO_TREE, "no tree runs".to_owned()),
        0 => (EXIT_FAILED, "a tree is there, but does not answer".to_owned()),
        _ => (EXIT_NO_TREE, format!("no tree has its file in {place} or above it")),
    };
    let failure = Failure::new(code, text).lines(whereabouts(found));
    match (found.trees.as_slice(), access) {
        ([], _) if found.silent.is_empty() => failure.line("`liveoak up` starts one"),
        ([], _) => failure,
        ([only], Access::Changes) => failure
            .line(format!("a verb that changes something does not guess: add --tree {}", only.socket_name())),
        _ => failure.line("choose one with --tree NAME"),
    }
}

/// Returns the lines that say where trees were looked for, and what runs.
pub(crate) fn whereabouts(found: &Found) -> Vec<String> {
    let place = |folder: PathBuf| match socket::fitness(&folder) {
        Ok(()) => folder.display().to_string(),
        Err(why) => format!("{} ({why})", folder.display()),
    };
    let places: Vec<String> = socket::candidates().into_iter().map(place).collect();
    let looked = format!("looked for sockets in {}", places.join(" and "));
    let runs = found.trees.iter().map(described);
    let silent = found.silent.iter().map(|(_, why)| why.clone());
    std::iter::once(looked).chain(runs).chain(silent).collect()
}

/// Returns a line about a tree that runs.
fn described(tree: &RunningTree) -> String {
    let file = tree.status.file.as_deref().map_or(String::new(), |file| format!(", of {file}"));
    format!(
        "{} runs: process {}{file}, socket {}",
        tree.name(),
        tree.status.pid,
        tree.server.socket().display()
    )
}

/// Returns the folder of the file that declares a tree.
fn file_folder(tree: &RunningTree) -> Option<PathBuf> {
    // The text of the status is UTF-8, which the name of a folder may not be.
    let file = file_of(tree.server.socket()).or_else(|| tree.status.file.as_ref().map(PathBuf::from))?;
    let folder = file.parent()?;
    Some(folder.canonicalize().unwrap_or_else(|_| folder.to_owned()))
}

fn stem(socket: &Path) -> &str {
    socket.file_stem().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use liveoak::api::{Health, Timestamp, TreeState};
    use std::time::SystemTime;

    fn running(name: &str, file: &str, socket: &str) -> RunningTree {
        let status = Status {
            tree: name.to_owned(),
            pid: 7,
            file: Some(file.to_owned()),
            state: TreeState::Alive,
            ready: true,
            health: Health::Healthy,
            since: Timestamp(SystemTime::UNIX_EPOCH),
            began: Timestamp(SystemTime::UNIX_EPOCH),
            children: 1,
            running: 1,
            failing: 0,
            mode: None,
            modes: vec![],
            failure: None,
            blocked_by: vec![],
            run: 1,
            events_lost: 0,
            version: "0".to_owned(),
        };
        RunningTree { server: Server::new(format!("/run/{socket}.sock")), status }
    }

    fn found(trees: &[(&str, &str, &str)]) -> Found {
        let trees = trees.iter().map(|(name, file, socket)| running(name, file, socket)).collect();
        Found { trees, silent: vec![] }
    }

    /// Returns the socket that was chosen, or the exit code and the text of the failure.
    fn chosen(result: Result<Server, Failure>) -> Result<String, (u8, String)> {
        let socket = |server: Server| server.socket().display().to_string();
        result.map(socket).map_err(|failure| (failure.code, failure.to_string()))
    }

    fn from_folder(found: &Found, here: &str, access: Access) -> Result<String, (u8, String)> {
        chosen(by_folder(found, Some(Path::new(here)), access))
    }

    #[test]
    fn the_tree_of_the_nearest_folder_above_is_chosen_and_only_verbs_that_read_take_the_only_other_tree() {
        let both = found(&[("outer", "/p/liveoak.toml", "outer"), ("inner", "/p/a/x.toml", "inner")]);
        for access in [Access::Reads, Access::Changes] {
            assert_eq!(from_folder(&both, "/p/a/b/c", access), Ok("/run/inner.sock".to_owned()));
            assert_eq!(from_folder(&both, "/p/ab", access), Ok("/run/outer.sock".to_owned()));
            let (code, text) = from_folder(&both, "/q", access).unwrap_err();
            assert_eq!(code, 4);
            assert!(text.contains("no tree has its file in /q or above it"), "{text}");
            assert!(text.contains("inner runs: process 7, of /p/a/x.toml, socket /run/inner.sock"), "{text}");
            assert!(text.contains("choose one with --tree NAME"), "{text}");
        }
        let one = found(&[("outer", "/p/liveoak.toml", "outer")]);
        assert_eq!(from_folder(&one, "/q", Access::Reads), Ok("/run/outer.sock".to_owned()));
        let (code, text) = from_folder(&one, "/q", Access::Changes).unwrap_err();
        assert_eq!(code, 4);
        assert!(text.contains("add --tree outer"), "{text}");
    }

    #[test]
    fn two_trees_with_their_file_in_one_folder_are_listed_instead_of_guessed() {
        let both = found(&[("a", "/p/a.toml", "a"), ("b", "/p/b.toml", "b")]);
        let (code, text) = from_folder(&both, "/p", Access::Reads).unwrap_err();
        assert_eq!(code, 4);
        assert!(text.contains("2 trees have their file in /p"), "{text}");
        assert!(text.contains("a runs") && text.contains("b runs"), "{text}");
    }

    #[test]
    fn without_a_tree_the_failure_says_where_it_looked_and_what_does_not_answer() {
        let (code, text) = from_folder(&Found::default(), "/p", Access::Reads).unwrap_err();
        assert_eq!(code, 4);
        assert!(text.contains("no tree runs") && text.contains("looked for sockets in "), "{text}");
        let silent =
            Found { trees: vec![], silent: vec![("/run/x.sock".into(), "x is suspended".to_owned())] };
        let (code, text) = from_folder(&silent, "/p", Access::Reads).unwrap_err();
        assert_eq!(code, 1, "a tree was found");
        assert!(
            text.contains("a tree is there, but does not answer") && text.contains("x is suspended"),
            "{text}"
        );
        let also = Found { silent: silent.silent, ..found(&[("a", "/q/a.toml", "a")]) };
        assert!(from_folder(&also, "/p", Access::Reads).is_err(), "it is not the only one");
    }

    #[test]
    fn a_name_of_two_trees_lists_both_and_the_name_of_a_socket_tells_them_apart() {
        let both = found(&[("shop", "/p/a.toml", "shop"), ("shop", "/q/a.toml", "shop-1234abcd")]);
        let named = |name: &str| chosen(by_name(&both, name));
        let (code, text) = named("shop").unwrap_err();
        assert_eq!(code, 4);
        assert!(
            text.contains("2 trees are called shop") && text.contains("/run/shop-1234abcd.sock"),
            "{text}"
        );
        assert_eq!(named("shop-1234abcd"), Ok("/run/shop-1234abcd.sock".to_owned()));
        let (code, text) = named("shpo").unwrap_err();
        assert_eq!(code, 4);
        assert!(text.contains("no tree is called shpo; did you mean shop?"), "{text}");
        let one = found(&[("shop", "/p/a.toml", "shop")]);
        assert_eq!(chosen(by_name(&one, "/shop")), Ok("/run/shop.sock".to_owned()));
    }
}
