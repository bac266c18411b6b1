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
//! - `bounds`, `duration`, `text`, `secrets`: bounds, durations, pieces of messages, and what messages hide
//! - `other_words`: the words of other tools for the keys and values
//! - `types`, `start`, `keys`: the table of keys, and the JSON Schema made from it
//! - `diagnostic`, `render`: errors as data, and how they look
//! - `source`, `stream`, `syntax`, `table`, `env_file`: from a path to text, from text to tables
//! - `shell_syntax`: finds shell syntax in a command
//! - `fault`, `stand_in`, `args`, `kinds`, `kind_value`: arguments as typed values, and the kinds that take them
//! - `config`: the result; `defaults`: what children inherit; `reader`: the state of reading
//! - `supervision`, `description`, `program`, `checks`, `variables`, `replica`, `kind`, `read_defaults`: the keys of a
//!   child and of `[defaults]`
//! - `modes`: the modes of the tree
//! - `tree`: the root, supervisors and children
//! - `spec_errors`: broken rules of the core, shown at their place in the file
//! - `other_tools`: files of other tools, and how to translate them
//! - `build`: from a config to the builders of the library
//! - `plan`: how two configs differ
//! - `load`: calls all layers in order; `scaled`: the same with other numbers of replicas; `fuzzing` (for tests): the properties that hold for any input bytes

mod args;
mod bounds;
mod build;
mod checks;
mod config;
mod defaults;
mod description;
mod diagnostic;
mod duration;
mod env_file;
mod fault;
mod keys;
mod kind;
mod kind_value;
mod kinds;
mod load;
mod modes;
mod other_tools;
mod other_words;
mod plan;
mod program;
mod read_defaults;
mod reader;
mod render;
mod replica;
mod scaled;
mod secrets;
mod shell_syntax;
mod source;
mod spec_errors;
mod stand_in;
mod start;
mod stream;
mod supervision;
mod syntax;
mod table;
mod text;
mod tree;
mod types;
mod variables;

// For the fuzz target, which checks the same properties as a test.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
#[path = "tests/promises.rs"]
pub mod fuzzing;
#[cfg(test)]
mod tests;

pub use args::Args;
pub use bounds::DEFAULT_FILE;
pub use build::FromFile;
pub use config::{
    ChildConfig, Config, Form, KindConfig, ProgramConfig, ReplicaConfig, SupervisorConfig, ValueWarning,
};
pub use diagnostic::Diagnostics;
pub use duration::{format_duration, parse_duration};
pub use keys::schema;
pub use kinds::{Kind, Kinds, LaunchError};
pub use liveoak_core::{Mode, PlanAction, PlanStep};
pub use load::{load, load_and_tell, load_with};
pub use plan::plan;
pub use scaled::{ScaleError, load_scaled};
pub use text::one_line;
