//! A table that grows page by page: nothing is moved when it does, however large it is.

/// Entries per page. With entries of 32 bytes a page is 32 KiB.
const PAGE: usize = 1024;

/// A table indexed by slot. Every entry exists from the moment its page does.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    pages: Vec<Vec<T>>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T> Pages<T> {
    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.pages.get(slot as usize / PAGE)?.get(slot as usize % PAGE)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.pages.get_mut(slot as usize / PAGE)?.get_mut(slot as usize % PAGE)
    }

    /// Puts `value` in its place, and gives back what was there. What lies before it is filled with `vacant`.
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
    fn entries_are_found_where_they_were_put_and_all_between_are_vacant() {
        let mut pages = Pages::default();
        let slots = [0, 1, 1023, 1024, 3 * 1024 + 7];
        for slot in slots {
            assert_eq!(pages.replace(slot, Some(slot), || None), None);
        }
        for slot in slots {
            assert_eq!(pages.get(slot), Some(&Some(slot)));
        }
        assert_eq!(pages.get(2), Some(&None));
        assert_eq!(pages.get(2 * 1024), Some(&None));
        assert_eq!(pages.get(3 * 1024 + 8), Some(&None));
        assert_eq!(pages.get(4 * 1024), None);
        assert_eq!(pages.replace(1, None, || None), Some(1));
        assert_eq!(pages.iter().flatten().count(), 4);
        assert_eq!(pages.drain().flatten().collect::<Vec<_>>(), [0, 1023, 1024, 3 * 1024 + 7]);
        assert_eq!(pages.get(0), None);
    }
}
