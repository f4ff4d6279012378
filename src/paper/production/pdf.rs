//! Writes a PDF object by object. What is kept of it: 8 bytes an object (where it begins), 4 a page in the open node of the
//! tree and 8 a node, and a hash of what was written.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

/// Pages of a node of the tree.
const NODE_PAGES: usize = 256;

/// A PDF on its way out.
pub(super) struct PdfWriter<W> {
    out: W,
    hash: Sha256,
    at: u64,
    /// Where each object begins; 0 for those that were not written.
    offsets: Vec<u64>,
    root: u32,
    nodes: Vec<(u32, usize)>,
    kids: Vec<u32>,
    pages: u32,
}

/// What was written.
pub(super) struct Written {
    pub(super) sha256: String,
    pub(super) bytes: u64,
}

impl<W: Write> PdfWriter<W> {
    pub(super) fn begin(out: W) -> io::Result<Self> {
        let mut pdf = Self {
            out,
            hash: Sha256::new(),
            at: 0,
            offsets: Vec::new(),
            root: 0,
            nodes: Vec::new(),
            kids: Vec::new(),
            pages: 0,
        };
        pdf.put(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")?;
        pdf.root = pdf.reserve();
        Ok(pdf)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.hash.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// The number of an object that will be written.
    pub(super) fn reserve(&mut self) -> u32 {
        self.offsets.push(0);
        u32::try_from(self.offsets.len()).unwrap_or(u32::MAX)
    }

    /// Writes an object.
    pub(super) fn object(&mut self, id: u32, body: &[u8]) -> io::Result<()> {
        let place = usize::try_from(id).ok().and_then(|id| self.offsets.get_mut(id.checked_sub(1)?));
        match place {
            Some(place) => *place = self.at,
            None => return Err(io::Error::other("more objects than a print file can number")),
        }
        self.put(format!("{id} 0 obj\n").as_bytes())?;
        self.put(body)?;
        self.put(b"\nendobj\n")
    }

    /// Writes a stream; `entries` are those of its dictionary but for the length.
    pub(super) fn stream(&mut self, id: u32, entries: &str, content: &[u8]) -> io::Result<()> {
        let mut body = format!("<<{entries}/Length {}>>\nstream\n", content.len()).into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\nendstream");
        self.object(id, &body)
    }

    /// Writes a page; `entries` are those of its dictionary but for type and parent.
    pub(super) fn page(&mut self, entries: &[u8]) -> io::Result<()> {
        if self.kids.is_empty() {
            let node = self.reserve();
            self.nodes.push((node, 0));
        }
        let parent = self.nodes.last().map_or(0, |(node, _)| *node);
        let id = self.reserve();
        let mut body = format!("<</Type/Page/Parent {parent} 0 R").into_bytes();
        body.extend_from_slice(entries);
        body.extend_from_slice(b">>");
        self.object(id, &body)?;
        self.kids.push(id);
        self.pages += 1;
        if self.kids.len() == NODE_PAGES { self.end_node() } else { Ok(()) }
    }

    /// Pages written so far.
    pub(super) const fn pages(&self) -> u32 {
        self.pages
    }

    fn end_node(&mut self) -> io::Result<()> {
        let kids = std::mem::take(&mut self.kids);
        let Some((node, count)) = self.nodes.last_mut() else { return Ok(()) };
        *count = kids.len();
        let (node, root) = (*node, self.root);
        self.object(node, tree(&format!("/Parent {root} 0 R"), kids.iter().copied(), kids.len()).as_bytes())
    }

    /// Writes what is left: the tree of pages, the catalogue, the table of objects.
    pub(super) fn finish(mut self, title: &str) -> io::Result<Written> {
        if !self.kids.is_empty() {
            self.end_node()?;
        }
        let nodes = std::mem::take(&mut self.nodes);
        let count = nodes.iter().map(|(_, count)| count).sum();
        let root = self.root;
        self.object(root, tree("", nodes.iter().map(|(node, _)| *node), count).as_bytes())?;
        let catalog = self.reserve();
        self.object(catalog, format!("<</Type/Catalog/Pages {root} 0 R/PageLayout/SinglePage>>").as_bytes())?;
        let info = self.reserve();
        let title: String = title.chars().filter(|c| c.is_ascii_alphanumeric() || " -".contains(*c)).collect();
        self.object(info, format!("<</Title({title})/Producer(Lettercase)>>").as_bytes())?;

        let start = self.at;
        let objects = std::mem::take(&mut self.offsets);
        let size = objects.len() + 1;
        self.put(format!("xref\n0 {size}\n0000000000 65535 f\r\n").as_bytes())?;
        for offset in objects {
            if offset == 0 {
                self.put(b"0000000000 65535 f\r\n")?;
            } else {
                self.put(format!("{offset:010} 00000 n\r\n").as_bytes())?;
            }
        }
        // Two files with the same content have the same identifier, and only they.
        let id = hex::encode(&self.hash.clone().finalize()[..16]);
        self.put(
            format!(
                "trailer\n<</Size {size}/Root {catalog} 0 R/Info {info} 0 R/ID[<{id}><{id}>]>>\nstartxref\n{start}\n%%EOF\n"
            )
            .as_bytes(),
        )?;
        self.out.flush()?;
        Ok(Written { sha256: hex::encode(self.hash.finalize()), bytes: self.at })
    }
}

fn tree(parent: &str, kids: impl Iterator<Item = u32>, count: usize) -> String {
    let kids: Vec<String> = kids.map(|kid| format!("{kid} 0 R")).collect();
    format!("<</Type/Pages{parent}/Count {count}/Kids[{}]>>", kids.join(" "))
}
