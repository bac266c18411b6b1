//! The route table: every route of the control interface, once.
//!
//! The server routes by it, `openapi.json` is made of it, and clients read from it what a verb does to the world.

/// The method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Changes something.
    Post,
}

impl Method {
    /// Returns the method as HTTP writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// What a route may do to the world. A route without any impact reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impact {
    /// Children that are down may start.
    Starts,
    /// Children that run may be stopped and started again.
    Restarts,
    /// Children that run may be stopped, or may not start again when they end.
    Stops,
}

impl Impact {
    /// Returns the impact as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starts => "starts",
            Self::Restarts => "restarts",
            Self::Stops => "stops",
        }
    }
}

/// A parameter in the query of a route.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its JSON type: `string`, `number`, `integer` or `boolean`; or a kind of string: `pattern`, `kinds`, `moment`, `wait-for`.
    pub kind: &'static str,
    /// What it means.
    pub about: &'static str,
}

/// What a route answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One JSON value of this type.
    One(&'static str),
    /// A JSON array of this type.
    List(&'static str),
    /// A JSON array of the first type, or of the second if only the plan was asked for.
    ListOrPlan(&'static str, &'static str),
    /// Server-sent events, each with one JSON value of this type as its data.
    Stream(&'static str),
    /// Plain text.
    Text,
    /// A JSON document without a type of its own.
    Document,
    /// A redirect to another route, with a cookie.
    Redirect,
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path. `{path}` is the path of a child: without the name of the tree (`ingest/kafka`), or with it and a leading slash
    /// (`%2Fshop%2Fingest%2Fkafka`). Slashes may be written as `%2F`.
    pub path: &'static str,
    /// What it does to the world; empty if it reads.
    pub impacts: &'static [Impact],
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The parameters of its query.
    pub parameters: &'static [Parameter],
    /// The type of its body, if it has one.
    pub body: Option<&'static str>,
    /// What it answers.
    pub answer: Answer,
    /// The codes of the problems that it may answer, besides those that every route may.
    pub problems: &'static [&'static str],
    /// `true` if it needs no token over TCP.
    pub open: bool,
}

const READS: Route = Route {
    method: Method::Get,
    path: "",
    impacts: &[],
    summary: "",
    parameters: &[],
    body: None,
    answer: Answer::Document,
    problems: &[],
    open: false,
};

const fn parameter(name: &'static str, kind: &'static str, about: &'static str) -> Parameter {
    Parameter { name, kind, about }
}

const PATHS: Parameter =
    parameter("path", "pattern", "Only children whose path matches this pattern: `ingest/*`, `/shop/**`.");
const SINCE: Parameter = parameter(
    "since",
    "moment",
    "Only what happened from this moment on: RFC 3339, or a length of time before now, such as `1h`.",
);
const LAST: Parameter =
    parameter("last", "integer", "At most this many of what has happened already: the last.");
const FOLLOW: Parameter = parameter(
    "follow",
    "boolean",
    "`true`: go on with what happens from now on. `false` (the default): end with what has happened already.",
);
const AT: Parameter = parameter(
    "at",
    "moment",
    "The tree as it was at this moment, from the journal: RFC 3339, or a length of time before now, such as `1h`.",
);
const WITHIN: Parameter = parameter("within_s", "number", "How long to wait, in seconds. Default: 60.");

const COMMAND: Route = Route {
    method: Method::Post,
    body: Some("CommandRequest"),
    answer: Answer::ListOrPlan("CommandResult", "PlanStep"),
    problems: &[
        "no-such-child",
        "some-failed",
        "refused",
        "supervisor-down",
        "root",
        "only-once",
        "still-runs",
        "waits-for",
        "kept-down",
        "start-failed",
        "superseded",
        "not-down",
        "not-quarantined",
        "busy",
        "tree-ended",
        "within-exceeded",
        "runtime-blocked",
    ],
    ..READS
};

const APPLY_PROBLEMS: &[&str] = &[
    "no-such-child",
    "no-file",
    "other-file",
    "bad-file",
    "root-differs",
    "name-taken",
    "cannot-scale",
    "plan-changed",
    "some-failed",
    "refused",
    "supervisor-down",
    "only-once",
    "still-runs",
    "waits-for",
    "kept-down",
    "start-failed",
    "superseded",
    "busy",
    "tree-ended",
    "runtime-blocked",
];

/// Every route.
pub const ROUTES: &[Route] = &[
    Route {
        path: "/v1/tree",
        summary: "The whole tree as it is now, or as it was at a moment.",
        parameters: &[AT],
        answer: Answer::One("Tree"),
        problems: &["unknown-moment"],
        ..READS
    },
    Route {
        path: "/v1/status",
        summary: "How the whole tree is, as one value.",
        answer: Answer::One("Status"),
        ..READS
    },
    Route {
        path: "/v1/children",
        summary: "All children as a flat list, supervisors before their children.",
        parameters: &[PATHS, AT],
        answer: Answer::List("Child"),
        problems: &["no-such-child", "unknown-moment"],
        ..READS
    },
    Route {
        path: "/v1/children/{path}",
        summary: "One child, with the children below it.",
        parameters: &[AT],
        answer: Answer::One("Child"),
        problems: &["no-such-child", "unknown-moment"],
        ..READS
    },
    Route {
        path: "/v1/explain/{path}",
        summary: "What a child does now, and why.",
        answer: Answer::One("Explanation"),
        problems: &["no-such-child"],
        ..READS
    },
    Route {
        path: "/v1/diagnose",
        summary: "What is wrong in the tree, each with its evidence, since when, and the command that helps.",
        parameters: &[parameter(
            "path",
            "pattern",
            "Only findings about children whose path matches this pattern, and about the children below them.",
        )],
        answer: Answer::List("Finding"),
        problems: &["no-such-child", "busy"],
        ..READS
    },
    Route {
        path: "/v1/checks/{path}",
        summary: "Asks all checks of a child, and of the children below it, once. The answers change nothing.",
        answer: Answer::List("CheckAnswer"),
        problems: &["no-such-child", "runtime-blocked"],
        ..READS
    },
    Route {
        path: "/v1/wait/{path}",
        summary: "Waits until a child is as wanted.",
        parameters: &[
            parameter(
                "for",
                "wait-for",
                "`ready` (the default), `running`, `stopped`, `completed` or `healthy`.",
            ),
            WITHIN,
        ],
        answer: Answer::One("Waited"),
        problems: &["no-such-child"],
        ..READS
    },
    Route {
        path: "/v1/events",
        summary: "The events of the tree. The id of each is `RUN-n`; `Last-Event-ID` goes on after it.",
        parameters: &[
            PATHS,
            parameter("kind", "kinds", "Only events of these kinds, separated by commas."),
            SINCE,
            LAST,
            FOLLOW,
        ],
        answer: Answer::Stream("Event"),
        ..READS
    },
    Route {
        path: "/v1/logs",
        summary: "The output of the programs. The id of each line is `RUN-n`; `Last-Event-ID` goes on after it.",
        parameters: &[PATHS, SINCE, LAST, FOLLOW],
        answer: Answer::Stream("OutputLine"),
        ..READS
    },
    Route {
        path: "/v1/crashes",
        summary: "The last attempts that failed by themselves: exit, last lines of output, and what was decided. Oldest first.",
        parameters: &[
            PATHS,
            SINCE,
            parameter("last", "integer", "At most this many: the last. Default: 100; at most 1000."),
        ],
        answer: Answer::List("Crash"),
        problems: &["busy"],
        ..READS
    },
    Route {
        path: "/v1/report",
        summary: "How the tree has ended.",
        answer: Answer::One("Report"),
        problems: &["not-ended"],
        ..READS
    },
    Route {
        path: "/v1/commands/start",
        impacts: &[Impact::Starts],
        summary: "Starts children that are down. The answer comes when each is ready or has failed.",
        ..COMMAND
    },
    Route {
        path: "/v1/commands/stop",
        impacts: &[Impact::Stops],
        summary: "Stops children. They stay down until a command starts them.",
        ..COMMAND
    },
    Route {
        path: "/v1/commands/restart",
        impacts: &[Impact::Restarts],
        summary: "Stops children and starts them again, without a backoff.",
        ..COMMAND
    },
    Route {
        path: "/v1/commands/pause",
        impacts: &[Impact::Stops],
        summary: "Pauses children: what runs goes on running, and what ends is not started again.",
        ..COMMAND
    },
    Route {
        path: "/v1/commands/resume",
        impacts: &[Impact::Starts],
        summary: "Ends the pause of children. What ended meanwhile starts.",
        ..COMMAND
    },
    Route {
        path: "/v1/commands/quarantine",
        impacts: &[Impact::Stops],
        summary: "Stops children and takes them out of service.",
        ..COMMAND
    },
    Route {
        path: "/v1/commands/release",
        impacts: &[Impact::Starts],
        summary: "Ends the quarantine of children, and forgets their failures. They start.",
        ..COMMAND
    },
    Route {
        path: "/v1/commands/mode",
        impacts: &[Impact::Starts, Impact::Stops],
        summary: "Changes to another set of children that shall run.",
        body: Some("ModeRequest"),
        answer: Answer::One("Planned"),
        problems: &["no-such-mode", "some-failed", "superseded", "runtime-blocked", "tree-ended"],
        ..COMMAND
    },
    Route {
        path: "/v1/commands/apply",
        impacts: &[Impact::Starts, Impact::Restarts, Impact::Stops],
        summary: "Reads the declaration of the tree again, and puts it in the place of the one that runs. What does not differ \
                  is not touched.",
        body: Some("ApplyRequest"),
        answer: Answer::ListOrPlan("StepOutcome", "PlanStep"),
        problems: APPLY_PROBLEMS,
        ..COMMAND
    },
    Route {
        path: "/v1/commands/scale",
        impacts: &[Impact::Starts, Impact::Stops],
        summary: "Changes how many replicas a child has, until the declaration of the tree is applied again.",
        body: Some("ScaleRequest"),
        answer: Answer::ListOrPlan("StepOutcome", "PlanStep"),
        problems: APPLY_PROBLEMS,
        ..COMMAND
    },
    Route {
        path: "/v1/commands/down",
        impacts: &[Impact::Stops],
        summary: "Stops the whole tree, in order and within its budget. The answer is the report of its end.",
        body: Some("DownRequest"),
        answer: Answer::One("Report"),
        problems: &["tree-ended"],
        ..COMMAND
    },
    Route {
        method: Method::Post,
        path: "/v1/logins",
        summary: "Makes a one-time address for a browser. Only over the unix socket.",
        answer: Answer::One("Login"),
        problems: &["socket-only", "no-address"],
        ..READS
    },
    Route {
        path: "/login",
        summary: "The one-time address: sets the cookie of a browser, and leads it to the tree.",
        parameters: &[parameter("code", "string", "The code of the address. It is good once.")],
        answer: Answer::Redirect,
        problems: &["login-over"],
        open: true,
        ..READS
    },
    Route { path: "/v1/openapi.json", summary: "The description of this interface: OpenAPI 3.1.", ..READS },
    Route {
        path: "/healthz",
        summary: "200 while the tree is alive and nothing in it is unhealthy, else 503. The culprits only for callers that may \
                  read the tree.",
        answer: Answer::Text,
        open: true,
        ..READS
    },
    Route {
        path: "/readyz",
        summary: "200 while the tree is alive and each running child is ready, else 503.",
        answer: Answer::Text,
        open: true,
        ..READS
    },
    Route {
        path: "/metrics",
        summary: "Counters and gauges in the text format of Prometheus.",
        answer: Answer::Text,
        ..READS
    },
];

/// Returns the route of a path of the table.
#[must_use]
pub fn route(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_a_summary_and_known_codes_and_only_posts_have_effects() {
        for route in ROUTES {
            assert!(route.summary.ends_with('.'), "{}", route.path);
            // An address for a browser concerns no child.
            let changes_the_tree = route.method == Method::Post && route.path != "/v1/logins";
            assert_eq!(route.impacts.is_empty(), !changes_the_tree, "{}", route.path);
            assert_eq!(route.body.is_some(), changes_the_tree, "{}", route.path);
            for code in route.problems {
                assert!(crate::CODES.iter().any(|(known, ..)| known == code), "{}: {code}", route.path);
            }
        }
    }
}
