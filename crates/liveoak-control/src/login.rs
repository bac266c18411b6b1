//! What callers over TCP must have: the token, or the cookie that a one-time address gives to a browser.
//!
//! Browsers send a cookie to every port of a host, so its name has the port, and other programs at the same address can read it.
//! The cookie is not the token: a browser that has it changes something only for a page of this server.

use crate::token::Token;
use hyper::header::{COOKIE, HeaderMap};
use liveoak_api::{Login, Problem, seconds};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a one-time address can be opened.
const GOOD_FOR: Duration = Duration::from_secs(600);

/// The most one-time addresses that can be opened. A further one replaces the oldest.
const MAX_CODES: usize = 16;

/// What callers over TCP must have.
#[derive(Debug)]
pub(crate) struct TcpAccess {
    pub(crate) token: Token,
    cookie: Token,
    address: SocketAddr,
    /// The codes of addresses that were not opened, and until when they are good, oldest first.
    codes: Mutex<Vec<(Token, Instant)>>,
}

impl TcpAccess {
    /// Reads the token of a server at `address` from its file, and the cookie from the file beside it, or makes them. A new
    /// token comes with a new cookie. In a folder that cannot be written, the cookie is new with each start.
    ///
    /// # Errors
    /// When the file of the token cannot be read or made, or others may read it.
    pub(crate) fn of_files(token: &Path, address: SocketAddr) -> io::Result<Self> {
        let mut beside = token.as_os_str().to_owned();
        beside.push(".cookie");
        let (secret, beside) = (Token::of_file(token)?, PathBuf::from(beside));
        let written = |path: &Path| std::fs::metadata(path).and_then(|status| status.modified());
        if written(&beside).ok() < written(token).ok() {
            let _ = std::fs::remove_file(&beside);
        }
        let cookie = Token::of_file(&beside).or_else(|_| Token::random())?;
        Ok(Self { token: secret, cookie, address, codes: Mutex::default() })
    }

    /// Makes a one-time address.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(crate) fn new_login(&self) -> io::Result<Login> {
        let code = Token::random()?;
        let ip = match self.address.ip() {
            // A server on all addresses is on this one too.
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let address =
            format!("http://{}/login?code={}", SocketAddr::new(ip, self.address.port()), code.text());
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.len() >= MAX_CODES {
            codes.remove(0);
        }
        codes.push((code, Instant::now() + GOOD_FOR));
        Ok(Login { address, expires_s: seconds(GOOD_FOR) })
    }

    /// Opens a one-time address. Returns the cookie.
    ///
    /// # Errors
    /// When the code is none, was used already, or has expired.
    pub(crate) fn open(&self, code: &str, now: Instant) -> Result<String, Problem> {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|(_, end)| now < *end);
        let Some(at) = codes.iter().position(|(known, _)| known.is(code)) else {
            let problem =
                Problem::new("login-over", "this address was opened already, has expired, or never was one");
            return Err(problem.expected("a new one, as `liveoak login` prints it"));
        };
        codes.remove(at);
        Ok(format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie_name(), self.cookie.text()))
    }

    /// Returns `true` if a request has the cookie.
    pub(crate) fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let name = self.cookie_name();
        let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = all.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(known, value)| known == name && self.cookie.is(value))
    }

    fn cookie_name(&self) -> String {
        format!("liveoak-{}", self.address.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(name: &str) -> (PathBuf, TcpAccess) {
        let folder = std::env::temp_dir().join(format!("liveoak-login-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let access = TcpAccess::of_files(&folder.join("token"), "0.0.0.0:7777".parse().unwrap()).unwrap();
        (folder, access)
    }

    fn code(access: &TcpAccess) -> String {
        let address = access.new_login().unwrap().address;
        address.strip_prefix("http://127.0.0.1:7777/login?code=").unwrap().to_owned()
    }

    #[test]
    fn a_one_time_address_can_be_opened_once_and_not_after_its_time() {
        let (folder, access) = access("once");
        let (first, second) = (code(&access), code(&access));
        let now = Instant::now();
        assert!(access.open(&second, now).unwrap().starts_with("liveoak-7777="));
        assert_eq!(access.open(&second, now).unwrap_err().code, "login-over");
        assert!(access.open("", now).is_err() && access.open(&first[1..], now).is_err());
        assert!(access.open(&first, now + GOOD_FOR).is_err(), "it has expired");
        let third = code(&access);
        let more: Vec<_> = (0..MAX_CODES).map(|_| code(&access)).collect();
        assert!(access.open(&third, now).is_err(), "newer ones have replaced it");
        assert!(access.open(&more[0], now).is_ok());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_cookie_has_the_port_in_its_name_and_is_not_the_token() {
        let (folder, access) = access("cookie");
        let set = access.open(&code(&access), Instant::now()).unwrap();
        assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{set}");
        let cookie = set.split(';').next().unwrap();
        assert!(!cookie.contains(access.token.text()));
        let has = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, value.parse().unwrap());
            access.has_cookie(&headers)
        };
        assert!(has(cookie) && has(&format!("a=b; {cookie}; c=d")));
        for wrong in ["", "liveoak-7777", "liveoak-7777=", &cookie[1..], &cookie.replace("7777", "7778")] {
            assert!(!has(wrong), "{wrong}");
        }
        assert!(!has(&format!("liveoak-7777={}", access.token.text())));
        let again = TcpAccess::of_files(&folder.join("token"), access.address).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, cookie.parse().unwrap());
        assert!(again.has_cookie(&headers), "it survives a restart");
        std::fs::remove_file(folder.join("token")).unwrap();
        drop(TcpAccess::of_files(&folder.join("token"), access.address).unwrap());
        let later = std::time::SystemTime::now() + Duration::from_secs(5);
        std::fs::File::options().write(true).open(folder.join("token")).unwrap().set_modified(later).unwrap();
        let renewed = TcpAccess::of_files(&folder.join("token"), access.address).unwrap();
        assert!(!renewed.has_cookie(&headers), "a new token takes it back");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
