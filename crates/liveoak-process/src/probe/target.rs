//! `host:port`, and connecting to it.

use super::error::{ProbeError, ProbeFailure};
use std::fmt;
use std::io;
use tokio::net::TcpStream;

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TcpTarget {
    /// A name or an address, an IPv6 address without its brackets; `None` is this machine.
    host: Option<String>,
    port: u16,
}

impl TcpTarget {
    pub(super) fn new(host: &str, port: u16) -> TcpTarget {
        TcpTarget { host: Some(host.to_owned()).filter(|host| !host.is_empty()), port }
    }

    /// Reads `host:port`, `:port` or `[v6]:port`.
    pub(super) fn parse(address: &str) -> Result<TcpTarget, ProbeError> {
        let refused = |reason| ProbeError::Address { address: address.to_owned(), reason };
        let (host, port) = address.rsplit_once(':').ok_or_else(|| refused("expected host:port"))?;
        Ok(TcpTarget::new(parse_host(host).map_err(refused)?, parse_port(port).map_err(refused)?))
    }

    pub(super) async fn connect(&self) -> Result<TcpStream, ProbeFailure> {
        let mut first = None;
        for host in self.host.as_deref().map_or(vec!["127.0.0.1", "::1"], |host| vec![host]) {
            match TcpStream::connect((host, self.port)).await {
                Ok(stream) => return Ok(stream),
                Err(source) => first = first.or(Some((host, source))),
            }
        }
        let (host, source) = first.unwrap_or(("", io::ErrorKind::AddrNotAvailable.into()));
        Err(ProbeFailure::Connect { target: TcpTarget::new(host, self.port).to_string(), source })
    }
}

/// A host as [`TcpTarget`] keeps it.
pub(super) fn parse_host(host: &str) -> Result<&str, &'static str> {
    let bracketed =
        host.strip_prefix('[').map(|host| host.strip_suffix(']').ok_or("expected a closing bracket"));
    match bracketed.transpose()? {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => Ok(address),
        Some(_) => Err("expected an IPv6 address in the brackets"),
        None if host.contains(':') => Err("an IPv6 address needs brackets: [::1]:80"),
        None if host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/' || c == '@') => {
            Err("expected a host name or an address")
        }
        None => Ok(host),
    }
}

/// A port that can be connected to.
pub(super) fn parse_port(port: &str) -> Result<u16, &'static str> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { port.parse().ok() } else { None };
    number.filter(|&number| number != 0).ok_or("expected a port from 1 to 65535")
}

impl fmt::Display for TcpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_deref().unwrap_or("localhost") {
            host if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("a.b:80", "a.b:80"),
            (":7000", "localhost:7000"),
            ("[::1]:1", "[::1]:1"),
            ("127.0.0.1:65535", "127.0.0.1:65535"),
        ] {
            assert_eq!(TcpTarget::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for text in
            ["", "80", "a", "a:", "a:0", "a:65536", "a:+1", "::1:80", "[::1:80", "[a]:80", "a b:80", "a:x"]
        {
            let error = TcpTarget::parse(text).expect_err(text);
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
