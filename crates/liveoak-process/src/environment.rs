//! The environment of an attempt: the variables that its program and the commands of its probe get.
//!
//! It is computed once for each attempt, and nowhere else. So a probe command finds the same variables and the same
//! `PATH` as the program. From the lowest precedence to the highest:
//!
//! 1. the variables of the current process, without those that hold only for the current process itself ([`OF_PARENT`]
//!    and the descriptors of a jobserver);
//! 2. `PWD`, the folder that the program runs in;
//! 3. the variables of the command line; those of a probe command above those of the program;
//! 4. the identity of the attempt: `LIVEOAK_PATH`, `LIVEOAK_REPLICA`, `LIVEOAK_ATTEMPT`.
//!
//! A command line with a cleared environment gets only the last two.

use crate::command::CommandLine;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The variables that tell the program of a child which attempt it is. Each attempt sets them.
pub const IDENTITY_VARIABLES: [&str; 3] = ["LIVEOAK_PATH", "LIVEOAK_REPLICA", "LIVEOAK_ATTEMPT"];

/// Variables that were meant for the current process: they name a descriptor that children do not get, a service manager
/// that expects messages from the current process, or a former working directory.
const OF_PARENT: [&str; 14] = [
    // The present and the former working directory of the current process. Children get a `PWD` of their own.
    "PWD",
    "OLDPWD",
    // Socket activation (sd_listen_fds(3)).
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    // Messages to a service manager (sd_notify(3), sd_watchdog_enabled(3)).
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    // The pipe between Node.js and a process that it forked. Node.js fails if the descriptor is not there.
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    // Listening sockets of Server::Starter and of Einhorn.
    "SERVER_STARTER_PORT",
    "EINHORN_FDS",
    // The control socket of a tree in the current process.
    "LIVEOAK_SOCKET",
];

/// The variables in which make and Cargo pass options, among them those of a jobserver, to the commands that they run.
const MAKE_FLAGS: [&str; 3] = ["MAKEFLAGS", "MFLAGS", "CARGO_MAKEFLAGS"];

/// The identity of an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The path of the child in its tree: `/shop/pool.2`.
    pub(crate) path: String,
    /// The number of the replica, from 1. A child without replicas is its only replica.
    pub(crate) replica: u32,
    /// The number of the attempt, from 1.
    pub(crate) attempt: u64,
}

/// The variables of an attempt. `Debug` shows no values.
#[derive(Clone)]
pub(crate) struct Environment {
    variables: BTreeMap<OsString, OsString>,
    /// `None` for a program that is not a child of a tree.
    identity: Option<Identity>,
    /// `true` if `PWD` is set to the folder of the program.
    has_folder: bool,
}

impl Environment {
    /// Returns the environment of a program that is not a child of a tree.
    pub(crate) fn of_program(command: &CommandLine) -> Environment {
        Environment::inherited(None).with(command)
    }

    /// Returns the environment of an attempt of the child that runs `command`.
    pub(crate) fn of_attempt(command: &CommandLine, identity: Identity) -> Environment {
        Environment::inherited(Some(identity)).with(command)
    }

    /// Returns the variables that a command line inherits from the current process.
    fn inherited(identity: Option<Identity>) -> Environment {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((passed_on(&name, value)?, name)));
        let variables = variables.map(|(value, name)| (name, value)).collect();
        Environment { variables, identity, has_folder: true }
    }

    /// Returns this environment with the variables of `command` on top. Used for the probe commands of the attempt, and as the
    /// last step for its program.
    pub(crate) fn with(&self, command: &CommandLine) -> Environment {
        let mut all = match command.env_cleared {
            true => Environment { variables: BTreeMap::new(), has_folder: false, ..self.clone() },
            false => self.clone(),
        };
        all.variables.extend(command.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let Some(Identity { path, replica, attempt }) = &all.identity {
            let values = [path.clone(), replica.to_string(), attempt.to_string()];
            let named = IDENTITY_VARIABLES.into_iter().zip(values);
            all.variables.extend(named.map(|(name, value)| (name.into(), value.into())));
        }
        all
    }

    /// Returns the `PATH`, if there is one.
    pub(crate) fn search_path(&self) -> Option<&OsStr> {
        self.variables.get(OsStr::new("PATH")).map(OsString::as_os_str)
    }

    /// Returns the variables of a program. `folder` is the absolute path in which it runs, or `None` if the path is not
    /// known.
    pub(crate) fn variables<'a>(
        &'a self,
        folder: Option<&'a OsStr>,
    ) -> impl Iterator<Item = (&'a OsStr, &'a OsStr)> {
        let pwd = OsStr::new("PWD");
        let folder = folder.filter(|_| self.has_folder && !self.variables.contains_key(pwd));
        let folder = folder.map(|folder| (pwd, folder));
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())).chain(folder)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&OsString> = self.variables.keys().collect();
        write!(f, "Environment({names:?}, values not shown)")
    }
}

/// Returns the value of an inherited variable that children get, or `None` if they do not get the variable.
fn passed_on(name: &OsStr, value: OsString) -> Option<OsString> {
    match name.to_str() {
        Some(name) if OF_PARENT.contains(&name) => None,
        Some(name) if MAKE_FLAGS.contains(&name) => without_jobserver(&value).map(|kept| match kept {
            Cow::Borrowed(_) => value.clone(),
            Cow::Owned(kept) => kept,
        }),
        _ => Some(value),
    }
}

/// Removes from the options for make a jobserver that is given by descriptors, because children do not get these
/// descriptors, and returns the rest. Keeps a jobserver with a name (`fifo:PATH`). Without a jobserver, changes nothing.
/// Returns `None` if no option is left.
///
/// Without its jobserver, `-j4` would allow four jobs in addition to those of the outer make. So `-j` is removed as
/// well.
fn without_jobserver(flags: &OsStr) -> Option<Cow<'_, OsStr>> {
    let words = split_words(flags.as_bytes());
    // After `--` come variables of make, as in `-- CFLAGS=-j`.
    let options = words.iter().position(|word| word.trim_ascii() == b"--").unwrap_or(words.len());
    if !words[..options].iter().any(|word| is_jobserver_by_descriptor(word.trim_ascii())) {
        return Some(Cow::Borrowed(flags));
    }
    let kept = words.iter().enumerate().filter(|(at, word)| {
        let word = word.trim_ascii();
        *at >= options || !(is_jobserver_by_descriptor(word) || is_number_of_jobs(word))
    });
    let kept: Vec<u8> = kept.flat_map(|(_, word)| word.iter().copied()).collect();
    let kept = kept.trim_ascii_end();
    (!kept.is_empty()).then(|| Cow::Owned(OsString::from_vec(kept.to_vec())))
}

/// Splits the text after each run of blanks. The parts together are the text. A blank after `\` belongs to a word.
fn split_words(text: &[u8]) -> Vec<&[u8]> {
    let (mut words, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, &byte) in text.iter().enumerate() {
        let ends = byte == b' ' && !escaped && text.get(at + 1).is_some_and(|&next| next != b' ');
        if ends {
            words.push(&text[start..=at]);
            start = at + 1;
        }
        escaped = byte == b'\\' && !escaped;
    }
    words.push(&text[start..]);
    words
}

/// Returns `true` for `--jobserver-auth=3,4`, and for its older spelling `--jobserver-fds=3,4` (make before 4.2).
fn is_jobserver_by_descriptor(word: &[u8]) -> bool {
    let auth = word.strip_prefix(b"--jobserver-auth=").or_else(|| word.strip_prefix(b"--jobserver-fds="));
    auth.is_some_and(|auth| !auth.starts_with(b"fifo:"))
}

/// Returns `true` for `-j`, `-j4`, `--jobs` and `--jobs=4`.
fn is_number_of_jobs(word: &[u8]) -> bool {
    let number = |rest: &[u8]| rest.iter().all(u8::is_ascii_digit);
    word.strip_prefix(b"-j").is_some_and(number)
        || word == b"--jobs"
        || word.strip_prefix(b"--jobs=").is_some_and(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { path: "/shop/pool.2".to_owned(), replica: 2, attempt: 7 }
    }

    fn value(environment: &Environment, name: &str) -> Option<String> {
        let found = environment.variables(Some(OsStr::new("/folder"))).find(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_string_lossy().into_owned())
    }

    #[test]
    fn no_variable_overrides_the_identity_of_an_attempt() {
        let command = CommandLine::new("x").env("LIVEOAK_PATH", "/other").env("LIVEOAK_REPLICA", "9");
        for command in [command.clone(), command.env_clear()] {
            let environment = Environment::of_attempt(&command, identity());
            for (name, expected) in IDENTITY_VARIABLES.into_iter().zip(["/shop/pool.2", "2", "7"]) {
                assert_eq!(value(&environment, name).as_deref(), Some(expected), "{name}");
                let probe = environment.with(&CommandLine::new("probe").env(name, "other"));
                assert_eq!(value(&probe, name).as_deref(), Some(expected), "{name}");
            }
        }
    }

    #[test]
    fn the_variables_of_a_probe_command_override_those_of_the_program() {
        let command = CommandLine::new("x").env("A", "1").env("B", "1").env("PATH", "/theirs");
        let environment = Environment::of_attempt(&command, identity());
        let probe = environment.with(&CommandLine::new("probe").env("B", "2"));
        assert_eq!(["A", "B"].map(|name| value(&probe, name)), [Some("1".to_owned()), Some("2".to_owned())]);
        assert_eq!(probe.search_path(), Some(OsStr::new("/theirs")));
        let cleared = environment.with(&CommandLine::new("probe").env_clear().env("B", "2"));
        assert_eq!((value(&cleared, "A"), cleared.search_path()), (None, None));
    }

    #[test]
    fn pwd_is_set_unless_the_command_line_sets_it_or_clears_the_environment() {
        let told = |command: CommandLine| value(&Environment::of_program(&command), "PWD");
        assert_eq!(told(CommandLine::new("x")).as_deref(), Some("/folder"));
        assert_eq!(told(CommandLine::new("x").env("PWD", "/own")).as_deref(), Some("/own"));
        assert_eq!(told(CommandLine::new("x").env_clear()), None);
    }

    #[test]
    fn the_search_path_is_the_path_that_the_program_will_see() {
        let of =
            |command: CommandLine| Environment::of_program(&command).search_path().map(OsStr::to_os_string);
        assert_eq!(of(CommandLine::new("x").env_clear()), None);
        assert_eq!(of(CommandLine::new("x").env("PATH", "/a")), Some("/a".into()));
        assert_eq!(of(CommandLine::new("x")), std::env::var_os("PATH"));
    }

    #[test]
    fn variables_meant_only_for_the_current_process_are_not_passed_on() {
        for name in OF_PARENT {
            assert_eq!(passed_on(OsStr::new(name), "3".into()), None, "{name}");
        }
        for name in ["HOME", "LISTEN", "MAKELEVEL", "XDG_RUNTIME_DIR"] {
            assert_eq!(passed_on(OsStr::new(name), "3".into()), Some("3".into()), "{name}");
        }
    }

    #[test]
    fn only_a_jobserver_with_a_path_is_passed_on() {
        for (flags, kept) in [
            (" -j4 --jobserver-auth=3,4", None),
            ("-j --jobserver-fds=3,4 --jobserver-auth=3,4", None),
            (" --jobserver-fds=3,4 -j", None),
            ("w -j4 --jobserver-auth=3,4", Some("w")),
            ("-w -j4 --jobserver-auth=-2,-2 -l8", Some("-w -l8")),
            (
                "kw --jobs=4 --jobserver-auth=3,4 -- A=b\\ -j4 C=--jobserver-auth=3,4",
                Some("kw -- A=b\\ -j4 C=--jobserver-auth=3,4"),
            ),
            (" -j4 --jobserver-auth=fifo:/tmp/GMfifo77", Some(" -j4 --jobserver-auth=fifo:/tmp/GMfifo77")),
            ("-j4", Some("-j4")),
            ("k -- J=--jobserver-auth=3,4 -j2", Some("k -- J=--jobserver-auth=3,4 -j2")),
            ("", Some("")),
        ] {
            for name in MAKE_FLAGS {
                assert_eq!(passed_on(OsStr::new(name), flags.into()), kept.map(OsString::from), "{flags}");
            }
            assert_eq!(passed_on(OsStr::new("FLAGS"), flags.into()), Some(flags.into()), "{flags}");
        }
    }

    #[test]
    fn debug_shows_no_value_of_a_variable() {
        let environment = Environment::of_attempt(&CommandLine::new("x").env("TOKEN", "hunter2"), identity());
        let shown = format!("{environment:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }
}
