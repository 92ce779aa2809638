// SPDX-License-Identifier: GPL-2.0

//! What comes through the sockets of a supervisor, from its files, and as a name, given nonsense: nothing may panic. See the
//! module of the same name in libvserver.

#[path = "../../../libvserver/src/fuzz/input.rs"]
mod input;

use super::channel::Asked;
use super::channel::Told;
use super::context::Record;
use super::inside;
use super::Server;
use input::Target;
use std::path::Component;
use std::path::Path;

const MESSAGES: &[&[u8]] = &[
    b"o\x1b[2Jlogin: ",
    br#"e{"Started":{"context":49152}}"#,
    br#"e"Ready""#,
    br#"e{"NotReady":{"waits_for":"x","last":["a","b"]}}"#,
    br#"r{"Attach":{"before":2000}}"#,
    br#"r{"Size":[24,80]}"#,
    br#"r"Stopping""#,
    b"iecho\n",
];
const MESSAGES_WORDS: &[&[u8]] = &[
    b"e",
    b"o",
    b"i",
    b"r",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"true",
    b"Started",
    b"context",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\0",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":",
];

fn messages(bytes: &[u8]) {
    // What is understood is written so that it is understood as the same.
    if let Some(told) = Told::parse(bytes) {
        assert_eq!(Told::parse(&told.to_bytes()), Some(told));
    }
    if let Some(asked) = Asked::parse(bytes) {
        assert_eq!(Asked::parse(&asked.to_bytes()), Some(asked));
    }
    inside::try_message(bytes);
}

const FILES: &[&[u8]] = &[
    b"S_CONTEXT=100\nS_CREATED=12345\n",
    b"S_CONTEXT=\"7\"\nS_PROFILE=\n",
];
const FILES_WORDS: &[&[u8]] = &[
    b"S_CONTEXT=",
    b"S_CREATED=",
    b"\n",
    b"\"",
    b"-1",
    b"18446744073709551616",
    b"100",
    b" ",
    b"\xff",
    b"\0",
];

fn files(bytes: &[u8]) {
    if let Some(record) = Record::parse(&String::from_utf8_lossy(bytes)) {
        assert_eq!(Record::parse(&record.to_string()), Some(record));
    }
}

const NAMES: &[&[u8]] = &[b"web", b"www.example.org", b"a_b-c.1"];
const NAMES_WORDS: &[&[u8]] = &[
    b"/",
    b"..",
    b".",
    b"-",
    b"_",
    b"\0",
    b"\n",
    b" ",
    b"web",
    b"*",
    b"\xff",
    "\u{e9}\u{202e}".as_bytes(),
    b"conf",
    b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// What is taken for a name is one part of a path, wherever it stands.
fn names(bytes: &[u8]) {
    let name = String::from_utf8_lossy(bytes);
    if let Ok(server) = Server::new(&name) {
        let parts: Vec<Component<'_>> = Path::new(&server.name).components().collect();
        assert!(matches!(parts[..], [Component::Normal(part)] if part == server.name.as_str()));
        assert!(server
            .root()
            .parent()
            .is_some_and(|above| !above.as_os_str().is_empty()));
    }
}

const TARGETS: &[Target] = &[
    Target {
        name: "messages",
        samples: MESSAGES,
        words: MESSAGES_WORDS,
        check: messages,
    },
    Target {
        name: "files",
        samples: FILES,
        words: FILES_WORDS,
        check: files,
    },
    Target {
        name: "names",
        samples: NAMES,
        words: NAMES_WORDS,
        check: names,
    },
];

#[test]
fn fuzz_manager() {
    input::run(TARGETS);
}
