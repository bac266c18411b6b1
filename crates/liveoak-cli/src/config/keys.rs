//! The keys that each table of `liveoak.toml` may have. The reader refuses every other key; a test holds the JSON
//! Schema to the same lists.

/// Keys of the file's top level: the root supervisor.
pub(crate) const ROOT: &[&str] =
    &["name", "strategy", "intensity", "order", "auto_shutdown", "stop", "child"];

/// Keys of any child, whether it runs a program or is a supervisor.
pub(crate) const COMMON: &[&str] = &["restart", "backoff", "limit", "after", "stop", "significant"];

/// Keys only of a child that runs a program.
pub(crate) const PROCESS_ONLY: &[&str] =
    &["command", "shell", "cwd", "env", "env_file", "ready", "success", "replicas"];

/// Keys only of a child that is a supervisor.
pub(crate) const SUPERVISOR_ONLY: &[&str] = &["strategy", "intensity", "order", "auto_shutdown", "child"];

/// Keys of `intensity` and `limit`.
pub(crate) const LIMIT: &[&str] = &["restarts", "period", "give_up"];

/// Keys of `backoff`.
pub(crate) const BACKOFF: &[&str] = &["from", "to", "reset_after"];

/// Keys of `ready`: the probes (one of them), and the deadline.
pub(crate) const READY: &[&str] = &["delay", "log", "tcp", "unix", "file", "command", "http", "within"];

/// The keys of `ready` that are probes.
pub(crate) const PROBES: &[&str] = &["delay", "log", "tcp", "unix", "file", "command", "http"];

/// Keys of a program's `stop`.
pub(crate) const PROCESS_STOP: &[&str] = &["signal", "within"];

/// Keys of a supervisor's `stop`.
pub(crate) const SUPERVISOR_STOP: &[&str] = &["within"];

/// Every key a child may have, of either kind.
pub(crate) fn any_child() -> Vec<&'static str> {
    [PROCESS_ONLY, SUPERVISOR_ONLY, COMMON].concat()
}

/// The longest name that is compared with others, in bytes; a longer one is no slip of a key.
const MAX_COMPARED: usize = 128;

/// The name among `candidates` that `name` was probably meant to be.
pub(crate) fn near_miss<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > MAX_COMPARED {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&name, &lower), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_found_and_a_stranger_is_not() {
        assert_eq!(near_miss("restrat", COMMON.iter().copied()), Some("restart"));
        assert_eq!(near_miss("auto-shutdown", ROOT.iter().copied()), Some("auto_shutdown"));
        assert_eq!(near_miss("Backoff", COMMON.iter().copied()), Some("backoff"));
        assert_eq!(near_miss("colour", COMMON.iter().copied()), None);
    }
}
