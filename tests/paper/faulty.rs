//! Letters that can't be printed: named, and nothing is called done.

use std::io::{self, Write};

use lettercase::letters::fields::Line;
use lettercase::model::letter::LetterType;
use lettercase::paper::production::assemble::{AssembleError, Assembler, Batch, LetterFault};
use lettercase::paper::production::pack::Sheaf;
use lopdf::{Document, Object, dictionary};

use super::packing::address;
use super::{Letter, RENDERER, assemble, envelopes, letter, policy, run, sheaf};

fn good(n: u32) -> Letter {
    letter(n, LetterType::ReturnCoverSheet, "plain", |_| ())
}

/// A letter whose number is right for these bytes.
fn of(n: u32, pages: u32, pdf: Vec<u8>) -> Letter {
    Letter { sheaf: sheaf(n, pages, &pdf), pdf, address: address("A", "1 B St", "43001") }
}

fn changed(pdf: &[u8], change: impl FnOnce(&mut Document)) -> Vec<u8> {
    let mut document = Document::load_mem(pdf).unwrap();
    change(&mut document);
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).unwrap();
    bytes
}

fn page(document: &mut Document) -> &mut lopdf::Dictionary {
    let id = document.page_iter().next().unwrap();
    document.get_object_mut(id).unwrap().as_dict_mut().unwrap()
}

#[test]
fn a_letter_that_can_t_be_printed_is_named_with_what_is_wrong() {
    let pdf = good(1).pdf;
    let dir = tempfile::tempdir().unwrap();
    let (plain, locked) = (dir.path().join("plain.pdf"), dir.path().join("locked.pdf"));
    std::fs::write(&plain, &pdf).unwrap();
    run("qpdf", &["--encrypt", "", "owner", "256", "--"], &[&plain, &locked]);
    let locked = std::fs::read(&locked).unwrap();
    let sized = |width: f32| {
        changed(&pdf, |d| page(d).set("MediaBox", vec![0.into(), 0.into(), Object::Real(width), 792.into()]))
    };
    let deep = changed(&pdf, |d| {
        let mut nested = d.add_object(Object::Null);
        for _ in 0..200 {
            nested = d.add_object(dictionary! { "In" => nested });
        }
        page(d).set("Resources", dictionary! { "Properties" => nested });
    });
    let table = [
        ("empty", of(2, 1, vec![]), LetterFault::Unreadable),
        ("no PDF", of(2, 1, b"a letter".to_vec()), LetterFault::Unreadable),
        ("cut off", of(2, 1, pdf[..pdf.len() / 2].to_vec()), LetterFault::Unreadable),
        ("locked", of(2, 1, locked), LetterFault::Encrypted),
        ("another file", Letter { pdf: pdf[1..].to_vec(), ..of(2, 1, pdf.clone()) }, LetterFault::Changed),
        ("more pages", of(2, 2, pdf.clone()), LetterFault::Pages { planned: 2, found: 1 }),
        ("A4", of(2, 1, sized(595.0)), LetterFault::PageSize(1)),
        ("turned", of(2, 1, changed(&pdf, |d| page(d).set("Rotate", 90))), LetterFault::PageSize(1)),
        ("scaled", of(2, 1, changed(&pdf, |d| page(d).set("UserUnit", 2))), LetterFault::PageSize(1)),
        ("too deep", of(2, 1, deep), LetterFault::TooDeep),
    ];
    for (told, bad, expected) in table {
        let letters = [good(1), bad, good(3)];
        let mut bytes = Vec::new();
        match assemble(policy(), &letters, &envelopes(&letters, &[1, 1, 1]), &mut bytes) {
            Err(AssembleError::Letter { id, number, fault }) => {
                assert_eq!((&id, &number), (&letters[1].sheaf.id, &letters[1].sheaf.number), "{told}");
                assert_eq!(fault, expected, "{told}");
            }
            other => panic!("{told}: {other:?}"),
        }
        // What was written is no PDF that a printer could take for the batch.
        assert!(!bytes.ends_with(b"%%EOF\n"), "{told}");
    }
}

#[test]
fn what_is_odd_but_sound_is_printed() {
    let pdf = good(1).pdf;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("batch.pdf");
    let table = [
        (
            "nearly the size",
            changed(&pdf, |d| page(d).set("MediaBox", vec![0.into(), 0.into(), Object::Real(612.3), 792.into()])),
        ),
        (
            "a name with blanks",
            changed(&pdf, |d| {
                page(d).set("Group", dictionary! { "S" => Object::Name(b"Trans parency#1".to_vec()), "T" => Object::string_literal("a(b\\c)\n)") })
            }),
        ),
        (
            "what names itself",
            changed(&pdf, |d| {
                let id = d.new_object_id();
                d.objects.insert(
                    id,
                    Object::Dictionary(
                        dictionary! { "Self" => Object::Reference(id), "Page" => Object::Reference((1, 0)) },
                    ),
                );
                page(d).set("Group", id);
            }),
        ),
        ("what names nothing", changed(&pdf, |d| page(d).set("Group", Object::Reference((99_999, 0))))),
        (
            "nothing on it",
            changed(&pdf, |d| {
                page(d).remove(b"Contents");
                page(d).remove(b"Resources");
            }),
        ),
    ];
    for (told, pdf) in table {
        let letters = [of(1, 1, pdf.clone()), of(2, 1, pdf)];
        let mut bytes = Vec::new();
        assemble(policy(), &letters, &envelopes(&letters, &[1, 1]), &mut bytes)
            .unwrap_or_else(|error| panic!("{told}: {error}"));
        std::fs::write(&file, bytes).unwrap();
        run("qpdf", &["--check"], &[&file]);
    }
}

#[test]
fn a_batch_that_makes_no_sense_is_refused() {
    let letters = [good(1), good(2)];
    let right = envelopes(&letters, &[1, 1]);
    let told = |name: &str, change: &dyn Fn(&mut Vec<_>)| {
        let mut envelopes = right.clone();
        change(&mut envelopes);
        let mut source = |sheaf: &Sheaf| {
            let found = letters.iter().find(|letter| letter.sheaf.id == sheaf.id);
            found.map(|letter| letter.pdf.clone()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        let assembler = Assembler::new(policy(), RENDERER.text_face().unwrap(), RENDERER.address_block()).unwrap();
        let done = assembler.assemble(&Batch { name, envelopes: &envelopes }, &mut source, io::sink());
        done.map(|manifest| manifest.envelopes).map_err(|error| error.to_string())
    };
    assert_eq!(told("B-1", &|_| ()), Ok(2));
    assert_eq!(told("B-1", &|e| e.clear()), Ok(0));
    assert!(told("b 1", &|_| ()).unwrap_err().contains("name of a batch"));
    assert!(told("B-1", &|e| e.swap(0, 1)).unwrap_err().contains("envelope 1 is not behind"));
    assert!(told("B-1", &|e| e[0].letters.clear()).unwrap_err().contains("envelope 1 is empty"));
    assert!(told("B-1", &|e| e[1].serial = 1_000_000_000).unwrap_err().contains("envelope 2: the serial number"));
    assert!(told("B-1", &|e| e[1].zip.0 = "430".into()).unwrap_err().contains("envelope 2: the ZIP code"));
    let unknown = told("B-1", &|e| e[1].letters[0].id = sheaf(9, 1, b"").id).unwrap_err();
    assert_eq!(unknown, format!("letter {} can't be read", letters[1].sheaf.number));
}

#[test]
fn a_disk_that_is_full_ends_the_batch() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let letters = [good(1)];
    let own = envelopes(&letters, &[1]);
    let assembler = Assembler::new(policy(), RENDERER.text_face().unwrap(), RENDERER.address_block()).unwrap();
    for room in [0, 10, 1_000, 50_000] {
        let mut source = |_: &Sheaf| Ok(letters[0].pdf.clone());
        let done = assembler.assemble(&Batch { name: "B-1", envelopes: &own }, &mut source, Full(room));
        assert!(matches!(done, Err(AssembleError::Write(_))), "{room}");
    }
}

#[test]
fn nothing_that_can_be_printed_in_a_log_names_a_person() {
    let letters = [good(1)];
    let own = envelopes(&letters, &[1]);
    let told = format!("{own:?} {:?}", letters[0].address);
    let name = Line::from(letters[0].address.name.0.reveal().clone());
    assert!(!told.contains(name.0.reveal()) && !told.contains(letters[0].address.zip.0.reveal()), "{told}");
}
