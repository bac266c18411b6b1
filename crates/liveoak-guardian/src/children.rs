//! Which processes are children of a process, and to which program an orphan belongs.
//!
//! The kernel lists the children of each thread (`/proc/PID/task/TID/children`). The list of the guardian's own children
//! is exact, because only the guardian removes entries, by reaping. A kernel without these files has `stat` of each
//! process, which takes some microseconds for each process of the machine.
//!
//! A program is marked by a limit: `RLIMIT_LOCKS` has had no effect since Linux 2.4.25, every process inherits it over
//! fork and exec, and each user can read it. So the mark survives a cleared or overwritten environment (`env -i`, the
//! titles that PostgreSQL and nginx write), a double fork and a new session.

use crate::memory::Table;
use crate::proc_path::{ProcPath, leading_number};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::{Errno, pread, read};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most processes that one look-up finds. Those that it does not find are found by the next one, which comes at
/// the latest when one of the others ends.
const MOST: usize = 1 << 16;

/// The bytes of one read.
const CHUNK: usize = 4096;

/// Finds the children of processes.
pub(crate) struct Children {
    /// The lists of the own children, kept open so that they can be read when there is no descriptor left. Empty on a
    /// kernel without them. Children belong to the thread that forked them, orphans to the first thread of the process;
    /// both are the same unless a program serves on another thread.
    own: [Option<OwnedFd>; 2],
    own_pid: u32,
    found: Table<u32>,
}

impl Children {
    /// Opens the lists of the children of the calling thread and of the first thread.
    ///
    /// # Errors
    /// When the system has no memory left.
    pub(crate) fn new(own_pid: u32) -> io::Result<Children> {
        let thread = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let list = |thread: u32| {
            open(ProcPath::new(format_args!("/proc/self/task/{thread}/children")).as_c_str()).ok()
        };
        let own = [list(own_pid), if thread == own_pid { None } else { list(thread) }];
        Ok(Children { own, own_pid, found: Table::new(MOST)? })
    }

    /// Returns the living and dead children of the guardian.
    pub(crate) fn own(&mut self) -> &[u32] {
        self.found.clear();
        if !self.has_lists() {
            find_by_parent(self.own_pid, &mut self.found);
        }
        for list in self.own.iter().flatten() {
            read_numbers(list.as_fd(), &mut self.found);
        }
        &self.found
    }

    fn has_lists(&self) -> bool {
        self.own.iter().any(Option::is_some)
    }

    /// Returns a process and all its descendants.
    pub(crate) fn with_descendants(&mut self, root: u32) -> &[u32] {
        self.found.clear();
        self.found.push(root);
        let mut at = 0;
        while let Some(&pid) = self.found.get(at) {
            if self.has_lists() {
                children_of(pid, &mut self.found);
            } else {
                find_by_parent(pid, &mut self.found);
            }
            at += 1;
        }
        &self.found
    }
}

fn open(path: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Appends the numbers of a file that are separated by blanks.
fn read_numbers(file: BorrowedFd<'_>, found: &mut Table<u32>) {
    let (mut chunk, mut offset, mut number) = ([0; CHUNK], 0, None::<u32>);
    while let Ok(len @ 1..) = pread(file, &mut chunk, offset) {
        offset += len as u64;
        for byte in chunk.iter().take(len) {
            if byte.is_ascii_digit() {
                let digit = u32::from(byte.wrapping_sub(b'0'));
                number = Some(number.unwrap_or(0).wrapping_mul(10).wrapping_add(digit));
            } else if let Some(number) = number.take() {
                found.push(number);
            }
        }
    }
    if let Some(number) = number {
        found.push(number);
    }
}

/// Appends the children of all threads of a process.
fn children_of(pid: u32, found: &mut Table<u32>) {
    for_each_number(&ProcPath::new(format_args!("/proc/{pid}/task")), |thread| {
        let path = ProcPath::new(format_args!("/proc/{pid}/task/{thread}/children"));
        if let Ok(list) = open(path.as_c_str()) {
            read_numbers(list.as_fd(), found);
        }
    });
}

/// Appends the processes whose parent is `parent`, from `stat` of each process.
fn find_by_parent(parent: u32, found: &mut Table<u32>) {
    for_each_number(&ProcPath::new(format_args!("/proc")), |pid| {
        if parent_of(pid) == Some(parent) {
            found.push(pid);
        }
    });
}

/// Calls `with` for each entry of a folder whose name is a number.
fn for_each_number(folder: &ProcPath, mut with: impl FnMut(u32)) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(folder) = openat(CWD, folder.as_c_str(), flags, Mode::empty()) else { return };
    let mut space = [MaybeUninit::<u8>::uninit(); CHUNK];
    let mut entries = RawDir::new(folder, &mut space);
    while let Some(Ok(entry)) = entries.next() {
        if let Some((number, [])) = leading_number(entry.file_name().to_bytes())
            && let Ok(number) = u32::try_from(number)
        {
            with(number);
        }
    }
}

/// Returns the parent of a process.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    let mut bytes = [0; CHUNK];
    let text = read_start(&ProcPath::new(format_args!("/proc/{pid}/stat")), &mut bytes)?;
    // The name stands in parentheses and may contain any byte; the last parenthesis ends it.
    let after_name = text.get(text.iter().rposition(|byte| *byte == b')')? + 1..)?;
    let mut fields = after_name.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    u32::try_from(leading_number(fields.nth(1)?)?.0).ok()
}

/// Returns the mark of a process: its soft limit of `RLIMIT_LOCKS`. Returns `None` if it has none, or cannot be read.
pub(crate) fn mark_of(pid: u32) -> Option<u64> {
    let mut bytes = [0; CHUNK];
    mark_in_limits(read_start(&ProcPath::new(format_args!("/proc/{pid}/limits")), &mut bytes)?)
}

fn mark_in_limits(limits: &[u8]) -> Option<u64> {
    let mut lines = limits.split(|byte| *byte == b'\n');
    let rest = lines.find_map(|line| line.strip_prefix(b"Max file locks"))?;
    leading_number(rest.trim_ascii_start()).map(|(mark, _)| mark)
}

/// Reads the beginning of a file.
fn read_start<'a>(path: &ProcPath, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
    let file = open(path.as_c_str()).ok()?;
    let mut len = 0;
    while let Some(room @ [_, ..]) = bytes.get_mut(len..) {
        match read(&file, room) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    bytes.get(..len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn sleeper() -> Child {
        Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn children_are_found_with_and_without_the_kernels_lists() {
        let me = std::process::id();
        let mut child = sleeper();
        let without = Children { own: [None, None], own_pid: me, found: Table::new(MOST).unwrap() };
        for mut children in [Children::new(me).unwrap(), without] {
            assert!(children.own().contains(&child.id()));
            assert!(children.with_descendants(me).contains(&child.id()));
            assert_eq!(children.with_descendants(child.id()), [child.id()]);
        }
        assert_eq!(parent_of(child.id()), Some(me));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_mark_is_read_from_the_limits_of_a_process() {
        let text = b"Limit  Soft Limit  Hard Limit  Units\nMax file locks   114689    unlimited   locks\nMax x   1 2\n";
        assert_eq!(mark_in_limits(text), Some(114_689));
        assert_eq!(
            mark_in_limits(b"Max file locks            unlimited            unlimited            locks\n"),
            None
        );
        assert_eq!(mark_in_limits(b""), None);
        let mut marked = Command::new("sh")
            .args(["-c", "ulimit -S -x 4711 2>/dev/null || ulimit -S -w 4711; exec sleep 1000"])
            .spawn()
            .unwrap();
        let shell_can =
            Command::new("sh").args(["-c", "ulimit -S -x 1 2>/dev/null || ulimit -S -w 1"]).status().unwrap();
        while shell_can.success() && mark_of(marked.id()) != Some(4711) {
            std::thread::yield_now();
        }
        marked.kill().unwrap();
        marked.wait().unwrap();
    }
}
