//! What is printed: which letters share an envelope, and one print file with its manifest. Pure but for the bytes that
//! come in and go out; it knows no database.
//!
//! Refused designs: a batch held in memory (a letter's objects are copied as it is read, and forgotten), a PDF library that
//! lays pages out (a mark is a line of text and two pictures of a few bytes; whatever rewrites foreign pages can harm
//! them), and an address that is mended on the way (what does not fit is put before a person).

pub mod address;
pub mod assemble;
mod content;
mod copy;
mod font;
pub mod imb;
pub mod manifest;
pub mod marks;
pub mod pack;
mod pdf;
pub mod plan;
mod sheets;

pub use plan::ProductionPolicy;
