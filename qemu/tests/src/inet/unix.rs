// SPDX-License-Identifier: GPL-2.0

//! Abstract names of Unix sockets, which are of the network as well: each context has its own.

use super::*;
use crate::{fixture::inside, test};
use std::os::{
    linux::net::SocketAddrExt,
    unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener, UnixStream},
};

pub const ABSTRACT: Test = test("unix::abstract_names_end_at_the_context", 60, ends);
pub const NAMES: Test = test("unix::abstract_names_of_every_length", 60, lengths);
pub const AUTOBIND: Test = test("unix::names_that_the_kernel_chooses", 60, autobind);

fn name(text: &[u8]) -> Result<UnixAddress, String> {
    UnixAddress::from_abstract_name(text).map_err(words)
}

fn listen_at(text: &[u8]) -> Outcome {
    let listener = UnixListener::bind_addr(&name(text)?).map_err(words)?;
    std::mem::forget(listener);
    Ok(())
}

fn ends() -> Outcome {
    let refused = Err(Errno::ECONNREFUSED);
    let reach = || -> Result<Result<(), Errno>, String> {
        Ok(errno(
            UnixStream::connect_addr(&name(b"vserver")?).map(drop),
        ))
    };
    let _host = Sitter::new(CONTEXT_ROOT, 0, || listen_at(b"vserver"))?;
    inside(100, || equal("the host's", reach()?, refused))?;
    // The same name once more.
    let _one = Sitter::new(100, 0, || listen_at(b"vserver"))?;
    inside(100, || {
        equal("own", reach()?, Ok(()))?;
        let again = errno(UnixListener::bind_addr(&name(b"vserver")?).map(drop));
        equal("again", again, Err(Errno::EADDRINUSE))
    })?;
    inside(101, || equal("another's", reach()?, refused))?;
    drop(_host);
    inside(CONTEXT_ROOT, || equal("from the host", reach()?, refused))?;
    // A socket from before the context is not a way out either.
    let _host = Sitter::new(CONTEXT_ROOT, 0, || {
        let socket = UnixDatagram::bind_addr(&name(b"vserver-d")?).map_err(words)?;
        std::mem::forget(socket);
        Ok(())
    })?;
    inside(CONTEXT_ROOT, || {
        let before = UnixDatagram::unbound().map_err(words)?;
        let to = name(b"vserver-d")?;
        before.send_to_addr(b"!", &to).map_err(words)?;
        enter(100, 0, 0).map_err(words)?;
        let got = errno(before.send_to_addr(b"!", &to).map(drop));
        equal("from before", got, refused)?;
        let got = errno(before.connect_addr(&to));
        equal("from before, connecting", got, refused)
    })
}

fn lengths() -> Outcome {
    inside(100, || {
        for length in [0, 1, 5, 50, 98, 99, 107] {
            for fill in [b'x', 0] {
                if length == 0 {
                    continue;
                }
                let mut text = vec![fill; length];
                text[0] = b'n';
                let address = name(&text)?;
                let listener = UnixListener::bind_addr(&address).map_err(words)?;
                let stream = UnixStream::connect_addr(&address).map_err(words)?;
                // Longer ones are told by what stands for them.
                if length <= 98 || fill == 0 {
                    for told in [listener.local_addr(), stream.peer_addr()] {
                        let told = told.map_err(words)?;
                        let told = told.as_abstract_name().map(<[u8]>::to_vec);
                        equal("name", told, Some(text.clone()))?;
                    }
                }
                let (accepted, from) = listener.accept().map_err(words)?;
                equal("no name", from.is_unnamed(), true)?;
                drop(accepted);
            }
        }
        Ok(())
    })
}

fn autobind() -> Outcome {
    inside(100, || {
        let one = UnixDatagram::unbound().map_err(words)?;
        let family = (libc::AF_UNIX as u16).to_ne_bytes();
        crate::syscalls::syscall(
            libc::SYS_bind,
            [
                one.as_raw_fd() as usize,
                family.as_ptr() as usize,
                2,
                0,
                0,
                0,
            ],
        )
        .map_err(words)?;
        let own = one.local_addr().map_err(words)?;
        let length = own.as_abstract_name().map(<[u8]>::len);
        equal("five digits", length, Some(5))?;
        let two = UnixDatagram::unbound().map_err(words)?;
        two.send_to_addr(b"!", &own).map_err(words)?;
        let (_, from) = one.recv_from(&mut [0; 8]).map_err(words)?;
        equal("without a name", from.is_unnamed(), true)
    })
}
