//! `host:port`, and connecting to it.

use super::error::{ProbeError, ProbeFailure};
use crate::off_thread::{NoAnswer, off_thread};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A host and a port to connect to. It prints as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpTarget {
    /// A name or an address, an IPv6 address without its brackets; `None` is this machine.
    host: Option<String>,
    port: u16,
}

impl TcpTarget {
    pub(super) fn new(host: &str, port: u16) -> TcpTarget {
        TcpTarget { host: Some(host.to_owned()).filter(|host| !host.is_empty()), port }
    }

    /// Returns the host, an IPv6 address without its brackets; `None` is this machine.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Reads `host:port`, `:port` or `[v6]:port`.
    pub(super) fn parse(address: &str) -> Result<TcpTarget, ProbeError> {
        let refused = |reason| ProbeError::Address { address: address.to_owned(), reason };
        if address.contains("://") {
            return Err(refused("it is a URL; write only its host and port"));
        }
        let (host, port) = split_port(address);
        let port = port.ok_or_else(|| refused("it has no port"))?;
        Ok(TcpTarget::new(parse_host(host).map_err(refused)?, parse_port(port).map_err(refused)?))
    }

    pub(super) async fn connect(&self) -> Result<TcpStream, ProbeFailure> {
        let mut first = None;
        for host in self.hosts() {
            match connect(host, self.port).await {
                Ok(stream) => return Ok(stream),
                Err(source) => first = first.or(Some((host, source))),
            }
        }
        let (host, source) = first.unwrap_or(("", io::ErrorKind::AddrNotAvailable.into()));
        Err(ProbeFailure::refused(&source, format_args!("at {}", TcpTarget::new(host, self.port))))
    }

    /// Returns the hosts to connect to, one after another. The name `localhost` always means this machine (RFC 6761),
    /// by IPv4 and IPv6: some servers listen on only one of these, and some systems look up only the other.
    fn hosts(&self) -> Vec<&str> {
        match self.host.as_deref() {
            Some(host) if !host.eq_ignore_ascii_case("localhost") => vec![host],
            Some(_) | None => vec!["127.0.0.1", "::1"],
        }
    }
}

/// How long a connection to one address of a name may take before the next address is tried as well (RFC 8305).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

/// How long one look-up of a name may take. The time limit of the check usually ends it before.
const RESOLVE_WITHIN: Duration = Duration::from_secs(30);

/// Connects to the first address of `host` that accepts. An address that does not answer delays the next one for a short
/// time only.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => resolve(host, port).await?,
    };
    first_of(addresses).await
}

/// Connects to the first of these addresses that accepts.
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [address] = addresses[..] {
        return connect_to(address).await;
    }
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut left = addresses.into_iter().take(MAX_ADDRESSES);
    // These tasks end when the set is dropped.
    let mut running = JoinSet::new();
    loop {
        match left.next() {
            Some(address) => drop(running.spawn(connect_to(address))),
            None if running.is_empty() => return Err(last),
            None => {}
        }
        let patience = if left.len() > 0 { NEXT_ADDRESS_AFTER } else { Duration::MAX };
        if let Ok(Some(Ok(connected))) = tokio::time::timeout(patience, running.join_next()).await {
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
    }
}

/// Connects to one address.
async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    if leads_to_itself(&stream) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// Returns `true` if both ends of a connection are the same: where no server listens, the system may choose the target's
/// own port for this end, and then the connection leads to itself.
fn leads_to_itself(stream: &TcpStream) -> bool {
    stream.local_addr().is_ok_and(|own| stream.peer_addr().is_ok_and(|peer| own == peer))
}

/// Looks up a name on a thread of its own. While a name server does not answer, there is one thread for each name.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let name = host.to_owned();
    let call = move || (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
    match off_thread(format!("host {host}").into(), RESOLVE_WITHIN, call).await {
        Ok(resolved) => resolved,
        Err(NoAnswer::TimedOut) => Err(io::ErrorKind::TimedOut.into()),
        Err(NoAnswer::Failed(error)) => Err(error),
    }
}

/// Splits the port off, if there is one. A colon inside brackets does not begin a port.
pub(super) fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// Checks a host and removes the brackets of an IPv6 address.
///
/// # Errors
/// Returns what is wrong, as a clause.
pub(super) fn parse_host(host: &str) -> Result<&str, &'static str> {
    let bracketed = host.strip_prefix('[').map(|host| host.strip_suffix(']').ok_or("it has `[` without `]`"));
    match bracketed.transpose()? {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => Ok(address),
        Some(_) => Err("the text in brackets is not an IPv6 address"),
        None if host.contains(':') => Err("an IPv6 address needs brackets, as in [::1]:80"),
        None if host.contains('@') => Err("it has a user name, which a probe does not send"),
        None if host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') => {
            Err("its host is neither a host name nor an address")
        }
        None => Ok(host),
    }
}

/// Reads a port that can be connected to.
///
/// # Errors
/// Returns what is wrong, as a clause.
pub(super) fn parse_port(port: &str) -> Result<u16, &'static str> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { port.parse().ok() } else { None };
    number.filter(|&number| number != 0).ok_or("its port is not a number from 1 to 65535")
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
    fn texts_that_are_not_addresses_are_refused() {
        for text in
            ["", "80", "a", "a:", "a:0", "a:65536", "a:+1", "::1:80", "[::1:80", "[a]:80", "a b:80", "a:x"]
        {
            let error = TcpTarget::parse(text).expect_err(text);
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_leads_to_itself_does_not_count_as_an_answer() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.unwrap();
        assert!(leads_to_itself(&stream));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!leads_to_itself(&stream));
    }

    #[tokio::test]
    async fn a_name_is_looked_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(connect("localhost", port).await.is_ok());
        assert!(connect("no-such-host.invalid", port).await.is_err());
    }

    #[test]
    fn localhost_is_this_machine_by_both_protocols_without_a_look_up() {
        for text in [":80", "localhost:80", "LocalHost:80"] {
            assert_eq!(TcpTarget::parse(text).unwrap().hosts(), ["127.0.0.1", "::1"], "{text}");
        }
        assert_eq!(TcpTarget::parse("localhost.example:80").unwrap().hosts(), ["localhost.example"]);
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_does_not_hide_the_next_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        // With its queue full, a listener answers no further connection.
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let silent = silent.listen(0).unwrap();
        let silent_address = silent.local_addr().unwrap();
        let mut fill = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(NEXT_ADDRESS_AFTER, TcpStream::connect(silent_address)).await
        {
            fill.push(stream);
        }
        let refused = SocketAddr::from(([127, 0, 0, 3], good.port()));
        let connected = first_of(vec![silent_address, refused, good]).await.unwrap();
        assert_eq!(connected.peer_addr().unwrap(), good);
        assert!(first_of(vec![refused, refused]).await.is_err());
        assert!(first_of(Vec::new()).await.is_err());
    }
}
