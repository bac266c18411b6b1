//! The file `liveoak.toml`: [`load()`] reads the whole file and returns either a [`Config`] that has passed every check,
//! or a [`Diagnostics`] with all errors.
//!
//! A [`Config`] holds the specs of `liveoak-core` and the command lines and probes of `liveoak-process`, so a program
//! can build its tree from it without looking at the file again. From the text of the file to the `exec` of a program,
//! a child has these shapes:
//!
//! 1. a parsed TOML table, and a view of it with places (`table`)
//! 2. a [`ChildConfig`] of the [`Config`]: its `ChildSpec`, `CommandLine` and `Probe`
//! 3. a `liveoak_process::Program`, the builder of the child in the tree
//! 4. a `ChildDeclaration` for the machine, and the body that the driver runs
//! 5. the arguments of `execve(2)`, made for each attempt from the shared `CommandLine`
//!
//! The layers, lowest first. A module uses only its own layer and lower ones:
//!
//! - `bounds`, `duration`, `text`: bounds, durations, pieces of messages
//! - `other_words`: the words of other tools for the keys and values
//! - `types`, `keys`: the table of keys, and the JSON Schema made from it
//! - `diagnostic`, `render`: errors as data, and how they look
//! - `source`, `syntax`, `table`, `env_file`: from a path to text, from text to tables
//! - `shell_syntax`: finds shell syntax in a command
//! - `config`: the result; `reader`: the state of reading
//! - `supervision`, `program`: the keys of a child
//! - `tree`: the root, supervisors and children
//! - `spec_errors`: broken rules of the core, shown at their place in the file
//! - `other_tools`: files of other tools, and how to translate them
//! - `load`: calls all layers in order; `fuzzing` (for tests): the properties that hold for any input bytes

mod bounds;
mod checks;
mod config;
mod diagnostic;
mod duration;
mod env_file;
mod keys;
mod load;
mod other_tools;
mod other_words;
mod program;
mod reader;
mod render;
mod replica;
mod secrets;
mod shell_syntax;
mod source;
mod spec_errors;
mod supervision;
mod syntax;
mod table;
mod text;
mod tree;
mod types;

// For the fuzz target, which checks the same properties as a test.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
#[path = "tests/promises.rs"]
pub mod fuzzing;
#[cfg(test)]
mod tests;

pub use bounds::DEFAULT_FILE;
pub use config::{ChildConfig, Config, Form, ProgramConfig, ReplicaConfig, SupervisorConfig};
pub use diagnostic::Diagnostics;
pub use duration::{format_duration, parse_duration};
pub use keys::schema;
pub use load::load;
