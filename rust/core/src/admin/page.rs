//! The page's files, embedded, each served under its own name.

/// One file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) bytes: &'static [u8],
}

/// All of them.
pub(super) const FILES: &[File] = &[
    File { path: "/", content_type: "text/html; charset=utf-8", bytes: include_bytes!("page/index.html") },
    File { path: "/app.css", content_type: "text/css; charset=utf-8", bytes: include_bytes!("page/app.css") },
    File { path: "/app.js", content_type: "text/javascript; charset=utf-8", bytes: include_bytes!("page/app.js") },
    File { path: "/uplot.css", content_type: "text/css; charset=utf-8", bytes: include_bytes!("page/uplot.css") },
    File { path: "/uplot.js", content_type: "text/javascript; charset=utf-8", bytes: include_bytes!("page/uplot.js") },
];
