//! The settings' page is made from their definition: types, doc comments and defaults as the sources have them. With
//! `LETTERCASE_UPDATE_DOCS=1` the test writes the page anew.

use std::collections::BTreeMap;
use std::fmt::Write;

use syn::{Attribute, Expr, Fields, Item, ItemEnum, ItemStruct, Lit, Meta, Type};

use super::{read, root};

const PAGE: &str = "docs/settings.md";

/// The types of the settings in reading order: the heading, the file, the type.
const TYPES: &[(&str, &str, &str)] = &[
    ("All settings", "src/settings.rs", "Settings"),
    ("tls", "src/settings.rs", "Tls"),
    ("scanner", "src/settings.rs", "ScannerSetting"),
    ("Who runs the scanner", "src/settings.rs", "ScannerUse"),
    ("objects", "src/outside/objects/options.rs", "ObjectsOptions"),
    ("Files", "src/outside/objects/options.rs", "FilesOptions"),
    ("S3", "src/outside/objects/options.rs", "S3Options"),
    ("Buckets", "src/outside/objects/options.rs", "S3Buckets"),
    ("Credentials", "src/outside/objects/options.rs", "S3Credentials"),
    ("Encryption", "src/outside/objects/options.rs", "S3Encryption"),
    ("sources", "src/outside/inbox/options.rs", "SourceOptions"),
    ("A source's place", "src/outside/inbox/options.rs", "PlaceOptions"),
    ("A watched folder", "src/outside/inbox/options.rs", "FolderOptions"),
    ("A watched bucket", "src/outside/inbox/options.rs", "BucketOptions"),
    ("When a file is complete", "src/outside/inbox/options.rs", "Complete"),
    ("oidc", "src/outside/oidc.rs", "IssuerOptions"),
    ("traces", "src/outside/traces/export.rs", "TraceOptions"),
    ("mail", "src/outside/mailer/settings.rs", "MailOptions"),
    ("A relay", "src/outside/mailer/options.rs", "RelayOptions"),
    ("A brand's mails", "src/outside/mailer/settings.rs", "SenderOptions"),
    ("A key for signing", "src/outside/mailer/settings.rs", "DkimOptions"),
];

const HEAD: &str = "# Settings

Made from the definition in the sources by a test (`tests/tidy/settings.rs`): don't edit it by hand. How settings are given,
in a file or by the environment, is in `README.md`. Unknown keys are refused. What is done with documents is policy and
lies in `pipelines/`.
";

fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    // links of the source's documentation lead nowhere here
    lines.collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

/// What serde is told: the words of its attributes.
fn serde(attributes: &[Attribute]) -> String {
    let lists = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("serde") => Some(list.tokens.to_string()),
        _ => None,
    });
    lists.collect::<Vec<_>>().join(", ")
}

fn quoted<'a>(words: &'a str, key: &str) -> Option<&'a str> {
    words.split(&format!("{key} = \"")).nth(1)?.split('"').next()
}

/// A type in the words of who writes a settings file.
fn kind(of: &Type) -> String {
    let Type::Path(path) = of else { return "value".to_owned() };
    let last = path.path.segments.last().unwrap();
    let inner = match &last.arguments {
        syn::PathArguments::AngleBracketed(all) => all.args.iter().find_map(|argument| match argument {
            syn::GenericArgument::Type(inner) => Some(kind(inner)),
            _ => None,
        }),
        _ => None,
    };
    match (last.ident.to_string().as_str(), inner) {
        ("Option" | "Box", Some(inner)) => inner,
        ("Vec", Some(inner)) => format!("list of {inner}"),
        ("BTreeMap", _) => match &last.arguments {
            syn::PathArguments::AngleBracketed(all) => match all.args.last() {
                Some(syn::GenericArgument::Type(of)) => format!("table of {}", kind(of)),
                _ => "table".to_owned(),
            },
            _ => "table".to_owned(),
        },
        ("Issuers", _) => "one table of `oidc`, or several".to_owned(),
        ("String" | "Brand" | "Issuer", _) => "text".to_owned(),
        ("bool", _) => "true or false".to_owned(),
        ("u8" | "u16" | "u32" | "u64" | "i64" | "usize", _) => "number".to_owned(),
        ("PathBuf", _) => "path".to_owned(),
        ("SocketAddr", _) => "address and port".to_owned(),
        ("IpNet", _) => "network".to_owned(),
        ("Secret", _) => "text, a secret".to_owned(),
        ("Endpoint", _) => "address of a clamd".to_owned(),
        ("Channel" | "Signing" | "Security", _) => "word".to_owned(),
        (name, _) => TYPES.iter().find(|(_, _, known)| *known == name).map_or_else(
            || panic!("{name} is a type of the settings that this page does not know"),
            |(heading, _, _)| format!("see *{heading}*"),
        ),
    }
}

struct Source {
    structs: BTreeMap<String, ItemStruct>,
    enums: BTreeMap<String, ItemEnum>,
    defaults: BTreeMap<String, String>,
}

fn source(path: &str) -> Source {
    let file = syn::parse_file(&read(path.as_ref())).unwrap();
    let mut found = Source { structs: BTreeMap::new(), enums: BTreeMap::new(), defaults: BTreeMap::new() };
    for item in file.items {
        match item {
            Item::Struct(item) => drop(found.structs.insert(item.ident.to_string(), item)),
            Item::Enum(item) => drop(found.enums.insert(item.ident.to_string(), item)),
            // a default's function is one expression
            Item::Fn(item) => {
                if let [syn::Stmt::Expr(Expr::Lit(literal), None)] = item.block.stmts.as_slice() {
                    let text = match &literal.lit {
                        Lit::Int(number) => number.base10_digits().to_owned(),
                        Lit::Bool(truth) => truth.value.to_string(),
                        _ => continue,
                    };
                    found.defaults.insert(item.sig.ident.to_string(), text);
                }
            }
            _ => {}
        }
    }
    found
}

fn fields(page: &mut String, fields: &Fields, source: &Source, indent: &str) {
    for field in fields {
        let words = serde(&field.attrs);
        let Some(name) = &field.ident else { continue };
        if words.contains("skip") {
            continue;
        }
        if words.contains("flatten") {
            writeln!(page, "| *more keys* | {} | needed | {} |", kind(&field.ty), doc(&field.attrs)).unwrap();
            continue;
        }
        let name = quoted(&words, "rename").map_or_else(|| name.to_string(), ToOwned::to_owned);
        let optional =
            matches!(&field.ty, Type::Path(path) if path.path.segments.last().is_some_and(|s| s.ident == "Option"));
        let left_out = match quoted(&words, "default") {
            Some(function) => {
                source.defaults.get(function).map_or_else(|| "has a default".to_owned(), |v| format!("`{v}`"))
            }
            None if words.contains("default") || optional => "may be".to_owned(),
            None => "needed".to_owned(),
        };
        writeln!(page, "| {indent}`{name}` | {} | {left_out} | {} |", kind(&field.ty), doc(&field.attrs)).unwrap();
    }
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (heading, file, name) in TYPES {
        let source = source(file);
        write!(page, "\n## {heading}\n\n").unwrap();
        if let Some(item) = source.structs.get(*name) {
            write!(page, "{}\n\n| key | is | left out | what it is |\n| --- | --- | --- | --- |\n", doc(&item.attrs))
                .unwrap();
            fields(&mut page, &item.fields, &source, "");
        } else {
            let item = source.enums.get(*name).unwrap_or_else(|| panic!("{file} has no {name}"));
            let words = serde(&item.attrs);
            let tag = quoted(&words, "tag").map(|tag| format!("The key `{tag}` says which. ")).unwrap_or_default();
            write!(page, "{} {tag}\n\n| word | with | | what it is |\n| --- | --- | --- | --- |\n", doc(&item.attrs))
                .unwrap();
            for variant in &item.variants {
                let words = serde(&variant.attrs);
                let word =
                    quoted(&words, "rename").map_or_else(|| snake(&variant.ident.to_string()), ToOwned::to_owned);
                let with = match &variant.fields {
                    Fields::Unnamed(one) => {
                        one.unnamed.iter().map(|field| kind(&field.ty)).collect::<Vec<_>>().join(", ")
                    }
                    Fields::Named(_) => "a table".to_owned(),
                    Fields::Unit => String::new(),
                };
                writeln!(page, "| `{word}` | {with} | | {} |", doc(&variant.attrs)).unwrap();
                if let Fields::Named(_) = &variant.fields {
                    fields(&mut page, &variant.fields, &source, "… ");
                }
            }
        }
    }
    page
}

#[test]
fn the_page_of_the_settings_is_what_their_definition_says() {
    let made = page();
    #[expect(clippy::disallowed_methods, reason = "asks whether the page is to be written")]
    if std::env::var_os("LETTERCASE_UPDATE_DOCS").is_some() {
        std::fs::write(root().join(PAGE), &made).unwrap();
    }
    assert!(read(PAGE.as_ref()) == made, "{PAGE} is not what the sources say: run with LETTERCASE_UPDATE_DOCS=1");
}
