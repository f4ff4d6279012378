//! A CSV index as scanning software writes it: a head of column names, then one row a file. Pure and bounded.

use std::collections::BTreeMap;

use super::sidecar::{FAULTS_MAX, KEYS, Rules, Told, set, whole};

/// The column that names the file.
const FILE: &str = "file";
/// What a column is called in the settings that is to be read over.
const IGNORE: &str = "ignore";

/// What an index says.
#[derive(Debug, Default)]
pub struct Index {
    /// What is said of each file, by its name.
    pub rows: BTreeMap<String, Told>,
    /// What was wrong with the index itself.
    pub faults: Vec<String>,
}

impl Index {
    fn fault(&mut self, text: impl Into<String>) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(text.into());
        }
    }
}

/// Reads an index. `columns` are the heads that the settings know, each with our name of the column or `ignore`;
/// `most` rows are read.
pub fn read(bytes: &[u8], columns: &BTreeMap<String, String>, most: usize, rules: &Rules) -> Index {
    let mut index = Index::default();
    let text = decode(bytes);
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter(&text)).flexible(true).from_reader(text.as_bytes());
    let Ok(heads) = reader.headers().cloned() else {
        index.fault("its head can't be read");
        return index;
    };
    let known: BTreeMap<String, &str> = columns.iter().map(|(head, name)| (plain(head), name.as_str())).collect();
    let heads: Vec<Option<&str>> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| {
            let head = plain(head);
            let name = known.get(&head).copied().unwrap_or(&head);
            let ours = [FILE, IGNORE].into_iter().chain(KEYS).find(|ours| *ours == name);
            if ours.is_none() {
                index.fault(format!("column {} is none that is known", at + 1));
            }
            ours
        })
        .collect();
    let Some(file) = heads.iter().position(|name| *name == Some(FILE)) else {
        index.fault("it has no column file");
        return index;
    };
    for (at, record) in reader.records().enumerate() {
        if at == most {
            index.fault(format!("it has more than {most} rows"));
            break;
        }
        let Ok(record) = record else {
            index.fault(format!("row {} can't be read", at + 1));
            continue;
        };
        let name = record.get(file).unwrap_or_default().trim();
        // some programs write the whole path
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        if name.is_empty() {
            index.fault(format!("row {} names no file", at + 1));
            continue;
        }
        if index.rows.contains_key(name) {
            index.fault(format!("row {} names a file that another one names", at + 1));
            continue;
        }
        let mut told = Told::default();
        for (head, value) in heads.iter().zip(&record) {
            if let Some(key) = head.and_then(|head| KEYS.into_iter().find(|key| *key == head)) {
                set(&mut told, key, value, rules);
            }
        }
        whole(&mut told);
        index.rows.insert(name.to_owned(), told);
    }
    index
}

/// Older programs write Windows-1252.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}').to_owned(),
        Err(_) => encoding_rs::WINDOWS_1252.decode(bytes).0.into_owned(),
    }
}

/// What the head is divided by.
fn delimiter(text: &str) -> u8 {
    let head = text.lines().next().unwrap_or_default();
    let count = |mark: u8| head.bytes().filter(|b| *b == mark).count();
    [b',', b';', b'\t', b'|'].into_iter().rev().max_by_key(|mark| count(*mark)).unwrap_or(b',')
}

/// A head as it is compared: lower-case, everything but letters and digits as `_`.
fn plain(head: &str) -> String {
    head.trim().chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            now: "2026-11-20T15:00:00Z".parse().unwrap(),
            ahead: jiff::SignedDuration::from_secs(300),
            behind: jiff::SignedDuration::from_hours(24 * 400),
            zone: None,
        }
    }

    #[test]
    fn an_index_says_of_each_file_what_its_row_says() {
        let columns = [("Document File", "file"), ("Operator", "ignore"), ("Claim No.", "claim_number")];
        let columns = columns.map(|(head, name)| (head.to_owned(), name.to_owned())).into();
        for (text, named, faults) in [
            ("document file,Claim No.,Operator,Batch\n1.tif,CL1,Ann,B\n2.tif,CL2,Ann,B\n", 2, 0),
            ("file;claim number;batch\r\n1.tif;CL1;B\r\n", 1, 0),
            ("\u{feff}FILE\tCLAIM_NUMBER\tBATCH\n\"C:\\out\\1.tif\"\tCL1\tB\n", 1, 0),
            ("file,claim_number,batch,operator id\n1.tif,CL1,B,7\n", 1, 1),
            ("file,claim_number,batch\n1.tif,CL1,B\n1.tif,CL2,B\n,CL3,B\n", 1, 2),
            ("claim_number\nCL1\n", 0, 1),
            ("", 0, 1),
        ] {
            let index = read(text.as_bytes(), &columns, 10, &rules());
            assert_eq!((index.rows.len(), index.faults.len()), (named, faults), "{text}: {:?}", index.faults);
            if let Some(told) = index.rows.get("1.tif") {
                assert_eq!(told.facts.said.claim_number, "CL1".parse().ok(), "{text}");
                assert_eq!((told.facts.batch.as_deref(), told.faults.len()), (Some("B"), 0), "{text}");
            }
        }
    }

    #[test]
    fn an_index_of_nothing_but_faults_is_told_of_in_some_of_them() {
        let heads = ",".repeat(100_000);
        assert_eq!(read(heads.as_bytes(), &BTreeMap::new(), 10, &rules()).faults.len(), FAULTS_MAX);
    }

    #[test]
    fn an_index_is_read_only_so_far_and_in_older_encodings() {
        let rows: String = (0..20).map(|n| format!("{n}.tif\n")).collect();
        let index = read(format!("file\n{rows}").as_bytes(), &BTreeMap::new(), 10, &rules());
        assert_eq!((index.rows.len(), index.faults.len()), (10, 1));
        let index = read(b"file\nGr\xFC\xDFe.tif\n", &BTreeMap::new(), 10, &rules());
        assert!(index.rows.contains_key("Gr\u{fc}\u{df}e.tif"));
    }
}
