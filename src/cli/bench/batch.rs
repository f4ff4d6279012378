//! A print batch beside `qpdf --empty --pages`, which puts the same letters behind each other and does nothing else: no
//! marks, no barcodes, no blank backs, no manifest.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::peak_rss_bytes;
use crate::app::correspondence::CorrespondencePlan;
use crate::cli::{CliError, Environment, output};
use crate::letters::Renderer;
use crate::letters::fields::{Field as _, Reader};
use crate::letters::head::Addressee;
use crate::model::ids::LetterNumber;
use crate::model::letter::LetterType;
use crate::paper::production::assemble::{Assembler, Batch, Envelope};
use crate::paper::production::pack::{Sheaf, To, Waiting, pack};

/// The letter: two pages in every brand.
const LETTER: (LetterType, &str) = (LetterType::ReconsiderationAdjusted, "short_member");
/// Names that letters have in turn, so that their fonts and texts differ as those of real letters do.
const FIRST: [&str; 16] = [
    "Dolores",
    "Ngọc Ánh",
    "Françoise",
    "Tobias",
    "Wilhelmina",
    "Xavier",
    "Zoë",
    "Quentin",
    "Ibrahim",
    "Małgorzata",
    "Joaquín",
    "Kwame",
    "Yuki",
    "Bjørn",
    "Priscilla",
    "Eoghan",
];
const LAST: [&str; 13] = [
    "Whitcombe",
    "Jankowski",
    "Østergaard",
    "Fitzgerald",
    "Vázquez",
    "Quigley",
    "Blankenship",
    "Ramamurthy",
    "Đặng",
    "Kowalczyk",
    "Xu",
    "Zimmermann",
    "Peña",
];

/// How a batch is measured.
#[derive(clap::Args)]
pub(in crate::cli) struct BatchArgs {
    /// Letters of two pages.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    letters: u32,
    /// Print JSON with stable field names.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Figures {
    letters: u32,
    pages: u32,
    pages_per_s: f64,
    qpdf_pages_per_s: f64,
    /// How many times as fast as qpdf.
    ratio: f64,
    /// Peak memory of this process while the batch was written, in bytes.
    peak_rss_bytes: u64,
    /// How much of it was not there before.
    peak_rss_growth_bytes: u64,
    /// Of the print file, by the letters' pages.
    bytes_per_page: f64,
    qpdf_bytes_per_page: f64,
    /// Of the letters themselves.
    source_bytes_per_page: f64,
}

/// A letter on disk.
struct Made {
    file: PathBuf,
    bytes: u64,
    waiting: Waiting,
}

pub(super) fn run(args: &BatchArgs, environment: &Environment) -> Result<(), CliError> {
    let scratch = crate::cli::scratch()?;
    let plan = CorrespondencePlan::load(environment.settings(None)?.config_dir.as_deref())?.plan;
    let policy = &plan.paper.production;
    let renderer = Renderer::open(None).map_err(|error| CliError::Usage(error.to_string()))?;
    let mut made = render(&renderer, &plan, args.letters, scratch.path())?;
    made.sort_by(|a, b| a.file.cmp(&b.file));
    let pages: u32 = made.iter().map(|letter| letter.waiting.letter.pages).sum();
    let source_bytes: u64 = made.iter().map(|letter| letter.bytes).sum();

    // The peer goes first, so that both find the letters in the page cache.
    let merged = scratch.path().join("qpdf.pdf");
    let peer_s = qpdf(&made, &merged, environment)?;

    let face = renderer.text_face().ok_or_else(|| CliError::Usage("there is no font for marks".into()))?;
    let own = scratch.path().join("batch.pdf");
    let at_own = |error| CliError::File(own.clone(), error);
    let waiting: Vec<Waiting> = made.iter().map(|letter| letter.waiting.clone()).collect();
    forget_peak();
    let before = resident_bytes();
    let began = Instant::now();
    let envelopes: Vec<Envelope> = (1..)
        .zip(pack(waiting, policy).envelopes)
        .map(|(sequence, packed)| Envelope::new(packed, sequence, sequence.into()))
        .collect();
    let assembler =
        Assembler::new(policy, face, renderer.address_block()).map_err(|error| CliError::Usage(error.to_string()))?;
    let dir = scratch.path();
    let mut source = |sheaf: &Sheaf| std::fs::read(file_of(dir, sheaf.number.as_str()));
    let out = BufWriter::with_capacity(1 << 20, File::create(&own).map_err(at_own)?);
    let manifest = assembler
        .assemble(&Batch { name: "BENCH", envelopes: &envelopes }, &mut source, out)
        .map_err(|error| CliError::Usage(error.to_string()))?;
    let took_s = began.elapsed().as_secs_f64();
    let peak = peak_rss_bytes();
    let peer_bytes = std::fs::metadata(&merged).map_err(CliError::at(&merged))?.len();

    let per_page = |bytes: u64| {
        #[expect(clippy::cast_precision_loss, reason = "a figure for reading")]
        let bytes = bytes as f64;
        bytes / f64::from(pages)
    };
    let figures = Figures {
        letters: args.letters,
        pages,
        pages_per_s: f64::from(pages) / took_s,
        qpdf_pages_per_s: f64::from(pages) / peer_s,
        ratio: peer_s / took_s,
        peak_rss_bytes: peak,
        peak_rss_growth_bytes: peak.saturating_sub(before),
        bytes_per_page: per_page(manifest.pdf_bytes),
        qpdf_bytes_per_page: per_page(peer_bytes),
        source_bytes_per_page: per_page(source_bytes),
    };
    if args.json {
        output::json(&figures);
    } else {
        println!("{} letters, {pages} pages of {:.0} bytes", figures.letters, figures.source_bytes_per_page);
        println!("batch  {:8.1} pages/s {:8.0} bytes a page", figures.pages_per_s, figures.bytes_per_page);
        println!("qpdf   {:8.1} pages/s {:8.0} bytes a page", figures.qpdf_pages_per_s, figures.qpdf_bytes_per_page);
        println!(
            "ratio {:.2}; peak memory {}, of which {} came with the batch",
            figures.ratio,
            output::bytes(figures.peak_rss_bytes),
            output::bytes(figures.peak_rss_growth_bytes)
        );
    }
    Ok(())
}

/// Renders the letters, on every processor.
fn render(renderer: &Renderer, plan: &CorrespondencePlan, count: u32, dir: &Path) -> Result<Vec<Made>, CliError> {
    let (letter_type, sample) = LETTER;
    let sample = renderer.samples(letter_type).iter().find(|found| found.name == sample);
    let sample = sample.ok_or_else(|| CliError::Usage("the sample of the bench is not there".into()))?;
    let bar = ProgressBar::new(count.into()).with_style(
        indicatif::ProgressStyle::with_template("rendering {human_pos}/{human_len} letters, {elapsed}")
            .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()),
    );
    let next = AtomicU32::new(0);
    let made = Mutex::new(Ok(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    let one = render_one(renderer, plan, &sample.document, n, dir);
                    bar.inc(1);
                    let Ok(mut made) = made.lock() else { return };
                    match (one, made.as_mut()) {
                        (Ok(one), Ok(all)) => all.push(one),
                        (Err(error), _) => {
                            *made = Err(error);
                            return;
                        }
                        (_, Err(_)) => return,
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    made.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn render_one(
    renderer: &Renderer,
    plan: &CorrespondencePlan,
    sample: &Value,
    n: u32,
    dir: &Path,
) -> Result<Made, CliError> {
    let usage = |error: String| CliError::Usage(error);
    let pick = |list: &[&str], n: u32| list[usize::try_from(n).unwrap_or_default() % list.len()].to_owned();
    let name = format!("{} {}", pick(&FIRST, n), pick(&LAST, n / 3));
    let (number, member_id) = (LetterNumber::from_random(n.into()).as_str().to_owned(), format!("MH{n:08}"));
    let mut document = sample.clone();
    let head = &mut document["head"];
    head["letter_number"] = json!(number);
    head["addressee"]["name"] = json!(name);
    head["addressee"]["lines"] = json!([format!("{} Tannery Lane", 100 + n % 9_000)]);
    head["addressee"]["zip"] = json!(format!("{:05}-{:04}", 43_000 + n % 997, n % 9_999));
    head["member"]["name"] = json!(name);
    head["member"]["member_id"] = json!(member_id);
    head["claim"]["number"] = json!(format!("CL26{n:08}"));
    let letter_type = LETTER.0;
    let checked = renderer.check_document(letter_type, &document, &plan.letters);
    let checked = checked.map_err(|faults| usage(crate::letters::faults::told(&faults)))?;
    let brand = renderer.brands().next().ok_or_else(|| usage("there is no brand".into()))?;
    let rendered = renderer.render(&checked, brand).map_err(|error| usage(error.to_string()))?;
    let file = file_of(dir, &number);
    std::fs::write(&file, &rendered.pdf).map_err(CliError::at(&file))?;
    let mut reader = Reader::new(renderer.coverage());
    let address = Addressee::read(Some(&document["head"]["addressee"]), &mut reader);
    let letter = Sheaf {
        id: format!("01980000-0000-7000-8000-{n:012}").parse()?,
        number: number.parse()?,
        pages: u32::try_from(rendered.pages).unwrap_or_default(),
        sha256: hex::encode(Sha256::digest(&rendered.pdf)).parse()?,
    };
    Ok(Made {
        file,
        bytes: rendered.pdf.len() as u64,
        waiting: Waiting {
            brand: brand.code.parse()?,
            to: To::Member(member_id.parse()?),
            address: address.ok_or_else(|| usage("the address of the bench can't be read".into()))?,
            day: checked.date,
            letter_type,
            letter,
        },
    })
}

fn file_of(dir: &Path, number: &str) -> PathBuf {
    dir.join(number).with_extension("pdf")
}

/// Seconds that qpdf takes to put the letters behind each other.
fn qpdf(made: &[Made], merged: &Path, environment: &Environment) -> Result<f64, CliError> {
    let search = environment.variables.get("PATH").cloned().unwrap_or_default();
    let program = std::env::split_paths(&search)
        .map(|dir| dir.join("qpdf"))
        .find(|path| path.is_file())
        .ok_or_else(|| CliError::Usage("qpdf is not in PATH; `make deps` gets it".into()))?;
    // One argument a line: so many do not fit a command line.
    let arguments = merged.with_extension("args");
    let mut text = String::from("--empty\n--pages\n");
    for letter in made {
        text.push_str(&letter.file.display().to_string());
        text.push('\n');
    }
    text.push_str(&format!("--\n{}\n", merged.display()));
    std::fs::write(&arguments, text).map_err(CliError::at(&arguments))?;
    let began = Instant::now();
    let status = Command::new(program)
        .arg(format!("@{}", arguments.display()))
        .stdout(Stdio::null())
        .status()
        .map_err(|error| CliError::File("qpdf".into(), error))?;
    let took = began.elapsed().as_secs_f64();
    if status.success() { Ok(took) } else { Err(CliError::Usage("qpdf failed".into())) }
}

/// Begins the peak of memory anew: letters were rendered in this process. Where that is not allowed, the figure is too
/// large.
fn forget_peak() {
    let _: io::Result<()> = std::fs::write("/proc/self/clear_refs", "5");
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
