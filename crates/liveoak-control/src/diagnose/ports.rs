//! Finds in lines of output that a port is taken, and which.

/// What programs and systems say of an address that another process has.
const TAKEN: [&str; 4] = ["address already in use", "eaddrinuse", "address in use", "errno 98"];

/// What they say of a port.
const IN_USE: [&str; 3] = ["already in use", "is in use", "already allocated"];

/// Returns `true` if a line says that an address or a port is taken.
pub(super) fn is_taken(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|said| line.contains(said));
    let names_port = || line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "port");
    says(&TAKEN) || says(&IN_USE) && names_port()
}

/// Returns the numbers in a line that may be those of ports.
pub(super) fn numbers(line: &str) -> impl Iterator<Item = u16> + '_ {
    let words = line.split(|c: char| !c.is_ascii_digit()).filter(|word| (2..=5).contains(&word.len()));
    words.filter_map(|word| word.parse().ok()).filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_say_of_a_taken_port_is_understood() {
        let lines = [
            ("OSError: [Errno 98] Address already in use", &[98][..]),
            ("Error: listen EADDRINUSE: address already in use :::8080", &[8080]),
            ("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", &[80, 98]),
            (
                "# Warning: Could not create server TCP listening socket *:6379: bind: Address already in use",
                &[6379],
            ),
            ("Error: Address already in use (os error 98)", &[98]),
            ("listen tcp :9090: bind: address already in use", &[9090]),
            ("Web server failed to start. Port 8081 was already in use.", &[8081]),
            ("Port 5173 is in use, trying another one...", &[5173]),
        ];
        for (line, ports) in lines {
            assert!(is_taken(line), "{line}");
            assert_eq!(numbers(line).collect::<Vec<_>>(), ports, "{line}");
        }
        for other in ["listening on 8080", "the report is in use", "errno 9: bad file descriptor", ""] {
            assert!(!is_taken(other), "{other}");
        }
        assert_eq!(numbers("0 1 99999 123456 65535").collect::<Vec<_>>(), [65535]);
    }
}
