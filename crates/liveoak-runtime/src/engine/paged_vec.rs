//! A vector that grows page by page. Growing moves no entry, however many there are.

/// Entries per page. With entries of 32 bytes a page is 32 KiB.
const PAGE: usize = 1024;

/// A vector indexed by slot. All entries of a page exist as soon as the page does.
#[derive(Debug)]
pub(crate) struct PagedVec<T> {
    pages: Vec<Vec<T>>,
}

impl<T> Default for PagedVec<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T> PagedVec<T> {
    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.pages.get(slot as usize / PAGE)?.get(slot as usize % PAGE)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.pages.get_mut(slot as usize / PAGE)?.get_mut(slot as usize % PAGE)
    }

    /// Returns `true` if there is more than one page.
    pub(crate) const fn is_large(&self) -> bool {
        self.pages.len() > 1
    }

    /// Stores `value` and returns the entry that it replaces. New pages are filled with `vacant`.
    pub(crate) fn replace(&mut self, slot: u32, value: T, vacant: impl Fn() -> T) -> T {
        let (page, entry) = (slot as usize / PAGE, slot as usize % PAGE);
        while self.pages.len() <= page {
            self.pages.push(std::iter::repeat_with(&vacant).take(PAGE).collect());
        }
        let page = &mut self.pages[page];
        std::mem::replace(&mut page[entry], value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.pages).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_at_its_slot_and_every_entry_between_is_vacant() {
        let mut vec = PagedVec::default();
        let slots = [0, 1, 1023, 1024, 3 * 1024 + 7];
        for slot in slots {
            assert_eq!(vec.replace(slot, Some(slot), || None), None);
        }
        for slot in slots {
            assert_eq!(vec.get(slot), Some(&Some(slot)));
        }
        assert_eq!(vec.get(2), Some(&None));
        assert_eq!(vec.get(2 * 1024), Some(&None));
        assert_eq!(vec.get(3 * 1024 + 8), Some(&None));
        assert_eq!(vec.get(4 * 1024), None);
        assert_eq!(vec.replace(1, None, || None), Some(1));
        assert_eq!(vec.iter().flatten().count(), 4);
        assert_eq!(vec.drain().flatten().collect::<Vec<_>>(), [0, 1023, 1024, 3 * 1024 + 7]);
        assert_eq!(vec.get(0), None);
    }
}
