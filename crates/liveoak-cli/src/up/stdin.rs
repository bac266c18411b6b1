//! Whether the one child that has `stdin = "inherit"` can be given the input of `liveoak`.

use liveoak::process::Stdin;
use liveoak_config::{Config, Form, SupervisorConfig};

/// Checks that the terminal may be handed over, if a child wants it.
///
/// # Errors
/// When a child wants it, and `liveoak` is not in the foreground of the terminal.
pub(super) fn check(config: &Config) -> Result<(), String> {
    match inheriting(&config.root, &format!("/{}", config.name)) {
        Some(path) if !Stdin::can_be_inherited() => Err(format!(
            "cannot give the terminal to {path} (stdin = \"inherit\"), because liveoak is not in its foreground: \
             run it in the foreground, or redirect its input; nothing was started"
        )),
        _ => Ok(()),
    }
}

/// Returns the path of the child that wants the input.
fn inheriting(supervisor: &SupervisorConfig, above: &str) -> Option<String> {
    supervisor.children.iter().find_map(|child| {
        let path = format!("{above}/{}", child.name);
        match &child.form {
            Form::Program(program) => (program.command.stdin == Stdin::Inherit).then_some(path),
            Form::Supervisor(nested) => inheriting(nested, &path),
        }
    })
}
