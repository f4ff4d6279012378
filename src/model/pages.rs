//! Ranges of pages, by which a document is taken apart (OPS-01).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Pages from the first to the last, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PageRange {
    /// The first page.
    pub first: u32,
    /// The last page.
    pub last: u32,
}

/// What is wrong with ranges.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RangesError {
    /// It is no range.
    #[error("a range of pages is written as 3 or as 3-7, counted from 1")]
    Form,
    /// There is nothing to take apart.
    #[error("at least two ranges are needed")]
    TooFew,
    /// A page would be lost.
    #[error("page {0} is in no range")]
    Missing(u32),
    /// A page would be there twice.
    #[error("page {0} is in two ranges")]
    Twice(u32),
    /// There is no such page.
    #[error("there is no page {page}; the document has {pages}")]
    Beyond {
        /// The page.
        page: u32,
        /// How many there are.
        pages: u32,
    },
}

impl PageRange {
    /// How many pages it has.
    pub const fn pages(self) -> u32 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

impl FromStr for PageRange {
    type Err = RangesError;
    fn from_str(text: &str) -> Result<Self, RangesError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.trim().parse().ok().filter(|n| *n > 0).ok_or(RangesError::Form);
        let range = Self { first: number(first)?, last: number(last)? };
        if range.first <= range.last { Ok(range) } else { Err(RangesError::Form) }
    }
}

impl fmt::Display for PageRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// Whether the ranges hold each of `pages` pages exactly once, in whatever order.
///
/// # Errors
/// Names the page.
pub fn take_apart(ranges: &[PageRange], pages: u32) -> Result<(), RangesError> {
    if ranges.len() < 2 {
        return Err(RangesError::TooFew);
    }
    if ranges.iter().any(|range| range.first == 0 || range.first > range.last) {
        return Err(RangesError::Form);
    }
    if let Some(page) = ranges.iter().map(|range| range.last).find(|last| *last > pages) {
        return Err(RangesError::Beyond { page, pages });
    }
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut next = 1;
    for range in sorted {
        match range.first.cmp(&next) {
            std::cmp::Ordering::Less => return Err(RangesError::Twice(range.first)),
            std::cmp::Ordering::Greater => return Err(RangesError::Missing(next)),
            std::cmp::Ordering::Equal => next = range.last.saturating_add(1),
        }
    }
    if next > pages { Ok(()) } else { Err(RangesError::Missing(next)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_01_ranges_take_a_document_apart_when_they_hold_each_page_once() {
        for (ranges, expected) in [
            ("1 2-3", Ok(())),
            ("2-3 1", Ok(())),
            ("1-3", Err(RangesError::TooFew)),
            ("1 3", Err(RangesError::Missing(2))),
            ("1 2", Err(RangesError::Missing(3))),
            ("2 3", Err(RangesError::Missing(1))),
            ("1-2 2-3", Err(RangesError::Twice(2))),
            ("1-2 3-4", Err(RangesError::Beyond { page: 4, pages: 3 })),
        ] {
            let parsed: Vec<PageRange> = ranges.split(' ').map(|range| range.parse().unwrap()).collect();
            assert_eq!(take_apart(&parsed, 3), expected, "{ranges}");
        }
    }

    #[test]
    fn a_range_is_one_page_or_from_one_to_another() {
        for (text, shown) in [("3", "3"), ("3-7", "3-7"), (" 3 - 3 ", "3")] {
            assert_eq!(text.parse::<PageRange>().map(|range| range.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for text in ["", "0", "-1", "3-", "7-3", "a", "1-2-3", "4294967296"] {
            assert_eq!(text.parse::<PageRange>(), Err(RangesError::Form), "{text}");
        }
    }
}
