//! The token that callers over TCP must have: in a file that only its owner can read.

use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// The number of random bytes of a token.
const BYTES: usize = 32;

/// A token. It is compared in constant time, and never shown.
pub(crate) struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Reads the token of a file, or makes the file with a new token. So the token survives restarts.
    pub(crate) fn of_file(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
        let status = rustix::fs::fstat(&file)?;
        if rustix::fs::FileType::from_raw_mode(status.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not a regular file"));
        }
        let is_private = status.st_mode & 0o077 == 0 && status.st_uid == rustix::process::geteuid().as_raw();
        if !is_private {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "others may read or own this file; expected a file of this user with the mode 0600",
            ));
        }
        let mut text = String::new();
        (&file).take(4096).read_to_string(&mut text)?;
        let text = text.trim();
        if text.len() >= 2 * BYTES {
            return Ok(Self(text.to_owned()));
        }
        let token = Self::random()?;
        file.set_len(0)?;
        io::Seek::rewind(&mut file)?;
        writeln!(file, "{}", token.0)?;
        file.sync_all()?;
        Ok(token)
    }

    /// Returns the token itself.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Returns a new token.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Returns `true` if `given` is the token.
    pub(crate) fn is(&self, given: &str) -> bool {
        constant_time_eq::constant_time_eq(self.0.as_bytes(), given.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_survives_restarts_and_its_file_is_private() {
        let folder = std::env::temp_dir().join(format!("liveoak-token-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("token");
        let first = Token::of_file(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Token::of_file(&path).unwrap();
        assert!(again.is(&first.0) && !again.is("") && !again.is(&first.0[1..]));
        assert_eq!(format!("{first:?}"), "Token(…)");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = Token::of_file(&path).unwrap_err();
        assert!(refused.to_string().contains("0600"), "{refused}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
