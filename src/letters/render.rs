//! From a letter's data to its PDF: typst, our templates and fonts, and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::{Value, json};
use thiserror::Error;
use typst::diag::{SourceDiagnostic, Warned};
use typst::foundations::{Bytes, Datetime, Smart};
use typst::syntax::Source;
use typst::utils::LazyHash;
use typst::{Library, LibraryExt, WorldExt};
use typst_layout::PagedDocument;
use typst_pdf::{PdfOptions, PdfStandard, PdfStandards, Timestamp};

use crate::letters::barcode;
use crate::letters::brand::Brand;
use crate::letters::data::{self, LetterData};
use crate::letters::faults::FieldFault;
use crate::letters::fields::MAY_BREAK;
use crate::letters::files::{Files, FilesError};
use crate::letters::fonts::{Coverage, Fonts, TEXT_FAMILY};
use crate::letters::head::Head;
use crate::letters::overflow::{self, Geometry, Overflow};
use crate::letters::plan::LettersPolicy;
use crate::letters::window::AddressBlock;
use crate::letters::world::{LetterWorld, Shared, id};
use crate::model::letter::LetterType;
use crate::model::phi::Phi;

/// Why the templates can't be used. Nothing of a letter's data is in it.
#[derive(Debug, Error)]
pub enum OpenError {
    /// They can't be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A brand's configuration is wrong.
    #[error("brand {brand}: {message}")]
    Brand {
        /// The brand's directory.
        brand: String,
        /// What is wrong.
        message: String,
    },
    /// A file is missing or wrong.
    #[error("{file}: {message}")]
    File {
        /// Its path below the templates' directory.
        file: String,
        /// What is wrong.
        message: String,
    },
}

/// Why a letter can't be rendered although its data are whole: the template or the brand is at fault.
#[derive(Debug, Error)]
pub enum RenderError {
    /// The template does not compile, or what it makes is not accessible or not fit for archives.
    #[error("the template of {letter_type} fails at {place}")]
    Template {
        /// Whose template.
        letter_type: LetterType,
        /// File and line.
        place: String,
        /// What the engine says. It may quote data, so only who previews a sample sees it.
        message: Phi<String>,
    },
    /// The case number does not fit a barcode.
    #[error("the case number does not fit a barcode")]
    Barcode,
}

/// A rendered letter.
#[derive(Clone)]
pub struct Rendered {
    /// The PDF.
    pub pdf: Vec<u8>,
    /// Its pages.
    pub pages: usize,
    /// Hash of the template, what templates share, and the fonts.
    pub template_version: String,
    /// Hash of the brand.
    pub brand_version: String,
    /// The engine's name and version.
    pub engine_version: String,
    /// Lines that do not fit.
    pub overflows: Vec<Overflow>,
    /// What the engine warned of. It may quote data, as a line that does not fit does.
    pub warnings: Vec<Phi<String>>,
}

impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rendered({} pages, {} bytes)", self.pages, self.pdf.len())
    }
}

/// A sample of a template: the data of one letter.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The name of its file, without the ending.
    pub name: String,
    /// `{head, details}`.
    pub document: Value,
}

/// A letter as the engine reads it.
pub struct Prepared<'a> {
    world: LetterWorld<'a>,
    letter: &'a LetterData,
}

impl std::fmt::Debug for Prepared<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prepared({})", self.letter.letter_type)
    }
}

/// All templates, brands and fonts, ready to render from any thread.
pub struct Renderer {
    shared: Shared,
    coverage: Coverage,
    brands: BTreeMap<String, Brand>,
    samples: BTreeMap<LetterType, Vec<Sample>>,
    versions: BTreeMap<LetterType, String>,
    geometry: Geometry,
    address: AddressBlock,
    standards: PdfStandards,
}

impl std::fmt::Debug for Renderer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Renderer({} brands)", self.brands.len())
    }
}

impl Renderer {
    /// Reads the templates that are built in, or those of a directory laid out like `templates/`.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn open(templates: Option<&Path>) -> Result<Self, OpenError> {
        let files = Files::open(templates)?;
        let fonts = Fonts::open(&files);
        let wrong = |file: &str, message: String| OpenError::File { file: file.to_owned(), message };
        if !fonts.book.contains_family(&TEXT_FAMILY.to_lowercase()) {
            return Err(wrong("fonts/", format!("there is no {TEXT_FAMILY}")));
        }
        let (mut sources, mut others) = (HashMap::new(), HashMap::new());
        for (path, bytes) in files.under("letters/") {
            let Some(id) = path.strip_prefix("letters/").and_then(id) else { continue };
            if path.ends_with(".typ") {
                let text = std::str::from_utf8(bytes).map_err(|_| wrong(path, "it is no text".into()))?;
                sources.insert(id, Source::new(id, text.to_owned()));
            } else if path.starts_with("letters/common/") {
                others.insert(id, Bytes::new(bytes.clone()));
            }
        }
        let mut samples = BTreeMap::new();
        let mut versions = BTreeMap::new();
        for letter_type in LetterType::ALL {
            let main = format!("letters/{letter_type}/letter.typ");
            if files.get(&main).is_none() {
                return Err(wrong(&main, "it is not there".into()));
            }
            samples.insert(*letter_type, read_samples(&files, *letter_type)?);
            let own = format!("letters/{letter_type}/");
            let version = files.version(&[&own, "letters/common/", "fonts/"], |path| !path.contains("/samples/"));
            versions.insert(*letter_type, version);
        }
        let geometry_file = "letters/common/geometry.toml";
        let geometry = files.get(geometry_file).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let geometry = geometry.unwrap_or_default();
        let unread = |error: toml::de::Error| wrong(geometry_file, error.to_string());
        let address = toml::from_str(&geometry).map_err(unread)?;
        let geometry = toml::from_str(&geometry).map_err(unread)?;
        let standards = PdfStandards::new(&[PdfStandard::Ua_1, PdfStandard::A_2a])
            .map_err(|error| wrong("PDF", error.message().to_string()))?;
        let coverage = fonts.coverage();
        Ok(Self {
            shared: Shared { library: LazyHash::new(Library::default()), fonts, sources, files: others },
            coverage,
            brands: read_brands(&files)?,
            samples,
            versions,
            geometry,
            address,
            standards,
        })
    }

    /// The brand of this name; its twin for trials (INT-35) writes the same letters.
    pub fn brand(&self, code: &str) -> Option<&Brand> {
        self.brands.get(code.strip_suffix(".test").unwrap_or(code))
    }

    /// All brands.
    pub fn brands(&self) -> impl Iterator<Item = &Brand> {
        self.brands.values()
    }

    /// The samples of a template.
    pub fn samples(&self, letter_type: LetterType) -> &[Sample] {
        self.samples.get(&letter_type).map_or(&[], Vec::as_slice)
    }

    /// The version of a template: what a letter of this type would be made with now.
    pub fn template_version(&self, letter_type: LetterType) -> &str {
        self.versions.get(&letter_type).map_or("", String::as_str)
    }

    /// The engine's name and version.
    pub fn engine_version() -> String {
        format!("typst {}", typst::utils::version().raw())
    }

    /// Which characters letters can show.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Where the address is on a letter's first page.
    pub const fn address_block(&self) -> &AddressBlock {
        &self.address
    }

    /// The font that letters are set in: a file of one upright face.
    pub fn text_face(&self) -> Option<&[u8]> {
        self.shared.fonts.text_face()
    }

    /// Checks what a letter is to be made of.
    ///
    /// # Errors
    /// Every field that is missing or malformed, with the rule it breaks.
    pub fn check(
        &self,
        letter_type: LetterType,
        head: &Head,
        details: &Value,
        plan: &LettersPolicy,
    ) -> Result<LetterData, Vec<FieldFault>> {
        data::check(letter_type, head, details, plan, &self.coverage)
    }

    /// The same for data that comes as JSON alone: `{head, details}`.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_document(
        &self,
        letter_type: LetterType,
        document: &Value,
        plan: &LettersPolicy,
    ) -> Result<LetterData, Vec<FieldFault>> {
        data::check_document(letter_type, document, plan, &self.coverage)
    }

    /// Renders a letter. It takes a good part of a second of one processor: call it where that is no harm.
    ///
    /// # Errors
    /// When the template fails, or what it makes is not accessible or not fit for archives.
    pub fn render(&self, letter: &LetterData, brand: &Brand) -> Result<Rendered, RenderError> {
        let prepared = self.prepare(letter, brand)?;
        let result = self.set(&prepared).map(|(document, warnings, pdf)| Rendered {
            pdf,
            pages: document.pages().len(),
            template_version: self.template_version(letter.letter_type).to_owned(),
            brand_version: brand.version.clone(),
            engine_version: Self::engine_version(),
            overflows: overflow::find(&document, &self.geometry),
            warnings: warnings.iter().map(|warning| Phi(warning.message.to_string())).collect(),
        });
        forget();
        result.map_err(|errors| self.told(&prepared, &errors))
    }

    /// The engine alone, for the bench: how many pages it makes of a letter, and nothing is done with them.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn set_only(&self, prepared: &Prepared<'_>) -> Result<usize, RenderError> {
        let result = self.set(prepared).map(|(document, _, _)| document.pages().len());
        forget();
        result.map_err(|errors| self.told(prepared, &errors))
    }

    /// All that the engine is to read for a letter.
    ///
    /// # Errors
    /// When the case number does not fit a barcode.
    pub fn prepare<'a>(&'a self, letter: &'a LetterData, brand: &Brand) -> Result<Prepared<'a>, RenderError> {
        Ok(Prepared { world: self.world(letter, brand)?, letter })
    }

    fn world(&self, letter: &LetterData, brand: &Brand) -> Result<LetterWorld<'_>, RenderError> {
        let mut document = letter.document.reveal().clone();
        if let Some(object) = document.as_object_mut() {
            object.insert("brand".into(), serde_json::to_value(&brand.text).unwrap_or_default());
            object.insert("letter_type".into(), json!(letter.letter_type));
            object.insert("languages_page".into(), json!(letter.languages_page));
        }
        let failed = |place: &str| RenderError::Template {
            letter_type: letter.letter_type,
            place: place.to_owned(),
            message: Phi(String::new()),
        };
        let own_id = |path: &str| id(path).ok_or_else(|| failed(path));
        let mut own = vec![
            (own_id("/data.json")?, Bytes::from_string(document.to_string())),
            (own_id("/logo.svg")?, brand.logo.clone()),
        ];
        if letter.letter_type == LetterType::ReturnCoverSheet {
            let case = document.pointer("/head/case/number").and_then(Value::as_str).unwrap_or_default();
            let case = case.replace(MAY_BREAK, "");
            let svg = barcode::svg(&barcode::content(&brand.code, &case)).ok_or(RenderError::Barcode)?;
            own.push((own_id("/barcode.svg")?, Bytes::from_string(svg)));
        }
        let main = own_id(&format!("/{}/letter.typ", letter.letter_type))?;
        Ok(LetterWorld { shared: &self.shared, main, own })
    }

    fn set(&self, Prepared { world, letter }: &Prepared<'_>) -> Result<Set, Vec<SourceDiagnostic>> {
        let Warned { output, warnings } = typst::compile::<PagedDocument>(world);
        let document = output.map_err(|errors| errors.to_vec())?;
        let date = letter.date;
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        let options = PdfOptions {
            // A hash of title and author by default, which many letters share.
            ident: Smart::Custom(letter.document.reveal().to_string()),
            creator: Smart::Custom(Some("Lettercase".into())),
            timestamp: Datetime::from_ymd_hms(date.year().into(), month, day, 0, 0, 0).map(Timestamp::new_utc),
            page_ranges: None,
            standards: self.standards.clone(),
            tagged: true,
            pretty: false,
        };
        let pdf = typst_pdf::pdf(&document, &options).map_err(|errors| errors.to_vec())?;
        Ok((document, warnings.to_vec(), pdf))
    }

    fn told(&self, Prepared { world, letter }: &Prepared<'_>, errors: &[SourceDiagnostic]) -> RenderError {
        let place = errors.iter().find_map(|error| {
            let file = error.span.id()?;
            let source = self.shared.sources.get(&file)?;
            let line = world.range(error.span).and_then(|range| source.lines().byte_to_line(range.start));
            Some(format!("{}:{}", file.get().vpath().get_without_slash(), line.map_or(0, |line| line + 1)))
        });
        let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
        RenderError::Template {
            letter_type: letter.letter_type,
            place: place.unwrap_or_else(|| "export".into()),
            message: Phi(messages.join("; ")),
        }
    }
}

/// The engine remembers what it computed, for ever if it is let; it is never of use to another letter.
fn forget() {
    typst::comemo::evict(0);
}

type Set = (PagedDocument, Vec<SourceDiagnostic>, Vec<u8>);

fn read_samples(files: &Files, letter_type: LetterType) -> Result<Vec<Sample>, OpenError> {
    let prefix = format!("letters/{letter_type}/samples/");
    let mut samples = Vec::new();
    for (path, bytes) in files.under(&prefix) {
        let Some(name) = path[prefix.len()..].strip_suffix(".json") else { continue };
        let document = serde_json::from_slice(bytes)
            .map_err(|error| OpenError::File { file: path.to_owned(), message: error.to_string() })?;
        samples.push(Sample { name: name.to_owned(), document });
    }
    Ok(samples)
}

fn read_brands(files: &Files) -> Result<BTreeMap<String, Brand>, OpenError> {
    let mut brands = BTreeMap::new();
    for (path, text) in files.under("brands/") {
        let Some(code) = path.strip_prefix("brands/").and_then(|rest| rest.strip_suffix("/brand.toml")) else {
            continue;
        };
        let wrong = |message: String| OpenError::Brand { brand: code.to_owned(), message };
        let prefix = format!("brands/{code}/");
        let logo = files.get(&format!("{prefix}logo.svg")).ok_or_else(|| wrong("logo.svg is not there".into()))?;
        let version = files.version(&[&prefix], |_| true);
        brands.insert(code.to_owned(), Brand::read(code, text, logo, version).map_err(wrong)?);
    }
    Ok(brands)
}
