//! The choices that a spec offers. Each value has a word and a meaning.
//!
//! Files, messages, JSON and the JSON Schema take the words from here; the doc comment of a value is its description.

use std::fmt;

/// Declares enums in which each value has one word.
macro_rules! words {
    ($($(#[doc = $about:literal])+ pub enum $name:ident by default $default:ident {
        $($(#[doc = $meaning:literal])+ $value:ident = $word:literal,)+
    })+) => {$(
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $meaning])+ $value,)+
        }

        impl $name {
            /// Every value, in the order in which messages list them.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// Returns the word for the value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }

            /// Returns what the value means: one or two sentences, for pages and editors.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$value => concat!($($meaning,)+).trim_ascii(),)+
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    )+};
}

words! {
    /// When a child that ended by itself is started again. Source: OTP rows C19–C21.
    ///
    /// A restart calls the closure of the child again, with the same captured values. Take care with channels. A receiver
    /// that the first attempt takes out of the closure is missing in the second: share it, or make the channel inside.
    /// A sender that a closure has captured keeps its channel open for as long as the tree keeps the closure, so a
    /// receiver that waits for the end of the channel waits that long. A closure of `Child::once` is consumed by its
    /// first attempt.
    pub enum Restart by default Permanent {
        /// Always.
        Permanent = "permanent",
        /// After a failure only.
        Transient = "transient",
        /// Never.
        Temporary = "temporary",
    }

    /// Which children are restarted together with one that must be restarted. Source: OTP rows C29–C31.
    pub enum Strategy by default OneForOne {
        /// Only the child that ended.
        OneForOne = "one-for-one",
        /// All children of the supervisor.
        OneForAll = "one-for-all",
        /// The child that ended and those that start after it.
        RestForOne = "rest-for-one",
    }

    /// In what order the children of a supervisor start; they stop in the reverse of it.
    pub enum Order by default Declared {
        /// One after another as declared, each when the one before is ready. A child is moved behind its dependencies.
        Declared = "declared",
        /// Side by side: each child starts as soon as all its `after` edges hold.
        Edges = "edges",
    }

    /// What follows when a child fails before its supervisor has been ready. Source: OTP row C3.
    pub enum FirstStart by default Fail {
        /// The supervisor stops the children that it has started, and fails.
        Fail = "fail",
        /// The child is restarted by its own rule and limit, like after any other failure. The siblings that wait for
        /// it continue to wait. Only a failure that every later attempt would repeat (such as a missing program)
        /// fails the supervisor.
        Retry = "retry",
    }

    /// Whether a supervisor ends when its significant children have ended. Source: OTP rows C45–C48.
    pub enum AutoShutdown by default Never {
        /// It does not end.
        Never = "never",
        /// It ends with the first significant child that ends by itself and is not restarted.
        AnySignificant = "any-significant",
        /// It ends with the last significant child.
        AllSignificant = "all-significant",
    }

    /// Which part of a delay of a [`Backoff`](crate::Backoff) is random.
    pub enum Jitter by default Full {
        /// The whole delay: it is between zero and the ceiling. Children that fail together are spread most.
        Full = "full",
        /// Half of the delay: it is between half of the ceiling and the ceiling.
        Equal = "equal",
        /// Nothing: the delay is the ceiling.
        None = "none",
    }

    /// What a child is for. A role presets settings that the child does not set itself; [`Role::preset`] has the table.
    pub enum Role by default Service {
        /// It answers requests for as long as the tree runs.
        Service = "service",
        /// It takes work from a queue for as long as the tree runs.
        Worker = "worker",
        /// It does one piece of work and ends. It is restarted after a failure only.
        Job = "job",
        /// It helps its siblings, which can do without it for a while. It is quarantined and tried again.
        Sidecar = "sidecar",
        /// It is a supervisor. Only for children with children.
        Supervisor = "supervisor",
    }

    /// How much depends on a child. It decides the severity of the events of the child, and, where nothing else does, what
    /// happens when the child exceeds its limit. A child without a criticality has the severities of `normal`.
    pub enum Criticality by default Normal {
        /// Little: its failures are no warnings. It is quarantined when it exceeds its limit.
        Low = "low",
        /// It is quarantined when it exceeds its limit.
        Normal = "normal",
        /// Much: its failures are errors. When it exceeds its limit, its supervisor fails.
        High = "high",
        /// Everything: its failures are errors, and whatever else interrupts it is a warning. When it exceeds its limit, its
        /// supervisor fails.
        Critical = "critical",
    }

    /// What runs a child.
    pub enum BodyKind by default Task {
        /// An async closure.
        Task = "task",
        /// A value with `init`, `run` and `stop`.
        Service = "service",
        /// A blocking closure on a thread of its own.
        Thread = "thread",
        /// A program: a process group of the operating system.
        Program = "program",
        /// Nothing of its own: it has children.
        Supervisor = "supervisor",
        /// Nothing of its own: it has members, made from one template.
        Group = "group",
    }

    /// What an `after` edge waits for.
    pub enum Condition by default Ready {
        /// The sibling is starting or running (or has completed, or is not needed).
        Started = "started",
        /// The sibling is ready (or has completed, or is not needed).
        Ready = "ready",
        /// The sibling is ready, and its health is good (or it has completed, or is not needed).
        Healthy = "healthy",
        /// The sibling has ended with success and for good, without being stopped by a command or by its supervisor. A sibling
        /// that is not needed counts as well.
        Completed = "completed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_word_and_a_description_and_prints_as_its_word() {
        assert_eq!(
            Restart::ALL.iter().map(|value| value.as_str()).collect::<Vec<_>>(),
            ["permanent", "transient", "temporary"]
        );
        assert_eq!(Strategy::default().to_string(), "one-for-one");
        for text in Jitter::ALL.iter().map(|value| value.description()) {
            assert!(text.ends_with('.') && !text.starts_with(' '), "{text}");
        }
    }
}
