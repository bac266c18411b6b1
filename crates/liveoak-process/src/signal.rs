//! A signal, with its name and its number.
//!
//! A configuration file gives the stop signal of a program exactly as one of the ten names in
//! [`Signal::STOP_SIGNALS`].
//! [`Signal::from_str`] is for other input: it also takes numbers, names without `SIG`, and real-time signals.

use std::fmt;
use std::str::FromStr;

/// A signal of this platform, usually from 1 to `SIGRTMAX` (64 on most machines), without the few that libc keeps for
/// itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

macro_rules! named {
    ($($name:ident)+) => { &[$((stringify!($name), libc::$name)),+] };
}

/// The classic signals, in the order of `signal(7)`; the platform's libc gives the numbers.
const NAMED: &[(&str, i32)] = named! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM
    SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS
};

impl Signal {
    /// Tells a program that its terminal is gone; many servers reload on it.
    pub const HUP: Signal = Signal(libc::SIGHUP);
    /// The signal of Ctrl-C.
    pub const INT: Signal = Signal(libc::SIGINT);
    /// The signal of Ctrl-\; by default the receiver dumps core.
    pub const QUIT: Signal = Signal(libc::SIGQUIT);
    /// Ends the receiver; cannot be caught, blocked or ignored, and works on stopped processes.
    pub const KILL: Signal = Signal(libc::SIGKILL);
    /// The polite request to end: the default stop signal.
    pub const TERM: Signal = Signal(libc::SIGTERM);
    /// Free for the receiver's own use.
    pub const USR1: Signal = Signal(libc::SIGUSR1);
    /// Free for the receiver's own use.
    pub const USR2: Signal = Signal(libc::SIGUSR2);
    /// Wakes a stopped process.
    pub const CONT: Signal = Signal(libc::SIGCONT);
    /// Freezes the receiver; cannot be caught.
    pub const STOP: Signal = Signal(libc::SIGSTOP);
    /// Ends the receiver with a core dump, as `abort(3)` does.
    pub const ABRT: Signal = Signal(libc::SIGABRT);
    /// The end of a timer (`alarm(2)`); free for the receiver's own use.
    pub const ALRM: Signal = Signal(libc::SIGALRM);
    /// The size of the terminal changed; some servers stop gracefully on it.
    pub const WINCH: Signal = Signal(libc::SIGWINCH);

    /// The stop signals that a configuration file may name, in the order in which messages list them.
    pub const STOP_SIGNALS: &'static [Signal] = &[
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::ABRT,
        Signal::KILL,
        Signal::USR1,
        Signal::USR2,
        Signal::ALRM,
        Signal::WINCH,
    ];

    /// Returns the names of the classic signals with their `SIG`, without the real-time signals.
    pub fn classic_names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|&(name, _)| name)
    }

    /// Returns the name with its `SIG`, or `None` for a real-time signal or an unknown one.
    pub fn name(self) -> Option<&'static str> {
        NAMED.iter().find(|&&(_, number)| number == self.0).map(|&(name, _)| name)
    }

    /// Returns the number on this platform.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Creates a signal from a number that the kernel reported, without checking it.
    pub(crate) fn reported(number: i32) -> Signal {
        Signal(number)
    }

    fn from_number(number: i32) -> Option<Signal> {
        let named = NAMED.iter().any(|&(_, known)| known == number);
        (named || (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number)).then_some(Signal(number))
    }
}

impl FromStr for Signal {
    type Err = ParseSignalError;

    /// Reads `SIGINT`, `INT`, `2` or `SIGRTMIN+1`, in any case, with blanks around.
    fn from_str(text: &str) -> Result<Signal, ParseSignalError> {
        let refused = || ParseSignalError { value: text.to_owned() };
        let wanted = text.trim().to_ascii_uppercase();
        if !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_digit()) {
            return wanted.parse().ok().and_then(Signal::from_number).ok_or_else(refused);
        }
        let short = wanted.strip_prefix("SIG").unwrap_or(&wanted);
        if let Some(above) = short.strip_prefix("RTMIN") {
            let above =
                if above.is_empty() { Some(0) } else { above.strip_prefix('+').and_then(|n| n.parse().ok()) };
            let number = above.map(|above: u8| libc::SIGRTMIN() + i32::from(above));
            return number.and_then(Signal::from_number).ok_or_else(refused);
        }
        let named = NAMED.iter().find(|(name, _)| name.strip_prefix("SIG") == Some(short));
        named.map(|&(_, number)| Signal(number)).ok_or_else(refused)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name() {
            return f.pad(name);
        }
        match self.0 - libc::SIGRTMIN() {
            0 => f.pad("SIGRTMIN"),
            above if above > 0 => write!(f, "SIGRTMIN+{above}"),
            _ => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error for a text that names no signal. [`Signal::classic_names`] has the names for messages and suggestions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseSignalError {
    value: String,
}

impl ParseSignalError {
    /// Returns the text as it was given.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for ParseSignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Signal::classic_names().collect::<Vec<_>>().join(", ");
        write!(f, "could not read the signal {:?}: expected a number or one of {names}", self.value)
    }
}

impl std::error::Error for ParseSignalError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_read_back_from_what_it_prints() {
        for &(name, number) in NAMED {
            let signal: Signal = name.parse().unwrap();
            assert_eq!((signal.number(), signal.to_string().as_str()), (number, name));
            assert_eq!(number.to_string().parse(), Ok(signal));
        }
        for number in libc::SIGRTMIN()..=libc::SIGRTMAX() {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(signal.to_string().parse(), Ok(signal));
        }
    }

    #[test]
    fn every_stop_signal_has_a_name() {
        assert!(Signal::STOP_SIGNALS.iter().all(|signal| signal.name().is_some()));
    }

    #[test]
    fn prefix_and_case_do_not_matter() {
        for text in ["SIGINT", "INT", "int", "SigInt", " 2 "] {
            assert_eq!(text.parse(), Ok(Signal::INT), "{text}");
        }
    }

    #[test]
    fn an_unknown_signal_name_is_refused_and_the_error_lists_the_names() {
        for text in [
            "",
            " ",
            "0",
            "-1",
            "32",
            "65",
            "99999999999",
            "SIG",
            "SIGSIGINT",
            "SIGTREM",
            "RTMIN+99",
            "RTMIN+",
        ] {
            let error = text.parse::<Signal>().expect_err(text);
            assert_eq!(error.value(), text);
            assert!(error.to_string().contains("SIGTERM"), "{error}");
        }
    }
}
