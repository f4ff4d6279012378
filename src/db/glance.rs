//! What there is to do for stages and readers, in one statement: a node asks it many times for each document.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::work::next_dues;
use super::{Conn, DbError, opt_instant, opt_number, text};

/// When work is due, and how far events have been read.
#[derive(Debug, Default)]
pub struct Glance {
    /// When each stage's next piece of work is due; a stage that has none is left out.
    pub due: HashMap<String, Timestamp>,
    /// The last position given out to an event, 0 when none was.
    pub head: i64,
    /// How far each reader has come.
    pub readers: HashMap<String, i64>,
}

/// The statement for so many stages, which are its parameters.
pub fn statement(stages: usize) -> String {
    let dues = match stages {
        0 => String::new(),
        _ => {
            format!("SELECT 'due' AS what, stage AS name, due AS value FROM ({}) AS dues UNION ALL", next_dues(stages))
        }
    };
    format!(
        "{dues} SELECT 'head' AS what, '' AS name, CAST(MAX(position) AS BIGINT) AS value FROM event
         UNION ALL SELECT 'reader' AS what, name, position AS value FROM event_reader"
    )
}

/// Looks for work of these stages, and how far readers have come.
///
/// # Errors
/// When the database fails.
pub async fn look(conn: &mut Conn, stages: &[&str]) -> Result<Glance, DbError> {
    let statement = sqlx::query(AssertSqlSafe(statement(stages.len())));
    let rows = stages.iter().fold(statement, |query, stage| query.bind(*stage)).fetch_all(conn).await?;
    let mut found = Glance::default();
    for row in &rows {
        match text(row, "what")?.as_str() {
            "due" => {
                // asked for in the statement, SQLite would walk through all that waits
                if let Some(due) = opt_instant(row, "value")? {
                    found.due.insert(text(row, "name")?, due);
                }
            }
            "head" => found.head = opt_number(row, "value")?.unwrap_or_default(),
            _ => {
                found.readers.insert(text(row, "name")?, opt_number(row, "value")?.unwrap_or_default());
            }
        }
    }
    Ok(found)
}
