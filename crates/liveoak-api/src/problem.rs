//! Why a request was refused: `application/problem+json` (RFC 9457) with a stable code.

use crate::{CommandResult, StepOutcome, wire};

wire! {
    /// Why a request was refused.
    pub struct Problem {
        /// The kind of problem as a URI: `about:blank`, as RFC 9457 has it for problems that `status` and `code` describe.
        #[serde(rename = "type")]
        pub kind: String,
        /// The problem in a few words: always the same for one code.
        pub title: String,
        /// The status of the answer.
        pub status: u16,
        /// The stable code.
        pub code: String,
        /// What is wrong here: one sentence.
        pub detail: String,
        /// What was expected.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expected: Option<String>,
        /// The name that was probably meant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub near_miss: Option<String>,
        /// The child that it is about, or that is the cause.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub path: Option<String>,
        /// Of a command on several children: what came of each.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub results: Option<Vec<CommandResult>>,
        /// Of a plan: what came of each step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub steps: Option<Vec<StepOutcome>>,
        /// The errors of a file, each with its place, as `liveoak check` shows them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub text: Option<String>,
    }
}

/// Every code: the code, its status, and its title.
pub const CODES: &[(&str, u16, &str)] = &[
    ("bad-request", 400, "the request is wrong"),
    ("unauthorized", 401, "a token is needed"),
    ("foreign-origin", 403, "a page of another origin may not do this"),
    ("foreign-host", 403, "the request names another host"),
    ("foreign-user", 403, "the socket belongs to another user"),
    ("socket-only", 403, "this can be asked for only over the unix socket"),
    ("no-such-route", 404, "there is no such route"),
    ("no-such-child", 404, "there is no such child"),
    ("no-such-mode", 404, "there is no such mode"),
    ("unknown-moment", 404, "the tree at that moment is not known"),
    ("method-not-allowed", 405, "this route has another method"),
    ("too-slow", 408, "the request came too slowly"),
    ("refused", 409, "the command was refused"),
    ("not-down", 409, "the child is not down"),
    ("not-quarantined", 409, "the child is not quarantined"),
    ("down", 409, "the child is down"),
    ("supervisor-down", 409, "the supervisor of the child is down"),
    ("only-once", 409, "the child cannot start again"),
    ("still-runs", 409, "processes of the last attempt are alive"),
    ("waits-for", 409, "the child waits for another child"),
    ("kept-down", 409, "the child comes after one that is kept down"),
    ("start-failed", 409, "the attempt failed"),
    ("superseded", 409, "another command came later"),
    ("root", 409, "the root can only be stopped"),
    ("busy", 429, "too many commands wait"),
    ("tree-ended", 409, "the tree has ended"),
    ("not-ended", 409, "the tree has not ended"),
    ("no-file", 409, "the declaration of the tree cannot be read again"),
    ("other-file", 409, "the tree runs another file"),
    ("bad-file", 422, "the declaration has errors"),
    ("root-differs", 409, "the tree itself would have to restart"),
    ("name-taken", 409, "an added child has this name"),
    ("plan-changed", 409, "other steps are due than those that the caller has agreed to"),
    ("cannot-scale", 409, "the number of replicas cannot be changed"),
    ("some-failed", 409, "the command did not have its effect on each child"),
    ("no-address", 409, "the tree listens on no TCP address"),
    ("login-over", 403, "the one-time address was used, or has expired"),
    ("too-large", 413, "the request is too large"),
    ("head-too-large", 431, "the path or the headers of the request are too long"),
    ("wrong-type", 415, "the body is no JSON"),
    ("too-many-requests", 429, "too many requests"),
    ("too-many-connections", 503, "all connections are in use"),
    ("within-exceeded", 504, "the time to wait was over"),
    ("runtime-blocked", 503, "the runtime of the tree is blocked"),
];

impl Problem {
    /// Returns the problem of a code of [`CODES`].
    #[must_use]
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        let known = CODES.iter().find(|(known, ..)| *known == code);
        let (status, title) =
            known.map_or((500, "something is wrong"), |(_, status, title)| (*status, *title));
        Self {
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status,
            code: code.to_owned(),
            detail: detail.into(),
            expected: None,
            near_miss: None,
            path: None,
            results: None,
            steps: None,
            text: None,
        }
    }

    /// Says what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Names what was probably meant.
    #[must_use]
    pub fn near_miss(mut self, name: Option<impl Into<String>>) -> Self {
        self.near_miss = name.map(Into::into);
        self
    }

    /// Adds the errors of a file, each with its place.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Names the child.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }
}

impl std::fmt::Display for Problem {
    /// Writes one sentence, what was expected, and a near miss.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(near) = &self.near_miss {
            write!(f, "; did you mean {near}?")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_once_and_makes_a_problem_of_its_status() {
        for (nth, (code, status, title)) in CODES.iter().enumerate() {
            assert!(CODES[..nth].iter().all(|(before, ..)| before != code), "{code} stands twice");
            let problem = Problem::new(code, "detail");
            assert_eq!((problem.status, problem.title.as_str()), (*status, *title));
        }
        let problem = Problem::new("no-such-child", "there is no child /shop/wbe")
            .near_miss(Some("/shop/web"))
            .expected("a path");
        assert_eq!(
            problem.to_string(),
            "there is no child /shop/wbe; expected a path; did you mean /shop/web?"
        );
    }
}
