// SPDX-License-Identifier: GPL-2.0

//! TCP: binding and being found.

use super::*;
use crate::test;

pub const BIND: Test = test("inet::tcp_bind", 30, bind_addresses);
pub const ANY: Test = test("inet::tcp_any_is_all_own_addresses", 60, any);
pub const SAME_PORT: Test = test("inet::tcp_same_port_for_all", 60, same_port);
pub const HOST_HOLDS_ANY: Test = test("inet::tcp_host_holds_any", 30, host_any);
pub const CONFLICTS: Test = test("inet::tcp_conflicts_inside", 30, conflicts);
pub const MANY: Test = test("inet::tcp_a_thousand_contexts", 180, many);

fn bind_addresses() -> Outcome {
    addresses()?;
    for context in [CONTEXT_ROOT, 100] {
        within(context, &[A, "10.77.0.7/24"], || {
            let away = Err(Errno::EADDRNOTAVAIL);
            for own in [A, C, "127.0.0.1", "0.0.0.0"] {
                equal(own, bind_error(at(own, 8001)), Ok(()))?;
            }
            for private in ["127.1.0.1", "127.255.0.1"] {
                equal(private, bind_error(at(private, 8001)), Ok(()))?;
            }
            for foreign in [HOST, B, "127.255.255.255", "192.0.2.1"] {
                equal(foreign, bind_error(at(foreign, 8001)), away)?;
            }
            equal("port 0", bind_error(at("0.0.0.0", 0)), Ok(()))?;
            let listener = TcpListener::bind(at("0.0.0.0", 8001)).map_err(words)?;
            let name = listener.local_addr().map_err(words)?;
            equal("name of any", name, at("0.0.0.0", 8001))?;
            // A second one is refused as ever.
            let again = bind_error(at("0.0.0.0", 8001));
            equal("again", again, Err(Errno::EADDRINUSE))?;
            Ok("")
        })?;
    }
    Ok(())
}

fn any() -> Outcome {
    addresses()?;
    let _server = server(100, &[A, B], || greeter("any", at("0.0.0.0", 8002)))?;
    // From the host: by the addresses, and by no other.
    same("A", greeted_by(at(A, 8002)), &format!("any {A} {A}"))?;
    same("B", greeted_by(at(B, 8002)), &format!("any {B} {B}"))?;
    for other in [HOST, C, "127.0.0.1"] {
        let got = connect_error(at(other, 8002));
        equal(other, got, Err(Errno::ECONNREFUSED))?;
    }
    // From inside, by the loopback too.
    within(100, &[A, B], || {
        let lo = "127.0.0.1";
        same(
            "loopback",
            greeted_by(at(lo, 8002)),
            &format!("any {lo} {lo}"),
        )?;
        same("A", greeted_by(at(A, 8002)), &format!("any {A} {A}"))?;
        same(
            "zero",
            greeted_by(at("0.0.0.0", 8002)),
            &format!("any {lo} {lo}"),
        )?;
        Ok("")
    })?;
    // A port that the kernel chose, by listening without binding.
    let _server = server(101, &[C], || {
        let socket = tcp_socket(false).map_err(words)?;
        nix::sys::socket::listen(&socket, nix::sys::socket::Backlog::MAXCONN).map_err(words)?;
        let listener = TcpListener::from(socket);
        let port = listener.local_addr().map_err(words)?.port();
        greet(listener, "chosen");
        std::fs::write("/tmp/inet-port", port.to_string()).map_err(words)
    })?;
    let port = std::fs::read_to_string("/tmp/inet-port").map_err(words)?;
    let port = port.parse().map_err(words)?;
    same(
        "chosen",
        greeted_by(at(C, port)),
        &format!("chosen {C} {C}"),
    )?;
    equal(
        "host",
        connect_error(at(HOST, port)),
        Err(Errno::ECONNREFUSED),
    )
}

/// Two contexts and the host, each on "any" of what it has.
fn same_port() -> Outcome {
    addresses()?;
    let _one = server(100, &[A], || greeter("one", at("0.0.0.0", 8003)))?;
    let _two = server(101, &[B], || greeter("two", at("0.0.0.0", 8003)))?;
    let _host = server(CONTEXT_ROOT, &[HOST], || {
        greeter("host", at("0.0.0.0", 8003))
    })?;
    for (name, address) in [("one", A), ("two", B), ("host", HOST)] {
        let told = format!("{name} {address} {address}");
        same(name, greeted_by(at(address, 8003)), &told)?;
    }
    for (context, own, name) in [(100, A, "one"), (101, B, "two")] {
        within(context, &[own], || {
            let lo = "127.0.0.1";
            same(
                "own",
                greeted_by(at(lo, 8003)),
                &format!("{name} {lo} {lo}"),
            )?;
            // The others are other machines; one's own address says who comes.
            same(
                "host",
                greeted_by(at(HOST, 8003)),
                &format!("host {HOST} {own}"),
            )?;
            Ok("")
        })?;
    }
    // Who shares an address cannot have the same port.
    within(102, &[A, C], || {
        let got = bind_error(at("0.0.0.0", 8003));
        equal("shared address", got, Err(Errno::EADDRINUSE))?;
        Ok("")
    })
}

fn host_any() -> Outcome {
    addresses()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || greeter("host", at("0.0.0.0", 8004)))?;
    within(100, &[A], || {
        let taken = Err(Errno::EADDRINUSE);
        equal("any", bind_error(at("0.0.0.0", 8004)), taken)?;
        equal("own", bind_error(at(A, 8004)), taken)?;
        // It is not the context's loopback that the host listens on.
        let refused = connect_error(at("127.0.0.1", 8004));
        equal("loopback", refused, Err(Errno::ECONNREFUSED))?;
        Ok("")
    })?;
    // By UDP neither.
    let _host = Sitter::new(CONTEXT_ROOT, 0, || answerer("host", at("0.0.0.0", 8009)))?;
    within(100, &[A], || {
        let socket = UdpSocket::bind(at("0.0.0.0", 0)).map_err(words)?;
        let refused = Err(Errno::ECONNREFUSED);
        let sent = errno(socket.send_to(b"?", at("127.0.0.1", 8009)).map(drop));
        equal("sent", sent, refused)?;
        equal(
            "connected",
            errno(socket.connect(at("127.0.0.1", 8009))),
            refused,
        )?;
        Ok("")
    })
}

/// "Any" and one of the addresses stand in each other's way inside, as anywhere.
fn conflicts() -> Outcome {
    addresses()?;
    within(100, &[A, B], || {
        let taken = Err(Errno::EADDRINUSE);
        let one = TcpListener::bind(at(B, 8005)).map_err(words)?;
        equal("any after B", bind_error(at("0.0.0.0", 8005)), taken)?;
        equal("A after B", bind_error(at(A, 8005)), Ok(()))?;
        drop(one);
        let one = TcpListener::bind(at("127.0.0.1", 8005)).map_err(words)?;
        equal("any after loopback", bind_error(at("0.0.0.0", 8005)), taken)?;
        drop(one);
        TcpListener::bind(at("0.0.0.0", 8005)).map_err(words)?;
        Ok("")
    })
}

/// Takes a network's addresses off the loopback device when dropped.
struct Flush(&'static str);

impl Drop for Flush {
    fn drop(&mut self) {
        let _ = Command::new("/bin/ip")
            .args(["address", "flush", "dev", "lo", "to", self.0])
            .output();
    }
}

/// A thousand contexts with an address each, all on one port.
fn many() -> Outcome {
    const COUNT: i32 = 1000;
    let flush = Flush("10.79.0.0/16");
    let name = |index: i32| format!("10.79.{}.{}", index / 250, index % 250 + 1);
    // At lo, all addresses of a prefix are the host's.
    Command::new("/bin/ip")
        .args(["address", "add", "10.79.0.0/16", "dev", "lo"])
        .output()
        .map_err(words)?;
    let mut servers = Vec::new();
    for index in 0..COUNT {
        let own = name(index);
        servers.push(server(1000 + index, &[&own], || {
            let listener = TcpListener::bind(at("0.0.0.0", 80)).map_err(words)?;
            std::mem::forget(listener);
            Ok(())
        })?);
    }
    for index in [0, 1, COUNT / 2, COUNT - 1] {
        TcpStream::connect_timeout(&at(&name(index), 80), Duration::from_secs(5))
            .map_err(|error| format!("{index}: {error}"))?;
    }
    for server in &servers {
        server.let_go();
    }
    // A later test may have these addresses elsewhere.
    drop(flush);
    let left = Command::new("/bin/ip")
        .args(["-o", "address", "show", "dev", "lo"])
        .output()
        .map_err(words)?;
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    ensure(&left, !left.contains(" 10.79."))
}
