//! One error in the arguments of a kind: the steps to its place, what is wrong, and the words of the file for it.

use crate::text::{join, near_miss, one_of};
use serde_core::de::{Error, Expected, Unexpected};
use std::fmt;

/// One step from the arguments down to a value in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// One error in arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The steps to the wrong value; for an unknown key, to the value of this key.
    pub(crate) steps: Option<Vec<Step>>,
    /// What is wrong.
    pub(crate) problem: Problem,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It is something else than expected.
    Type { found: &'static str, expected: String },
    /// It is of the right type, but no such value is possible.
    Value { expected: String },
    /// It is not one of these words.
    Word { known: &'static [&'static str], near: Option<&'static str> },
    /// The key is not one of these.
    Key { known: &'static [&'static str], near: Option<&'static str> },
    /// The table has no such key.
    Missing(&'static str),
    /// A value in the table is something else than expected, and the type does not say which one (`flatten`, `tag`).
    Inside { found: &'static str, expected: String },
    /// The type says it in its own words.
    Other(String),
}

/// Returns the path of a place in the arguments, as the file would write it.
pub(crate) fn path_of(above: &str, steps: &[Step]) -> String {
    steps.iter().fold(above.to_owned(), |path, step| match step {
        Step::Key(key) => join(&path, key),
        Step::Index(index) => format!("{path}[{index}]"),
    })
}

impl Fault {
    pub(crate) fn steps(&self) -> &[Step] {
        self.steps.as_deref().unwrap_or_default()
    }
}

impl Problem {
    /// Returns what is wrong with the value at `path`.
    pub(crate) fn message(&self, path: &str) -> String {
        match self {
            Self::Type { expected, .. } => format!("`{path}` must be {expected}"),
            Self::Inside { expected, .. } => format!("a value in `{path}` must be {expected}"),
            Self::Value { .. } => format!("`{path}` has a value that is not possible"),
            Self::Word { .. } => format!("`{path}` has an unknown value"),
            Self::Key { .. } => format!("unknown key `{path}`"),
            Self::Missing(key) => format!("`{path}` has no `{key}`"),
            Self::Other(text) => format!("`{path}` is refused: {text}"),
        }
    }

    /// Returns what would have been right, if that is known and the message does not say it.
    pub(crate) fn expected(&self) -> Option<String> {
        match self {
            Self::Value { expected } => Some(expected.clone()),
            Self::Word { known, .. } | Self::Key { known, .. } if known.is_empty() => {
                Some("nothing: there are none".to_owned())
            }
            Self::Word { known, .. } | Self::Key { known, .. } => Some(one_of(known.iter().copied())),
            Self::Type { .. } | Self::Inside { .. } | Self::Missing(_) | Self::Other(_) => None,
        }
    }

    /// Returns what to do about it, if that is known.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::Word { near: Some(near), .. } => Some(format!("did you mean \"{near}\"?")),
            Self::Key { near: Some(near), .. } => Some(format!("did you mean `{near}`?")),
            Self::Missing(key) => Some(format!("add `{key}`: the kind cannot do without it")),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message(&path_of("args", self.steps())))?;
        if let Problem::Type { found, .. } | Problem::Inside { found, .. } = self.problem {
            write!(f, ", found {found}")?;
        }
        self.problem.expected().iter().try_for_each(|expected| write!(f, ", expected {expected}"))?;
        self.problem.help().iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Problem::Other(text.to_string()).into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Problem::Type { found: kind_of(&found), expected: plain(&expected.to_string()) }.into()
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Problem::Value { expected: plain(&expected.to_string()) }.into()
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Problem::Other(format!("it has {length} elements, expected {}", plain(&expected.to_string()))).into()
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Problem::Word { known, near: near_miss(word, known.iter().copied()) }.into()
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Problem::Key { known, near: near_miss(key, known.iter().copied()) }.into()
    }

    fn missing_field(key: &'static str) -> Self {
        Problem::Missing(key).into()
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self { steps: None, problem }
    }
}

/// What messages call a table.
const A_TABLE: &str = "a table";

/// Returns what was found, without the value.
const fn kind_of(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a float",
        Unexpected::Str(_) | Unexpected::Char(_) => "a string",
        Unexpected::Seq => "an array",
        Unexpected::Unit => "nothing",
        _ => A_TABLE,
    }
}

/// Returns the words of the file for what a type of Rust expects.
fn plain(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" | "u128" => "a whole number, 0 or more".to_owned(),
        "i8" => "a whole number from -128 to 127".to_owned(),
        "i16" => "a whole number from -32768 to 32767".to_owned(),
        "i32" => "a whole number from -2147483648 to 2147483647".to_owned(),
        "i64" | "isize" | "i128" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "a table".to_owned(),
        _ if expected.starts_with("struct ") => "a table".to_owned(),
        _ if expected.starts_with("a nonzero ") => "a whole number other than 0".to_owned(),
        _ => expected.to_owned(),
    }
}

impl Fault {
    /// Marks the error of a table as one about a value in it: the table itself has the expected type.
    pub(crate) fn somewhere_inside(self) -> Self {
        match self.problem {
            Problem::Type { found, expected } if self.steps.is_none() && found != A_TABLE => {
                Problem::Inside { found, expected }.into()
            }
            problem => Self { problem, ..self },
        }
    }

    /// Returns the steps to what stands in for the wrong value.
    pub(crate) fn stand_in(&self) -> Vec<Step> {
        let missing = match self.problem {
            Problem::Missing(key) => Some(Step::Key(key.to_owned())),
            _ => None,
        };
        self.steps().iter().cloned().chain(missing).collect()
    }

    /// Returns `true` if the other error is about the stand-in for this value, or cannot be told from this error.
    pub(crate) fn stands_in_for(&self, other: &Self) -> bool {
        other.steps().starts_with(&self.stand_in()) || self == other
    }
}
