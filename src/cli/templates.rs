//! `templates`: for those who change templates and brands. Nothing is stored, and no database is needed.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::{CliError, Environment, code, output};
use crate::app::correspondence::CorrespondencePlan;
use crate::letters::overflow::Overflow;
use crate::letters::render::{OpenError, RenderError, Rendered};
use crate::letters::{LettersPolicy, Renderer, faults};
use crate::model::letter::{LetterCategory, LetterType};

/// Where the templates are.
#[derive(clap::Args)]
pub(super) struct Place {
    /// A directory laid out like `templates/`; else those that are built in.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
pub(super) enum TemplatesCommand {
    /// The letter types with their samples.
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON with stable field names.
        #[arg(long)]
        json: bool,
    },
    /// Render every template with every sample for every brand. Fails where something fails or does not fit.
    Check {
        #[command(flatten)]
        place: Place,
        /// Print JSON with stable field names.
        #[arg(long)]
        json: bool,
    },
    /// Render one letter to a PDF.
    Render {
        #[command(flatten)]
        place: Place,
        /// The letter type.
        #[arg(value_name = "TYPE", value_parser = code::<LetterType>)]
        letter_type: LetterType,
        /// The data, as samples have them: {head, details}.
        #[arg(long, value_name = "FILE", conflicts_with = "sample")]
        data: Option<PathBuf>,
        /// One of the template's samples; else its first.
        #[arg(long, value_name = "NAME")]
        sample: Option<String>,
        /// The brand; else the first.
        #[arg(long)]
        brand: Option<String>,
        /// Where the PDF goes.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// A line of `list --json`.
#[derive(Serialize)]
struct Listed<'a> {
    r#type: LetterType,
    category: LetterCategory,
    samples: Vec<&'a str>,
    template_version: &'a str,
}

/// A line of `check --json`.
#[derive(Serialize)]
struct Checked {
    r#type: LetterType,
    sample: String,
    brand: String,
    pages: Option<usize>,
    ms: u64,
    size_bytes: Option<usize>,
    overflows: Vec<Overflow>,
    error: Option<String>,
}

pub(super) fn run(command: TemplatesCommand, environment: &Environment) -> Result<(), CliError> {
    let plan = CorrespondencePlan::load(environment.settings(None)?.config_dir.as_deref())?.plan.letters;
    match command {
        TemplatesCommand::List { place, json } => list(&open(&place)?, json),
        TemplatesCommand::Check { place, json } => check(&open(&place)?, &plan, json),
        TemplatesCommand::Render { place, letter_type, data, sample, brand, out } => {
            let renderer = open(&place)?;
            let document = match data {
                Some(path) => {
                    let bytes = std::fs::read(&path).map_err(CliError::at(&path))?;
                    serde_json::from_slice(&bytes)
                        .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?
                }
                None => sample_of(&renderer, letter_type, sample.as_deref())?,
            };
            let brand = match &brand {
                Some(code) => renderer.brand(code),
                None => renderer.brands().next(),
            };
            let brand = brand.ok_or_else(|| {
                let known: Vec<&str> = renderer.brands().map(|brand| brand.code.as_str()).collect();
                CliError::Usage(format!("no such brand; there are: {}", known.join(", ")))
            })?;
            let letter = renderer
                .check_document(letter_type, &document, &plan)
                .map_err(|faults| CliError::Usage(faults::told(&faults)))?;
            let rendered = renderer.render(&letter, brand).map_err(|error| CliError::Usage(told(&error)))?;
            std::fs::write(&out, &rendered.pdf).map_err(CliError::at(&out))?;
            for line in remarks(&rendered) {
                eprintln!("{line}");
            }
            println!("{}: {} pages", out.display(), rendered.pages);
            Ok(())
        }
    }
}

fn open(place: &Place) -> Result<Renderer, CliError> {
    Renderer::open(place.templates.as_deref()).map_err(|error: OpenError| CliError::Usage(error.to_string()))
}

fn sample_of(renderer: &Renderer, letter_type: LetterType, name: Option<&str>) -> Result<serde_json::Value, CliError> {
    let samples = renderer.samples(letter_type);
    let found = match name {
        Some(name) => samples.iter().find(|sample| sample.name == name),
        None => samples.first(),
    };
    found.map(|sample| sample.document.clone()).ok_or_else(|| {
        let known: Vec<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
        CliError::Usage(format!("no such sample; there are: {}", known.join(", ")))
    })
}

/// The whole story: who previews a sample may see what the engine quotes of it.
fn told(error: &RenderError) -> String {
    match error {
        RenderError::Template { message, .. } => format!("{error}: {}", message.reveal()),
        RenderError::Barcode => error.to_string(),
    }
}

fn remarks(rendered: &Rendered) -> Vec<String> {
    let overflows = rendered.overflows.iter().map(|o| format!("page {}, {}: {}", o.page, o.kind, o.text.reveal()));
    overflows.chain(rendered.warnings.iter().map(|warning| warning.reveal().clone())).collect()
}

fn list(renderer: &Renderer, json: bool) -> Result<(), CliError> {
    let listed = LetterType::ALL.iter().map(|letter_type| Listed {
        r#type: *letter_type,
        category: letter_type.category(),
        samples: renderer.samples(*letter_type).iter().map(|sample| sample.name.as_str()).collect(),
        template_version: renderer.template_version(*letter_type),
    });
    if json {
        output::json(&listed.collect::<Vec<_>>());
    } else {
        output::table(
            ["TYPE", "CATEGORY", "VERSION", "SAMPLES"],
            listed.map(|row| {
                [
                    row.r#type.to_string(),
                    row.category.to_string(),
                    row.template_version.to_owned(),
                    row.samples.join(", "),
                ]
            }),
        );
    }
    Ok(())
}

fn check(renderer: &Renderer, plan: &LettersPolicy, json: bool) -> Result<(), CliError> {
    let mut rows = Vec::new();
    let mut sound = true;
    for letter_type in LetterType::ALL {
        let samples = renderer.samples(*letter_type);
        if samples.is_empty() {
            sound = false;
            eprintln!("{letter_type} has no sample");
        }
        for sample in samples {
            for brand in renderer.brands() {
                let begun = Instant::now();
                let result = renderer
                    .check_document(*letter_type, &sample.document, plan)
                    .map_err(|faults| vec![faults::told(&faults)])
                    .and_then(|letter| renderer.render(&letter, brand).map_err(|error| vec![told(&error)]));
                let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                let remarks = match &result {
                    Ok(rendered) => remarks(rendered),
                    Err(errors) => errors.clone(),
                };
                sound &= remarks.is_empty();
                if !json {
                    let pages = result.as_ref().map_or_else(|_| "-".into(), |r| r.pages.to_string());
                    println!("{letter_type} {} {}: {pages} pages, {ms} ms", sample.name, brand.code);
                    for remark in &remarks {
                        println!("    {remark}");
                    }
                }
                let rendered = result.ok();
                let error = rendered.as_ref().is_none_or(|r| !r.warnings.is_empty()).then(|| remarks.join("; "));
                rows.push(Checked {
                    r#type: *letter_type,
                    sample: sample.name.clone(),
                    brand: brand.code.clone(),
                    pages: rendered.as_ref().map(|r| r.pages),
                    ms,
                    size_bytes: rendered.as_ref().map(|r| r.pdf.len()),
                    overflows: rendered.map_or_else(Vec::new, |r| r.overflows),
                    error,
                });
            }
        }
    }
    if json {
        output::json(&rows);
    }
    if sound { Ok(()) } else { Err(CliError::No) }
}
