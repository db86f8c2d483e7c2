//! The browser page, embedded in the binary. Pure: a path in, a file out; any thread may call it.
//! It must never read a file at run time or refer to another host: the page works wherever the
//! binary does, under a path prefix too, because all its URLs are relative.
//!
//! The sources are under `web/`. `client.js` is the protocol client and needs `connection.js` only;
//! `app.js` combines it with the others, each of which does one thing. The build script,
//! `src/page/build.rs`, joins the modules into one script (see `bundle.rs`) and compresses each file
//! with gzip. So a browser needs three requests before the page works, and a fourth, one of
//! `languages/`, for texts that are not English; with one request for each module, the page took
//! 24 s at 50 kbit/s.

#[cfg(test)]
mod bundle;

use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use std::sync::LazyLock;

/// One file of the page, and the values of its header fields.
#[derive(Debug)]
pub struct Asset {
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// The file as it is.
    pub identity: Representation,
    /// The file with `Content-Encoding: gzip`, if that is smaller.
    pub gzip: Option<Representation>,
    /// Value of `Cache-Control`: cached, but revalidated each time, so that the page and its scripts
    /// are always of the same version.
    pub cache_control: &'static str,
    /// Value of `Content-Security-Policy`.
    pub content_security_policy: &'static str,
}

/// The bytes that are sent for a file, and their tag.
#[derive(Debug)]
pub struct Representation {
    /// The body.
    pub body: &'static [u8],
    /// Value of `ETag`, quotes included: a strong validator (RFC 9110 §8.8.3) of `body`, so it
    /// differs between the encodings of a file.
    pub etag: String,
}

/// Allows resources of this origin only, and no inline script or style. `'self'` includes `ws:`
/// and `wss:` to this origin (CSP 3 §6.7.2.8), but not in Safari up to 15.6 (WebKit bug 201591),
/// which needs the schemes; the host is not known here, and nothing of a request is copied into a
/// response. The page narrows this to its own host with a policy of its own (`narrowConnections` in
/// `app.js`).
/// The audio of a call has no URL, so it needs no directive.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self' ws: wss:; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Further header fields of every [`Asset`]: no referrer for other sites, and the microphone for
/// this origin only. (`X-Content-Type-Options: nosniff` is in every response.)
pub const HEADERS: [(&str, &str); 2] = [
    ("Referrer-Policy", "no-referrer"),
    (
        "Permissions-Policy",
        "microphone=(self), speaker-selection=(self), camera=(), geolocation=()",
    ),
];

/// Path, content type, file, and the file in the gzip format if that is smaller.
type EmbeddedFile = (&'static str, &'static str, &'static [u8], Option<&'static [u8]>);

/// All files, as `src/page/build.rs` lists them.
static FILES: &[EmbeddedFile] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

static ASSETS: LazyLock<Vec<(&'static str, Asset)>> =
    LazyLock::new(|| FILES.iter().map(|file| (file.0, make_asset(file))).collect());

fn make_asset(&(_, content_type, body, gzip): &EmbeddedFile) -> Asset {
    Asset {
        content_type,
        identity: represent(body),
        gzip: gzip.map(represent),
        cache_control: "no-cache",
        content_security_policy: POLICY,
    }
}

fn represent(body: &'static [u8]) -> Representation {
    // The key is fixed: all servers that run the same build must send the same tag.
    let mut hasher = SipHasher24::new();
    hasher.write(body);
    Representation { body, etag: format!("\"{:032x}\"", hasher.finish128().as_u128()) }
}

/// The file at `path`, the path of a request without its query. `None` if there is no such file,
/// which is answered with 404.
pub fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|(at, _)| *at == path).map(|(_, asset)| asset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page/web");

    fn text(path: &str) -> &'static str {
        std::str::from_utf8(asset(path).unwrap().identity.body).unwrap()
    }

    /// Every text between `before` and the next quotation mark.
    fn quoted<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(['"', '\'']).next())
    }

    fn sources(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        let mut all: Vec<String> = folders.iter().flat_map(|folder| sources(folder)).collect();
        all.extend(files.iter().map(|file| {
            let name = file.strip_prefix(WEB).unwrap().to_str().unwrap();
            if name == "index.html" { "/".to_owned() } else { format!("/{name}") }
        }));
        all
    }

    #[test]
    fn all_urls_of_the_page_are_relative_and_served() {
        let urls = ["src=\"", "href=\""].map(|attribute| quoted(text("/"), attribute));
        let urls: Vec<&str> = urls.into_iter().flatten().collect();
        assert!(urls.len() >= 4, "{urls:?}");
        let manifest: serde_json::Value = serde_json::from_str(text("/site.webmanifest")).unwrap();
        let icons = manifest["icons"].as_array().unwrap();
        for url in urls.into_iter().chain(icons.iter().map(|icon| icon["src"].as_str().unwrap())) {
            assert!(!url.starts_with('/') && !url.contains(':'), "{url}");
            assert!(asset(&format!("/{url}")).is_some(), "{url}");
        }
        for path in ["/app.js", "/client.js"] {
            for absolute in ["'/", "\"/", "`/"] {
                let found: Vec<&str> = text(path).split(absolute).skip(1).collect();
                assert!(found.is_empty(), "{path} has {absolute}{}", found[0]);
            }
        }
    }

    #[test]
    fn every_source_is_served_or_part_of_the_bundle() {
        for path in sources(Path::new(WEB)) {
            if path.ends_with(".js") && asset(&path).is_none_or(|_| path == "/languages/en.js") {
                let source = std::fs::read_to_string(format!("{WEB}{path}")).unwrap();
                let source = bundle::strip_comments(&path, &source).unwrap();
                let is_code = |line: &&str| !line.starts_with("import") && line.len() > 30;
                let line = source.lines().rfind(is_code).unwrap();
                let line = line.strip_prefix("export ").unwrap_or(line);
                assert!(text("/app.js").contains(line), "{path}");
            } else {
                assert!(asset(&path).is_some(), "{path}");
            }
        }
    }

    #[test]
    fn the_client_is_served_as_a_readable_module() {
        for path in ["/client.js", "/connection.js"] {
            let source = std::fs::read_to_string(format!("{WEB}{path}")).unwrap();
            assert_eq!(text(path), source);
            assert!(source.starts_with("/**"));
            for import in quoted(&source, "from './") {
                assert!(asset(&format!("/{import}")).is_some(), "{path} imports {import}");
            }
        }
    }

    #[test]
    fn other_paths_are_not_served() {
        for path in
            ["", "/index.html", "//", "/app.js/", "/../Cargo.toml", "/web/app.js", "/board.js"]
        {
            assert!(asset(path).is_none(), "{path}");
        }
    }

    #[test]
    fn the_page_complies_with_its_content_security_policy() {
        let page = text("/");
        assert!(!page.contains("style=\"") && !page.contains("<style"));
        assert!(!page.contains("onclick=") && !page.contains("javascript:"));
        assert_eq!(page.matches("<script").count(), page.matches("src=\"app.js\"").count());
        for (path, content_type, ..) in FILES {
            if *content_type == "image/png" {
                continue;
            }
            let body = text(path).replace("http://www.w3.org/2000/svg", "");
            for link in ["src=\"http", "href=\"http", "url(", "from 'http", "@import"] {
                assert!(!body.contains(link), "{path} has {link}");
            }
        }
    }

    #[test]
    fn what_a_first_visit_loads_is_small_when_compressed() {
        let size =
            |asset: &Asset| asset.gzip.as_ref().map_or(asset.identity.body, |gzip| gzip.body).len();
        let (languages, others): (Vec<_>, Vec<_>) =
            ASSETS.iter().partition(|(path, _)| path.starts_with("/languages/"));
        let for_authors = ["/client.js", "/connection.js"];
        let others = others.iter().filter(|(path, _)| !for_authors.contains(path));
        let bytes = others.map(|(_, asset)| size(asset)).sum::<usize>()
            + languages.iter().map(|(_, asset)| size(asset)).max().unwrap();
        // 6.4 s at 50 kbit/s; the rest of 8 s is for headers and round trips.
        assert!(bytes < 40_000, "{bytes} bytes");
    }

    #[test]
    fn entity_tags_are_distinct_and_quoted() {
        let representations = |asset: &'static Asset| asset.gzip.iter().chain([&asset.identity]);
        let mut tags: Vec<&str> = ASSETS
            .iter()
            .flat_map(|(_, asset)| representations(asset))
            .map(|representation| representation.etag.as_str())
            .collect();
        assert!(tags.len() > FILES.len());
        assert!(tags.iter().all(|tag| tag.len() == 34 && tag.starts_with('"')));
        let count = tags.len();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), count);
    }
}
