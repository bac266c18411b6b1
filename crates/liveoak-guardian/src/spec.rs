//! What a program is started with: the form in which a client writes it, and a child process reads it.
//!
//! Arguments and variables can have megabytes, so they travel in a sealed memory file beside the request. The guardian
//! never reads it. Only the child process does, between its fork and its exec, so a broken spec harms nothing else.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::ffi::{CStr, CString};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

/// The first bytes of a spec, with the version of its form.
const MAGIC: [u8; 8] = *b"LOAKSPC1";

/// The bytes before the strings.
const HEAD: usize = 48;

/// What a program is started with. `Debug` shows neither the arguments nor the variables.
#[derive(Clone, PartialEq, Eq)]
pub struct Spec {
    /// The file to execute. It is not searched for.
    pub program: CString,
    /// The arguments, with the program's own name.
    pub arguments: Vec<CString>,
    /// The variables, each as `NAME=VALUE`.
    pub environment: Vec<CString>,
    /// The folder; `None` for the folder that the client has at the start.
    pub folder: Option<CString>,
    /// The soft and the hard limit of open files; `None` for those with which the guardian was started.
    pub open_files: Option<(u64, u64)>,
    /// The mask for new files; `None` for the mask with which the guardian was started.
    pub umask: Option<u32>,
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (arguments, variables) = (self.arguments.len(), self.environment.len());
        write!(f, "Spec({:?}, {arguments} arguments, {variables} variables)", self.program)
    }
}

impl Spec {
    /// Creates a spec without variables, in the client's folder.
    pub fn new(program: CString, arguments: Vec<CString>) -> Spec {
        Spec { program, arguments, environment: Vec::new(), folder: None, open_files: None, umask: None }
    }

    /// Writes the spec for a child process with this user and group.
    pub(crate) fn to_bytes(&self, user: u32, group: u32) -> Vec<u8> {
        let flags = u32::from(self.folder.is_some())
            | u32::from(self.open_files.is_some()) << 1
            | u32::from(self.umask.is_some()) << 2;
        let (soft, hard) = self.open_files.unwrap_or_default();
        let count = |list: &[CString]| u32::try_from(list.len()).unwrap_or(u32::MAX);
        let mut bytes = MAGIC.to_vec();
        for number in
            [count(&self.arguments), count(&self.environment), flags, self.umask.unwrap_or(0), user, group]
        {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(soft.to_le_bytes());
        bytes.extend(hard.to_le_bytes());
        let strings =
            [&self.program].into_iter().chain(&self.folder).chain(&self.arguments).chain(&self.environment);
        strings.for_each(|string| bytes.extend(string.as_bytes_with_nul()));
        bytes
    }

    /// Writes the spec into a memory file that can no longer be changed.
    ///
    /// # Errors
    /// When the system has no memory or descriptor left.
    pub(crate) fn seal(&self, user: u32, group: u32) -> io::Result<OwnedFd> {
        let file = memfd_create(c"liveoak-spec", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = std::fs::File::from(file);
        file.write_all(&self.to_bytes(user, group))?;
        let file = OwnedFd::from(file);
        fcntl_add_seals(&file, SEALS)?;
        Ok(file)
    }
}

/// The seals that the memory file of a spec must have, so that a mapping of it never changes.
pub(crate) const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW);

/// A spec as a child process reads it. Nothing is allocated.
#[derive(Clone, Copy)]
pub(crate) struct SpecBytes<'a> {
    pub(crate) program: &'a CStr,
    pub(crate) folder: Option<&'a CStr>,
    pub(crate) arguments: Strings<'a>,
    pub(crate) environment: Strings<'a>,
    pub(crate) open_files: Option<(u64, u64)>,
    pub(crate) umask: Option<u32>,
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// Some strings that stand one after another.
#[derive(Clone, Copy)]
pub(crate) struct Strings<'a> {
    bytes: &'a [u8],
    /// How many there are.
    pub(crate) count: usize,
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a CStr;

    fn next(&mut self) -> Option<&'a CStr> {
        self.count = self.count.checked_sub(1)?;
        take_string(&mut self.bytes)
    }
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a CStr> {
    let string = CStr::from_bytes_until_nul(rest).ok()?;
    *rest = rest.get(string.count_bytes() + 1..)?;
    Some(string)
}

/// Takes `count` strings.
fn take_strings<'a>(rest: &mut &'a [u8], count: u32) -> Option<Strings<'a>> {
    let strings = Strings { bytes: rest, count: usize::try_from(count).ok()? };
    for _ in 0..count {
        take_string(rest)?;
    }
    Some(strings)
}

impl<'a> SpecBytes<'a> {
    /// Reads a spec. Returns `None` if the bytes are not exactly one spec.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<SpecBytes<'a>> {
        let (head, mut rest) = bytes.split_at_checked(HEAD)?;
        let numbers = head.strip_prefix(&MAGIC)?;
        let word = |at: usize| Some(u32::from_le_bytes(*numbers.get(at * 4..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_le_bytes(*numbers.get(at..)?.first_chunk()?));
        let flags = word(2).filter(|flags| *flags < 8)?;
        let program = take_string(&mut rest)?;
        let folder = if flags & 1 != 0 { Some(take_string(&mut rest)?) } else { None };
        let (arguments, environment) =
            (take_strings(&mut rest, word(0)?)?, take_strings(&mut rest, word(1)?)?);
        if !rest.is_empty() {
            return None;
        }
        Some(SpecBytes {
            program,
            folder,
            arguments,
            environment,
            open_files: if flags & 2 != 0 { Some((long(24)?, long(32)?)) } else { None },
            umask: if flags & 4 != 0 { Some(word(3)?) } else { None },
            user: word(4)?,
            group: word(5)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strings() -> impl Strategy<Value = CString> {
        prop::collection::vec(1u8.., 0..20).prop_map(|bytes| CString::new(bytes).unwrap())
    }

    fn specs() -> impl Strategy<Value = Spec> {
        let lists = (prop::collection::vec(strings(), 0..6), prop::collection::vec(strings(), 0..6));
        let options = (prop::option::of(strings()), any::<Option<(u64, u64)>>(), any::<Option<u32>>());
        (strings(), lists, options).prop_map(
            |(program, (arguments, environment), (folder, open_files, umask))| Spec {
                program,
                arguments,
                environment,
                folder,
                open_files,
                umask,
            },
        )
    }

    proptest! {
        #[test]
        fn a_spec_that_was_written_is_read_as_the_same_spec(spec in specs(), user in any::<u32>(), group in any::<u32>()) {
            let bytes = spec.to_bytes(user, group);
            let read = SpecBytes::read(&bytes).expect("a spec");
            let list = |strings: Strings<'_>| strings.map(CStr::to_owned).collect::<Vec<CString>>();
            prop_assert_eq!((read.user, read.group), (user, group));
            let again = Spec {
                program: read.program.to_owned(),
                arguments: list(read.arguments),
                environment: list(read.environment),
                folder: read.folder.map(CStr::to_owned),
                open_files: read.open_files,
                umask: read.umask,
            };
            prop_assert_eq!(again, spec);
        }

        #[test]
        fn bytes_that_were_changed_or_cut_never_harm_the_reader(spec in specs(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut bytes = spec.to_bytes(1, 2);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len() + 1));
            if let Some(read) = SpecBytes::read(&bytes) {
                prop_assert_eq!(read.arguments.count(), read.arguments.count);
                prop_assert_eq!(read.environment.count(), read.environment.count);
            }
        }
    }

    #[test]
    fn debug_shows_no_argument_and_no_variable() {
        let mut spec = Spec::new(c"/bin/x".into(), vec![c"hunter2".into()]);
        spec.environment.push(c"TOKEN=hunter2".into());
        assert!(!format!("{spec:?}").contains("hunter2"), "{spec:?}");
    }
}
