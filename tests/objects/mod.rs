//! The object store door: one suite over every store, then what is particular to each.

mod disk;
mod memory;
mod s3;
mod suite;
mod versions;
mod world;
