//! Journey 2: letters. What a letter is made of is checked whole before anything is rendered; what is rendered is one
//! PDF, the same bytes for the same data, template and brand.
//!
//! Refused designs: templates that compute (they set what the data say), data filled with blanks where something is
//! missing, and the system's fonts or clock.

pub mod about;
pub mod asks;
pub mod barcode;
pub mod brand;
pub mod compose;
pub mod data;
pub mod details;
pub mod faults;
pub mod fields;
pub mod files;
pub mod fonts;
pub mod handouts;
pub mod head;
pub mod overflow;
pub mod plan;
pub mod reconcile;
pub mod render;
pub mod stages;
pub mod window;
mod world;

pub use data::LetterData;
pub use faults::{FieldFault, FieldRule};
pub use head::Head;
pub use plan::LettersPolicy;
pub use render::{RenderError, Rendered, Renderer};
