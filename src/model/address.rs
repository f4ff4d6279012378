//! Where paper goes: addresses in the United States, as other systems send them.

use serde::{Deserialize, Serialize};

/// A postal address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Street, box, suite: one or two lines.
    pub lines: Vec<String>,
    /// The city.
    pub city: String,
    /// The state or territory, in two capital letters (USPS Publication 28, appendix B).
    pub state: String,
    /// The ZIP code: five digits, or nine with a hyphen behind the fifth.
    pub zip: String,
}

/// States and territories as the post writes them, and the military's "states" (USPS Publication 28, appendix B).
const STATES: &str = "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY \
                      NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY AS GU MP PR VI FM MH PW AA AE AP";

/// Whether there is such a state or territory, in two capital letters.
pub fn is_state(text: &str) -> bool {
    text.len() == 2 && STATES.split_ascii_whitespace().any(|state| state == text)
}

/// The longest line, in characters: longer ones fit no envelope window.
const LINE: usize = 60;

impl Address {
    /// Takes an address from the flat fields of a record. None of them: there is no address.
    ///
    /// # Errors
    /// Names the field and the rule, without the value.
    pub fn from_fields(
        lines: [Option<&str>; 2],
        city: Option<&str>,
        state: Option<&str>,
        zip: Option<&str>,
    ) -> Result<Option<Self>, String> {
        if lines == [None, None] && city.is_none() && state.is_none() && zip.is_none() {
            return Ok(None);
        }
        let needed = |name: &str, value: Option<&str>| {
            let value = value.map(str::trim).filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or_else(|| format!("{name} is missing: an address has all its parts or none"))
        };
        let first = needed("address_line_1", lines[0])?;
        let second = lines[1].map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
        let address = Self {
            lines: std::iter::once(first).chain(second).collect(),
            city: needed("city", city)?,
            state: needed("state", state)?,
            zip: needed("zip", zip)?,
        };
        address.check().map(Some)
    }

    /// Checks its form.
    ///
    /// # Errors
    /// Names the field and the rule, without the value.
    fn check(self) -> Result<Self, String> {
        let fits = |text: &String| text.chars().count() <= LINE && !text.chars().any(char::is_control);
        if !self.lines.iter().chain([&self.city]).all(fits) {
            return Err(format!("address lines and city may have at most {LINE} characters, no control characters"));
        }
        if self.state.len() != 2 || !self.state.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err("state must be two capital letters".into());
        }
        let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
        let right = match self.zip.split_once('-') {
            None => digits(&self.zip, 5),
            Some((five, four)) => digits(five, 5) && digits(four, 4),
        };
        if right { Ok(self) } else { Err("zip must be 12345 or 12345-6789".into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_all_its_parts_in_their_form_or_is_none() {
        let of = |line, city, state, zip| Address::from_fields([line, None], city, state, zip);
        assert_eq!(of(None, None, None, None), Ok(None));
        assert!(of(Some("12 Weir St"), Some("Ellery"), Some("OH"), Some("43001")).is_ok_and(|a| a.is_some()));
        assert!(of(Some("12 Weir St"), Some("Ellery"), Some("OH"), Some("43001-0417")).is_ok());
        for (line, city, state, zip) in [
            (None, Some("Ellery"), Some("OH"), Some("43001")),
            (Some(" "), Some("Ellery"), Some("OH"), Some("43001")),
            (Some("12 Weir St"), None, Some("OH"), Some("43001")),
            (Some("12 Weir St"), Some("Ellery"), Some("Ohio"), Some("43001")),
            (Some("12 Weir St"), Some("Ellery"), Some("oh"), Some("43001")),
            (Some("12 Weir St"), Some("Ellery"), Some("OH"), Some("4300")),
            (Some("12 Weir St"), Some("Ellery"), Some("OH"), Some("43001-12")),
            (Some("12\nWeir St"), Some("Ellery"), Some("OH"), Some("43001")),
        ] {
            assert!(of(line, city, state, zip).is_err(), "{line:?} {city:?} {state:?} {zip:?}");
        }
    }
}
