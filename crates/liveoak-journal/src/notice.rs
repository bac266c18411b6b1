//! What happened to a log, for the program to print.

use std::fmt;

/// Something that happened to a log and that its user should know. Nothing of it stops the tree.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogNotice {
    /// A file ends in a record that was never finished, or is damaged elsewhere. Its other records are read.
    Damaged {
        /// The name of the file.
        file: String,
        /// The bytes that are no records.
        bytes: u64,
    },
    /// Something has the name of a file of the log and cannot be read as one. It is left alone.
    Skipped {
        /// The name in the folder.
        file: String,
        /// The reason, as the end of a sentence.
        why: String,
    },
    /// The disk refuses. Records wait in memory, and are lost when they are too many.
    Failing {
        /// The message of the system.
        message: String,
    },
    /// The disk has recovered.
    Recovered {
        /// The records that were lost since the log was opened.
        lost: u64,
    },
    /// The folder was removed and was made again. Its history is gone.
    MadeAgain,
}

impl fmt::Display for LogNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogNotice::Damaged { file, bytes } => {
                write!(
                    f,
                    "{bytes} bytes of {file} are damaged or unfinished and are skipped; all other records are kept"
                )
            }
            LogNotice::Skipped { file, why } => write!(f, "{file} is left alone: {why}"),
            LogNotice::Failing { message } => {
                write!(
                    f,
                    "history cannot be written ({message}); the tree runs on, and writing is tried again"
                )
            }
            LogNotice::Recovered { lost } => {
                write!(f, "history is written again; {lost} records have been lost in this run")
            }
            LogNotice::MadeAgain => write!(f, "the folder of the history was removed, and was made again"),
        }
    }
}
