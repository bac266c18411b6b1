//! A queue with a fixed capacity, in memory that does not come from the allocator.

use crate::memory::Table;
use std::io;

/// A first-in, first-out queue. Its capacity never changes.
pub(crate) struct Ring<T> {
    places: Table<T>,
    head: usize,
    len: usize,
}

impl<T: Copy> Ring<T> {
    /// Maps room for `capacity` elements.
    ///
    /// # Errors
    /// When the system has no address space left.
    pub(crate) fn new(capacity: usize) -> io::Result<Ring<T>> {
        Ok(Ring { places: Table::new(capacity)?, head: 0, len: 0 })
    }

    /// Appends an element, or returns `false` if the queue is full.
    pub(crate) fn push(&mut self, value: T) -> bool {
        let capacity = self.places.capacity();
        if self.len >= capacity {
            return false;
        }
        let at = (self.head + self.len) % capacity;
        let stored = match self.places.get_mut(at) {
            Some(place) => {
                *place = value;
                true
            }
            // The places are used in order, so the next one that was never used is the end of the table.
            None => self.places.push(value),
        };
        self.len += usize::from(stored);
        stored
    }

    /// Returns the first element.
    pub(crate) fn front(&self) -> Option<T> {
        (self.len > 0).then(|| self.places.get(self.head).copied()).flatten()
    }

    /// Removes the first element and returns it.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let first = self.front()?;
        self.head = (self.head + 1) % self.places.capacity();
        self.len -= 1;
        Some(first)
    }

    /// Removes all elements.
    pub(crate) fn clear(&mut self) {
        while self.pop().is_some() {}
    }

    /// Returns the number of elements.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn a_ring_is_a_queue_that_refuses_what_it_has_no_room_for(steps in prop::collection::vec(any::<Option<u8>>(), 0..200)) {
            let (mut ring, mut model) = (Ring::new(5).unwrap(), VecDeque::new());
            for step in steps {
                match step {
                    Some(value) => {
                        let room = model.len() < 5;
                        prop_assert_eq!(ring.push(value), room);
                        if room {
                            model.push_back(value);
                        }
                    }
                    None => prop_assert_eq!(ring.pop(), model.pop_front()),
                }
                prop_assert_eq!((ring.front(), ring.len()), (model.front().copied(), model.len()));
            }
        }
    }
}
