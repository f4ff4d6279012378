//! Reading letter data: one pass over JSON that finds every fault there is, and the kinds of fields there are.
//!
//! `serde` ends at the first fault; a person who mends data wants all of them. So each kind of field reads itself and
//! tells its faults to the [`Reader`]; [`letter_data!`] puts fields together to structs.

use std::collections::BTreeSet;

use jiff::civil::Date;
use serde::Serialize;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use crate::letters::faults::{FieldFault, FieldRule};
use crate::letters::fonts::Coverage;
use crate::model::address::is_state;
use crate::model::phi::Phi;

/// Characters of a line of text.
const LINE_CHARS: usize = 160;
/// Characters of a text of several paragraphs.
const PROSE_CHARS: usize = 6_000;
/// Entries of a list.
const LIST_ENTRIES: usize = 200;
/// Cents that an amount may have: under ten billion dollars.
const CENTS: i64 = 999_999_999_999;

/// Goes through letter data and keeps what is wrong with it.
pub struct Reader<'a> {
    coverage: &'a Coverage,
    path: Vec<String>,
    faults: BTreeSet<FieldFault>,
}

impl<'a> Reader<'a> {
    /// A reader that shows text with these fonts.
    pub fn new(coverage: &'a Coverage) -> Self {
        Self { coverage, path: Vec::new(), faults: BTreeSet::new() }
    }

    /// Every fault there was.
    pub fn faults(self) -> Vec<FieldFault> {
        self.faults.into_iter().collect()
    }

    /// Whether something is wrong.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Something is wrong with the field that is being read.
    pub fn fault(&mut self, rule: FieldRule) {
        self.faults.insert(FieldFault { field: self.path.join("."), rule });
    }

    /// Something is wrong with a field below the one that is being read.
    pub fn fault_at(&mut self, field: &str, rule: FieldRule) {
        self.under(field, |reader| reader.fault(rule));
    }

    /// Reads with a name added to the path.
    pub fn under<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(name.to_owned());
        let value = read(self);
        self.path.pop();
        value
    }

    /// A field of an object.
    pub fn field<T: Field>(&mut self, object: &Map<String, Value>, name: &str) -> Option<T> {
        self.under(name, |reader| T::read(object.get(name), reader))
    }

    /// The object with these fields and no others.
    pub fn object<'v>(&mut self, value: Option<&'v Value>, fields: &[&str]) -> Option<&'v Map<String, Value>> {
        let Some(object) = self.there(value)?.as_object() else {
            self.fault(FieldRule::WrongKind);
            return None;
        };
        for name in object.keys().filter(|name| !fields.contains(&name.as_str())) {
            // A name comes from outside, too: only what looks like one of ours is repeated.
            let plain = name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            self.fault_at(if plain { name } else { "?" }, FieldRule::UnknownField);
        }
        Some(object)
    }

    fn there<'v>(&mut self, value: Option<&'v Value>) -> Option<&'v Value> {
        let value = value.filter(|value| !value.is_null());
        if value.is_none() {
            self.fault(FieldRule::Missing);
        }
        value
    }

    /// Text in its composed form, with blanks at its ends and doubled ones taken out.
    fn text(&mut self, value: Option<&Value>, longest: usize, breaks: bool) -> Option<String> {
        let Some(text) = self.there(value)?.as_str() else {
            self.fault(FieldRule::WrongKind);
            return None;
        };
        // Longer than any limit, whatever normalization makes of it.
        if text.len() > longest * 16 {
            self.fault(FieldRule::TooLong);
            return None;
        }
        let composed: String = text.nfc().collect();
        let mut lines: Vec<String> = Vec::new();
        for line in composed.lines() {
            lines.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        let text = lines.join("\n").trim().to_owned();
        let rule = if text.is_empty() {
            Some(FieldRule::Empty)
        } else if text.chars().count() > longest {
            Some(FieldRule::TooLong)
        } else if text.chars().any(|c| (c.is_control() && !(breaks && c == '\n')) || steers(c)) {
            Some(FieldRule::ControlCharacter)
        } else if text.chars().any(|c| c != '\n' && !self.coverage.shows(c)) {
            Some(FieldRule::NoGlyph)
        } else {
            None
        };
        match rule {
            None => Some(text),
            Some(rule) => {
                self.fault(rule);
                None
            }
        }
    }
}

/// Where a line may end inside a word that is too long for one, as file names are.
pub(crate) const MAY_BREAK: char = '\u{200b}';
/// Words of more characters may be broken.
const WORD_CHARS: usize = 30;
/// After so many characters a long word may be broken where nothing in it offers itself.
const PIECE_CHARS: usize = 16;

/// Text with places to break in its long words.
fn breakable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 {
            out.push(' ');
        }
        let chars = word.chars().count();
        if chars <= WORD_CHARS {
            out.push_str(word);
            continue;
        }
        let mut piece = 0;
        for (at, c) in word.chars().enumerate() {
            out.push(c);
            piece += 1;
            let offers = matches!(c, '-' | '_' | '.' | '/' | '@' | '–' | '—') && piece > 3;
            if (offers || piece >= PIECE_CHARS) && at + 3 < chars {
                out.push(MAY_BREAK);
                piece = 0;
            }
        }
    }
    out
}

/// Marks that turn or join text without being seen: they could make a letter read otherwise than its data.
const fn steers(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A kind of field.
pub trait Field: Sized {
    /// Reads it; tells its faults and answers nothing where it has some.
    fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self>;

    /// What a template gets: text that only has to be set.
    fn show(&self) -> Value;
}

/// One line of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Line(pub Phi<String>);

impl<T: Into<String>> From<T> for Line {
    fn from(text: T) -> Self {
        Self(Phi(text.into()))
    }
}

impl Field for Line {
    fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(value, LINE_CHARS, false).map(Self::from)
    }

    fn show(&self) -> Value {
        Value::from(breakable(self.0.reveal()))
    }
}

/// Text that may have several paragraphs, with line breaks between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Prose(pub Phi<String>);

impl<T: Into<String>> From<T> for Prose {
    fn from(text: T) -> Self {
        Self(Phi(text.into()))
    }
}

impl Field for Prose {
    fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(value, PROSE_CHARS, true).map(Self::from)
    }

    /// A list of paragraphs.
    fn show(&self) -> Value {
        self.0.reveal().lines().filter(|line| !line.is_empty()).map(|line| Value::from(breakable(line))).collect()
    }
}

impl Field for Date {
    fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self> {
        let date = reader.there(value)?.as_str().filter(|text| text.len() == 10).and_then(|text| text.parse().ok());
        // Years that letters are written about: what lies outside is a slip.
        let date = date.filter(|date: &Self| (1900..2200).contains(&date.year()));
        if date.is_none() {
            reader.fault(FieldRule::NotADate);
        }
        date
    }

    /// `March 4, 2026`
    fn show(&self) -> Value {
        Value::from(self.strftime("%B %-d, %Y").to_string())
    }
}

/// An amount in cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Cents(pub i64);

impl Field for Cents {
    fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self> {
        let cents = reader.there(value)?.as_i64().filter(|cents| (-CENTS..=CENTS).contains(cents));
        if cents.is_none() {
            reader.fault(FieldRule::NotCents);
        }
        cents.map(Self)
    }

    /// `$1,234.50`
    fn show(&self) -> Value {
        Value::from(self.to_string())
    }
}

impl std::fmt::Display for Cents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = (self.0.unsigned_abs() / 100).to_string();
        let mut dollars = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                dollars.push(',');
            }
            dollars.push(digit);
        }
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}${dollars}.{:02}", self.0.unsigned_abs() % 100)
    }
}

/// A number of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Count(pub u32);

impl Field for Count {
    fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self> {
        let count = reader.there(value)?.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n < 1_000_000);
        if count.is_none() {
            reader.fault(FieldRule::NotACount);
        }
        count.map(Self)
    }

    fn show(&self) -> Value {
        Value::from(self.0)
    }
}

/// A state or territory of the United States, in two letters, or a military "state".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct State(pub String);

impl Field for State {
    fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(value, LINE_CHARS, false)?;
        if !is_state(&text) {
            reader.fault(FieldRule::NotAState);
            return None;
        }
        Some(Self(text))
    }

    fn show(&self) -> Value {
        Value::from(self.0.as_str())
    }
}

/// A ZIP code: five digits, or nine with a hyphen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Zip(pub Phi<String>);

impl Field for Zip {
    fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(value, LINE_CHARS, false)?;
        let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        if shape != "99999" && shape != "99999-9999" {
            reader.fault(FieldRule::NotAZip);
            return None;
        }
        Some(Self(Phi(text)))
    }

    fn show(&self) -> Value {
        Value::from(self.0.reveal().as_str())
    }
}

impl<T: Field> Field for Option<T> {
    fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self> {
        match value {
            None | Some(Value::Null) => Some(None),
            value => T::read(value, reader).map(Some),
        }
    }

    fn show(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::show)
    }
}

/// A list that may be empty, or not be there.
impl<T: Field> Field for Vec<T> {
    fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(value) = value.filter(|value| !value.is_null()) else { return Some(Self::new()) };
        let Some(entries) = value.as_array() else {
            reader.fault(FieldRule::WrongKind);
            return None;
        };
        if entries.len() > LIST_ENTRIES {
            reader.fault(FieldRule::TooLong);
            return None;
        }
        let read: Vec<Option<T>> = entries
            .iter()
            .enumerate()
            .map(|(i, entry)| reader.under(&i.to_string(), |reader| T::read(Some(entry), reader)))
            .collect();
        read.into_iter().collect()
    }

    fn show(&self) -> Value {
        self.iter().map(T::show).collect()
    }
}

/// A list with at least one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Some1<T>(pub Vec<T>);

impl<T: Field> Field for Some1<T> {
    fn read(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.there(value)?;
        let entries = Vec::<T>::read(value, reader)?;
        if entries.is_empty() {
            reader.fault(FieldRule::Empty);
            return None;
        }
        Some(Self(entries))
    }

    fn show(&self) -> Value {
        self.0.show()
    }
}

/// Reads one of an enum's codes.
pub fn read_code<T: std::str::FromStr>(value: Option<&Value>, reader: &mut Reader<'_>) -> Option<T> {
    let code = reader.there(value)?.as_str().and_then(|text| text.parse().ok());
    if code.is_none() {
        reader.fault(FieldRule::UnknownCode);
    }
    code
}

/// Declares codes that letter data are made of.
#[macro_export]
macro_rules! letter_codes {
    ($(#[$meta:meta])* pub enum $name:ident { $($body:tt)* }) => {
        $crate::codes! { $(#[$meta])* pub enum $name { $($body)* } }

        impl $crate::letters::fields::Field for $name {
            fn read(
                value: Option<&serde_json::Value>,
                reader: &mut $crate::letters::fields::Reader<'_>,
            ) -> Option<Self> {
                $crate::letters::fields::read_code(value, reader)
            }

            fn show(&self) -> serde_json::Value {
                serde_json::Value::from(self.as_str())
            }
        }
    };
}

/// Declares a struct of fields. It reads itself whole, telling every fault, and its `Debug` shows nothing: what is in
/// a letter is health data.
#[macro_export]
macro_rules! letter_data {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, serde::Serialize)]
        pub struct $name { $($(#[$doc])* pub $field: $kind,)* }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }

        impl $crate::letters::fields::Field for $name {
            fn read(
                value: Option<&serde_json::Value>,
                reader: &mut $crate::letters::fields::Reader<'_>,
            ) -> Option<Self> {
                let object = reader.object(value, &[$(stringify!($field)),*])?;
                $(let $field = reader.field(object, stringify!($field));)*
                Some(Self { $($field: $field?,)* })
            }

            fn show(&self) -> serde_json::Value {
                let mut object = serde_json::Map::new();
                $(object.insert(
                    stringify!($field).to_owned(),
                    $crate::letters::fields::Field::show(&self.$field),
                );)*
                serde_json::Value::Object(object)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_write_them() {
        for (cents, shown) in [(0, "$0.00"), (5, "$0.05"), (123_450, "$1,234.50"), (-100_000_000, "-$1,000,000.00")] {
            assert_eq!(Cents(cents).to_string(), shown);
        }
    }

    #[test]
    fn dates_are_written_out() {
        let date: Date = "2026-03-04".parse().unwrap();
        assert_eq!(date.show(), Value::from("March 4, 2026"));
    }
}
