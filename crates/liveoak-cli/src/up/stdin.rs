//! Checks whether the one child with `stdin = "inherit"` can get the input of `liveoak`, and restores the terminal afterwards.

use std::io::IsTerminal as _;

use liveoak::process::Stdin;
use liveoak_config::{Config, Form, SupervisorConfig};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The settings that the terminal had before a child got it. Dropping this value restores them. A child that is stopped while
/// it reads a password, or in raw mode, does not restore them itself.
pub(super) struct KeptTerminal(Termios);

impl Drop for KeptTerminal {
    fn drop(&mut self) {
        // In the background, the terminal belongs to another program, and the call would suspend this one.
        if Stdin::can_be_inherited() {
            // This fails only if the terminal is gone.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
        }
    }
}

/// Checks that a child with `stdin = "inherit"` may get the terminal. Returns the guard that restores the terminal's settings.
///
/// # Errors
/// Returns an error if there is such a child, and `liveoak` is not in the foreground of the terminal, or has read the file from
/// its input.
pub(super) fn hand_over(config: &Config) -> Result<Option<KeptTerminal>, String> {
    match inheriting_child(config) {
        Some(path) if config.is_stdin() && !std::io::stdin().is_terminal() => Err(format!(
            "cannot give the standard input to {path} (stdin = \"inherit\"), because the file was read from it to its end: \
             name the file by its path; nothing was started"
        )),
        Some(path) if !Stdin::can_be_inherited() => Err(format!(
            "cannot give the terminal to {path} (stdin = \"inherit\"), because liveoak is not in its foreground: \
             run it in the foreground, or redirect its input; nothing was started"
        )),
        // An input that is not a terminal has no settings.
        Some(_) => Ok(tcgetattr(std::io::stdin()).ok().map(KeptTerminal)),
        None => Ok(None),
    }
}

/// Returns the path of the child with `stdin = "inherit"`, if there is one.
pub(super) fn inheriting_child(config: &Config) -> Option<String> {
    inheriting(&config.root, &format!("/{}", config.name))
}

fn inheriting(supervisor: &SupervisorConfig, above: &str) -> Option<String> {
    supervisor.children.iter().find_map(|child| {
        let path = format!("{above}/{}", child.name);
        match &child.form {
            Form::Program(program) => (program.command.stdin == Stdin::Inherit).then_some(path),
            Form::Supervisor(nested) => inheriting(nested, &path),
            Form::Kind(_) => None,
        }
    })
}
