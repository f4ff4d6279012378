//! All paths that a source file names: in `use` trees, in expressions, types and patterns, and in the tokens of
//! macros and attributes, which `syn` leaves unparsed. Each is told as the compiler would resolve its start:
//! `super::` and `self::` are followed, `crate::`, `$crate::` and the crate's own name lead to the root.

use std::collections::BTreeSet;

use syn::buffer::{Cursor, TokenBuffer};
use syn::visit::{self, Visit};

/// A path as it was named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named {
    /// Whether it begins at this crate's root; else at another crate or a local name.
    pub(crate) ours: bool,
    /// Its segments, without those that only say where it begins.
    pub(crate) segments: Vec<String>,
    /// Whether more than this may be meant: the end of a glob or of a renaming.
    pub(crate) open: bool,
}

/// The paths named in a source text; `module` is where the file stands (`db`, `work` for `src/db/work.rs`).
pub(crate) fn named(source: &str, module: &[&str]) -> syn::Result<BTreeSet<Named>> {
    let file = syn::parse_file(source)?;
    let module = module.iter().map(ToString::to_string).collect();
    let mut collector = Collector { module, found: BTreeSet::new() };
    collector.visit_file(&file);
    Ok(collector.found)
}

/// Names of macros that a source text puts at the crate's root.
pub(crate) fn exported_macros(source: &str) -> syn::Result<Vec<String>> {
    let items = syn::parse_file(source)?.items.into_iter();
    let exported = items.filter_map(|item| match item {
        syn::Item::Macro(item) if item.attrs.iter().any(|a| a.path().is_ident("macro_export")) => item.ident,
        _ => None,
    });
    Ok(exported.map(|ident| ident.to_string()).collect())
}

struct Collector {
    module: Vec<String>,
    found: BTreeSet<Named>,
}

impl Collector {
    fn note(&mut self, segments: &[String], open: bool) {
        // `a::{self}` is `a`.
        let segments = match segments {
            [before @ .., last] if last == "self" && !before.is_empty() => before,
            all => all,
        };
        let Some(first) = segments.first() else { return };
        let mut rest = segments;
        let mut base = None;
        if matches!(first.as_str(), "crate" | "lettercase") {
            (base, rest) = (Some(vec![]), &segments[1..]);
        } else if matches!(first.as_str(), "super" | "self") {
            let mut module = self.module.clone();
            while let Some((word, after)) = rest.split_first() {
                match word.as_str() {
                    "super" => drop(module.pop()),
                    "self" => {}
                    _ => break,
                }
                rest = after;
            }
            // A lone `self` is a value.
            if rest.is_empty() && !open {
                return;
            }
            base = Some(module);
        }
        let ours = base.is_some();
        let segments = base.unwrap_or_default().into_iter().chain(rest.iter().cloned()).collect();
        self.found.insert(Named { ours, segments, open });
    }

    fn note_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.note(&with(&name.ident), false),
            syn::UseTree::Rename(name) => self.note(&with(&name.ident), true),
            syn::UseTree::Glob(_) => self.note(before, true),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(before, tree)),
        }
    }

    /// Finds paths in tokens that nobody has parsed. `before` is what the entries of a group in braces go on from.
    fn note_tokens(&mut self, mut cursor: Cursor<'_>, before: &[String]) {
        let mut entry = before;
        while !cursor.eof() {
            if let Some((inner, _, _, after)) = cursor.any_group() {
                self.note_tokens(inner, &[]);
                cursor = after;
            } else if let Some((ident, after)) = cursor.ident() {
                cursor = self.note_token_path([entry, &[ident.to_string()]].concat(), after);
                entry = &[];
            } else if let Some((punct, after)) = cursor.punct() {
                match punct.as_char() {
                    '*' if !entry.is_empty() => self.note(entry, true),
                    ',' => entry = before,
                    _ => {}
                }
                cursor = after;
            } else if let Some((_, after)) = cursor.token_tree() {
                cursor = after;
            } else {
                return;
            }
        }
    }

    /// Goes on with a path from its first name to its end, and answers where that is.
    fn note_token_path<'t>(&mut self, mut segments: Vec<String>, mut cursor: Cursor<'t>) -> Cursor<'t> {
        loop {
            let Some(after) = colons(cursor) else {
                let renamed = cursor.ident().is_some_and(|(word, _)| word == "as");
                self.note(&segments, renamed);
                return cursor;
            };
            if let Some((ident, after)) = after.ident() {
                segments.push(ident.to_string());
                cursor = after;
            } else if let Some((inner, _, _, after)) = after.any_group() {
                self.note_tokens(inner, &segments);
                return after;
            } else {
                let glob = after.punct().is_some_and(|(punct, _)| punct.as_char() == '*');
                self.note(&segments, glob);
                return after;
            }
        }
    }
}

/// Behind `::`, if that is what comes.
fn colons(cursor: Cursor<'_>) -> Option<Cursor<'_>> {
    let (first, after) = cursor.punct()?;
    let (second, after) = after.punct()?;
    (first.as_char() == ':' && second.as_char() == ':').then_some(after)
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_tree(&[], &item.tree);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.note(&[item.ident.to_string()], item.rename.is_some());
    }

    /// `pub(crate)` and `pub(in …)` say who may see, not what is used.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&segments, false);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        visit::visit_macro(self, item);
        self.note_tokens(TokenBuffer::new2(item.tokens.clone()).begin(), &[]);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        visit::visit_meta_list(self, list);
        self.note_tokens(TokenBuffer::new2(list.tokens.clone()).begin(), &[]);
    }
}
