//! The browser page, embedded in the binary. Pure: a path in, a file out; any thread may call it.
//! It must never read a file at run time or refer to another host: the page works wherever the
//! binary does.
//!
//! The files are under `web/`. `client.js` is the protocol client; it depends on `connection.js` only.
//! `app.js` combines it with the others, each of which does one thing.

use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use std::sync::LazyLock;

/// One file of the page, and the values of its header fields.
#[derive(Debug)]
pub struct Asset {
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// The file.
    pub body: &'static [u8],
    /// Value of `ETag`, quotes included: a strong validator (RFC 9110 §8.8.3) of `body`.
    pub etag: String,
    /// Value of `Cache-Control`: cached, but revalidated each time, so that the page and its scripts
    /// are always of the same version.
    pub cache_control: &'static str,
    /// Value of `Content-Security-Policy`.
    pub content_security_policy: &'static str,
}

/// Allows resources of this origin only, and no inline script or style. `'self'` includes `ws:`
/// and `wss:` to this origin (CSP 3 §6.7.2.8). The audio of a call has no URL, so it needs no
/// directive.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// Further header fields of every [`Asset`]: no referrer for other sites, and the microphone for
/// this origin only. (`X-Content-Type-Options: nosniff` is in every response.)
pub const HEADERS: [(&str, &str); 2] = [
    ("Referrer-Policy", "no-referrer"),
    (
        "Permissions-Policy",
        "microphone=(self), speaker-selection=(self), camera=(), geolocation=()",
    ),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal, $content_type:ident, $file:literal;)*) => {
        [$(($path, $content_type, include_bytes!(concat!("web/", $file)) as &[u8]),)*]
    };
}

static FILES: [(&str, &str, &[u8]); 21] = files! {
    "/", HTML, "index.html";
    "/style.css", CSS, "style.css";
    "/favicon.svg", SVG, "favicon.svg";
    "/app.js", JS, "app.js";
    "/board.js", JS, "board.js";
    "/call.js", JS, "call.js";
    "/client.js", JS, "client.js";
    "/connection.js", JS, "connection.js";
    "/controls.js", JS, "controls.js";
    "/conversation.js", JS, "conversation.js";
    "/languages/en.js", JS, "languages/en.js";
    "/users.js", JS, "users.js";
    "/meter.js", JS, "meter.js";
    "/microphone.js", JS, "microphone.js";
    "/phase.js", JS, "phase.js";
    "/settings.js", JS, "settings.js";
    "/speaker.js", JS, "speaker.js";
    "/view.js", JS, "view.js";
    "/vitals.js", JS, "vitals.js";
    "/watch.js", JS, "watch.js";
    "/words.js", JS, "words.js";
};

static ASSETS: LazyLock<Vec<(&'static str, Asset)>> = LazyLock::new(|| {
    FILES.iter().map(|&(path, content_type, body)| (path, make_asset(content_type, body))).collect()
});

fn make_asset(content_type: &'static str, body: &'static [u8]) -> Asset {
    // The key is fixed: all servers that run the same build must send the same tag.
    let mut hasher = SipHasher24::new();
    hasher.write(body);
    Asset {
        content_type,
        body,
        etag: format!("\"{:032x}\"", hasher.finish128().as_u128()),
        cache_control: "no-cache",
        content_security_policy: POLICY,
    }
}

/// The file at `path`, the path of a request without its query. `None` if there is no such file,
/// which is answered with 404.
pub fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|(at, _)| *at == path).map(|(_, asset)| asset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        std::str::from_utf8(asset(path).unwrap().body).unwrap()
    }

    /// Every text between `before` and the next quotation mark.
    fn quoted<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(['"', '\'']).next())
    }

    #[test]
    fn every_file_that_the_page_refers_to_is_served() {
        let page = text("/");
        for attribute in ["src=\"", "href=\""] {
            for path in quoted(page, attribute) {
                assert!(asset(path).is_some(), "{path}");
            }
        }
        for (path, content_type, _) in FILES {
            if content_type == JS {
                for import in quoted(text(path), "from './") {
                    assert!(asset(&format!("/{import}")).is_some(), "{path} imports {import}");
                }
            }
        }
    }

    #[test]
    fn every_file_in_the_web_folder_is_served() {
        let web = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page/web");
        let files = |folder: &str| {
            let entries = std::fs::read_dir(folder).unwrap();
            entries.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file()).count()
        };
        assert_eq!(files(web) + files(&format!("{web}/languages")), FILES.len());
    }

    #[test]
    fn other_paths_are_not_served() {
        for path in ["", "/index.html", "//", "/app.js/", "/../Cargo.toml", "/web/app.js"] {
            assert!(asset(path).is_none(), "{path}");
        }
    }

    #[test]
    fn the_page_complies_with_its_content_security_policy() {
        let page = text("/");
        assert!(!page.contains("style=\"") && !page.contains("<style"));
        assert!(!page.contains("onclick=") && !page.contains("javascript:"));
        assert_eq!(page.matches("<script").count(), page.matches("src=\"/app.js\"").count());
        for (path, _, _) in FILES {
            let body = text(path).replace("http://www.w3.org/2000/svg", "");
            for link in ["src=\"http", "href=\"http", "url(", "from 'http", "@import"] {
                assert!(!body.contains(link), "{path} has {link}");
            }
        }
    }

    #[test]
    fn entity_tags_are_distinct_and_quoted() {
        let mut tags: Vec<&str> = ASSETS.iter().map(|(_, asset)| asset.etag.as_str()).collect();
        assert!(tags.iter().all(|tag| tag.len() == 34 && tag.starts_with('"')));
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), FILES.len());
    }
}
