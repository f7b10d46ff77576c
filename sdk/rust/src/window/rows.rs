//! The rows of a window, which may stand in several batches.

use std::{fmt, ops::Range, rc::Rc};

use super::Windowed;
use crate::input::InputRow;

/// The views of the input's columns.
pub(super) type Views<'a, T> = <<T as Windowed>::Input<'a> as InputRow<'a>>::Views;

/// The rows of a window, in the order of event time.
pub struct WindowRows<'a, T: Windowed> {
    /// In their order, none empty.
    parts: std::vec::IntoIter<(Rc<Views<'a, T>>, Range<usize>)>,
    current: Option<(Rc<Views<'a, T>>, Range<usize>)>,
    left: usize,
}

impl<T: Windowed> fmt::Debug for WindowRows<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowRows")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<'a, T: Windowed> WindowRows<'a, T> {
    pub(super) fn new(parts: Vec<(Rc<Views<'a, T>>, Range<usize>)>) -> Self {
        Self {
            left: parts.iter().map(|(_, rows)| rows.len()).sum(),
            parts: parts.into_iter(),
            current: None,
        }
    }
}

impl<'a, T: Windowed> Iterator for WindowRows<'a, T> {
    type Item = T::Input<'a>;

    #[inline]
    fn next(&mut self) -> Option<T::Input<'a>> {
        loop {
            if let Some((views, rows)) = &mut self.current
                && let Some(row) = rows.next()
            {
                self.left -= 1;
                return Some(<T::Input<'a> as InputRow<'a>>::read(views, row));
            }
            self.current = Some(self.parts.next()?);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T: Windowed> ExactSizeIterator for WindowRows<'_, T> {}
