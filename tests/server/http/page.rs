//! The files of the browser page: encodings, entity-tags and what a cache may do with them.

use crate::support::{HttpResponse, Server};
use flate2::read::GzDecoder;
use std::io::Read as _;

/// The files of a first visit, and the module for authors of clients.
const FILES: [&str; 4] = ["/", "/style.css", "/app.js", "/client.js"];

fn send(server: &Server, method: &str, path: &str, fields: &str) -> HttpResponse {
    let mut client = server.raw_connection();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{fields}\r\n");
    client.send(request.as_bytes());
    let response =
        if method == "HEAD" { client.read_response_head() } else { client.read_response() };
    client.expect_end();
    response
}

fn send_get(server: &Server, path: &str, fields: &str) -> HttpResponse {
    send(server, "GET", path, fields)
}

fn decompress(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(body).read_to_end(&mut plain).expect("a body in the gzip format");
    plain
}

/// RFC 9110 §8.4, §12.5.3.
#[test]
fn sends_gzip_to_clients_that_accept_it_and_the_file_itself_to_others() {
    let server = Server::start(&[]);
    for path in FILES {
        let plain = send_get(&server, path, "");
        assert_eq!(plain.field("content-encoding"), None, "{path}");
        for fields in ["Accept-Encoding: gzip, deflate, br, zstd\r\n", "accept-encoding: *\r\n"] {
            let compressed = send_get(&server, path, fields);
            assert_eq!(compressed.status, 200);
            assert_eq!(compressed.field("content-encoding"), Some("gzip"), "{path} {fields}");
            assert_eq!(compressed.field("content-type"), plain.field("content-type"));
            assert_eq!(decompress(&compressed.body), plain.body, "{path}");
            assert!(compressed.body.len() * 2 < plain.body.len(), "{path}");
        }
        for fields in ["Accept-Encoding: identity\r\n", "Accept-Encoding: br, gzip;q=0\r\n"] {
            let response = send_get(&server, path, fields);
            assert_eq!(response.field("content-encoding"), None, "{path} {fields}");
            assert_eq!(response.body, plain.body);
        }
    }
}

/// RFC 9110 §12.5.5, §8.8.3.3: caches keep both forms apart.
#[test]
fn both_encodings_of_a_file_have_vary_and_an_entity_tag_of_their_own() {
    let server = Server::start(&[]);
    for path in FILES {
        let plain = send_get(&server, path, "");
        let compressed = send_get(&server, path, "Accept-Encoding: gzip\r\n");
        assert_eq!(plain.field("vary"), Some("Accept-Encoding"), "{path}");
        assert_eq!(compressed.field("vary"), Some("Accept-Encoding"), "{path}");
        let [plain_tag, gzip_tag] =
            [&plain, &compressed].map(|response| response.field("etag").unwrap().to_owned());
        assert_ne!(plain_tag, gzip_tag, "{path}");
        let cached = |tag: &str, encoding: &str| {
            let fields = format!("If-None-Match: {tag}\r\nAccept-Encoding: {encoding}\r\n");
            send_get(&server, path, &fields)
        };
        for (tag, encoding) in [(&plain_tag, "identity"), (&gzip_tag, "gzip")] {
            let response = cached(tag, encoding);
            assert_eq!(response.status, 304, "{path} {encoding}");
            assert_eq!(response.field("etag"), Some(&**tag));
            assert_eq!(response.field("vary"), Some("Accept-Encoding"));
        }
        for (tag, encoding) in [(&plain_tag, "gzip"), (&gzip_tag, "identity")] {
            assert_eq!(cached(tag, encoding).status, 200, "{path} {encoding}");
        }
    }
    // Figures have one form only.
    for path in ["/health", "/stats", "/metrics"] {
        let response = send_get(&server, path, "Accept-Encoding: gzip\r\n");
        assert_eq!((response.field("content-encoding"), response.field("vary")), (None, None));
    }
}

/// RFC 9110 §9.3.2.
#[test]
fn head_has_the_fields_of_get_in_each_encoding() {
    let server = Server::start(&[]);
    for path in FILES {
        for fields in ["Accept-Encoding: gzip\r\n", "Accept-Encoding: identity\r\n"] {
            let get = send_get(&server, path, fields);
            let head = send(&server, "HEAD", path, fields);
            assert!(head.body.is_empty());
            let names = ["content-length", "content-encoding", "content-type", "etag", "vary"];
            for name in names {
                assert_eq!(head.field(name), get.field(name), "{path} {name}");
            }
            assert_eq!(get.field("content-length"), Some(&*get.body.len().to_string()));
        }
    }
}

#[test]
fn the_page_needs_three_requests_and_little_data() {
    let server = Server::start(&[]);
    let page = send_get(&server, "/", "");
    let text = page.text();
    let loaded = ["<script", "rel=\"stylesheet\"", "rel=\"modulepreload\"", "rel=\"preload\""];
    let requests: usize = loaded.iter().map(|what| text.matches(what).count()).sum();
    assert_eq!(requests, 2, "beside the page itself");
    let bytes: usize = ["/", "/style.css", "/app.js"]
        .iter()
        .map(|path| send_get(&server, path, "Accept-Encoding: gzip\r\n").body.len())
        .sum();
    assert!(bytes < 36_000, "{bytes} bytes");
}

/// Safari up to 15.6 does not count `ws:` and `wss:` as `'self'` (WebKit bug 201591).
#[test]
fn the_page_policy_names_the_schemes_of_websockets() {
    let server = Server::start(&[]);
    let page = server.get("/");
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.contains("connect-src 'self' ws: wss:;"), "{policy}");
    assert!(policy.contains("manifest-src 'self'"), "{policy}");
}

#[test]
fn the_manifest_and_the_icons_are_served() {
    let server = Server::start(&[]);
    for (path, media_type) in [
        ("/site.webmanifest", "application/manifest+json"),
        ("/favicon.svg", "image/svg+xml"),
        ("/touch-icon.png", "image/png"),
    ] {
        assert_eq!(server.get(path).field("content-type"), Some(media_type));
    }
    let manifest = server.get("/site.webmanifest").json();
    assert_eq!((&manifest["start_url"], &manifest["scope"]), (&".".into(), &".".into()));
}
