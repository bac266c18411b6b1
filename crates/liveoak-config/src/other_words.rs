//! The words of other tools for keys and values, each with the word of `liveoak.toml`.
//!
//! People who come from Compose, systemd, supervisord, pm2, Kubernetes or a Procfile write the words that they know. Such
//! a word is often similar to the wrong key (`cmd` and `cwd`), so it is looked up here before a similar key is suggested.

/// Words of other tools with one meaning, and the advice for them.
pub(crate) struct OtherWords {
    /// The words, in lower case without `_` and `-`.
    words: &'static [&'static str],
    /// The advice, to follow "help:".
    advice: &'static str,
}

/// Declares a list: `"WORDS ..." => "ADVICE";`.
macro_rules! other_words {
    ($($(#[doc = $about:literal])+ $list:ident { $([$($word:literal)+] => $advice:literal;)+ })+) => {$(
        $(#[doc = $about])+
        pub(crate) const $list: &[OtherWords] =
            &[$(OtherWords { words: &[$($word),+], advice: $advice },)+];
    )+};
}

other_words! {
    /// Words for what a child runs.
    FOR_COMMAND {
        ["cmd" "exec" "execstart" "run" "entrypoint" "program" "executable" "exe" "bin" "binary" "commandline" "proc"]
            => "the key is `command`, as in: command = [\"redis-server\", \"--port\", \"7000\"]";
        ["script" "sh" "bash" "shellcommand" "runshell"]
            => "the key is `shell`, as in: shell = \"a | b\"";
    }
    /// Words for the other keys of a child.
    FOR_CHILD {
        ["args" "arguments" "argv" "params" "parameters" "options"]
            => "put the arguments into `command`, as in: command = [\"redis-server\", \"--port\", \"7000\"]";
        ["directory" "dir" "workdir" "workingdir" "workingdirectory" "chdir" "folder" "cd" "pwd" "root"]
            => "the key is `cwd`, as in: cwd = \"data\"";
        ["environment" "envs" "environ" "envvars" "vars" "variables"]
            => "the key is `env`, as in: env = { MODE = \"dev\" }";
        ["envfiles" "envfile" "environmentfile" "dotenv" "loadenv"]
            => "the key is `env_file`, and names one file: env_file = \".env\"";
        ["dependson" "requires" "wants" "needs" "dependencies" "deps" "depends" "bindsto" "waitfor" "startafter"]
            => "the key is `after`, as in: after = [\"db\"]";
        ["before" "requiredby" "wantedby" "partof"]
            => "write `after` at the other child, as in: after = [\"db\"]";
        ["restartpolicy" "autorestart" "respawn" "restartmode" "restarton" "keepalive"]
            => "the key is `restart`, with \"permanent\", \"transient\" (after a failure) or \"temporary\" (never)";
        ["restartsec" "restartdelay" "respawndelay" "expbackoffrestartdelay" "delay" "throttleinterval"]
            => "the key is `backoff`, as in: backoff = { constant = \"1s\" }";
        ["maxrestarts" "startretries" "retries" "maxretries" "startlimit" "startlimitburst" "startlimitinterval"
         "startlimitintervalsec" "maxrestart" "restarts" "respawnlimit"]
            => "the key is `limit`, as in: limit = { restarts = 5, period = \"1m\" }";
        ["healthcheck" "health" "startupprobe" "waitready" "readycheck" "check" "probe"
         "readywhen" "readylogline"]
            => "the key is `ready`, as in: ready = { http = \"http://127.0.0.1:8080/health\" }";
        ["readinessprobe"] => "the key is `readiness`, as in: readiness = { http = \"http://127.0.0.1:8080/health\" }";
        ["livenessprobe" "watchdog" "watchdogsec"]
            => "the key is `liveness`, as in: liveness = { http = \"http://127.0.0.1:8080/health\", every = \"10s\" }";
        ["startsecs" "minuptime" "startperiod" "starttimeout" "timeoutstartsec" "launchtimeout" "listentimeout"]
            => "write ready = { delay = \"1s\" }, or `within` in `ready` for the deadline of a start";
        ["instances" "numprocs" "scale" "concurrency" "copies" "count" "workers" "processes" "deploy" "formation"]
            => "the key is `replicas`, as in: replicas = 2";
        ["user" "uid" "group" "gid" "runas" "username"]
            => "a program runs as the user of `liveoak`; put setpriv, runuser or sudo in front, as in: command = \"runuser -u www -- server\"";
        ["ports" "port" "expose" "publish" "listen" "sockets"]
            => "a program opens its ports itself; pass the number with `env` or `command`, and wait for it with ready = { tcp = \"127.0.0.1:8080\" }";
        ["image" "build" "dockerfile" "container" "containername" "volumes" "volume" "networks" "network" "networkmode"
         "capadd" "privileged" "labels" "platform" "pull" "pullpolicy" "init" "hostname" "extrahosts"]
            => "there is no such key: Liveoak runs programs, not containers; for a container write command = \"docker run --rm ...\"";
        ["timeout" "deadline"]
            => "write `within` in `ready` for the start, `timeout` in `ready` for one try of its probe, or `within` in `stop` for the stop";
        ["stopsignal" "killsignal" "signal"]
            => "write it in `stop`, as in: stop = { signal = \"SIGINT\" }";
        ["stopgraceperiod" "stopwaitsecs" "killtimeout" "stoptimeout" "timeoutstopsec" "timeoutsec" "graceperiod"
         "gracefultimeout" "gracefulshutdown" "shutdown" "shutdowntimeout" "terminationgraceperiodseconds" "kill"]
            => "write it in `stop`, as in: stop = { within = \"10s\" }";
        ["stopasgroup" "killasgroup" "killmode" "treekill" "parentonly"]
            => "write stop = { ask = \"leader\" } to signal only the program; by default the whole process group gets the signal; a kill always goes to the group";
        ["tty" "pty" "terminal"]
            => "there is no such key: a program has no terminal; one that reads its standard input gets it with stdin = \"open\" or stdin = \"inherit\"";
        ["stdinopen" "interactive" "isinteractive" "standardinput" "input" "attach" "attachstdin"]
            => "the key is `stdin`, as in: stdin = \"open\" (a pipe that never ends) or stdin = \"inherit\" (the input of `liveoak`)";
        ["redirectstderr" "mergestderr" "mergelogs" "combineoutput" "combinestderr"]
            => "the key is `output`, as in: output = { merge = true }";
        ["exitcodes" "exitcode" "successexitstatus" "successcodes" "okexitcodes" "stopexitcodes"]
            => "the key is `success`, as in: success = [0, 3]";
        ["restartforceexitstatus" "restartexitcodes" "restartexitcode" "restartcode" "restartstatus"]
            => "the key is `restart_codes`, as in: restart_codes = [75]";
        ["runtimemaxsec" "runtimemax" "maxruntime" "maxruntimesec" "activedeadlineseconds" "runtimelimit"]
            => "the key is `run_within`, as in: run_within = \"12h\"";
        ["priority" "order"]
            => "children start in the order of the file; move it, or write `after`";
        ["autostart" "enabled" "enable" "disabled" "disable" "optional"]
            => "the key is `start`, as in: start = \"manual\" (not started until it is asked for)";
        ["stdout" "stderr" "log" "logs" "logfile" "logging" "stdoutlogfile" "stderrlogfile"
         "standardoutput" "standarderror" "outfile" "errorfile" "loglocation" "outputfile"]
            => "the output goes to the stdout of `liveoak up`; for a file of its own write shell = \"exec server >>server.log 2>&1\"";
        ["nice" "ulimit" "ulimits" "rlimit" "rlimits" "limits" "limitnofile" "umask" "memory" "memlimit" "mem" "cpu" "cpus"
         "memorymax" "cpuquota" "maxmemoryrestart" "resources"]
            => "there is no such key; set it in front of the program, as in: shell = \"ulimit -n 4096; exec server\"";
        ["watch" "watches" "ignorewatch" "reload" "hotreload"]
            => "Liveoak does not watch files; put a program that watches files in front, as in: command = \"watchexec -r server\"";
        ["prestart" "execstartpre" "beforescript" "presetup" "setup" "initcommand" "prehook"]
            => "make it a child of its own with restart = \"temporary\", and write after = { NAME = \"completed\" } here";
        ["poststop" "execstop" "execstoppost" "execreload" "poststart" "execstartpost" "prestop" "onexit" "afterscript"
         "cleanup" "hooks"]
            => "there is no such hook; write a script with `trap` as `shell`";
        ["interval" "every" "period" "checkinterval"]
            => "write it in `ready` for the time between two tries, as in: ready = { tcp = \"127.0.0.1:8080\", every = \"1s\" }; Liveoak has no schedule";
        ["cron" "cronrestart" "schedule" "oncalendar"]
            => "Liveoak has no schedule; write a loop, as in: shell = \"while sleep 60; do job; done\"";
        ["description" "title" "comment" "note" "documentation"]
            => "write it as a comment: a line that begins with `#`";
        ["extends" "include" "inherits" "template" "profiles" "profile" "type" "namespace"]
            => "there is no such key; every child is written out in this file";
        ["children" "childs" "services" "programs" "subprocesses" "tasks" "apps"]
            => "write each child as a table: [child.NAME.child.OTHER]";
    }
    /// Words for the arguments of a kind.
    FOR_KIND {
        ["arguments" "argv" "params" "parameters" "options" "config" "settings" "with" "input"]
            => "the key is `args`, as in: args = { device = \"/dev/video0\" }";
    }
    /// Words for keys of the top level.
    FOR_ROOT {
        ["children" "childs" "services" "service" "programs" "program" "processes" "process" "procs" "proc" "tasks" "task"
         "apps" "app" "commands" "workers" "units" "jobs" "containers" "pods"]
            => "write each program as a table: [child.NAME] and below it command = \"...\"";
        ["supervisord" "supervisor" "tree" "root" "global" "settings" "options" "config"]
            => "the keys of the tree stand at the top of the file, without a header";
        ["version" "schema" "apiversion" "kind"]
            => "remove it: the file has no version";
        ["title" "project" "projectname" "appname"]
            => "the key is `name`, as in: name = \"shop\"";
        ["timeout" "shutdown" "shutdowntimeout" "graceperiod" "killtimeout" "stoptimeout"]
            => "the key is `stop`, as in: stop = { within = \"30s\" }";
        ["maxrestarts" "maxr" "maxt" "maxseconds" "limits"]
            => "the key is `intensity`, as in: intensity = { restarts = 3, period = \"5s\" }";
        ["failfast" "bail" "abortonfailure" "abortoncontainerfailure" "exitonfailure" "onstartfailure" "startpolicy"]
            => "the key is `first_start`, as in: first_start = \"fail\"";
        ["include" "includes" "extends" "import" "files"]
            => "there is no such key; every child is written out in this file";
        ["defaults" "default"]
            => "the key is `defaults`, as in: [defaults] and below it restart = \"transient\"";
        ["log" "logs" "loglevel" "logformat" "logging" "logfile" "loglocation"]
            => "the log is set on the command line: see `liveoak up --help`";
        ["networks" "volumes" "secrets" "configs"]
            => "there is no such key: Liveoak runs programs, not containers";
    }
    /// Words for keys of a `ready`.
    FOR_READY {
        ["exec" "cmd" "test" "script" "shell" "run"]
            => "the key is `command`, as in: ready = { command = [\"pg_isready\", \"-q\"] }";
        ["url" "httpget" "uri" "get" "https" "endpoint"]
            => "the key is `http`, as in: ready = { http = \"http://127.0.0.1:8080/health\" }";
        ["port" "tcpsocket" "socket" "address" "host"]
            => "the key is `tcp`, as in: ready = { tcp = \"127.0.0.1:8080\" }; for a unix socket `unix`";
        ["line" "pattern" "regex" "output" "match" "logline" "stdout" "grep"]
            => "the key is `log`, as in: ready = { log = 'listening on \\d+' }";
        ["path" "pidfile" "exists" "touch"]
            => "the key is `file`, as in: ready = { file = \"app.pid\" }";
        ["wait" "sleep" "after" "initialdelay" "initialdelayseconds" "startperiod" "startsecs"]
            => "remove it: the first try comes immediately, and failed tries are repeated until `within`; to wait only for a time, write ready = { delay = \"1s\" }";
        ["deadline" "starttimeout" "maxwait" "startwithin" "starttime"]
            => "the key is `within`, as in: within = \"10s\"; it is the deadline of the whole start";
        ["timeoutseconds" "trytimeout" "probetimeout" "requesttimeout" "connecttimeout" "timelimit"]
            => "the key is `timeout`, as in: timeout = \"5s\"; it is for one try, and `within` is the deadline of the whole start";
        ["interval" "period" "periodseconds" "poll" "pollinterval" "checkinterval" "frequency" "startinterval"]
            => "the key is `every`, as in: every = \"1s\"";
        ["retries" "failurethreshold" "successthreshold" "failures" "successes"]
            => "remove it: one success is enough, and the probe is repeated until `within` is over";
    }
    /// Words for keys of a `readiness` or `liveness`.
    FOR_CHECK {
        ["exec" "cmd" "test" "script" "shell" "run"] => "the key is `command`, as in: command = [\"pg_isready\", \"-q\"]";
        ["url" "httpget" "uri" "get" "https" "endpoint"] => "the key is `http`, as in: http = \"http://127.0.0.1:8080/health\"";
        ["port" "tcpsocket" "socket" "address" "host"]
            => "the key is `tcp`, as in: tcp = \"127.0.0.1:8080\"; for a unix socket `unix`";
        ["wait" "initialdelay" "initialdelayseconds" "startperiod" "startsecs" "graceperiod"] => "the key is `delay`, as in: delay = \"10s\"";
        ["timeoutseconds" "trytimeout" "probetimeout" "requesttimeout" "connecttimeout" "timelimit" "within"]
            => "the key is `timeout`, as in: timeout = \"5s\"";
        ["interval" "period" "periodseconds" "poll" "pollinterval" "checkinterval" "frequency"] => "the key is `every`, as in: every = \"10s\"";
        ["retries" "failurethreshold" "maxfailures"] => "the key is `failures`, as in: failures = 3";
        ["log" "line" "pattern"] => "a line of the output comes once, so it cannot be asked for again; use `http`, `tcp`, `unix`, `file` or `command`";
    }
    /// Words for keys of a `stop`.
    FOR_STOP {
        ["timeout" "grace" "graceperiod" "wait" "deadline" "after" "stopgraceperiod" "stopwaitsecs" "killafter" "delay"
         "period" "budget" "stoptimeout" "killtimeout"]
            => "the key is `within`, as in: within = \"10s\"";
        ["kill" "stopsignal" "killsignal" "sig" "how"]
            => "the key is `signal`, as in: signal = \"SIGINT\"";
        ["killmode" "mode" "group" "stopasgroup" "killasgroup" "treekill" "parentonly" "leader" "target" "who" "to" "scope"]
            => "the key is `ask`, as in: ask = \"leader\" (the program alone) or ask = \"group\"";
        ["command" "exec" "cmd" "script" "shell" "hook"]
            => "a program is asked by a signal, not by a command; a script with `trap` as `shell` can do more";
    }
    /// Words for keys of an `output`.
    FOR_OUTPUT {
        ["redirectstderr" "mergestderr" "mergelogs" "combine" "combined" "join" "interleave" "stderr" "together"]
            => "the key is `merge`, as in: merge = true";
        ["file" "path" "log" "logfile" "stdout" "to" "append" "outfile"]
            => "the output goes to the stdout of `liveoak up`; for a file of its own write shell = \"exec server >>server.log 2>&1\"";
    }
    /// Words for keys of a limit.
    FOR_LIMIT {
        ["max" "count" "burst" "times" "restart" "attempts" "retries" "maxrestarts" "number" "intensity"]
            => "the key is `restarts`, as in: restarts = 5";
        ["within" "window" "interval" "per" "seconds" "time" "every" "duration"]
            => "the key is `period`, as in: period = \"1m\"";
        ["retry" "cooldown" "recoverafter" "resetafter" "tryagain" "recover"]
            => "the key is `retry_after`, as in: retry_after = \"5m\"";
        ["action" "onexceeded" "then" "onfailure" "policy"]
            => "the key is `give_up`, with \"escalate\" or \"quarantine\"";
    }
    /// Words for keys of a `backoff`.
    FOR_BACKOFF {
        ["min" "initial" "start" "base" "first" "delay" "initialdelay" "minimum"]
            => "the key is `from`, as in: from = \"100ms\"";
        ["fixed" "every" "restartsec" "always" "equal"]
            => "the key is `constant`, as in: constant = \"1s\"";
        ["max" "cap" "limit" "maximum" "maxdelay" "ceiling"]
            => "the key is `to`, as in: to = \"30s\"";
        ["reset" "resetafter" "stable" "minuptime" "healthyafter"]
            => "the key is `reset_after`, as in: reset_after = \"10s\"";
        ["factor" "multiplier" "exponent" "rate" "growth"]
            => "remove it: the bound always doubles; for delays that do not grow, write `constant`";
        ["random" "randomize" "randomization"]
            => "the key is `jitter`, with \"full\", \"equal\" or \"none\"";
    }
    /// Words for values, each with the word to write here.
    FOR_VALUES {
        ["always" "unlessstopped" "true" "yes" "on"] => "permanent";
        ["onfailure" "onerror" "onabnormal" "onabort" "onwatchdog" "unexpected" "exitonfailure" "failure" "onsuccessfalse"]
            => "transient";
        ["never" "no" "none" "false" "off" "once" "oneshot"] => "temporary";
        ["parallel" "concurrent" "dependencies" "any"] => "edges";
        ["sequential" "serial" "strict" "file"] => "declared";
        ["one" "restforone" "onlyfailed"] => "one-for-one";
        ["all" "group"] => "one-for-all";
        ["rest" "following"] => "rest-for-one";
        ["servicehealthy" "processhealthy"] => "healthy";
        ["servicestarted" "processstarted" "start"] => "started";
        ["servicecompletedsuccessfully" "processcompletedsuccessfully" "processcompleted" "done" "exited" "success"
         "finished"] => "completed";
        ["process" "main" "mainprocess" "mixed" "parent" "self" "program" "master"] => "leader";
        ["controlgroup" "cgroup" "processgroup" "all" "tree" "everyone"] => "group";
        ["pipe" "keepopen" "forever" "endless" "wait"] => "open";
        ["/dev/null" "none" "empty" "closed" "close" "ignore" "no" "false"] => "null";
        ["tty" "terminal" "parent" "attach" "interactive" "inherited"] => "inherit";
        ["again" "restart" "always" "loop" "repeat"] => "retry";
        ["abort" "exit" "stop" "once" "failfast" "failure"] => "fail";
        ["1"] => "SIGHUP";
        ["2"] => "SIGINT";
        ["3"] => "SIGQUIT";
        ["6"] => "SIGABRT";
        ["9"] => "SIGKILL";
        ["10"] => "SIGUSR1";
        ["12"] => "SIGUSR2";
        ["14"] => "SIGALRM";
        ["15"] => "SIGTERM";
        ["28"] => "SIGWINCH";
        ["processlogready" "up" "running" "listening"] => "ready";
        ["stop" "fail" "exit" "shutdown"] => "escalate";
        ["ignore" "disable" "giveup" "giveupsilently"] => "quarantine";
    }
}

/// The longest word that is looked up, in bytes. All words of the lists are shorter.
const MAX_WORD: usize = 64;

impl OtherWords {
    /// Returns the key that the advice names first, if it says "the key is".
    fn key(&self) -> Option<&'static str> {
        self.advice.strip_prefix("the key is `")?.split('`').next()
    }
}

/// Returns the advice for a key of another tool in a table that has the keys `known`.
pub(crate) fn advice(word: &str, lists: &[&'static [OtherWords]], known: &[&str]) -> Option<&'static str> {
    let plain = plain(word)?;
    let fits = |entry: &&OtherWords| {
        entry.words.contains(&plain.as_str()) && entry.key().is_none_or(|key| known.contains(&key))
    };
    lists.iter().copied().flatten().find(fits).map(|entry| entry.advice)
}

/// Returns the value among `words` that other tools call `value`.
pub(crate) fn value<'w>(value: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let plain = plain(value)?;
    let means = |word: &&str| {
        FOR_VALUES.iter().any(|entry| entry.advice == *word && entry.words.contains(&plain.as_str()))
    };
    words.into_iter().find(means)
}

/// Returns `true` if other tools use this word for the command of a child.
pub(crate) fn means_command(word: &str) -> bool {
    plain(word).is_some_and(|plain| FOR_COMMAND.iter().any(|entry| entry.words.contains(&plain.as_str())))
}

/// Returns a word in the spelling of the lists, unless it is too long.
fn plain(word: &str) -> Option<String> {
    let letters = word.chars().filter(|c| !matches!(c, '_' | '-' | ' ' | '.')).flat_map(char::to_lowercase);
    (word.len() <= MAX_WORD).then(|| letters.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{
        BACKOFF, LIMIT, LIVENESS, OUTPUT, PROGRAM, PROGRAM_STOP, READY, ROOT, SUPERVISOR, any_child,
    };
    use crate::types::Word;
    use liveoak_core::{Condition, FirstStart, GiveUp, Order, Restart, Strategy};
    use liveoak_process::{Ask, Signal, Stdin};

    #[test]
    fn a_word_of_another_tool_is_found_in_any_spelling_and_gets_the_right_key() {
        let known = any_child();
        for (word, key) in [
            ("cmd", "`command`"),
            ("ExecStart", "`command`"),
            ("working_dir", "`cwd`"),
            ("workingDir", "`cwd`"),
            ("depends_on", "`after`"),
            ("dependsOn", "`after`"),
            ("stop_grace_period", "`stop`"),
            ("stopwaitsecs", "`stop`"),
            ("numprocs", "`replicas`"),
            ("health-check", "`ready`"),
        ] {
            let said = advice(word, PROGRAM.others, &known);
            assert!(said.is_some_and(|said| said.contains(key)), "{word}: {said:?}");
        }
        for (keys, word, key) in [
            (&READY, "interval", "`every`"),
            (&READY, "periodSeconds", "`every`"),
            (&READY, "timeoutSeconds", "`timeout`"),
            (&READY, "deadline", "`within`"),
            (&PROGRAM_STOP, "KillMode", "`ask`"),
            (&PROGRAM_STOP, "parent_only", "`ask`"),
            (&OUTPUT, "redirect_stderr", "`merge`"),
            (&PROGRAM, "KillMode", "ask = "),
            (&PROGRAM, "stopasgroup", "ask = "),
            (&PROGRAM, "stdin_open", "`stdin`"),
            (&PROGRAM, "is_interactive", "`stdin`"),
            (&PROGRAM, "tty", "stdin = "),
            (&PROGRAM, "redirect_stderr", "merge = true"),
            (&PROGRAM, "interval", "every = "),
            (&PROGRAM, "timeout", "`timeout` in `ready`"),
            (&ROOT, "fail_fast", "`first_start`"),
        ] {
            let known = if keys.has("restart") { any_child() } else { keys.names() };
            let said = advice(word, keys.others, &known);
            assert!(said.is_some_and(|said| said.contains(key)), "{word}: {said:?}");
        }
        assert_eq!(advice("colour", PROGRAM.others, &known), None);
        assert_eq!(advice(&"x".repeat(10_000), PROGRAM.others, &known), None);
    }

    /// Returns the lists of words of each table, with all keys that a child or the table has.
    fn tables() -> impl Iterator<Item = (&'static [&'static [OtherWords]], Vec<&'static str>)> {
        let tables =
            [&ROOT, &PROGRAM, &SUPERVISOR, &LIMIT, &BACKOFF, &READY, &LIVENESS, &PROGRAM_STOP, &OUTPUT];
        tables
            .into_iter()
            .map(|keys| (keys.others, if keys.has("restart") { any_child() } else { keys.names() }))
    }

    #[test]
    fn every_word_of_another_tool_can_be_found_and_has_one_advice() {
        for (lists, _) in tables() {
            let mut seen = Vec::new();
            for word in lists.iter().copied().flatten().flat_map(|entry| entry.words) {
                assert_eq!(plain(word).as_deref(), Some(*word), "it would not be found");
                assert!(!seen.contains(word), "`{word}` stands twice");
                seen.push(word);
            }
        }
    }

    #[test]
    fn each_key_in_the_advice_for_a_table_is_a_key_of_that_table() {
        for (lists, known) in tables() {
            for entry in lists.iter().copied().flatten() {
                assert!(entry.key().is_none_or(|key| known.contains(&key)), "{}", entry.advice);
            }
        }
    }

    #[test]
    fn each_value_of_another_tool_maps_to_a_value_of_the_file() {
        fn words<T: Word>() -> impl Iterator<Item = &'static str> {
            T::ALL.iter().map(|value| value.word())
        }
        let all: Vec<&str> = words::<Restart>()
            .chain(words::<Order>())
            .chain(words::<Strategy>())
            .chain(words::<Condition>())
            .chain(words::<GiveUp>())
            .chain(words::<Signal>())
            .chain(words::<Ask>())
            .chain(words::<Stdin>())
            .chain(words::<FirstStart>())
            .collect();
        for entry in FOR_VALUES {
            assert!(all.contains(&entry.advice), "{}", entry.advice);
        }
        assert_eq!(value("on-failure", words::<Restart>()), Some("transient"));
        assert_eq!(value("unless-stopped", words::<Restart>()), Some("permanent"));
        assert_eq!(value("never", words::<Restart>()), Some("temporary"));
        assert_eq!(value("service_completed_successfully", words::<Condition>()), Some("completed"));
        assert_eq!(value("always", words::<Order>()), None);
        assert_eq!(value("control-group", words::<Ask>()), Some("group"));
        assert_eq!(value("mixed", words::<Ask>()), Some("leader"));
        assert_eq!(value("pipe", words::<Stdin>()), Some("open"));
        assert_eq!(value("/dev/null", words::<Stdin>()), Some("null"));
        assert_eq!(value("tty", words::<Stdin>()), Some("inherit"));
        assert_eq!(value("fail-fast", words::<FirstStart>()), Some("fail"));
    }
}
