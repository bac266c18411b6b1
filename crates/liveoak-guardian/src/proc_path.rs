//! Paths below `/proc`, without an allocation.

use std::ffi::CStr;
use std::fmt::{self, Write};

/// The room for a path: `/proc/4194304/task/4194304/children` and more.
const ROOM: usize = 64;

/// A path that ends with NUL.
pub(crate) struct ProcPath {
    bytes: [u8; ROOM],
    len: usize,
}

impl ProcPath {
    /// Creates a path. A path that is longer than the room becomes empty, so that no file has it.
    pub(crate) fn new(text: fmt::Arguments<'_>) -> ProcPath {
        let mut path = ProcPath { bytes: [0; ROOM], len: 0 };
        if path.write_fmt(text).is_err() {
            path.bytes = [0; ROOM];
        }
        path
    }

    /// Returns the path.
    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl Write for ProcPath {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The last byte stays NUL.
        let room = self.bytes.get_mut(self.len..ROOM - 1).ok_or(fmt::Error)?;
        room.get_mut(..text.len()).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// Reads a decimal number at the beginning of `text`, and returns it with the rest.
pub(crate) fn leading_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    let value = number.iter().try_fold(0u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0')))
    })?;
    (digits > 0).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_is_empty() {
        let path = ProcPath::new(format_args!("/proc/{}/stat", 4_194_304));
        assert_eq!(path.as_c_str(), c"/proc/4194304/stat");
        assert!(ProcPath::new(format_args!("/proc/{:>90}", 1)).as_c_str().is_empty());
    }

    #[test]
    fn a_number_is_read_up_to_the_first_other_byte() {
        assert_eq!(leading_number(b"4194304 x"), Some((4_194_304, &b" x"[..])));
        assert_eq!(leading_number(b"x"), None);
        assert_eq!(leading_number(b"99999999999999999999"), None);
    }
}
