//! The smallest HTTP/1.1 client that can find out whether a server is up: one `GET`, and the status line of its answer.
//!
//! No TLS, no redirections, no body. An HTTP library would be forty crates for this.

use super::error::{ProbeError, ProbeFailure};
use super::target::{TcpTarget, parse_host, parse_port, split_port};
use std::fmt;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The longest status line that is read, in bytes. Real ones have some thirty.
const MAX_STATUS_LINE: usize = 1024;

/// The URL of an HTTP probe: `http://host:port/path`. A fragment (`#…`) is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    target: TcpTarget,
    /// Host and port as written, for the `Host` header.
    authority: String,
    /// From the slash on, with the query, without a fragment.
    path: String,
}

impl HttpUrl {
    pub(super) fn parse(url: &str) -> Result<HttpUrl, ProbeError> {
        let refused = |reason| ProbeError::Url { url: url.to_owned(), reason };
        let scheme_end = url.find("://").ok_or_else(|| refused("it has no `http://` in front"))?;
        let (scheme, rest) = (&url[..scheme_end], &url[scheme_end + 3..]);
        if scheme.eq_ignore_ascii_case("https") {
            return Err(ProbeError::Https { url: url.to_owned() });
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(refused("its scheme is not http, the only one that is supported"));
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused(
                "its path has a blank, control or non-ASCII character, which must be %-encoded",
            ));
        }
        let (host, port) = split_port(authority);
        let host = parse_host(host).map_err(refused)?;
        let port = port.map_or(Ok(80), parse_port).map_err(refused)?;
        if host.is_empty() {
            return Err(refused("it has no host"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(HttpUrl { target: TcpTarget::new(host, port), authority: authority.to_owned(), path })
    }

    /// Asks once. The caller bounds the time.
    pub(super) async fn check(&self) -> Result<(), ProbeFailure> {
        let mut stream = self.target.connect().await?;
        let broken = |error| ProbeFailure::refused(&error, format_args!("from {self}"));
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: liveoak\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.path, self.authority
        );
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut head = Vec::new();
        while head.len() < MAX_STATUS_LINE && !head.contains(&b'\n') {
            let mut chunk = [0; 256];
            match stream.read(&mut chunk).await.map_err(broken)? {
                0 => break,
                length => head.extend_from_slice(&chunk[..length]),
            }
        }
        match status_code(&head) {
            Some(200..=399) => Ok(()),
            Some(code) => Err(ProbeFailure::NotYet { found: format!("status {code} from {self}") }),
            None => Err(broken(io::Error::other("no answer in HTTP/1"))),
        }
    }
}

/// Reads the code in `HTTP/1.1 200 OK` (RFC 9112, section 4).
fn status_code(head: &[u8]) -> Option<u16> {
    let line = head.split(|&byte| byte == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (digits, end) = (rest.get(2..5)?, rest.get(5));
    let separated = rest.get(1) == Some(&b' ') && end.is_none_or(|byte| byte.is_ascii_whitespace());
    let digits =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|_| separated)
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown() {
        for (text, shown) in [
            ("http://a:8080/x/y?z=1#part", "http://a:8080/x/y?z=1"),
            ("HTTP://a", "http://a/"),
            ("http://[::1]:80", "http://[::1]:80/"),
            ("http://[::1]", "http://[::1]/"),
            ("http://a?q", "http://a/?q"),
        ] {
            assert_eq!(HttpUrl::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn texts_that_are_no_urls_are_refused() {
        for text in [
            "",
            "a:80",
            "ftp://a",
            "http://",
            "http://:80/",
            "http://a:b/",
            "http://a/b c",
            "http://a/\r\nX: y",
            "http://u@a/",
        ] {
            assert!(matches!(HttpUrl::parse(text), Err(ProbeError::Url { .. })), "{text}");
        }
        assert!(matches!(HttpUrl::parse("https://a"), Err(ProbeError::Https { .. })));
    }

    #[test]
    fn a_text_that_is_no_status_line_has_no_code() {
        assert_eq!(status_code(b"HTTP/1.1 204 No Content\r\nX: y"), Some(204));
        assert_eq!(status_code(b"HTTP/1.0 500"), Some(500));
        for line in
            ["", "HTTP/1.1", "HTTP/1.1 20", "HTTP/1.1 2000", "SSH-2.0-x", "HTTP/2 200", "HTTP/1.1 +20 x"]
        {
            assert_eq!(status_code(line.as_bytes()), None, "{line}");
        }
    }
}
