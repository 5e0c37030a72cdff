//! A list that is mostly of one or none, and then takes no memory of its own.

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Few<T> {
    #[default]
    None,
    One(T),
    /// Two at least between calls, so that equal lists are equal here.
    Several(Vec<T>),
}

/// Room for so many is made at once.
const SEVERAL: usize = 4;

impl<T> Few<T> {
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }

    pub fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Self::None => &mut [],
            Self::One(one) => std::slice::from_mut(one),
            Self::Several(several) => several,
        }
    }

    pub fn push(&mut self, value: T) {
        match self {
            Self::Several(several) => several.push(value),
            Self::None => *self = Self::One(value),
            Self::One(_) => {
                let mut several = Vec::with_capacity(SEVERAL);
                if let Self::One(one) = std::mem::take(self) {
                    several.push(one);
                }
                several.push(value);
                *self = Self::Several(several);
            }
        }
    }

    pub fn retain(&mut self, mut is_kept: impl FnMut(&T) -> bool) {
        match self {
            Self::None => {}
            Self::One(one) => {
                if !is_kept(one) {
                    *self = Self::None;
                }
            }
            Self::Several(several) => {
                several.retain(is_kept);
                if several.len() < 2 {
                    *self = several.pop().map_or(Self::None, Self::One);
                }
            }
        }
    }
}

impl<T> std::ops::Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T> std::ops::DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.as_mut_slice()
    }
}

impl<T> Extend<T> for Few<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.push(value);
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut few = Self::None;
        few.extend(values);
        few
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, several) = match self {
            Self::None => (None, Vec::new()),
            Self::One(one) => (Some(one), Vec::new()),
            Self::Several(several) => (None, several),
        };
        one.into_iter().chain(several)
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.as_slice().iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Few<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.as_mut_slice().iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_as_a_list() {
        let mut few = Few::default();
        let mut list = Vec::new();
        for (step, value) in [3, 1, 4, 1, 5, 9, 2, 6].into_iter().cycle().take(100).enumerate() {
            if step % 3 == 2 {
                few.retain(|kept| kept % 3 != value % 3);
                list.retain(|kept| kept % 3 != value % 3);
            } else {
                few.push(value);
                list.push(value);
            }
            assert_eq!(few.as_slice(), list);
            assert_eq!(few, list.iter().copied().collect(), "one form for one content");
            assert_eq!(few.clone().into_iter().collect::<Vec<_>>(), list);
        }
    }
}
