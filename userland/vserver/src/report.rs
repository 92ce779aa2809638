// SPDX-License-Identifier: GPL-2.0

//! What a user reads of an error, and values of the library as the command line takes them.

use std::str::FromStr;

/// Parse a value of the library's; a refusal also says what would be right.
pub(crate) fn value<T: FromStr<Err = libvserver::Error>>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|error| message(&anyhow::Error::new::<libvserver::Error>(error)))
}

/// An error in one line: what, and what to do.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let hint = error
        .downcast_ref::<libvserver::Error>()
        .and_then(libvserver::Error::hint);
    match hint {
        Some(hint) => format!("{error:#}; {hint}"),
        None => format!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_with_a_hint() {
        let error = libvserver::Error::NoModule {
            path: "/dev/vserver".to_owned(),
        };
        assert_eq!(
            message(&error.into()),
            "the kernel module is not loaded: no /dev/vserver; \
             load it with \"modprobe vserver\" or \"insmod vserver.ko\""
        );
    }
}
