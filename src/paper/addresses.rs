//! Addresses between letters, rows and production. What is printed on a letter stays; where it goes can be another place.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256 as Hasher};

use super::PaperError;
use super::production::pack::normalized;
use crate::db::envelopes::MailTo;
use crate::db::letters::{self, Letter};
use crate::db::{Conn, DbError, paper_tasks};
use crate::letters::LetterData;
use crate::letters::fields::{Line, MAY_BREAK, Some1, State, Zip};
use crate::letters::head::{Addressee, ReaderKind};
use crate::model::ids::Brand;
use crate::model::phi::Phi;

/// How many corrections of corrections are followed.
const CORRECTIONS: usize = 8;

/// Another address, as a person gives it. What is left out stays as it was.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GivenAddress {
    /// The name, where that is another, too.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Option<Phi<String>>,
    /// Who in the house.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub attention: Option<Phi<String>>,
    /// Street, box, suite: one to three lines.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 3)]
    pub lines: Vec<Phi<String>>,
    /// The city.
    #[schema(value_type = String)]
    pub city: Phi<String>,
    /// The state or territory, in two capital letters.
    pub state: String,
    /// The ZIP code: five digits, or nine with a hyphen.
    #[schema(value_type = String)]
    pub zip: Phi<String>,
}

impl GivenAddress {
    /// The address that takes the place of another.
    pub(super) fn in_place_of(&self, old: &Addressee) -> Addressee {
        let line = |text: &Phi<String>| Line::from(text.reveal().split_whitespace().collect::<Vec<_>>().join(" "));
        Addressee {
            kind: old.kind,
            name: self.name.as_ref().map_or_else(|| old.name.clone(), line),
            attention: self.attention.as_ref().map(line).or_else(|| old.attention.clone()),
            lines: Some1(self.lines.iter().map(line).collect()),
            city: line(&self.city),
            state: State(self.state.trim().to_owned()),
            zip: Zip(Phi(self.zip.reveal().trim().to_owned())),
        }
    }
}

/// The address that stands on a letter. Where it has none, or not all of one, the parts are empty: a check tells.
pub(super) fn printed_on(letter: &Letter) -> Addressee {
    let data = letter.data.as_ref().and_then(|data| serde_json::from_str::<LetterData>(data.reveal()).ok());
    let addressee = data.as_ref().and_then(|data| data.document.reveal().pointer("/head/addressee"));
    from_value(addressee.unwrap_or(&Value::Null))
}

/// The address that a row holds.
pub(super) fn from_row(json: &Phi<String>) -> Addressee {
    from_value(&serde_json::from_str(json.reveal()).unwrap_or(Value::Null))
}

fn from_value(value: &Value) -> Addressee {
    // a place where a line may end is nothing that is seen
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().replace(MAY_BREAK, "");
    let lines = value.get("lines").and_then(Value::as_array);
    Addressee {
        kind: text(value.get("kind")).parse().unwrap_or(ReaderKind::Practice),
        name: Line::from(text(value.get("name"))),
        attention: Some(text(value.get("attention"))).filter(|line| !line.is_empty()).map(Line::from),
        lines: Some1(lines.into_iter().flatten().map(|line| Line::from(text(Some(line)))).collect()),
        city: Line::from(text(value.get("city"))),
        state: State(text(value.get("state"))),
        zip: Zip(Phi(text(value.get("zip")))),
    }
}

/// An address of an addressee as rows have it.
pub(super) fn mail_to(addressee: &letters::Addressee, address: &Addressee) -> Result<MailTo, DbError> {
    let hash = hex::encode(Hasher::digest(normalized(address).reveal()));
    Ok(MailTo {
        addressee: addressee.clone(),
        address: Phi(serde_json::to_string(address).map_err(|_| DbError::Unreadable { column: "address" })?),
        hash: hash.parse().map_err(|_| DbError::Unreadable { column: "address_hash" })?,
    })
}

/// Where mail to this address of an addressee goes, by what persons corrected.
pub(super) async fn corrected(conn: &mut Conn, brand: &Brand, printed: MailTo) -> Result<MailTo, DbError> {
    let mut seen = BTreeSet::from([printed.hash.clone()]);
    let mut to = printed;
    for _ in 0..CORRECTIONS {
        let Some(other) = paper_tasks::correction(conn, brand, &to.addressee, &to.hash).await? else { break };
        let next = mail_to(&to.addressee, &from_row(&other))?;
        if !seen.insert(next.hash.clone()) {
            break;
        }
        to = next;
    }
    Ok(to)
}

impl super::Paper {
    /// Takes an address in the place of another, if it can be used.
    pub(super) fn take_address(&self, old: &MailTo, given: &GivenAddress) -> Result<MailTo, PaperError> {
        let address = given.in_place_of(&from_row(&old.address));
        self.check.check(&address).map_err(PaperError::Address)?;
        let to = mail_to(&old.addressee, &address)?;
        if to.hash == old.hash {
            return Err(PaperError::Invalid("the address is the same as before"));
        }
        Ok(to)
    }
}
