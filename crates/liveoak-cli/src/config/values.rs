//! The small values of the file: words from closed lists, durations, endpoints, URLs. Pure functions of text.

use std::fmt;
use std::time::Duration;

use super::defaults::MAX_DURATION;

/// A closed list of words, such as the restart policies.
pub(crate) trait Words: Copy + PartialEq + 'static {
    /// Every word with its value, in the order in which errors list them.
    const ALL: &'static [(&'static str, Self)];

    /// The word for this value.
    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("?", |(word, _)| word)
    }
}

/// Declares an enum whose variants each have one word in the file.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant,)* }

        impl Words for $name {
            const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// Which siblings a failure restarts.
    Strategy {
        /// Only the child that failed.
        OneForOne = "one-for-one",
        /// Every child.
        OneForAll = "one-for-all",
        /// The child that failed and those after it.
        RestForOne = "rest-for-one",
    }
}

words! {
    /// In which order children start.
    Order {
        /// As declared, one after another, re-sorted only so far that every `after` holds.
        Declared = "declared",
        /// Whatever has its `after` fulfilled, side by side.
        Edges = "edges",
    }
}

words! {
    /// Whether the end of significant children ends their supervisor.
    AutoShutdown {
        /// It does not.
        Never = "never",
        /// The first one does.
        AnySignificant = "any-significant",
        /// The last one does.
        AllSignificant = "all-significant",
    }
}

words! {
    /// When an ended child is started again.
    Restart {
        /// Always.
        Permanent = "permanent",
        /// After a failure.
        Transient = "transient",
        /// Never.
        Temporary = "temporary",
    }
}

words! {
    /// What a broken limit leads to.
    GiveUp {
        /// The supervisor fails, and its own supervisor decides.
        Escalate = "escalate",
        /// The child stays down, visibly; its siblings go on.
        Quarantine = "quarantine",
    }
}

words! {
    /// What an `after` edge waits for.
    Condition {
        /// The attempt was started.
        Started = "started",
        /// The attempt is ready.
        Ready = "ready",
        /// The attempt is ready and its health is good.
        Healthy = "healthy",
        /// The child ended without failure and for good.
        Completed = "completed",
    }
}

words! {
    /// A signal that asks a program to stop.
    Signal {
        /// The polite default.
        Term = "SIGTERM",
        /// What Ctrl-C sends.
        Int = "SIGINT",
        /// The terminal was closed.
        Hup = "SIGHUP",
        /// Quit, often with a core dump.
        Quit = "SIGQUIT",
        /// Abort, with a core dump.
        Abrt = "SIGABRT",
        /// Not catchable.
        Kill = "SIGKILL",
        /// The program's own meaning, one.
        Usr1 = "SIGUSR1",
        /// The program's own meaning, two.
        Usr2 = "SIGUSR2",
        /// A timer.
        Alrm = "SIGALRM",
        /// The window changed; some servers stop gracefully on it.
        Winch = "SIGWINCH",
    }
}

/// A host and a port, such as `127.0.0.1:7000` or `[::1]:7000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// A name or an address; an IPv6 address without its brackets.
    pub(crate) host: String,
    /// Never 0.
    pub(crate) port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A URL that the HTTP probe can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpUrl {
    /// Whom to ask.
    pub(crate) endpoint: Endpoint,
    /// What to ask for: the path, with the query if there is one; begins with `/`.
    pub(crate) target: String,
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.endpoint, self.target)
    }
}

/// The units of a duration, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration such as `500ms`, `5s`, `1m30s` or `2h`: whole numbers with units, the longest unit first.
///
/// # Errors
/// A sentence fragment that says what is wrong.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains('.') {
        return Err("has a fraction; use a smaller unit, as in \"1500ms\"".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("has no unit; write \"{}s\" for seconds", text.get(..12).unwrap_or(text)));
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.chars().take_while(|c| !c.is_ascii_digit()).map(char::len_utf8).sum();
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() {
            return Err(format!("has no number before `{}`", short(unit)));
        }
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(match unit {
                "" => format!("has no unit after `{}`", short(number)),
                _ => format!("has an unknown unit `{}`; the units are d, h, m, s, ms", short(unit)),
            });
        };
        if index < next_unit {
            return Err("has its units twice or out of order; the longest comes first".to_owned());
        }
        next_unit = index + 1;
        let sum = number.parse::<u64>().ok().and_then(|n| n.checked_mul(UNITS[index].1));
        total = sum.and_then(|ms| total.checked_add(ms)).ok_or_else(too_long)?;
        rest = tail;
    }
    let duration = Duration::from_millis(total);
    if duration > MAX_DURATION { Err(too_long()) } else { Ok(duration) }
}

fn too_long() -> String {
    format!("is too long; the longest is {}", show(MAX_DURATION))
}

/// Cuts a piece of a value for a message.
fn short(text: &str) -> String {
    text.chars().take(12).collect()
}

/// Writes a duration as the file would have it.
pub(crate) fn show(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (name, size) in UNITS {
        if rest >= size {
            out.push_str(&format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// Reads `host:port`.
///
/// # Errors
/// A sentence fragment that says what is wrong.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!("is a URL; leave out `{}://` and what follows the port", short(scheme)));
    }
    let (host, port) = split_port(text)?;
    let port = port.ok_or("has no port")?;
    Ok(Endpoint { host: host_name(host)?, port: port_number(port)? })
}

/// Splits the port off, minding the brackets of IPv6.
fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(inner) = text.strip_prefix('[') {
        let (host, tail) = inner.split_once(']').ok_or("has `[` without `]`")?;
        return match tail.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if tail.is_empty() => Ok((host, None)),
            None => Err("has something other than `:port` after `]`".to_owned()),
        };
    }
    match text.rsplit_once(':') {
        None => Ok((text, None)),
        Some((host, _)) if host.contains(':') => {
            Err("is an IPv6 address without brackets; write \"[::1]:7000\"".to_owned())
        }
        Some((host, port)) => Ok((host, Some(port))),
    }
}

fn host_name(host: &str) -> Result<String, String> {
    if host.is_empty() {
        return Err("has no host before the port; write \"127.0.0.1:7000\"".to_owned());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    match host.chars().find(|&c| !fits(c)) {
        Some(c) => Err(format!("has `{}` in its host", c.escape_debug())),
        None => Ok(host.to_owned()),
    }
}

fn port_number(port: &str) -> Result<u16, String> {
    match port.parse::<u16>() {
        Ok(0) => Err("has port 0, which nobody can listen on; the ports are 1 to 65535".to_owned()),
        Ok(number) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        Ok(_) | Err(_) => Err(format!("has `{}` as its port; the ports are 1 to 65535", short(port))),
    }
}

/// Reads `http://host[:port][/path]`.
///
/// # Errors
/// A sentence fragment that says what is wrong.
pub(crate) fn http_url(text: &str) -> Result<HttpUrl, String> {
    let (scheme, rest) = text.split_once("://").ok_or("has no `http://` in front")?;
    match scheme {
        "http" => {}
        "https" => return Err("is https, and TLS is not supported by this probe".to_owned()),
        _ => return Err(format!("has the scheme `{}`; only http is supported", short(scheme))),
    }
    let split = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(split);
    if authority.contains('@') {
        return Err("carries a user name, which this probe does not send".to_owned());
    }
    if target.contains('#') {
        return Err("has a fragment (`#`), which is never sent to a server".to_owned());
    }
    if let Some(c) = target.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(format!("has `{}` in its path; write it percent-encoded", c.escape_debug()));
    }
    let (host, port) = split_port(authority)?;
    let port = port.map_or(Ok(80), port_number)?;
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(HttpUrl { endpoint: Endpoint { host: host_name(host)?, port }, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_units_longest_first() {
        let ms = |text| duration(text).map(|d| d.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("5s"), Ok(5000));
        assert_eq!(ms("1m30s"), Ok(90_000));
        assert_eq!(ms("2h"), Ok(7_200_000));
        assert_eq!(ms("1d2h3m4s5ms"), Ok(93_784_005));
        assert_eq!(ms("0s"), Ok(0));
        assert_eq!(ms("3650d"), Ok(MAX_DURATION.as_millis()));
    }

    #[test]
    fn wrong_durations_are_refused_with_the_reason() {
        let cases = [
            ("", "is empty"),
            ("5", "write \"5s\""),
            ("1.5s", "fraction"),
            ("5x", "unknown unit `x`"),
            ("s", "no number before `s`"),
            ("1m30", "no unit after `30`"),
            ("30s1m", "out of order"),
            ("1s1s", "twice"),
            ("-5s", "no number before `-`"),
            ("5 s", "unknown unit ` s`"),
            ("3651d", "too long"),
            ("99999999999999999999s", "too long"),
            ("18446744073709551615h", "too long"),
            ("５s", "no number before"),
        ];
        for (text, part) in cases {
            let error = duration(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_shown_duration_reads_back_as_itself() {
        for ms in [0, 1, 999, 1000, 90_000, 7_200_000, 93_784_005] {
            let given = Duration::from_millis(ms);
            assert_eq!(duration(&show(given)), Ok(given));
        }
    }

    #[test]
    fn endpoints_need_a_host_and_a_port() {
        let shown = |text| endpoint(text).map(|e| e.to_string());
        assert_eq!(shown("127.0.0.1:7000"), Ok("127.0.0.1:7000".to_owned()));
        assert_eq!(shown("[::1]:7000"), Ok("[::1]:7000".to_owned()));
        for (text, part) in [
            ("localhost", "no port"),
            (":7000", "no host"),
            ("::1:7000", "brackets"),
            ("[::1", "without `]`"),
            ("[::1]7000", "other than"),
            ("a:0", "port 0"),
            ("a:65536", "1 to 65535"),
            ("a:+80", "1 to 65535"),
            ("a b:80", "has ` ` in its host"),
            ("tcp://a:80", "leave out `tcp://`"),
        ] {
            let error = endpoint(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn urls_of_the_http_probe_are_plain_http() {
        let shown = |text| http_url(text).map(|e| e.to_string());
        assert_eq!(shown("http://localhost"), Ok("http://localhost:80/".to_owned()));
        assert_eq!(shown("http://[::1]:81/a?b=c"), Ok("http://[::1]:81/a?b=c".to_owned()));
        assert_eq!(shown("http://a?b"), Ok("http://a:80/?b".to_owned()));
        for (text, part) in [
            ("https://a/", "TLS is not supported by this probe"),
            ("localhost:80", "no `http://`"),
            ("ftp://a", "scheme `ftp`"),
            ("http://u:p@a/", "user name"),
            ("http:///x", "no host"),
            ("http://a/#b", "fragment"),
            ("http://a/b c", "percent-encoded"),
            ("http://a:http/", "1 to 65535"),
        ] {
            let error = http_url(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
