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

use crate::launch::LaunchError;
use crate::server::launch::Failure;
use libvserver::Kind;
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
    } else if let Some(failure) = error.downcast_ref::<Failure>() {
        match style {
            Style::Exec => failure.code,
            Style::Plain => FAILURE,
        }
    } else if let Some(error) = error.downcast_ref::<LaunchError>() {
        match error.source.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => CANNOT_EXECUTE,
        }
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

    fn launch(kind: io::ErrorKind) -> anyhow::Error {
        LaunchError {
            program: "x".into(),
            source: kind.into(),
        }
        .into()
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
            (launch(io::ErrorKind::NotFound), 127, 127),
            (launch(io::ErrorKind::PermissionDenied), 126, 126),
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
