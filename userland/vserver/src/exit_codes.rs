// SPDX-License-Identifier: GPL-2.0

//! The exit code of every outcome, computed here and nowhere else.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; a reader that closed its end of our output early is no error |
//! | 1 | failed |
//! | 2 | wrong usage |
//! | 3 | the kernel module is not loaded, or speaks another ABI |
//! | 4 | the kernel refused it: not permitted |
//! | 125 | `capchroot`, `chbind`, `chcontext`, `reducecap`, `enter` and `exec` themselves failed, also when refused, before the command began |
//! | 126 | the command was found but cannot be executed |
//! | 127 | the command was not found |
//!
//! `capchroot`, `chbind`, `chcontext`, `reducecap`, `enter` and `exec` otherwise end as the command does, and `vps` as `ps` does.

use libvserver::Kind;
use std::error::Error;
use std::fmt;
use std::io;

pub(crate) const SUCCESS: u8 = 0;
pub(crate) const FAILURE: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const NO_MODULE: u8 = 3;
pub(crate) const REFUSED: u8 = 4;
pub(crate) const OWN_FAILURE: u8 = 125;
pub(crate) const CANNOT_EXECUTE: u8 = 126;
pub(crate) const NOT_FOUND: u8 = 127;

/// Whether a command becomes another program in the end, whose exit codes ours must not be mistaken
/// for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Exec,
}

/// An error that knows which exit code it means.
pub(crate) trait HasExitCode: Error + Send + Sync + 'static {
    fn exit_code(&self, style: Style) -> u8;
}

/// Any such error. It is one type, so that [`of_error`] finds it without a list of those that there are.
struct Coded(Box<dyn HasExitCode>);

impl fmt::Debug for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Coded {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// An error that keeps its own exit code on its way to [`of_error`].
pub(crate) fn coded(error: impl HasExitCode) -> anyhow::Error {
    Coded(Box::new(error)).into()
}

/// The exit code of a kind of error.
pub(crate) fn of_kind(kind: Kind, style: Style) -> u8 {
    match (kind, style) {
        (Kind::Usage, _) => USAGE,
        (Kind::NoModule, _) => NO_MODULE,
        (_, Style::Exec) => OWN_FAILURE,
        (Kind::Refused, Style::Plain) => REFUSED,
        (Kind::NotFound | Kind::Limit | Kind::Failure, Style::Plain) => FAILURE,
    }
}

/// The exit code of an error.
pub(crate) fn of_error(error: &anyhow::Error, style: Style) -> u8 {
    if is_closed_output(error) {
        SUCCESS
    } else if let Some(Coded(error)) = error.downcast_ref::<Coded>() {
        error.exit_code(style)
    } else if let Some(error) = error.downcast_ref::<libvserver::Error>() {
        of_kind(error.kind(), style)
    } else if error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    {
        of_kind(Kind::Refused, style)
    } else {
        of_kind(Kind::Failure, style)
    }
}

/// Whether the error is only that nobody reads our output any more.
pub(crate) fn is_closed_output(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    /// An error of somebody else's, which has a code of its own.
    #[derive(Debug)]
    struct Own;

    impl fmt::Display for Own {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("its own words")
        }
    }

    impl Error for Own {}

    impl HasExitCode for Own {
        fn exit_code(&self, style: Style) -> u8 {
            match style {
                Style::Plain => 7,
                Style::Exec => 126,
            }
        }
    }

    #[test]
    fn a_coded_error_keeps_its_words() {
        let error = coded(Own).context("doing it");
        assert_eq!(format!("{error:#}"), "doing it: its own words");
        assert_eq!(of_error(&error, Style::Plain), 7);
    }

    #[test]
    fn each_outcome_has_its_code() {
        let no_module = || libvserver::Error::NoModule {
            path: "/dev/vserver".to_owned(),
        };
        let bad = || libvserver::Error::BadContext("x".to_owned());
        let table = [
            (no_module().into(), 3, 3),
            (bad().into(), 2, 2),
            (anyhow!("anything else"), 1, 125),
            (coded(Own), 7, 126),
            (io::Error::from(io::ErrorKind::BrokenPipe).into(), 0, 0),
            (io::Error::from(io::ErrorKind::StorageFull).into(), 1, 125),
        ];
        for (error, plain, exec) in table {
            assert_eq!(of_error(&error, Style::Plain), plain, "{error}");
            assert_eq!(of_error(&error, Style::Exec), exec, "{error}");
        }
        assert_eq!(of_kind(Kind::Refused, Style::Plain), 4);
        assert_eq!(of_kind(Kind::Refused, Style::Exec), 125);
        assert_eq!(of_kind(Kind::NotFound, Style::Plain), 1);
        assert_eq!(of_kind(Kind::Limit, Style::Plain), 1);
    }
}
