//! A list whose numbers are given out anew.

/// Things with numbers that stay, given out anew once their thing is gone.
#[derive(Debug)]
pub(super) struct Slab<T> {
    things: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { things: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, thing: T) -> usize {
        while let Some(number) = self.free.pop() {
            // Some of the numbers have gone with the end of the list, or were given out by it.
            if let Some(place @ None) = self.things.get_mut(number) {
                *place = Some(thing);
                return number;
            }
        }
        self.things.push(Some(thing));
        self.things.len() - 1
    }

    pub(super) fn remove(&mut self, number: usize) {
        self.things[number] = None;
        self.free.push(number);
        let used = self.things.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.things.truncate(used);
        if used == 0 {
            self.free.clear();
        }
        if self.things.len() * 4 < self.things.capacity() {
            self.things.shrink_to(used * 2);
            self.free.retain(|&number| number < used);
            self.free.shrink_to(used * 2);
        }
    }

    /// One more than the largest number that may be in use.
    pub(super) fn room(&self) -> usize {
        self.things.len()
    }
}

impl<T> std::ops::Index<usize> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, number: usize) -> &T {
        self.things[number].as_ref().expect("a number that is in use")
    }
}

impl<T> std::ops::IndexMut<usize> for Slab<T> {
    fn index_mut(&mut self, number: usize) -> &mut T {
        self.things[number].as_mut().expect("a number that is in use")
    }
}
