//! Embeds the browser page: joins its modules into one script, compresses every file once, and
//! writes the table of files that `src/page/mod.rs` includes. Needs no other tool, no network, and
//! nothing outside `src/page/`.

#[path = "bundle.rs"]
mod bundle;

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::{env, fs};

/// The folder of the page's sources.
const WEB: &str = "src/page/web";
/// The module that starts the page. It is served as the bundle of all modules.
const ENTRY: &str = "app.js";
/// Is served with its comments, and with the modules that it imports, for authors of clients.
const CLIENT: &str = "client.js";
/// Its modules are loaded one by one, English apart, which is in the bundle.
const LANGUAGES: &str = "languages";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={WEB}");
    println!("cargo::rerun-if-changed=src/page/bundle.rs");
    let read = |path: &str| fs::read_to_string(format!("{WEB}/{path}")).ok();
    let script = bundle::bundle(ENTRY, &read).map_err(|error| error.to_string())?;
    let client = bundle::paths(CLIENT, &read).map_err(|error| error.to_string())?;
    let mut files = vec![(ENTRY.to_owned(), script.into_bytes())];
    for name in names(WEB)? {
        if !name.ends_with(".js") || client.contains(&name) {
            let body = fs::read(format!("{WEB}/{name}"))?;
            files.push((name, body));
        }
    }
    for name in names(&format!("{WEB}/{LANGUAGES}"))? {
        let path = format!("{LANGUAGES}/{name}");
        let text = fs::read_to_string(format!("{WEB}/{path}"))?;
        let code = bundle::strip_comments(&path, &text).map_err(|error| error.to_string())?;
        files.push((path, code.into_bytes()));
    }
    write_table(&files)
}

/// The names of the files in a folder, sorted, so that every build makes the same table.
fn names(folder: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().into_string().map_err(|name| format!("{name:?}"))?);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Writes the files, their compressed forms, and `page.rs`: an array of
/// `(path, content type, file, compressed file)`.
fn write_table(files: &[(String, Vec<u8>)]) -> Result<(), Box<dyn Error>> {
    let out = env::var("OUT_DIR")?;
    let mut table = String::from("&[\n");
    for (number, (name, body)) in files.iter().enumerate() {
        let stored = Path::new(&out).join(format!("page-{number}"));
        fs::write(&stored, body)?;
        let compressed = compress(body)?;
        let gzip = if compressed.len() < body.len() {
            let stored = Path::new(&out).join(format!("page-{number}.gz"));
            fs::write(&stored, compressed)?;
            format!("Some(include_bytes!({stored:?}) as &[u8])")
        } else {
            "None".to_owned()
        };
        let path = if name == "index.html" { "" } else { name };
        let content_type = content_type(name)?;
        writeln!(
            table,
            "(\"/{path}\", {content_type:?}, include_bytes!({stored:?}) as &[u8], {gzip}),"
        )?;
    }
    table.push(']');
    fs::write(Path::new(&out).join("page.rs"), table)?;
    Ok(())
}

/// The file in the gzip format (RFC 1952), without a time in its header, so that equal files give
/// equal bytes.
fn compress(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body)?;
    encoder.finish()
}

fn content_type(name: &str) -> Result<&'static str, String> {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => Ok("text/html; charset=utf-8"),
        Some("css") => Ok("text/css; charset=utf-8"),
        Some("js") => Ok("text/javascript; charset=utf-8"),
        Some("svg") => Ok("image/svg+xml"),
        Some("png") => Ok("image/png"),
        Some("webmanifest") => Ok("application/manifest+json"),
        _ => Err(format!("{name}: no media type is known for it")),
    }
}
