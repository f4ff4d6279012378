//! What a file may hold, as an operator sets it.

use serde::{Deserialize, Serialize};

/// Caps of the file-type judgement: table `[sniff]` of `pipelines/intake.toml`, where each is explained. There
/// is no default in code: what is not written down is not decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SniffPolicy {
    /// Entries of one archive, empty ones too.
    pub archive_entries: u64,
    /// Containers within containers; the file itself is at depth 0.
    pub nesting_depth: u32,
    /// Times an entry may grow when it is expanded, above the floor.
    pub expansion_ratio: u64,
    /// Bytes below which no entry counts as blown up.
    pub expansion_floor_bytes: u64,
    /// Bytes of one expanded entry; at most the scanner's `MaxFileSize`, or it reads only a part of it.
    pub entry_bytes: u64,
    /// Bytes of all entries of an archive, expanded.
    pub expanded_bytes: u64,
    /// Pixels of one page of 1 bit each.
    pub page_pixels_bilevel: u64,
    /// Pixels of one page of 2 to 8 bits each.
    pub page_pixels_grey: u64,
    /// Pixels of one page of more than 8 bits each.
    pub page_pixels_colour: u64,
    /// Pages or frames of one picture file.
    pub pages: u64,
    /// Files embedded in a file, at all depths together.
    pub embedded_files: u64,
    /// Bytes of all embedded files together.
    pub embedded_bytes: u64,
    /// Whether macros are let pass, told by a flag. Never a setting: set for a document that a person released (OPS-03).
    #[serde(default)]
    pub waive_macros: bool,
}
