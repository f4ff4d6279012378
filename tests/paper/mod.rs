//! Letters on paper: what shares an envelope, what is printed, and whether machines can read it. No database is needed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its batch can't be made")]

mod addresses;
mod batch;
mod faulty;
mod imb_reader;
mod packing;
mod picture;

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use lettercase::app::correspondence::CorrespondencePlan;
use lettercase::letters::fields::{Field as _, Reader};
use lettercase::letters::head::Addressee;
use lettercase::letters::render::Renderer;
use lettercase::model::ids::LetterNumber;
use lettercase::model::letter::LetterType;
use lettercase::model::phi::Phi;
use lettercase::paper::production::assemble::{AssembleError, Assembler, Batch, Envelope};
use lettercase::paper::production::manifest::Manifest;
use lettercase::paper::production::pack::Sheaf;
use lettercase::paper::production::plan::ProductionPolicy;
use serde_json::Value;
use sha2::{Digest, Sha256};

static RENDERER: LazyLock<Renderer> = LazyLock::new(|| Renderer::open(None).unwrap());
static PLAN: LazyLock<CorrespondencePlan> = LazyLock::new(|| CorrespondencePlan::load(None).unwrap().plan);

fn policy() -> &'static ProductionPolicy {
    &PLAN.paper.production
}

/// A rendered letter.
struct Letter {
    sheaf: Sheaf,
    pdf: Vec<u8>,
    address: Addressee,
}

/// A letter with a number of its own, made of a sample.
fn letter(n: u32, letter_type: LetterType, sample: &str, change: impl FnOnce(&mut Value)) -> Letter {
    let found = RENDERER.samples(letter_type).iter().find(|s| s.name == sample);
    let mut document = found.unwrap_or_else(|| panic!("{letter_type} has no sample {sample}")).document.clone();
    change(&mut document);
    let checked = RENDERER.check_document(letter_type, &document, &PLAN.letters);
    let checked = checked.unwrap_or_else(|faults| panic!("{letter_type} {sample}: {faults:?}"));
    let rendered = RENDERER.render(&checked, RENDERER.brand("meridian").unwrap()).unwrap();
    let sheaf = sheaf(n, u32::try_from(rendered.pages).unwrap(), &rendered.pdf);
    Letter { sheaf, pdf: rendered.pdf, address: addressee(&document["head"]["addressee"]) }
}

fn sheaf(n: u32, pages: u32, pdf: &[u8]) -> Sheaf {
    Sheaf {
        id: format!("01980000-0000-7000-8000-{n:012}").parse().unwrap(),
        number: LetterNumber::from_random(n.into()),
        pages,
        sha256: hex::encode(Sha256::digest(pdf)).parse().unwrap(),
    }
}

fn addressee(value: &Value) -> Addressee {
    let mut reader = Reader::new(RENDERER.coverage());
    Addressee::read(Some(value), &mut reader).unwrap_or_else(|| panic!("{:?}", reader.faults()))
}

/// Envelopes of these letters, one after the other, in order.
fn envelopes(letters: &[Letter], sizes: &[usize]) -> Vec<Envelope> {
    let mut rest = letters;
    let mut envelopes = Vec::new();
    for (sequence, size) in (1..).zip(sizes) {
        let (own, others) = rest.split_at(*size);
        rest = others;
        envelopes.push(Envelope {
            sequence,
            serial: 4_000 + u64::from(sequence),
            zip: Phi(own[0].address.zip.0.reveal().clone()),
            letters: own.iter().map(|letter| letter.sheaf.clone()).collect(),
            carrier: None,
        });
    }
    assert!(rest.is_empty());
    envelopes
}

fn assemble(
    policy: &ProductionPolicy,
    letters: &[Letter],
    envelopes: &[Envelope],
    out: &mut Vec<u8>,
) -> Result<Manifest, AssembleError> {
    let mut source = |sheaf: &Sheaf| {
        let found = letters.iter().find(|letter| letter.sheaf.id == sheaf.id);
        found.map(|letter| letter.pdf.clone()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    let assembler = Assembler::new(policy, RENDERER.text_face().unwrap(), RENDERER.address_block()).unwrap();
    assembler.assemble(&Batch { name: "B-20261123-01", envelopes }, &mut source, out)
}

/// Runs a program over files; answers what it prints.
fn run(program: &str, args: &[&str], files: &[&Path]) -> Vec<u8> {
    let ran = Command::new(program).args(args).args(files).output();
    let ran = ran.unwrap_or_else(|_| panic!("{program} is missing: run `make deps`"));
    assert!(ran.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}
