//! Whether the one child that has `stdin = "inherit"` can be given the input of `liveoak`, and what it leaves behind there.

use liveoak::process::Stdin;
use liveoak_config::{Config, Form, SupervisorConfig};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The settings that the terminal had before a child got it. They are set again when this value is dropped, because a child
/// that was stopped in the middle of a password, or in raw mode, does not do it.
pub(super) struct KeptTerminal(Termios);

impl Drop for KeptTerminal {
    fn drop(&mut self) {
        // In the background, the terminal belongs to another program, and the call would suspend this one.
        if Stdin::can_be_inherited() {
            // A terminal that is gone needs no settings.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
        }
    }
}

/// Checks that the terminal may be handed over, if a child wants it. Returns what keeps its settings.
///
/// # Errors
/// When a child wants it, and `liveoak` is not in the foreground of the terminal.
pub(super) fn hand_over(config: &Config) -> Result<Option<KeptTerminal>, String> {
    match inheriting(&config.root, &format!("/{}", config.name)) {
        Some(path) if !Stdin::can_be_inherited() => Err(format!(
            "cannot give the terminal to {path} (stdin = \"inherit\"), because liveoak is not in its foreground: \
             run it in the foreground, or redirect its input; nothing was started"
        )),
        // An input that is no terminal has no settings.
        Some(_) => Ok(tcgetattr(std::io::stdin()).ok().map(KeptTerminal)),
        None => Ok(None),
    }
}

/// Returns the path of the child that wants the input.
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
