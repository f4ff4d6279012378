//! Lines that do not fit: looked for in the finished layout, so that no template has to be trusted.
//!
//! A line overflows when it reaches out of the page's text area to the left or right, out of the page, or out of a box
//! of fixed size (one with a clip, or with a label), or when it lies over another line: that is how text that is wider than its column shows.

use serde::{Deserialize, Serialize};
use typst::layout::{Abs, Frame, FrameItem, Point};
use typst_layout::PagedDocument;

/// A line that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overflow {
    /// The page, from 1.
    pub page: usize,
    /// What is wrong.
    pub kind: OverflowKind,
    /// The line's text. It can be health data: it is shown to who previews samples, never logged.
    pub text: crate::model::phi::Phi<String>,
}

crate::codes! {
    /// How a line does not fit.
    pub enum OverflowKind {
        /// It reaches into the page's margin.
        Margin = "margin",
        /// It reaches out of a box of fixed size.
        Box = "box",
        /// It lies over another line.
        Overlap = "overlap",
    }
}

/// The margins within which lines must stay.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Geometry {
    pub(super) page_width_in: f64,
    pub(super) page_height_in: f64,
    pub(super) side_margin_in: f64,
    /// Least distance of anything, footers too, from the upper and lower edge.
    pub(super) edge_in: f64,
}

#[derive(Clone, Copy)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn holds(&self, other: &Self, slack: f64) -> bool {
        other.left >= self.left - slack
            && other.right <= self.right + slack
            && other.top >= self.top - slack
            && other.bottom <= self.bottom + slack
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right - SLACK_PT
            && other.left < self.right - SLACK_PT
            && self.top < other.bottom - SLACK_PT
            && other.top < self.bottom - SLACK_PT
    }

    fn within(&self, other: &Self) -> Self {
        Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        }
    }
}

/// Less than this is rounding, or the overhang of a letter.
const SLACK_PT: f64 = 1.0;

struct Run {
    area: Area,
    text: String,
}

struct Look {
    runs: Vec<Run>,
    found: Vec<(OverflowKind, String)>,
    page: Area,
}

/// Every line that does not fit.
pub(super) fn find(document: &PagedDocument, geometry: &Geometry) -> Vec<Overflow> {
    let mut all = Vec::new();
    let page = Area {
        left: geometry.side_margin_in * 72.0,
        top: geometry.edge_in * 72.0,
        right: (geometry.page_width_in - geometry.side_margin_in) * 72.0,
        bottom: (geometry.page_height_in - geometry.edge_in) * 72.0,
    };
    for (number, laid) in document.pages().iter().enumerate() {
        let mut look = Look { runs: Vec::new(), found: Vec::new(), page };
        look.frame(&laid.frame, Point::zero(), None);
        look.overlaps();
        all.extend(look.found.into_iter().map(|(kind, text)| Overflow { page: number + 1, kind, text: text.into() }));
    }
    all
}

impl Look {
    fn frame(&mut self, frame: &Frame, origin: Point, bounds: Option<Area>) {
        for (at, item) in frame.items() {
            let at = origin + *at;
            match item {
                FrameItem::Group(group) => {
                    // Nothing in a letter is turned or scaled; what is moved is moved by its place.
                    let at = at + Point::new(group.transform.tx, group.transform.ty);
                    let fixed = group.clip.is_some() || group.label.is_some();
                    let own = area(at, group.frame.width(), group.frame.height());
                    let inner = if fixed { Some(bounds.map_or(own, |outer| own.within(&outer))) } else { bounds };
                    self.frame(&group.frame, at, inner);
                }
                FrameItem::Text(text) if !text.text.trim().is_empty() => {
                    // The height that the line's letters take, not that of the font's tallest.
                    let size = text.size.to_pt();
                    let (x, y) = (at.x.to_pt(), at.y.to_pt());
                    let area =
                        Area { left: x, right: x + text.width().to_pt(), top: y - size * 0.72, bottom: y + size * 0.2 };
                    let told = text.text.to_string();
                    if !self.page.holds(&area, SLACK_PT) {
                        self.found.push((OverflowKind::Margin, told.clone()));
                    } else if bounds.is_some_and(|bounds| !bounds.holds(&area, SLACK_PT)) {
                        self.found.push((OverflowKind::Box, told.clone()));
                    }
                    self.runs.push(Run { area, text: told });
                }
                _ => {}
            }
        }
    }

    fn overlaps(&mut self) {
        self.runs.sort_by(|a, b| a.area.top.total_cmp(&b.area.top));
        for (i, run) in self.runs.iter().enumerate() {
            let below = self.runs[i + 1..].iter().take_while(|other| other.area.top < run.area.bottom);
            if let Some(other) = below.into_iter().find(|other| run.area.overlaps(&other.area)) {
                self.found.push((OverflowKind::Overlap, format!("{} / {}", run.text, other.text)));
            }
        }
    }
}

fn area(at: Point, width: Abs, height: Abs) -> Area {
    Area { left: at.x.to_pt(), top: at.y.to_pt(), right: (at.x + width).to_pt(), bottom: (at.y + height).to_pt() }
}
