//! Recognises files of other tools, such as a Procfile, a Compose file or a systemd unit, and advises how to translate them.
//!
//! Liveoak looks for such a file when there is no `liveoak.toml`, and when a file is not TOML. It does not read these files,
//! because most of their keys have no counterpart in `liveoak.toml`.

use crate::bounds::DEFAULT_FILE;
use crate::text::near_miss;
use std::path::{Path, PathBuf};

/// How many files of a folder are compared with `liveoak.toml` to find a similar name.
const MAX_NAMES: usize = 1000;

/// What to do if the working directory is gone.
pub(crate) const REMOVED_FOLDER: &str =
    "the working directory may have been removed: change to another one, and start again";

/// A kind of file of another tool.
struct ForeignFile {
    /// The start and the end of the names of such files, in lower case.
    names: &'static [(&'static str, &'static str)],
    /// Returns `true` for a text of this kind. Called only for texts that are not TOML.
    is_text: fn(&str) -> bool,
    /// How its parts correspond to those of `liveoak.toml`.
    advice: &'static str,
}

/// The kinds, the special ones before the general ones.
const KINDS: [ForeignFile; 6] = [
    ForeignFile {
        names: &[("procfile", "")],
        is_text: is_procfile,
        advice: "this is a Procfile: write each line `NAME: COMMAND` as [child.NAME] and below it shell = \"COMMAND\"",
    },
    ForeignFile {
        names: &[("", ".service")],
        is_text: |text| has_header(text, &["[unit]", "[service]", "[install]"]),
        advice: "this is a systemd unit: write [child.NAME], and below it `ExecStart=` as command = \"...\", `After=` as \
                 `after`, `WorkingDirectory=` as `cwd`, `Environment=` as `env`, `Restart=` as `restart`",
    },
    ForeignFile {
        names: &[("supervisord", ".conf")],
        is_text: |text| {
            has_header(text, &["[program:", "[supervisord", "[group:", "[unix_http_server", "[include"])
        },
        advice: "this is a file of supervisord: write [program:NAME] as [child.NAME], texts in quotes, `directory` as `cwd`, \
                 `environment` as `env`, `numprocs` as `replicas`, `autorestart` as `restart`",
    },
    ForeignFile {
        names: &[("ecosystem.config", "js")],
        is_text: |text| text.contains("module.exports"),
        advice: "this is a file of pm2: write each app as [child.NAME] and below it command = [\"node\", \"app.js\"], \
                 `instances` as `replicas`",
    },
    ForeignFile {
        names: &[
            ("docker-compose", ".yml"),
            ("docker-compose", ".yaml"),
            ("compose", ".yml"),
            ("compose", ".yaml"),
            ("process-compose", ".yml"),
            ("process-compose", ".yaml"),
            ("mprocs", ".yaml"),
        ],
        is_text: is_yaml,
        advice: "this is YAML: write each service or process as [child.NAME] and below it command = \"...\", `environment` as \
                 `env`, `depends_on` as `after`, `healthcheck` as `ready`; Liveoak runs programs, not container images",
    },
    ForeignFile {
        names: &[],
        is_text: |text| text.trim_start().starts_with('{'),
        advice: "this is JSON: write each program as [child.NAME] and below it command = \"...\"",
    },
];

/// Returns the advice for a text that is not TOML, if it is a file of another tool.
pub(crate) fn recognized(text: &str) -> Option<&'static str> {
    KINDS.iter().find(|kind| (kind.is_text)(text)).map(|kind| kind.advice)
}

/// Returns the advice for a missing `file`: use a similar file or one of a folder above, or translate a file of another tool.
pub(crate) fn help_without_file(file: &Path) -> String {
    let folder = file.parent().unwrap_or(Path::new(""));
    let names = names_in(folder);
    let wanted = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(similar) = similar_name(&wanted, &names) {
        return format!(
            "there is {}; if that is the file, name it on the command line, or rename it",
            folder.join(similar).display()
        );
    }
    let foreign = names.iter().find_map(|name| Some((name, advice_for_name(name)?)));
    if let Some((name, advice)) = foreign {
        return format!("there is {}; {advice}", folder.join(name).display());
    }
    if let Some(above) = file_above(file) {
        return format!("there is one in a folder above: {}", above.display());
    }
    if file.is_relative() && std::env::current_dir().is_err() {
        return REMOVED_FOLDER.to_owned();
    }
    format!(
        "name a file that exists, as in path/to/{DEFAULT_FILE}, or write one: [child.db] and below it command = \"redis-server\""
    )
}

/// Returns the first names in a folder, sorted.
fn names_in(folder: &Path) -> Vec<String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_NAMES);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Returns the name that the file was probably meant to have.
fn similar_name<'n>(wanted: &str, names: &'n [String]) -> Option<&'n String> {
    // A browser or an editor may have appended an extension.
    let longer =
        names.iter().find(|name| name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.')));
    longer.or_else(|| {
        let (stem, extension) = wanted.rsplit_once('.')?;
        let is_candidate = |name: &&String| {
            let parts = name.rsplit_once('.');
            parts.is_some_and(|(other, end)| {
                near_miss(stem, [other]).is_some() && near_miss(extension, [end]).is_some()
            })
        };
        names.iter().find(is_candidate)
    })
}

fn advice_for_name(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let is_it = |kind: &&ForeignFile| {
        kind.names.iter().any(|(start, end)| name.starts_with(start) && name[start.len()..].ends_with(end))
    };
    KINDS.iter().find(is_it).map(|kind| kind.advice)
}

/// Returns the file of the same name in the nearest folder above, if `file` is a bare name.
fn file_above(file: &Path) -> Option<PathBuf> {
    let here = std::env::current_dir().ok().filter(|_| file.components().count() == 1)?;
    here.ancestors().skip(1).map(|folder| folder.join(file)).find(|file| file.is_file())
}

/// Returns the lines of a text that are neither blank nor a comment.
fn content(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['#', ';']))
}

fn has_header(text: &str, headers: &[&str]) -> bool {
    let starts = |line: &str| headers.iter().any(|header| line.trim().to_lowercase().starts_with(header));
    content(text).any(starts)
}

/// Returns `true` if every line is `NAME: COMMAND`.
fn is_procfile(text: &str) -> bool {
    let is_process = |line: &str| {
        let name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        };
        line.split_once(':').is_some_and(|(before, command)| name(before) && !command.trim().is_empty())
    };
    content(text).next().is_some() && content(text).all(is_process)
}

/// Returns `true` if the first line is a document mark, or a key with a colon.
fn is_yaml(text: &str) -> bool {
    let is_key = |line: &str| {
        let colon = line.find(':').filter(|&at| line[at + 1..].is_empty() || line[at + 1..].starts_with(' '));
        colon.is_some_and(|at| !line[..at].contains(['=', '[', ' ']))
    };
    content(text).next().is_some_and(|line| line.trim_end() == "---" || is_key(line.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_tool_is_recognized_by_its_text() {
        for (text, word) in [
            ("web: npm start\nworker: ./work -q 'a: b'\n", "Procfile"),
            ("# c\n[Unit]\nAfter=network.target\n[Service]\nExecStart=/bin/x\n", "systemd"),
            ("[supervisord]\nnodaemon=true\n[program:web]\ncommand=/bin/x\n", "supervisord"),
            ("version: '3'\nservices:\n  web:\n    image: x\n", "YAML"),
            ("---\na: 1\n", "YAML"),
            ("module.exports = { apps: [] }\n", "pm2"),
            ("{ \"apps\": [] }", "JSON"),
        ] {
            assert!(recognized(text).is_some_and(|advice| advice.contains(word)), "{text}");
        }
        for text in ["[child.a]\ncommand = x\n", "name = \"a: b\"\n", "", "# web: x\n", "a = 1\nb: 2\n"] {
            assert_eq!(recognized(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_of_another_tool_is_recognized_by_its_name() {
        for name in ["Procfile", "Procfile.dev", "docker-compose.override.yml", "compose.yaml", "a.service"] {
            assert!(advice_for_name(name).is_some(), "{name}");
        }
        for name in ["main.rs", "compose.rs", "package.json", "services", "app.conf"] {
            assert_eq!(advice_for_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_similar_file_name_is_found_and_a_different_one_is_not() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for similar in ["liveoak.toml.txt", "Liveoak.toml", "livoak.toml", "liveoak.tml"] {
            assert_eq!(
                similar_name(DEFAULT_FILE, &names(&["a", similar])).map(String::as_str),
                Some(similar)
            );
        }
        assert_eq!(
            similar_name(DEFAULT_FILE, &names(&["Cargo.toml", "liveoak.schema.json", "pyproject.toml"])),
            None
        );
    }
}
