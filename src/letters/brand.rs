//! A brand: who writes the letters. All of it is configuration, `brands/<brand>/brand.toml` and `logo.svg`.

use std::fmt;

use serde::{Deserialize, Serialize};
use typst::foundations::Bytes;

/// Where mail goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrandAddress {
    /// The name on the envelope.
    pub name: String,
    /// Street or box, and city, state and ZIP code, a line each.
    pub lines: Vec<String>,
    /// Fax.
    #[serde(default)]
    pub fax: Option<String>,
}

/// Phones of a brand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrandPhones {
    /// For members.
    pub member: String,
    /// For practices.
    pub practice: String,
    /// For who can't hear or speak.
    pub tty: String,
    /// When somebody answers.
    pub hours: String,
}

/// Colours of a brand, as `#rrggbb`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrandColours {
    /// Headings and rules: dark enough to be read on white.
    pub primary: String,
    /// What stands out beside it.
    pub accent: String,
    /// Behind boxes: light enough to be read on.
    pub tint: String,
}

/// What `brand.toml` holds. Templates read it by these names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrandText {
    /// The name people know.
    pub name: String,
    /// The company.
    pub legal_name: String,
    /// A line under the name.
    pub tagline: String,
    /// The portal's address.
    pub portal: String,
    /// What the logo shows, for who can't see it.
    pub logo_alt: String,
    /// The return address in the envelope's upper window.
    pub return_address: BrandAddress,
    /// Where appeals go.
    pub appeals: BrandAddress,
    /// Where documents go.
    pub documents: BrandAddress,
    /// Phones.
    pub phones: BrandPhones,
    /// Colours.
    pub colours: BrandColours,
}

/// A brand as letters are written for it.
#[derive(Clone)]
pub struct Brand {
    /// The name of its directory.
    pub code: String,
    /// Its texts.
    pub text: BrandText,
    /// A hash of all it is made of.
    pub version: String,
    pub(super) logo: Bytes,
}

impl fmt::Debug for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Brand({} {})", self.code, self.version)
    }
}

impl Brand {
    /// Reads one; the error says what is wrong with it.
    pub(super) fn read(code: &str, text: &[u8], logo: &[u8], version: String) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "brand.toml is no text".to_owned())?;
        let text: BrandText = toml::from_str(text).map_err(|error| error.to_string())?;
        for colour in [&text.colours.primary, &text.colours.accent, &text.colours.tint] {
            let digits = colour.strip_prefix('#').unwrap_or_default();
            if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err("colours are written #rrggbb".into());
            }
        }
        // Text in a picture would be set in whatever font is found for it.
        if std::str::from_utf8(logo).map_or(true, |svg| !svg.contains("<svg") || svg.contains("<text")) {
            return Err("logo.svg must be an SVG without <text>: draw its letters as paths".into());
        }
        Ok(Self { code: code.to_owned(), text, version, logo: Bytes::new(logo.to_vec()) })
    }
}
