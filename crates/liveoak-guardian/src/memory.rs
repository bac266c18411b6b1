//! Memory that does not come from the allocator: tables and stacks in mappings of their own.
//!
//! A guardian that was forked from a program with threads must not allocate: another thread may have held the lock of
//! the allocator at the moment of the fork. All memory of a guardian is mapped at its start. The kernel commits a page
//! when it is first written, so a table for 16,384 programs costs only what the present programs use.
#![expect(unsafe_code, reason = "owns raw mappings; the safe types here keep the invariants")]

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};
use std::ffi::c_void;
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

/// A page, or a part of one, on each architecture of Linux. A guard page of this size is rounded up by the kernel.
const GUARD: usize = 64 * 1024;

/// A vector with a fixed capacity in a mapping of its own.
///
/// Invariant: the first `len` elements are initialised, `len <= capacity`, and the mapping has room for `capacity`
/// elements and belongs to this value alone.
pub(crate) struct Table<T> {
    start: NonNull<T>,
    len: usize,
    capacity: usize,
}

impl<T> Table<T> {
    /// Maps room for `capacity` elements.
    ///
    /// # Errors
    /// When the system has no address space left.
    pub(crate) fn new(capacity: usize) -> io::Result<Table<T>> {
        let bytes = bytes_of::<T>(capacity).ok_or(io::ErrorKind::OutOfMemory)?;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: without MAP_FIXED the kernel chooses a range that is not in use, so no other memory changes.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, flags) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Table { start, len: 0, capacity })
    }

    /// Returns the most elements.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends an element, or returns `false` if the table is full; the element is then dropped.
    pub(crate) fn push(&mut self, value: T) -> bool {
        if self.len >= self.capacity {
            return false;
        }
        // SAFETY: `len < capacity`, so the place is inside the mapping, which is aligned to a page and so to `T`. It is
        // not initialised yet, so nothing is overwritten without a drop.
        unsafe { self.start.as_ptr().add(self.len).write(value) };
        self.len += 1;
        true
    }
}

impl<T: Copy> Table<T> {
    /// Removes all elements.
    pub(crate) fn clear(&mut self) {
        // Elements that can be copied have no destructor.
        self.len = 0;
    }
}

/// Returns the size of a mapping for `capacity` elements, which is never zero.
fn bytes_of<T>(capacity: usize) -> Option<usize> {
    capacity.checked_mul(size_of::<T>()).map(|bytes| bytes.max(1))
}

impl<T> Deref for Table<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` elements are initialised, and they live as long as the borrow of `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed mutably, so there is no other reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        let elements: *mut [T] = &mut **self;
        // SAFETY: the elements are initialised and are not used again. The mapping was made by `new` with this size,
        // and no reference into it outlives `self`.
        unsafe {
            ptr::drop_in_place(elements);
            let _never_refused =
                munmap(self.start.as_ptr().cast(), bytes_of::<T>(self.capacity).unwrap_or(1));
        }
    }
}

/// The memory of a stack, with a range below it that cannot be accessed.
pub(crate) struct Stack {
    bottom: NonNull<c_void>,
    bytes: usize,
}

impl Stack {
    /// Maps a stack of `bytes` bytes.
    ///
    /// # Errors
    /// When the system has no address space left.
    pub(crate) fn new(bytes: usize) -> io::Result<Stack> {
        let bytes = bytes.checked_add(GUARD).ok_or(io::ErrorKind::OutOfMemory)?;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: without MAP_FIXED the kernel chooses a range that is not in use.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, flags) }?;
        let stack = Stack { bottom: NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?, bytes };
        // SAFETY: the range is the lower part of the mapping made above, and nothing uses it yet.
        unsafe { mprotect(start, GUARD, MprotectFlags::empty()) }?;
        Ok(stack)
    }

    /// Returns the addresses.
    pub(crate) fn range(&self) -> Range<usize> {
        let start = self.bottom.as_ptr().addr();
        start..start + self.bytes
    }

    /// Returns the address of the end, where a stack begins. It is aligned to a page.
    pub(crate) fn top(&self) -> *mut c_void {
        self.bottom.as_ptr().wrapping_byte_add(self.bytes)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this size. Only a cloned process with a copy of the memory runs on
        // this stack, so no code of this process uses it.
        let _never_refused = unsafe { munmap(self.bottom.as_ptr(), self.bytes) };
    }
}

/// Returns the content of a file as memory that is never unmapped. Only a process that is about to execute a program
/// calls this: the exec frees the mapping.
///
/// # Errors
/// When the kernel refuses the mapping, and for an empty file.
pub(crate) fn map_for_exec(file: BorrowedFd<'_>, bytes: usize) -> io::Result<&'static [u8]> {
    // SAFETY: without MAP_FIXED no other memory changes. The mapping is private and is never unmapped, so it lives long
    // enough. The client seals the file against writes and against shrinking before it sends it (`Spec::seal`); of a
    // file without seals nothing is mapped (`child::open_spec`). So the bytes cannot change.
    unsafe {
        let start = mmap(ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::PRIVATE, file, 0)?;
        Ok(std::slice::from_raw_parts(start.cast::<u8>(), bytes))
    }
}

/// Unmaps memory that the program of a guardian used before the fork.
///
/// The only caller is a guardian that was just forked (`maps::give_back`).
pub(crate) fn unmap_for_good(range: Range<usize>) {
    // SAFETY: the caller has one thread, which runs on a stack of its own that stays, as do the code, the data and the
    // memory of the C library for this thread. From the fork on it uses no value of the program except what it has copied
    // to its own stack, so nothing leads into this memory.
    let _refused = unsafe { munmap(ptr::with_exposed_provenance_mut(range.start), range.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn a_full_table_refuses_an_element_and_a_dropped_table_drops_its_elements() {
        let counted = Rc::new(());
        let mut table = Table::new(3).unwrap();
        let pushed: Vec<bool> = (0..4).map(|_| table.push(counted.clone())).collect();
        assert_eq!((pushed, table.len(), table.capacity()), (vec![true, true, true, false], 3, 3));
        assert_eq!(Rc::strong_count(&counted), 4);
        drop(table);
        assert_eq!(Rc::strong_count(&counted), 1);
    }

    #[test]
    fn an_empty_table_can_be_made_and_dropped() {
        assert!(Table::<u64>::new(0).unwrap().is_empty());
    }

    #[test]
    fn a_stack_begins_at_its_end_and_is_aligned() {
        let stack = Stack::new(64 * 1024).unwrap();
        assert_eq!(stack.top().addr() % 4096, 0);
    }
}
