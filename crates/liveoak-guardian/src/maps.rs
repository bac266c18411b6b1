//! Which memory a forked guardian gives back.
//!
//! A forked process shares each page with the program until one of both writes to it, and then keeps the old page. So
//! the guardian of a program with gigabytes would keep gigabytes alive, and files that the program has mapped and
//! removed. It unmaps what it does not need: everything but the code and data of the program and its libraries, its own
//! stack, and the memory that the C library needs for the thread.

use crate::memory::{Table, unmap_for_good};
use crate::proc_path::ProcPath;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::io;
use std::ops::Range;

/// Smaller mappings stay: the dynamic linker keeps its lists in some of them.
const WORTH_IT: usize = 256 * 1024;

/// The most bytes of `/proc/self/maps` that are read: some 100,000 mappings. What stands behind stays mapped.
const MOST: usize = 8 << 20;

/// A line of `/proc/self/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping<'a> {
    range: Range<usize>,
    executable: bool,
    /// Empty for anonymous memory.
    name: &'a [u8],
}

/// Unmaps the memory of the program. `own` is memory that stays.
///
/// # Errors
/// When `/proc` cannot be read. Nothing is unmapped then.
pub(crate) fn give_back(own: &[Range<usize>]) -> io::Result<()> {
    let path = ProcPath::new(format_args!("/proc/self/maps"));
    let file = openat(CWD, path.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (mut text, mut chunk) = (Table::new(MOST)?, [0; 4096]);
    while let len @ 1.. = rustix::io::read(&file, &mut chunk)? {
        chunk.iter().take(len).all(|byte| text.push(*byte));
    }
    let itself = text.as_ptr().addr();
    let stays = |range: &Range<usize>| {
        let overlaps = |other: &Range<usize>| range.start < other.end && other.start < range.end;
        range.contains(&itself) || own.iter().any(overlaps)
    };
    for_each_unneeded(&text, |range| {
        if range.len() >= WORTH_IT && !stays(&range) {
            unmap_for_good(range);
        }
    });
    Ok(())
}

/// Calls `with` for each mapping that is no part of the program, of a library or of the kernel.
fn for_each_unneeded(maps: &[u8], mut with: impl FnMut(Range<usize>)) {
    let lines = || maps.split(|byte| *byte == b'\n').filter_map(mapping);
    // The end of the last mapping that stays, so that uninitialised data, which stands right behind it, stays too.
    let mut kept_to = 0;
    for found in lines() {
        let is_code = |name: &[u8]| lines().any(|other| other.executable && other.name == name);
        let stays = match found.name {
            b"" => found.range.start == kept_to,
            b"[heap]" | [b'[', b'a', b'n', b'o', b'n', ..] => false,
            [b'[', ..] => true,
            name => is_code(name),
        };
        if stays {
            kept_to = found.range.end;
        } else {
            with(found.range);
        }
    }
}

/// Reads a line: `START-END rwxp OFFSET DEVICE INODE NAME`.
fn mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut ends = fields.next()?.splitn(2, |byte| *byte == b'-').map(hexadecimal);
    let range = ends.next()??..ends.next()??;
    let executable = fields.next()?.get(2) == Some(&b'x');
    let name = fields.nth(3).unwrap_or_default().trim_ascii();
    Some(Mapping { range, executable, name })
}

fn hexadecimal(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0usize, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        value.checked_mul(16)?.checked_add(usize::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_data_and_what_the_kernel_needs_stay() {
        let maps = b"\
55d000000000-55d000001000 r--p 00000000 fd:00 77 /usr/bin/my program\n\
55d000001000-55d000002000 r-xp 00001000 fd:00 77 /usr/bin/my program\n\
55d000002000-55d000003000 rw-p 00002000 fd:00 77 /usr/bin/my program\n\
55d000003000-55d000004000 rw-p 00000000 00:00 0 \n\
55d000009000-55d00000a000 rw-p 00000000 00:00 0 [heap]\n\
7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n\
7f0000001000-7f0000002000 rw-s 00000000 fd:00 78 /var/lib/data (deleted)\n\
7f0000003000-7f0000004000 r-xp 00000000 fd:00 79 /lib/libc.so.6\n\
7ffc00000000-7ffc00001000 rw-p 00000000 00:00 0 [stack]\n\
7ffc00002000-7ffc00003000 r-xp 00000000 00:00 0 [vdso]\n";
        let mut unneeded = Vec::new();
        for_each_unneeded(maps, |range| unneeded.push(range.start));
        assert_eq!(unneeded, [0x55d0_0000_9000, 0x7f00_0000_0000, 0x7f00_0000_1000]);
    }

    #[test]
    fn each_line_of_the_own_maps_is_read() {
        let text = std::fs::read("/proc/self/maps").unwrap();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        assert!(lines.clone().count() > 5 && lines.clone().all(|line| mapping(line).is_some()));
        assert_eq!(hexadecimal(b"7fffg"), None);
    }
}
