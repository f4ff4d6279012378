//! The commands.
pub mod made;
