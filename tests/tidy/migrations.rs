//! Nodes of two versions run side by side while a cluster is upgraded, so a migration only adds: what the version before
//! reads and writes still works after it. `make upgrade-test` proves it with a program of an earlier commit; this is the
//! cheap half, on the statements.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::{files, none_of, read};

/// Files that databases out there were made with, by their hash: a change would keep those from being brought up.
const RELEASED: [(&str, &str); 8] = [
    ("0001_house.sql", "384194adc25029586b025053adc11f676141543d1a8c3c0607c57db3d2af4f4d"),
    ("0002_doors.sql", "7c5633d7ed2a18742f9ba540caa165b694e727d00ef9f0aaa8433ee9f75ee4bc"),
    ("0003_letters.sql", "b341f89019b46e4fa6a3dc198615bacfc409009e1e1833998dce39879849930e"),
    ("0004_paper.sql", "7a07baf017ef7b8c1e0d9534f1f56fd5693ef3472599047f8850c15ef1e9fc5d"),
    ("0005_fax.sql", "fc897c18b02c0ccdf5b70c07e2fc8d0e0ff8a611cc6b71cbca7a147a08d0b8f5"),
    ("0006_digests.sql", "61c178804b55421a98a63269b7deff12275c1846bd308ca42f71ced4bcac1f76"),
    ("0007_retention.sql", "5afba69f73160a696124289241f23bcfadab9c117cf8658860512aaf90a39db4"),
    ("0008_sent_again.sql", "5e61a1bc2c9dd552680006e60bc2198a05a8a831c4d71e180049ef139840571c"),
];

/// The statements of a file, in capitals, without comments, blanks as one.
fn statements(sql: &str) -> Vec<String> {
    let bare: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let words = |statement: &str| statement.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase();
    bare.join("\n").split(';').map(words).filter(|statement| !statement.is_empty()).collect()
}

/// What in a migration the version before could not live with.
fn breaks(sql: &str) -> Vec<String> {
    let statements = statements(sql);
    let words: Vec<Vec<&str>> = statements.iter().map(|statement| statement.split(' ').collect()).collect();
    let after = |words: &[&str], these: &[&str]| {
        words.starts_with(these).then(|| words.get(these.len()).copied().unwrap_or_default().to_owned())
    };
    let made: BTreeSet<String> = words.iter().filter_map(|words| after(words, &["CREATE", "TABLE"])).collect();
    let indexes: BTreeSet<String> = words.iter().filter_map(|words| after(words, &["CREATE", "INDEX"])).collect();
    let fine = |words: &[&str]| match words {
        ["CREATE", "TABLE" | "INDEX", ..] => true,
        // of rows that an older node writes it would refuse some, unless only newer nodes write them
        ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..] => made.contains(*table),
        // for another under the same name
        ["DROP", "INDEX", index] => indexes.contains(*index),
        ["ALTER", "TABLE", _, "ADD", "COLUMN", column @ ..] => {
            let nullable = !column.windows(2).any(|pair| pair == ["NOT", "NULL"]) || column.contains(&"DEFAULT");
            nullable && !column.contains(&"UNIQUE") && !column.contains(&"CHECK") && !column.contains(&"REFERENCES")
        }
        // rows are made from others; none is changed
        ["INSERT", "INTO", ..] => true,
        _ => false,
    };
    statements.iter().zip(&words).filter(|(_, words)| !fine(words)).map(|(statement, _)| statement.clone()).collect()
}

#[test]
fn each_migration_only_adds_so_that_nodes_of_the_version_before_go_on() {
    let all = files("src/db/migrations", "sql");
    let found: Vec<String> = all
        .iter()
        .flat_map(|path| breaks(&read(path)).into_iter().map(|found| format!("{}: {found}", path.display())))
        .collect();
    none_of("statements that nodes of the version before may not live with (docs/operations.md, Upgrading)", &found);
}

#[test]
fn a_migration_that_was_released_is_never_changed() {
    for (name, hash) in RELEASED {
        let text = read(format!("src/db/migrations/{name}").as_ref());
        assert_eq!(hex::encode(Sha256::digest(text)), hash, "{name}: put what is new into a file of its own");
    }
}

#[test]
fn what_the_version_before_could_not_live_with_is_found() {
    for fine in [
        "CREATE TABLE a (x TEXT NOT NULL); CREATE UNIQUE INDEX a_x ON a (x); CREATE INDEX b_y ON b (y);",
        "ALTER TABLE a ADD COLUMN x TEXT; -- DROP TABLE a;\nALTER TABLE a ADD COLUMN y BIGINT NOT NULL DEFAULT 0;",
        "DROP INDEX b_y; CREATE INDEX b_y ON b (y, z); INSERT INTO a (x) SELECT y FROM b;",
    ] {
        assert!(breaks(fine).is_empty(), "{fine}: {:?}", breaks(fine));
    }
    for broken in [
        "DROP TABLE a",
        "drop index b_y",
        "ALTER TABLE a DROP COLUMN x",
        "ALTER TABLE a RENAME COLUMN x TO y",
        "ALTER TABLE a RENAME TO b",
        "ALTER TABLE a ADD COLUMN x TEXT\n  NOT NULL",
        "ALTER TABLE a ADD COLUMN x TEXT CHECK (x <> '')",
        "CREATE UNIQUE INDEX a_x ON a (x)",
        "UPDATE a SET x = 'other'",
        "DELETE FROM a",
        "CREATE TABLE a (x TEXT);\nDROP TABLE b;",
    ] {
        assert_eq!(breaks(broken).len(), 1, "{broken}");
    }
}
