//! What the benches' documents and letters are about: a practice, its patient and their claims.

use serde_json::json;

use crate::cli::CliError;
use crate::db::{Db, Stamp};
use crate::intake::load::{Form, load};
use crate::model::reference::ReferenceKind;
use crate::outside::context::Context;

/// Whose they are.
pub(super) const BRAND: &str = "meridian";
/// Who asks, in events.
pub(super) const ACTOR: &str = "bench";
/// The practice.
pub(super) const TIN: &str = "900000001";
/// The patient.
pub(super) const MEMBER: &str = "M-900000001";

/// The number of a claim, from 1.
pub(super) fn claim_number(n: usize) -> String {
    format!("CL9{n:09}")
}

/// Loads them, with so many claims.
///
/// # Errors
/// When the database fails.
pub(super) async fn load_reference(db: &Db, ctx: &Context, claims: usize) -> Result<(), CliError> {
    let practice = json!({ "tin": TIN, "name": "A practice", "registered_on": "2024-01-02" });
    let member = json!({
        "brand": BRAND, "member_id": MEMBER, "first_name": "A", "last_name": "Member", "birth_date": "1980-01-02",
        "plan": "PPO",
    });
    let claim = |n| {
        json!({
            "brand": BRAND, "claim_number": claim_number(n), "member_id": MEMBER, "tin": TIN, "status": "Denied",
            "service_from": "2026-06-11", "service_to": "2026-06-11",
        })
    };
    for (kind, rows) in [
        (ReferenceKind::Tins, vec![practice]),
        (ReferenceKind::Members, vec![member]),
        (ReferenceKind::Claims, (1..=claims).map(claim).collect()),
    ] {
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let loaded =
            load(db, Stamp { ctx, actor: ACTOR }, kind, Form::Ndjson, std::io::Cursor::new(lines.into_bytes())).await?;
        if loaded.rejected > 0 {
            return Err(CliError::Usage("the made reference data were not taken".into()));
        }
    }
    Ok(())
}
