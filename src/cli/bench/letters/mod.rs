//! Letters: all that the stage `render` does for one, without store and database, beside the engine alone and beside
//! WeasyPrint, which sets an equal letter from HTML. The three take turns, so that what else the machine does meets all.
//!
//! What is per core is per second of one core's work: everything is bound to one core, and the processor's time counts.

mod peer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::peak_rss_bytes;
use crate::app::correspondence::CorrespondencePlan;
use crate::cli::{CliError, Environment, output};
use crate::letters::brand::Brand;
use crate::letters::{LetterData, LettersPolicy, Renderer, faults};
use crate::model::letter::LetterType;

/// The letter: two pages with a table, right-to-left text and Chinese, Japanese and Korean.
const LETTER: (LetterType, &str, &str) = (LetterType::ReconsiderationAdjusted, "with_lines", "meridian");
/// Pages it has, whatever is written into it.
const PAGES: usize = 2;
/// Turns of the three on one core.
const TURNS: usize = 40;
/// Letters of ours, and of the engine alone, in a turn; the peer sets one.
const LETTERS_OF_A_TURN: usize = 8;
/// Turns before those that are measured.
const WARMING: usize = 2;
/// More than this part of the engine's rate may not be lost around it.
const ALLOWED_LOSS: f64 = 0.1;
/// Behind so many letters memory is looked at the first time.
const SETTLED: usize = 500;

/// How letters are measured.
#[derive(clap::Args)]
pub(in crate::cli) struct LettersArgs {
    /// Letters that all cores make together, while memory is watched.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    letters: u32,
    /// Turns of ours, the engine alone and WeasyPrint on one core.
    #[arg(long, default_value_t = TURNS)]
    turns: usize,
    /// Print JSON with stable field names.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Figures {
    letters: u32,
    pages: usize,
    pdf_bytes: usize,
    cores: usize,
    letters_per_s: f64,
    letters_per_s_core: f64,
    typst_letters_per_s_core: f64,
    /// The part of the engine's rate that is lost around it.
    loss: f64,
    allowed_loss: f64,
    weasyprint_version: String,
    weasyprint_letters_per_s: f64,
    weasyprint_pdf_bytes: u64,
    /// Ours to WeasyPrint, per core.
    ratio: f64,
    /// Peak memory of this process over all letters, in bytes.
    peak_rss_bytes: u64,
    /// How much of it came after the first letters.
    peak_rss_growth_bytes: u64,
}

/// What makes the letters.
struct Bench {
    renderer: Renderer,
    plan: LettersPolicy,
    brand: Brand,
    sample: Value,
}

/// Measures, and answers no when too much is lost around the engine.
pub(super) fn run(args: &LettersArgs, environment: &Environment) -> Result<(), CliError> {
    let plan = CorrespondencePlan::load(environment.settings(None)?.config_dir.as_deref())?.plan.letters;
    let bench = Bench::open(plan)?;
    // it says that it is missing before minutes are spent
    let python = peer::find(environment)?;
    let letters = args.letters as usize;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (letters_per_s, peak, growth) = bench.all_cores(letters, cores)?;
    one_core()?;
    let mut peer = peer::Peer::start(&python, &bench.brand)?;
    let mut turns = Turns::default();
    for turn in 0..WARMING + args.turns.max(1) {
        if turn == WARMING {
            turns = Turns::default();
        }
        bench.turn(turn, &mut peer, &mut turns)?;
    }
    let rate = |(letters, seconds): (usize, f64)| count(letters) / seconds;
    let (ours, engine, theirs) = (rate(turns.ours), rate(turns.engine), rate(turns.peer));
    let figures = Figures {
        letters: args.letters,
        pages: PAGES,
        pdf_bytes: turns.pdf_bytes,
        cores,
        letters_per_s,
        letters_per_s_core: ours,
        typst_letters_per_s_core: engine,
        loss: 1.0 - ours / engine,
        allowed_loss: ALLOWED_LOSS,
        weasyprint_version: peer.version.clone(),
        weasyprint_letters_per_s: theirs,
        weasyprint_pdf_bytes: turns.peer_pdf_bytes,
        ratio: ours / theirs,
        peak_rss_bytes: peak,
        peak_rss_growth_bytes: growth,
    };
    if args.json {
        output::json(&figures);
    } else {
        print(&figures);
    }
    if figures.loss > ALLOWED_LOSS { Err(CliError::No) } else { Ok(()) }
}

fn print(figures: &Figures) {
    println!("{} letters of {} pages", figures.letters, figures.pages);
    println!("all {} cores  {:8.1} letters/s", figures.cores, figures.letters_per_s);
    println!("one core     {:8.1} letters/s  {}", figures.letters_per_s_core, size(figures.pdf_bytes as u64));
    println!("typst alone  {:8.1} letters/s", figures.typst_letters_per_s_core);
    println!(
        "WeasyPrint   {:8.1} letters/s  {} (version {})",
        figures.weasyprint_letters_per_s,
        size(figures.weasyprint_pdf_bytes),
        figures.weasyprint_version
    );
    println!(
        "ratio {:.1}, lost around typst {:.1} % (allowed {:.0} %)",
        figures.ratio,
        figures.loss * 100.0,
        figures.allowed_loss * 100.0
    );
    println!(
        "peak memory {}, {} of it after the first {SETTLED} letters",
        output::bytes(figures.peak_rss_bytes),
        output::bytes(figures.peak_rss_growth_bytes)
    );
}

fn size(bytes: u64) -> String {
    format!("{} a letter", output::bytes(bytes))
}

/// Letters and the seconds they took, summed over the turns.
#[derive(Default)]
struct Turns {
    ours: (usize, f64),
    engine: (usize, f64),
    peer: (usize, f64),
    pdf_bytes: usize,
    peer_pdf_bytes: u64,
}

impl Bench {
    fn open(plan: LettersPolicy) -> Result<Self, CliError> {
        let renderer = Renderer::open(None).map_err(|error| CliError::Usage(error.to_string()))?;
        let (letter_type, name, brand) = LETTER;
        let gone = || CliError::Usage(format!("there is no sample {name} of {letter_type} for {brand}"));
        let sample = renderer.samples(letter_type).iter().find(|sample| sample.name == name);
        let sample = sample.map(|sample| sample.document.clone()).ok_or_else(gone)?;
        let brand = renderer.brand(brand).cloned().ok_or_else(gone)?;
        Ok(Self { renderer, plan, brand, sample })
    }

    /// What the letter of a number is made of: no two are alike.
    fn document(&self, number: usize) -> Value {
        const FIRST: [&str; 8] = ["Terrence", "Ida", "Marisol", "Owen", "Priya", "Declan", "Yuki", "Amara"];
        const LAST: [&str; 8] = ["Okonjo", "Lindqvist", "Fuentes", "Bright", "Raman", "Keane", "Tanaka", "Osei"];
        let mut document = self.sample.clone();
        let name = format!("{} {}", FIRST[number % 8], LAST[number / 8 % 8]);
        let cents = 100_000 + number * 37 % 900_000;
        for (place, value) in [
            ("/head/letter_number", json!(format!("LT-2026-{number:07}"))),
            ("/head/member/name", json!(name)),
            ("/head/member/member_id", json!(format!("MH{:08}", number * 7919 % 100_000_000))),
            ("/head/claim/number", json!(format!("CL26{number:08}"))),
            ("/details/lines/0/paid_now_cents", json!(cents)),
            ("/details/additional_payment_cents", json!(cents + 19_275)),
        ] {
            if let Some(field) = document.pointer_mut(place) {
                *field = value;
            }
        }
        document
    }

    fn check(&self, document: &Value) -> Result<LetterData, CliError> {
        let checked = self.renderer.check_document(LETTER.0, document, &self.plan);
        checked.map_err(|faults| CliError::Usage(faults::told(&faults)))
    }

    /// A letter as the stage makes it: checked, rendered, looked over, hashed. Answers the bytes of its PDF.
    fn letter(&self, document: &Value) -> Result<usize, CliError> {
        let letter = self.check(document)?;
        let rendered =
            self.renderer.render(&letter, &self.brand).map_err(|error| CliError::Usage(error.to_string()))?;
        let hash = hex::encode(Sha256::digest(&rendered.pdf));
        let whole = rendered.pages == PAGES && rendered.overflows.is_empty() && hash.len() == 64;
        if whole { Ok(rendered.pdf.len()) } else { Err(other("our letter")) }
    }

    /// Letters per second with a thread for each core, the peak of memory, and how much of it came late.
    fn all_cores(&self, letters: usize, cores: usize) -> Result<(f64, u64, u64), CliError> {
        let (next, settled) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= letters {
                    return Ok(());
                }
                self.letter(&self.document(number))?;
                if number == SETTLED.min(letters - 1) {
                    settled.store(usize::try_from(peak_rss_bytes()).unwrap_or_default(), Ordering::Relaxed);
                }
            }
        };
        let began = Instant::now();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(other("a worker"))))
        })?;
        let took = began.elapsed().as_secs_f64();
        let peak = peak_rss_bytes();
        Ok((count(letters) / took, peak, peak.saturating_sub(settled.into_inner() as u64)))
    }

    fn turn(&self, turn: usize, peer: &mut peer::Peer, turns: &mut Turns) -> Result<(), CliError> {
        let documents: Vec<Value> =
            (0..LETTERS_OF_A_TURN).map(|n| self.document(turn * LETTERS_OF_A_TURN + n)).collect();
        let letters = documents.iter().map(|document| self.check(document)).collect::<Result<Vec<_>, _>>()?;
        let prepared = letters.iter().map(|letter| self.renderer.prepare(letter, &self.brand));
        let prepared = prepared.collect::<Result<Vec<_>, _>>().map_err(|error| CliError::Usage(error.to_string()))?;
        // who goes first has no advantage over all
        for ours in [turn.is_multiple_of(2), !turn.is_multiple_of(2)] {
            let began = cpu_s()?;
            if ours {
                for document in &documents {
                    turns.pdf_bytes = self.letter(document)?;
                }
            } else {
                for letter in &prepared {
                    let pages = self.renderer.set_only(letter);
                    if pages.map_err(|error| CliError::Usage(error.to_string()))? != PAGES {
                        return Err(other("the engine's letter"));
                    }
                }
            }
            let sum = if ours { &mut turns.ours } else { &mut turns.engine };
            *sum = (sum.0 + LETTERS_OF_A_TURN, sum.1 + cpu_s()? - began);
        }
        let letter = letters.first().ok_or_else(|| other("a turn"))?;
        let set = peer.set(letter)?;
        if set.pages != PAGES {
            return Err(other("WeasyPrint's letter"));
        }
        turns.peer = (turns.peer.0 + 1, turns.peer.1 + set.cpu_s);
        turns.peer_pdf_bytes = set.pdf_bytes;
        Ok(())
    }
}

fn other(what: &str) -> CliError {
    CliError::Usage(format!("{what} is not as it should be"))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for reading")]
fn count(letters: usize) -> f64 {
    letters as f64
}

/// Binds all threads of this process, and what they start from now on, to the first core they may run on.
fn one_core() -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::File(PathBuf::from("/proc/self/task"), error);
    let allowed = sched_getaffinity(None).map_err(|error| failed(error.into()))?;
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).unwrap_or_default());
    for task in std::fs::read_dir("/proc/self/task").map_err(failed)? {
        let name = task.map_err(failed)?.file_name();
        let Some(thread) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else { continue };
        // a thread that has ended meanwhile needs no core
        let _ = sched_setaffinity(Some(thread), &one);
    }
    Ok(())
}

/// Seconds of processor time that this process has used with all its threads: the kernel tells hundredths.
fn cpu_s() -> Result<f64, CliError> {
    let path = PathBuf::from("/proc/self/stat");
    let stat = std::fs::read_to_string(&path).map_err(|error| CliError::File(path, error))?;
    // the second field is the program's name in brackets, the 14th and 15th are what it used itself and in the kernel
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(count(usize::try_from(ticks).unwrap_or_default()) / 100.0)
}
