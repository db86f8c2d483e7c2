//! The source tree as the checks see it: files, their module paths, and what they declare and
//! import. Parsing is `syn`'s.

use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// One Rust file of `src`.
pub(crate) struct SourceFile {
    /// Relative to the repository, with `/`: `src/shard/core.rs`.
    pub(crate) path: String,
    /// The module it is, from the crate's root: `["shard", "core"]`.
    pub(crate) module: Vec<String>,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

/// A path that a file names, from the crate's root or from another crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    /// `["crate", "wire", "http"]` or `["std", "env"]`.
    pub(crate) segments: Vec<String>,
    /// Its line number.
    pub(crate) line: usize,
    /// Whether it is inside a `#[cfg(test)]` item.
    pub(crate) in_test: bool,
}

/// A declared type: struct, enum, union, trait or type alias.
pub(crate) struct TypeName {
    pub(crate) name: String,
    pub(crate) line: usize,
}

/// A function with its length in lines.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` whose name ends in one of `endings`, in a fixed order.
pub(crate) fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(folder)];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !["target", "node_modules", "corpus"].contains(&name) {
                pending.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `path` relative to the repository.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

/// All Rust files of `src`, parsed.
pub(crate) fn sources() -> Vec<SourceFile> {
    rust_files("src")
}

/// All Rust files of a folder, parsed.
pub(crate) fn rust_files(folder: &str) -> Vec<SourceFile> {
    let parse = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = relative(&path);
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        SourceFile { module: module_of(&path), path, text, syntax }
    };
    files(folder, &[".rs"]).into_iter().map(parse).collect()
}

fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg_test = || {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
        };
        attribute.path().is_ident("test") || is_cfg_test()
    })
}

impl SourceFile {
    /// Whether the whole file is compiled for tests alone: a file named `tests` or inside a folder
    /// of that name.
    pub(crate) fn is_test(&self) -> bool {
        self.module.iter().any(|part| part == "tests" || part.ends_with("_tests"))
    }

    /// The paths that this file names. `super` and `self` are resolved.
    pub(crate) fn imports(&self) -> Vec<Import> {
        let mut visitor = ImportVisitor {
            module: self.module.clone(),
            in_test: self.is_test(),
            found: Vec::new(),
        };
        visitor.visit_file(&self.syntax);
        visitor.found.sort();
        visitor.found.dedup();
        visitor.found
    }

    /// The types that this file declares, in functions and test modules too.
    pub(crate) fn types(&self) -> Vec<TypeName> {
        let mut visitor = TypeVisitor { found: Vec::new() };
        visitor.visit_file(&self.syntax);
        visitor.found
    }

    /// The functions and methods of this file that are not tests.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut visitor = FunctionVisitor { found: Vec::new() };
        if !self.is_test() {
            visitor.visit_file(&self.syntax);
        }
        visitor.found
    }

    /// The text of the module's header: its `//!` lines.
    pub(crate) fn header(&self) -> String {
        self.text.lines().map_while(|line| line.strip_prefix("//!")).collect::<Vec<_>>().join("\n")
    }
}

struct ImportVisitor {
    module: Vec<String>,
    in_test: bool,
    found: Vec<Import>,
}

impl ImportVisitor {
    fn add(&mut self, segments: &[String], line: usize) {
        let first = segments.first().map_or("", String::as_str);
        let resolved = match first {
            "crate" => segments.to_vec(),
            "self" | "super" => {
                let ups = segments.iter().take_while(|part| *part == "super").count();
                let rest = segments.iter().skip_while(|part| *part == "super" || *part == "self");
                let base = self.module.len().saturating_sub(ups);
                let mut resolved = vec!["crate".to_owned()];
                resolved.extend(self.module[..base].iter().cloned());
                resolved.extend(rest.cloned());
                resolved
            }
            _ => segments.to_vec(),
        };
        self.found.push(Import { segments: resolved, line, in_test: self.in_test });
    }

    fn add_tree(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.add_tree(&path.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Name(name) => self.add_leaf(&name.ident, prefix),
            syn::UseTree::Rename(rename) => self.add_leaf(&rename.ident, prefix),
            syn::UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.add(prefix, line);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(tree, prefix);
                }
            }
        }
    }

    fn add_leaf(&mut self, ident: &syn::Ident, prefix: &mut Vec<String>) {
        let line = ident.span().start().line;
        if ident != "self" {
            prefix.push(ident.to_string());
        }
        self.add(prefix, line);
        if ident != "self" {
            prefix.pop();
        }
    }

    /// Paths in the tokens of a macro's call, which `syn` does not parse.
    fn add_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut segments: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_if_path(&segments, line);
                        segments.clear();
                        line = ident.span().start().line;
                    }
                    segments.push(ident.to_string());
                    colons = 0;
                }
                proc_macro2::TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                proc_macro2::TokenTree::Group(group) => {
                    self.add_tokens(group.stream());
                    colons = 0;
                }
                proc_macro2::TokenTree::Punct(_) | proc_macro2::TokenTree::Literal(_) => {
                    self.add_if_path(&segments, line);
                    segments.clear();
                    colons = 0;
                }
            }
        }
        self.add_if_path(&segments, line);
    }

    fn add_if_path(&mut self, segments: &[String], line: usize) {
        if segments.len() > 1 {
            self.add(segments, line);
        }
    }
}

impl<'ast> Visit<'ast> for ImportVisitor {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[syn::Attribute] = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            _ => &[],
        };
        let before = self.in_test;
        self.in_test = before || is_test(attributes);
        visit::visit_item(self, item);
        self.in_test = before;
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments: Vec<String> =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.add(&segments, path.segments[0].ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.add_tokens(call.tokens.clone());
    }
}

struct TypeVisitor {
    found: Vec<TypeName>,
}

impl<'ast> Visit<'ast> for TypeVisitor {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let ident = match item {
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Union(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        if let Some(ident) = ident {
            let line = ident.span().start().line;
            self.found.push(TypeName { name: ident.to_string(), line });
        }
        visit::visit_item(self, item);
    }
}

struct FunctionVisitor {
    found: Vec<Function>,
}

impl FunctionVisitor {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        self.found.push(Function {
            name: signature.ident.to_string(),
            first_line: signature.fn_token.span.start().line,
            last_line: block.brace_token.span.close().end().line,
        });
    }
}

impl<'ast> Visit<'ast> for FunctionVisitor {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}
