//! Known bytes with known answers, which show whether a scanner's configuration lets things pass.
//!
//! Made in memory when first needed: neither our sources nor our binary should look infected. There is no
//! canary for a ZIP member *over* the limit: clamd 1.4 cuts it off and answers `OK` under every
//! configuration. What can be shown is shown instead: a member *at* the limit is scanned to its last byte,
//! and our own cap never lets a larger one through.

use std::io::{Cursor, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::Verdict;
use super::policy::{Endpoint, ScanPolicy};
use super::protocol::{self, Source};

/// Deeper than any clamd goes: its own limit on `MaxRecursion` is 100.
const DEPTH: usize = 110;

const TAR_BLOCK: u64 = 512;

/// The EICAR test file, put together so that this program does not hold it in one piece.
pub fn eicar() -> String {
    // backwards and hidden from the compiler: the string must not stand in this program, nor in its source
    const BACKWARDS: [&str; 2] = ["*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE", r"$}7)CC7)^P(45XZP\4[PA@%P!O5X"];
    std::hint::black_box(BACKWARDS).concat().chars().rev().collect()
}

#[derive(Debug, Clone, Copy)]
enum Expects {
    Clean,
    Infected,
    /// Infected, or "can't judge": anything but clean, if the scanner did answer.
    Alarm,
}

#[derive(Debug)]
struct Canary {
    name: &'static str,
    /// What to do where it fails.
    remedy: &'static str,
    bytes: Arc<[u8]>,
    expects: Expects,
}

/// The canaries of one policy.
#[derive(Debug)]
pub(super) struct Canaries(Vec<Canary>);

impl Canaries {
    /// Makes them: some tens of milliseconds of packing zeros.
    pub(super) async fn make(policy: &ScanPolicy) -> Result<Self, String> {
        let limit = policy.max_file_bytes;
        let made = tokio::task::spawn_blocking(move || make(limit)).await;
        made.map_err(|error| error.to_string())
            .and_then(|made| made.map_err(|error| error.to_string()))
            .map(Self)
            .map_err(|error| format!("the canaries can't be made: {error}"))
    }

    /// Runs them against one scanner. The error names the first that failed, and what to do.
    pub(super) async fn run(&self, endpoint: &Endpoint, policy: &ScanPolicy) -> Result<(), String> {
        for canary in &self.0 {
            let verdict = protocol::scan(endpoint, policy, &Source::Bytes(Arc::clone(&canary.bytes))).await;
            let (name, remedy) = (canary.name, canary.remedy);
            match (canary.expects, &verdict) {
                (Expects::Clean, Verdict::Clean)
                | (Expects::Infected | Expects::Alarm, Verdict::Infected { .. })
                | (Expects::Alarm, Verdict::Unscannable { .. }) => {}
                (_, Verdict::NotRun { why }) => return Err(format!("the canary {name} could not be scanned: {why}")),
                (_, Verdict::Clean) => return Err(format!("it called the canary {name} clean; {remedy}")),
                (_, Verdict::Infected { signature: said } | Verdict::Unscannable { why: said }) => {
                    return Err(format!("it answered {said} to the canary {name}; {remedy}"));
                }
            }
        }
        Ok(())
    }
}

fn make(limit: u64) -> Result<Vec<Canary>, Box<dyn std::error::Error + Send + Sync>> {
    let eicar = eicar();
    let canary = |name, expects, remedy, bytes: Vec<u8>| Canary { name, remedy, bytes: bytes.into(), expects };
    let mut deep = eicar.clone().into_bytes();
    for _ in 0..DEPTH {
        deep = zipped(|member| member.write_all(&deep))?;
    }
    let mut over = GzEncoder::new(Vec::new(), Compression::fast());
    tar_with_eicar_last(&mut over, limit + 2 * TAR_BLOCK)?;
    Ok(vec![
        canary(
            "clean-text",
            Expects::Clean,
            "its signatures are at fault",
            b"Nothing is wrong with this text.\n".to_vec(),
        ),
        canary("eicar", Expects::Infected, "load signatures that know the EICAR test file", eicar.clone().into_bytes()),
        canary("encrypted-zip", Expects::Alarm, "set AlertEncrypted yes in clamd.conf", encrypted_zip()?),
        canary("deep-archive", Expects::Alarm, "set AlertExceedsMax yes in clamd.conf", deep),
        canary("over-limit", Expects::Alarm, "set AlertExceedsMax yes in clamd.conf", over.finish()?),
        canary(
            "member-at-limit",
            Expects::Infected,
            "set MaxFileSize to at least max_file_bytes and MaxScanSize to at least three times that in clamd.conf",
            zipped(|member| tar_with_eicar_last(member, limit))?,
        ),
    ])
}

fn zeros(to: &mut impl Write, mut count: u64) -> std::io::Result<()> {
    let block = vec![0; 1 << 20];
    while count > 0 {
        let part = usize::try_from(count).unwrap_or(usize::MAX).min(block.len());
        to.write_all(&block[..part])?;
        count -= part as u64;
    }
    Ok(())
}

/// A tar of `size` bytes, all but its last blocks one file of zeros, then EICAR as a file.
fn tar_with_eicar_last(to: &mut impl Write, size: u64) -> std::io::Result<()> {
    let eicar = eicar();
    // Two headers, EICAR's block, and the two empty blocks that end a tar.
    let filler = (size / TAR_BLOCK).saturating_sub(5) * TAR_BLOCK;
    to.write_all(&tar_header("filler", filler)?)?;
    zeros(to, filler)?;
    to.write_all(&tar_header("canary.com", eicar.len() as u64)?)?;
    to.write_all(eicar.as_bytes())?;
    zeros(to, size - filler - 2 * TAR_BLOCK - eicar.len() as u64)
}

fn tar_header(name: &str, size: u64) -> std::io::Result<[u8; TAR_BLOCK as usize]> {
    let mut header = [0; TAR_BLOCK as usize];
    let fields = [
        (0, name.to_owned()),
        (100, "0000644".to_owned()),
        (108, "0000000".to_owned()),
        (116, "0000000".to_owned()),
        (124, format!("{size:011o}")),
        (136, "00000000000".to_owned()),
        // The checksum counts itself as blanks.
        (148, "        ".to_owned()),
        (156, "0".to_owned()),
        (257, "ustar\x0000".to_owned()),
    ];
    for (at, text) in fields {
        (&mut header[at..]).write_all(text.as_bytes())?;
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    (&mut header[148..]).write_all(format!("{sum:06o}\0 ").as_bytes())?;
    Ok(header)
}

/// A ZIP with one packed member.
fn zipped(
    content: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>) -> std::io::Result<()>,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    // One fixed date: the same canary has the same bytes each time.
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default());
    zip.start_file("canary", options)?;
    content(&mut zip)?;
    Ok(zip.finish()?.into_inner())
}

/// A ZIP whose member is marked encrypted, as a scanner sees one: it has no password to try on the rest.
fn encrypted_zip() -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    const ENCRYPTED: u8 = 1;
    let mut bytes = zipped(|member| member.write_all(b"what is in here takes a password to read"))?;
    let directory = bytes.windows(4).rposition(|four| four == b"PK\x01\x02").ok_or("the zip has no directory")?;
    for flags in [6, directory + 8] {
        *bytes.get_mut(flags).ok_or("the zip is too short")? |= ENCRYPTED;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canaries_are_small_and_but_one_hide_eicar() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let canaries = make(1 << 20)?;
        for canary in &canaries {
            assert!(canary.bytes.len() < 64 * 1024, "{}: {} bytes", canary.name, canary.bytes.len());
            let plain = canary.bytes.windows(20).any(|part| part == &eicar().as_bytes()[..20]);
            assert_eq!(plain, canary.name == "eicar", "{}", canary.name);
        }
        Ok(())
    }

    #[test]
    fn the_encrypted_canary_is_encrypted_to_a_reader_of_zips() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut archive = zip::ZipArchive::new(Cursor::new(encrypted_zip()?))?;
        assert!(archive.by_index_raw(0)?.encrypted());
        Ok(())
    }
}
